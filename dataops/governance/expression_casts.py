"""CAST of the expression language: whole columns from one type to another, null where a value doesn't fit.

1. Text is read by one strict pattern a type, with white space around it allowed; what doesn't match is null.
2. A number with a fraction becomes a whole one toward zero; out of the named type's range is null.
3. Casts that make no sense (a date to a number) are refused, before there are rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from dataops.governance.expression_tree import RefusedError
from dataops.governance.expression_values import (
    BOOLEAN,
    DATE,
    MOMENTS,
    REAL,
    TEXT,
    TIME,
    TIME_UTC,
    WHOLE,
    finite,
    name_of,
)

# bits of each whole type of SQL; the value is int64 whatever the name, within the named range
_BITS = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_DIGITS = r"^[+-]?[0-9]{1,38}$"  # what a decimal128 holds
_DECIMAL = r"^[+-]?([0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})([eE][+-]?[0-9]{1,5})?$"
_MOMENT = (
    r"^(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[ T](?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])"
    r"(?::(?P<second>[0-5][0-9])(?:\.(?P<fraction>[0-9]{1,9}))?)?)?$"
)


def cast_values(array: pa.Array, target: str) -> pa.Array:
    """`array` cast to `target`.

    Parameters
    ----------
    array
        Of a type of the language (`expression_values`).
    target
        One of boolean, tinyint, smallint, int, bigint, double, string, date or timestamp.

    Raises
    ------
    RefusedError : this type is never cast to that one.
    """
    if pa.types.is_null(array.type):
        array = array.cast(_RESULTS[target])
    if target in _BITS:
        return _whole(array, _BITS[target])
    return _CASTS[target](array)


def _refuse(array: pa.Array, target: str) -> RefusedError:
    return RefusedError(f"{name_of(array.type)} can't be cast to {target}")


def _whole(array: pa.Array, bits: int) -> pa.Array:
    if array.type == TEXT:
        array = _whole_of_text(array)
    elif array.type == REAL:
        # exactly the floats below 2**63: 2.0**63 itself doesn't fit
        fits = pc.and_(pc.greater_equal(array, -(2.0**63)), pc.less(array, 2.0**63))
        array = pc.if_else(fits, pc.trunc(array), pa.scalar(None, REAL)).cast(WHOLE, safe=False)
    elif array.type == BOOLEAN:
        array = array.cast(WHOLE)
    elif array.type != WHOLE:
        raise _refuse(array, "a whole number")
    return array if bits == 64 else _between(array, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _whole_of_text(array: pa.Array) -> pa.Array:
    digits = pc.replace_substring_regex(_matching(array, _DIGITS), pattern=r"^\+", replacement="")
    exact = digits.cast(pa.decimal128(38, 0))
    lowest, highest = (pa.scalar(bound, pa.int64()).cast(pa.decimal128(38, 0)) for bound in (-(2**63), 2**63 - 1))
    fits = pc.and_(pc.greater_equal(exact, lowest), pc.less_equal(exact, highest))
    return pc.if_else(fits, exact, pa.scalar(None, exact.type)).cast(WHOLE)


def _real(array: pa.Array) -> pa.Array:
    if array.type == TEXT:
        return finite(_matching(array, _DECIMAL).cast(REAL))
    if array.type in (BOOLEAN, WHOLE):
        return array.cast(WHOLE).cast(REAL, safe=False)
    if array.type != REAL:
        raise _refuse(array, "double")
    return array


def _boolean(array: pa.Array) -> pa.Array:
    if array.type == TEXT:
        words = pc.utf8_lower(pc.utf8_trim_whitespace(array))
        is_true, is_false = (pc.is_in(words, value_set=pa.array(known)) for known in (_TRUE, _FALSE))
        return pc.if_else(pc.or_(is_true, is_false), is_true, pa.scalar(None, BOOLEAN))
    if array.type == WHOLE:
        return pc.not_equal(array, 0)
    if array.type != BOOLEAN:
        raise _refuse(array, "boolean")
    return array


def _text(array: pa.Array) -> pa.Array:
    return array if array.type == TEXT else array.cast(TEXT)


def _date(array: pa.Array) -> pa.Array:
    if array.type == TEXT:
        return _date_of_text(_matching(array, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))
    if array.type not in MOMENTS:
        raise _refuse(array, "date")
    return array if array.type == DATE else array.cast(TIME).cast(DATE, safe=False)


def _date_of_text(array: pa.Array) -> pa.Array:
    """Dates of ``YYYY-MM-DD``; strptime reads 30 February as 2 March, so what doesn't read back is null."""
    dates = pc.strptime(array, format="%Y-%m-%d", unit="s", error_is_null=True).cast(DATE, safe=False)
    same = pc.and_(pc.equal(dates.cast(TEXT), array), pc.greater_equal(array, "0001-01-01"))
    return pc.if_else(same, dates, pa.scalar(None, DATE))


def _time(array: pa.Array) -> pa.Array:
    if array.type == TEXT:
        return _time_of_text(pc.utf8_trim_whitespace(array))
    if array.type not in MOMENTS:
        raise _refuse(array, "timestamp")
    return array if array.type in (TIME, TIME_UTC) else array.cast(TIME)


def _time_of_text(array: pa.Array) -> pa.Array:
    parts = pc.extract_regex(array, pattern=_MOMENT)
    days = _date_of_text(pc.struct_field(parts, "day")).cast(TIME).cast(WHOLE)
    fraction = pc.utf8_slice_codeunits(pc.utf8_rpad(pc.struct_field(parts, "fraction"), 6, "0"), start=0, stop=6)
    total = pc.add(days, _digits(fraction))
    for part, microseconds in (("hour", 3_600_000_000), ("minute", 60_000_000), ("second", 1_000_000)):
        total = pc.add(total, pc.multiply(_digits(pc.struct_field(parts, part)), microseconds))
    return total.cast(TIME)


def _digits(array: pa.Array) -> pa.Array:
    """Whole numbers of a few digits, 0 for an absent part."""
    return pc.if_else(pc.equal(array, ""), "0", array).cast(WHOLE)


def _matching(array: pa.Array, pattern: str) -> pa.Array:
    """Trimmed text, null where `pattern` doesn't match."""
    trimmed = pc.utf8_trim_whitespace(array)
    return pc.if_else(pc.match_substring_regex(trimmed, pattern=pattern), trimmed, pa.scalar(None, TEXT))


def _between(array: pa.Array, lowest: int, highest: int) -> pa.Array:
    fits = pc.and_(pc.greater_equal(array, lowest), pc.less_equal(array, highest))
    return pc.if_else(fits, array, pa.scalar(None, WHOLE))


_CASTS: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    "double": _real,
    "boolean": _boolean,
    "string": _text,
    "date": _date,
    "timestamp": _time,
}
_RESULTS: Mapping[str, pa.DataType] = {
    **dict.fromkeys(_BITS, WHOLE),
    "double": REAL,
    "boolean": BOOLEAN,
    "string": TEXT,
    "date": DATE,
    "timestamp": TIME,
}
