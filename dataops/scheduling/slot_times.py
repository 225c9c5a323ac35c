"""The times that a slot fills into its jobs' files, and the words that give them to the command line."""

from __future__ import annotations

from datetime import datetime, timedelta

from dataops.declarations.schedules import CronWhen, EveryWhen, Schedule
from dataops.declarations.slot_names import SlotTimes
from dataops.scheduling.cron import clock_slots

_SPANS = (timedelta(hours=2), timedelta(days=2), timedelta(days=35), timedelta(days=370), timedelta(days=366 * 30))
_SECOND = timedelta(seconds=1)


def slot_times_of(schedule: Schedule, nominal: datetime) -> SlotTimes:
    """The times of the slot of `schedule` at `nominal` (aware).

    Only a clock has a slot before each: an occasion's day is that of UTC, and it has no previous time.
    """
    when = schedule.when
    if isinstance(when, CronWhen):
        return SlotTimes(nominal=nominal, zone=when.time_zone, previous=previous_slot(when, nominal))
    if isinstance(when, EveryWhen):
        return SlotTimes(nominal=nominal, previous=previous_slot(when, nominal))
    return SlotTimes(nominal=nominal)


def previous_slot(when: CronWhen | EveryWhen, nominal: datetime) -> datetime | None:
    """The last slot of `when` before `nominal`; None where thirty years hold none."""
    for span in _SPANS:  # most clocks tick often: look near first
        *_, found = (None, *clock_slots(when, after=nominal - span, until=nominal - _SECOND))
        if found is not None:
            return found
    return None


def slot_arguments(times: SlotTimes, hindsight: str | None = None) -> tuple[str, ...]:
    """The options by which `dataops job run` fills in the same times, and keeps the label `hindsight` (None: none)."""
    said = ["--slot", times.nominal.isoformat(), "--time-zone", times.zone]
    said += ["--previous", times.previous.isoformat()] if times.previous is not None else []
    return (*said, f"--hindsight={hindsight}") if hindsight else tuple(said)
