"""Runs of a job that follows files as they arrive: each takes what is new, and adds its scores to what there is.

1. What was taken is what was published (`datasets.following`). A run that died before it published took nothing: the
   next one takes its files. One that died after it is brought to its end first.
2. A run with nothing to take isn't begun, but for the very first: its empty output is there for readers.
3. Rows of all runs are one dataset, so a run that would make them otherwise (`kinds`) is refused: another output, or
   the job as it was. Model version (of the same features) and code may move on: each manifest says which version
   scored its rows.
4. Polling looks again after a while. What may pass by itself (`errors.DataopsError.may_pass`: a run that was first,
   storage, the cluster, a file that changed or went away meanwhile) is told and tried again; all else ends it, since a
   person has to mend it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from dataops.datasets.following import Taken, spell_counts
from dataops.datasets.snapshot import last_followed, read_manifest
from dataops.declarations.inputs import INPUT
from dataops.declarations.jobs import Job
from dataops.declarations.rescore import RescoreJob
from dataops.engine.progress import Progress
from dataops.errors import Conflict, DataopsError, InvalidInput, NotFound
from dataops.rescoring.plan import ScorePlan
from dataops.runs.execute import Options, Outcome, start_run
from dataops.runs.finish import finish_published
from dataops.runs.kinds import columns_of_another_kind, columns_of_other_origins, made_by, made_otherwise
from dataops.runs.ledger import State
from dataops.runs.planning import Planned, plan_job
from dataops.runs.report import report_place
from dataops.runs.workspace import Workspace

SHOWN = 5


def run_following(
    workspace: Workspace, job: RescoreJob, *, source: str, options: Options, progress: Progress
) -> Outcome:
    """The finished run of `job` over what arrived, or the last one where nothing did.

    Raises
    ------
    DataopsError : as `execute.run_job`.
    Conflict : another run took files meanwhile, or the scores would be of another kind than those there are.
    """
    if options.again:
        raise InvalidInput(
            f"{source}: job '{job.name}' follows files, each of which is scored once, so --again has nothing to do. To "
            "score them all anew, give the job another output"
        )
    _finish_last(workspace, job, progress)
    planned = plan_job(workspace, job, workspace.open_inputs(job), source=source)
    taken = planned.inputs[INPUT].taken
    assert taken is not None  # noqa: S101  # such a job's input is opened so
    _require_same_kind(workspace, planned, taken)
    for line in spelled(taken):
        progress.say(f"{job.name}: {line}")
    if taken.previous is not None and not taken.fragments:
        last = taken.previous[0]
        progress.say(f"{job.name}: nothing to score since run {last}")
        return Outcome(state=workspace.ledger.state(last), skipped=True, report=report_place(workspace, last))
    return start_run(workspace, planned, options=options, progress=progress)


def require_followed(job: Job, source: str) -> None:
    """Nothing, if `job` follows files.

    Raises
    ------
    InvalidInput : it doesn't, and looking again would do the same again.
    """
    if not isinstance(job, RescoreJob) or job.followed is None:
        raise InvalidInput(
            f"{source}: job '{job.name}' doesn't follow files, so there is nothing to --poll for: write `input: "
            "{dataset: NAME, follow: true}`"
        )


def _finish_last(workspace: Workspace, job: RescoreJob, progress: Progress) -> None:
    """The last run that was published has its end on record."""
    last = last_followed(workspace.store, job.output)
    if last is None:
        return
    try:
        found = workspace.ledger.state(last["run"])
    except NotFound:  # somebody cleared old runs away
        return
    if found.state is not State.DONE:
        manifest = read_manifest(workspace.store, job.output, last["run"], last["digest"])
        finish_published(workspace, found.run, manifest, progress)
        progress.say(f"{job.name}: run {found.run.id} had published its scores and not ended; it is done now")


def _require_same_kind(workspace: Workspace, planned: Planned, taken: Taken) -> None:
    plan = planned.plan
    if taken.previous is None or not isinstance(plan, ScorePlan):
        return
    manifest = read_manifest(workspace.store, plan.job.output, taken.previous[0])
    then = (manifest.follows or {}).get("made_by", {})
    differing = [
        *columns_of_another_kind(plan.columns, manifest.columns),
        *made_otherwise(made_by(plan, planned.inputs[INPUT]), then),
    ]
    moved = columns_of_other_origins(plan.columns, manifest.columns)
    if moved:
        raise Conflict(
            f"dataset '{plan.job.output}': {', '.join(moved[:SHOWN])} would be derived from other columns than before: "
            "the model has other features. Who may read the output is decided by what its columns were derived from, "
            "so rows of both can't be one dataset; give the job another output, or follow with a version of the same "
            "features"
        )
    if differing:
        raise Conflict(
            f"dataset '{plan.job.output}': {', '.join(differing[:SHOWN])} would be otherwise than before: job, "
            "contract, policy or keys changed since. Rows of both kinds can't be one dataset; give the job another "
            "output"
        )


def spelled(taken: Taken) -> list[str]:
    """What a look found, in lines for people."""
    lines = [spell_counts(taken.counts)]
    advice = {
        "unfinished": "not a whole Parquet file yet",
        "unnamed": "its name, or its folder's, holds characters that don't print; deliver it under another one",
        "changed": "changed after it was scored; its rows stay as they are, so deliver them under another name",
        "late": "below the watermark",
        "repeated": "the same as a file under another name",
    }
    for what, names in taken.named.items():
        lines.append(f"  {', '.join(names)}: {advice[what]}")
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """How often to look: every so many `seconds`, `times` in all (None: until it is stopped)."""

    seconds: float
    times: int | None = None

    def goes_on(self, looks: int) -> bool:
        """Whether there is another look after so many."""
        return self.times is None or looks < self.times


def poll(
    run: Callable[[], Outcome], polling: Polling, *, progress: Progress, sleep: Callable[[float], None]
) -> Outcome:
    """What came of the last look.

    Parameters
    ----------
    run : looks once, under the policies and the declaration of that moment.
    sleep : waits for so many seconds.

    Raises
    ------
    DataopsError : what doesn't pass by itself; and what the last look ran into.
    """
    for looks in count(1):
        try:
            outcome = run()
            if not polling.goes_on(looks):
                return outcome
        except DataopsError as error:
            if not error.may_pass or not polling.goes_on(looks):
                raise
            progress.say(f"  note: {type(error).__name__}: {error}")
        progress.say(f"  looking again in {polling.seconds:g} seconds")
        sleep(polling.seconds)
    raise AssertionError  # there is no last number
