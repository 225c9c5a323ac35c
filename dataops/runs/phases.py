"""What the phases of a run did, by its events: pure.

1. An attempt begins with the run, when it is taken up again, and on another cluster when one was lost. A phase that it
   cut off began again in the next one, and had less to do there: what it had done is the difference.
2. Rows go with the seconds in which they were done. Of a phase whose driver died no seconds are known, and so its rows
   don't count either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dataops.records import Record

RECORDED = "recording_kept"
BEGINS = ("run_started", "run_resumed", "cluster_lost")
"""Events with which an attempt begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedPhase:
    """A phase of one attempt, which ended well or badly.

    Attributes
    ----------
    rows : of the units that it did; 0 where it has none.
    attempt : counts from 1.
    recorded : whether a recording was kept of its attempt.
    """

    phase: str
    seconds: float
    failed: bool
    rows: int
    attempt: int
    recorded: bool


@dataclass(slots=True, kw_only=True)
class _Begun:
    phase: str
    rows: int
    attempt: int
    ended: Record | None = None


def ended_phases(events: Sequence[Record]) -> tuple[EndedPhase, ...]:
    """The phases of a run that ended, in the order of their ends, of all attempts."""
    begun: list[_Begun] = []
    ended: list[_Begun] = []
    attempt, recorded = 0, set[int]()
    for event in events:
        match event["event"]:
            case "phase_started":
                begun.append(_Begun(phase=event["phase"], rows=event["rows"], attempt=attempt))
            case "phase_ended":
                ended.append(_ended(begun, event, attempt))
            case kind if kind == RECORDED:
                recorded.add(attempt)
            case kind if kind in BEGINS:
                attempt += 1
    return tuple(
        EndedPhase(
            phase=one.phase,
            seconds=_of(one, "seconds"),
            failed=_of(one, "outcome") == "failed",
            rows=_rows(one, begun),
            attempt=one.attempt,
            recorded=one.attempt in recorded,
        )
        for one in ended
    )


def _ended(begun: Sequence[_Begun], event: Record, attempt: int) -> _Begun:
    """What `event` ends; a phase of unknown rows where its begin isn't on record."""
    for one in reversed(begun):
        if one.phase == event["phase"] and one.attempt == attempt and one.ended is None:
            one.ended = event
            return one
    return _Begun(phase=event["phase"], rows=0, attempt=attempt, ended=event)


def _of(one: _Begun, key: str) -> Any:
    return None if one.ended is None else one.ended[key]


def _rows(one: _Begun, begun: Sequence[_Begun]) -> int:
    if _of(one, "outcome") != "failed":
        return one.rows
    later = (other for other in begun if other.phase == one.phase and other.attempt > one.attempt)
    following = next(later, None)
    return 0 if following is None else max(0, one.rows - following.rows)
