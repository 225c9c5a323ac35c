"""Open slots that seem to stand still: a step that says nothing any more, or a slot that takes far longer than others.

1. What is usual is told by the schedule's last slots that were done; where there are none yet, more patience is had.
2. A step that is tried again by itself stands still for nobody. Nothing is stopped: a person looks, and decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from dataops.errors import DataopsError
from dataops.records import parse_time
from dataops.runs.log import log_journal
from dataops.scheduling.concerns import Concern
from dataops.scheduling.standing import present_step, stand_open
from dataops.scheduling.state import OpenSlot, ScheduleState
from dataops.scheduling.wording import spell_age
from dataops.storage.objects import Store

SILENT_AFTER = timedelta(minutes=10)
"""How long a step may say nothing once its slot takes longer than is usual; and how much longer that is."""
SILENT_AT_FIRST = timedelta(minutes=30)
"""The same where no slot is known that was done."""
TIMES_AS_LONG = 3
"""From how many times the longest of the last slots on one takes too long, whatever its steps say."""


def stuck(store: Store, states: Mapping[str, ScheduleState | None], now: datetime) -> Iterator[Concern]:
    """A concern for each open slot that seems to stand still. Logs are looked at of slots alone that take long."""
    for name, state in states.items():
        for slot in () if state is None else state.open.values():
            took = state.took if state is not None else ()
            if (says := _says(store, slot, took, now)) is not None:
                run = present_step(slot)[1].run
                look = f"dataops job logs {run}" if run is not None else f"dataops schedule why {name} {slot.key}"
                stop = f"`dataops schedule stop {name} {slot.key} --reason WHY` ends it"
                yield Concern(about=f"schedule {name}", says=f"slot {slot.key} {says}; {stop}", do=look)


def _says(store: Store, slot: OpenSlot, took: tuple[float, ...], now: datetime) -> str | None:
    """In which way `slot` seems to stand still; None where it doesn't."""
    step = present_step(slot)[1]
    usual, open_for = timedelta(seconds=max(took, default=0.0)), now - slot.begins_at
    if step.next_try_at is not None or open_for <= usual + (SILENT_AFTER if took else SILENT_AT_FIRST):
        return None
    named = stand_open(slot, now).step
    longest = f"; {_longest(took)}" if took else ""
    if step.is_running and step.begun_at is not None:
        silent = now - max(step.begun_at, _heard(store, step.run) or step.begun_at)
        if silent > (SILENT_AFTER if took else SILENT_AT_FIRST):
            return f"runs {named}, which has said nothing for {spell_age(silent)}{longest}"
    if took and open_for > TIMES_AS_LONG * usual + SILENT_AFTER:
        return f"is open since {spell_age(open_for)}, at {named}{longest}"
    return None


def _longest(took: tuple[float, ...]) -> str:
    longest = spell_age(timedelta(seconds=max(took)))
    if len(took) == 1:
        return f"the last slot that was done took {longest}"
    return f"none of the last {len(took)} slots that were done took longer than {longest}"


def _heard(store: Store, run: str | None) -> datetime | None:
    """When the process of the step said something last; None for never, and where that can't be read."""
    with suppress(DataopsError):
        last = None if run is None else log_journal(store, run).tail()
        return None if last is None else parse_time(last.written_at)
    return None
