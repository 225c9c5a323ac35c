"""Matching, as-of matching, deduplication and aggregation agree with pandas, on any keys, times and nulls."""

from __future__ import annotations

import datetime as dt
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.declarations.aggregation import parse_aggregation
from dataops.errors import InvalidInput
from dataops.preparation.aggregate import aggregated, aggregation_type
from dataops.preparation.asof import AsOfIndex, times_of
from dataops.preparation.deduplicate import kept_rows
from dataops.preparation.join_side import key_columns
from dataops.preparation.matching import KeyIndex, expanded, key_type

number = st.one_of(st.none(), st.integers(0, 3))
word = st.one_of(st.none(), st.sampled_from(["", "a", "b", "å"]))
keyed = st.lists(st.tuples(number, word), max_size=12)
moment = st.one_of(st.none(), st.integers(0, 8))
timed = st.lists(st.tuples(number, moment), max_size=12)

MICROSECONDS = pa.timestamp("us")


def _column(values: list[Any], type_: pa.DataType) -> pa.ChunkedArray:
    half = len(values) // 2  # of two chunks: what is computed doesn't depend on the cut
    return pa.chunked_array([pa.array(values[:half], type_), pa.array(values[half:], type_)])


def _keys(rows: list[tuple[Any, Any]]) -> list[pa.ChunkedArray]:
    return [_column([row[0] for row in rows], pa.int64()), _column([row[1] for row in rows], pa.string())]


def _hours(values: list[int | None]) -> pa.ChunkedArray:
    return _column([None if one is None else one * 3600 * 10**6 for one in values], pa.int64()).cast(MICROSECONDS)


@given(left=keyed, right=keyed, inner=st.booleans())
def test_matches_are_those_of_pandas_merge(left: Any, right: Any, inner: bool) -> None:
    matches = KeyIndex(_keys(right)).matches(_keys(left))
    mine, theirs = expanded(np.arange(len(left)), matches, inner=inner)
    one = pd.DataFrame(left, columns=["n", "w"]).assign(left=np.arange(len(left)))
    other = pd.DataFrame(right, columns=["n", "w"]).assign(right=np.arange(len(right))).dropna(subset=["n", "w"])
    one["n"], other["n"] = one["n"].astype("Int64"), other["n"].astype("Int64")
    merged = one.astype({"w": "object"}).merge(
        other.astype({"w": "object"}), on=["n", "w"], how="inner" if inner else "left"
    )
    expected = sorted(zip(merged["left"].astype(int), merged["right"].fillna(-1).astype(int), strict=True))
    assert list(zip(mine.tolist(), theirs.tolist(), strict=True)) == expected


def test_matches_come_again_when_rows_were_doubled_before() -> None:
    matches = KeyIndex([_column([1, 1, 2], pa.int64())]).matches([_column([2, 1, 3], pa.int64())])
    places, found = expanded(np.array([1, 0, 2, 0]), matches, inner=False)
    assert places.tolist() == [0, 0, 1, 2, 3]
    assert found.tolist() == [0, 1, 2, -1, 2]


def _brute_asof(
    left: tuple[Any, Any], right: list[tuple[Any, Any, Any]], *, tolerance: int | None, strictly: bool
) -> int:
    """The row of `right` by the words of the module alone; -1 for none."""
    key, at = left
    best = (-1, -1, -1)
    for row, (other, time, recorded) in enumerate(right):
        if None in (key, at, other, time, recorded) or key != other:
            continue
        available = max(time, recorded)
        if available < at or (available == at and not strictly):
            best = max(best, (time, recorded, row))
    return -1 if best[2] < 0 or (tolerance is not None and at - best[0] > tolerance) else best[2]


@given(
    left=timed,
    right=st.lists(st.tuples(number, moment, moment), max_size=12),
    tolerance=st.one_of(st.none(), st.integers(1, 4)),
    strictly=st.booleans(),
    as_known=st.booleans(),
)
def test_asof_takes_the_newest_row_that_was_known(
    left: Any, right: Any, tolerance: int | None, strictly: bool, as_known: bool
) -> None:
    oldest = None if tolerance is None else timedelta(hours=tolerance)
    times = times_of(MICROSECONDS, oldest=oldest, strictly_before=strictly)
    index = AsOfIndex(
        [_column([row[0] for row in right], pa.int64())],
        _hours([row[1] for row in right]),
        _hours([row[2] for row in right]) if as_known else None,
        times=times,
    )
    matches = index.matches([_column([row[0] for row in left], pa.int64())], _hours([row[1] for row in left]))
    _, found = expanded(np.arange(len(left)), matches, inner=False)
    seen = right if as_known else [(key, time, 0 if time is None else time) for key, time, _ in right]
    assert found.tolist() == [_brute_asof(row, seen, tolerance=tolerance, strictly=strictly) for row in left]


@given(left=timed, right=timed, tolerance=st.one_of(st.none(), st.integers(1, 4)), exact=st.booleans())
def test_asof_is_that_of_pandas(left: Any, right: Any, tolerance: int | None, exact: bool) -> None:
    left, right = ([row for row in rows if None not in row] for rows in (left, right))
    oldest = None if tolerance is None else timedelta(hours=tolerance)
    index = AsOfIndex(
        [_column([row[0] for row in right], pa.int64())],
        _hours([row[1] for row in right]),
        None,
        times=times_of(MICROSECONDS, oldest=oldest, strictly_before=not exact),
    )
    matches = index.matches([_column([row[0] for row in left], pa.int64())], _hours([row[1] for row in left]))
    _, found = expanded(np.arange(len(left)), matches, inner=False)
    merged = pd.merge_asof(
        _frame(left, "left"),
        _frame(right, "right"),
        on="t",
        by="k",
        tolerance=None if oldest is None else pd.Timedelta(oldest),
        allow_exact_matches=exact,
    )
    by_row = merged.set_index("left")["right"].fillna(-1).astype(int)
    assert found.tolist() == [by_row[row] for row in range(len(left))]


def _frame(rows: list[tuple[int, int]], name: str) -> pd.DataFrame:
    frame = pd.DataFrame({"k": [row[0] for row in rows], "t": [row[1] for row in rows]}, dtype="int64")
    frame["t"] = pd.to_datetime(frame["t"], unit="h")
    return frame.assign(**{name: np.arange(len(rows))}).sort_values("t", kind="stable")


@pytest.mark.parametrize("days", [1, 10**9 - 1], ids=["short", "longer than int64"])
def test_row_of_centuries_ago_passes_no_tolerance_of_hours(days: int) -> None:
    kind, key = pa.timestamp("ns"), [_column([1], pa.int64())]
    times = times_of(kind, oldest=timedelta(days=days), strictly_before=False)
    old, now = ([_column([dt.datetime(year, 1, 1)], kind)] for year in (1700, 2024))  # noqa: DTZ001
    found = AsOfIndex(key, old[0], None, times=times).matches(key, now[0])
    assert found.counts.tolist() == [int(days > 10**6)]


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_key_that_does_not_fit_the_other_sides_unit_equals_nothing(zone: str | None) -> None:
    times = [dt.datetime(9999, 12, 31), dt.datetime(2024, 1, 1), None, dt.datetime(1, 1, 1)]  # noqa: DTZ001
    table = pa.table({"k": pa.array(times, pa.timestamp("s", zone))})
    (found,) = key_columns(table, ["k"], [pa.timestamp("ns", zone)])
    assert found.is_valid().to_pylist() == [False, True, False, False]
    assert found[1].as_py().year == 2024


def test_asof_counts_rows_that_are_no_better_than_another() -> None:
    keys, times = [_column([1, 1, 2, 1], pa.int64())], times_of(MICROSECONDS, oldest=None, strictly_before=False)
    assert AsOfIndex(keys, _hours([1, 1, 1, 2]), None, times=times).repeated == 1
    assert AsOfIndex(keys, _hours([1, 1, 1, 2]), _hours([1, 2, 1, 2]), times=times).repeated == 0


@given(
    rows=st.lists(st.tuples(number, word, st.one_of(st.none(), st.integers(0, 3))), max_size=12),
    ordered=st.booleans(),
    keep=st.sampled_from(["first", "last"]),
)
def test_kept_rows_are_those_of_pandas(rows: Any, ordered: bool, keep: str) -> None:
    order = _column([row[2] for row in rows], pa.int64())
    kept = kept_rows(_keys([row[:2] for row in rows]), order if ordered else None, keep=keep)
    frame = pd.DataFrame(rows, columns=["n", "w", "o"]).assign(o=[-1 if row[2] is None else row[2] for row in rows])
    frame = frame.sort_values("o", kind="stable") if ordered else frame
    named = frame.dropna(subset=["n", "w"])
    expected = {*frame.index.difference(named.index), *named.drop_duplicates(["n", "w"], keep=keep).index}  # type: ignore[arg-type]
    assert set(np.flatnonzero(kept).tolist()) == expected


MEASURES = ("count", "count(x)", "sum(x)", "sum(i)", "mean(x)", "min(x)", "max(i)", "mean(i)")


@given(rows=st.lists(st.tuples(number, word, st.one_of(st.none(), st.integers(-4, 4))), max_size=14))
def test_aggregates_are_those_of_pandas(rows: Any) -> None:
    table = pa.table(
        {
            "n": _column([row[0] for row in rows], pa.int64()),
            "w": _column([row[1] for row in rows], pa.string()),
            "x": _column([None if row[2] is None else row[2] / 2 for row in rows], pa.float64()),
            "i": _column([row[2] for row in rows], pa.int32()),
        }
    )
    found = aggregated(table, ["n", "w"], {name: parse_aggregation(name) for name in MEASURES})
    frame = pd.DataFrame(rows, columns=["n", "w", "i"]).astype({"n": "Int64", "i": "Int64", "w": "object"})
    frame["x"] = frame["i"].astype("Float64") / 2
    groups = frame.groupby(["n", "w"], dropna=False)
    expected = pd.DataFrame(
        {
            "count": groups.size(),
            "count(x)": groups["x"].count(),
            "sum(x)": groups["x"].sum(min_count=1),
            "sum(i)": groups["i"].sum(min_count=1),
            "mean(x)": groups["x"].mean(),
            "min(x)": groups["x"].min(),
            "max(i)": groups["i"].max(),
            "mean(i)": groups["i"].mean(),
        }
    )
    listed = {
        tuple(None if pd.isna(part) else part for part in key): [
            None if pd.isna(value) else float(value) for value in row
        ]
        for key, row in zip(expected.index, expected.to_numpy(dtype=object), strict=True)
    }
    mine = {(row["n"], row["w"]): [row[name] for name in MEASURES] for row in found.to_pylist()}
    assert mine == (listed if rows else {})


def test_last_is_by_its_order_and_then_by_the_table() -> None:
    table = pa.table({"k": [1, 1, 1, 2], "v": ["a", "b", "c", "d"], "t": [5, None, 5, None]})
    found = aggregated(table, ["k"], {"v": parse_aggregation("last(v, t)")})
    assert found.to_pydict() == {"k": [1, 2], "v": ["c", "d"]}


def test_nan_is_a_value_greater_than_all_others() -> None:
    nan = float("nan")
    table = pa.table({"k": [1, 1, 1, 2, 3], "v": [1.0, nan, None, nan, None], "t": [1.0, nan, None, 1.0, 1.0]})
    names = ("count", "count(v)", "sum(v)", "mean(v)", "min(v)", "max(v)", "last(v, t)")
    found = aggregated(table, ["k"], {name: parse_aggregation(name) for name in names}).to_pylist()
    expected = [[3, 2, nan, nan, 1.0, nan, nan], [1, 1, nan, nan, nan, nan, nan], [1, 0, None, None, None, None, None]]
    np.testing.assert_equal([[row[name] for name in names] for row in found], expected)


def _of_whole(values: list[int | None], type_: pa.DataType) -> pa.Array:
    return pa.array(values, pa.int64() if pa.types.is_duration(type_) else pa.int32()).cast(type_)


@pytest.mark.parametrize("type_", [pa.float32(), pa.decimal128(12, 2), pa.duration("s"), pa.time32("s"), pa.uint16()])
@pytest.mark.parametrize("asked", ["min(v)", "max(v)", "sum(v)", "mean(v)"])
def test_measure_that_has_a_type_can_be_made(asked: str, type_: pa.DataType) -> None:
    one, values = parse_aggregation(asked), _of_whole([1, 3, None], type_)
    try:
        expected = aggregation_type(one, type_)
    except InvalidInput:
        assert pa.types.is_temporal(type_)
        return
    table = pa.table({"k": [1, 1, 1], "v": values, "t": values})
    found = aggregated(table, ["k"], {"o": one, "last": parse_aggregation("last(v, t)")})
    assert found.column("o").type == expected
    assert found.column("last").to_pylist() == values[1:2].to_pylist()
    wanted = {"min(v)": 1, "max(v)": 3, "sum(v)": 4, "mean(v)": 2}[asked]
    assert found.column("o")[0] == _of_whole([wanted], expected)[0]


@pytest.mark.parametrize("asked", ["min(x)", "max(x)", "sum(x)", "mean(x)"])
def test_halves_are_refused_when_planned(asked: str) -> None:
    with pytest.raises(InvalidInput, match="found halffloat; make it float first"):
        aggregation_type(parse_aggregation(asked), pa.float16())


def test_sum_of_decimals_that_does_not_fit_is_refused() -> None:
    table = pa.table({"k": [1, 1], "x": pa.array([Decimal(10**37 * 6)] * 2, pa.decimal128(38, 0))})
    with pytest.raises(InvalidInput, match="doesn't fit 38 digits"):
        aggregated(table, ["k"], {"total": parse_aggregation("sum(x)")})


def test_sum_that_does_not_fit_is_refused() -> None:
    table = pa.table({"k": [1, 1], "x": [2**62, 2**62]})
    with pytest.raises(InvalidInput, match="doesn't fit"):
        aggregated(table, ["k"], {"total": parse_aggregation("sum(x)")})


@pytest.mark.parametrize(
    ("asked", "type_"), [("sum(x)", pa.string()), ("mean(x)", pa.date32()), ("min(x)", pa.string())]
)
def test_measure_of_other_values_is_refused(asked: str, type_: pa.DataType) -> None:
    with pytest.raises(InvalidInput):
        aggregation_type(parse_aggregation(asked), type_)


@pytest.mark.parametrize(
    ("left", "right", "common"),
    [
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.uint64(), pa.int64(), None),
        (pa.string(), pa.large_string(), None),
        (pa.float64(), pa.float64(), None),
        (pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("s", "UTC"), pa.timestamp("us"), None),
        (pa.timestamp("ms", "Europe/Berlin"), pa.timestamp("s", "UTC"), pa.timestamp("ms", "UTC")),
        (pa.date32(), pa.timestamp("s"), None),
        (pa.string(), pa.int64(), None),
    ],
)
def test_keys_are_compared_in_one_type_or_not_at_all(
    left: pa.DataType, right: pa.DataType, common: pa.DataType | None
) -> None:
    assert key_type(left, right) == common
