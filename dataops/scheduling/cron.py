"""Slots of the clock: cron lines in a time zone, and equal distances.

Cron lines have the meaning of Debian's cron, which asks what a time is for:

1. A line whose minute and hour both don't begin with ``*`` names times of day (``30 2 * * *``). One in the gap that a
   clock leaves when it is put forward comes once, right after the gap; of two equal times when it is put back, the
   first comes.
2. Any other line follows real hours (``*/15 * * * *``): it comes at each minute whose wall clock fits it. What the gap
   leaves out doesn't come, what a clock shows twice comes twice.
3. Where day of the month and weekday are both given, either suffices; where one begins with ``*``, both must fit.

cronsim says which wall clock times fit. Where these lie in UTC is found here and not by cronsim: stepping through a
time zone hour by hour, it leaves out slots where clocks are moved by half an hour (`docs/adr/0033-schedules.md`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

from dataops.declarations.schedules import CronWhen, EveryWhen, Schedule
from dataops.declarations.times import DAY, parse_duration, parse_moment

SECOND = timedelta(seconds=1)


def clock_slots(when: CronWhen | EveryWhen, *, after: datetime, until: datetime) -> Iterator[datetime]:
    """Times of slots, rising, aware UTC: ``after < time <= until``.

    Parameters
    ----------
    after, until : aware; a line that comes never again after `after` ends sooner.
    """
    after, until = after.astimezone(UTC), until.astimezone(UTC)
    if after >= until:
        return
    times = _every(when, after) if isinstance(when, EveryWhen) else _cron(when, after)
    for time in times:
        if time > until:
            return
        yield time


def next_slots(schedule: Schedule, *, after: datetime, count: int = 10) -> list[datetime]:
    """The next times of slots of `schedule` after `after`, `count` at most, within its start and end; none where it
    goes by occasions.
    """
    when = schedule.when
    if not isinstance(when, CronWhen | EveryWhen):
        return []
    start, end = schedule.starts_at, schedule.ends_at
    begin = after if start is None else max(after.astimezone(UTC), start - SECOND)
    last = datetime.max.replace(tzinfo=UTC) - DAY if end is None else end
    return list(islice(clock_slots(when, after=begin, until=last), count))


def _every(when: EveryWhen, after: datetime) -> Iterator[datetime]:
    """The times after `after`, without end."""
    step, time = parse_duration(when.every), parse_moment(when.since)
    time += ((after - time) // step + 1) * step
    while True:
        yield time
        time += step


def names_times_of_day(line: str) -> bool:
    """Whether the cron line means times of day, and not real hours: rule 1."""
    minute, hour = line.split()[:2]
    return not minute.startswith("*") and not hour.startswith("*")


def _cron(when: CronWhen, after: datetime) -> Iterator[datetime]:
    """The times after `after`."""
    zone = ZoneInfo(when.time_zone)
    begin = after.astimezone(zone).replace(tzinfo=None, microsecond=0)
    if len({time.astimezone(zone).utcoffset() for time in (after - DAY, after, after + DAY)}) > 1:
        begin -= DAY  # a wall clock that is put back shows times again that lie before this one
    walls = copy(_parsed(when.cron))
    walls.dt = begin
    times = _of_day(walls, zone) if names_times_of_day(when.cron) else _of_hours(walls, zone)
    yield from (time for time in times if time > after)


@lru_cache(maxsize=1024)
def _parsed(line: str) -> CronSim:
    """The line, to be copied: parsing takes longer than finding the next time."""
    return CronSim(line, datetime(2000, 1, 1))  # noqa: DTZ001 - the wall clock of no zone


def _of_day(walls: Iterator[datetime], zone: tzinfo) -> Iterator[datetime]:
    """One time for each of `walls` (rising, without a zone), but one for all that lie in the same gap."""
    before = None
    for wall in walls:
        time = _first(wall, zone)
        if not _shows(time, zone, wall):
            time = _gap_end(wall, zone)
        if time != before:
            yield time
        before = time


def _of_hours(walls: Iterator[datetime], zone: tzinfo) -> Iterator[datetime]:
    """Each moment at which the clock of `zone` shows one of `walls` (rising, without a zone)."""
    waiting: list[datetime] = []
    for wall in walls:
        first, second = _first(wall, zone), wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
        # whatever comes of later walls lies at or after the first reading of this one
        while waiting and waiting[0] < min(first, second):
            yield heapq.heappop(waiting)
        if first == second and not waiting:  # as nearly always: the clock shows it once
            yield first
            continue
        for time in {first, second}:
            if _shows(time, zone, wall):
                heapq.heappush(waiting, time)
    yield from sorted(waiting)


def _first(wall: datetime, zone: tzinfo) -> datetime:
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _shows(time: datetime, zone: tzinfo, wall: datetime) -> bool:
    """Whether the clock of `zone` shows `wall` at `time`."""
    return time.astimezone(zone).replace(tzinfo=None) == wall


def _gap_end(wall: datetime, zone: tzinfo) -> datetime:
    """The first moment after the gap that `wall` lies in.

    Read with the offset after the gap, `wall` lies before its end; with the one before, at or after it (PEP 495).
    """
    low, high = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), _first(wall, zone)
    offset = high.astimezone(zone).utcoffset()
    while high - low > SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (low, middle) if middle.astimezone(zone).utcoffset() == offset else (middle, high)
    return high
