"""The journey of a job: declaration -> grants -> run record -> audit intent -> cluster -> work -> audit result ->
report.

1. Everything that can be refused is refused before a run exists: columns, types, grants, the model.
2. The audit's intent is written before the first row is read; if it can't be, nothing is read.
3. Work that was done before on the same data, under the same effect, with the same code is not done again unless asked.
4. Where its cluster is lost as a whole, the run goes on with another one (`losses`).
5. A run that ends, ends with a state and a report, also when it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord
from dataops.datasets.following import Taken, taken_key
from dataops.datasets.snapshot import Manifest, Snapshot, read_snapshot
from dataops.declarations.clusters import ClusterFile, shape_of
from dataops.declarations.evaluate import EvaluateJob
from dataops.declarations.inputs import INPUT
from dataops.declarations.jobs import Job, job_record
from dataops.declarations.rescore import RescoreJob, Timeouts
from dataops.declarations.train import TrainJob
from dataops.engine.code import code_identity
from dataops.engine.connect import connect
from dataops.engine.progress import Progress
from dataops.engine.survey import surveyed
from dataops.engine.work import Work
from dataops.errors import Compute, Conflict, DataopsError, NotFound, Storage, passing
from dataops.governance.audit import record_result
from dataops.governance.lineage import EventType
from dataops.preparation.join import run_join
from dataops.preparation.join_plan import JoinPlan
from dataops.preparation.prepare import PreparePlan, run_prepare
from dataops.records import format_time, merkle_root, now_utc, parse_time
from dataops.rescoring.kernels import pinned_kernels
from dataops.rescoring.linking import Linkable
from dataops.rescoring.plan import ScorePlan
from dataops.rescoring.run import run_rescore
from dataops.runs.audit import announce, sign_audit
from dataops.runs.kinds import made_by
from dataops.runs.ledger import Run, RunState, State, new_run_id
from dataops.runs.lineage import tell_lineage
from dataops.runs.linking import is_known, link_nothing, link_units, linkable
from dataops.runs.losses import Attempts, on_clusters
from dataops.runs.overrides import ended_overrides
from dataops.runs.planning import Planned, pinned_challengers, pinned_model, plan_job, replan
from dataops.runs.recording import recorded
from dataops.runs.report import report_place, write_run_report
from dataops.runs.showing import public_figures, shown
from dataops.runs.workspace import Workspace

if TYPE_CHECKING:
    from dataops.training.plan import TrainPlan
    from dataops.training.realised import RealisedPlan


RESUMABLE = (Storage, Compute, KeyboardInterrupt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run, apart from what.

    Attributes
    ----------
    cluster : the cluster file's content.
    workers : worker processes, instead of what the cluster file says.
    again : do the work even if a finished run did the same.
    hold : called with the address of the run's page after the work, before the cluster ends (``--watch``).
    run : the id of the run; None: a new one.
    hindsight : the label of a run whose model is younger than the slot that it is for; its events keep it.
    """

    cluster: ClusterFile
    workers: int | None = None
    again: bool = False
    hold: Callable[[str], None] | None = None
    run: str | None = None
    hindsight: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of `run_job` or `resume`; `skipped` when an earlier run had done the same."""

    state: RunState
    skipped: bool = False
    report: str | None = None


def run_job(workspace: Workspace, job: Job, *, source: str, options: Options, progress: Progress) -> Outcome:
    """The finished run of `job`, or the earlier run that makes a new one needless.

    Raises
    ------
    DataopsError : of the family that says what to do; the run is recorded as failed, and can be resumed.
    """
    if isinstance(job, RescoreJob) and job.followed is not None:
        from dataops.runs.following import run_following

        return run_following(workspace, job, source=source, options=options, progress=progress)
    planned = plan_job(workspace, job, workspace.open_inputs(job), source=source)
    also_submitted = workspace.acting_for is not None  # else they would keep a schedule's own run from being done
    earlier = None if options.again else workspace.ledger.find_done(planned.work_digest, submitted=also_submitted)
    if earlier is not None and _is_current(workspace, job, earlier):
        progress.say(f"{job.name}: nothing changed since run {earlier.run.id}; --again does it anew")
        return Outcome(state=earlier, skipped=True, report=report_place(workspace, earlier.run.id))
    return start_run(workspace, planned, options=options, progress=progress)


def start_run(workspace: Workspace, planned: Planned, *, options: Options, progress: Progress) -> Outcome:
    """The finished run of `planned`, from its record on.

    Raises
    ------
    DataopsError : as `run_job`.
    """
    job = planned.job
    grant = planned.inputs[INPUT].grant
    at = now_utc()
    run = Run(
        id=options.run or new_run_id(job.name, at),
        job=job.name,
        kind=job.job,
        declaration=job_record(job),
        source=planned.source,
        principal=grant.principal,
        roles=grant.roles,
        inputs={name: given.pinned() for name, given in planned.inputs.items()},
        model=pinned_model(planned.model),
        challengers=pinned_challengers(planned),
        code=code_identity(),
        work_digest=planned.work_digest,
        created_at=format_time(at),
        replay_of=planned.replay_of,
    )
    if options.again and isinstance(job, RescoreJob):
        link_nothing(workspace.store, job.output, run.id)
    if (taken := planned.inputs[INPUT].taken) is not None:
        _put_taken(workspace, run.id, taken)
    workspace.ledger.start(run, {name: given.units for name, given in planned.inputs.items()})
    if taken is not None:
        workspace.ledger.emit(run.id, "files_taken", **taken.counts)
    return _carry_out(workspace, run, planned, options, progress, event="run_started")


def _put_taken(workspace: Workspace, run_id: str, taken: Taken) -> None:
    if not workspace.store.put_if_absent(taken_key(run_id), taken.to_bytes()):
        raise passing(Conflict(f"run {run_id}: somebody else took other files under this id; choose another one"))


def _is_current(workspace: Workspace, job: Job, earlier: RunState) -> bool:
    """Whether readers of the output still see what `earlier` made: another run may have replaced it, or somebody
    taken the registry away.
    """
    if isinstance(job, TrainJob):
        return all(_is_registered(workspace, job.name, version) for version in earlier.result["versions"])
    if isinstance(job, EvaluateJob):  # it leaves figures, and they are on record
        return True
    snapshot = read_snapshot(workspace.store, job.output)
    return snapshot is not None and snapshot.manifests[-1].run == earlier.run.id


def _is_registered(workspace: Workspace, model: str, made: Mapping[str, Any]) -> bool:
    try:
        found = workspace.registry.read_manifest(model, made["version"])  # signed or not: it is there
        return found.digest == str(made["digest"])
    except NotFound:
        return False


def resume(workspace: Workspace, run_id: str, *, options: Options, progress: Progress) -> Outcome:
    """The run, taken up where it stopped: units with a record are not done again.

    Raises
    ------
    Conflict : the run was done to its end.
    Integrity, AccessDenied : its data or what the policies let its reader see changed since.
    """
    found = workspace.ledger.state(run_id)
    if found.state is State.DONE:
        raise Conflict(f"run {run_id} is done; there is nothing to resume")
    return resume_planned(workspace, found.run, replan(workspace, found.run), options=options, progress=progress)


def resume_planned(
    workspace: Workspace, run: Run, planned: Planned, *, options: Options, progress: Progress
) -> Outcome:
    """`run`, taken up as `planned` again (`planning.replan`)."""
    return _carry_out(workspace, run, planned, options, progress, event="run_resumed")


def _carry_out(
    workspace: Workspace, run: Run, planned: Planned, options: Options, progress: Progress, *, event: str
) -> Outcome:
    def emit(name: str, /, **fields: Any) -> None:
        workspace.ledger.emit(run.id, name, **fields)

    label = {"hindsight": options.hindsight} if options.hindsight else {}
    emit(event, principal=planned.inputs[INPUT].grant.principal, code=code_identity()["digest"], **label)
    if run.code != code_identity():
        progress.say(
            "  note: the code changed since this run began, so no later run relies on what comes of it; "
            "--again starts a new one with the code as it is"
        )
    for note in (*planned.notes, *ended_overrides(workspace, planned.job, now=now_utc())):
        progress.say(f"  note: {note}")
    tell_lineage(workspace, run, planned, EventType.START, progress)
    announced = done = False
    told: set[str] = set()

    def work_through(attempts: Attempts) -> str | None:
        nonlocal done
        with (
            ThreadPoolExecutor(1) as writer,  # the report is written while the cluster ends
            working(planned.job, run.id, options, progress, emit, figures=asked) as (work, page),
            recorded(work, workspace.settings.storage, wanted=options.cluster.record) as keep_records,
        ):
            attempts.met = True
            result = _do(workspace, with_surveys(workspace, run, planned, work), work)
            keep_records()
            # before the run is done: if it dies here, it can be resumed, and no reading stays without a result
            _record_results(workspace, run, planned, told, outcome="done", result=result)
            tell_lineage(workspace, run, planned, EventType.COMPLETE, progress, result=result)
            workspace.ledger.finish(run, result)
            done = True
            work.tell("run_ended", state="done", figures=_shown_of(workspace, run))
            try_sign_audit(workspace, progress)
            report = writer.submit(try_report, workspace, run, progress)
            if options.hold is not None:
                options.hold(page)
        return report.result()

    def lost(error: Compute, seconds: float) -> None:
        emit("cluster_lost", message=str(error), seconds=seconds)
        progress.say(f"  {error}; what is missing is done on another cluster in {seconds:g} seconds")

    try:
        _record_intents(workspace, run, planned)
        announced = True
        asked = _shown_of(workspace, run)
        report = on_clusters(work_through, lost)
    except BaseException as error:
        if not done:
            _record_failure(workspace, run, planned if announced else None, told, error)
            try_sign_audit(workspace, progress)
            tell_lineage(workspace, run, planned, EventType.FAIL, progress, error=error)
            if isinstance(error, RESUMABLE):  # what is wrong in data or declaration is wrong again
                error.add_note(f"`dataops job resume {run.id}` goes on with what is missing.")
        raise
    return Outcome(state=workspace.ledger.state(run.id), report=report)


def _shown_of(workspace: Workspace, run: Run) -> Mapping[str, Any]:
    """The figures that the page shows of a run; where they can't be had the page has none, and the run goes on."""
    try:
        return public_figures(workspace.ledger.state(run.id), workspace.registry)
    except Exception:  # noqa: BLE001  # whatever it is, the page is no reason to fail
        return {}


def try_report(workspace: Workspace, run: Run, progress: Progress) -> str | None:
    """Where the report is; a page that can't be drawn doesn't undo a run that is done."""
    if report_place(workspace, run.id) is None:
        how = f"`dataops job report {run.id} --standalone FILE`"
        progress.say(f"{run.job}: the storage is no folder for a page; {how} writes one")
        return None
    try:
        return str(write_run_report(workspace, run.id))
    except Exception as error:  # noqa: BLE001  # whatever it is, the figures are on record
        progress.say(f"{run.job}: no report ({type(error).__name__}); try `dataops job report {run.id}`")
        return None


def try_sign_audit(workspace: Workspace, progress: Progress) -> None:
    """A checkpoint of the audit at the end of a run; one that can't be written doesn't undo the run."""
    if note := sign_audit(workspace):
        progress.say(f"  note: {note}")


def _record_failure(
    workspace: Workspace, run: Run, planned: Planned | None, told: set[str], error: BaseException
) -> None:
    """What went wrong, on record as far as the store still takes it: a second error would hide the first.

    `planned` is None where the audit doesn't know of all readings: a result without its intent looks like tampering.
    """
    message = str(error) if isinstance(error, DataopsError) else "unexpected; its text may hold values"
    message = "interrupted" if isinstance(error, KeyboardInterrupt) else message
    with suppress(DataopsError):
        workspace.ledger.emit(run.id, "run_failed", family=type(error).__name__, message=message)
        if planned is not None:
            _record_results(workspace, run, planned, told, outcome="failed", result={})
        write_run_report(workspace, run.id)


@contextmanager
def working(
    job: Job,
    run: str,
    options: Options,
    progress: Progress,
    emit: Callable[..., None],
    *,
    figures: Mapping[str, Any] | None = None,
) -> Iterator[tuple[Work, str]]:
    """What `job` is done with under the id `run`, and where people can watch it, while its cluster stands.

    Parameters
    ----------
    figures : what the page shows of what was asked.
    """
    shape = shape_of(options.cluster, training=isinstance(job, TrainJob))
    timeouts = job.timeouts if isinstance(job, RescoreJob) else Timeouts()
    progress.say(f"{job.name}: run {run}")
    with (
        connect(options.cluster, shape, workers=options.workers) as connection,
        shown(connection, run, job=job.name, kind=job.job, figures=figures or {}, progress=progress) as (teller, page),
    ):
        counts = {"worker": connection.workers, "thread": connection.threads}
        size = " x ".join(f"{count} {noun}{'s' * (count > 1)}" for noun, count in counts.items())
        progress.say(f"  dashboard    {page}  ({size})")
        if connection.trouble:
            progress.say(f"  missing      {connection.trouble}")

        def told(event: str, /, **fields: Any) -> None:
            emit(event, **fields)
            teller.tell(event, **fields)

        told("cluster_ready", workers=connection.workers, threads=connection.threads)
        work = Work(
            client=connection.client,
            run=run,
            emit=told,
            progress=progress,
            run_seconds=timeouts.run_seconds,
            stalled_seconds=timeouts.stalled_seconds,
            teller=teller,
        )
        yield work, page


def with_surveys(workspace: Workspace, run: Run, planned: Planned, work: Work) -> Planned:
    """`planned` over inputs that keep the rules of the whole dataset, and whose workers know what a survey found."""
    at, storage = parse_time(run.created_at), workspace.settings.storage
    inputs = {name: surveyed(given, work, storage=storage, at=at) for name, given in planned.inputs.items()}
    plan = planned.plan
    if not isinstance(plan, PreparePlan | ScorePlan):
        plan = plan.reading({name: given.source for name, given in inputs.items()})
    return replace(planned, inputs=inputs, plan=plan)


def _do(workspace: Workspace, planned: Planned, work: Work) -> dict[str, Any]:
    """The job's result: small, JSON, without a value of any row."""
    settings, given = workspace.settings, planned.inputs[INPUT]
    match planned.plan:
        case PreparePlan() as plan:
            return published_result(
                *run_prepare(plan, given, work, storage=settings.storage, replay_of=planned.replay_of)
            )
        case JoinPlan() as plan:
            manifest, snapshot, reads = run_join(plan, planned.inputs, work, storage=settings.storage)
            return {**published_result(manifest, snapshot), "reads": reads}
        case ScorePlan() as plan:
            manifest, snapshot, figures = run_rescore(
                plan,
                given,
                work,
                storage=settings.storage,
                registry=settings.registry,
                replay_of=planned.replay_of,
                follows={**given.taken.lineage(), "made_by": made_by(plan, given)} if given.taken else None,
                **_linked(workspace, planned, plan, work),
            )
            result = {**published_result(manifest, snapshot), **figures, "model": pinned_model(plan.model)}
            return {**result, "arrivals": dict(given.taken.counts)} if given.taken else result
        case plan:
            return _learn_or_judge(workspace, plan, planned.inputs, work)


def _learn_or_judge(
    workspace: Workspace, plan: TrainPlan | RealisedPlan, inputs: Mapping[str, GovernedInput], work: Work
) -> dict[str, Any]:
    from dataops.training.realised import RealisedPlan, run_realised
    from dataops.training.train import run_train

    if isinstance(plan, RealisedPlan):
        return run_realised(plan, inputs, work)
    registry, submitter = workspace.registry, workspace.submitter
    key = workspace.signing_key() if submitter is None else None  # this account vouches for nothing of somebody else's
    return run_train(plan, inputs, work, registry=registry, store=workspace.store, key=key, submitted_by=submitter)


def _linked(workspace: Workspace, planned: Planned, plan: ScorePlan, work: Work) -> _Linking:
    """What later runs may take the units of this one over by, and what it took over itself; replays and runs that
    follow do neither, and of a run that several codes worked at nothing may be taken over.
    """
    if planned.replay_of is not None or planned.inputs[INPUT].taken is not None:
        return {}
    store, settings, given = workspace.store, workspace.settings, planned.inputs[INPUT]
    kernels = pinned_kernels(store, plan, given.units, run=work.run, registry=settings.registry)
    wanted = linkable(store, plan, given, kernels)
    if not is_known(wanted):
        return {}
    with work.phase("link"):
        linked = link_units(store, settings.storage, plan.job.output, work.run, wanted, emit=work.emit)
    if linked:
        work.progress.say(f"  {len(linked):,} of {len(wanted.rows):,} units were scored before, and are taken over")

    def told() -> Linkable | None:
        return wanted if workspace.ledger.state(work.run).is_of_one_code else None

    return {"linkable": told, "linked": linked}


class _Linking(TypedDict, total=False):
    """What `run_rescore` is told of units that are like those of before."""

    linkable: Callable[[], Linkable | None]
    linked: Mapping[str, UnitRecord]


def published_result(manifest: Manifest, snapshot: Snapshot) -> dict[str, Any]:
    """The result of a run that published `manifest`, as far as that says it."""
    read = {"counts": dict(manifest.counts), "receipts_root": manifest.receipts_root}
    return {"dataset": manifest.dataset, "snapshot": snapshot.number, "reads": {INPUT: read}}


def _record_intents(workspace: Workspace, run: Run, planned: Planned) -> None:
    for given, _ in _readings(planned).values():
        announce(workspace, run.id, given.pinned())  # who reads now: not always who started the run


def _readings(planned: Planned) -> dict[tuple[str, str], tuple[GovernedInput, list[str]]]:
    """What the audit tells apart, by dataset and purpose: what is read, and its names in the run. A join may read one
    dataset for one purpose several times.
    """
    found: dict[tuple[str, str], tuple[GovernedInput, list[str]]] = {}
    for name, given in planned.inputs.items():
        found.setdefault((given.dataset.name, str(given.grant.purpose)), (given, []))[1].append(name)
    return found


def _record_results(
    workspace: Workspace, run: Run, planned: Planned, told: set[str], *, outcome: str, result: Mapping[str, Any]
) -> None:
    """One result for each reading that isn't `told` of yet: a second one, without an intent, looks like tampering."""
    if workspace.ledger.state(run.id).state is State.DONE:  # by another process: its results closed our intents too
        return
    reads = result.get("reads", {})
    for given, names in _readings(planned).values():
        if names[0] in told:
            continue
        told.add(names[0])  # before it is written: of a write that failed nobody knows whether it is there
        read = _together([reads[name] for name in names if name in reads])
        record_result(
            workspace.audit,
            run=run.id,
            dataset=given.dataset.name,
            purpose=given.grant.purpose,
            outcome=outcome,
            counts=read.get("counts", {}),
            receipts_root=read.get("receipts_root"),
        )


def _together(reads: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What was read of one dataset for one purpose: rows of several readings added up, their roots under one."""
    if len(reads) < 2:
        return reads[0] if reads else {}
    names = dict.fromkeys(name for one in reads for name in one["counts"])
    return {
        "counts": {name: sum(one["counts"].get(name, 0) for one in reads) for name in names},
        "receipts_root": merkle_root(one["receipts_root"] for one in reads),
    }
