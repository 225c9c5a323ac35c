"""Rules of lists: a row breaks one if any element does; what speaks of the list itself; what can't be asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.governance.checking import check_rows, columns_of_rules
from dataops.governance.contract import Action, Column, Contract, Rule, RuleKind

COLUMNS = (
    Column(name="items.sku", type=pa.list_(pa.string()), stored=("items", "sku")),
    Column(name="items.pieces", type=pa.list_(pa.int64()), stored=("items", "pieces")),
    Column(name="shop", type=pa.string()),
)
ROWS = [
    {"items.sku": ["a", "b"], "items.pieces": [1, 2], "shop": "x"},
    {"items.sku": ["a", None], "items.pieces": [0, 5], "shop": None},
    {"items.sku": [], "items.pieces": [], "shop": "y"},
    {"items.sku": None, "items.pieces": None, "shop": "y"},
    {"items.sku": ["B"], "items.pieces": [None], "shop": "x"},
]
SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])


def broken(rule: Rule, rows: list[dict[str, Any]] = ROWS) -> list[int]:
    """The rows that break `rule`."""
    contract = Contract(name="c", version="1", columns=COLUMNS, rules=(rule,))
    checked = check_rows(contract, pa.Table.from_pylist(rows, schema=SCHEMA))
    aside = np.flatnonzero(~checked.keep).tolist()
    assert checked.broken == (len(aside),)
    return aside


def make_rule(kind: RuleKind, column: str = "items.sku", **arguments: Any) -> Rule:
    return Rule(id="r", kind=kind, column=column, arguments=arguments)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (make_rule(RuleKind.NOT_NULL), [1]),
        (make_rule(RuleKind.NOT_NULL, "items.pieces"), [4]),
        (make_rule(RuleKind.LIST_NOT_NULL), [3]),
        (make_rule(RuleKind.MIN_ITEMS, value=1), [2]),
        (make_rule(RuleKind.MAX_ITEMS, value=1), [0, 1]),
        (make_rule(RuleKind.PATTERN, value="[a-z]"), [4]),
        (make_rule(RuleKind.VALID_VALUES, values=["a", "B"]), [0]),
        (make_rule(RuleKind.NOT_MISSING, values=["B"]), [1, 4]),
        (make_rule(RuleKind.MINIMUM, "items.pieces", value=1), [1]),
        (make_rule(RuleKind.MAX_LENGTH, value=0), [0, 1, 4]),
        (make_rule(RuleKind.EXPRESSION, "items.pieces", sql="items.pieces % 2 = 1"), [0, 1]),
    ],
)
def test_one_bad_element_breaks_its_row(rule: Rule, expected: list[int]) -> None:
    assert broken(rule) == expected


def test_rules_of_lists_and_of_flat_columns_are_counted_side_by_side() -> None:
    rules = (
        Rule(id="shop", kind=RuleKind.NOT_NULL, column="shop", action=Action.DROP),
        Rule(id="sku", kind=RuleKind.NOT_NULL, column="items.sku", action=Action.QUARANTINE),
        Rule(id="unique", kind=RuleKind.UNIQUE, column="shop", arguments={"columns": ["shop"]}),
        Rule(id="rows", kind=RuleKind.ROW_COUNT, arguments={"minimum": 9, "maximum": None}, action=Action.FAIL),
    )
    contract = Contract(name="c", version="1", columns=COLUMNS, rules=rules)
    assert columns_of_rules(contract) == {"shop", "items.sku"}
    checked = check_rows(contract, pa.Table.from_pylist(ROWS, schema=SCHEMA))
    assert checked.broken == (1, 1, 0, 0)
    assert checked.rule_index.tolist() == [-1, 1, -1, -1, -1]


@given(
    lists=st.lists(st.none() | st.lists(st.none() | st.integers(-3, 3), max_size=4), max_size=8),
    at=st.integers(0, 8),
    kind=st.sampled_from([RuleKind.NOT_NULL, RuleKind.MINIMUM, RuleKind.MAX_ITEMS, RuleKind.LIST_NOT_NULL]),
)
def test_any_split_of_the_rows_breaks_the_same(lists: list[Any], at: int, kind: RuleKind) -> None:
    rule = make_rule(kind, "items.pieces", value=1)
    whole = pa.table({"items.pieces": pa.array(lists, pa.list_(pa.int64()))})
    contract = Contract(name="c", version="1", columns=COLUMNS, rules=(rule,))
    parts = [check_rows(contract, whole.slice(0, at)), check_rows(contract, whole.slice(at))]
    split = [keep for part in parts for keep in part.keep.tolist()]
    by_hand = {
        RuleKind.NOT_NULL: lambda one: one is None or None not in one,
        RuleKind.MINIMUM: lambda one: one is None or all(value is None or value >= 1 for value in one),
        RuleKind.MAX_ITEMS: lambda one: one is None or len(one) <= 1,
        RuleKind.LIST_NOT_NULL: lambda one: one is not None,
    }
    assert split == check_rows(contract, whole).keep.tolist() == [by_hand[kind](one) for one in lists]
