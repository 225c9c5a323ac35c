from __future__ import annotations

from dataops.features.encoder import CategoricalColumn, Encoder, NumericColumn
from dataops.features.program import FeatureProgram
from dataops.features.steps import RowSteps
from dataops.governance.expressions import parse_expression
from dataops.governance.grant import ColumnDecision, Effect, Grant, Verdict
from dataops.governance.masking import Mask, MaskKind
from dataops.models.card import TrainedOn, write_card
from tests.features.profiles import refer

BANDS = Mask(kind=MaskKind.GENERALISE, width=5.0)
DROPPED = Mask(kind=MaskKind.DROP)


def make_grant(*more: ColumnDecision) -> Grant:
    decisions = (
        ColumnDecision(column="wage", verdict=Verdict.VISIBLE),
        ColumnDecision(column="age", verdict=Verdict.MASKED, mask=BANDS),
        ColumnDecision(column="name", verdict=Verdict.MASKED, mask=DROPPED),
        ColumnDecision(column="race", verdict=Verdict.DENIED, reason="denied by rule 'r'"),
        *more,
    )
    effect = Effect(columns={"wage": None, "age": BANDS}, filters=("secret_flag = 0",), contract_digest="sha256:cc")
    return Grant(
        principal="ada",
        roles=("science",),
        purpose="train",
        dataset="census",
        zone="historical",
        decisions=decisions,
        effect=effect,
        policy_digest="sha256:99",
    )


PROGRAM = FeatureProgram(
    sources=(("age", "int64"), ("wage", "double")),
    steps=RowSteps(
        generalise=(("age", BANDS),),
        derive=(("senior", parse_expression("age > 60", where="test")),),
        where=parse_expression("wage > 0", where="test"),
    ),
    encoder=Encoder(
        numeric=(NumericColumn(name="wage", fill=1.0, mean=1.0, scale=1.0),),
        categorical=(CategoricalColumn(name="senior", categories=("false", "true")),),
    ),
)
METRICS = {
    "test": {
        "rows": 12345,
        "overall": {"roc_auc": 0.91234, "roc_auc_error_bound": 0.0001, "log_loss": 0.2},
        "slices": {
            "sex": {
                "Female": {"rows": 6000, "roc_auc": 0.9, "roc_auc_error_bound": 0.0001},
                "Male": {"rows": 12, "too_small": "fewer than 20 rows"},
            }
        },
    }
}


def card(**changes) -> str:
    arguments = {
        "model": "income",
        "target": "income_over_50k",
        "trainer": "logistic",
        "params": {"l2": 1.0},
        "data": TrainedOn(dataset="census_training", snapshot="3", rows=150000),
        "grant": make_grant(),
        "program": PROGRAM,
        "metrics": METRICS,
        "purpose": "Whom to invite to a course.",
        "limits": ["Not for decisions about single people."],
    }
    return write_card(**{**arguments, **changes})


def test_the_card_says_what_it_is_for_and_what_it_learned_from():
    text = card()
    assert text.startswith("# Model card: income\n")
    assert "- **Purpose:** Whom to invite to a course." in text
    assert "- **Estimates the probability of:** income_over_50k" in text
    assert "- **Data:** census_training, snapshot 3, 150,000 rows" in text
    assert "- **Trainer:** logistic (l2 1.0)" in text


def test_the_card_says_in_words_which_columns_were_read_masked_and_denied():
    text = card()
    assert "- **Columns read as they are (1):** wage\n" in text
    assert "- **Columns masked (1):** age (generalise width 5)\n" in text
    assert "- **Columns denied, never read (2):** name (drop), race\n" in text
    assert "- **Rows:** those that 1 row filter(s) let through" in text


def test_what_a_row_filter_says_stays_with_the_policies():
    assert "secret_flag" not in card()


def test_the_card_lists_the_features_and_how_they_are_made():
    text = card()
    assert "- **Numeric (1):** wage\n" in text
    assert "- **Categorical (1):** senior (2 known values)\n" in text
    assert "- **Derived:** senior = age > 60\n" in text
    assert "- **Generalised:** age (generalise width 5)\n" in text
    assert "- **Rows it applies to:** wage > 0\n" in text


def test_the_card_shows_figures_overall_and_by_group_also_where_a_group_is_too_small():
    text = card()
    assert "| test | 12,345 | roc_auc | 0.91234 (± 0.0001) |" in text
    assert "| test | 12,345 | log_loss | 0.2 |" in text
    assert "### test by sex\n\n| sex | rows | roc_auc |" in text
    assert "| Female | 6,000 | 0.9 (± 0.0001) |" in text
    assert "| Male | 12 | fewer than 20 rows |" in text


def test_a_figure_that_is_taken_at_a_point_says_which():
    slices = {"sex": {"Female": {"rows": 60, "f1": 0.3}}}
    metrics = {"test": {"rows": 90, "overall": {"f1": 0.4, "brier": 0.1}, "threshold": 0.25, "slices": slices}}
    text = card(metrics=metrics)
    assert "| test | 90 | f1 (threshold 0.25) | 0.4 |" in text
    assert "| test | 90 | brier | 0.1 |" in text
    assert "| sex | rows | f1 (threshold 0.25) |" in text


def test_what_was_not_stated_or_done_is_said():
    text = card(purpose="", limits=[], metrics={})
    assert "- **Purpose:** none was stated" in text
    assert "- **Stated:** none, which doesn't mean there are none" in text
    assert "It was not evaluated." in text
    assert "It was not evaluated by group." in text


def test_names_and_group_values_can_not_change_the_page():
    hostile = "x|y\n# <b>fine</b>\x1b[0m"
    metrics = {"test": {"rows": 1, "overall": {}, "slices": {"sex": {hostile: {"rows": 1, "roc_auc": 0.5}}}}}
    grant = make_grant(ColumnDecision(column=hostile, verdict=Verdict.VISIBLE))
    text = card(metrics=metrics, grant=grant, purpose=hostile, limits=[hostile])
    assert "\x1b" not in text
    assert "<b>" not in text
    assert r"| x\|y \# &lt;b>fine&lt;/b>U+001B\[0m | 1 | 0.5 |" in text
    assert sum(line.startswith("# ") for line in text.splitlines()) == 1


def test_equal_runs_have_equal_cards():
    assert card() == card()


def test_the_card_says_what_drift_is_measured_against():
    assert "Nothing: no reference was counted." in card()
    reference = refer([(1.0, "a", 0.5, "east"), (2.0, "b", 0.2, "west")] * 20)
    text = card(reference=reference)
    assert "- **Rows:** the 40 of holdout, which it didn't learn from" in text
    assert "- **Counted:** 2 features and the score" in text
    assert "- **By slice:** side (2 values)" in text
    assert "- **Deciles of the score begin at:** 0.1, 0.2" in text
    assert "east" not in text
