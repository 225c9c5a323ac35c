"""What is counted of scores, whatever files they come in: how often, how well they tell, and whether they are equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dataops.bench import scores as scores_module
from dataops.bench.scores import Tally, row_sum


def tallied(scores: np.ndarray, frauds: np.ndarray, cuts: int = 1) -> Tally:
    tally, ids = Tally(np.zeros(len(scores), np.uint8)), np.arange(len(scores))
    for places in np.array_split(np.random.default_rng(1).permutation(len(scores)), cuts):
        tally.add(ids[places], scores[places], frauds)
    return tally


@pytest.mark.parametrize("decimals", [1, 8])
def test_the_auc_over_bins_is_that_of_all_rows(decimals: int) -> None:
    chances = np.random.default_rng(0)
    frauds = chances.random(20_000) < 0.05
    odds = np.round(-3 + 1.5 * frauds + chances.standard_normal(20_000), decimals)
    scores = 1 / (1 + np.exp(-odds))
    assert tallied(scores, frauds, 5).roc_auc == pytest.approx(roc_auc_score(frauds, scores), abs=1e-4)


def test_ends_of_the_range_have_their_bins_and_constant_scores_tell_nothing() -> None:
    frauds = np.array([True, False, True, False])
    assert tallied(np.array([1.0, 0.0, 1.0, -0.0]), frauds).roc_auc == 1
    assert tallied(np.full(4, 0.5), frauds).roc_auc == 0.5
    assert not tallied(np.full(4, 0.5), np.zeros(4, bool)).roc_auc >= 0


def test_what_is_no_probability_is_no_score() -> None:
    tally = tallied(np.array([0.5, np.nan, np.inf, -0.1, 1.1]), np.zeros(5, bool))
    assert tally.rows == 1
    assert tally.seen.tolist() == [1, 0, 0, 0, 0]


def test_scored_ever_so_often_is_not_once() -> None:
    tally = Tally(np.zeros(2, np.uint8))
    tally.add(np.zeros(257, np.int64), np.full(257, 0.5), np.zeros(2, bool))
    assert tally.seen.tolist() == [255, 0]
    assert tally.once() == (0, 0)


@pytest.mark.parametrize("block", [1, 3, 100])
def test_those_scored_once_are_told_by_number_and_sum(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores_module, "_BLOCK", block)
    tally = Tally(np.zeros(10, np.uint8))
    tally.add(np.array([0, 2, 2, 7, 9]), np.full(5, 0.5), np.zeros(10, bool))
    assert tally.once() == (3, 0 + 7 + 9)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.integers(1, 4), st.data())
def test_rows_in_any_order_have_one_sum_and_another_score_another(
    scores: list[float], cuts: int, data: st.DataObject
) -> None:
    mine, frauds = np.array(scores), np.zeros(len(scores), bool)
    assert tallied(mine, frauds, cuts).mixed == tallied(mine, frauds).mixed
    place = data.draw(st.integers(0, len(scores) - 1))
    other = mine.copy()
    other[place] = 1 - other[place] if other[place] != 0.5 else 0.25
    assert tallied(other, frauds).mixed != tallied(mine, frauds).mixed


def test_scores_that_changed_places_have_another_sum() -> None:
    assert row_sum(np.array([1, 2]), np.array([0.2, 0.4])) != row_sum(np.array([1, 2]), np.array([0.4, 0.2]))
