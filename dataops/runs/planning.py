"""A job, planned: its inputs opened, its models resolved, every column checked, before a run of it exists.

1. What can be refused is refused here: columns, types, grants, the model, an output that isn't the job's own.
2. A run that is taken up again is planned again, and has to come to what it pinned: data, effects, units, versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dataops.datasets.access import GovernedInput, require_same
from dataops.datasets.catalog import is_declared
from dataops.datasets.following import read_taken
from dataops.datasets.quarantine import QUARANTINE_FOLDER
from dataops.datasets.retention import require_rows_left
from dataops.datasets.snapshot import read_snapshot
from dataops.declarations.evaluate import EvaluateJob
from dataops.declarations.inputs import INPUT
from dataops.declarations.jobs import Job, WritingJob, job_from_record, job_record
from dataops.declarations.join import JoinJob
from dataops.declarations.outputs import OWN
from dataops.declarations.prepare import PrepareJob
from dataops.declarations.references import parse_model_reference
from dataops.declarations.rescore import RescoreJob
from dataops.declarations.train import TrainJob
from dataops.engine.code import code_identity
from dataops.errors import Integrity, InvalidInput
from dataops.preparation.join_plan import JoinPlan, plan_join
from dataops.preparation.prepare import PreparePlan, plan_prepare
from dataops.records import digest
from dataops.registry.aliases import CHAMPION, last_move, resolve_reference
from dataops.registry.versions import LoadedVersion, ModelVersion
from dataops.rescoring.plan import ScorePlan, plan_rescore
from dataops.runs.ledger import Run, job_of
from dataops.runs.retention import require_resumable
from dataops.runs.workspace import Workspace

if TYPE_CHECKING:
    from dataops.training.plan import TrainPlan
    from dataops.training.realised import RealisedPlan

    Plan = PreparePlan | JoinPlan | TrainPlan | ScorePlan | RealisedPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A job whose inputs were opened and whose every column was checked."""

    source: str
    inputs: Mapping[str, GovernedInput]
    plan: Plan
    replay_of: str | None = None
    notes: tuple[str, ...] = ()
    """What whoever runs the job is told beside it."""

    @property
    def job(self) -> Job:
        """The declaration."""
        return self.plan.job

    @property
    def model(self) -> ModelVersion | None:
        """The version that a rescore applies."""
        return self.plan.model if isinstance(self.plan, ScorePlan) else None

    @property
    def challengers(self) -> Mapping[str, ModelVersion]:
        """The versions that a rescore applies beside it, by their names in the job."""
        return self.plan.challengers if isinstance(self.plan, ScorePlan) else {}

    def columns_read(self) -> dict[str, tuple[str, ...]]:
        """The columns that reach the job, by the name of the input."""
        if isinstance(self.plan, PreparePlan | ScorePlan):
            return {INPUT: self.plan.read}
        return self.plan.columns_read()

    @property
    def work_digest(self) -> str:
        """Digest of all that decides the outcome: declaration, data, effects, model version, code."""
        inputs = {
            name: [given.dataset.snapshot.content_digest, given.grant.effect.digest]
            for name, given in self.inputs.items()
        }
        version = self.model.digest if self.model else None
        work = {"job": job_record(self.job), "inputs": inputs, "model": version, "code": code_identity()["digest"]}
        if self.challengers:
            work["challengers"] = {name: one.digest for name, one in self.challengers.items()}
        return digest({**work, "replay_of": self.replay_of} if self.replay_of else work)


def plan_job(workspace: Workspace, job: Job, inputs: Mapping[str, GovernedInput], *, source: str) -> Planned:
    """`job` over its opened `inputs`, checked down to the last column.

    Raises
    ------
    NotFound, AccessDenied, InvalidInput : what would make the run fail, before it exists.
    """
    _require_own_output(workspace, job, source)
    for one in inputs.values():
        require_rows_left(workspace.store, one.dataset)
    given = inputs[INPUT]
    plan: Plan
    notes: list[str] = []
    match job:
        case PrepareJob():
            plan = plan_prepare(job, given, where=source)
        case JoinJob():
            plan = plan_join(job, inputs, where=source)
        case TrainJob():
            from dataops.training.plan import plan_train

            plan = plan_train(job, inputs, where=source)
        case RescoreJob():
            versions, notes = _load_versions(workspace, job)
            plan = plan_rescore(job, given, versions, where=source)
        case EvaluateJob():
            from dataops.training.realised import plan_realised

            plan = plan_realised(job, inputs, where=source)
    return Planned(source=source, inputs=inputs, plan=plan, notes=tuple(notes))


def _load_versions(workspace: Workspace, job: RescoreJob) -> tuple[dict[str, LoadedVersion], list[str]]:
    """The versions that `job` scores with, by their names in it, and what to say of them.

    For a challenger of an alias that was never set the job's own version stands in: the columns of the output stay the
    same from the first run on, and nothing differs until there is a challenger.
    """
    versions, notes = {OWN: _load_version(workspace, job.model)}, []
    for name, reference in job.challengers.items():
        asked = parse_model_reference(reference)
        own = versions[OWN]
        same = asked.model == own.version.model and asked.alias not in (None, CHAMPION)
        if same and last_move(workspace.registry, asked.model, asked.alias or CHAMPION) is None:
            versions[name] = own
            notes.append(f"challenger {name}: {reference} points nowhere yet, so {own.version.reference} stands in")
        else:
            versions[name] = _load_version(workspace, reference)
    return versions, notes


def _load_version(workspace: Workspace, reference: str) -> LoadedVersion:
    version = resolve_reference(workspace.registry, reference)
    loaded = workspace.registry.read(version.model, version.version)
    if loaded.version != version:
        raise Integrity(f"{version.reference} changed while it was read")
    return loaded


def _require_own_output(workspace: Workspace, job: Job, source: str) -> None:
    if not isinstance(job, WritingJob):
        return
    if is_declared(workspace.settings, job.output):
        raise InvalidInput(
            f"{source}: output: '{job.output}' is a dataset of the catalog, and a job never writes to a source; "
            "choose another name"
        )
    made = read_snapshot(workspace.store, job.output)
    owner = None if made is None else job_of(made.manifests[-1].run)
    if owner not in (None, job.name):
        raise InvalidInput(
            f"{source}: output: '{job.output}' is what job '{owner}' makes, and others read it; choose another name"
        )


def replan(workspace: Workspace, run: Run) -> Planned:
    """The job of `run` as it was planned, over the very units that it froze.

    Raises
    ------
    Integrity, AccessDenied : its data, its models or what the policies let its reader see changed since.
    """
    job = job_of_run(run)
    require_resumable(workspace, run, job)
    planned = plan_job(workspace, job, _opened_again(workspace, run, job), source=run.source)
    if not applies_same_models(planned, run):
        raise Integrity(f"run {run.id} began with a model version that has other contents by now; start a new run")
    inputs = {
        name: require_same(given, run.inputs[name], workspace.ledger.plan(run.id, name))
        for name, given in planned.inputs.items()
    }
    if run.replay_of is not None:
        inputs = {name: with_quarantine(workspace, given) for name, given in inputs.items()}
    elif isinstance(job, RescoreJob) and job.followed is not None:
        inputs = {name: replace(given, taken=read_taken(workspace.store, run.id)) for name, given in inputs.items()}
    return replace(planned, inputs=inputs, replay_of=run.replay_of)


def _opened_again(workspace: Workspace, run: Run, job: Job) -> Mapping[str, GovernedInput]:
    """The inputs as they are now; where files arrive, as they were: more of them are no reason not to go on."""
    return workspace.open_inputs(job, snapshot=run.inputs[INPUT]["snapshot"])


def job_of_run(run: Run) -> Job:
    """The declaration of `run`, of a rescore with the very versions that it began with: an alias may have moved."""
    job = job_from_record(run.declaration)
    if isinstance(job, RescoreJob) and run.model is not None:
        challengers = {name: _reference(pinned) for name, pinned in run.challengers.items()}
        return job.model_copy(update={"model": _reference(run.model), "challengers": challengers})
    return job


def _reference(pinned: Mapping[str, Any]) -> str:
    return f"{pinned['model']}@{pinned['version']}"


def applies_same_models(planned: Planned, run: Run) -> bool:
    """Whether `planned` applies the versions that `run` began with, bit for bit."""
    return (pinned_model(planned.model), pinned_challengers(planned)) == (run.model, run.challengers)


def with_quarantine(workspace: Workspace, given: GovernedInput) -> GovernedInput:
    """`given`, with the place where the quarantine files of its units lie."""
    url = f"{workspace.settings.storage}/{QUARANTINE_FOLDER}"
    return replace(given, source=replace(given.source, quarantine=url))


def pinned_model(model: ModelVersion | None) -> Mapping[str, Any] | None:
    """What a run's record keeps of the version that it applies."""
    if model is None:
        return None
    return {"model": model.model, "version": model.version, "digest": model.digest}


def pinned_challengers(planned: Planned) -> dict[str, Mapping[str, Any] | None]:
    """What a run's record keeps of the versions beside it, by their names in the job."""
    return {name: pinned_model(version) for name, version in planned.challengers.items()}
