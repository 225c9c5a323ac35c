"""A run under an id that somebody else chose: begun where there is none, gone on with where it stopped, taken where it
is done. Doing it twice, or at the same time twice, comes to one run.

1. The id says which job it is of, and when: what was made up for another job is refused.
2. A run that can't go on because its data, its rules or its versions changed stays as it is; the error may pass, since
   the same job goes well under another id.
3. Of two that begin the same run at once one puts its record; the other one goes on with that.
"""

from __future__ import annotations

import re
from dataclasses import replace

from dataops.declarations.jobs import Job
from dataops.engine.progress import Progress
from dataops.errors import AccessDenied, AlreadyExists, Conflict, DataopsError, Integrity, InvalidInput, passing
from dataops.runs.execute import Options, Outcome, resume_planned, run_job
from dataops.runs.ledger import RunState, State, job_of
from dataops.runs.planning import Planned, replan
from dataops.runs.report import report_place
from dataops.runs.workspace import Workspace

_RUN_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}-\d{8}t\d{6}-s?[0-9a-f]{6}")


def run_under(
    workspace: Workspace, job: Job, run_id: str | None, *, source: str, options: Options, progress: Progress
) -> Outcome:
    """The finished run `run_id` of `job` (None: a new one), or the earlier run that makes it needless.

    Raises
    ------
    InvalidInput : `run_id` is no id of a run of `job`.
    DataopsError : as `execute.run_job`.
    """
    if run_id is None:
        return run_job(workspace, job, source=source, options=options, progress=progress)
    _require_id_of(job.name, run_id)
    try:
        found = workspace.ledger.find(run_id) or _begin(workspace, job, run_id, source, options, progress)
        if isinstance(found, Outcome):
            return found
        _require_same_job(found, job)
        return _taken(workspace, found, progress) or _go_on(workspace, found, options, progress)
    except DataopsError:
        by_now = workspace.ledger.find(run_id)
        outcome = None if by_now is None else _taken(workspace, by_now, progress)
        if outcome is None:
            raise
        return outcome  # whoever worked at it beside us has brought it to its end


def _require_id_of(job: str, run_id: str) -> None:
    if _RUN_ID.fullmatch(run_id) is None or job_of(run_id) != job:
        raise InvalidInput(
            f"{run_id!r} can't be a run of job '{job}': expected {job}-YYYYMMDDthhmmss- and six of 0-9, a-f"
        )


def _require_same_job(found: RunState, job: Job) -> None:
    if found.run.kind != job.job:
        raise Conflict(
            f"run {found.run.id} is one of a {found.run.kind} job, and '{job.name}' is a {job.job} job by now: choose "
            "another id"
        )


def _begin(
    workspace: Workspace, job: Job, run_id: str, source: str, options: Options, progress: Progress
) -> Outcome | RunState:
    try:
        return run_job(workspace, job, source=source, options=replace(options, run=run_id), progress=progress)
    except (AlreadyExists, Conflict) as error:
        found = workspace.ledger.find(run_id)
        if found is None or (isinstance(error, Conflict) and found.state is State.FAILED):  # it is ours that failed
            raise
        return found


def _taken(workspace: Workspace, found: RunState, progress: Progress) -> Outcome | None:
    """The outcome of a run that is done; None for one that isn't."""
    if found.state is not State.DONE:
        return None
    progress.say(f"{found.run.job}: run {found.run.id} is done already, and is taken as it is")
    return Outcome(state=found, report=report_place(workspace, found.run.id))


def _go_on(workspace: Workspace, found: RunState, options: Options, progress: Progress) -> Outcome:
    progress.say(f"{found.run.job}: run {found.run.id} was begun before; going on with it")
    return resume_planned(workspace, found.run, _replanned(workspace, found), options=options, progress=progress)


def _replanned(workspace: Workspace, found: RunState) -> Planned:
    try:
        return replan(workspace, found.run)
    except (Integrity, AccessDenied, Conflict) as error:
        raise passing(Conflict(f"run {found.run.id} can't go on, another one may be begun: {error}")) from None
