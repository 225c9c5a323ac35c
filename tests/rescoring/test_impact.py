"""Impact: what a challenger would change, from counts that add up."""

from __future__ import annotations

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
    large_enough,
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


@given(arrays.arrays(np.int64, st.integers(0, 8), elements=st.integers(0, 9)), st.integers(1, 12))
def test_what_is_hidden_is_at_least_a_group(rows: npt.NDArray[np.int64], least: int) -> None:
    shown = large_enough(rows, least)
    assert all(rows[place] >= max(least, 1) for place in shown)
    hidden = rows.sum() - rows[sorted(shown)].sum()
    assert hidden == 0 or hidden >= least or not shown


def test_a_slice_of_too_few_rows_is_not_told() -> None:
    own, other = np.zeros(10, np.float32), np.ones(10, np.float32)
    counts = count_impact(own, other, threshold=0.5, slices={"sex": (np.array([0] * 5 + [1] * 4 + [2], np.int32), 3)})
    figures = impact_figures(counts, {"sex": ["a", "b", "c"]}, min_group_size=3)
    assert list(figures["slices"]["sex"]) == ["a"]
