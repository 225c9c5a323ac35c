"""What had come due by times that are declared no more: it is passed over on record, before the new times count.

1. A state keeps the times that it is of, so that it is known what they asked for when a file says others.
2. What came due with nobody there is missed, what waited or came in time is left out: each with count and reason.
3. No slot is claimed by times that nobody declares: its steps may be those of other times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dataops.declarations.schedules import Schedule, schedule_from_record, schedule_record, when_digest
from dataops.records import Record
from dataops.scheduling.asked import MOMENT, Asked
from dataops.scheduling.by_occasion import new_occasions, stretch_of
from dataops.scheduling.events import Missed, Skipped
from dataops.scheduling.slots import Occasion
from dataops.scheduling.state import ScheduleState

_TIMES = ("when", "start", "end")


def times_record(schedule: Schedule) -> Record:
    """When slots of `schedule` come due, as JSON values: its ``when``, ``start`` and ``end``."""
    record = schedule_record(schedule)
    return {name: record[name] for name in _TIMES}


def as_it_stood(schedule: Schedule, state: ScheduleState | None) -> Schedule | None:
    """`schedule` itself, or with the times that `state` is of where these are others; None where nobody knows them any
    more.
    """
    if state is None or when_digest(schedule) == state.when:
        return schedule
    if state.times is not None:
        return _with_times(schedule, state.times)
    declared = None if state.own is None else schedule_from_record(state.own.declaration)
    return declared if declared is not None and when_digest(declared) == state.when else None


def left_behind(asked: Asked, occasions: Sequence[Occasion]) -> Skipped | Missed | None:
    """The next event about what had come due by other times than those that are declared now."""
    before = as_it_stood(asked.schedule, asked.state)
    if before is None or when_digest(asked.schedule) == asked.state.when:
        return None
    old = replace(asked, schedule=before)
    return _by_clock(old) if before.by_clock else _by_occasion(old, occasions)


def _by_clock(old: Asked) -> Skipped | Missed | None:
    state = old.state
    paused_until = old.now if state.paused is not None else state.resumed_at
    if paused_until is not None and (slots := old.slots(until=paused_until)) is not None:
        return old.skipped(slots, "it was paused")
    if state.waiting_until is not None and (slots := old.slots(until=state.waiting_until)) is not None:
        return old.skipped(slots, "its times were declared anew while it waited")
    if (slots := old.slots(until=old.now - old.grace - MOMENT)) is not None:
        return old.missed(slots, "it came due with nobody there, and its times were declared anew since")
    slots = old.slots()
    return None if slots is None else old.skipped(slots, "its times were declared anew")


def _by_occasion(old: Asked, occasions: Sequence[Occasion]) -> Skipped | None:
    new = new_occasions(old, occasions)
    return old.skipped(stretch_of(new), "what it fires on was declared anew while it waited") if new else None


def _with_times(schedule: Schedule, times: Mapping[str, Any]) -> Schedule:
    """A schedule of nothing but the times and the steps: other keys needn't go with times of another kind."""
    record = schedule_record(schedule)
    return schedule_from_record({name: record[name] for name in ("name", "steps")} | dict(times))
