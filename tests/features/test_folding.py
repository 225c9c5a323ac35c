from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dataops.features.binning import bin_starts
from dataops.features.cells import CategoryCells, Cells, NumberCells, folded
from dataops.features.folding import SMALLEST_CELL, coarse_fold, fold_cells, fold_neighbours, fold_small

COUNTS = hnp.arrays(
    np.int64,
    st.tuples(st.integers(1, 3), st.integers(3, 12)),
    elements=st.one_of(st.just(0), st.integers(0, 12), st.integers(0, 1000)),
)


def cells_of(kind: str, n_cells: int) -> Cells:
    coarse = np.arange(n_cells)
    if kind == "category":
        return CategoryCells(name="c", of_code=np.arange(2, n_cells), coarse=coarse)
    return NumberCells(name="x", edges=np.arange(n_cells - 2, dtype=np.float32), fill=0, points=(), coarse=coarse)


@settings(max_examples=150)
@given(COUNTS, st.integers(1, 20), st.sampled_from(["number", "category"]))
def test_after_a_fold_no_population_has_a_cell_of_few_rows(counts: Any, least: int, kind: str) -> None:
    fold = fold_cells(cells_of(kind, counts.shape[1]), counts, least)
    shown = folded(counts, fold)
    assert np.array_equal(shown.sum(axis=1), counts.sum(axis=1))
    assert sorted(set(fold.tolist())) == list(range(shown.shape[1]))
    if ((counts.sum(axis=1) == 0) | (counts.sum(axis=1) >= least)).all():
        assert ((shown == 0) | (shown >= least)).all()


@given(COUNTS, st.integers(1, 20))
def test_a_fold_of_cells_in_order_keeps_their_order(counts: Any, least: int) -> None:
    assert (np.diff(fold_neighbours(counts, least)) >= 0).all()


@given(COUNTS)
def test_nothing_is_put_together_where_nothing_has_to_be(counts: Any) -> None:
    for fold in (fold_neighbours(counts, 1), fold_small(counts, 1)):
        assert fold.tolist() == list(range(counts.shape[1]))


@settings(max_examples=150)
@given(COUNTS, st.integers(1, 20), st.sampled_from(["number", "category"]))
def test_coarse_cells_are_no_finer_than_what_is_shown_and_have_rows_enough(counts: Any, least: int, kind: str) -> None:
    cells = cells_of(kind, counts.shape[1])
    fold = fold_cells(cells, counts[:1], least)
    coarse = coarse_fold(cells, counts[0], fold, least)
    assert all(len(set(coarse[fold == group].tolist())) == 1 for group in set(fold.tolist()))
    rows = folded(counts[0], coarse)
    special = {int(coarse[0])} | ({int(coarse[1])} if kind == "category" else set())
    ordinary = [n for cell, n in enumerate(rows) if cell not in special and n]
    if len(ordinary) > 1:
        assert all(n >= max(least, SMALLEST_CELL) for n in ordinary)


def test_a_number_is_compared_by_tenths_a_frequent_value_by_itself_what_was_missing_apart() -> None:
    counts = np.array([40, *[20] * 50, 0])
    coarse = coarse_fold(cells_of("number", 52), counts, np.arange(52), 1)
    assert folded(counts, coarse).tolist() == [40, *[100] * 10]
    heavy = np.array([0, 5, 900, *[19] * 5])
    assert folded(heavy, coarse_fold(cells_of("number", 8), heavy, np.arange(8), 1)).tolist() == [0, 5, 900, 95]


def test_a_category_is_compared_by_itself_from_a_hundredth_of_the_rows_on() -> None:
    counts = np.array([3, 0, 500, 480, 6, 5, 6])
    coarse = coarse_fold(cells_of("category", 7), counts, np.arange(7), 1)
    assert folded(counts, coarse).tolist() == [3, 0, 500, 480, 17]


def test_bins_begin_where_a_part_does_and_around_a_frequent_value() -> None:
    begins, heavy = bin_starts(np.array([1, 1, 1, 6, 1, 1, 1]), 4)
    assert heavy.tolist() == [False, False, False, True, False, False, False]
    assert begins.tolist() == [False, False, False, True, True, False, False]
