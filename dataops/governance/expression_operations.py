"""The operations of the expression language: kernels over whole columns, by name.

1. An operation's type follows from its arguments' types alone; types that don't fit are refused whatever the rows.
2. No row makes an operation fail (`expression_arithmetic`, `expression_casts`): what can't be computed is null.
3. Three-valued logic as in SQL: what is compared with null is unknown (null); AND, OR and IN are Kleene's.
4. At least one argument is an array; literals stay scalars, so that kernels take their fast ways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.governance.expression_arithmetic import ARITHMETIC, Operation
from dataops.governance.expression_casts import cast_values
from dataops.governance.expression_tree import RefusedError
from dataops.governance.expression_values import (
    BOOLEAN,
    DATE,
    MOMENTS,
    NULL,
    NUMBERS,
    REAL,
    TEXT,
    TIME,
    WHOLE,
    Value,
    as_real,
    typed,
    unify,
)


def _comparison(name: str, kernel: Callable[..., pa.Array], *, is_ordering: bool) -> Operation:
    def run(values: Sequence[Value], _parameter: Any) -> pa.Array:
        left, right = unify(values, name)
        if left.type == NULL:
            left, right = left.cast(BOOLEAN), right.cast(BOOLEAN)
        elif left.type == BOOLEAN and is_ordering:
            raise RefusedError(f"{name} can't order true and false")
        return kernel(left, right)

    return run


def _between(values: Sequence[Value], parameter: Any) -> pa.Array:
    value, low, high = unify(values, "between")
    above, below = OPERATIONS[">="]([value, low], parameter), OPERATIONS["<="]([value, high], parameter)
    return pc.and_kleene(above, below)


def _in(values: Sequence[Value], parameter: Any) -> pa.Array:
    value, *members = unify(values, "in")
    if value.type == NULL or not all(isinstance(member, pa.Scalar) for member in members):
        equal = [OPERATIONS["="]([value, member], parameter) for member in members]
        return _folded(pc.or_kleene, equal)
    if value.type == REAL:
        value = pc.add(value, 0.0)  # is_in tells -0.0 from 0.0, = does not
    known = pa.array([member.as_py() for member in members if member.is_valid], value.type)
    if value.type == REAL:
        known = pc.add(known, 0.0)
    is_unknown = pc.is_null(value) if len(known) == len(members) else pa.scalar(value=True)
    found = pc.is_in(value, value_set=known)
    return pc.if_else(found, found, pc.if_else(is_unknown, pa.scalar(None, BOOLEAN), found))


def _folded(kernel: Callable[..., pa.Array], values: Sequence[Value]) -> pa.Array:
    result = values[0]
    for value in values[1:]:
        result = kernel(result, value)
    return result


def _logic(name: str, kernel: Callable[..., pa.Array]) -> Operation:
    return lambda values, _parameter: kernel(*typed(values, name, BOOLEAN))


def _is(truth: str, kernel: Callable[[Value], Value]) -> Operation:
    return lambda values, _parameter: pc.coalesce(
        kernel(typed(values, f"is {truth}", BOOLEAN)[0]), pa.scalar(value=False)
    )


def _case(values: Sequence[Value], _parameter: Any) -> pa.Array:
    """`values` are condition, result, condition, result ..., otherwise: the first condition that is true decides."""
    conditions = typed(values[:-1:2], "case when", BOOLEAN)
    *results, decided = unify([*values[1::2], values[-1]], "case")
    for condition, result in zip(reversed(conditions), reversed(results), strict=True):
        decided = pc.if_else(pc.coalesce(condition, pa.scalar(value=False)), result, decided)
    return decided


def _case_of(values: Sequence[Value], parameter: Any) -> pa.Array:
    subject, *rest = values
    conditions = [OPERATIONS["="]([subject, candidate], parameter) for candidate in rest[:-1:2]]
    parts = [part for pair in zip(conditions, rest[1::2], strict=True) for part in pair]
    return _case([*parts, rest[-1]], parameter)


def _coalesce(values: Sequence[Value], _parameter: Any) -> pa.Array:
    return pc.coalesce(*unify(values, "coalesce"))


def _null_if(values: Sequence[Value], parameter: Any) -> pa.Array:
    same = pc.coalesce(OPERATIONS["="](values, parameter), pa.scalar(value=False))
    return pc.if_else(same, pa.scalar(None, values[0].type), values[0])


def _extreme(name: str, kernel: Callable[..., pa.Array]) -> Operation:
    """Nulls are passed over, as in PostgreSQL: null only where all are."""
    return lambda values, _parameter: kernel(*unify(typed(values, name, *NUMBERS, TEXT, *MOMENTS), name))


def _text_function(name: str, kernel: Callable[[pa.Array], pa.Array]) -> Operation:
    return lambda values, _parameter: kernel(typed(values, name, TEXT)[0])


def _joined(name: str, **options: str) -> Operation:
    return lambda values, _parameter: pc.binary_join_element_wise(*typed(values, name, TEXT), "", **options)


def _like(name: str, *, ignore_case: bool) -> Operation:
    def run(values: Sequence[Value], pattern: Any) -> pa.Array:
        return pc.match_like(typed(values, name, TEXT)[0], pattern=pattern, ignore_case=ignore_case)

    return run


def _matches(values: Sequence[Value], pattern: Any) -> pa.Array:
    """Whether the whole text matches an RE2 pattern, in linear time; for contracts, the grammar has no word for it."""
    whole = rf"\A(?:{pattern})\z"
    try:
        pc.match_substring_regex(pa.array([""]), pattern=whole)
    except pa.ArrowInvalid:
        raise RefusedError("the pattern can't be read: RE2 has no look-around and no back-references") from None
    return pc.match_substring_regex(typed(values, "pattern", TEXT)[0], pattern=whole)


def _substring(values: Sequence[Value], bounds: Any) -> pa.Array:
    start, stop = bounds
    return pc.utf8_slice_codeunits(typed(values, "substring", TEXT)[0], start=start, stop=stop)


def _extract(values: Sequence[Value], field: Any) -> pa.Array:
    """Times with a zone are taken in UTC, so that no machine's zone tables matter."""
    (value,) = typed(values, "extract", *MOMENTS)
    if value.type == DATE and field in {"hour", "minute", "second"}:
        raise RefusedError(f"a date has no {field}")
    return _FIELDS[field](value if value.type == DATE else value.cast(TIME))


def _cut(values: Sequence[Value], bounds: Any) -> pa.Array:
    """Labels ``..b1``, ``b1..b2`` (b1 is in, b2 is not), ``bn..``."""
    (value,) = typed(values, "cut", *NUMBERS)
    if value.type == WHOLE and any(isinstance(bound, float) for bound in bounds):
        value = as_real(value)
    edges = ["", *(str(bound) for bound in bounds), ""]
    labels = pa.array([f"{low}..{high}" for low, high in pairwise(edges)], TEXT)
    numbers = value.fill_null(0).to_numpy(zero_copy_only=False)
    places = np.searchsorted(np.array(bounds, dtype=numbers.dtype), numbers, side="right")
    return labels.take(pa.array(places, mask=value.is_null().to_numpy(zero_copy_only=False)))


_FIELDS: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    "year": pc.year,
    "quarter": pc.quarter,
    "month": pc.month,
    "day": pc.day,
    "hour": pc.hour,
    "minute": pc.minute,
    "second": pc.second,
    "dow": lambda value: pc.day_of_week(value, count_from_zero=True, week_start=7),  # Sunday is 0
    "doy": pc.day_of_year,
}

OPERATIONS: Mapping[str, Operation] = {
    **ARITHMETIC,
    "=": _comparison("=", pc.equal, is_ordering=False),
    "<>": _comparison("<>", pc.not_equal, is_ordering=False),
    "<": _comparison("<", pc.less, is_ordering=True),
    "<=": _comparison("<=", pc.less_equal, is_ordering=True),
    ">": _comparison(">", pc.greater, is_ordering=True),
    ">=": _comparison(">=", pc.greater_equal, is_ordering=True),
    "between": _between,
    "in": _in,
    "and": _logic("and", pc.and_kleene),
    "or": _logic("or", pc.or_kleene),
    "not": _logic("not", pc.invert),
    "is null": lambda values, _parameter: pc.is_null(values[0]),
    "is true": _is("true", lambda value: value),
    "is false": _is("false", pc.invert),
    "case": _case,
    "case of": _case_of,
    "coalesce": _coalesce,
    "nullif": _null_if,
    "least": _extreme("least", pc.min_element_wise),
    "greatest": _extreme("greatest", pc.max_element_wise),
    "lower": _text_function("lower", pc.utf8_lower),
    "upper": _text_function("upper", pc.utf8_upper),
    "trim": _text_function("trim", pc.utf8_trim_whitespace),
    "length": _text_function("length", lambda text: pc.utf8_length(text).cast(WHOLE)),
    "substring": _substring,
    "||": _joined("||", null_handling="emit_null"),
    "concat": _joined("concat", null_handling="replace", null_replacement=""),
    "like": _like("like", ignore_case=False),
    "ilike": _like("ilike", ignore_case=True),
    "matches": _matches,
    "extract": _extract,
    "cut": _cut,
    "cast": lambda values, target: cast_values(values[0], target),
}
