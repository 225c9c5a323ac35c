"""Pruning never says no where a row passes, and says it where it is easy to see."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.governance.expressions import evaluate_predicate, parse_expression
from dataops.governance.pruning import Range, may_pass


def range_of(values: pa.Array) -> Range:
    known = values.filter(pc.is_valid(values))
    if pa.types.is_floating(values.type):
        known = known.filter(pc.invert(pc.is_nan(known)))
    bounds = pc.min_max(known)
    both = pa.concat_arrays([pa.array([bounds[one].as_py()], values.type) for one in ("min", "max")])
    return Range(bounds=both if len(known) else None, nulls=values.null_count, rows=len(values))


def passes(sql: str, **columns: pa.Array) -> bool:
    return may_pass(parse_expression(sql, where="test"), {name: range_of(one) for name, one in columns.items()})


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("age >= 18", True),
        ("age >= 31", False),
        ("age > 30", False),
        ("age < 10", False),
        ("age <= 10", True),
        ("31 <= age", False),
        ("age = 9", False),
        ("age = 20", True),  # between the bounds: nobody knows
        ("age <> 20", True),
        ("not (age < 31)", False),
        ("age between 31 and 40", False),
        ("age in (1, 2, 40)", False),
        ("age in (1, 15)", True),
        ("age not in (10, 30)", True),
        ("age > 30 or age < 11", True),
        ("age > 30 or age < 10", False),
        ("age > 12 and age < 10", False),
        ("age is null", True),
        ("age is not null", True),
        ("age + 1 > 100", True),  # not looked into
        ("age > other", True),
        ("age > 5 and false", False),
        ("age = null", True),
    ],
)
def test_a_condition_on_bounds(sql: str, expected: bool) -> None:
    assert passes(sql, age=pa.array([10, 30, None], pa.int32()), other=pa.array([1, 2, 3])) is expected


def test_only_nulls_pass_only_what_asks_for_null() -> None:
    nothing = pa.nulls(3, pa.int64())
    assert not passes("x > 1", x=nothing)
    assert not passes("x is not null", x=nothing)
    assert passes("x is null", x=nothing)


def test_an_unknown_column_and_an_unknown_bound_may_pass() -> None:
    condition = parse_expression("x > 1", where="test")
    assert may_pass(condition, {})
    assert may_pass(condition, {"x": Range(bounds=None, nulls=None, rows=3)})


def test_a_bound_that_the_language_cannot_hold_is_none() -> None:
    beyond = pa.array([1, 2**64 - 1], pa.uint64())
    assert passes("x > 5", x=beyond)


CONDITIONS = st.recursive(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["n", "r", "t", "d"]),
        st.sampled_from(["=", "<>", "<", "<=", ">", ">="]),
        st.just("@"),
    ).flatmap(lambda text: literals(text[0]).map(lambda one: text.replace("@", one)))
    | st.sampled_from(["n", "r", "t", "d"]).flatmap(
        lambda name: (
            st.sampled_from([f"{name} is null", f"{name} is not null"])
            | st.tuples(literals(name), literals(name)).map(lambda two: f"{name} between {two[0]} and {two[1]}")
            | st.lists(literals(name), min_size=1, max_size=3).map(lambda some: f"{name} in ({', '.join(some)})")
        )
    ),
    lambda inner: (
        inner.map("not ({})".format)
        | st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})")
    ),
    max_leaves=6,
)


def literals(name: str) -> st.SearchStrategy[str]:
    return {
        "n": st.integers(-5, 5).map(str),
        "r": st.sampled_from(["-1.5", "0.0", "0.25", "3"]),
        "t": st.sampled_from(["''", "'a'", "'b'", "'é'"]),
        "d": st.sampled_from(["'2020-01-01'", "'2021-06-30'"]),
    }[name]


def columns() -> st.SearchStrategy[dict[str, list[Any]]]:
    row = st.tuples(
        st.none() | st.integers(-5, 5),
        st.none() | st.sampled_from([-1.5, -0.0, 0.0, 0.25, 3.0, math.nan, math.inf]),
        st.none() | st.sampled_from(["", "a", "b", "é"]),
        st.none() | st.sampled_from([date(2020, 1, 1), date(2021, 6, 30), date(2022, 1, 1)]),
    )
    rows = st.lists(row, min_size=1, max_size=6)
    return rows.map(lambda some: dict(zip("nrtd", map(list, zip(*some, strict=True)), strict=True)))


@given(sql=CONDITIONS, values=columns())
def test_no_row_that_passes_is_pruned(sql: str, values: dict[str, list[Any]]) -> None:
    types = {"n": pa.int32(), "r": pa.float64(), "t": pa.string(), "d": pa.date32()}
    table = pa.table({name: pa.array(some, types[name]) for name, some in values.items()})
    condition = parse_expression(sql, where="test")
    ranges = {name: range_of(table.column(name).combine_chunks()) for name in table.column_names}
    if not may_pass(condition, ranges):
        assert not pc.any(evaluate_predicate(condition, table), min_count=0).as_py()
