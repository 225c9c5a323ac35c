"""Which rows were judged: what decides that changes the digest, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from dataops.datasets.reading import Source
from dataops.features.steps import RowSteps
from dataops.governance.contract import Action, Column, Contract, Rule, RuleKind
from dataops.governance.expressions import parse_expression
from dataops.governance.grant import Effect
from dataops.governance.mask import Mask, MaskKind
from dataops.training.reading import Selection
from dataops.training.selection import selection_digests

TENS = Mask(kind=MaskKind.GENERALISE, width=10.0)
ADULTS = Rule(id="adults", kind=RuleKind.MINIMUM, column="age", arguments={"value": 18})
TYPES = {"age": pa.int64(), "sex": pa.string(), "income": pa.int64(), "split": pa.string(), "note": pa.string()}


def contract(*rules: Rule, **types: pa.DataType) -> Contract:
    columns = tuple(Column(name=name, type=kind) for name, kind in (TYPES | types).items())
    return Contract(name="people", version="1.0.0", columns=columns, rules=rules)


def effect(filters: tuple[str, ...] = (), least: int = 1, **masks: Mask) -> Effect:
    columns = {name: masks.get(name) for name in TYPES}
    return Effect(columns=columns, filters=filters, contract_digest="sha256:", min_group_size=least)


def expression(text: str) -> Any:
    return parse_expression(text, where="test")


def selection(rules: Contract | None = None, granted: Effect | None = None, **changes: Any) -> Selection:
    source = Source(
        dataset="people",
        url="memory://people",
        contract=rules or contract(),
        effect=granted or effect(),
        purpose="evaluate",
        keys_folder="",
    )
    given = {"read": ("age", "income"), "target": expression("income > 50"), "slices": ("sex",), **changes}
    return Selection(source=source, **given)


PLAIN = selection()
OTHER_ROWS = {
    "the target": selection(target=expression("income <= 50")),
    "known outcomes": selection(labelled=expression("note is not null")),
    "one side": selection(side="test"),
    "by a column": selection(side="test", split_column="split"),
    "the other side": selection(side="train", split_column="split"),
    "a filter": selection(granted=effect(filters=("age > 20",))),
    "a mask of the target's column": selection(granted=effect(income=TENS)),
    "where": selection(steps=RowSteps(where=expression("age > 20"))),
    "a rule of the contract": selection(contract(ADULTS)),
    "how the target is made": selection(
        target=expression("rich"), steps=RowSteps(derive=(("rich", expression("income > 50")),))
    ),
    "how the target is made otherwise": selection(
        target=expression("rich"), steps=RowSteps(derive=(("rich", expression("income > 60")),))
    ),
    "a type": selection(contract(income=pa.float64())),
}
SAME_ROWS = {
    "columns that are read": selection(read=("age", "income", "note")),
    "a mask of another column": selection(granted=effect(note=TENS)),
    "groups": selection(grouped=True),
    "a rule that only warns": selection(contract(replace(ADULTS, action=Action.WARN))),
    "a step that makes a feature": selection(steps=RowSteps(derive=(("old", expression("age > 60")),))),
}


def test_whatever_decides_which_rows_are_judged_has_a_digest_of_its_own() -> None:
    digests = [selection_digests(one)["rows"] for one in (PLAIN, *OTHER_ROWS.values())]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("what", SAME_ROWS)
def test_what_decides_nothing_about_the_rows_changes_no_digest(what: str) -> None:
    assert selection_digests(SAME_ROWS[what]) == selection_digests(PLAIN)


def test_the_order_of_filters_and_rules_decides_nothing() -> None:
    rules, filters = (ADULTS, replace(ADULTS, id="old", column="income")), ("age > 20", "income > 0")
    one, other = (selection(contract(*rules[::way]), effect(filters=filters[::way])) for way in (1, -1))
    assert selection_digests(one) == selection_digests(other)


@pytest.mark.parametrize(
    "changed", [effect(sex=Mask(kind=MaskKind.REDACT)), effect(least=20)], ids=["masked", "larger groups"]
)
def test_how_a_slice_is_made_is_told_by_itself(changed: Effect) -> None:
    before, after = selection_digests(PLAIN), selection_digests(selection(granted=changed))
    assert before["rows"] == after["rows"]
    assert before["slices"].keys() == after["slices"].keys() == {"sex"}
    assert before["slices"]["sex"] != after["slices"]["sex"]
    more = selection_digests(selection(slices=("sex", "age")))
    assert more["slices"]["sex"] == before["slices"]["sex"]
