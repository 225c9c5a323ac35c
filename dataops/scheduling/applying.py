"""What follows from an event of a schedule: its next state.

1. `apply` is pure. An event that doesn't fit is refused (`Conflict`), never bent: whoever decided it read an older
   entry than the newest.
2. At most one claim for a slot: slots of the clock are claimed and passed in rising order only (`through`), occasions
   by rising numbers (`seen`). What a person asks for again lies before those, and was asked for.
3. Of the slots that came due by themselves one is open at most.
4. A slot ends once, with no step running; it is done when every step ended and none failed.
5. What is told of the newest slot, no end of an older one hides: people ask for old slots while new ones fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import singledispatch
from typing import Any

from dataops.errors import Conflict
from dataops.scheduling.decided import is_past, require_new, seen, through
from dataops.scheduling.events import (
    Begun,
    Changed,
    Claimed,
    Ended,
    Event,
    Missed,
    Paused,
    Queued,
    Resumed,
    Skipped,
    StepBegun,
    StepEnded,
    StepRetry,
    Stopping,
    TakenOver,
    Told,
    Unwanted,
    Wanted,
)
from dataops.scheduling.slots import key_of
from dataops.scheduling.state import LastSlot, Moved, OpenSlot, Pause, ScheduleState, StepState, Stop

FAILING = frozenset({"failed", "stopped"})
"""Outcomes of a step after which its slot ends."""
MOVING = frozenset({"promoted", "rolled_back"})
MAX_TOOK = 9
"""Of how many slots it is kept how long they took."""
MAX_WANTED = 1000
"""How many slots that people asked for wait at once: every entry carries them all."""


def apply(state: ScheduleState | None, event: Event, *, told: int = 0) -> ScheduleState:
    """The state after `event`; `told` is the number of an entry up to which the audit is known to be written.

    Raises
    ------
    Conflict : the event doesn't fit the state: read the journal again and decide again.
    """
    if isinstance(event, Begun):
        if state is not None:
            raise Conflict(f"schedule '{state.name}' has begun already")
        return ScheduleState(
            name=event.name,
            digest=event.digest,
            when=event.when,
            since=event.since,
            times=event.times,
            told=told,
            counts={},
        )
    if state is None:
        raise Conflict("nothing can happen to a schedule before it has begun")
    after = _after(event, state)
    return replace(after, told=max(after.told, told))


@singledispatch
def _after(event: Any, state: ScheduleState) -> ScheduleState:  # noqa: ARG001 - those below take it
    raise TypeError(f"no event of a schedule: {type(event).__name__}")


@_after.register
def _(event: Changed, state: ScheduleState) -> ScheduleState:
    if event.digest == state.digest:
        raise Conflict(f"schedule '{state.name}' is declared as it was")
    if event.when == state.when:
        return replace(state, digest=event.digest, times=event.times)
    return replace(
        state,
        digest=event.digest,
        when=event.when,
        since=event.since,
        times=event.times,
        seen=None,
        beyond=(),
        waiting_until=None,
        catch_up_until=None,
        counts=_counted(state, "skipped", event.dropped),
    )


@_after.register
def _(event: Claimed, state: ScheduleState) -> ScheduleState:
    if state.paused is not None:
        raise Conflict(f"schedule '{state.name}' is paused")
    if event.key in state.open:
        raise Conflict(f"slot {event.key} of schedule '{state.name}' is open already")
    claimed = _claimed_by_asking(event, state) if event.cause == "backfill" else _claimed_by_itself(event, state)
    slot = OpenSlot(
        key=event.key,
        nominal=event.nominal,
        cause=event.cause,
        digest=event.digest,
        declaration=event.declaration,
        holder=event.by,
        claimed_at=event.at,
        not_before=event.not_before,
        steps=tuple(StepState() for _ in event.declaration["steps"]),
        hindsight=event.hindsight,
        again=event.again,
        number=event.number,
        facts=event.facts,
    )
    return replace(claimed, open={**state.open, event.key: slot}, counts=_counted(state, "claimed", 1))


def _claimed_by_asking(event: Claimed, state: ScheduleState) -> ScheduleState:
    if all(slot.key != event.key for slot in state.wanted):
        raise Conflict(f"nobody asks for slot {event.key} of schedule '{state.name}'")
    return replace(state, wanted=tuple(slot for slot in state.wanted if slot.key != event.key))


def _claimed_by_itself(event: Claimed, state: ScheduleState) -> ScheduleState:
    if state.own is not None:
        raise Conflict(f"slot {state.own.key} of schedule '{state.name}' is open: {event.key} has to wait")
    if event.number is not None:
        return seen(state, event)
    require_new(state, event.nominal)
    return through(state, event.nominal)


@_after.register(Skipped)
@_after.register(Missed)
def _(event: Skipped | Missed, state: ScheduleState) -> ScheduleState:
    if event.count < 1 or event.last < event.first:
        raise Conflict(f"no slots of schedule '{state.name}' to pass over from {event.first} to {event.last}")
    counted = replace(state, counts=_counted(state, event.event, event.count))
    if event.number is not None:
        return seen(counted, event)
    if (state.through is not None and event.first <= state.through) or event.first < state.since:
        raise Conflict(f"slot {event.first} of schedule '{state.name}' was decided already")
    passed = through(counted, event.last)
    return replace(passed, last=_missed(event)) if isinstance(event, Missed) else passed


def _missed(event: Missed) -> LastSlot:
    """The newest of the slots that were missed, as the slot that ended last."""
    reason = f"{event.count:,} slots were, up to this one: {event.reason}" if event.count > 1 else event.reason
    return LastSlot(key=key_of(event.last), nominal=event.last, outcome="missed", reason=reason, ended_at=event.at)


@_after.register
def _(event: Queued, state: ScheduleState) -> ScheduleState:
    require_new(state, event.first)
    if event.until < event.first or (state.waiting_until is not None and event.until <= state.waiting_until):
        raise Conflict(f"slots of schedule '{state.name}' up to {event.until} wait already")
    late = event.until if event.cause == "catch_up" else state.catch_up_until
    return replace(state, waiting_until=event.until, catch_up_until=late)


@_after.register
def _(event: StepBegun, state: ScheduleState) -> ScheduleState:
    slot, step = _step(state, event.key, event.step)
    if step.is_running or event.attempt != step.attempt + 1 or slot.stopping is not None:
        raise Conflict(f"attempt {event.attempt} can't begin at step {event.step + 1} of slot {event.key}")
    begun = replace(
        step,
        attempt=event.attempt,
        run=event.run,
        begun_at=event.at,
        ended_at=None,
        next_try_at=None,
        anew=False,
    )
    return _with_step(state, slot, event.step, begun)


@_after.register
def _(event: StepEnded, state: ScheduleState) -> ScheduleState:
    slot, step = _step(state, event.key, event.step)
    ended = replace(
        step, outcome=event.outcome, ended_at=event.at, next_try_at=None, facts=event.facts, error=event.error
    )
    after = _with_step(state, slot, event.step, ended)
    if event.outcome not in MOVING:
        return after
    moved = Moved(version=event.facts.get("version"), at=event.at, outcome=event.outcome)
    return replace(after, promoted={**state.promoted, str(event.facts["model"]): moved})


@_after.register
def _(event: StepRetry, state: ScheduleState) -> ScheduleState:
    slot, step = _step(state, event.key, event.step)
    if not step.is_running:
        raise Conflict(f"step {event.step + 1} of slot {event.key} isn't running: nothing failed")
    again = replace(step, next_try_at=event.next_try_at, error=event.error, anew=event.anew, ended_at=event.at)
    return _with_step(state, slot, event.step, again)


@_after.register
def _(event: TakenOver, state: ScheduleState) -> ScheduleState:
    slot = _open(state, event.key)
    if slot.holder != event.held_by:
        raise Conflict(f"slot {event.key} of schedule '{state.name}' is held by {slot.holder}, not {event.held_by}")
    return _with_slot(state, replace(slot, holder=event.by))


@_after.register
def _(event: Stopping, state: ScheduleState) -> ScheduleState:
    slot = _open(state, event.key)
    if slot.stopping is not None:
        raise Conflict(f"slot {event.key} of schedule '{state.name}' is being stopped already")
    return _with_slot(state, replace(slot, stopping=Stop(reason=event.reason, outcome=event.outcome)))


@_after.register
def _(event: Ended, state: ScheduleState) -> ScheduleState:
    slot = _open(state, event.key)
    unfinished = any(step.outcome is None or step.outcome in FAILING for step in slot.steps)
    if any(step.is_running for step in slot.steps) or (event.outcome == "done" and unfinished):
        raise Conflict(f"slot {event.key} of schedule '{state.name}' can't be {event.outcome} yet")
    is_own, newest = slot.cause != "backfill", _is_newest(state, slot)
    done_at, failures = state.last_done_at, state.failures_in_a_row
    took = state.took
    if event.outcome == "done":
        done_at, failures = max(slot.nominal, done_at or slot.nominal), 0 if is_own or newest else failures
        took = (*took, max((event.at - slot.begins_at).total_seconds(), 0.0))[-MAX_TOOK:]
    last = LastSlot(key=slot.key, nominal=slot.nominal, outcome=event.outcome, reason=event.reason, ended_at=event.at)
    return replace(
        state,
        open={key: other for key, other in state.open.items() if key != event.key},
        last=last if newest else state.last,
        last_done_at=done_at,
        failures_in_a_row=failures + (is_own and event.outcome == "failed"),
        took=took,
        counts=_counted(state, event.outcome, 1),
    )


def _is_newest(state: ScheduleState, slot: OpenSlot) -> bool:
    """Whether no newer slot than `slot` ended or was missed before it; those of occasions come in their order."""
    return state.last is None or slot.number is not None or slot.nominal >= state.last.nominal


@_after.register
def _(event: Wanted, state: ScheduleState) -> ScheduleState:
    known = {slot.key for slot in state.wanted}
    for slot in event.slots:
        if slot.key in state.open:
            raise Conflict(f"slot {slot.key} of schedule '{state.name}' is open")
        if slot.cause != "backfill" or not is_past(state, slot.nominal, slot.number):
            raise Conflict(f"slot {slot.key} of schedule '{state.name}' comes due by itself")
    new = {slot.key: slot for slot in event.slots if slot.key not in known}
    if len(known) + len(new) > MAX_WANTED:
        raise Conflict(
            f"{len(known):,} slots of schedule '{state.name}' that somebody asked for wait already, and with these it "
            f"would be {len(known) + len(new):,}: {MAX_WANTED:,} are the most, ask for more when some of them are done"
        )
    return replace(state, wanted=(*state.wanted, *new.values()))


@_after.register
def _(event: Unwanted, state: ScheduleState) -> ScheduleState:
    return replace(state, wanted=tuple(slot for slot in state.wanted if slot.key not in event.keys))


@_after.register
def _(event: Paused, state: ScheduleState) -> ScheduleState:
    if state.paused is not None:
        raise Conflict(f"schedule '{state.name}' is paused already, by {state.paused.by}")
    return replace(state, paused=Pause(at=event.at, by=event.by, reason=event.reason, declared=event.declared))


@_after.register
def _(event: Resumed, state: ScheduleState) -> ScheduleState:
    if state.paused is None:
        raise Conflict(f"schedule '{state.name}' isn't paused")
    until = max(event.at, state.waiting_until or event.at, state.resumed_at or event.at)
    return replace(state, paused=None, resumed_at=until, waiting_until=None, catch_up_until=None)


@_after.register
def _(event: Told, state: ScheduleState) -> ScheduleState:
    return replace(state, told=max(state.told, event.number))


def _open(state: ScheduleState, key: str) -> OpenSlot:
    if key not in state.open:
        raise Conflict(f"slot {key} of schedule '{state.name}' isn't open")
    return state.open[key]


def _step(state: ScheduleState, key: str, number: int) -> tuple[OpenSlot, StepState]:
    """The open slot, and its step of that number, if it is the one to go on with."""
    slot = _open(state, key)
    earlier = slot.steps[:number]
    if not 0 <= number < len(slot.steps) or any(one.outcome is None or one.outcome in FAILING for one in earlier):
        raise Conflict(f"step {number + 1} of slot {key} isn't the next")
    if slot.steps[number].outcome is not None:
        raise Conflict(f"step {number + 1} of slot {key} has ended: {slot.steps[number].outcome}")
    return slot, slot.steps[number]


def _with_step(state: ScheduleState, slot: OpenSlot, number: int, step: StepState) -> ScheduleState:
    return _with_slot(state, replace(slot, steps=(*slot.steps[:number], step, *slot.steps[number + 1 :])))


def _with_slot(state: ScheduleState, slot: OpenSlot) -> ScheduleState:
    return replace(state, open={**state.open, slot.key: slot})


def _counted(state: ScheduleState, what: str, count: int) -> Mapping[str, int]:
    return {**state.counts, what: state.counts.get(what, 0) + count} if count else state.counts
