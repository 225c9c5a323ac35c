"""Times and durations as declarations write them: ``90s``, ``6h``; ``2026-12-20``, ``2026-12-20T06:30:00Z``.

A time says its zone, so that it means the same on every machine; a date alone is that day in UTC. Times and durations
are bounded, so that whatever is reckoned with them is a time as well.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator

from dataops.declarations.join import parse_duration
from dataops.errors import InvalidInput

DAY = timedelta(days=1)
YEARS = range(1900, 3000)
LONGEST = 36_500 * DAY
"""How long a duration is at most."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})")


def parse_moment(text: str) -> datetime:
    """The aware UTC time, of whole seconds, that `text` spells; a date means its first moment in UTC.

    Raises
    ------
    InvalidInput : anything else, also a time without a zone, and one of a year that is none of `YEARS`.
    """
    found = _read_moment(text)
    if found is None:
        raise InvalidInput("expected a date like '2026-12-20', or a time with its zone like '2026-12-20T06:30:00Z'")
    if found.year not in YEARS:
        raise InvalidInput(
            f"expected a date or a time of the years {YEARS[0]} to {YEARS[-1]}; leave out an end that never comes"
        )
    return found


def _read_moment(text: str) -> datetime | None:
    try:
        if _DATE.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    return None


def end_of(text: str) -> datetime:
    """The first moment after the day that `text` spells, or the very time that it spells, aware UTC."""
    return parse_moment(text) + (DAY if _DATE.fullmatch(text) else timedelta(0))


def _require_moment(text: str) -> str:
    parse_moment(text)
    return text


def _require_duration(text: str) -> str:
    if parse_duration(text) > LONGEST:
        raise InvalidInput(f"expected {LONGEST.days}d at most")
    return text


Moment = Annotated[str, AfterValidator(_require_moment)]
Duration = Annotated[str, AfterValidator(_require_duration)]

__all__ = ["DAY", "Duration", "Moment", "end_of", "parse_duration", "parse_moment"]
