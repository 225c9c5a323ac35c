"""The values of the expression language: seven types, and what every column becomes before anything is computed.

=================  ==============================================================================================
whole numbers      int64; an unsigned value beyond it is null
other numbers      float64; NaN is null
text               string (dictionaries are decoded); bytes that are not UTF-8 are null
true/false         bool
dates              date32 of the years 1 to 9999; others are null
times              timestamp[us], with or without UTC (a zone is a display matter), of the same years
null               the type of NULL alone
=================  ==============================================================================================

1. What the language can't hold is null, never an error: rows that the reader can't see must not make a difference.
2. Two types meet in few ways: whole and other numbers as float64, dates and times as times, a text literal beside a
   date or time as that date or time. Everything else is refused, before there are rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.governance.expression_tree import RefusedError, Scalar, parse_moment

BOOLEAN, WHOLE, REAL, TEXT = pa.bool_(), pa.int64(), pa.float64(), pa.string()
DATE, TIME, TIME_UTC, NULL = pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.null()
NUMBERS = (WHOLE, REAL)
MOMENTS = (DATE, TIME, TIME_UTC)

Value: TypeAlias = pa.Array | pa.Scalar

_NAMES = {
    BOOLEAN: "true/false",
    WHOLE: "whole numbers",
    REAL: "numbers",
    TEXT: "text",
    DATE: "dates",
    TIME: "times",
    TIME_UTC: "times in UTC",
    NULL: "null",
}
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31, in days from 1970
_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def plain_type(kind: pa.DataType) -> pa.DataType | None:
    """The type that a column of type `kind` has in the language; None where it has none (lists, structs, bytes)."""
    types = pa.types
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_timestamp(kind):
        return TIME if kind.tz is None else TIME_UTC
    tests: Sequence[tuple[Callable[[pa.DataType], bool], pa.DataType]] = (
        (types.is_boolean, BOOLEAN),
        (types.is_integer, WHOLE),
        (types.is_floating, REAL),
        (types.is_decimal, REAL),
        (types.is_string, TEXT),
        (types.is_large_string, TEXT),
        (types.is_string_view, TEXT),
        (types.is_date, DATE),
        (types.is_null, NULL),
    )
    return next((plain for test, plain in tests if test(kind)), None)


def plain(array: pa.Array) -> pa.Array:
    """`array` in the language's own type (`plain_type`), with null for what that can't hold."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = plain_type(array.type)
    if kind is None:
        raise RefusedError(f"columns of type {array.type} are not in the expression language")
    if kind == TEXT:
        return _readable(array.cast(TEXT))
    if kind == REAL:
        return _without(array.cast(REAL, safe=False), pc.is_nan)
    if kind == DATE:
        return _within(array.cast(pa.date32(), safe=False), pa.int32(), _FIRST_DAY, _LAST_DAY)
    if kind in MOMENTS:
        per_day = _PER_DAY[array.type.unit]
        return _within(array, WHOLE, _FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day - 1).cast(kind, safe=False)
    if pa.types.is_uint64(array.type):
        array = _without(array, lambda values: pc.greater(values, pa.scalar(2**63 - 1, pa.uint64())))
    return array.cast(kind)


def name_of(kind: pa.DataType) -> str:
    """`kind` in words, for messages."""
    return _NAMES.get(kind, str(kind))


def scalar(value: Scalar) -> pa.Scalar:
    """A literal as a scalar of the language."""
    if isinstance(value, datetime):
        return pa.scalar(value, TIME)
    if isinstance(value, date):
        return pa.scalar(value, DATE)
    return pa.scalar(value)


def typed(values: Sequence[Value], operation: str, *kinds: pa.DataType) -> list[Value]:
    """`values`, which must be of one of `kinds`; NULL takes the first of them.

    Raises
    ------
    RefusedError : another type.
    """
    for value in values:
        if value.type not in (*kinds, NULL):
            expected = " or ".join(dict.fromkeys(name_of(kind) for kind in kinds))
            raise RefusedError(f"{operation} takes {expected}, found {name_of(value.type)}")
    return [value.cast(kinds[0]) if value.type == NULL else value for value in values]


def unify(values: Sequence[Value], operation: str) -> list[Value]:
    """`values` in the one type in which they meet.

    Raises
    ------
    RefusedError : there is none.
    """
    kind = _meeting_type(values, operation)
    return [_as(value, kind) for value in values]


def as_real(value: Value) -> Value:
    """Numbers as float64; beyond 2**53 a whole number becomes its nearest one."""
    return value if value.type == REAL else pc.cast(value, REAL, safe=False)


def finite(array: pa.Array) -> pa.Array:
    """`array` (float64) with null for infinities and NaN."""
    is_finite = pc.is_finite(array)
    return array if pc.all(is_finite).as_py() is not False else pc.if_else(is_finite, array, pa.scalar(None, REAL))


def _meeting_type(values: Sequence[Value], operation: str) -> pa.DataType:
    kinds = {value.type for value in values} - {NULL}
    moments = kinds & set(MOMENTS)
    if moments and TEXT in kinds and all(isinstance(value, pa.Scalar) for value in values if value.type == TEXT):
        kinds = moments
    if TIME_UTC in kinds and all(isinstance(value, pa.Scalar) for value in values if value.type in (DATE, TIME)):
        kinds -= {DATE, TIME}
    if len(kinds) <= 1:
        return next(iter(kinds), NULL)
    if kinds == {WHOLE, REAL}:
        return REAL
    if kinds == {DATE, TIME}:
        return TIME
    raise RefusedError(f"{operation} can't take {' and '.join(sorted(name_of(kind) for kind in kinds))} together")


def _as(value: Value, kind: pa.DataType) -> Value:
    if value.type == kind:
        return value
    if value.type == TEXT:  # a literal beside a date or time
        text = value.as_py()
        is_date = len(text) == len("2026-01-31")
        return pa.scalar(parse_moment(text, is_date=is_date), DATE if is_date else TIME).cast(kind, safe=kind != DATE)
    return pc.cast(value, kind, safe=False)


def _within(array: pa.Array, integers: pa.DataType, lowest: int, highest: int) -> pa.Array:
    numbers = array.cast(integers, safe=False) if array.type != DATE else array.view(integers)
    extremes = pc.min_max(numbers).as_py()
    if extremes["min"] is None or (extremes["min"] >= lowest and extremes["max"] <= highest):
        return array
    is_within = pc.and_(pc.greater_equal(numbers, lowest), pc.less_equal(numbers, highest))
    return pc.if_else(is_within, array, pa.scalar(None, array.type))


def _without(array: pa.Array, test: Callable[[pa.Array], pa.Array]) -> pa.Array:
    is_out = test(array)
    return pc.if_else(is_out, pa.scalar(None, array.type), array) if pc.any(is_out).as_py() else array


def _readable(array: pa.Array) -> pa.Array:
    """Text with null for what is not UTF-8: kernels would fail on it, and with it on every other row."""
    if _is_ascii(array):
        return array
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        # the only loop over rows: reached for broken files alone
        return pa.array([_decoded(value.as_py()) for value in array.cast(pa.binary())], TEXT)
    return array


def _is_ascii(array: pa.Array) -> bool:
    """Whether no byte of `array` is above 127: one look at its buffer, ten times faster than Arrow's check by value."""
    if not len(array):
        return True
    _validity, offsets, data = array.buffers()
    first, last = np.frombuffer(offsets, np.int32)[[array.offset, array.offset + len(array)]]
    return bool(first == last or np.frombuffer(data, np.uint8)[first:last].max() < 128)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None
