"""When cron lines come due, found out minute by minute: an oracle that shares no code with what it judges.

For a time zone it lays out every minute of UTC beside what the clock on the wall shows then. A line that follows real
hours comes at each minute whose wall clock fits. A line of times of day comes at the first minute at which the wall
clock has got as far as a time that fits: right after the gap where the clock is put forward, and the first of two
where it is put back. numpy and zoneinfo only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.datetime64]

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


class Walls:
    """Times of a wall clock (n,), taken apart once for all lines that are held against them."""

    def __init__(self, times: Times) -> None:
        days, hours = times.astype("datetime64[D]"), times.astype("datetime64[h]")
        self.minute = (times - hours).astype(np.int64)
        self.hour = (hours - days).astype(np.int64)
        self.month = times.astype("datetime64[M]").astype(np.int64) % 12 + 1
        self.calendar = np.arange(days.min(), days.max() + 1)
        self.day = (days - self.calendar[0]).astype(np.int64)


@dataclass(frozen=True)
class Minutes:
    """Minutes of UTC, and the wall clock at each; both (n_minutes,) datetime64[m].

    `furthest` is how far the wall clock ever got by then, `shown` every minute between its first and its furthest.
    """

    utc: Times
    wall: Times

    @cached_property
    def walls(self) -> Walls:
        return Walls(self.wall)

    @cached_property
    def furthest(self) -> Times:
        return np.maximum.accumulate(self.wall)

    @cached_property
    def shown(self) -> Times:
        return np.arange(self.wall[0], self.furthest[-1] + 1)

    @cached_property
    def shown_walls(self) -> Walls:
        return Walls(self.shown)


def as_minute(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "m")


def as_moment(minute: np.datetime64) -> datetime:
    found: datetime = minute.astype("datetime64[s]").item()
    return found.replace(tzinfo=UTC)


@lru_cache(maxsize=8)
def minutes(zone: str, begin: datetime, end: datetime) -> Minutes:
    """The minutes from `begin` up to and without `end`."""
    utc = np.arange(as_minute(begin), as_minute(end))
    place = ZoneInfo(zone)

    def offset(position: int) -> int:
        delta = as_moment(utc[position]).astimezone(place).utcoffset()
        assert delta is not None
        return int(delta.total_seconds() // 60)

    offsets = np.zeros(len(utc), dtype=np.int64)
    marks = [*range(0, len(utc), 30), len(utc) - 1]
    known = [offset(mark) for mark in marks]
    for left, right, before, after in zip(marks, marks[1:], known, known[1:], strict=False):
        within = range(left, right + 1)
        offsets[left : right + 1] = before if before == after else [offset(position) for position in within]
    return Minutes(utc=utc, wall=utc + offsets)


def slots(line: str, zone: str, *, after: datetime, until: datetime) -> list[datetime]:
    """Every time after `after` and up to `until` at which the line comes due, rising."""
    laid = minutes(zone, after - timedelta(days=3), until + timedelta(minutes=1))
    minute, hour = line.split()[:2]
    if minute.startswith("*") or hour.startswith("*"):
        found = laid.utc[fits(line, laid.walls)]
    else:
        times = laid.shown[fits(line, laid.shown_walls)]
        found = laid.utc[np.unique(np.searchsorted(laid.furthest, times, side="left"))]
    moments = (as_moment(one) for one in found)
    return [moment for moment in moments if after < moment <= until]


def fits(line: str, walls: Walls) -> NDArray[np.bool_]:
    """Whether the fields of `line` fit each of `walls` (n,)."""
    minute, hour, day, month, weekday = line.upper().split()
    by_day = np.array([_day_fits(one, day, weekday) for one in walls.calendar.tolist()], dtype=np.bool_)
    result: NDArray[np.bool_] = (
        _table(minute, 0, 59)[walls.minute]
        & _table(hour, 0, 23)[walls.hour]
        & _table(month, 1, 12, MONTHS)[walls.month]
        & by_day[walls.day]
    )
    return result


def _day_fits(one: date, day: str, weekday: str) -> bool:
    by_date = any(_date_fits(one, part) for part in day.split(","))
    by_weekday = any(_weekday_fits(one, part) for part in weekday.split(","))
    either = not day.startswith("*") and not weekday.startswith("*")
    return by_date or by_weekday if either else by_date and by_weekday


def _date_fits(one: date, part: str) -> bool:
    last = (one.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    if part == "L":
        return one == last
    if part == "LW":
        while last.isoweekday() > 5:
            last -= timedelta(days=1)
        return one == last
    return bool(_table(part, 1, 31)[one.day])


def _weekday_fits(one: date, part: str) -> bool:
    number = one.isoweekday() % 7
    if "#" in part:
        name, nth = part.split("#")
        return bool(_weekdays(name)[number]) and (one.day - 1) // 7 + 1 == int(nth)
    if part.endswith("L"):
        return bool(_weekdays(part[:-1])[number]) and (one + timedelta(days=7)).month != one.month
    return bool(_weekdays(part)[number])


def _weekdays(part: str) -> NDArray[np.bool_]:
    """Sunday is 0, and 7 as well."""
    table = _table(part, 0, 7, DAYS)
    table[0] = table[0] or table[7]
    return table


def _table(field: str, low: int, high: int, names: list[str] | None = None) -> NDArray[np.bool_]:
    """Which numbers the field means, at their own places."""
    table = np.zeros(high + 1, dtype=np.bool_)
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            begin, end = low, high
        else:
            begin = _number(first, low, names)
            end = _number(last, low, names) if dash else (high if step else begin)
        table[begin : end + 1 : int(step or 1)] = True
    return table


def _number(word: str, low: int, names: list[str] | None) -> int:
    return names.index(word) + low if names and word in names else int(word)
