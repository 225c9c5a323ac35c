from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.metrics import Metric
from dataops.declarations.promotion import Promotion
from dataops.promotion.findings import Evidence, Outcome
from dataops.promotion.gates import judge as judge_evidence
from tests.registry.examples import make_metrics


def rules(*rules):
    return Promotion.model_validate({"model": "income", "rules": list(rules)}, strict=False)


def judge(candidate, champion, promotion, **known):
    return judge_evidence(Evidence(candidate=candidate, champion=champion, **known), promotion)


AUC_FLOOR = {"metric": "roc_auc", "minimum": 0.85}
AUC_LOSS = {"metric": "roc_auc", "max_loss": 0.005}
LOG_LOSS_LOSS = {"metric": "log_loss", "max_loss": 0.01}


def selected(selection):
    """Figures like all others, of rows that were chosen so."""
    return {"holdout": {**make_metrics()["holdout"], "selection": selection}}


def outcomes(verdict):
    return [finding.outcome for finding in verdict.findings]


def test_without_rules_nothing_is_promoted():
    verdict = judge(make_metrics(), None, rules())
    assert not verdict.passed
    assert verdict.findings == ()
    assert verdict.reasons == ("no rules: not gated, so not promoted",)


def test_a_first_champion_is_decided_by_absolute_limits_and_the_verdict_says_so():
    verdict = judge(make_metrics(roc_auc=0.9), None, rules(AUC_FLOOR, AUC_LOSS))
    assert verdict.passed
    assert outcomes(verdict) == [Outcome.PASSED, Outcome.SKIPPED]
    assert "no champion yet: absolute limits decide" in verdict.reasons
    assert not judge(make_metrics(roc_auc=0.8), None, rules(AUC_FLOOR, AUC_LOSS)).passed


def test_without_a_champion_limits_relative_to_it_alone_gate_nothing():
    verdict = judge(make_metrics(), None, rules(AUC_LOSS))
    assert not verdict.passed
    assert "not gated, so not promoted" in verdict.reasons[-1]


@pytest.mark.parametrize(
    ("rule", "candidate", "passed"),
    [
        (AUC_LOSS, {"roc_auc": 0.895}, True),  # in binary 5e-18 more than 0.005
        (AUC_LOSS, {"roc_auc": 0.8949}, False),
        (AUC_LOSS, {"roc_auc": 0.99}, True),
        (LOG_LOSS_LOSS, {"log_loss": 0.21}, True),
        (LOG_LOSS_LOSS, {"log_loss": 0.2101}, False),
        (LOG_LOSS_LOSS, {"log_loss": 0.01}, True),
    ],
)
def test_a_loss_is_measured_in_the_direction_of_its_metric(rule, candidate, passed):
    verdict = judge(make_metrics(**candidate), make_metrics(roc_auc=0.9, log_loss=0.2), rules(rule))
    assert verdict.passed is passed
    assert verdict.findings[0].champion in (0.9, 0.2)


def test_rules_without_a_dataset_are_about_the_rows_that_training_held_back():
    assert judge(make_metrics(), None, rules(AUC_FLOOR)).findings[0].dataset == "holdout"


def test_every_metric_that_can_be_declared_has_a_direction():
    assert {metric for metric in Metric if not metric.higher_is_better} == {
        Metric.LOG_LOSS,
        Metric.BRIER,
        Metric.CALIBRATION_ERROR,
        Metric.RMSE,
        Metric.MAE,
        Metric.QUANTILE_LOSS,
        Metric.INERTIA,
    }


def test_inertia_is_held_against_no_other_version():
    with pytest.raises(ValueError, match="each version measures distances in a scale of its own"):
        rules({"metric": "inertia", "max_loss": 0.1})
    assert rules({"metric": "inertia", "maximum": 3.0}, {"metric": "silhouette", "min_gain": 0.0})


def test_every_rule_is_judged_also_after_one_failed():
    both = {"metric": "log_loss", "minimum": 0.01, "maximum": 0.1, "max_loss": 0.5}
    verdict = judge(make_metrics(roc_auc=0.5), make_metrics(), rules(AUC_FLOOR, both, AUC_LOSS))
    assert [(finding.rule, finding.limit) for finding in verdict.findings] == [
        (1, "minimum"), (2, "minimum"), (2, "maximum"), (2, "max_loss"), (3, "max_loss"),
    ]  # fmt: skip
    assert [finding.outcome == Outcome.PASSED for finding in verdict.findings] == [False, True, False, True, False]
    assert verdict.reasons == ("3 of 5 limits failed",)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, True, "0.99"])
def test_an_undefined_figure_never_passes(value):
    metrics = make_metrics()
    metrics["holdout"]["overall"]["roc_auc"] = value
    verdict = judge(metrics, None, rules(AUC_FLOOR))
    assert not verdict.passed
    assert verdict.findings[0].value is None
    assert "undefined" in verdict.findings[0].note


def test_an_undefined_figure_of_the_champion_is_no_free_pass():
    verdict = judge(make_metrics(), make_metrics(roc_auc=None), rules(AUC_FLOOR, AUC_LOSS))
    assert outcomes(verdict) == [Outcome.PASSED, Outcome.FAILED]
    assert not verdict.passed


def test_what_was_not_evaluated_fails_with_its_near_match():
    verdict = judge(
        make_metrics(), None, rules({**AUC_FLOOR, "dataset": "holdouts"}, {"metric": "brier", "maximum": 1})
    )
    assert not verdict.passed
    assert "Did you mean 'holdout'" in verdict.findings[0].note
    assert "the candidate has no brier on holdout" in verdict.findings[1].note


@pytest.mark.parametrize(
    ("champion", "why"),
    [
        (make_metrics(rows=999), "other rows (999, here 1000)"),
        ({"holdout": {**make_metrics()["holdout"], "snapshot": "census@1"}}, "another snapshot"),
        ({"other": make_metrics()["holdout"]}, "the champion wasn't evaluated on holdout"),
        (selected({"rows": "sha256:flipped target", "slices": {}}), "rows that were chosen otherwise"),
        (selected(None), "nobody kept which rows the champion was evaluated on (an earlier release)"),
        (selected({"rows": 1}), "nobody kept which rows the champion was evaluated on"),
    ],
)
def test_figures_of_other_data_are_not_compared(champion, why):
    verdict = judge(make_metrics(), champion, rules(AUC_FLOOR, AUC_LOSS))
    assert not verdict.passed
    assert why in verdict.findings[1].note


def test_a_version_of_an_earlier_release_can_be_the_first_champion_and_stay_it_and_is_compared_with_no_other():
    old = selected(None)
    assert judge(old, None, rules(AUC_FLOOR, AUC_LOSS)).passed
    assert judge(old, old, rules(AUC_FLOOR, AUC_LOSS), is_champion=True).passed
    verdict = judge(old, make_metrics(), rules(AUC_FLOOR, AUC_LOSS))
    assert "nobody kept which rows the candidate was evaluated on" in verdict.findings[1].note


def test_a_version_that_is_judged_by_one_slice_more_is_compared_all_the_same():
    more = selected({"rows": "sha256:all", "slices": {"sex": "sha256:sex", "age": "sha256:age"}})
    assert judge(more, make_metrics(), rules(AUC_FLOOR, AUC_LOSS)).passed


def test_an_unreadable_champion_fails_what_is_relative_to_it():
    verdict = judge(make_metrics(), None, rules(AUC_FLOOR, AUC_LOSS), champion_unreadable="version 1, Integrity")
    assert outcomes(verdict) == [Outcome.PASSED, Outcome.FAILED]
    assert "the champion can't be read (version 1, Integrity)" in verdict.reasons[0]
    assert judge(make_metrics(), None, rules(AUC_FLOOR), champion_unreadable="version 1, Integrity").passed


figures = st.floats(0, 1)
any_rule = st.fixed_dictionaries(
    {"metric": st.sampled_from(["roc_auc", "log_loss"])},
    optional={"minimum": figures, "maximum": figures, "max_loss": figures},
).filter(lambda rule: len(rule) > 1 and rule.get("minimum", 0) <= rule.get("maximum", 1))
any_metrics = st.builds(make_metrics, roc_auc=figures, log_loss=figures)


@settings(max_examples=50)
@given(any_metrics, st.none() | any_metrics, st.lists(any_rule, max_size=4), any_rule)
def test_another_rule_never_lets_a_refused_version_through_once_one_was_judged(candidate, champion, some, more):
    before = judge(candidate, champion, rules(*some))
    after = judge(candidate, champion, rules(*some, more))
    assert not (after.passed and before.failed)


@settings(max_examples=50)
@given(any_metrics, any_metrics, any_rule.filter(lambda rule: "max_loss" in rule))
def test_a_version_loses_nothing_against_itself(candidate, other, rule):
    only_loss = {"metric": rule["metric"], "max_loss": rule["max_loss"]}
    assert judge(candidate, candidate, rules(only_loss)).passed
    assert (
        judge(candidate, other, rules({**only_loss, "max_loss": 0})).passed
        or judge(other, candidate, rules({**only_loss, "max_loss": 0})).passed
    )


def numbers(quantile: float = 0.5, **overall: float):
    """Figures of a regression on the rows of `make_metrics`."""
    return {"holdout": {**make_metrics()["holdout"], "overall": overall, "quantile": quantile}}


def test_metrics_of_a_regression_are_gated_in_their_own_direction():
    rule = {"metric": "rmse", "max_loss": 0.1}
    assert judge(numbers(rmse=1.05), numbers(rmse=1.0), rules(rule)).passed
    assert not judge(numbers(rmse=1.2), numbers(rmse=1.0), rules(rule)).passed
    assert judge(numbers(r2=0.9), numbers(r2=0.8), rules({"metric": "r2", "min_gain": 0.05})).passed


def test_losses_of_two_quantiles_are_not_held_against_each_other():
    rule = {"metric": "quantile_loss", "max_loss": 5}
    assert judge(numbers(0.9, quantile_loss=1.0), numbers(0.9, quantile_loss=1.0), rules(rule)).passed
    (finding,) = judge(numbers(0.9, quantile_loss=1.0), numbers(0.5, quantile_loss=1.0), rules(rule)).failed
    assert "of the quantile 0.9, and the champion's of 0.5" in finding.note


def test_decisions_at_two_thresholds_are_not_held_against_each_other():
    def at(value: float, **points: float):
        return {"holdout": {**make_metrics()["holdout"], "overall": {"f1": value, "lift": value}, **points}}

    f1, lift = {"metric": "f1", "min_gain": 0.1}, {"metric": "lift", "max_loss": 5}
    assert judge(at(0.6, threshold=0.3), at(0.4, threshold=0.3), rules(f1)).passed
    assert not judge(at(0.4, threshold=0.3), at(0.6, threshold=0.3), rules(f1)).passed  # more is better
    (finding,) = judge(at(0.6, threshold=0.3), at(0.4), rules(f1)).failed
    assert finding.note == "it is of the threshold 0.3, and the champion's of 0.5"
    (finding,) = judge(at(3.0, top_share=0.1), at(3.0, top_share=0.2), rules(lift)).failed
    assert finding.note == "it is of the top share 0.1, and the champion's of 0.2"
