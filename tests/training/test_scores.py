from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from dataops.errors import InvalidInput
from dataops.training.scores import (
    METRICS,
    ScoreCounts,
    average_precision,
    average_precision_error_bound,
    compute_metrics,
    count_scores,
    merge_counts,
    parse_metrics,
    roc_auc,
    roc_auc_error_bound,
    score_bucket,
)

scored_rows = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.booleans()),
    max_size=60,
)


def arrays(rows) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in rows], np.float32), np.array([label for _, label in rows], np.float32)


def as_tuple(counts: ScoreCounts) -> tuple:
    lists = (counts.buckets.tolist(), counts.positives.tolist(), counts.negatives.tolist())
    return (*lists, counts.log_loss_units, counts.squared_error_units, counts.reached)


@given(rows=scored_rows, cuts=st.lists(st.integers(0, 60), max_size=5), turn=st.booleans())
@settings(max_examples=50)
def test_any_split_in_any_order_gives_the_same_counts(rows, cuts, turn):
    scores, target = arrays(rows)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    pieces = [count_scores(scores[a:b], target[a:b]) for a, b in pairwise(edges)]
    whole = count_scores(scores, target)
    assert as_tuple(merge_counts(pieces[::-1] if turn else pieces)) == as_tuple(whole)
    assert whole.rows == len(rows)


@given(rows=scored_rows.filter(lambda rows: len({label for _, label in rows}) == 2))
@settings(max_examples=50)
def test_auc_and_average_precision_keep_their_stated_bounds(rows):
    scores, target = arrays(rows)
    counts = count_scores(scores, target)
    exact = reference.roc_auc_score(target, scores)
    assert abs(roc_auc(counts) - exact) <= roc_auc_error_bound(counts) + 1e-12
    exact = reference.average_precision_score(target, scores)
    assert abs(average_precision(counts) - exact) <= average_precision_error_bound(counts) + 1e-12


@given(a=st.floats(0, 1, width=32), b=st.floats(0, 1, width=32))
@settings(max_examples=50)
def test_buckets_keep_the_order_of_scores(a, b):
    low, high = sorted([a, b])
    below, above = score_bucket(np.array([low, high], np.float32))
    assert below <= above


@pytest.mark.parametrize("shift", [0, -6])
def test_metrics_are_those_of_scikit_learn(shift):
    random = np.random.default_rng(7)
    margin = random.normal(shift, 2, 20_000)
    scores = (1 / (1 + np.exp(-margin))).astype(np.float32)
    target = (random.random(20_000) < scores**0.8).astype(np.float32)
    figures = compute_metrics(count_scores(scores, target), list(METRICS))
    assert abs(figures["roc_auc"] - reference.roc_auc_score(target, scores)) <= figures["roc_auc_error_bound"] < 1e-3
    exact = reference.average_precision_score(target, scores)
    assert abs(figures["average_precision"] - exact) <= figures["average_precision_error_bound"] < 2e-2
    assert figures["average_precision"] == pytest.approx(exact, abs=1e-3)
    assert figures["accuracy"] == reference.accuracy_score(target, scores >= 0.5)
    assert figures["log_loss"] == pytest.approx(reference.log_loss(target, scores.astype(np.float64)), abs=1e-9)
    assert figures["brier"] == pytest.approx(reference.brier_score_loss(target, scores.astype(np.float64)), abs=1e-9)


def test_tiny_scores_are_told_apart_as_well_as_large_ones():
    scores = np.float32(10.0) ** -np.arange(30, dtype=np.float32)
    target = (np.arange(30) % 2).astype(np.float32)
    counts = count_scores(scores, target)
    assert len(counts.buckets) == 30
    assert roc_auc_error_bound(counts) == 0
    assert roc_auc(counts) == pytest.approx(reference.roc_auc_score(target, scores), abs=1e-15)


def test_a_tenth_of_a_percent_is_told_apart_everywhere():
    scores = np.float32(1e-30) * np.float32(1.001) ** np.arange(69_000, dtype=np.float32)
    scores = scores[(scores <= 1) & (scores > 0)]
    assert len(np.unique(score_bucket(scores))) == len(scores) > 60_000


def test_zero_one_and_minus_zero_are_scores():
    counts = count_scores(np.array([0.0, -0.0, 1.0], np.float32), np.array([0, 0, 1], np.float32))
    assert counts.negatives.tolist() == [2, 0]
    assert roc_auc(counts) == 1.0
    assert compute_metrics(counts, ["log_loss"])["log_loss"] == pytest.approx(0, abs=1e-6)


def test_the_threshold_of_accuracy_is_an_edge():
    half = np.float32(0.5)
    scores = np.array([half, np.nextafter(half, np.float32(0))], np.float32)
    assert compute_metrics(count_scores(scores, np.array([1, 0], np.float32)), ["accuracy"]) == {"accuracy": 1.0}


def test_a_certain_and_wrong_score_costs_a_bounded_log_loss():
    counts = count_scores(np.array([0.0], np.float32), np.array([1], np.float32))
    assert compute_metrics(counts, ["log_loss"])["log_loss"] == pytest.approx(-np.log(np.finfo(np.float32).eps))


def test_sums_of_many_rows_do_not_overflow():
    rows = 2_200_000
    counts = count_scores(np.zeros(rows, np.float32), np.ones(rows, np.float32))
    assert compute_metrics(counts, ["brier"]) == {"brier": 1.0}
    assert compute_metrics(merge_counts([counts] * 5), ["log_loss"])["log_loss"] == pytest.approx(15.942385, abs=1e-6)


def test_one_class_has_no_auc_but_a_loss():
    counts = count_scores(np.array([0.2, 0.9], np.float32), np.array([1, 1], np.float32))
    found = {"accuracy", "log_loss", "brier", "calibration_error"}
    assert set(compute_metrics(counts, list(METRICS))) == found | {"f1", "precision", "recall"}


def test_no_rows_have_no_metrics():
    assert compute_metrics(merge_counts([]), list(METRICS)) == {}


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1, np.inf])
def test_what_is_no_probability_is_refused_with_counts(bad):
    with pytest.raises(InvalidInput, match="of 2 rows, 1 have a score outside 0 to 1 and 1 a target"):
        count_scores(np.array([0.5, bad], np.float32), np.array([1, 2], np.float32))


def test_unknown_metrics_are_refused_with_near_matches():
    with pytest.raises(InvalidInput) as refused:
        parse_metrics(["roc_auk", "log_loss", "f7"])
    assert "no metric 'roc_auk'. Did you mean 'roc_auc'?" in str(refused.value)
    assert "no metric 'f7'. Known: accuracy" in str(refused.value)


def test_a_metric_named_twice_is_computed_once():
    assert parse_metrics(["brier", "roc_auc", "brier"]) == ("brier", "roc_auc")
