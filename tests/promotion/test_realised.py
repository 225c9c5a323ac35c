"""The rule `realised`: what an evaluate job measured of candidate and champion on the same rows, and its edges."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.declarations.promotion import Promotion
from dataops.promotion.findings import Evidence, Judged, Outcome
from dataops.promotion.gates import judge
from dataops.promotion.verdict import tell, verdict_page, verdict_record

BOTH = Judged(
    run="later-1",
    rows=900,
    candidate={"roc_auc": 0.71, "log_loss": 0.40},
    champion={"roc_auc": 0.70, "log_loss": 0.39},
)


def realised(limits: dict[str, Any], judged: Judged | str = BOTH, **known: Any):
    asked = {"job": "later", "metric": "roc_auc", **limits}
    promotion = Promotion.model_validate({"model": "income", "rules": [{"realised": asked}]}, strict=False)
    (rule,) = promotion.rules
    evidence = Evidence(candidate={}, realised={rule.realised: judged}, **{"champion": {}, **known})  # type: ignore[union-attr]
    return judge(evidence, promotion)


@pytest.mark.parametrize(
    ("limits", "outcome", "bound"),
    [
        ({"minimum": 0.71}, "passed", 0.71),
        ({"minimum": 0.72}, "failed", 0.72),
        ({"maximum": 0.7}, "failed", 0.7),
        ({"max_loss": 0.0}, "passed", 0.70),
        ({"min_gain": 0.01}, "passed", 0.71),
        ({"min_gain": 0.011}, "failed", 0.711),
        ({"metric": "log_loss", "max_loss": 0.01}, "passed", 0.40),
        ({"metric": "log_loss", "max_loss": 0.009}, "failed", 0.399),
        ({"metric": "log_loss", "min_gain": 0.0}, "failed", 0.39),
    ],
)
def test_each_limit_is_judged_on_the_rows_of_both(limits, outcome, bound):
    found = realised(limits)
    (finding,) = found.findings
    assert (str(finding.outcome), finding.bound) == (outcome, pytest.approx(bound))
    assert (finding.kind, finding.dataset, finding.rows) == ("realised", "later-1", 900)
    assert found.passed is (outcome == "passed")


def test_a_refusal_says_the_run_and_both_figures():
    (finding,) = realised({"min_gain": 0.02}).failed
    assert tell(finding.record()) == (
        "rule 1, roc_auc on later-1: 0.71, has to gain 0.02 on the champion (to 0.72); the champion has 0.7"
    )


def test_the_page_says_which_values_are_better():
    found = realised({"max_loss": 0.0})
    record = verdict_record(
        found,
        model="income",
        version=2,
        version_digest="sha256:2",
        alias="champion",
        champion={"version": 1, "generation": 1, "digest": "sha256:1"},
        promotion={},
        actor="ana",
        reason="better",
        judged_at="now",
        override=None,
    )
    page = verdict_page(record)
    assert "Of roc_auc higher is better." in page
    assert "| 1 | roc_auc | later-1 | 900 | 0.71 | may lose 0 against the champion (to 0.7) | 0.7 | passed |" in page


@pytest.mark.parametrize(
    ("limits", "judged", "why"),
    [
        ({"minimum": 0.5}, "no run of job 'later' is done here", "no run of job 'later' is done here"),
        ({"minimum": 0.5, "min_rows": 901}, BOTH, "judged 900 rows that both scored, and fewer than 901 don't count"),
        ({"minimum": 0.5, "metric": "brier"}, BOTH, "later-1 has no brier of the candidate. Known: "),
        ({"minimum": 0.5, "max_age_days": 7}, BOTH, "nobody knows how old later-1 is"),
        (
            {"minimum": 0.5, "max_age_days": 7},
            Judged(run="later-1", rows=900, candidate={"roc_auc": 0.9}, age=timedelta(days=8)),
            "later-1 is 8.0 days old, and one of more than 7 isn't judged",
        ),
        (
            {"max_loss": 1},
            Judged(run="r", rows=900, candidate={"roc_auc": float("nan")}),
            "roc_auc of the candidate is",
        ),
        (
            {"max_loss": 1},
            Judged(run="r", rows=900, candidate={"roc_auc": 0.9}, champion={"roc_auc": None}),
            "roc_auc of the champion is undefined in r",
        ),
    ],
)
def test_what_cannot_be_judged_fails_and_says_why(limits, judged, why):
    found = realised(limits, judged)
    (finding,) = found.findings
    assert finding.outcome is Outcome.FAILED
    assert why in finding.note
    assert not found.passed


def test_without_a_champion_absolute_limits_decide():
    alone = Judged(run="later-1", rows=900, candidate={"roc_auc": 0.71})
    found = realised({"minimum": 0.7, "min_gain": 0.1}, alone, champion=None)
    assert [str(one.outcome) for one in found.findings] == ["passed", "skipped"]
    assert found.passed


def test_the_champion_itself_is_not_judged_against_itself():
    found = realised({"minimum": 0.99}, "nothing", is_champion=True)
    assert [str(one.outcome) for one in found.findings] == ["skipped"]
    assert not found.passed


def test_limits_that_bound_nothing_or_let_nothing_pass_are_refused():
    def parse(**limits: float) -> None:
        rule = {"realised": {"job": "later", "metric": "roc_auc", **limits}}
        Promotion.model_validate({"model": "income", "rules": [rule]}, strict=False)

    with pytest.raises(ValueError, match="bounds nothing: set one of minimum, maximum, max_loss, min_gain"):
        parse()
    with pytest.raises(ValueError, match="nothing can pass"):
        parse(minimum=0.8, maximum=0.7)


figures = st.floats(0.0, 1.0)


@given(figures, figures, st.sampled_from(["minimum", "max_loss", "min_gain"]), st.floats(0, 0.3), st.floats(0, 0.3))
def test_a_tighter_limit_turns_no_refusal_into_a_pass(ours, theirs, limit, loose, step):
    judged = Judged(run="r", rows=900, candidate={"roc_auc": ours}, champion={"roc_auc": theirs})
    tight = max(loose - step, 0) if limit == "max_loss" else loose + step
    assert realised({limit: loose}, judged).passed or not realised({limit: tight}, judged).passed
    few = realised({limit: loose, "min_rows": 901}, judged)
    assert not few.passed
