"""Nested columns, keys, promises, roles and names of Open Data Contract Standard files."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import InvalidInput
from dataops.governance.checking import columns_of_rules, table_columns_match
from dataops.governance.contract import Action, RuleKind
from dataops.governance.names import identifier, identifier_finding
from dataops.governance.text_formats import FORMATS
from tests.governance.contracts import (
    ADDRESS,
    HOSTILE_NAMES,
    ITEMS,
    MAIL,
    NOTES,
    NUMBER,
    PLACED_AT,
    PROPERTIES,
    SHOP,
    STORED,
    parse_orders,
    removing,
    setting,
)

DAY = 86_400


def test_every_leaf_is_a_column_with_its_own_classification() -> None:
    columns = parse_orders().columns
    assert [(c.name, c.type, c.classification, c.path) for c in columns] == [
        ("number", pa.int64(), "unclassified", ("number",)),
        ("shop", pa.string(), "unclassified", ("shop",)),
        ("placed_at", pa.timestamp("us"), "unclassified", ("Placed At (UTC)",)),
        ("address.street", pa.string(), "pii.direct", ("address", "street")),
        ("address.country", pa.string(), "public", ("address", "Land")),
        ("items.sku", pa.list_(pa.string()), "unclassified", ("items", "sku")),
        ("items.pieces", pa.list_(pa.int64()), "unclassified", ("items", "pieces")),
        ("notes.key", pa.list_(pa.string()), "work", ("notes", "key")),
        ("notes.value", pa.list_(pa.string()), "sensitive.text", ("notes", "value")),
        ("mail", pa.string(), "unclassified", ("mail",)),
    ]


def test_rules_of_the_dataset_stand_beside_those_of_its_rows() -> None:
    contract = parse_orders()
    rules = {rule.id: rule for rule in contract.rules}
    assert [rule.id for rule in contract.dataset_rules] == [
        *("mail.unique", "row.primary_key", "row.rowCount", "row.duplicateValues"),
        *("placed_at.freshness", "row.latency"),
    ]
    assert (
        rules["row.primary_key"].arguments == {"columns": ["shop", "number"]} == {"columns": list(contract.primary_key)}
    )
    assert rules["row.duplicateValues"].arguments == {"columns": ["shop", "placed_at"]}
    assert rules["row.duplicateValues"].max_rows == 4
    assert rules["row.rowCount"].arguments == {"minimum": 1, "maximum": 1000}
    assert rules["placed_at.freshness"].arguments == {"column": "placed_at", "max_age_seconds": 36 * 3600}
    assert rules["row.latency"].arguments == {"column": None, "max_age_seconds": 2 * DAY}
    assert (rules["row.rowCount"].action, rules["row.latency"].action) == (Action.FAIL, Action.WARN)
    assert {"shop.not_null", "number.not_null"} < set(rules)
    assert contract.roles == ("analyst", "owner")
    assert contract.retention_seconds == 3 * 365 * DAY


def test_rules_of_lists_say_whether_they_ask_of_the_list_or_of_its_elements() -> None:
    contract = parse_orders()
    rules = {rule.id: rule for rule in contract.row_rules}
    asked = {name: (rule.kind, rule.column, rule.action) for name, rule in rules.items() if name.startswith("items")}
    assert asked == {
        "items.list_not_null": (RuleKind.LIST_NOT_NULL, "items.sku", Action.DROP),
        "items.min_items": (RuleKind.MIN_ITEMS, "items.sku", Action.DROP),
        "items.max_items": (RuleKind.MAX_ITEMS, "items.sku", Action.DROP),
        "items.sku.not_null": (RuleKind.NOT_NULL, "items.sku", Action.QUARANTINE),
        "items.sku.pattern": (RuleKind.PATTERN, "items.sku", Action.QUARANTINE),
    }
    assert (rules["some"].kind, rules["some"].column) == (RuleKind.EXPRESSION, "items.pieces")
    assert "address.street" in columns_of_rules(contract)
    assert "placed_at" not in columns_of_rules(contract)


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("mustBe", 7, (7, 7)),
        ("mustNotBe", 0, (1, None)),
        ("mustBeGreaterThan", 2.5, (3, None)),
        ("mustBeGreaterOrEqualTo", 2.5, (3, None)),
        ("mustBeLessThan", 10, (None, 9)),
        ("mustBeLessOrEqualTo", 10, (None, 10)),
        ("mustBeBetween", [2, 5], (2, 5)),
        ("mustNotBeBetween", [0, 10], (11, None)),
    ],
)
def test_a_row_count_takes_any_operator_that_means_a_range(
    operator: str, value: Any, expected: tuple[Any, ...]
) -> None:
    contract = parse_orders(setting("schema", 0, "quality", 0, to={"metric": "rowCount", operator: value}))
    rule = next(rule for rule in contract.rules if rule.kind == RuleKind.ROW_COUNT)
    assert (rule.arguments["minimum"], rule.arguments["maximum"]) == expected


def test_a_key_of_one_column_is_a_rule_of_that_column() -> None:
    contract = parse_orders(removing(*SHOP, "primaryKey"), removing(*SHOP, "primaryKeyPosition"))
    assert contract.primary_key == ("number",)
    assert "number.unique" in {rule.id for rule in contract.dataset_rules}


def count(**check: Any) -> Callable[[Any], object]:
    return setting("schema", 0, "quality", 0, to={"metric": "rowCount", **check})


def promise(**changes: Any) -> Callable[[Any], object]:
    return setting("slaProperties", 1, to={"property": "freshness", "value": 1, "unit": "d", **changes})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (count(), "an operator is missing"),
        (count(mustBe=2.5), "expected a range"),
        (count(mustNotBe=3), "expected a range"),
        (count(mustBeLessThan=0), "expected a range"),
        (count(mustBeBetween=[5, 2]), "expected a range"),
        (count(mustBe=3, unit="percent"), "in rows"),
        (count(mustBe=3, arguments={"x": 1}), "unknown argument"),
        (count(mustBe=3, customProperties=[{"property": "action", "value": "drop"}]), "can but warn or fail"),
        (setting("schema", 0, "quality", 1, "arguments", "properties", to=["shopp"]), "Did you mean 'shop'?"),
        (setting("schema", 0, "quality", 1, "arguments", "properties", to=["items.sku"]), "holds lists"),
        (setting("schema", 0, "quality", 1, "arguments", to={}), "takes properties"),
        (promise(unit="m"), "write min or months"),
        (promise(unit="fortnight"), "expected a unit of time"),
        (promise(unit=None), "expected a unit of time"),
        (promise(value="1"), "expected a number above 0"),
        (promise(value=-1), "expected a number above 0"),
        (promise(value=True), "expected a number above 0"),
        (promise(value=1e9), "1,000 years"),
        (promise(valueExt=3), "one value is enough"),
        (promise(element="orders.placedat"), "Did you mean 'placed_at'?"),
        (promise(element="orders.shop"), "age is told by a date or a time"),
        (promise(element="placed_at, number"), "One element a promise"),
        (promise(property="freshnes"), "Did you mean 'freshness'?"),
        (promise(customProperties=[{"property": "action", "value": "quarantine"}]), "can but warn or fail"),
        (setting("slaProperties", 0, "element", to="orders.placed_at"), "not by a column"),
        (promise(property="retention"), "promised twice"),
        (setting("roles", 0, "access", to="reed"), "Did you mean 'read'?"),
        (setting("roles", 0, "role", to=" "), "'role' is missing"),
        (setting(*NUMBER, "primaryKeyPosition", to=1), "a primaryKeyPosition of its own"),
        (removing(*NUMBER, "primaryKeyPosition"), "a primaryKeyPosition of its own"),
        (setting(*ADDRESS, "required", to=False), "required below 'address'"),
        (setting(*ADDRESS, "properties", 0, "required", to=False), "no part of it is required"),
        (setting(*ADDRESS, "unique", to=True), "write it below 'properties'"),
        (setting(*ADDRESS, "logicalType", to="array"), "with 'properties' it is object"),
        (setting(*ADDRESS, "logicalTypeOptions", to={"minProperties": 1}), "objects aren't checked as such"),
        (setting(*ADDRESS, "items", to={"logicalType": "string"}), "exclude one another"),
        (setting(*ADDRESS, "properties", 0, "partitioned", to=True), "a column of its own"),
        (setting(*ADDRESS, "properties", 0, "name", to="Country"), "can't be told from"),
        (setting(*ITEMS, "quality", to=[{"metric": "nullValues"}]), "write it below 'items'"),
        (setting(*ITEMS, "logicalTypeOptions", to={"uniqueItems": True}), "aren't looked for"),
        (setting(*ITEMS, "logicalTypeOptions", to={"minItem": 1}), "Did you mean 'minItems'?"),
        (setting(*ITEMS, "items", "properties", 0, "unique", to=True), "inside a list"),
        (setting(*ITEMS, "items", "properties", 0, "primaryKey", to=True), "inside a list"),
        (setting(*ITEMS, "items", "properties", 1, "quality", 0, "query", to="items.pieces > number"), "holds lists"),
        (setting("schema", 0, "quality", 0, to={"type": "sql", "query": "items.sku = 'x'"}), "holds lists"),
        (
            setting(*ITEMS, "items", to={"logicalType": "array", "required": True, "items": {"logicalType": "string"}}),
            "list within a list",
        ),
        (setting(*NOTES, "map", to={}), "'key' and 'value' are missing"),
        (setting(*NOTES, "map", "value", "logicalType", to="strin"), "Did you mean 'string'?"),
        (setting(*PLACED_AT, "physicalName", to="SHOP"), "is that of the files already"),
        (setting(*MAIL, "physicalType", to="list<string>"), "with 'items'"),
    ],
)
def test_what_cannot_be_executed_is_refused(change: Callable[[Any], object], expected: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_orders(change)
    assert expected in str(refusal.value)
    assert all(line.startswith("contracts/orders.yaml:1: ") for line in str(refusal.value).splitlines())


def test_deep_nesting_is_refused() -> None:
    inner: dict[str, Any] = {"name": "x", "logicalType": "string"}
    for _ in range(20):
        inner = {"name": "x", "logicalType": "object", "properties": [inner]}
    with pytest.raises(InvalidInput, match="nested deeper than 16 levels"):
        parse_orders(setting(*PROPERTIES, 3, to=inner))


def test_an_unlisted_leaf_is_a_finding_as_an_unlisted_column_is() -> None:
    assert table_columns_match(parse_orders(), STORED) == []
    findings = table_columns_match(parse_orders(removing(*ITEMS, "items", "properties", 1)), STORED)
    assert findings == ["column 'items.pieces' is not in the contract: list it, with its classification"]
    missing = STORED.set(3, pa.field("address", pa.struct([("street", pa.string())])))
    (finding,) = table_columns_match(parse_orders(), missing)
    assert finding.startswith("column 'address.country' ('address.Land' in the files) is missing from the files.")


def test_neighbours_that_look_alike_are_findings_at_any_depth() -> None:
    twice = STORED.set(3, pa.field("address", pa.struct([(n, pa.string()) for n in ("street", "Land", "STREET")])))
    assert "column 'address.STREET' can't be told from column 'address.street'" in table_columns_match(
        parse_orders(), twice
    )


# --- names


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_refused_in_a_contract_and_can_be_mapped_to_a_plain_one(name: str) -> None:
    with pytest.raises(InvalidInput, match="can't name a column in a contract"):
        parse_orders(setting(*MAIL, "name", to=name))
    mapped = parse_orders(setting(*MAIL, "physicalName", to=name))
    assert mapped.column("mail").path == (name,)
    renamed = pa.schema([pa.field(name if field.name == "mail" else field.name, field.type) for field in STORED])
    assert table_columns_match(mapped, renamed) == []


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_hostile_name_hides_a_column_of_the_files(name: str) -> None:
    findings = table_columns_match(parse_orders(), STORED.append(pa.field(name, pa.string())))
    assert findings
    assert all(finding.isprintable() for finding in findings)


def test_there_are_sixty_hostile_names() -> None:
    assert len(set(HOSTILE_NAMES)) >= 60


@given(names=st.lists(st.text(st.characters(codec="utf-8"), max_size=10), max_size=5))
def test_any_name_gets_a_plain_one_that_nobody_else_has(names: list[str]) -> None:
    taken: set[str] = set()
    for name in names:
        plain = identifier(name, taken)
        assert identifier_finding(plain) is None
        assert plain.casefold() not in taken
        taken.add(plain.casefold())


# --- formats


def _matches(kind: str, text: str) -> bool:
    return bool(pc.match_substring_regex(pa.array([text]), f"^(?:{FORMATS[kind]})$").to_pylist()[0])


@given(text=st.ip_addresses(v=6).flatmap(lambda ip: st.sampled_from([str(ip), ip.exploded, str(ip).upper()])))
def test_every_address_of_version_6_is_one(text: str) -> None:
    assert _matches("ipv6", text)


@given(parts=st.lists(st.sampled_from(["", "0", "1f", "abcd", "12345", "g", "1.2.3.4", "::"]), max_size=9))
def test_an_address_of_version_6_is_what_the_library_says(parts: list[str]) -> None:
    text = ":".join(parts)
    try:
        ipaddress.IPv6Address(text)
        expected = True
    except ValueError:
        expected = False
    assert _matches("ipv6", text) is expected


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("email", "ana.b+c@mail.example.org", "ana@@example.org"),
        ("email", "a@b", "a b@c"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"),
        ("ipv4", "255.0.10.1", "256.0.10.1"),
        ("ipv4", "9.0.0.0", "01.2.3.4"),
        ("uri", "https://example.org/a?b=%20#c", "example.org"),
        ("uri", "urn:isbn:0451450523", "https://exa mple.org"),
        ("hostname", "db-1.example.org", "-db.example.org"),
        ("hostname", "localhost", "a..b"),
    ],
)
def test_formats_say_what_text_looks_like(kind: str, good: str, bad: str) -> None:
    assert _matches(kind, good)
    assert not _matches(kind, bad)
