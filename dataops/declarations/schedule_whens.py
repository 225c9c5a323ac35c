"""When a schedule's slots come due, declared: by the clock, or on occasions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any, TypeAlias

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Discriminator, Field, Tag

from dataops.declarations.declaration import DatasetName, Declaration, ModelName, Text
from dataops.declarations.schedule_steps import DriftLimit
from dataops.declarations.slot_names import time_zone
from dataops.declarations.times import Duration, Moment
from dataops.errors import InvalidInput


def _require_cron(line: str) -> str:
    if len(line.split()) != 5:
        raise InvalidInput(f"{line!r} is no cron line: expected five fields, minute hour day month weekday")
    try:
        next(CronSim(line, datetime(2000, 1, 1)))  # noqa: DTZ001 - the wall clock of no zone
    except CronSimError as error:
        raise InvalidInput(f"{line!r} is no cron line: {str(error)[0].lower()}{str(error)[1:]}") from None
    except StopIteration:
        raise InvalidInput(f"{line!r} never comes: no such day in fifty years") from None
    for term in re.findall(r"[^\s,]+-[^\s,]+/[^\s,]+", line):
        first, last = re.split("[-/]", term.upper())[:2]
        if first == last:  # cronsim would go on to the end of the range
            raise InvalidInput(f"{line!r}: {term!r} is a range of one: write '{first}'")
    return line


def _require_zone(name: str) -> str:
    time_zone(name)
    return name


class CronWhen(Declaration):
    """By the clock of a place."""

    cron: Annotated[Text, AfterValidator(_require_cron)]
    """Five fields: minute, hour, day of the month, month, weekday; as in Debian's cron, with `L`, `LW` and `FRI#2`."""
    time_zone: Annotated[Text, AfterValidator(_require_zone)] = "UTC"
    """The time zone that the fields are of, like `America/New_York`. Default: `UTC`."""


class EveryWhen(Declaration):
    """By the clock, at equal distances."""

    every: Duration
    """The distance, as `90s`, `5m`, `6h` or `3d`; a day is 24 hours."""
    since: Annotated[Moment, Field(alias="from")] = "1970-01-01"
    """A time of one slot, from which all others are counted. Default: the first moment of 1970 in UTC."""


class SnapshotWhen(Declaration):
    """When a dataset has a new snapshot."""

    snapshot: DatasetName
    """The dataset."""


class PromotedWhen(Declaration):
    """When a model has a new champion."""

    promoted: ModelName
    """The model."""


class DriftWhen(Declaration):
    """When a rescore finds that data moved beyond a limit."""

    drift: DriftLimit
    """The rescore and the limit."""


WHENS: Mapping[str, type[Declaration]] = {
    "cron": CronWhen,
    "every": EveryWhen,
    "snapshot": SnapshotWhen,
    "promoted": PromotedWhen,
    "drift": DriftWhen,
}
"""The kind of `when` by the key that says it."""


def _kind(when: Any) -> str:
    if not isinstance(when, Mapping):
        return type(when).__name__ if isinstance(when, Declaration) else CronWhen.__name__
    known = [key for key in WHENS if key in when]
    near = [found for key in when for found in get_close_matches(str(key), WHENS, n=1)]
    return WHENS[[*known, *near, "cron"][0]].__name__


When: TypeAlias = Annotated[
    Annotated[CronWhen, Tag("CronWhen")]
    | Annotated[EveryWhen, Tag("EveryWhen")]
    | Annotated[SnapshotWhen, Tag("SnapshotWhen")]
    | Annotated[PromotedWhen, Tag("PromotedWhen")]
    | Annotated[DriftWhen, Tag("DriftWhen")],
    Discriminator(_kind),
]
