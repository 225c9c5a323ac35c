"""Columns that features are made of and that no table has: parts of dates, and columns crossed.

1. They are made row by row, before anything is summarised or encoded, alike in training and everywhere else.
2. A part is told by the clocks and the calendar of a time zone: of timestamps with a zone, in the zone that was fixed
   at fit, daylight saving included; dates, and timestamps without a zone, are taken as they stand. It is a whole
   number, or a place on a circle, ``sin`` and ``cos``.
3. A cross is the JSON list of its columns' categories; null where one of them is.
4. Null stays null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from dataops.errors import InvalidInput
from dataops.features.columns import (
    array_of,
    column_of,
    numpy_of,
    of_numpy,
    read_categories,
    require_columns,
)
from dataops.records import Record

_PARTS: Mapping[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
    "year": pc.year,
    "quarter": pc.quarter,
    "month": pc.month,
    "week": pc.iso_week,
    "day": pc.day,
    "day_of_year": pc.day_of_year,
    "weekday": lambda column: pc.day_of_week(column, count_from_zero=False, week_start=1),
    "hour": pc.hour,
    "minute": pc.minute,
}
_TURNS = {  # the least value, and how many there are before it begins anew
    "quarter": (1, 4),
    "month": (1, 12),
    "week": (1, 53),
    "day": (1, 31),
    "day_of_year": (1, 366),
    "weekday": (1, 7),
    "hour": (0, 24),
    "minute": (0, 60),
}
_WAVES: Mapping[str, Callable[[float], float]] = {"sin": math.sin, "cos": math.cos}
_OF_CLOCKS = ("hour", "minute")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatePart:
    """A part of a date or time.

    Parameters
    ----------
    part : a key of `_PARTS`.
    zone : of timestamps with a zone; None: UTC.
    wave : ``sin`` or ``cos`` of the place on a circle; None: the part as a whole number.
    """

    name: str
    source: str
    part: str
    zone: str | None = None
    wave: str | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns that it is made of."""
        return (self.source,)

    def record(self) -> Record:
        """The column as JSON."""
        names = {"kind": "part", "name": self.name, "source": self.source}
        return {**names, "part": self.part, "zone": self.zone, "wave": self.wave}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """Several columns as one category."""

    name: str
    sources: tuple[str, ...]

    def record(self) -> Record:
        """The column as JSON."""
        return {"kind": "cross", "name": self.name, "sources": list(self.sources)}


Made: TypeAlias = DatePart | Crossed


def made_column(record: Mapping[str, Any]) -> Made:
    """The column that its `record` wrote.

    Raises
    ------
    KeyError, TypeError, ValueError : it didn't.
    """
    texts = [record["name"], *(record["sources"] if record["kind"] == "cross" else [record["source"]])]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("text")
    if record["kind"] == "cross":
        return Crossed(name=record["name"], sources=tuple(record["sources"]))
    part, zone, wave = (record[key] for key in ("part", "zone", "wave"))
    known = part in _PARTS if wave is None else part in _TURNS and wave in _WAVES
    if record["kind"] != "part" or not known or not isinstance(zone, str | None):
        raise ValueError("part")
    return DatePart(name=record["name"], source=record["source"], part=part, zone=zone, wave=wave)


def with_made(table: pa.Table, made: Sequence[Made]) -> pa.Table:
    """`table` with the columns of `made` behind its own; whole numbers, float64, or texts with a dictionary.

    A column of the table that is called as one of them is left out: training had none (`fitting.require_types`).

    Raises
    ------
    InvalidInput : a column that they are made of is missing, or of a type that they can't be made of.
    """
    sources = dict.fromkeys(source for one in made for source in one.sources)
    require_columns(table.column_names, list(sources), what="making features")
    table = table.drop_columns([one.name for one in made if one.name in table.column_names])
    for one in made:
        column = _crossed(one, table) if isinstance(one, Crossed) else _part_of(one, column_of(table, one.source))
        table = table.append_column(one.name, column)
    return table


def _part_of(made: DatePart, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pt.is_null(kind):
        return pa.chunked_array([pa.nulls(len(column), pa.int64())])
    if not (pt.is_date(kind) or pt.is_timestamp(kind)):
        raise InvalidInput(f"column '{made.source}' is {kind}, neither a date nor a time: it has no {made.part}")
    if pt.is_date(kind) and made.part in _OF_CLOCKS:
        raise InvalidInput(f"column '{made.source}' is {kind}, a date without a time: it has no {made.part}")
    if pt.is_timestamp(kind):
        column = _in_zone(made, column)
    part = _PARTS[made.part](column)
    return part if made.wave is None else _on_circle(made.part, made.wave, part)


def _in_zone(made: DatePart, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if kind.tz is None:
        if made.zone is not None:
            raise InvalidInput(
                f"column '{made.source}' is {kind}, a time of no zone: leave `zone` out, and it is taken as it stands"
            )
        return column
    local = pa.timestamp(kind.unit, tz=made.zone or "UTC")
    try:
        pc.year(array_of([0]).cast(local))  # a zone is looked up for values, and there may be none
    except pa.ArrowInvalid:
        raise InvalidInput(f"{made.name}: no time zone '{made.zone}' is known on this machine") from None
    return column.cast(local)


def _on_circle(part: str, wave: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Sine or cosine; each looked up, so that it is the same on every machine."""
    first, turn = _TURNS[part]
    circle = np.array([_WAVES[wave](2 * math.pi * place / turn) for place in range(turn)])
    return pc.take(of_numpy(circle), pc.subtract(values.cast(pa.int64()), array_of([first])[0]))


def _crossed(made: Crossed, table: pa.Table) -> pa.DictionaryArray:
    """Distinct rows are found by numbers; texts are made once for each of them."""
    comma, closed, nothing = (array_of([text])[0] for text in (",", "]", ""))
    nulls = pa.nulls(1, pa.string())
    places, texts = np.zeros(table.num_rows, np.int64), array_of(["["])
    for number, name in enumerate(made.sources):
        found = read_categories(name, column_of(table, name))
        written = [None if text is None else json.dumps(text, ensure_ascii=False) for text in found.texts.to_pylist()]
        known = pa.concat_arrays([array_of(written).cast(pa.string()) if written else nulls.slice(1), nulls])
        encoded = of_numpy(places * len(known) + found.indices).dictionary_encode()
        distinct = numpy_of(encoded.dictionary)
        left, right = (of_numpy(one) for one in np.divmod(distinct, len(known)))
        texts = pc.binary_join_element_wise(texts.take(left), known.take(right), comma if number else nothing)
        places = numpy_of(encoded.indices).astype(np.int64)
    texts = pc.binary_join_element_wise(texts, closed, nothing)
    return pa.DictionaryArray.from_arrays(of_numpy(places.astype(np.int32)), texts)
