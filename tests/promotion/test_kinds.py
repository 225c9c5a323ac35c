"""Every kind of rule: what it is judged by, its edges, and that tightening or turning rules about never helps."""

from __future__ import annotations

import itertools
import math
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.declarations import promotion as declared
from dataops.declarations.promotion import Promotion
from dataops.promotion.findings import Called, Evidence, Measured, Outcome
from dataops.promotion.gates import judge
from dataops.promotion.kinds import KINDS

SLICES = {
    "Female": {"rows": 480, "roc_auc": 0.91},
    "Male": {"rows": 520, "roc_auc": 0.84},
    "(missing)": {"rows": 30, "roc_auc": 0.2},
    "rare": {"rows": 12, "too_small": "fewer than 20 rows"},
}


def metrics(changes: float | None = None, scheme: str = "groups-4/1", **options: Any) -> dict[str, Any]:
    """Figures of 1,042 rows, by sex; the AUC changes by +-`changes` without each of four groups."""
    figures = {"roc_auc": 0.9, "log_loss": 0.2, **options.get("overall", {})}
    found = {
        "snapshot": "one",
        "selection": {"rows": "sha256:all", "slices": {"sex": options.get("made", "sha256:sex")}},
        "rows": 1042,
        "overall": figures,
        "slices": {"sex": {**SLICES, **options.get("slices", {})}},
    }
    if changes is not None:
        lists = {"roc_auc": [changes, -changes, changes, -changes]}
        found["replicates"] = {"scheme": scheme, "overall": lists, "slices": {"sex": {"Female": lists}}}
    return {"holdout": found}


def verdict(evidence: Evidence, *rules: dict[str, Any]):
    return judge(evidence, Promotion.model_validate({"model": "income", "rules": list(rules)}, strict=False))


def outcomes(found):
    return {finding.slice and finding.slice[1]: str(finding.outcome) for finding in found.findings}


BY_SEX = {"metric": "roc_auc", "slice": {"column": "sex"}}


def test_every_kind_that_can_be_declared_is_judged():
    members = {get_args(member)[0] for member in get_args(get_args(declared.Rule)[0])}
    assert members == set(declared.KINDS.values())
    assert set(KINDS) == set(declared.KINDS)


def test_a_rule_by_slice_judges_each_value_and_one_bad_slice_refuses():
    found = verdict(Evidence(candidate=metrics()), {**BY_SEX, "minimum": 0.85})
    assert outcomes(found) == {"Female": "passed", "Male": "failed", "(missing)": "skipped", "rare": "skipped"}
    assert not found.passed
    (failed,) = found.failed
    assert (failed.slice, failed.rows, failed.value, failed.bound) == (("sex", "Male"), 520, 0.84, 0.85)


def test_a_slice_of_too_few_rows_is_skipped_and_says_how_few():
    found = verdict(Evidence(candidate=metrics()), {**BY_SEX, "minimum": 0.8})
    notes = {finding.slice[1]: finding.note for finding in found.findings if finding.outcome is Outcome.SKIPPED}
    assert notes == {
        "(missing)": "30 rows, and fewer than 100 aren't judged",
        "rare": "12 rows, and fewer than 100 aren't judged",
    }
    assert found.passed
    assert found.reasons[-1] == "2 of 4 limits held, 2 could not be judged"
    everything = {"metric": "roc_auc", "slice": {"column": "sex", "min_rows": 1}, "minimum": 0.8}
    judged = outcomes(verdict(Evidence(candidate=metrics()), everything))
    assert (judged["(missing)"], judged["rare"]) == ("failed", "skipped")


def test_where_every_slice_is_too_small_nothing_was_gated():
    found = verdict(
        Evidence(candidate=metrics()), {**BY_SEX, "slice": {"column": "sex", "min_rows": 999}, "minimum": 0}
    )
    assert not found.passed
    assert "not gated, so not promoted" in found.reasons[-1]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"column": "sexx"}, "the candidate has no slices by sexx on holdout. Did you mean 'sex'?"),
        ({"column": "sex", "value": "female"}, "no slice where sex is female on holdout. Did you mean 'Female'?"),
    ],
)
def test_a_slice_that_nobody_measured_fails_with_its_near_match(asked, why):
    found = verdict(Evidence(candidate=metrics()), {**BY_SEX, "slice": asked, "minimum": 0.8})
    assert [finding.outcome for finding in found.findings] == [Outcome.FAILED]
    assert why in found.findings[0].note


def test_one_value_can_be_meant_alone():
    rule = {"metric": "roc_auc", "slice": {"column": "sex", "value": "Female"}, "minimum": 0.9}
    assert outcomes(verdict(Evidence(candidate=metrics()), rule)) == {"Female": "passed"}


def without(value: str) -> dict[str, Any]:
    found = metrics()
    del found["holdout"]["slices"]["sex"][value]
    return found


@pytest.mark.parametrize(
    ("champion", "why"),
    [
        (without("Male"), "the champion has no slice where sex is Male"),
        (metrics(slices={"Male": {"rows": 519, "roc_auc": 0.8}}), "other rows (519, here 520)"),
        (metrics(made="sha256:bands"), "the champion's slices by sex were made otherwise"),
        (metrics(made=None), "nobody kept which rows the champion was evaluated on"),
        (
            metrics(slices={"Male": {"rows": 520, "too_small": "one class only"}}),
            "of the champion not judged: one class",
        ),
        (metrics(slices={"Male": {"rows": 520, "roc_auc": math.nan}}), "roc_auc of the champion is undefined"),
    ],
)
def test_a_slice_that_the_champion_lacks_fails_what_is_relative_and_says_so(champion, why):
    found = verdict(Evidence(candidate=metrics(), champion=champion), {**BY_SEX, "minimum": 0.8, "max_loss": 0.5})
    male = [(finding.limit, str(finding.outcome), finding.note) for finding in found.findings if finding.rows == 520]
    assert [(limit, outcome) for limit, outcome, _ in male] == [("minimum", "passed"), ("max_loss", "failed")]
    assert why in male[1][2]


GAIN = {"metric": "roc_auc", "min_gain": 0.01}


@pytest.mark.parametrize(("champion", "passed"), [(0.88, True), (0.89, True), (0.8901, False), (0.95, False)])
def test_a_gain_is_measured_in_the_direction_of_its_metric(champion, passed):
    assert (
        verdict(Evidence(candidate=metrics(), champion=metrics(overall={"roc_auc": champion})), GAIN).passed is passed
    )
    loss = {"metric": "log_loss", "min_gain": 0.01}
    mirrored = metrics(overall={"log_loss": 0.2 + (0.9 - champion)})
    assert verdict(Evidence(candidate=metrics(), champion=mirrored), loss).passed is passed


def test_without_a_champion_or_against_itself_a_gain_is_skipped():
    floor = {"metric": "roc_auc", "minimum": 0.5}
    for evidence, note in (
        (Evidence(candidate=metrics()), "no champion yet"),
        (Evidence(candidate=metrics(), champion=metrics(), is_champion=True), "it is the champion itself"),
    ):
        found = verdict(evidence, floor, GAIN)
        assert found.passed
        assert (found.findings[1].outcome, found.findings[1].note) == (Outcome.SKIPPED, note)
    assert not verdict(Evidence(candidate=metrics()), GAIN).passed


def test_how_sure_a_gain_is_decides_where_a_rule_asks_for_it():
    champion = metrics(changes=0.004, overall={"roc_auc": 0.885})
    sure = {**GAIN, "confidence": 0.95}
    steady, shaky = metrics(changes=0.0041), metrics(changes=-0.004)
    found = verdict(Evidence(candidate=steady, champion=champion), sure)
    assert found.passed
    (finding,) = found.findings
    assert (finding.gain, finding.low) == (
        pytest.approx(0.015),
        pytest.approx(0.015 - 2.3534 * 0.0001 * math.sqrt(3), rel=1e-3),
    )
    refused = verdict(Evidence(candidate=shaky, champion=champion), sure)
    assert not refused.passed
    assert refused.findings[0].low < 0.01 < refused.findings[0].gain
    assert verdict(Evidence(candidate=shaky, champion=champion), GAIN).passed
    bounded = metrics(changes=0.0041, overall={"roc_auc_error_bound": 0.01})
    assert not verdict(Evidence(candidate=bounded, champion=champion), sure).passed


def test_a_loss_can_be_asked_for_with_confidence_too():
    champion = metrics(changes=0.004, overall={"roc_auc": 0.9})
    rule = {"metric": "roc_auc", "max_loss": 0.005}
    shaky = Evidence(candidate=metrics(changes=-0.004), champion=champion)
    assert verdict(shaky, rule).passed
    assert not verdict(shaky, {**rule, "confidence": 0.95}).passed


def broken(changes: Any) -> dict[str, Any]:
    found = metrics(changes=0.001)
    found["holdout"]["replicates"]["overall"]["roc_auc"] = changes
    return found


@pytest.mark.parametrize(
    "candidate",
    [metrics(), broken(None), broken([]), broken([math.nan, 0.1]), broken(["0.1", 0.2]), broken([True, False])],
)
def test_where_nobody_counted_how_sure_a_gain_is_it_fails_and_says_so(candidate):
    sure = {**GAIN, "confidence": 0.95}
    champion = metrics(changes=0.001, overall={"roc_auc": 0.5})
    found = verdict(Evidence(candidate=candidate, champion=champion), sure)
    assert "nobody counted how sure roc_auc of the candidate is" in found.findings[0].note
    assert not found.passed
    other = verdict(Evidence(candidate=champion, champion=candidate), {**sure, "min_gain": 0})
    assert "nobody counted how sure roc_auc of the champion is" in other.findings[0].note


def test_groups_of_another_kind_do_not_pair_up():
    champion = metrics(changes=0.001, scheme="groups-4/0", overall={"roc_auc": 0.5})
    found = verdict(Evidence(candidate=metrics(changes=0.001), champion=champion), {**GAIN, "confidence": 0.95})
    assert "counted in different ways" in found.findings[0].note


CALL = {"callable": {"seconds": 5, "memory_mb": 100, "ms_per_row": 2}}


def called(**figures: Any) -> Evidence:
    (rule,) = Promotion.model_validate({"model": "income", "rules": [CALL]}, strict=False).rules
    found = {"rows": 16, "seconds": 1.0, "memory_mb": 50.0, "ms_per_row": 0.5, **figures}
    return Evidence(candidate={}, called={rule.callable: Called(**found)})


@pytest.mark.parametrize(
    ("figures", "failed"),
    [
        ({}, []),
        ({"seconds": 5.1}, ["seconds"]),
        ({"memory_mb": 101.0, "ms_per_row": 2.1}, ["memory_mb", "ms_per_row"]),
        ({"ms_per_row": None}, ["ms_per_row"]),
    ],
)
def test_a_call_has_its_limits(figures, failed):
    found = verdict(called(**figures), CALL)
    assert [finding.limit for finding in found.failed] == failed
    assert found.passed is not bool(failed)


def test_a_call_that_kills_fails_with_what_happened_and_so_does_none():
    found = verdict(called(failed="it killed the process that loaded it: SIGSEGV"), CALL)
    assert [(finding.limit, finding.note) for finding in found.findings] == [
        ("seconds", "it killed the process that loaded it: SIGSEGV")
    ]
    assert not found.passed
    assert verdict(Evidence(candidate={}), CALL).findings[0].note == "it wasn't called"


@pytest.mark.parametrize(
    ("given_columns", "wrong"),
    [
        ({"age": "int64", "job": "string"}, ""),
        ({"age": "int32", "job": "string", "more": "bool"}, ""),
        ({"age": "float64", "job": "string"}, "age is given as float64, and was int64 in training."),
        ({"age": "int64", "jobs": "string"}, "job (string) isn't given. Did you mean 'jobs'?"),
        ({"age": "int64", "job": "int64"}, "job is given as int64"),
    ],
)
def test_a_version_reads_only_what_applications_give(given_columns, wrong):
    evidence = Evidence(candidate={}, sources=(("age", "int64"), ("job", "string")))
    found = verdict(evidence, {"schema": given_columns})
    assert found.passed is (not wrong)
    assert wrong in found.findings[0].note
    assert found.findings[0].value == bool(wrong)


def test_a_float_takes_any_number():
    evidence = Evidence(candidate={}, sources=(("hours", "float32"),))
    assert all(verdict(evidence, {"schema": {"hours": kind}}).passed for kind in ("int64", "float64", "int8"))


@pytest.mark.parametrize(
    ("carried", "learned", "expected"),
    [
        (("work",), {"work"}, ["passed", "passed"]),
        (("pii.direct", "work"), {"work"}, ["failed", "passed"]),
        (("work",), {"work", "health"}, ["passed", "failed"]),
        (("work",), None, ["passed", "failed"]),
    ],
)
def test_a_version_carries_the_classes_that_are_allowed_and_all_that_it_learned_from(carried, learned, expected):
    evidence = Evidence(candidate={}, classifications=carried, learned_from=learned and frozenset(learned))
    found = verdict(evidence, {"classifications": {"allowed": ["work", "finance"]}})
    assert [str(finding.outcome) for finding in found.findings] == expected
    assert all(finding.note for finding in found.findings if finding.outcome is not Outcome.PASSED)


def test_where_nobody_knows_what_it_learned_from_it_is_refused_and_told_why():
    evidence = Evidence(candidate=metrics(), classifications=("work",), learned_from=None)
    found = verdict(evidence, {"metric": "roc_auc", "minimum": 0.5}, {"classifications": {"allowed": ["work"]}})
    assert not found.passed
    (failed,) = found.failed
    assert (failed.rule, failed.value) == (2, None)
    assert "the run that trained it isn't in this storage" in failed.note


SHARES = ("rows", "flipped_up", "flipped_down", "positive_own", "positive_challenger")
HUBS = {
    "north": (900, 0.06, 0.0, 0.2, 0.26),
    "south": (40, 0.5, 0.0, 0.2, 0.7),
    "west": (200, None, None, 0.1, 0.1),
}
FIGURES = {
    **dict(zip(SHARES, (10_000, 0.02, 0.01, 0.2, 0.21), strict=True)),
    "rank_correlation": 0.95,
    "moved": {"0.01": 0.5, "0.1": 0.04},
    "slices": {"hub": {hub: dict(zip(SHARES, shares, strict=True)) for hub, shares in HUBS.items()}},
}
ALL_LIMITS = {
    "max_flipped": 0.03,
    "max_positive_change": 0.01,
    "min_rank_correlation": 0.95,
    "max_moved": 0.04,
    "max_psi": 0.1,
}


def impact(rule: dict[str, Any], measured: Measured | str | None = None, **known: Any):
    asked = {"job": "compared", **rule}
    sliced = {"slice": asked.pop("slice")} if "slice" in asked else {}
    (parsed,) = Promotion.model_validate({"model": "income", "rules": [{"impact": asked}]}, strict=False).rules
    found = measured or Measured(run="compared-1", figures=FIGURES, psi={"score": 0.02, "grams": 0.1})
    known = {"champion": {}, **known}
    return verdict(Evidence(candidate={}, impacts={parsed.impact: found}, **known), {"impact": asked, **sliced})


def test_an_impact_within_its_bounds_passes_and_says_on_which_run():
    found = impact(ALL_LIMITS)
    assert found.passed
    assert {finding.limit: finding.value for finding in found.findings} == {
        "max_flipped": pytest.approx(0.03),
        "max_positive_change": 0.21,
        "min_rank_correlation": 0.95,
        "max_moved": 0.04,
        "max_psi": 0.1,
    }
    assert {finding.dataset for finding in found.findings} == {"compared-1"}
    assert found.findings[1].champion == 0.2
    assert found.findings[4].metric == "psi of grams, the largest"


@pytest.mark.parametrize("limit", ALL_LIMITS)
def test_each_bound_of_an_impact_refuses_by_itself(limit):
    worse = ALL_LIMITS[limit] + (0.001 if limit.startswith("min") else -0.001)
    assert [finding.limit for finding in impact({**ALL_LIMITS, limit: worse}).failed] == [limit]


def test_an_impact_by_slice_refuses_for_one_slice_skips_small_ones_and_fails_what_is_not_told():
    found = impact({"max_flipped": 0.05, "slice": {"column": "hub"}})
    assert outcomes(found) == {"north": "failed", "south": "skipped", "west": "failed", None: "skipped"}
    assert "too few rows" in {one.slice and one.slice[1]: one.note for one in found.findings}["west"]
    unknown = impact({"max_flipped": 0.05, "slice": {"column": "hubs"}})
    assert "compared-1 counted no slices by hubs. Did you mean 'hub'?" in unknown.findings[0].note


@pytest.mark.parametrize(
    ("known", "outcome", "note"),
    [
        ({}, Outcome.FAILED, "no run of job 'compared' is known here"),
        ({"champion": None}, Outcome.SKIPPED, "no champion yet, whose decisions could change"),
        ({"champion": None, "champion_unreadable": "version 1"}, Outcome.FAILED, "no run of job"),
        ({"is_champion": True}, Outcome.SKIPPED, "it is the champion itself"),
    ],
)
def test_without_a_rescore_of_both_an_impact_fails_unless_there_is_nothing_to_change(known, outcome, note):
    found = impact({"max_flipped": 0.05}, "no run of job 'compared' is known here", **known)
    assert (found.findings[0].outcome, note in found.findings[0].note) == (outcome, True)
    assert not found.passed


def test_an_impact_of_too_few_rows_fails():
    hidden = dict.fromkeys(FIGURES) | {"moved": {"0.1": None}, "slices": {}}
    found = impact(ALL_LIMITS, Measured(run="compared-1", figures=hidden, psi={"score": 0.0}))
    assert len(found.failed) == len(ALL_LIMITS)
    assert {finding.note for finding in found.failed} == {
        "compared-1 scored too few rows for the policies to show anything of"
    }


def test_an_impact_without_drift_fails_where_a_rule_asks_for_it():
    measured = Measured(run="compared-1", figures=FIGURES, unknown="the model version holds no reference")
    found = impact(ALL_LIMITS, measured)
    assert [(one.limit, one.note) for one in found.failed] == [("max_psi", "the model version holds no reference")]


@pytest.mark.parametrize(
    ("rule", "age", "why"),
    [
        ({}, timedelta(days=999), ""),
        ({"min_rows": 10_000}, None, ""),
        ({"min_rows": 10_001}, None, "compared-1 scored 10,000 rows, and fewer than 10,001 aren't judged"),
        ({"max_age_days": 7}, timedelta(days=7), ""),
        ({"max_age_days": 7}, timedelta(days=7.5), "compared-1 is 7.5 days old, and one of more than 7 isn't judged"),
        ({"max_age_days": 7}, None, "nobody knows how old compared-1 is"),
    ],
)
def test_an_impact_rests_on_a_rescore_that_is_new_and_large_enough(rule, age, why):
    measured = Measured(run="compared-1", figures=FIGURES, age=age, psi={"score": 0.0})
    found = impact({**ALL_LIMITS, **rule}, measured)
    assert found.passed is not bool(why)
    assert all(why in finding.note for finding in found.findings)
    sliced = impact({"max_flipped": 1, **rule, "slice": {"column": "hub", "value": "north"}}, measured)
    assert sliced.passed is not bool(why)


def test_a_rescore_of_a_handful_of_rows_is_no_proof_even_where_no_rule_says_how_many():
    few = Measured(run="compared-1", figures={**FIGURES, "rows": 99})
    assert "99 rows, and fewer than 100 aren't judged" in impact({"max_flipped": 1}, few).failed[0].note


def hubs(*names: str, rows: int) -> Measured:
    """Only these hubs are told of, of so many rows in all."""
    told = {"hub": {name: FIGURES["slices"]["hub"][name] for name in names}}
    return Measured(run="compared-1", figures={**FIGURES, "rows": rows, "slices": told})


def test_slices_that_the_policies_hide_are_said_to_be_there_and_how_many_rows_they_have():
    rule = {"max_flipped": 0.1, "slice": {"column": "hub"}}
    found = impact(rule, hubs("north", rows=961))
    assert found.passed
    north, rest = found.findings
    assert (north.slice, north.outcome) == (("hub", "north"), Outcome.PASSED)
    assert (rest.slice, rest.rows, rest.outcome) == (None, 61, Outcome.SKIPPED)
    assert "values of hub of so few rows (61 in all)" in rest.note
    assert len(impact(rule, hubs("north", rows=900)).findings) == 1
    named = impact({**rule, "slice": {"column": "hub", "value": "east"}}, hubs("north", rows=961))
    assert "61 rows have values that the policies show no figures of" in named.failed[0].note


def test_where_every_slice_is_hidden_nothing_was_gated_and_that_is_why():
    found = impact({"max_flipped": 0.1, "slice": {"column": "hub"}}, hubs(rows=500))
    assert not found.passed
    assert [(one.rows, str(one.outcome)) for one in found.findings] == [(500, "skipped")]
    assert (
        "counted no slices by hubs"
        in impact({"max_flipped": 0.1, "slice": {"column": "hubs"}}, hubs(rows=500)).failed[0].note
    )


RULES = [
    {"metric": "roc_auc", "minimum": 0.85, "max_loss": 0.02, "confidence": 0.9},
    {"metric": "log_loss", "maximum": 0.25, "min_gain": 0.001},
    {**BY_SEX, "minimum": 0.8},
    CALL,
    {"schema": {"age": "int64"}},
    {"classifications": {"allowed": ["work"]}},
    {"impact": {"job": "compared", "max_flipped": 0.1}},
]
champions = st.sampled_from(
    [None, metrics(changes=0.002), metrics(overall={"roc_auc": 0.95}), metrics(overall={"log_loss": math.nan}), {}]
)
candidates = st.sampled_from(
    [metrics(changes=0.001), metrics(), metrics(overall={"roc_auc": None}), {}, {"holdout": {}}]
)


def evidence_of(candidate: dict[str, Any], champion: dict[str, Any] | None) -> Evidence:
    return Evidence(candidate=candidate, champion=champion, sources=(("age", "int64"),), classifications=("work",))


@given(candidates, champions, st.permutations(range(len(RULES))), st.integers(1, len(RULES)))
def test_the_order_of_rules_does_not_matter(candidate, champion, order, n):
    evidence, chosen = evidence_of(candidate, champion), sorted(order[:n])
    found = [verdict(evidence, *(RULES[place] for place in places)) for places in (chosen, order[:n])]
    assert found[0].passed == found[1].passed
    assert found[0].reasons == found[1].reasons
    as_set = [sorted(str({**one.record(), "rule": 0}) for one in each.findings) for each in found]
    assert as_set[0] == as_set[1]


TIGHTER = {"minimum": 1, "maximum": -1, "max_loss": -1, "min_gain": 1, "confidence": 1}
bounds = {"minimum": st.floats(0, 1), "maximum": st.floats(0, 1)}
bounds |= {"max_loss": st.floats(0, 0.2), "min_gain": st.floats(0, 0.2)}
limits = st.fixed_dictionaries({"metric": st.sampled_from(["roc_auc", "log_loss"])}, optional=bounds)
limits = limits.filter(lambda rule: len(rule) > 1 and rule.get("minimum", 0) <= rule.get("maximum", 1))


@given(candidates, champions, limits, st.floats(0, 0.1), st.sampled_from([None, 0.5, 0.9]), st.booleans())
def test_a_limit_that_is_tightened_turns_no_refusal_into_a_pass(candidate, champion, rule, step, confidence, by_sex):
    relative = {"max_loss", "min_gain"} & rule.keys()
    rule = {**rule, **({"confidence": confidence} if confidence and relative else {})}
    rule = {**rule, **({"slice": {"column": "sex"}} if by_sex else {})}
    evidence = evidence_of(candidate, champion)
    before = verdict(evidence, rule)
    for key in rule.keys() & TIGHTER.keys():
        bound = 0.999 if key == "confidence" else rule[key] + TIGHTER[key] * step
        tighter = {**rule, key: max(bound, 0) if key in ("max_loss", "min_gain") else bound}
        if tighter.get("minimum", -9) > tighter.get("maximum", 9):
            continue
        assert before.passed or not verdict(evidence, tighter).passed
    if relative and not confidence:
        assert before.passed or not verdict(evidence, {**rule, "confidence": 0.5}).passed


def test_every_outcome_reads_the_same_whatever_else_is_asked():
    """A finding depends on its own rule alone."""
    evidence = evidence_of(metrics(changes=0.001), metrics(changes=0.002))
    alone = {place: verdict(evidence, rule).findings for place, rule in enumerate(RULES)}
    for one, other in itertools.combinations(range(len(RULES)), 2):
        together = [finding.record() | {"rule": 0} for finding in verdict(evidence, RULES[one], RULES[other]).findings]
        assert together == [finding.record() | {"rule": 0} for place in (one, other) for finding in alone[place]]


def test_a_regression_decides_nothing_so_only_ranks_and_drift_limit_it():
    figures = {"task": "regression", "rows": 4000, "rank_correlation": 0.95, "slices": {}}
    found = impact(ALL_LIMITS, Measured(run="compared-1", figures=figures, psi={"score": 0.02}))
    assert {finding.limit for finding in found.failed} == {"max_flipped", "max_positive_change", "max_moved"}
    assert "a regression has no decisions that flip: limit max_psi or min_rank_correlation" in found.failed[0].note
    assert impact({"min_rank_correlation": 0.9, "max_psi": 0.1}, Measured(run="r", figures=figures, psi={})).failed
    assert impact(
        {"min_rank_correlation": 0.9, "max_psi": 0.1}, Measured(run="r", figures=figures, psi={"score": 0.02})
    ).passed
