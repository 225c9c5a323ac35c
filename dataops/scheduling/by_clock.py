"""What becomes of slots of the clock: in time, late, beside an open one, behind others that wait.

1. A slot that is later than `grace` is late, and up to `catch_up`. One in time that finds another open is up to
   `overlap`.
2. Behind slots that wait, all that comes due waits too, so that none is decided out of turn.
3. Slots of a time when the schedule was paused, and those that waited then, never come. Nor does one beyond its
   deadline.
"""

from __future__ import annotations

from datetime import datetime

from dataops.scheduling.asked import MOMENT, Asked, Stretch
from dataops.scheduling.events import Event
from dataops.scheduling.slots import key_of


def due(asked: Asked) -> Event | None:
    """The next event that slots of the clock ask for."""
    state, within, overlap = asked.state, asked.schedule.within, asked.schedule.overlapping
    if state.resumed_at is not None and (slots := asked.slots(until=state.resumed_at)) is not None:
        return asked.skipped(slots, "it was paused")
    if within is not None and (slots := asked.slots(until=asked.now - within - MOMENT)) is not None:
        return asked.missed(slots, f"its deadline of {asked.schedule.deadline} passed")
    if state.waiting_until is not None and overlap != "replace":
        return _in_turn(asked, state.waiting_until)
    slots = asked.slots()
    if slots is None:
        return None
    if overlap == "replace" and (state.own is not None or state.waiting_until is not None):
        return _replacing(asked, slots)
    return _late(asked, slots) if asked.is_late(slots.first) else _in_time(asked, slots)


def _in_turn(asked: Asked, waiting_until: datetime) -> Event | None:
    """Slots wait: the first is claimed when none is open, and what comes due meanwhile waits behind them."""
    limit, late_until = asked.most, asked.state.catch_up_until
    if limit is not None and late_until is not None:
        waiting = asked.slots(until=waiting_until)
        if waiting is not None and waiting.count > limit:
            return asked.missed(asked.slots_but(waiting, limit), f"more than {limit} wait")
    if asked.state.own is None and (first := asked.first(until=waiting_until)) is not None:
        return asked.claimed(first, "catch_up" if late_until is not None and first <= late_until else "queue")
    slots = asked.slots(after=waiting_until)
    return None if slots is None else asked.queued(slots)


def _late(asked: Asked, slots: Stretch) -> Event:
    """What `catch_up` says of `slots`, of which the first is late."""
    if asked.schedule.catch_up == "none":
        late = asked.slots(until=asked.now - asked.grace - MOMENT)
        return asked.missed(late or slots, _nobody_there(asked))
    limit = 1 if asked.schedule.catch_up == "last" else asked.most
    if limit is not None and slots.count > limit:
        return asked.missed(asked.slots_but(slots, limit), _nobody_there(asked))
    if asked.state.own is not None or slots.count > 1:
        return asked.queued(slots)
    return asked.claimed(slots.first, "catch_up")


def _in_time(asked: Asked, slots: Stretch) -> Event:
    """What becomes of `slots` that nobody is late for."""
    own, overlap = asked.state.own, asked.schedule.overlapping
    if overlap == "queue" and (own is not None or slots.count > 1):
        return asked.queued(slots)
    if own is not None:
        return asked.skipped(slots, f"slot {own.key} is open")
    if slots.count > 1:
        return asked.skipped(asked.slots_but(slots, 1), f"slot {key_of(slots.last)} is due as well")
    return asked.claimed(slots.first, "due")


def _replacing(asked: Asked, slots: Stretch) -> Event | None:
    """The newest slot takes the place of the open one, and of those that wait for that."""
    own, waiting_until, newest = asked.state.own, asked.state.waiting_until, key_of(slots.last)
    waits = waiting_until is not None and slots.last <= waiting_until
    if not waits and asked.schedule.catch_up == "none" and asked.is_late(slots.last):
        return asked.missed(slots, _nobody_there(asked))
    if slots.count > 1:
        return asked.skipped(asked.slots_but(slots, 1), f"slot {newest} takes its place")
    if not waits:
        return asked.queued(slots)
    if own is None:
        return asked.claimed(slots.first, "queue")
    return asked.stopping(own, f"slot {newest} is due") if own.stopping is None else None


def _nobody_there(asked: Asked) -> str:
    return f"it came due with nobody there; catch_up is {asked.caught_up}"
