"""Which slots of the clock, and which occasions, are decided: claimed or passed, and never to come again by themselves.

1. Slots of the clock are decided in rising order, so one time says which (`through`). So are occasions that a journal
   numbers (`seen`).
2. Occasions that are numbered by times come from machines whose clocks differ: one that is recorded later may have the
   lower number. Each is noted by itself for a day (`beyond`), and older ones are decided all together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from dataops.errors import Conflict
from dataops.scheduling.events import Claimed, Missed, Skipped
from dataops.scheduling.slots import MICROSECOND, number_at
from dataops.scheduling.state import ScheduleState

WINDOW = timedelta(days=1)
"""How far clocks of machines may be apart, for an occasion that is numbered by its time to be seen."""
MAX_NOTED = 500
"""How many such occasions are noted each by itself."""


def is_past(state: ScheduleState, nominal: datetime, number: int | None) -> bool:
    """Whether a slot was claimed or passed, or lies before the first: it won't come due by itself."""
    if number is not None:
        return nominal < state.since or state.has_decided(number)
    return nominal < state.since or (state.through is not None and nominal <= state.through)


def require_new(state: ScheduleState, nominal: datetime) -> None:
    """Nothing, if the slot of the clock at `nominal` wasn't claimed or passed, and counts at all.

    Raises
    ------
    Conflict : it was, or doesn't.
    """
    decided = max((time for time in (state.through, state.resumed_at) if time is not None), default=None)
    if nominal < state.since or (decided is not None and nominal <= decided):
        raise Conflict(f"slot {nominal} of schedule '{state.name}' was decided already")


def through(state: ScheduleState, time: datetime) -> ScheduleState:
    """The state in which all slots of the clock up to `time` are decided."""
    waiting = state.waiting_until if state.waiting_until is not None and state.waiting_until > time else None
    late = state.catch_up_until if state.catch_up_until is not None and state.catch_up_until > time else None
    return replace(state, through=time, waiting_until=waiting, catch_up_until=late)


def seen(state: ScheduleState, event: Claimed | Skipped | Missed) -> ScheduleState:
    """The state in which the occasions of `event` are decided.

    Raises
    ------
    Conflict : one of them was already.
    """
    numbers = event.numbers or ((event.number,) if event.number is not None else ())
    for number in numbers:
        if state.has_decided(number):
            raise Conflict(f"occasion {number} of schedule '{state.name}' was decided already")
    return _noted(state, event.numbers, event.at) if event.numbers else replace(state, seen=max(numbers))


def _noted(state: ScheduleState, numbers: Sequence[int], at: datetime) -> ScheduleState:
    """The state in which occasions that are numbered by times are decided: each by itself for `WINDOW`, after that all
    that are older. No clock that runs ahead moves that end, neither the script's nor that of a run.
    """
    known = sorted({*state.beyond, *numbers})
    end = max(min(number_at(at), known[-1]) - WINDOW // MICROSECOND, state.seen or 0)
    if len(beyond := [one for one in known if one > end]) > MAX_NOTED:
        end, beyond = beyond[-MAX_NOTED - 1], beyond[-MAX_NOTED:]
    return replace(state, seen=end, beyond=tuple(beyond))
