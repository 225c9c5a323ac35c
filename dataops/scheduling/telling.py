"""What a scheduler script says: a line for each decision, for people and for whoever greps. Pure.

``2026-11-23 07:30:05Z  nightly  20261123t073000z  step 1 of 3, flights_scores: done in 12 s``: when, of which schedule,
of which slot, what and why. ``-`` stands where a line is about no schedule, or about no slot.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import singledispatch
from typing import Any

from dataops.declarations.schedule_steps import Step, name_of
from dataops.declarations.schedules import CronWhen, schedule_from_record
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
    Unwanted,
    Wanted,
)
from dataops.scheduling.state import OpenSlot, ScheduleState
from dataops.scheduling.wording import counted, spell_age, spell_slot

NOTHING = "-"
_BLANKS = re.compile(r"\s+")


def spell_line(at: datetime, text: str, *, schedule: str = NOTHING, slot: str = NOTHING) -> str:
    """A line of the script's log. What follows a first line of `text` is put behind it."""
    told = _BLANKS.sub(" ", text).strip()
    return f"{at.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%SZ')}  {schedule}  {slot}  {told}"


def slot_key(event: Event) -> str:
    """The key of the slot that `event` is about."""
    return getattr(event, "key", NOTHING)


def spell_event(event: Event, before: ScheduleState | None) -> str:
    """What happened, in words; `before` is where the schedule stood."""
    slot = before.open.get(slot_key(event)) if before is not None else None
    return _spell(event, slot)


@singledispatch
def _spell(event: Any, slot: OpenSlot | None) -> str:  # noqa: ARG001 - those below take it
    return str(event.event)


@_spell.register
def _(event: Begun, slot: OpenSlot | None) -> str:  # noqa: ARG001
    return f"seen for the first time; its slots count from {_utc(event.since)} on"


@_spell.register
def _(event: Changed, slot: OpenSlot | None) -> str:  # noqa: ARG001
    dropped = f"; {counted(event.dropped, 'slot')} that waited never come" if event.dropped else ""
    return f"declared anew; its slots count from {_utc(event.since)} on{dropped}"


@_spell.register
def _(event: Claimed, slot: OpenSlot | None) -> str:  # noqa: ARG001
    schedule = schedule_from_record(event.declaration)
    zone = schedule.when.time_zone if isinstance(schedule.when, CronWhen) else "UTC"
    due_at, late = spell_slot(event.nominal, zone), event.at - event.nominal
    why = {
        "due": f"due at {due_at}",
        "catch_up": f"due at {due_at}{f', {spell_age(late)} late' if late.total_seconds() >= 1 else ''}: catching up",
        "queue": f"it was due at {due_at}, and waited for the one before",
        "occasion": f"it happened at {_utc(event.nominal)}",
        "backfill": "somebody asked for it",
    }[event.cause]
    label = f", in hindsight ({event.hindsight})" if event.hindsight else ""
    wait = (event.not_before - event.at).total_seconds()
    waits = f"; begins in {spell_age(event.not_before - event.at)}, its part of the jitter" if wait >= 1 else ""
    return f"claimed: {why}{label}{waits}"


@_spell.register
def _(event: Skipped, slot: OpenSlot | None) -> str:  # noqa: ARG001
    return f"{_range(event)} left out: {event.reason}"


@_spell.register
def _(event: Missed, slot: OpenSlot | None) -> str:  # noqa: ARG001
    return f"{_range(event)} missed: {event.reason}"


@_spell.register
def _(event: Queued, slot: OpenSlot | None) -> str:  # noqa: ARG001
    why = "wait to be caught up on, one after another" if event.cause == "catch_up" else "wait for the open one to end"
    if event.count == 1:
        return f"the slot of {_utc(event.first)} waits for the open one to end"
    return f"{counted(event.count, 'slot')}, {_utc(event.first)} to {_utc(event.until)}, {why}"


@_spell.register
def _(event: StepBegun, slot: OpenSlot | None) -> str:
    again = f", attempt {event.attempt}" if event.attempt > 1 else ""
    return f"{_step(slot, event.step)}: begun{again}, run {event.run}"


@_spell.register
def _(event: StepEnded, slot: OpenSlot | None) -> str:
    begun_at = slot.steps[event.step].begun_at if slot is not None else None
    took = f" in {spell_age(event.at - begun_at)}" if begun_at is not None else ""
    why = event.error or event.facts.get("why")
    told = {"unchanged": "nothing had changed", "rolled_back": "rolled back"}.get(event.outcome, event.outcome)
    return f"{_step(slot, event.step)}: {told}{took}" + (f": {why}" if why else "")


@_spell.register
def _(event: StepRetry, slot: OpenSlot | None) -> str:
    wait = event.next_try_at - event.at
    when = f"in {spell_age(wait)}" if wait.total_seconds() >= 1 else "now"
    return (
        f"{_step(slot, event.step)}: failed, tried again {when}{' as a new run' if event.anew else ''}: {event.error}"
    )


@_spell.register
def _(event: TakenOver, slot: OpenSlot | None) -> str:  # noqa: ARG001
    return f"taken over from script {event.held_by}, which is gone"


@_spell.register
def _(event: Stopping, slot: OpenSlot | None) -> str:  # noqa: ARG001
    return f"to be stopped: {event.reason}"


@_spell.register
def _(event: Ended, slot: OpenSlot | None) -> str:
    took = f", {spell_age(event.at - slot.claimed_at)} after it was claimed" if slot is not None else ""
    return f"{event.outcome}{took}" + (f": {event.reason}" if event.reason else "")


@_spell.register
def _(event: Wanted, slot: OpenSlot | None) -> str:  # noqa: ARG001
    return f"{event.by} asks for {counted(len(event.slots), 'slot')}" + (f": {event.reason}" if event.reason else "")


@_spell.register
def _(event: Unwanted, slot: OpenSlot | None) -> str:  # noqa: ARG001
    told = f"{counted(len(event.keys), 'slot')} that somebody had asked for never come"
    return told + (f": {event.reason}" if event.reason else "")


@_spell.register
def _(event: Paused, slot: OpenSlot | None) -> str:  # noqa: ARG001
    return f"paused by {'its file' if event.declared else event.by}" + (f": {event.reason}" if event.reason else "")


@_spell.register
def _(event: Resumed, slot: OpenSlot | None) -> str:  # noqa: ARG001
    return f"goes on, says {event.by}" + (f": {event.reason}" if event.reason else "")


def step_of(slot: OpenSlot, number: int) -> Step:
    """The declaration of a step of an open slot, by its number from 0."""
    return schedule_from_record(slot.declaration).steps[number]


def _step(slot: OpenSlot | None, number: int) -> str:
    if slot is None:
        return f"step {number + 1}"
    return f"step {number + 1} of {len(slot.steps)}, {name_of(step_of(slot, number))}"


def _range(event: Skipped | Missed) -> str:
    if event.count == 1:
        return f"the slot of {_utc(event.first)}"
    return f"{counted(event.count, 'slot')}, {_utc(event.first)} to {_utc(event.last)},"


def _utc(moment: datetime) -> str:
    return spell_slot(moment)
