"""Rows that fail: each is found, none of the others is lost, and what no row caused is no row's fault."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import AccessDenied, ContractViolation, InvalidInput, Storage
from dataops.rescoring.row_errors import NO_ROW, TooManyFailed, failing_rows, try_rows

ROWS = st.integers(0, 200)
SETS = st.sets(st.integers(0, 199), max_size=20)


def scorer(bad: Collection[int], error: Callable[[str], Exception] = TypeError) -> Callable[[pa.Table], list[int]]:
    """A model that fails over any rows among which one of `bad` is, and quotes it."""

    def score(rows: pa.Table) -> list[int]:
        values: list[int] = rows.column("x").to_pylist()
        found = sorted(set(values) & set(bad))
        if found:
            raise error(f"can't take {found}")
        return values

    return score


def table(rows: int) -> pa.Table:
    return pa.table({"x": pa.array(range(rows), pa.int64())})


@given(rows=ROWS, bad=SETS, ways=st.integers(2, 16))
def test_each_row_that_fails_alone_is_found_whatever_the_parts(rows: int, bad: set[int], ways: int) -> None:
    tried: list[tuple[int, int]] = []

    def attempt(start: int, stop: int) -> str | None:
        tried.append((start, stop))
        return "bad" if any(start <= row < stop for row in bad) else None

    here = {row for row in bad if row < rows}
    assert failing_rows(attempt, rows, ways=ways) == dict.fromkeys(sorted(here), "bad")
    levels = int(np.ceil(np.log(max(rows, 2)) / np.log(ways))) + 1
    assert len(tried) <= 1 + ways * levels * len(here)
    assert all(start < stop for start, stop in tried)


def test_no_more_rows_are_looked_for_than_matter() -> None:
    tried: list[int] = []

    def attempt(start: int, stop: int) -> str | None:
        tried.append(start)
        return "bad"

    assert failing_rows(attempt, 1 << 20, most=2) == {0: "bad", 1: "bad", 2: "bad"}
    assert len(tried) < 50


@given(rows=ROWS, bad=SETS, killers=SETS)
def test_all_other_rows_are_scored_in_their_order(rows: int, bad: set[int], killers: set[int]) -> None:
    killed = {row: "SIGKILL" for row in killers if row < rows}
    tried = try_rows(scorer(bad | killers), table(rows), killers=killed)
    assert tried.result == [row for row in range(rows) if row not in bad | killers]
    assert dict(tried.failed) == killed | {row: "TypeError" for row in bad - killers if row < rows}


def test_reasons_are_classes_and_never_messages() -> None:
    tried = try_rows(scorer({3}, InvalidInput), table(9))
    assert dict(tried.failed) == {3: "InvalidInput"}


@pytest.mark.parametrize("family", [Storage, AccessDenied, ContractViolation, MemoryError, OSError])
def test_what_no_row_can_cause_fails_at_once(family: Callable[[str], Exception]) -> None:
    calls = []

    def score(rows: pa.Table) -> None:
        calls.append(rows.num_rows)
        raise family("whatever")

    with pytest.raises((family,)):  # type: ignore[arg-type]
        try_rows(score, table(64))
    assert calls == [64]


def test_what_fails_without_any_row_is_raised_as_it_is() -> None:
    def score(rows: pa.Table) -> None:
        raise ValueError(f"{rows.num_rows} rows")

    with pytest.raises(ValueError, match="64 rows"):
        try_rows(score, table(64))


def test_rows_that_fail_only_together_are_no_bad_rows() -> None:
    def score(rows: pa.Table) -> None:
        if rows.num_rows > 1:
            raise ValueError(f"{rows.num_rows} rows")

    with pytest.raises(ValueError, match="64 rows"):
        try_rows(score, table(64))


@pytest.mark.parametrize(("bad", "killers"), [(set(range(50)), {}), ({1}, {0: "SIGKILL", 5: "SIGKILL"})])
def test_more_than_may_fail_is_told_without_looking_at_all(bad: set[int], killers: dict[int, str]) -> None:
    with pytest.raises(TooManyFailed) as caught:
        try_rows(scorer(bad | set(killers)), table(5000), killers=killers, most=2)
    assert len(caught.value.failed) == 3
    assert try_rows(scorer(bad), table(60), most=50).failed.keys() == bad


def test_nothing_failed_costs_one_attempt() -> None:
    calls = []

    def score(rows: pa.Table) -> int:
        calls.append(rows.num_rows)
        return len(calls)

    assert try_rows(score, table(7)).failed is NO_ROW
    assert calls == [7]
