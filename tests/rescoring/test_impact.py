"""Impact: what a challenger would change, from counts that add up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import spearmanr

from dataops.rescoring.impact import (
    BINS,
    ImpactCounts,
    count_impact,
    impact_figures,
    merge_impact,
    rank_correlation,
)

Floats = npt.NDArray[np.float32]


@st.composite
def scored(draw: st.DrawFn) -> tuple[Floats, Floats, npt.NDArray[np.int32]]:
    n_rows = draw(st.integers(0, 60))
    probability = arrays.arrays(np.float32, n_rows, elements=st.floats(0, 1, width=32))
    places = arrays.arrays(np.int32, n_rows, elements=st.integers(0, 2))
    return draw(probability), draw(probability), draw(places)


def _count(own: Floats, other: Floats, places: npt.NDArray[np.int32]) -> ImpactCounts:
    return count_impact(own, other, threshold=0.5, slices={"sex": (places, 3)})


@given(scored(), st.lists(st.integers(0, 60), max_size=4).map(sorted))
def test_any_split_of_the_rows_counts_the_same(
    rows: tuple[Floats, Floats, npt.NDArray[np.int32]], cuts: list[int]
) -> None:
    whole = _count(*rows)
    parts = [_count(*one) for one in zip(*(np.split(array, cuts) for array in rows), strict=True)]
    assert merge_impact(parts[::-1]).record() == whole.record()


def test_slices_that_not_all_rows_were_counted_by_are_not_told() -> None:
    own, other = np.full(2, 0.25, np.float32), np.full(2, 0.75, np.float32)
    without = count_impact(own, other, threshold=0.5)
    for parts in (
        [_count(own, other, np.zeros(2, np.int32)), without],
        [without, _count(own, other, np.zeros(2, np.int32))],
    ):
        merged = merge_impact(parts)
        assert (merged.rows, dict(merged.slices)) == (4, {})


@given(scored())
def test_a_record_is_read_as_it_was_written(rows: tuple[Floats, Floats, npt.NDArray[np.int32]]) -> None:
    counts = _count(*rows)
    assert ImpactCounts.from_record(counts.record()).record() == counts.record()


@given(scored())
def test_figures_are_those_of_the_rows(rows: tuple[Floats, Floats, npt.NDArray[np.int32]]) -> None:
    own, other, places = rows
    figures = impact_figures(_count(*rows), {"sex": ["a", "b", "c"]})
    assert figures["rows"] == len(own)
    if not len(own):
        assert figures["flipped_up"] is None
        return
    up = (own < 0.5) & (other >= 0.5)
    down = (own >= 0.5) & (other < 0.5)
    assert figures["flipped_up"] == pytest.approx(up.mean())
    assert figures["flipped_down"] == pytest.approx(down.mean())
    assert figures["positive_challenger"] == pytest.approx((other >= 0.5).mean())
    assert figures["moved"]["0.1"] == pytest.approx((np.abs(own.astype(np.float64) - other) > 0.1).mean())
    for place, name in enumerate("abc"):
        if (places == place).any():
            assert figures["slices"]["sex"][name]["flipped_up"] == pytest.approx(up[places == place].mean())


@given(arrays.arrays(np.int64, (5, 5), elements=st.integers(0, 4)))
def test_the_rank_correlation_is_spearmans_with_ties(joint: npt.NDArray[np.int64]) -> None:
    own, other = np.repeat(np.arange(25), joint.ravel()) // 5, np.repeat(np.arange(25), joint.ravel()) % 5
    found = rank_correlation(joint)
    if len(set(own)) < 2 or len(set(other)) < 2:
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(own, other).statistic)


def test_a_model_against_itself_moves_nothing() -> None:
    scores = np.linspace(0, 1, 1000, dtype=np.float32)
    figures = impact_figures(count_impact(scores, scores, threshold=0.5))
    assert figures["rank_correlation"] == pytest.approx(1.0)
    assert figures["flipped_up"] == figures["flipped_down"] == 0
    assert set(figures["moved"].values()) == {0.0}


def test_extreme_scores_fall_into_the_outermost_bins() -> None:
    counts = count_impact(np.array([0, 1], np.float32), np.array([1, 0], np.float32), threshold=0.5)
    assert counts.joint[0, BINS - 1] == counts.joint[BINS - 1, 0] == 1


def test_a_slice_of_too_few_rows_is_not_told() -> None:
    own, other = np.zeros(10, np.float32), np.ones(10, np.float32)
    counts = count_impact(own, other, threshold=0.5, slices={"sex": (np.array([0] * 5 + [1] * 4 + [2], np.int32), 3)})
    figures = impact_figures(counts, {"sex": ["a", "b", "c"]}, min_group_size=3)
    assert list(figures["slices"]["sex"]) == ["a"]


def _counted(flips: Sequence[Sequence[int]]) -> ImpactCounts:
    """Rows of values a, b, ...: each how many stay false, turn true, turn false, stay true."""
    rows = [(place, cell) for place, of in enumerate(flips) for cell, n in enumerate(of) for _ in range(n)]
    places, cells = np.array(rows, np.int32).reshape(-1, 2).T
    own, other = np.where(cells >= 2, 0.9, 0.1), np.where(cells % 2, 0.9, 0.1)
    slices = {"sex": (places, len(flips))}
    return count_impact(own.astype(np.float32), other.astype(np.float32), threshold=0.5, slices=slices)


def test_of_too_few_rows_nothing_is_told() -> None:
    figures = impact_figures(_counted([[0, 1, 0, 0]]), {"sex": ["a"]}, min_group_size=50)
    assert {key: figures[key] for key in ("rows", "flipped_up", "flipped_down", "rank_correlation")} == {
        "rows": None,
        "flipped_up": None,
        "flipped_down": None,
        "rank_correlation": None,
    }
    assert set(figures["moved"].values()) == {None}
    assert figures["slices"] == {"sex": {}}


def test_a_share_of_too_few_rows_is_not_told_nor_what_tells_of_it() -> None:
    figures = impact_figures(_counted([[2000, 7, 100, 1893]]), min_group_size=50)
    assert figures["rows"] == 4000
    assert figures["flipped_up"] is figures["flipped_down"] is None
    assert figures["positive_own"] == 1993 / 4000
    assert set(impact_figures(_counted([[3999, 1, 0, 0]]), min_group_size=50)["moved"].values()) == {None, 0.0} - {0.0}


def test_flips_of_a_value_are_not_had_by_difference() -> None:
    counts = _counted([[500, 60, 60, 500], [500, 7, 60, 500], [5000, 600, 600, 5000]])
    figures = impact_figures(counts, {"sex": ["a", "b", "c"]}, min_group_size=50)
    assert figures["flipped_up"] == 667 / counts.rows
    by_sex = figures["slices"]["sex"]
    assert {name: one["rows"] for name, one in by_sex.items()} == {"a": 1120, "b": 1067, "c": 11200}
    assert {name: one["flipped_up"] is None for name, one in by_sex.items()} == {"a": True, "b": True, "c": False}
