"""Submissions: how far each got, as the fold of its journal. Pure.

::

    submitted -> taken -> running -> done | failed | cancelled
        |          ^        |          (a run of its id exists once it is running)
        |          +--------+ (its process failed by what may pass; it is begun again, later)
        +-> failed (its request was refused), cancelled (before anybody took it)

1. Exactly one record ends a submission; nothing follows it.
2. A scheduler script holds what it took. What another one took it takes only in place of that one, by name; what the
   first one says after that counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from dataops.errors import Conflict, Format
from dataops.governance.signing import Signature
from dataops.records import Record, format_time, parse_time
from dataops.scheduling.requests import Request

MAX_MESSAGE_LENGTH = 10_000
MOST_RETRIES = 2
FIRST_WAIT = timedelta(minutes=1)
"""Before the first retry; twice as long before each after it."""


class SubmissionState(StrEnum):
    """Where a submission stands."""

    SUBMITTED = "submitted"
    TAKEN = "taken"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDS = (SubmissionState.DONE, SubmissionState.FAILED, SubmissionState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A submission as of now.

    Attributes
    ----------
    id : also of the run that comes of it.
    principal : who asked: as the script that took it found out; before that, as the request says. None where the
        request can't be read.
    request, request_digest : what was asked for, and the digest of its bytes; None where it can't be read.
    script : which scheduler script holds it, or held it to its end.
    taken_at, started_at, ended_at : by the clocks of those scripts.
    exit_code : of its process; below 0: it was ended by that signal. None where it never ran.
    error : ``family`` and ``message`` of what went wrong.
    retries, failed_at, next_try_at : how often its process failed by what may pass, when it last did, and when it is
        begun again.
    run : the run whose result is its own: of its id, or, where nothing had changed, an earlier one (`skipped`).
    stop_asked_by : who asked for it to stop.
    """

    id: str
    state: SubmissionState
    principal: str | None = None
    request: Request | None = None
    request_digest: str | None = None
    script: str | None = None
    taken_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    error: Mapping[str, str] | None = None
    run: str | None = None
    skipped: bool = False
    stop_asked_by: str | None = None
    retries: int = 0
    failed_at: datetime | None = None
    next_try_at: datetime | None = None

    def waits(self, now: datetime) -> bool:
        """Whether it is too early to begin it again; a wait by a clock that has gone back since is over."""
        return self.next_try_at is not None and self.failed_at is not None and self.failed_at <= now < self.next_try_at

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in _ENDS

    @property
    def submitted_at(self) -> datetime | None:
        """When, by the clock of who submitted it."""
        return self.request.submitted_at if self.request else None


def taken(
    request: Request,
    *,
    principal: str,
    digest: str,
    script: str,
    at: datetime,
    instead_of: str | None,
    signature: Signature | None = None,
) -> Record:
    """That `script` takes the submission, in place of the script `instead_of` where that had it; with the `signature`
    by which it is the principal's, where it has one: the request is taken out of the inbox at its end.
    """
    signed = {} if signature is None else {"signature": signature.record()}
    return {
        "event": "taken",
        "at": format_time(at),
        "script": script,
        "instead_of": instead_of,
        "principal": principal,
        "request": request.record(),
        "request_digest": digest,
        **signed,
    }


def started(*, script: str, at: datetime) -> Record:
    """That `script` started its process."""
    return {"event": "started", "at": format_time(at), "script": script}


def retry(before: Submission, *, script: str, at: datetime, exit_code: int, error: Mapping[str, str]) -> Record:
    """That its process failed by what may pass, and when `script`, or whoever takes its place, begins it again."""
    return {
        "event": "retry",
        "at": format_time(at),
        "script": script,
        "next_try_at": format_time(at + FIRST_WAIT * 2**before.retries),
        "exit_code": exit_code,
        "error": dict(error),
    }


def ended(
    state: SubmissionState,
    *,
    script: str,
    at: datetime,
    principal: str | None,
    request: Request | None,
    exit_code: int | None = None,
    error: Mapping[str, str] | None = None,
    run: str | None = None,
    skipped: bool = False,
    stopped_by: str | None = None,
) -> Record:
    """That it came to its end; with the `request` where nobody took it, as far as that can be read."""
    return {
        "event": "ended",
        "at": format_time(at),
        "script": script,
        "outcome": state.value,
        "principal": principal,
        "request": request.record() if request else None,
        "exit_code": exit_code,
        "error": dict(error) if error else None,
        "run": run,
        "skipped": skipped,
        "stopped_by": stopped_by,
    }


def ended_by_process(exit_code: int, answer: Mapping[str, Any] | None, *, stopped_by: str | None) -> dict[str, Any]:
    """What a process that carried out a submission came to: the fields of `ended` that follow from it.

    Parameters
    ----------
    exit_code : below 0, it was ended by that signal.
    answer : the JSON document on its stdout; None where it left none.
    stopped_by : who asked for it to stop; a run that was done by then stays done.
    """
    said = answer or {}
    if exit_code == 0:
        run = said.get("run")
        run = run if isinstance(run, str) else None
        return {"state": SubmissionState.DONE, "exit_code": 0, "run": run, "skipped": said.get("skipped") is True}
    if stopped_by is not None:
        return {"state": SubmissionState.CANCELLED, "exit_code": exit_code, "stopped_by": stopped_by}
    error = said.get("error")
    told = error if isinstance(error, Mapping) else {}
    how = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    family = str(told.get("family", "Compute" if exit_code < 0 else "Unexpected"))
    message = str(told.get("message", f"its process ended with {how} and said nothing"))[:MAX_MESSAGE_LENGTH]
    return {
        "state": SubmissionState.FAILED,
        "exit_code": exit_code,
        "error": {"family": family, "message": message},
    }


def fold(submission_id: str, bodies: Iterable[Mapping[str, Any]]) -> Submission | None:
    """The submission after these entries of its journal; None for none.

    Raises
    ------
    Format : an entry that this release doesn't know.
    Conflict : an entry that doesn't fit what was before it.
    """
    found: Submission | None = None
    for body in bodies:
        found = apply(submission_id, found, body)
    return found


def apply(submission_id: str, before: Submission | None, body: Mapping[str, Any]) -> Submission:
    """The submission after the event `body`; `before` is None for one that nobody took yet.

    Raises
    ------
    Format, Conflict : as `fold`.
    """
    try:
        event, at = body["event"], parse_time(body["at"])
        match event:
            case "taken":
                return _taken(submission_id, before, body, at)
            case "started":
                held = _held(submission_id, before, body["script"])
                return replace(held, state=SubmissionState.RUNNING, started_at=at, next_try_at=None)
            case "retry":
                return _retry(submission_id, before, body, at)
            case "ended":
                return _ended(submission_id, before, body, at)
    except (KeyError, TypeError, ValueError):
        raise Format(f"submission {submission_id}: an event whose keys this release doesn't know") from None
    raise Format(f"submission {submission_id}: an event {str(event)[:50]!r} that this release doesn't know")


def _taken(submission_id: str, before: Submission | None, body: Mapping[str, Any], at: datetime) -> Submission:
    if (before.script if before else None) != body["instead_of"] or (before is not None and before.has_ended):
        raise Conflict(f"submission {submission_id} is not there to be taken: {_stands(before)}")
    return Submission(
        id=submission_id,
        state=SubmissionState.TAKEN,
        principal=body["principal"],
        request=Request.from_record(body["request"]),
        request_digest=body["request_digest"],
        script=body["script"],
        taken_at=at,
        retries=before.retries if before else 0,
        failed_at=before.failed_at if before else None,
        next_try_at=before.next_try_at if before else None,
    )


def _retry(submission_id: str, before: Submission | None, body: Mapping[str, Any], at: datetime) -> Submission:
    held = _held(submission_id, before, body["script"])
    return replace(
        held,
        state=SubmissionState.TAKEN,
        exit_code=body["exit_code"],
        error=body["error"],
        retries=held.retries + 1,
        failed_at=at,
        next_try_at=parse_time(body["next_try_at"]),
    )


def _ended(submission_id: str, before: Submission | None, body: Mapping[str, Any], at: datetime) -> Submission:
    if before is None:
        request = None if body["request"] is None else Request.from_record(body["request"])
        held = Submission(
            id=submission_id, state=SubmissionState.SUBMITTED, principal=body["principal"], request=request
        )
    else:
        held = _held(submission_id, before, body["script"])
    return replace(
        held,
        state=SubmissionState(body["outcome"]),
        script=body["script"],
        ended_at=at,
        exit_code=body["exit_code"],
        error=body["error"],
        run=body["run"],
        skipped=body["skipped"],
        stop_asked_by=body["stopped_by"],
    )


def _held(submission_id: str, before: Submission | None, script: str) -> Submission:
    if before is None or before.has_ended or before.script != script:
        raise Conflict(f"submission {submission_id} is not what {script} holds: {_stands(before)}")
    return before


def _stands(found: Submission | None) -> str:
    if found is None:
        return "nobody took it"
    return f"it is {found.state.value}" + (f", and {found.script} has it" if found.script else "")
