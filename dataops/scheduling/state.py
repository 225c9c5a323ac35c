"""Where a schedule stands after an entry of its journal; `dataops.scheduling.applying` says what follows from an event.

1. The state is bounded: what waits is told by two times, what ended by its last outcome.
2. What a slot began with it ends with: it carries the declaration that it was claimed under.
3. A state is read strictly: one that a later release wrote is refused, not guessed at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dataops.errors import Format
from dataops.records import Record
from dataops.scheduling.events import CLOSED, Cause, SlotOutcome, StepOutcome, Time, WantedSlot

_LATER = frozenset({"times", "took", "beyond"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """How far one step of an open slot came.

    Attributes
    ----------
    outcome : None until it ended.
    attempt : how many attempts began.
    run : the run of the last one.
    begun_at, ended_at : of the last attempt.
    next_try_at : when the next attempt begins; None where none is waited for.
    anew : whether that one is a run of its own.
    facts : what came of it, JSON values.
    error : of the last attempt that failed.
    """

    __pydantic_config__ = CLOSED
    outcome: StepOutcome | None = None
    attempt: int = 0
    run: str | None = None
    begun_at: Time | None = None
    ended_at: Time | None = None
    next_try_at: Time | None = None
    anew: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether an attempt began that hasn't ended."""
        return self.attempt > 0 and self.outcome is None and self.next_try_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why an open slot is to end, and with which outcome."""

    __pydantic_config__ = CLOSED
    reason: str
    outcome: SlotOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSlot:
    """A slot that was claimed and hasn't ended; `declaration` is the schedule's record at its claim, `holder` the id of
    the script that does it. The rest is as its claim says.
    """

    __pydantic_config__ = CLOSED
    key: str
    nominal: Time
    cause: Cause
    digest: str
    declaration: Mapping[str, Any]
    holder: str
    claimed_at: Time
    not_before: Time
    steps: tuple[StepState, ...]
    stopping: Stop | None = None
    hindsight: str | None = None
    again: int = 0
    number: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def begins_at(self) -> datetime:
        """From when on it may be worked at: its claim, or the end of its jitter."""
        return max(self.claimed_at, self.not_before)

    @property
    def schedule(self) -> str:
        """The name of the schedule that it is of."""
        return str(self.declaration["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Since when a schedule is paused, by whom and why; `declared` where its own file says so."""

    __pydantic_config__ = CLOSED
    at: Time
    by: str
    reason: str
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSlot:
    """The newest slot that ended, or that was missed without ever being claimed."""

    __pydantic_config__ = CLOSED
    key: str
    nominal: Time
    outcome: SlotOutcome
    reason: str
    ended_at: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The champion that a slot made of a version, by a promotion or a rollback; `at` is when, by the clock of
    the script that says so: however late the slot came, and whatever time it is of.
    """

    __pydantic_config__ = CLOSED
    version: int | None
    at: Time
    outcome: StepOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleState:
    """Where a schedule stands after an entry of its journal.

    Attributes
    ----------
    name, digest, when : of the schedule, and the digest of its `when`.
    since : no slot before it comes.
    times : its `when`, `start` and `end` as JSON values; None where an older release began it.
    through : every slot of the clock up to it is claimed or passed; None before the first.
    waiting_until : slots of the clock after `through` and up to it wait for the open one to end.
    catch_up_until : of those, the ones up to it are late.
    resumed_at : slots after `through` and up to it never come, because the schedule was paused.
    seen : the number up to which all occasions are claimed or passed.
    beyond : numbers above that which are as well: of occasions that are numbered by times, rising.
    paused : None while it isn't.
    open : slots that were claimed and haven't ended, by key.
    wanted : what people asked for and nobody claimed yet, in their order.
    promoted : by model, the last champion that a slot of this schedule made.
    last : the newest slot that ended or was missed; what people ask for of before it changes nothing here.
    last_done_at : nominal time of the newest one that is done.
    failures_in_a_row : slots that came due by themselves and failed since one was done.
    took : how many seconds each of the last slots that were done took, the newest last; without its jitter.
    counts : how many slots were claimed, skipped, missed, done, failed, stopped.
    told : the audit knows the entries up to this number.
    """

    __pydantic_config__ = CLOSED
    name: str
    digest: str
    when: str
    since: Time
    times: Mapping[str, Any] | None = None
    through: Time | None = None
    waiting_until: Time | None = None
    catch_up_until: Time | None = None
    resumed_at: Time | None = None
    seen: int | None = None
    beyond: tuple[int, ...] = ()
    paused: Pause | None = None
    open: Mapping[str, OpenSlot] = field(default_factory=dict)
    wanted: tuple[WantedSlot, ...] = ()
    promoted: Mapping[str, Moved] = field(default_factory=dict)
    last: LastSlot | None = None
    last_done_at: Time | None = None
    failures_in_a_row: int = 0
    took: tuple[float, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    told: int = 0

    def has_decided(self, number: int) -> bool:
        """Whether the occasion of that number was claimed or passed."""
        return (self.seen is not None and number <= self.seen) or number in self.beyond

    @property
    def own(self) -> OpenSlot | None:
        """The open slot that came due by itself; at most one is. What people asked for comes beside it."""
        return next((slot for slot in self.open.values() if slot.cause != "backfill"), None)


@cache
def _adapter() -> TypeAdapter[ScheduleState]:
    return TypeAdapter(ScheduleState)


def state_record(state: ScheduleState) -> Record:
    """`state` as JSON values; keys that came later, and that say nothing, are left out."""
    record: Record = _adapter().dump_python(state, mode="json")
    return {key: value for key, value in record.items() if value or key not in _LATER}


def state_from_record(record: Mapping[str, Any]) -> ScheduleState:
    """The state that `state_record` made `record` of.

    Raises
    ------
    Format : not such a record, or one with keys that this release doesn't know.
    """
    try:
        return _adapter().validate_json(json.dumps(record))
    except (ValidationError, TypeError, ValueError):
        raise Format("the state of a schedule holds keys or values that this release does not know") from None
