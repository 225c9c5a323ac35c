"""What a rescore does, decided before it runs: the models, what is read for them, what columns come out.

1. A model version carries its feature program: raw data goes through the very preparation that made the training set.
   Data that this preparation made goes straight to the encoder; data prepared otherwise is refused.
2. All models of one pass score the same rows: their programs keep rows by the same condition.
3. All models of one pass are of one task: it decides which columns come out (`scales`).
4. A score is derived from every column that its program reads: it has their classifications, names and marks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dataops.datasets.access import GovernedInput
from dataops.declarations.metrics import Task
from dataops.declarations.outputs import OWN, Output, column_name
from dataops.declarations.rescore import RescoreJob
from dataops.errors import InvalidInput, near_match
from dataops.features.program import FeatureProgram
from dataops.governance.contract import Column, inherited_classification
from dataops.governance.marks import derived_marks, derived_origins
from dataops.records import Record
from dataops.registry.versions import LoadedVersion, ModelVersion
from dataops.rescoring.monitor import counted_slices, plan_monitoring
from dataops.rescoring.monitored import Monitored, slices_of
from dataops.rescoring.scales import scale_of
from dataops.rescoring.unit_plan import ScoredModel, UnitPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePlan:
    """A rescore job, resolved against the model versions and what may be read; the job's own model comes first.

    `task` is that of all of them.
    """

    job: RescoreJob
    models: tuple[ScoredModel, ...]
    read: tuple[str, ...]
    columns: tuple[Column, ...]
    task: Task = Task.BINARY

    @property
    def of_units(self) -> UnitPlan:
        """What workers are told of it."""
        return UnitPlan(
            models=self.models,
            read=self.read,
            keep=self.job.keep,
            outputs=self.outputs,
            threshold=self.threshold,
            sort_by=self.job.sort_by,
            output=self.job.output,
            task=self.task,
        )

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What each model gives."""
        return scale_of(self.task).outputs(self.job.outputs)

    @property
    def threshold(self) -> float | None:
        """The probability from which on a prediction is true; None for numbers."""
        return scale_of(self.task).threshold if self.job.threshold is None else self.job.threshold

    @property
    def model(self) -> ModelVersion:
        """The version of the job's own model."""
        return self.models[0].version

    @property
    def slices(self) -> Mapping[str, tuple[str, ...]]:
        """Column -> the values by which drift and impact are told, as the job's own model was judged by."""
        return slices_of(self.monitored)

    @property
    def monitored(self) -> Mapping[str, Monitored | None]:
        """How the rows of each model are counted for drift, by its name in the job."""
        return {one.name: one.monitored for one in self.models}

    @property
    def challengers(self) -> Mapping[str, ModelVersion]:
        """The versions of the other models, by their names in the job."""
        return {one.name: one.version for one in self.models[1:]}


def plan_rescore(
    job: RescoreJob, given: GovernedInput, versions: Mapping[str, LoadedVersion], *, where: str
) -> ScorePlan:
    """`job` over `given` with `versions`, by their names in the job (`OWN` and the challengers').

    Raises
    ------
    AccessDenied : a model or `keep` needs a column that the policies deny for scoring, or a model one that they mask
        otherwise than it learnt.
    InvalidInput : the data lacks a column or was prepared by another declaration than a model's training set; models
        that don't score the same rows, are of two tasks, or of one whose predictions can't be compared; outputs that
        the task hasn't; columns of one name; a model without decile edges; something to monitor that the model wasn't
        judged by.
    """
    task = _one_task(job, versions, where)
    outputs = _outputs_of(job, task, where)
    models = tuple(_scored(name, versions[name], job, outputs, given, where) for name in (OWN, *job.challengers))
    given.require_columns(job.keep, where=f"{where}: keep")
    slices = _slice_sources(models[0], job)
    given.require_columns(slices, where=f"{where}: monitor.slices")
    _require_same_rows(models, where)
    granted = {column.name: column for column in given.masked_columns()}
    scored = tuple(column for model in models for column in _outputs(model, outputs, task, granted))
    columns = (*(granted[name] for name in job.keep), *scored)
    _require_own_names(job, scored, where)
    needed = {name for model in models for name in model.program.source_columns()}
    read = tuple(name for name in granted if name in needed or name in (*job.keep, *slices))
    return ScorePlan(job=job, models=models, read=read, columns=columns, task=task)


def _one_task(job: RescoreJob, versions: Mapping[str, LoadedVersion], where: str) -> Task:
    own = versions[OWN]
    if job.challengers and not scale_of(own.package.task).compares:
        raise InvalidInput(
            f"{where}: challengers: {own.version.reference} is of task {own.package.task}, and what another model "
            "calls a cluster says nothing of this one's; score each in a job of its own"
        )
    for name in job.challengers:
        if versions[name].package.task is not own.package.task:
            raise InvalidInput(
                f"{where}: challengers.{name}: model {versions[name].version.reference} is of task "
                f"{versions[name].package.task}, and {own.version.reference} of task {own.package.task}: what they "
                "give can't be compared; score it in a job of its own"
            )
    return own.package.task


def _outputs_of(job: RescoreJob, task: Task, where: str) -> tuple[Output, ...]:
    """What each model gives; InvalidInput where its task hasn't that."""
    scale = scale_of(task)
    strange = [output for output in job.outputs or () if output not in scale.types]
    if strange:
        raise InvalidInput(
            f"{where}: outputs: a model of task {task} gives {' and '.join(scale.types)}, and no {', '.join(strange)}"
        )
    if job.threshold is not None and scale.threshold is None:
        raise InvalidInput(f"{where}: threshold: a model of task {task} decides nothing: leave it out")
    return scale.outputs(job.outputs)


def _scored(
    name: str,
    version: LoadedVersion,
    job: RescoreJob,
    outputs: Sequence[Output],
    given: GovernedInput,
    where: str,
) -> ScoredModel:
    program = program_for(given, version, where=where)
    place = f"{where}: model {version.version.reference}"
    given.require_columns(program.source_columns(), where=place)
    given.grant.require_masks(program.source_columns(), version.package.program.steps.generalise, what=place)
    reference = version.package.reference
    edges = None if reference is None else reference.decile_edges
    if Output.DECILE in outputs and edges is None:
        raise InvalidInput(
            f"{place} has no edges for deciles: it was made by an earlier release, or judged on too few rows. Train it "
            "anew, or leave decile out of outputs"
        )
    return ScoredModel(
        name=name,
        version=version.version,
        program=program,
        program_digest=program.digest,
        decile_edges=edges,
        score_edges=() if reference is None else tuple(reference.spec.scores.edges.tolist()),
        monitored=plan_monitoring(reference, job.monitor, own=name == OWN, where=place),
    )


def _slice_sources(own: ScoredModel, job: RescoreJob) -> tuple[str, ...]:
    """The columns of the job's slices that are read for them; the program of the job's own model derives the others."""
    derived = {name for name, _ in own.program.steps.derive}
    return tuple(name for name in counted_slices(job) if name not in derived)


def _require_same_rows(models: Sequence[ScoredModel], where: str) -> None:
    """Nothing, if all models keep rows by one condition."""
    own, *others = [(model, _condition(model.program)) for model in models]
    for model, condition in others:
        if condition != own[1]:
            raise InvalidInput(
                f"{where}: challengers.{model.name}: model {model.version.reference} keeps rows by another condition "
                f"than {own[0].version.reference}, so the two don't score the same rows; score it in a job of its own"
            )


def _condition(program: FeatureProgram) -> Record:
    """The steps that decide which rows there are."""
    return program.steps.needed_for(()).record()


def _outputs(
    model: ScoredModel, outputs: Sequence[Output], task: Task, granted: Mapping[str, Column]
) -> Iterator[Column]:
    """Columns of scores, derived from what the model reads: what restricts one of those restricts them."""
    sources = [granted[name] for name in model.program.source_columns()]
    for output in outputs:
        yield Column(
            name=column_name(output, model.name),
            type=scale_of(task).types[output],
            required=True,
            classification=inherited_classification(sources),
            masks=derived_marks(sources),
            origins=derived_origins(sources),
        )


def _require_own_names(job: RescoreJob, scored: Sequence[Column], where: str) -> None:
    names = [column.name for column in scored]
    clash = sorted(set(names) & set(job.keep))
    if clash:
        raise InvalidInput(f"{where}: keep: '{clash[0]}' is a column that scores have themselves")
    unknown = [name for name in job.sort_by if name not in (*job.keep, *names)]
    if unknown:
        raise InvalidInput(
            f"{where}: sort_by: '{unknown[0]}' is no column of the output.{near_match(unknown[0], [*job.keep, *names])}"
        )


def program_for(given: GovernedInput, version: LoadedVersion, *, where: str) -> FeatureProgram:
    """The model's program as `given` needs it: whole for raw data, without steps for data that its own preparation
    made.
    """
    trained_on = version.package.lineage.get("preparation_digest")
    made_by = given.dataset.lineage.get("preparation_digest")
    if made_by is None:
        return version.package.program
    if made_by != trained_on:
        raise InvalidInput(
            f"{where}: dataset '{given.dataset.name}' was prepared by another declaration than the training set of "
            f"{version.version.reference}; rescore the raw data, or prepare it as the model's training set was"
        )
    return version.package.program.after_preparation()
