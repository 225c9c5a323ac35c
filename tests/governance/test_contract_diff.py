"""What a change of a contract means for readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given

from dataops.governance.contract import Action, Column, Contract, Rule, RuleKind
from dataops.governance.contract_diff import Effect, breaks_readers, changes
from tests.governance.test_contract import CONTRACTS

BREAKING, TIGHTER, LOOSER, COMPATIBLE = Effect
AGE = Column(name="age", type=pa.int16(), classification="pii.quasi")
NAME = Column(name="name", type=pa.string())
LIMIT = Rule(id="limit", kind=RuleKind.MAXIMUM, column="age", arguments={"value": 120}, action=Action.DROP, max_rows=10)
OLD = Contract(name="people", version="1", columns=(AGE, NAME), rules=(LIMIT,), roles=("a", "b"), retention_seconds=100)


def difference(new: Contract, old: Contract = OLD) -> dict[str, Effect]:
    """Subjects and effects of the changes but that of the version."""
    return {change.subject: change.effect for change in changes(old, replace(new, version="2"))}


def column(**changed: Any) -> Contract:
    return replace(OLD, columns=(replace(AGE, **changed), NAME))


def rule(**changed: Any) -> Contract:
    return replace(OLD, rules=(replace(LIMIT, **changed),))


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (replace(OLD, columns=(AGE,)), {"column 'name'": BREAKING}),
        (replace(OLD, columns=(NAME, AGE)), {}),
        (replace(OLD, columns=(AGE, NAME, replace(NAME, name="x"))), {"column 'x'": COMPATIBLE}),
        (replace(OLD, columns=(AGE, replace(NAME, name="x", stored=("name",)))), {"column 'name'": BREAKING}),
        (replace(OLD, columns=(AGE, replace(NAME, stored=("Name",)))), {"column 'name'": COMPATIBLE}),
        (column(type=pa.int32()), {"column 'age'": LOOSER}),
        (column(type=pa.int8()), {"column 'age'": BREAKING}),
        (column(type=pa.float64()), {"column 'age'": BREAKING}),
        (column(type=pa.list_(pa.int16())), {"column 'age'": BREAKING}),
        (column(classification="public"), {"column 'age'": BREAKING}),
        (column(partitioned=True), {"column 'age'": COMPATIBLE}),
        (column(description="years"), {}),
        (replace(OLD, rules=()), {"rule 'limit'": LOOSER}),
        (replace(OLD, rules=(LIMIT, replace(LIMIT, id="more"))), {"rule 'more'": TIGHTER}),
        (rule(arguments={"value": 130}), {"rule 'limit'": LOOSER}),
        (rule(arguments={"value": 110}), {"rule 'limit'": TIGHTER}),
        (rule(action=Action.FAIL), {"rule 'limit'": TIGHTER}),
        (rule(action=Action.WARN), {"rule 'limit'": LOOSER}),
        (rule(max_rows=5), {"rule 'limit'": TIGHTER}),
        (rule(max_rows=None), {"rule 'limit'": LOOSER}),
        (rule(max_percent=1.0), {"rule 'limit'": TIGHTER}),
        (rule(description="years"), {}),
        (replace(OLD, roles=("a",)), {"roles": BREAKING}),
        (replace(OLD, roles=("b", "a")), {}),
        (replace(OLD, roles=("a", "b", "c")), {"roles": LOOSER}),
        (replace(OLD, roles=None), {"roles": LOOSER}),
        (replace(OLD, roles=()), {"roles": BREAKING}),
        (replace(OLD, retention_seconds=50), {"retention": TIGHTER}),
        (replace(OLD, retention_seconds=None), {"retention": LOOSER}),
        (replace(OLD, primary_key=("name",)), {"primary key": BREAKING}),
    ],
)
def test_each_change_has_its_effect(new: Contract, expected: Mapping[str, Effect]) -> None:
    assert difference(new) == expected


def of_kind(kind: RuleKind, arguments: Mapping[str, Any]) -> Contract:
    return replace(OLD, rules=(replace(LIMIT, kind=kind, arguments=arguments),))


@pytest.mark.parametrize(
    ("kind", "narrow", "wide"),
    [
        (RuleKind.MINIMUM, {"value": 5}, {"value": 3.5}),
        (RuleKind.MINIMUM, {"value": "2026-01-31"}, {"value": "2025-01-31"}),
        (RuleKind.MAX_LENGTH, {"value": 5}, {"value": 7}),
        (RuleKind.MIN_ITEMS, {"value": 2}, {"value": 1}),
        (RuleKind.VALID_VALUES, {"values": ["a"]}, {"values": ["b", "a"]}),
        (RuleKind.NOT_MISSING, {"values": ["", "?"]}, {"values": [""]}),
        (RuleKind.UNIQUE, {"columns": ["age"]}, {"columns": ["name", "age"]}),
        (RuleKind.ROW_COUNT, {"minimum": 5, "maximum": 10}, {"minimum": None, "maximum": 20}),
        (RuleKind.FRESHNESS, {"column": None, "max_age_seconds": 5}, {"column": None, "max_age_seconds": 9}),
    ],
)
def test_a_rule_that_asks_less_is_looser(kind: RuleKind, narrow: dict[str, Any], wide: dict[str, Any]) -> None:
    assert difference(of_kind(kind, wide), of_kind(kind, narrow)) == {"rule 'limit'": LOOSER}
    assert difference(of_kind(kind, narrow), of_kind(kind, wide)) == {"rule 'limit'": TIGHTER}


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        (RuleKind.PATTERN, {"value": "a"}, {"value": "a|b"}),
        (RuleKind.EXPRESSION, {"sql": "age > 1"}, {"sql": "age > 0"}),
        (RuleKind.FRESHNESS, {"column": None, "max_age_seconds": 5}, {"column": "at", "max_age_seconds": 9}),
        (RuleKind.MINIMUM, {"value": 5}, {"value": "2026-01-31"}),
    ],
)
def test_what_cannot_be_compared_counts_as_tighter(kind: RuleKind, old: dict[str, Any], new: dict[str, Any]) -> None:
    assert difference(of_kind(kind, new), of_kind(kind, old)) == {"rule 'limit'": TIGHTER}


def test_a_contract_for_some_breaks_what_was_for_all() -> None:
    assert difference(OLD, replace(OLD, roles=None)) == {"roles": BREAKING}


def test_a_contract_that_nobody_may_read_is_told_from_one_for_all() -> None:
    nobody, anybody = replace(OLD, roles=()), replace(OLD, roles=None)
    assert difference(nobody, anybody) == {"roles": BREAKING}
    assert difference(anybody, nobody) == difference(OLD, nobody) == {"roles": LOOSER}
    found = next(change for change in changes(OLD, nobody) if change.subject == "roles")
    assert (found.what, found.reason) == ("a, b -> nobody", "nobody may read it any more")


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (RuleKind.UNIQUE, {"columns": ["age", "name"]}, {"columns": ["name", "age"]}),
        (RuleKind.VALID_VALUES, {"values": ["a", "b"]}, {"values": ["b", "a"]}),
        (RuleKind.NOT_MISSING, {"values": ["", "?"]}, {"values": ["?", ""]}),
    ],
)
def test_another_order_asks_the_same(kind: RuleKind, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert difference(of_kind(kind, one), of_kind(kind, other)) == {}


def test_a_reordered_primary_key_is_one_change() -> None:
    unique = replace(LIMIT, id="row.primary_key", kind=RuleKind.UNIQUE, column=None)
    old, new = (
        replace(OLD, primary_key=key, rules=(replace(unique, arguments={"columns": list(key)}),))
        for key in (("age", "name"), ("name", "age"))
    )
    assert difference(new, old) == {"primary key": BREAKING}


def test_a_rule_goes_with_its_column_without_a_word_of_its_own() -> None:
    assert difference(replace(OLD, columns=(NAME,), rules=())) == {"column 'age'": BREAKING}


def test_the_gravest_stand_first_and_an_old_version_is_told() -> None:
    found = changes(OLD, replace(OLD, columns=(NAME,), rules=(), retention_seconds=None))
    assert [change.effect for change in found] == [BREAKING, LOOSER, COMPATIBLE]
    assert found[-1].subject == "version"
    assert breaks_readers(found)
    assert not breaks_readers(found[1:])
    assert found[0].record() == {
        "effect": "breaking",
        "subject": "column 'age'",
        "change": "removed",
        "reason": "who reads it is refused",
    }


@given(contract=CONTRACTS)
def test_a_contract_does_not_differ_from_itself(contract: Contract) -> None:
    assert changes(contract, contract) == ()
