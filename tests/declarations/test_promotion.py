from __future__ import annotations

from pathlib import Path

import pytest

from dataops.declarations.promotion import read_promotion
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
        ("{metric: roc_auc}", "rules[0]: bounds nothing: set minimum, maximum or max_loss"),
        ("{metric: roc_auc, minimum: 0.9, maximum: 0.8}", "rules[0].minimum: minimum 0.9 is above maximum 0.8"),
        ("{metric: roc_auc, max_loss: -0.1}", "rules[0].max_loss: expected a number of at least 0, found"),
        ("{metric: roc_auk, minimum: 0.9}", "Did you mean 'roc_auc'?"),
        ("{metric: roc_auc, minimun: 0.9}", "rules[0].minimun: unknown key. Did you mean 'minimum'?"),
        ("{metric: roc_auc, minimum: .inf}", "rules[0].minimum: expected a number, found '.inf'"),
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
