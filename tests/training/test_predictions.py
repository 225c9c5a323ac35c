"""Counts of predicted numbers: metrics as scikit-learn has them, the same for any split and order of the rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, r2_score, root_mean_squared_error

from dataops.declarations.metrics import Points, Task
from dataops.errors import InvalidInput
from dataops.training.evaluate import evaluate_scores, merge_evaluations, report
from dataops.training.groups import GROUPS
from dataops.training.predictions import (
    PredictionCounts,
    changes_of_predictions,
    count_predictions,
    merge_predictions,
    prediction_metrics,
)
from dataops.training.scores import bucket_starts, score_bucket
from dataops.training.tasks import REGRESSION

EVERY = ("rmse", "mae", "r2", "quantile_loss")
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(0, GROUPS - 1)), min_size=1, max_size=40)


def arrays(rows: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    predictions, target, groups = zip(*rows, strict=True)
    return np.array(predictions, np.float32), np.array(target, np.float32), np.array(groups, np.uint8)


def as_tuple(counts: PredictionCounts) -> tuple:
    return counts.buckets.tolist(), counts.by_bucket.tolist(), counts.sums, counts.groups


def some_rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = np.exp(rng.normal(0, 3, n))
    predictions = target * rng.normal(1, 0.3, n) - 5
    return predictions.astype(np.float32), target.astype(np.float32), rng.integers(0, GROUPS, n).astype(np.uint8)


@given(ROWS, st.lists(st.integers(0, 40), max_size=4), st.booleans())
def test_any_split_of_the_rows_in_any_order_gives_the_same_counts(rows, cuts, turn):
    predictions, target, groups = arrays(rows)
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    pieces = [count_predictions(predictions[a:b], target[a:b], groups[a:b]) for a, b in pairwise(edges)]
    whole = count_predictions(predictions, target, groups)
    assert as_tuple(merge_predictions(pieces[::-1] if turn else pieces)) == as_tuple(whole)
    assert whole.sums == count_predictions(predictions, target).sums


@given(ROWS)
def test_sums_are_exact_for_the_smallest_and_the_largest_numbers(rows):
    predictions, target, _ = arrays(rows)
    sums = count_predictions(predictions, target).sums
    errors = [int(float(p) * 2**149) - int(float(t) * 2**149) for p, t in zip(predictions, target, strict=True)]
    rounded = [int((float(p) - float(t)) * 2**149) for p, t in zip(predictions, target, strict=True)]
    assert sums.error == sum(rounded) << 149
    assert sums.squared == sum(one * one for one in rounded)
    assert sums.absolute == sum(map(abs, rounded)) << 149
    assert all(abs(one - exact) <= abs(exact) / 2**52 for one, exact in zip(rounded, errors, strict=True))
    assert sums.target_squared == sum(int(float(t) * 2**149) ** 2 for t in target)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_metrics_are_those_of_scikit_learn(quantile):
    predictions, target, groups = some_rows(5000)
    found = prediction_metrics(count_predictions(predictions, target, groups), EVERY, quantile=quantile)
    given_ = target.astype(np.float64), predictions.astype(np.float64)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(*given_), rel=1e-12)
    assert found["mae"] == pytest.approx(mean_absolute_error(*given_), rel=1e-12)
    assert found["r2"] == pytest.approx(r2_score(*given_), rel=1e-12)
    assert found["quantile_loss"] == pytest.approx(mean_pinball_loss(*given_, alpha=quantile), rel=1e-12)


def test_r2_of_equal_targets_and_metrics_of_no_rows_are_absent():
    same = count_predictions(np.array([1, 2], np.float32), np.array([3, 3], np.float32))
    assert set(prediction_metrics(same, EVERY)) == {"rmse", "mae", "quantile_loss"}
    assert prediction_metrics(merge_predictions([]), EVERY) == {}


@given(st.lists(NUMBERS, min_size=1, max_size=50))
def test_buckets_are_intervals_in_the_order_of_numbers_below_and_above_0(values):
    values = np.sort(np.array(values, np.float32))
    buckets = score_bucket(values)
    assert (np.diff(buckets) >= 0).all()
    assert (bucket_starts(buckets) <= values).all()
    assert (values < bucket_starts(buckets + 1)).all()
    assert score_bucket(bucket_starts(buckets)).tolist() == buckets.tolist()


@pytest.mark.parametrize("metric", EVERY)
def test_a_change_is_that_of_the_metric_without_the_rows_of_a_group(metric):
    predictions, target, groups = some_rows(4000)
    changes = changes_of_predictions(count_predictions(predictions, target, groups), EVERY, quantile=0.9)[metric]
    whole = prediction_metrics(count_predictions(predictions, target), [metric], quantile=0.9)[metric]
    for group in (0, 7, GROUPS - 1):
        rows = groups != group
        left = prediction_metrics(count_predictions(predictions[rows], target[rows]), [metric], quantile=0.9)[metric]
        assert changes[group] == pytest.approx(left - whole, abs=1e-8 * abs(whole))


def test_changes_that_would_tell_of_too_few_rows_are_not_told():
    counts = count_predictions(*some_rows(320))
    assert set(changes_of_predictions(counts, EVERY)) == set(EVERY)
    assert changes_of_predictions(counts, EVERY, min_group_size=100) == {}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_and_targets_that_are_no_numbers_are_refused(bad):
    with pytest.raises(InvalidInput, match=r"of 2 rows, 1 have a prediction and 1 a target"):
        count_predictions(np.array([1, bad], np.float32), np.array([bad, 1], np.float32))


def test_metrics_of_the_other_task_are_refused_with_those_that_there_are():
    with pytest.raises(InvalidInput, match=r"roc_auc is a figure of binary models.*rmse, mae, r2, quantile_loss"):
        REGRESSION.measures(["roc_auc", "rmse"])
    with pytest.raises(InvalidInput, match=r"no metric 'rmes'. Did you mean 'rmse'"):
        REGRESSION.measures(["rmes"])


def test_a_report_has_figures_by_slice_and_says_of_which_quantile_the_loss_is():
    predictions, target, groups = some_rows(400)
    kinds = np.where(np.arange(400) % 4 == 0, "few", "many")
    pieces = [
        evaluate_scores(predictions[rows], target[rows], {"kind": kinds[rows]}, groups[rows], task=Task.REGRESSION)
        for rows in (slice(0, 100), slice(100, 400))
    ]
    found = report(merge_evaluations(pieces), EVERY, points=Points(quantile=0.8))
    assert found["quantile"] == 0.8
    assert found["rows"] == 400
    few = count_predictions(predictions[::4], target[::4])
    assert found["slices"]["kind"]["few"] == {"rows": 100, **prediction_metrics(few, EVERY, quantile=0.8)}
    assert set(found["replicates"]["overall"]) == set(EVERY)
    assert "quantile" not in report(pieces[0], ["rmse"])
