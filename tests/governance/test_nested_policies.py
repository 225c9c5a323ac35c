"""Policies over nested columns: each leaf is decided on; who restricts a nested column restricts all that is in it."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from dataops.errors import AccessDenied
from dataops.governance.contract import Column, Contract
from dataops.governance.grant import Verdict
from dataops.governance.rules import Rule
from tests.governance.contracts import parse_orders
from tests.governance.policies import NULL, allow, ask, deny, masks

LEAVES = Contract(
    name="census",
    version="1",
    columns=(
        Column(name="address.street", type=pa.string(), classification="pii.direct", stored=("address", "street")),
        Column(
            name="address.geo.lat", type=pa.float64(), classification="pii.direct", stored=("address", "geo", "lat")
        ),
        Column(name="addressed", type=pa.string(), classification="work"),
        Column(name="orders.sku", type=pa.list_(pa.string()), classification="work", stored=("orders", "sku")),
    ),
)
ALL = allow(classifications=("pii.*", "work"))


def verdicts(*rules: Rule, contract: Contract = LEAVES) -> dict[str, Verdict]:
    return {decision.column: decision.verdict for decision in ask(*rules, contract=contract).decisions}


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("address", {"address.street", "address.geo.lat"}),
        ("ADDRESS", {"address.street", "address.geo.lat"}),
        ("address.geo", {"address.geo.lat"}),
        ("address.street", {"address.street"}),
        ("orders", {"orders.sku"}),
        ("addr", set()),
        ("street", set()),
    ],
)
def test_a_restriction_of_a_nested_column_reaches_all_its_parts(name: str, reached: set[str]) -> None:
    denied = verdicts(ALL, deny("no", names=(name,), classifications=()))
    assert {column for column, verdict in denied.items() if verdict == Verdict.DENIED} == reached
    masked = verdicts(ALL, masks("hide", NULL, names=(name,), classifications=()))
    assert {column for column, verdict in masked.items() if verdict == Verdict.MASKED} == reached


def test_an_allowing_rule_names_each_leaf() -> None:
    for name in ("address", "address.geo"):
        with pytest.raises(AccessDenied, match="no rule allows it"):
            verdicts(allow(names=(name,), classifications=()))
    found = verdicts(allow(names=("address.street",), classifications=()))
    assert [column for column, verdict in found.items() if verdict == Verdict.VISIBLE] == ["address.street"]


def test_what_was_derived_from_a_part_is_reached_too() -> None:
    derived = Column(name="town", type=pa.string(), classification="work", origins=("address.street",))
    contract = replace(LEAVES, columns=(*LEAVES.columns, derived))
    assert (
        verdicts(ALL, deny("no", names=("address",), classifications=()), contract=contract)["town"] == Verdict.DENIED
    )


def test_leaves_of_one_struct_have_classifications_of_their_own() -> None:
    contract = replace(parse_orders(), roles=None)
    found = verdicts(allow(classifications=("public", "work")), contract=contract)
    assert [name for name, verdict in found.items() if verdict == Verdict.VISIBLE] == ["address.country", "notes.key"]
