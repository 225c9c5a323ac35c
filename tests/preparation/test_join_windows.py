"""Aggregates as of a time are those of the rows that were there then, counted one by one, for any rows and options."""

from __future__ import annotations

import math
from datetime import timedelta
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.aggregation import parse_aggregation
from dataops.errors import InvalidInput
from dataops.preparation import windows
from dataops.preparation.asof import times_of
from dataops.preparation.windows import AsOfRows, aggregated_as_of

MICROSECONDS = pa.timestamp("us")
MEASURES = {
    name: parse_aggregation(name)
    for name in ("count", "count(x)", "sum(x)", "mean(x)", "min(x)", "max(x)", "sum(n)", "mean(n)", "max(n)")
} | {"last(n, x)": parse_aggregation("last(n, x)")}
key = st.one_of(st.none(), st.integers(0, 2))
moment = st.one_of(st.none(), st.integers(0, 6))
real = st.one_of(st.none(), st.floats(), st.sampled_from([0.1, 0.2, 1e16, -1e16, 5e-324, 1e308]))
whole = st.one_of(st.none(), st.integers(-(2**40), 2**40))


def _times(values: list[int | None]) -> pa.ChunkedArray:
    scaled = [None if one is None else one * 3600 * 10**6 for one in values]
    return pa.chunked_array([pa.array(scaled, pa.int64()).cast(MICROSECONDS)])


def _column(values: list[Any], type_: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, type_, from_pandas=False)])


def _rank(value: float | None) -> tuple[bool, bool, float]:
    """Null first, NaN after all others."""
    return value is not None, value is not None and math.isnan(value), 0.0 if value is None else value


def _expected(rows: list[Any], name: str) -> Any:
    values = [row[3] if "(x" in name else row[4] for row in rows]
    known = [value for value in values if value is not None]
    if name.startswith("count"):
        return len(rows if name == "count" else known)
    if name.startswith("last"):
        best = max(range(len(rows)), key=lambda place: (*_order(rows[place][3]), place))
        return rows[best][4]
    if not known:
        return None
    if name.startswith(("min", "max")):
        return (min if name.startswith("min") else max)(known, key=_order)
    if not all(map(math.isfinite, known)):
        return sum(value for value in known if not math.isfinite(value))
    total = sum(map(Fraction, known)) / (len(known) if name.startswith("mean") else 1)
    try:
        return float(total) if name != "sum(n)" else int(total)
    except OverflowError:
        return math.copysign(math.inf, total)


def _order(value: float | None) -> tuple[bool, bool, float]:
    known, nan, number = _rank(value)
    return known, nan, 0.0 if nan else number


@settings(max_examples=150, deadline=None)
@given(
    asking=st.lists(st.tuples(key, moment), max_size=6),
    rows=st.lists(st.tuples(key, moment, moment, real, whole), max_size=10),
    tolerance=st.one_of(st.none(), st.integers(1, 4)),
    strictly=st.booleans(),
    as_known=st.booleans(),
    at_once=st.sampled_from([1, 4_000_000]),
)
def test_are_those_of_the_rows_that_were_there(
    asking: Any, rows: Any, tolerance: int | None, strictly: bool, as_known: bool, at_once: int
) -> None:
    table = pa.table(
        {
            "k": _column([row[0] for row in rows], pa.int64()),
            "x": _column([row[3] for row in rows], pa.float64()),
            "n": _column([row[4] for row in rows], pa.int64()),
        }
    )
    oldest = None if tolerance is None else timedelta(hours=tolerance)
    index = AsOfRows(
        [table.column("k")],
        _times([row[1] for row in rows]),
        _times([row[2] for row in rows]) if as_known else None,
        times=times_of(MICROSECONDS, oldest=oldest, strictly_before=strictly),
    )
    with patch.object(windows, "_SLICE", at_once):
        seen = index.seen([_column([one[0] for one in asking], pa.int64())], _times([one[1] for one in asking]))
        matches, found = aggregated_as_of(table, seen, MEASURES)
    for place, (wanted, at) in enumerate(asking):
        there = [row for row in rows if _is_seen(row, wanted, at, tolerance, strictly=strictly, as_known=as_known)]
        assert matches.counts[place] == bool(there)
        if there:
            row = {name: column[int(matches.starts[place])].as_py() for name, column in _columns(found)}
            np.testing.assert_equal(row, {name: _expected(there, name) for name in MEASURES})


def _columns(table: pa.Table) -> list[tuple[str, pa.ChunkedArray]]:
    return list(zip(table.column_names, table.columns, strict=True))


def _is_seen(row: Any, wanted: Any, at: Any, tolerance: int | None, *, strictly: bool, as_known: bool) -> bool:
    other, time, recorded = row[:3]
    if None in (wanted, at, other, time) or wanted != other or (as_known and recorded is None):
        return False
    available = max(time, recorded) if as_known else time
    return (available < at if strictly else available <= at) and (tolerance is None or at - time <= tolerance)


@pytest.mark.parametrize(("type_", "fits"), [(pa.int64(), 2**63 - 1), (pa.uint64(), 2**63 - 1), (pa.bool_(), None)])
def test_a_sum_of_whole_numbers_is_exact_or_refused(type_: pa.DataType, fits: int | None) -> None:
    values = [True, True] if fits is None else [fits - 1, 1]
    one, times = _column([1, 1], pa.int64()), times_of(MICROSECONDS, oldest=None, strictly_before=False)
    table = pa.table({"x": _column(values, type_)})
    seen = AsOfRows([one], _times([1, 2]), None, times=times).seen([one], _times([1, 2]))
    _, found = aggregated_as_of(table, seen, {"s": parse_aggregation("sum(x)"), "m": parse_aggregation("mean(x)")})
    assert found.column("s").to_pylist() == [int(values[0]), sum(values)]
    assert found.column("m").to_pylist() == [float(values[0]), sum(values) / 2]
    if fits is not None:
        table = pa.table({"x": _column([fits, 1], type_)})
        with pytest.raises(InvalidInput, match="doesn't fit 64 bits"):
            aggregated_as_of(table, seen, {"s": parse_aggregation("sum(x)")})
