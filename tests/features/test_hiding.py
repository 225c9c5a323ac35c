"""Hiding: what is shown of groups tells of no group that is too small, alone or by difference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dataops.features.folding import may_stand
from dataops.features.hiding import share, shares_above, shown_histogram, shown_places, values_together
from dataops.features.slices import OTHERS

Counts = npt.NDArray[np.int64]
LEAST = st.integers(1, 12)


@given(arrays.arrays(np.int64, st.integers(0, 8), elements=st.integers(0, 9)), LEAST)
def test_what_is_hidden_is_at_least_a_group(rows: Counts, least: int) -> None:
    shown = shown_places(rows, least)
    assert all(rows[place] >= max(least, 1) for place in shown)
    hidden = rows.sum() - rows[sorted(shown)].sum()
    assert hidden == 0 or hidden >= least or not shown


@given(arrays.arrays(np.int64, st.tuples(st.integers(0, 6), st.just(4)), elements=st.integers(0, 30)), LEAST)
def test_cells_of_what_is_hidden_stand_together(cells: Counts, least: int) -> None:
    shown = shown_places(cells, least)
    assert may_stand(cells[sorted(shown)], least)
    hidden = cells.sum(axis=0) - cells[sorted(shown)].sum(axis=0)
    assert may_stand(hidden, least) or not shown


def test_values_of_few_rows_are_one_with_others_always_among_them() -> None:
    assert values_together({"a": 100, "b": 3, "c": 8}, 10) == ("b", "c")
    assert values_together({"a": 100, "b": 3, "c": 20}, 10) == ("b", "c")
    assert set(values_together({"a": 100, "b": 3, "c": 8, OTHERS: 200}, 10)) == {"b", "c", OTHERS}
    assert values_together({"a": 100, OTHERS: 20}, 10) == ()


def test_a_share_of_too_few_rows_or_of_all_but_too_few_is_not_told() -> None:
    assert [share(part, 100, 10) for part in (0, 1, 9, 10, 90, 91, 100)] == [0, None, None, 0.1, 0.9, None, 1]
    assert share(0, 0, 10) is None


@given(st.lists(st.integers(0, 30), min_size=2, max_size=7), LEAST)
def test_rows_between_steps_that_are_told_are_none_or_at_least_a_group(between: list[int], least: int) -> None:
    rows, above = sum(between), np.cumsum(between[::-1])[::-1][1:]
    told = shares_above(above, rows, least)
    shown = [rows, *(int(part) for part, one in zip(above, told, strict=True) if one is not None), 0]
    if rows >= least:
        assert may_stand(-np.diff(shown), least)
    if least == 1 and rows:
        assert None not in told


@given(arrays.arrays(np.int64, 20, elements=st.integers(0, 30)), LEAST)
def test_a_histogram_keeps_its_rows(histogram: Counts, least: int) -> None:
    shown = np.array(shown_histogram(histogram, least))
    assert shown.sum() == histogram.sum()
    assert may_stand(shown, least) or histogram.sum() < least
