from __future__ import annotations

import json

from dataops.declarations.promotion import Promotion
from dataops.promotion.findings import Evidence
from dataops.promotion.gates import judge
from dataops.promotion.verdict import verdict_page, verdict_record
from dataops.records import canonical_bytes
from tests.registry.examples import make_metrics

RULES = Promotion.model_validate(
    {
        "model": "income",
        "rules": [{"metric": "roc_auc", "minimum": 0.85}, {"metric": "log_loss", "max_loss": 0.01}],
    }
)
CIRCUMSTANCES = {
    "model": "income",
    "version": 2,
    "version_digest": "sha256:22",
    "alias": "champion",
    "champion": {"version": 1, "digest": "sha256:11", "generation": 4},
    "promotion": RULES.model_dump(mode="json"),
    "actor": "ada",
    "reason": "spring data",
    "judged_at": "2026-01-31T12:00:00.000000Z",
}


def record(metrics=None, champion=None, **changes):
    verdict = judge(Evidence(candidate=metrics or make_metrics(roc_auc=0.84), champion=champion), RULES)
    return json.loads(canonical_bytes(verdict_record(verdict, **{**CIRCUMSTANCES, **changes})))


def test_the_page_says_each_rule_with_value_limit_and_champion():
    page = verdict_page(record(champion=make_metrics(log_loss=0.195)))
    assert page == (
        "# income version 2 is not promoted to champion\n"
        "\n"
        "- **Why:** 1 of 2 limits failed\n"
        "- **Compared with:** version 1, generation 4 of the alias (sha256:11)\n"
        "- **Asked for by:** ada, at 2026-01-31T12:00:00.000000Z: spring data\n"
        "- **Version digest:** sha256:22\n"
        "\n"
        "## What failed\n"
        "\n"
        "- rule 1, roc_auc on holdout: 0.84, at least 0.85\n"
        "\n"
        "## Rules\n"
        "\n"
        "Each limit of each rule of the promotion file, in its order; all of them have to hold. Of roc_auc higher is "
        "better. Of log_loss lower is better.\n"
        "\n"
        "| rule | what | of | rows | value | limit | champion | outcome |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| 1 | roc_auc | holdout | 1,000 | 0.84 | at least 0.85 | 0.9 | **FAILED** |\n"
        "| 2 | log_loss | holdout | 1,000 | 0.2 | may lose 0.01 against the champion (to 0.205) | 0.195 | passed |\n"
    )


def test_a_first_champion_is_said_to_be_the_first():
    page = verdict_page(record(metrics=make_metrics(), champion=None) | {"champion": None})
    assert "# income version 2 may be promoted to champion" in page
    assert "nothing, there is no champion yet" in page
    assert (
        "## What could not be judged\n\n"
        "- rule 2, log_loss on holdout: 0.2, may lose 0.01 against the champion; no champion yet\n" in page
    )
    assert "may lose 0.01 against the champion |  | skipped |" in page


def test_a_verdict_without_rules_says_that_none_were_set():
    empty = verdict_record(
        judge(Evidence(candidate=make_metrics()), Promotion(model="income", rules=())), **CIRCUMSTANCES
    )
    assert verdict_page(empty).endswith("## Rules\n\nNone were set.\n")


def test_a_reason_can_neither_add_a_line_nor_a_cell_nor_markup():
    hostile = (
        "fine |\n| 9 | holdout | roc_auc | 1 | \x1b[32mpassed <img src=x>\u202e\n# income version 2 may be promoted"
    )
    page = verdict_page(record(reason=hostile, actor="a|b\n"))
    assert len(page.splitlines()) == len(verdict_page(record()).splitlines())
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert r"fine \| \| 9 \| holdout" in page


def test_what_was_not_judged_for_one_reason_is_told_in_one_line():
    rules = [{"metric": "roc_auc", "slice": {"column": "sex", "min_rows": least}, "max_loss": 0} for least in (1, 500)]
    promotion = Promotion.model_validate({"model": "income", "rules": rules}, strict=False)
    found = judge(Evidence(candidate=make_metrics()), promotion)
    page = verdict_page(verdict_record(found, **{**CIRCUMSTANCES, "champion": None}))
    assert (
        "## What could not be judged\n"
        "\n"
        "- no champion yet: 3 limits, of rules 1 and 2\n"
        "- rule 2, roc_auc on holdout where sex is Female: 480 rows, and fewer than 500 aren't judged\n"
        "\n" in page
    )
