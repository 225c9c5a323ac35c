from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataops.declarations.promotion import KINDS, Promotion, kind_of, read_promotion
from dataops.errors import InvalidInput


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "promotion.yaml"


def test_rules_are_read(path: Path) -> None:
    path.write_text(
        "model: income\nrules:\n- {metric: roc_auc, minimum: 0.9, max_loss: 0}\n"
        "- {metric: log_loss, dataset: census_1995, maximum: 0.2}\n"
    )
    first, second = read_promotion(path).rules
    assert (first.metric, first.dataset, first.minimum, first.max_loss) == ("roc_auc", None, 0.9, 0.0)
    assert (second.dataset, second.maximum) == ("census_1995", 0.2)


def test_no_rules_are_a_declaration_too(path: Path) -> None:
    path.write_text("model: income\nrules: []\n")
    assert read_promotion(path).rules == ()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{metric: roc_auc}", "rules[0]: bounds nothing: set minimum, maximum, max_loss or min_gain"),
        ("{metric: roc_auc, minimum: 0.9, maximum: 0.8}", "rules[0].minimum: minimum 0.9 is above maximum 0.8"),
        ("{metric: roc_auc, max_loss: -0.1}", "rules[0].max_loss: expected a number of at least 0, found"),
        ("{metric: roc_auk, minimum: 0.9}", "Did you mean 'roc_auc'?"),
        ("{metric: roc_auc, minimun: 0.9}", "rules[0].minimun: unknown key. Did you mean 'minimum'?"),
        ("{metric: roc_auc, minimum: .inf}", "rules[0].minimum: expected a number, found '.inf'"),
        ("{metric: roc_auc, minimum: 0.9, confidence: 0.95}", "rules[0].confidence: is about max_loss and min_gain"),
        ("{metric: calibration_error, max_loss: 0, confidence: 0.9}", "nobody counts how sure calibration_error is"),
        ("{metric: roc_auc, minimum: 0.9, slice: {column: sex, minrows: 9}}", "Did you mean 'min_rows'?"),
        ("{calable: {}}", "rules[0].calable: unknown key. Did you mean 'callable'?"),
        ("{callable: {secnds: 3}}", "rules[0].callable.secnds: unknown key. Did you mean 'seconds'?"),
        ("{schema: {age: int46}}", "rules[0].schema.age: no column type 'int46'. Did you mean 'int64'?"),
        ("{impact: {job: a, run: b, max_moved: 0.1}}", "rules[0].impact: is measured by one rescore: set job or run"),
        ("{impact: {job: a}}", "rules[0].impact: bounds nothing: set one of max_flipped"),
        ("{impact: {job: a, max_psi: 1}, slice: {column: sex}}", "rules[0].impact.max_psi: isn't known by slice"),
        ("{classifications: {allowed: [work, work]}}", "classifications.allowed[1]: 'work' is listed twice"),
        ("{nothing: 1}", "rules[0].metric: a required key is missing"),
        ("{metric: roc_auc, minimum: 0.9, callable: {}}", "rules[0].callable: unknown key"),
    ],
)
def test_a_gate_that_would_not_gate_is_refused(path: Path, rule: str, message: str) -> None:
    path.write_text(f"model: income\nrules:\n- {rule}\n")
    with pytest.raises(InvalidInput) as caught:
        read_promotion(path)
    assert message in str(caught.value)
    assert "promotion.yaml:3: " in str(caught.value)


def test_a_promotion_without_rules_key_is_refused(path: Path) -> None:
    path.write_text("model: income\n")
    with pytest.raises(InvalidInput, match="rules: a required key is missing"):
        read_promotion(path)


def test_each_kind_of_rule_is_told_by_its_own_key(path: Path) -> None:
    path.write_text(
        "format: 1\nmodel: income\nrules:\n"
        "- {metric: roc_auc, slice: {column: sex}, min_gain: 0.001, confidence: 0.95}\n"
        "- {callable: {memory_mb: 256}}\n- {schema: {age: int64}}\n"
        "- {impact: {job: compared, max_flipped: 0.05}}\n"
        "- {realised: {job: outcomes, metric: roc_auc, minimum: 0.6}}\n- {classifications: {allowed: []}}\n"
    )
    promotion = read_promotion(path)
    assert [kind_of(rule) for rule in promotion.rules] == list(KINDS)
    assert promotion.rules[0].slice.min_rows == 100  # type: ignore[union-attr]
    written = promotion.model_dump(mode="json", by_alias=True)
    assert Promotion.model_validate_json(json.dumps(written)) == promotion


def test_another_format_is_refused(path: Path) -> None:
    path.write_text("format: 2\nmodel: income\nrules: []\n")
    with pytest.raises(InvalidInput, match="format: expected 1, found the number 2"):
        read_promotion(path)
