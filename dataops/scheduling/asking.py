"""Slots as people name them: by key, by time, by date, or not at all; and what became of the one that is meant."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dataops.declarations.schedules import CronWhen, DeclaredSchedule, EveryWhen, Schedule, read_schedules
from dataops.declarations.slot_names import parse_slot, time_zone
from dataops.errors import InvalidInput, NotFound
from dataops.runs.workspace import Workspace
from dataops.scheduling.book import Book
from dataops.scheduling.cron import clock_slots, next_slots
from dataops.scheduling.explaining import Why
from dataops.scheduling.explaining import why as explain
from dataops.scheduling.keeping import unknown_schedule
from dataops.scheduling.slots import key_of
from dataops.scheduling.standing import zone_of
from dataops.scheduling.state import ScheduleState
from dataops.scheduling.wording import ago, spell_slot

_KEY = re.compile(r"\d{8}t\d{6}z")
_MOMENT = timedelta(microseconds=1)


def slot_moment(schedule: Schedule, text: str, *, end_of_day: bool = False) -> datetime:
    """The time that `text` says by the clock of `schedule`: a date, or a time with or without a zone of its own.

    Parameters
    ----------
    end_of_day : of a date its last moment is meant, not its first.

    Raises
    ------
    InvalidInput : neither.
    """
    zone = zone_of(schedule)
    found = parse_slot(text, zone)
    if not end_of_day or len(text) != len("2026-01-31"):
        return found
    next_day = (found.astimezone(time_zone(zone)) + timedelta(days=1)).date()
    return parse_slot(next_day.isoformat(), zone) - _MOMENT


def why_slot(workspace: Workspace, name: str, slot: str | None, *, now: datetime) -> tuple[Why, str]:
    """What became of a slot of schedule `name`, and the time zone of its clock.

    Parameters
    ----------
    slot : its key or its time; None: the one that is open, else the last that ended.

    Raises
    ------
    NotFound : no such schedule, or nothing is known of such a slot.
    InvalidInput : neither a key nor a time.
    """
    read = read_schedules(workspace.settings.workspace)
    declared = read.schedules.get(name)
    book = Book(workspace.store, name)
    state = book.head().state
    if state is None and declared is None:
        raise unknown_schedule(name, read)
    zone = zone_of(declared.schedule if declared is not None else None)
    key, nominal = _asked(declared, state, slot, zone)
    asked = state is not None and any(one.key == key for one in state.wanted)
    try:
        told = explain(book, key, nominal)
        return (replace(told, says=f"{told.says}; somebody asked for it since") if asked else told), zone
    except NotFound as error:
        unknown = _not_yet(declared, state, key, nominal, now=now)
        raise NotFound(f"{error}{unknown}") from None


def _asked(
    declared: DeclaredSchedule | None, state: ScheduleState | None, slot: str | None, zone: str
) -> tuple[str, datetime | None]:
    """The key that `slot` means, and its time where it is one of a clock."""
    if slot is None:
        if state is not None and state.open:
            return next(iter(state.open)), None
        if state is not None and state.last is not None:
            return state.last.key, state.last.nominal
        raise NotFound("no slot of it was ever begun; `dataops schedule list` says how it is")
    if _KEY.fullmatch(slot):
        nominal = datetime.strptime(slot, "%Y%m%dt%H%M%Sz").replace(tzinfo=UTC)
        return slot, nominal
    if re.match(r"\d{4}-", slot) and (declared is None or declared.schedule.by_clock):
        nominal = parse_slot(slot, zone)
        return _only_slot_of_day(declared, slot, nominal)
    return slot, None


def _only_slot_of_day(declared: DeclaredSchedule | None, text: str, nominal: datetime) -> tuple[str, datetime]:
    """The slot at `nominal`; of a date the only slot of that day."""
    if declared is None or len(text) != len("2026-01-31") or not declared.schedule.by_clock:
        return key_of(nominal), nominal
    last = slot_moment(declared.schedule, text, end_of_day=True)
    times = [one for one in next_slots(declared.schedule, after=nominal - _MOMENT, count=20) if one <= last]
    if len(times) != 1:
        listed = ", ".join(key_of(one) for one in times)
        raise InvalidInput(
            f"{text} has {f'several slots: {listed}' if times else 'no slot'}: give a time with the date"
        )
    return key_of(times[0]), times[0]


def open_slot(workspace: Workspace, name: str, slot: str | None) -> str:
    """The key of the open slot of `name` that `slot` means: its key or its time; None: the only one that is open.

    Raises
    ------
    NotFound : no such schedule, or none of its slots is open.
    InvalidInput : neither a key nor a time; several are open, and none is named.
    """
    read = read_schedules(workspace.settings.workspace)
    declared, state = read.schedules.get(name), Book(workspace.store, name).head().state
    if state is None and declared is None:
        raise unknown_schedule(name, read)
    opened = [] if state is None else sorted(state.open)
    if slot is not None:
        return _asked(declared, state, slot, zone_of(declared.schedule if declared is not None else None))[0]
    if len(opened) > 1:
        raise InvalidInput(f"schedule '{name}' has several open slots, name one: {', '.join(opened)}")
    if not opened:
        raise NotFound(f"schedule '{name}' has no open slot: nothing is to be stopped")
    return opened[0]


def _not_yet(
    declared: DeclaredSchedule | None, state: ScheduleState | None, key: str, nominal: datetime | None, *, now: datetime
) -> str:
    """What there is to say of a slot that nothing on record is about."""
    if nominal is None or state is None:
        return ""
    if nominal < state.since:
        return f": its slots count from {spell_slot(state.since)} on; `dataops schedule backfill` asks for earlier ones"
    if any(one.key == key for one in state.wanted):
        return ": somebody asked for it, and a scheduler script will take it"
    when = declared.schedule.when if declared is not None else None
    if isinstance(when, CronWhen | EveryWhen):
        own = list(clock_slots(when, after=nominal - _MOMENT, until=nominal))
        if not own:
            return ": its clock has no slot at that time"
    if state.paused is not None:
        return f": the schedule is paused, by {state.paused.by}"
    return f": it comes due {ago(nominal, now)}" if nominal > now else ": it is due, and no script has looked since"
