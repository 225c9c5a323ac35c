from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from dataops.declarations.metrics import Points
from dataops.promotion.gain import lower_gain
from dataops.training.decisions import lift_of
from dataops.training.evaluate import evaluate_scores, report
from dataops.training.groups import GROUPS, row_groups
from dataops.training.replicates import changes_of
from dataops.training.scores import compute_metrics, count_scores, lift, lift_error_bound

DECIDED = ["accuracy", "f1", "precision", "recall"]
grid = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0])
rows = st.lists(st.tuples(grid | st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=60)


def arrays(some) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in some], np.float32), np.array([label for _, label in some], np.float32)


def make_rows(seed: int, n: int, step: float = 0.0):
    """A target of few positives, and the scores of two models, the second of which knows more."""
    random = np.random.default_rng(seed)
    known, hidden = random.normal(size=(2, n))
    margin = 1.2 * known - 2
    target = (random.random(n) < 1 / (1 + np.exp(-(margin + 0.6 * hidden)))).astype(np.float32)
    both = (1 / (1 + np.exp(-one)) for one in (margin, margin + 0.6 * hidden))
    return target, *((np.round(one / step) * step if step else one).astype(np.float32) for one in both)


@given(rows, grid | st.floats(0, 1))
@settings(max_examples=40)
def test_figures_at_any_threshold_are_exactly_those_of_scikit_learn(some, threshold):
    scores, target = arrays(some)
    found = compute_metrics(count_scores(scores, target, points=Points(threshold=threshold)), DECIDED)
    said = scores >= np.float32(threshold)
    assert found["accuracy"] == reference.accuracy_score(target, said)
    for name in ("f1", "precision", "recall"):
        exact = getattr(reference, f"{name}_score")(target, said, zero_division=np.nan)
        assert (name in found) == (not math.isnan(exact))
        assert name not in found or found[name] == pytest.approx(exact, abs=1e-15)


def top_lift(scores, target, order, share) -> float:
    """The lift of rows that are looked at from the highest score down, those that tie in `order`."""
    ranked = target.astype(float)[np.lexsort((order, -scores.astype(np.float64)))]
    wanted = share * len(target)
    whole = int(wanted)
    last = (wanted - whole) * ranked[whole] if whole < len(ranked) else 0
    return float((ranked[:whole].sum() + last) / (share * ranked.sum()))


@given(st.lists(st.tuples(grid, st.booleans()), min_size=2, max_size=4), st.floats(0.05, 1))
@settings(max_examples=40)
def test_the_lift_of_rows_that_tie_is_the_mean_over_all_their_orders(some, share):
    scores, target = arrays(some)
    if 0 < target.sum() < len(target):
        orders = [np.array(order) for order in permutations(range(len(some)))]
        exact = np.mean([top_lift(scores, target, order, share) for order in orders])
        assert lift(count_scores(scores, target), share) == pytest.approx(exact, rel=1e-9)


@given(rows, st.integers(0, 9), st.floats(0.01, 1))
@settings(max_examples=100)
def test_the_lift_keeps_its_stated_bound_in_any_order(some, seed, share):
    scores, target = arrays(some)
    if not 0 < target.sum() < len(target):
        return
    order = np.random.default_rng(seed).permutation(len(some))
    counts, turned = count_scores(scores, target), count_scores(scores[order], target[order])
    found = compute_metrics(counts, ["lift"], Points(top_share=share))
    assert found == compute_metrics(turned, ["lift"], Points(top_share=share))
    assert abs(found["lift"] - top_lift(scores, target, order, share)) <= found["lift_error_bound"] + 1e-9
    assert 0 <= found["lift"] <= 1 / share + 1e-9


def test_the_lift_of_all_rows_is_one_and_that_of_the_best_order_is_the_most():
    target = (np.arange(1_000) >= 950).astype(np.float32)
    counts = count_scores(np.linspace(0.1, 0.9, 1_000).astype(np.float32), target)
    assert lift(counts, 1.0) == 1
    assert (lift(counts), lift(counts, 0.05)) == (pytest.approx(10), pytest.approx(20, abs=1e-2))
    assert lift_error_bound(counts) == 0
    assert lift(count_scores(np.full(1_000, 0.3, np.float32), target)) == pytest.approx(1)


def test_of_many_rows_the_bound_of_the_lift_is_small():
    target, scores, _ = make_rows(0, 200_000)
    found = compute_metrics(count_scores(scores, target), ["lift"])
    assert abs(found["lift"] - top_lift(scores, target, np.arange(200_000), 0.1)) <= found["lift_error_bound"] < 5e-3


def test_a_report_tells_the_points_of_what_it_measures_and_no_others():
    target, scores, _ = make_rows(3, 500)
    points = Points(threshold=0.3, top_share=0.2)
    evaluation = evaluate_scores(scores, target, {"half": np.arange(500) % 2}, points=points)
    found = report(evaluation, ["f1", "lift"], points=points)
    assert (found["threshold"], found["top_share"], "quantile" in found) == (0.3, 0.2, False)
    assert found["overall"]["f1"] == pytest.approx(reference.f1_score(target, scores >= np.float32(0.3)))
    odd = np.arange(500) % 2 == 1
    exact = reference.f1_score(target[odd], scores[odd] >= np.float32(0.3))
    assert found["slices"]["half"]["1"]["f1"] == pytest.approx(exact)
    assert "threshold" not in report(evaluate_scores(scores, target), ["accuracy", "log_loss"])


@pytest.mark.parametrize(
    ("metric", "points", "step"),
    [
        ("f1", Points(threshold=0.3), 0.0),
        ("precision", Points(threshold=0.35), 0.1),
        ("lift", Points(top_share=0.1), 0.0),
        ("lift", Points(top_share=0.2), 0.05),
    ],
)
def test_the_lower_end_of_a_gain_is_below_the_true_gain_as_often_as_it_says(metric, points, step):
    def figures(target, both, groups=None):
        counts = [count_scores(scores, target, groups, points) for scores in both]
        return counts, [compute_metrics(one, [metric], points)[metric] for one in counts]

    target, *both = make_rows(1, 400_000, step)
    _, (one, other) = figures(target, both)
    true, below, trials = other - one, 0, 150
    for trial in range(trials):
        target, *both = make_rows(2 + trial, 2_000, step)
        counts, (one, other) = figures(target, both, row_groups(f"sha256:{trial}", np.arange(2_000)))
        changes = [changes_of(each.groups, [metric], top_share=points.top_share)[metric] for each in counts]
        below += lower_gain(other - one, changes[1], changes[0], confidence=0.9) <= true
    assert 0.84 <= below / trials <= 0.96


def test_ways_to_leave_rows_out_have_their_lift_side_by_side():
    random = np.random.default_rng(5)
    positives, negatives = random.integers(0, 9, (2, 12, 4)).astype(float)
    found = lift_of(positives, negatives, 0.3)
    assert found.tolist() == [lift_of(positives[:, way], negatives[:, way], 0.3) for way in range(4)]


SLICES = {"kind": np.arange(1_000) % 2}


def figures_of(last: float, least: int, points: Points, slices=SLICES):
    """What is told overall, and by slice, of 1,000 rows; `last` is the outcome of the row of the highest score."""
    scores, target = np.linspace(0, 0.9, 1_000, dtype=np.float32), (np.arange(1_000) % 3 == 0).astype(np.float32)
    scores[-1], target[-1] = 0.99, last
    evaluation = evaluate_scores(scores, target, slices, points=points)
    found = report(evaluation, [*DECIDED, "lift", "roc_auc"], min_group_size=least, points=points)
    return found["overall"].keys(), [by_value.keys() for by_value in found["slices"]["kind"].values()]


@pytest.mark.parametrize("last", [0.0, 1.0])
@pytest.mark.parametrize(
    ("points", "told"),
    [
        (Points(threshold=0.98, top_share=0.2), {"lift", "roc_auc"}),
        (Points(threshold=0.0009, top_share=0.2), {"lift", "roc_auc"}),  # all but one reach it
        (Points(threshold=0.0, top_share=1.0), {*DECIDED, "lift", "roc_auc"}),  # all do
        (Points(top_share=0.001), {*DECIDED, "roc_auc"}),
        (Points(top_share=0.999), {*DECIDED, "roc_auc"}),
    ],
)
def test_neither_a_high_threshold_nor_a_small_share_tells_the_outcome_of_few_rows(last, points, told):
    every = {*DECIDED, "lift", "roc_auc"}
    overall, by_value = figures_of(last, 100, points)
    assert every & overall == told
    assert [every & one for one in by_value] == [told, told]
    assert ("lift_error_bound" in overall) == ("lift" in told)
    overall, by_value = figures_of(last, 1, points)
    assert every & overall == every & by_value[1] == every


def test_figures_of_few_rows_of_one_value_are_none_of_the_others_either():
    """Else they could be had by difference from those of all rows."""
    kinds = np.where((np.arange(1_000) < 200) | (np.arange(1_000) == 999), "few", "most")
    overall, (few, most) = figures_of(1.0, 100, Points(top_share=0.2), {"kind": kinds})
    assert {*DECIDED, "lift"} <= overall
    assert "roc_auc" in few & most
    assert not {*DECIDED, "lift"} & (few | most)


@pytest.mark.parametrize(
    ("points", "told"),
    [
        (Points(threshold=0.5, top_share=0.5), {*DECIDED, "lift", "roc_auc"}),
        (Points(threshold=0.95, top_share=0.5), {"lift", "roc_auc"}),
        (Points(threshold=0.5, top_share=0.05), {*DECIDED, "roc_auc"}),
    ],
)
def test_changes_without_a_group_tell_of_no_fewer_of_its_rows(points, told):
    random = np.random.default_rng(0)
    scores, target = random.random(6_400, np.float32), (random.random(6_400) < 0.4).astype(np.float32)
    groups, slices = (np.arange(6_400) % GROUPS).astype(np.uint8), {"half": np.arange(6_400) // 3_200}
    evaluation = evaluate_scores(scores, target, slices, groups, points=points)
    for least, found in ((25, told), (1, {*DECIDED, "lift", "roc_auc"})):
        changes = report(evaluation, [*DECIDED, "lift", "roc_auc"], min_group_size=least, points=points)["replicates"]
        assert changes["overall"].keys() == found
        assert [one.keys() for one in changes["slices"]["half"].values()] == [found, found]


def test_how_far_a_lift_can_be_off_tells_nothing_of_few_rows_at_its_edge():
    def bound(*tied: int, least: int) -> float:
        scores, target = np.r_[np.linspace(0, 0.4, 88), 0.5, 0.5, np.linspace(0.6, 0.9, 10)], np.zeros(100)
        target[:20], target[88:90] = 1, tied
        counts = count_scores(scores.astype(np.float32), target.astype(np.float32))
        return lift_error_bound(counts, 0.11, least) * counts.n_positive

    assert bound(0, 0, least=1) == 0 < bound(0, 1, least=1)
    assert bound(0, 0, least=5) == pytest.approx(bound(0, 1, least=5)) == pytest.approx(bound(0, 1, least=1))
