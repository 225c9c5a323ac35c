"""Names in a job file that a schedule's slot fills in: ``${date}`` and the like.

========================  ==========================================================================
``${date}``               the slot's day in the schedule's time zone, ``2026-01-31``
``${day_before}``         the day before that one
``${slot}``               the slot's time in UTC, ``2026-01-31 07:30:00``, as expressions write times
``${previous}``           the time of the schedule's slot before it, likewise
========================  ==========================================================================

1. What is filled in is made of the slot's times here, never of text that somebody gave: a date or a time, so it can't
   change what an expression or a name means.
2. Only text values are filled in: no key, and neither the job's ``name`` nor its kind, which are the same in each slot.
3. ``${`` in front of another name is refused with its near match; ``$${date}`` stays as ``${date}``.
4. Where no slot is given, a file is checked with `EXAMPLE`, so that it is found wrong before its first slot. Nothing
   runs with that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from dataops.declarations.loader import Document, Finding, Place, report
from dataops.errors import InvalidInput, near_match
from dataops.records import digest_bytes

NAMES = ("date", "day_before", "slot", "previous")

_NAME = re.compile(r"\$(\$?)\{([^{}]*)\}")
_CONSTANT = (("name",), ("job",))
_TIME = "%Y-%m-%d %H:%M:%S"
_OF_THE_MACHINE = ("localtime", "posixrules")  # files beside the time zones: another one on each machine


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTimes:
    """The times of one slot.

    Attributes
    ----------
    nominal : the slot's own time, aware.
    zone : the time zone in which its day is meant, a name of the IANA database.
    previous : the time of the slot before it, aware; None where there is none, as with a schedule without a clock.
    """

    nominal: datetime
    zone: str = "UTC"
    previous: datetime | None = None

    def values(self) -> Mapping[str, str]:
        """What each name stands for; ``previous`` is missing where there is no slot before.

        Raises
        ------
        InvalidInput : no such time zone.
        """
        day = self.nominal.astimezone(time_zone(self.zone)).date()
        values = {
            "date": day.isoformat(),
            "day_before": (day - timedelta(days=1)).isoformat(),
            "slot": _spell(self.nominal),
        }
        return values if self.previous is None else {**values, "previous": _spell(self.previous)}


EXAMPLE = SlotTimes(nominal=datetime(2026, 1, 31, 7, 30, tzinfo=UTC), previous=datetime(2026, 1, 30, 7, 30, tzinfo=UTC))


def time_zone(name: str) -> ZoneInfo:
    """The time zone of that name.

    Raises
    ------
    InvalidInput : the IANA database has none.
    """
    if name not in _OF_THE_MACHINE:
        with suppress(KeyError, ValueError, OSError):  # not there; a path; a folder of the database
            return ZoneInfo(name)
    near = near_match(name, available_timezones().difference(_OF_THE_MACHINE))
    hint = near if near.startswith(" Did") else " Write it as in Europe/Amsterdam or America/New_York."
    raise InvalidInput(f"{name!r} is no time zone.{hint}")


def parse_slot(text: str, zone: str) -> datetime:
    """The aware UTC time that `text` says: a date (its first moment), a time of the clock in `zone`, or a time with a
    zone of its own. A time that the clock showed twice is the first of the two.

    Raises
    ------
    InvalidInput : neither a date nor a time, or no such time zone.
    """
    place = time_zone(zone)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{text!r} is no slot: expected a date like 2026-01-31, or a time like 2026-01-31T07:30:00Z"
        ) from None
    if not 1 < moment.year < MAXYEAR:  # a day before and a zone away there is no other year
        raise InvalidInput(f"{text!r} is no slot: expected a year from 2 to {MAXYEAR - 1}")
    return (moment if moment.tzinfo else moment.replace(tzinfo=place)).astimezone(UTC)


def names_in(document: Document) -> tuple[str, ...]:
    """The names of a slot that `document` holds, in the order of `NAMES`."""
    found = {name for _, text in _texts(document.value, ()) for escaped, name in _NAME.findall(text) if not escaped}
    return tuple(name for name in NAMES if name in found)


def fill(document: Document, times: SlotTimes) -> Document:
    """`document` with the values of the slot `times`; the very same where it names nothing.

    Raises
    ------
    InvalidInput : all findings, each with file, line and path: unknown names, a name where none can stand, one that
        this slot has no value for.
    """
    values = times.values()
    findings = list(_findings(document, values))
    if findings:
        raise InvalidInput("\n".join(report(document, findings)))
    filled = _mapped(document.value, lambda text: _NAME.sub(lambda found: _value(found, values), text))
    if filled == document.value:
        return document
    text = json.dumps(filled, separators=(",", ":"), ensure_ascii=False)
    return replace(document, value=filled, digest=digest_bytes(text.encode("utf-8")))


def require_no_names(document: Document) -> None:
    """Nothing, if `document` holds no name of a slot.

    Raises
    ------
    InvalidInput : it does, and there is no slot.
    """
    findings = [
        Finding(
            place=place,
            message=f"${{{name}}} is filled in by a slot of a schedule, and this is none: give one by hand, such as "
            f"--slot {EXAMPLE.values()['date']}",
        )
        for place, text in _texts(document.value, ())
        for escaped, name in _NAME.findall(text)
        if not escaped
    ]
    if findings:
        raise InvalidInput("\n".join(report(document, findings)))


def _findings(document: Document, values: Mapping[str, str]) -> Iterator[Finding]:
    for place, text in _texts(document.value, ()):
        for escaped, name in _NAME.findall(text):
            if escaped:
                continue
            if name not in NAMES:
                message = f"${{{name}}}: unknown name of a slot.{near_match(name, NAMES)} For the text itself write $$"
                yield Finding(place=place, message=message)
            elif place in _CONSTANT:
                yield Finding(place=place, message=f"${{{name}}}: it is the same in each slot, so nothing is filled in")
            elif name not in values:
                message = (
                    f"${{{name}}}: this slot has none before it: a schedule by a clock has, by hand --previous says it"
                )
                yield Finding(place=place, message=message)


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    return found[0].removeprefix("$") if found[1] else values[found[2]]


def _texts(value: object, place: Place) -> Iterator[tuple[Place, str]]:
    """Every text value below `value`, with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _texts(one, (*place, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _texts(one, (*place, number))


def _mapped(value: object, change: Callable[[str], str]) -> object:
    """`value` with every text value changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(one, change) for key, one in value.items()}
    return [_mapped(one, change) for one in value] if isinstance(value, list) else value


def _spell(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_TIME)
