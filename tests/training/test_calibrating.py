from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn import metrics as reference
from sklearn.isotonic import IsotonicRegression

from dataops.errors import AccessDenied, InvalidInput
from dataops.models.calibration import Calibration
from dataops.training.calibrating import (
    BEYOND,
    LEAST_SLOPE,
    MOST_CELLS,
    MarginCounts,
    _cells,
    count_margins,
    fit_calibration,
    merge_margins,
    pool,
)

METHODS = ["sigmoid", "isotonic"]
rows = st.lists(st.tuples(st.floats(-30, 30, width=32), st.booleans()), max_size=60)


def arrays(some) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one for one, _ in some], np.float32), np.array([label for _, label in some], np.float32)


def make_rows(seed: int, n: int, slope: float = 1.0, intercept: float = 0.0):
    """Log odds, and targets of which the true log odds are ``slope * margin + intercept``."""
    random = np.random.default_rng(seed)
    margins = random.normal(0, 2, n).astype(np.float32)
    return margins, (random.random(n) < expit(slope * margins + intercept)).astype(np.float32)


def as_lists(counts: MarginCounts) -> tuple:
    return counts.buckets.tolist(), counts.positives.tolist(), counts.negatives.tolist(), counts.unknown


@given(rows, st.integers(0, 60), st.booleans())
@settings(max_examples=50)
def test_any_split_in_any_order_gives_the_same_calibration(some, cut, turn):
    pieces = [count_margins(*arrays(piece)) for piece in (some[:cut], some[cut:])]
    merged, whole = merge_margins(pieces[::-1] if turn else pieces), count_margins(*arrays(some))
    assert as_lists(merged) == as_lists(whole)
    if 0 < whole.positives.sum() < whole.rows:
        for method in METHODS:
            found = fit_calibration(merged, method)
            assert found == fit_calibration(whole, method)
            assert Calibration.from_record(found.record()) == found  # rising, finite
            ordered = np.sort(arrays(some)[0])
            assert (np.diff(found.of(ordered)) >= -1e-9).all()


def test_the_line_is_that_of_a_logistic_regression_to_platts_targets():
    margins, target = make_rows(0, 3_000, slope=0.6, intercept=-1.0)
    from sklearn.calibration import _SigmoidCalibration

    known = _SigmoidCalibration().fit(margins.astype(np.float64), target)
    found = fit_calibration(count_margins(margins, target), "sigmoid")
    assert found.slope == pytest.approx(-known.a_, rel=1e-3)
    assert found.intercept == pytest.approx(-known.b_, abs=1e-3)
    assert (found.slope, found.intercept) == (pytest.approx(0.6, abs=0.07), pytest.approx(-1.0, abs=0.12))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(any), min_size=1, max_size=40))
@settings(max_examples=40)
def test_pooled_blocks_are_those_of_scikit_learns_isotonic_regression(cells):
    positives, negatives = np.array(cells, float).T
    sizes = positives + negatives
    starts = pool(positives, sizes)
    shares = np.add.reduceat(positives, starts) / np.add.reduceat(sizes, starts)
    ours = np.repeat(shares, np.diff([*starts, len(cells)]))
    known = IsotonicRegression().fit_transform(np.arange(len(cells)), positives / sizes, sample_weight=sizes)
    np.testing.assert_allclose(ours, known, atol=1e-12)
    assert (np.diff(shares) > 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("slope", "intercept"), [(0.4, 0.0), (1.0, -2.5), (2.0, 1.0)])
def test_probabilities_come_near_what_is_true_and_keep_their_order(method, slope, intercept):
    found = fit_calibration(count_margins(*make_rows(1, 20_000, slope, intercept)), method)
    margins, target = make_rows(2, 40_000, slope, intercept)
    before, after = expit(margins.astype(float)), expit(found.of(margins))
    best = reference.log_loss(target, expit(slope * margins.astype(float) + intercept))
    assert reference.log_loss(target, after) < min(best + 3e-3, reference.log_loss(target, before))
    assert reference.brier_score_loss(target, after) < reference.brier_score_loss(target, before)
    assert reference.roc_auc_score(target, after) == pytest.approx(reference.roc_auc_score(target, before), abs=1e-9)
    order = np.argsort(margins)
    assert (np.diff(found.of(margins[order])) > 0).sum() == (np.diff(margins[order]) > 0).sum()  # no new ties


def test_a_curve_follows_what_no_line_does():
    random = np.random.default_rng(3)
    margins = random.uniform(-6, 6, 40_000).astype(np.float32)
    true = np.where(margins < 0, 0.1 + 0.02 * (margins + 6), 0.8 + 0.02 * margins)
    target = (random.random(40_000) < true).astype(np.float32)
    line, curve = (expit(fit_calibration(count_margins(margins, target), method).of(margins)) for method in METHODS)
    assert np.abs(curve - true).mean() < 0.015 < np.abs(line - true).mean()


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_ranks_the_wrong_way_round_or_not_at_all_keeps_its_order(method):
    margins, target = make_rows(4, 4_000, slope=-1.0)
    found = fit_calibration(count_margins(margins, target), method)
    made = found.of(np.array([-3.0, 3.0]))
    assert 0 < made[1] - made[0] < 0.01
    assert expit(made).mean() == pytest.approx(target.mean(), abs=0.01)
    same = fit_calibration(count_margins(np.full(100, 2.0, np.float32), target[:100]), method)
    assert expit(same.of(np.array([2.0])))[0] == pytest.approx(target[:100].mean(), abs=0.02)


def test_knots_are_few_and_each_about_as_many_rows_as_may_be_told_of():
    margins, target = make_rows(5, 30_000)
    counts = count_margins(margins, target)
    found = fit_calibration(counts, "isotonic")
    assert 10 < len(found.given) <= MOST_CELLS + 2
    assert _cells(counts, 700)[1].min() >= 700
    assert _cells(counts, 700)[1].sum() == 30_000
    assert len(fit_calibration(counts, "isotonic", least=15_000).given) <= 4
    (left, first), (last, right) = found.made[:2], found.made[-2:]
    assert (first - left, right - last) == (pytest.approx(BEYOND), pytest.approx(BEYOND))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("times", [1e-3, 1e4, 1e9])
def test_what_a_model_gives_may_be_any_multiple_of_true_log_odds(method, times):
    """A margin of a support vector machine over raw columns, say."""
    margins, target = make_rows(7, 20_000)
    found = fit_calibration(count_margins(margins * np.float32(times), target), method)
    margins, target = make_rows(8, 40_000)
    after = expit(found.of(margins * np.float32(times)))
    assert reference.log_loss(target, after) < reference.log_loss(target, expit(margins.astype(float))) + 3e-3


def test_no_rows_tie_beyond_the_outer_cells_of_a_curve():
    random = np.random.default_rng(9)
    margins = np.r_[random.normal(0, 30, 20_000), random.normal(0, 100, 200)].astype(np.float32)
    target = (random.random(20_200) < expit(0.02 * margins)).astype(np.float32)
    found = fit_calibration(count_margins(margins, target), "isotonic", least=2_000)
    ordered = np.unique(margins)
    assert ordered[-1] > found.given[-2] + 100
    assert (np.diff(found.of(ordered)) > 0).all()
    far = expit(found.of(np.array([-1e30, 1e30]))).astype(np.float32)
    assert far.tolist() == [0, 1]


def test_no_row_is_called_impossible_or_sure():
    margins = np.linspace(-4, 4, 2_000).astype(np.float32)
    found = fit_calibration(count_margins(margins, (margins > 0).astype(np.float32)), "isotonic")
    assert len(found.given) == 4
    shares = expit(np.array(found.made[1:-1]))
    assert shares == pytest.approx([0.5 / 1001, 1000.5 / 1001])


@pytest.mark.parametrize("method", METHODS)
def test_what_can_not_be_calibrated_on_is_refused_with_counts(method):
    margins, target = make_rows(6, 50)
    with pytest.raises(InvalidInput, match="of 50 rows held out for it 0 have no finite log odds, and the others are"):
        fit_calibration(count_margins(margins, np.ones(50, np.float32)), method)
    with pytest.raises(InvalidInput, match="of 50 rows held out for it 1 have no finite"):
        fit_calibration(count_margins(np.where(np.arange(50) == 3, np.float32(np.nan), margins), target), method)
    with pytest.raises(AccessDenied, match="fewer than 51"):
        fit_calibration(count_margins(margins, target), method, least=51)
    with pytest.raises(InvalidInput, match="of 0 rows"):
        fit_calibration(merge_margins([]), method)
    assert LEAST_SLOPE < 0.01
