"""What the command line says of submissions: as facts for people, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dataops.cli.outcome import print_outcome, state_record
from dataops.cli.output import print_error, print_facts, print_json, print_note

if TYPE_CHECKING:
    from datetime import datetime

    from dataops.runs.ledger import RunState
    from dataops.runs.workspace import Workspace
    from dataops.scheduling.submissions import Submission

INTERRUPTED = 130
DIED = 11


def submission_record(submission: Submission) -> dict[str, Any]:
    """The submission as JSON."""
    request = submission.request
    return {
        "submission": submission.id,
        "job": submission.id.rsplit("-", 2)[0],
        "state": submission.state.value,
        "principal": submission.principal,
        "submitted_at": _time(submission.submitted_at),
        "source": request.source if request else None,
        "cluster": request.cluster if request else None,
        "again": request.again if request else None,
        "script": submission.script,
        "taken_at": _time(submission.taken_at),
        "started_at": _time(submission.started_at),
        "ended_at": _time(submission.ended_at),
        "exit_code": submission.exit_code,
        "error": dict(submission.error) if submission.error else None,
        "run": submission.run,
        "skipped": submission.skipped,
        "stop_asked_by": submission.stop_asked_by,
        "retries": submission.retries,
        "next_try_at": _time(submission.next_try_at),
    }


def submission_facts(submission: Submission) -> dict[str, object]:
    """The submission by the names of its facts, for people."""
    facts: dict[str, object] = {
        "submission": submission.id,
        "state": submission.state.value,
        "by": submission.principal or "nobody that can be told",
        "submitted": _spelled(submission.submitted_at),
        "taken": _by(submission.taken_at, submission.script),
        "started": _spelled(submission.started_at),
        "ended": _spelled(submission.ended_at),
        "stop asked for": f"by {submission.stop_asked_by}" if submission.stop_asked_by else None,
        "error" if submission.has_ended else "failed before": _error(submission),
        "tried again": _spelled(submission.next_try_at),
        "nothing changed since": f"run {submission.run}" if submission.skipped else None,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def all_submissions(workspace: Workspace) -> dict[str, Submission]:
    """Every submission of the workspace, by its id; one that can't be read is said on stderr, and hides no other."""
    from dataops.errors import DataopsError, NotFound
    from dataops.scheduling.inbox import open_inbox

    inbox = open_inbox(workspace, read_only=True)
    lying = inbox.lying()
    found: dict[str, Submission] = {}
    for one in inbox.ids():
        try:
            found[one] = inbox.state(one, lying)
        except NotFound:  # taken back meanwhile
            continue
        except DataopsError as error:
            print_note(f"{one} can't be read: {error}")
    return found


def find_submission(workspace: Workspace, run_id: str) -> Submission | None:
    """The submission of that id; None where there is none."""
    from dataops.errors import NotFound
    from dataops.scheduling.inbox import open_inbox
    from dataops.scheduling.requests import is_submission_id

    if not is_submission_id(run_id):
        return None
    try:
        return open_inbox(workspace, read_only=True).state(run_id)
    except NotFound:
        return None


def begun_at(run: RunState | None, submission: Submission | None) -> tuple[str, str]:
    """When it was asked for: what a list of runs is in order of, whatever their jobs."""
    known = run.run.id if run else submission.id if submission else ""
    asked = _time(submission.submitted_at) if submission else None
    return known.split("-")[-2], asked or (run.run.created_at if run else "")


def run_record(run: RunState | None, submission: Submission | None) -> dict[str, Any]:
    """A run, a submission, or both, as JSON; what has no run yet has the keys that it can have."""
    if submission is None:
        return state_record(run) if run else {}
    told = submission_record(submission)
    state = _state_of(run, submission)
    if run is not None:
        return {**state_record(run), "state": state, "submission": told}
    kept = {name: told[name] for name in ("job", "principal", "error")}
    return {"run": submission.id, **kept, "state": state, "created_at": told["submitted_at"], "submission": told}


def run_row(run: RunState | None, submission: Submission | None) -> list[object]:
    """A run, a submission, or both, as a row: id, kind, state, seconds, by whom."""
    state = _state_of(run, submission)
    if run is not None:
        return [run.run.id, run.run.kind, state, sum(run.phase_seconds().values()), run.run.principal]
    return [submission.id, "-", state, None, submission.principal] if submission else []


def _state_of(run: RunState | None, submission: Submission | None) -> str:
    """Where both stand, in a word: the submission knows that it was cancelled, the run whether it is at work."""
    waits = submission is not None and submission.next_try_at is not None
    if submission is None or (run is not None and not submission.has_ended and not waits):
        return run.state.value if run else "unknown"
    return submission.state.value


def print_ended(workspace: Workspace, submission_id: str, *, as_json: bool) -> int:
    """The exit code of a submission that has ended; its outcome is printed as `dataops job run` prints it."""
    from dataops.runs.execute import Outcome
    from dataops.runs.report import report_place
    from dataops.scheduling.inbox import open_inbox
    from dataops.scheduling.submissions import SubmissionState

    found = open_inbox(workspace, read_only=True).state(submission_id)
    run = workspace.ledger.find(found.run or found.id)
    if found.state is SubmissionState.DONE:
        if run is None:
            print_json(submission_record(found)) if as_json else print_facts(submission_facts(found))
        else:
            report = report_place(workspace, run.run.id)
            print_outcome(Outcome(state=run, skipped=found.skipped, report=report), as_json=as_json)
        if found.skipped:
            click.echo(f"{submission_id}: nothing changed since run {found.run}", err=True)
        return 0
    if found.state is SubmissionState.CANCELLED:
        who = f"by {found.stop_asked_by}" if found.stop_asked_by else "by who submitted it"
        print_error("Interrupted", f"{submission_id} was cancelled {who}", as_json=as_json)
        return INTERRUPTED
    error = found.error or {"family": "Unexpected", "message": f"{submission_id} failed"}
    print_error(error["family"], error["message"], as_json=as_json)
    code = found.exit_code
    return code if code is not None and 0 < code < 256 else DIED


def _error(submission: Submission) -> str | None:
    return f"{submission.error['family']}: {submission.error['message']}" if submission.error else None


def _time(moment: datetime | None) -> str | None:
    from dataops.records import format_time

    return None if moment is None else format_time(moment)


def _spelled(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.strftime('%Y-%m-%d %H:%M:%S')} (UTC)"


def _by(moment: datetime | None, script: str | None) -> str | None:
    return None if moment is None else f"{_spelled(moment)} by scheduler script {script}"
