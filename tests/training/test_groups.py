"""Rows in groups: the same for whoever counts, exact however they are cut, and what a bound made of them is worth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.promotion.gain import lower_gain
from dataops.training.decisions import AT_THRESHOLD
from dataops.training.evaluate import evaluate_scores, merge_evaluations, report
from dataops.training.groups import GROUPS, GroupCounts, row_groups
from dataops.training.replicates import SCHEME, changes_of
from dataops.training.scores import METRICS, compute_metrics, count_scores, merge_counts

FILE = "sha256:00"
EXACT = ("accuracy", "f1", "precision", "recall", "log_loss", "brier")
MEASURED = ["roc_auc", "average_precision", "lift", *EXACT]

rows = st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans(), st.integers(0, GROUPS - 1)), min_size=1)


def arrays(some):
    scores, labels, groups = zip(*some, strict=True)
    return np.array(scores, np.float32), np.array(labels, np.float32), np.array(groups, np.uint8)


def as_values(counts: GroupCounts):
    lists = (counts.cells.tolist(), counts.positives.tolist(), counts.negatives.tolist())
    return *lists, counts.log_loss_units, counts.squared_error_units, counts.reached.tolist()


@settings(max_examples=50)
@given(rows, st.integers(1, 50))
def test_any_split_of_the_rows_gives_the_same_counts_by_group(some, cut):
    pieces = [count_scores(*arrays(piece)) for piece in (some[cut:], some[:cut]) if piece]
    merged, whole = merge_counts(pieces), count_scores(*arrays(some))
    assert as_values(merged.groups) == as_values(whole.groups)
    assert merged.log_loss_units == count_scores(*arrays(some)[:2]).log_loss_units


@settings(max_examples=50)
@given(rows)
def test_groups_change_no_figure(some):
    scores, target, groups = arrays(some)
    assert compute_metrics(count_scores(scores, target, groups), list(METRICS)) == compute_metrics(
        count_scores(scores, target), list(METRICS)
    )


def test_where_some_groups_are_not_known_none_are():
    some = [(0.25, True, 3), (0.5, False, 4)]
    scores, target, _ = arrays(some)
    assert merge_counts([count_scores(*arrays(some)), count_scores(scores, target)]).groups is None


def test_a_row_has_the_group_of_its_place_whatever_unit_it_is_read_in():
    whole = row_groups(FILE, np.arange(10_000))
    assert row_groups(FILE, np.arange(4_000, 6_000)).tolist() == whole[4_000:6_000].tolist()
    assert whole[:8].tolist() == [5, 21, 23, 28, 26, 22, 12, 22]  # never other ones: figures of two releases pair up
    assert (row_groups("sha256:01", np.arange(10_000)) != whole).mean() > 0.9
    expected = 10_000 / GROUPS
    chi_square = ((np.bincount(whole, minlength=GROUPS) - expected) ** 2 / expected).sum()
    assert chi_square < 61  # once in a thousand for 31 degrees of freedom


def make_rows(seed: int, n: int):
    """A target, and the scores of two models, the second of which knows more."""
    random = np.random.default_rng(seed)
    known, hidden, noise = random.normal(size=(3, n))
    margin = 1.2 * known - 1.5
    target = (random.random(n) < 1 / (1 + np.exp(-(margin + 0.3 * hidden)))).astype(np.float32)
    better = margin + 0.24 * hidden + 0.1 * noise
    return target, *((1 / (1 + np.exp(-one))).astype(np.float32) for one in (margin, better))


# not of the lift: its changes are smoother than those of the few rows at its edge; test_decisions counts how it holds
@pytest.mark.parametrize("metric", [one for one in MEASURED if one != "lift"])
def test_a_change_is_that_of_the_metric_without_the_group(metric):
    target, scores, _ = make_rows(0, 4_000)
    groups = row_groups(FILE, np.arange(4_000))
    changes = changes_of(count_scores(scores, target, groups).groups, MEASURED)[metric]
    assert len(changes) == GROUPS
    whole = compute_metrics(count_scores(scores, target), [metric])[metric]
    left = [groups != group for group in range(GROUPS)]
    exact = [compute_metrics(count_scores(scores[rows], target[rows]), [metric])[metric] - whole for rows in left]
    size = math.sqrt(sum(one**2 for one in exact) / GROUPS)
    worst = max(abs(one - other) for one, other in zip(changes, exact, strict=True))
    assert worst < (1e-6 if metric in EXACT else 0.15) * size + 1e-12


def test_the_lower_end_of_a_gain_is_below_the_true_gain_as_often_as_it_says():
    def gain(figures):
        return figures[1]["roc_auc"] - figures[0]["roc_auc"]

    target, *both = make_rows(1, 400_000)
    true = gain([compute_metrics(count_scores(scores, target), ["roc_auc"]) for scores in both])
    below, trials = 0, 150
    for trial in range(trials):
        target, *both = make_rows(2 + trial, 1_000)
        groups = row_groups(f"sha256:{trial}", np.arange(1_000))
        counts = [count_scores(scores, target, groups) for scores in both]
        theirs, ours = (changes_of(one.groups, ["roc_auc"])["roc_auc"] for one in counts)
        found = gain([compute_metrics(one, ["roc_auc"]) for one in counts])
        below += lower_gain(found, ours, theirs, confidence=0.9) <= true
    assert 0.82 <= below / trials <= 0.97  # 0.9, give or take three standard deviations


def test_pairing_makes_a_bound_closer_than_two_bounds_apart():
    target, theirs, ours = make_rows(3, 5_000)
    groups = row_groups(FILE, np.arange(5_000))
    changes = [changes_of(count_scores(one, target, groups).groups, ["log_loss"])["log_loss"] for one in (ours, theirs)]
    nothing = [0.0] * GROUPS
    paired = -lower_gain(0.0, changes[0], changes[1], confidence=0.95)
    apart = sum(-lower_gain(0.0, one, nothing, confidence=0.95) for one in changes)
    assert 0 < paired < apart / 5


@given(
    st.lists(st.floats(-1, 1), min_size=4, max_size=4), st.floats(-1, 1), st.floats(0.5, 0.999), st.floats(0.5, 0.999)
)
def test_more_confidence_is_never_a_higher_end_and_no_end_is_above_the_gain(changes, gain, one, other):
    less, more = sorted((one, other))
    ends = [lower_gain(gain, changes, [0.0] * 4, confidence=how) for how in (less, more)]
    assert gain >= ends[0] - 1e-12
    assert ends[0] >= ends[1] - 1e-12


def test_a_report_has_changes_only_where_each_group_may_be_shown():
    target, scores, _ = make_rows(4, 3_000)
    values = np.array(["large"] * 2_000 + ["small"] * 985 + ["tiny"] * 15)
    groups = row_groups(FILE, np.arange(3_000))
    evaluation = merge_evaluations([evaluate_scores(scores, target, {"kind": values}, groups)])
    found = report(evaluation, MEASURED)["replicates"]
    assert found["scheme"] == SCHEME
    assert set(found["overall"]) == set(MEASURED)
    assert {value: bool(one) for value, one in found["slices"]["kind"].items()} == {"large": True, "small": True}
    hidden = report(evaluation, MEASURED, min_group_size=40)["replicates"]
    assert set(hidden["overall"]) == set(MEASURED) - {"lift", *AT_THRESHOLD}  # of a group fewer rows reach that far
    assert hidden["slices"]["kind"] == {"(others)": {}, "large": {}}  # the others could be had by difference
    assert report(evaluation, MEASURED, min_group_size=90)["replicates"]["overall"] == {}


def test_what_is_not_defined_without_some_group_has_no_changes():
    scores, target = np.linspace(0.1, 0.9, 100).astype(np.float32), np.zeros(100, np.float32)
    target[3] = 1
    groups = row_groups(FILE, np.arange(100))
    found = changes_of(count_scores(scores, target, groups).groups, MEASURED)
    assert set(found) == set(EXACT) - {"recall"}


def test_calibration_error_is_the_mean_distance_of_promised_and_found():
    scores = np.repeat(np.linspace(0.05, 0.95, 10), 100).astype(np.float32)
    exact = np.concatenate([np.arange(100) < round(100 * share) for share in np.linspace(0.05, 0.95, 10)])
    assert METRICS["calibration_error"](count_scores(scores, exact.astype(np.float32))) == pytest.approx(0, abs=2e-4)
    never = np.zeros(1_000, np.float32)
    assert METRICS["calibration_error"](count_scores(scores, never)) == pytest.approx(0.5, abs=2e-4)
    sure = np.ones(10, np.float32)
    assert METRICS["calibration_error"](count_scores(sure, sure)) == pytest.approx(0, abs=2e-4)
