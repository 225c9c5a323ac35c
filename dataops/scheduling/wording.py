"""Times and ages in words, for people. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

_UNITS = (("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def spell_age(age: timedelta) -> str:
    """How long that is, by its largest unit: ``3 days``, ``31 h``, ``4 min``, ``12 s``; below a second ``0 s``."""
    seconds = max(0, int(age.total_seconds()))
    for unit, size in _UNITS:
        count = seconds // size
        if count >= 2 or (count and unit != "day"):  # 31 h says more than 1 day
            return f"{count:,} {unit}{'s' if unit == 'day' else ''}"
    return "0 s"


def spell_exactly(span: timedelta) -> str:
    """A whole number of seconds by the largest unit that divides it: ``90 min``, ``36 h``, ``2 days``."""
    seconds = int(span.total_seconds())
    for unit, size in _UNITS:
        count, left = divmod(seconds, size)
        if count and not left and (count >= 2 or unit != "day"):
            return f"{count:,} {unit}{'s' if unit == 'day' else ''}"
    return "0 s"


def ago(moment: datetime, now: datetime) -> str:
    """How long before `now` that was: ``4 min ago``; ``in 4 min`` where it is still to come."""
    return f"in {spell_age(moment - now)}" if moment > now else f"{spell_age(now - moment)} ago"


def spell_slot(nominal: datetime, zone: str = "UTC") -> str:
    """A slot's time by the clock of its schedule: ``2026-01-31 02:30 EST``; with seconds where it has some."""
    local = nominal.astimezone(ZoneInfo(zone))
    return local.strftime("%Y-%m-%d %H:%M:%S %Z" if local.second else "%Y-%m-%d %H:%M %Z")


def spell_minute(moment: datetime) -> str:
    """A time of the record, in UTC: ``2026-01-31 07:30``."""
    return moment.astimezone(ZoneInfo("UTC")).strftime("%Y-%m-%d %H:%M")


def counted(count: int, noun: str) -> str:
    """``1 slot``, ``12 slots``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
