"""Contracts from Open Data Contract Standard files: what is read, what is refused with its line, what is drafted."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import InvalidInput
from dataops.governance.checking import table_columns_match
from dataops.governance.column_types import column_type, logical_type
from dataops.governance.contract import Action, Contract, RuleKind
from dataops.governance.draft import guess_classification
from dataops.governance.leaves import leaves_of, twin_findings
from dataops.governance.odcs import draft_contract, parse_contract

PERSON: dict[str, Any] = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "people",
    "name": "people",
    "version": "1.2.0",
    "status": "active",
    "schema": [
        {
            "name": "people",
            "properties": [
                {"name": "id", "logicalType": "string", "primaryKey": True, "classification": "pii.direct"},
                {
                    "name": "age",
                    "logicalType": "integer",
                    "physicalType": "int16",
                    "required": True,
                    "classification": "pii.quasi",
                    "description": "full years",
                    "logicalTypeOptions": {"minimum": 0, "maximum": 120},
                    "quality": [
                        {"id": "adult", "type": "sql", "query": "age >= 18", "mustBeLessThan": 5, "unit": "percent"}
                    ],
                },
                {
                    "name": "state",
                    "logicalType": "string",
                    "enum": [{"value": "CA"}, {"value": "NY"}],
                    "logicalTypeOptions": {"pattern": "[A-Z]+", "maxLength": 2},
                    "quality": [
                        {"metric": "missingValues", "arguments": {"missingValues": [None, "", "N/A"]}, "mustBe": 0},
                        {
                            "type": "library",
                            "metric": "invalidValues",
                            "arguments": {"validValues": ["CA", "NY"]},
                            "mustBeLessThan": 10,
                            "customProperties": [{"property": "action", "value": "drop"}],
                        },
                        {"metric": "nullValues", "mustBeBetween": [0, 7]},
                        {"metric": "nullValues"},
                    ],
                },
                {"name": "seen", "logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}},
                {"name": "year", "logicalType": "integer", "partitioned": True},
            ],
            "quality": [{"type": "sql", "query": "age < 90 or state is not null"}],
        }
    ],
}
PROPERTIES = ("schema", 0, "properties")


def lines_of(value: Any, place: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], int]:
    """A line for every place, as the loader gives them: here, the order of a walk."""
    places = [place]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        places += lines_of(child, (*place, key))
    return {found: number for number, found in enumerate(places, start=1)}


def parse(value: Any) -> Contract:
    return parse_contract(value, source="contracts/x.yaml", lines=lines_of(value))


def changed(change: Callable[[Any], object]) -> dict[str, Any]:
    value = copy.deepcopy(PERSON)
    change(value)
    return value


def test_columns_are_read_with_types_and_classifications() -> None:
    contract = parse(PERSON)
    assert (contract.name, contract.version) == ("people", "1.2.0")
    assert [(c.name, c.type, c.required, c.classification) for c in contract.columns] == [
        ("id", pa.string(), True, "pii.direct"),
        ("age", pa.int16(), True, "pii.quasi"),
        ("state", pa.string(), False, "unclassified"),
        ("seen", pa.timestamp("us", "UTC"), False, "unclassified"),
        ("year", pa.int64(), False, "unclassified"),
    ]
    assert contract.column("year").partitioned
    assert contract.column("age").description == "full years"


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (None, None),
        ([{"role": "loader", "access": "write"}], ()),
        ([{"role": "loader", "access": "write"}, {"role": "analyst"}], ("analyst",)),
    ],
)
def test_roles_that_are_named_and_may_not_read_leave_nobody(roles: Any, expected: tuple[str, ...] | None) -> None:
    contract = parse(changed(lambda value: value.update({"roles": roles} if roles else {})))
    assert contract.roles == expected
    assert Contract.from_record(contract.record()).roles == expected


def test_rules_are_read_with_ids_limits_and_actions() -> None:
    rules = {rule.id: rule for rule in parse(PERSON).rules}
    assert list(rules) == [
        *("id.not_null", "id.unique", "age.not_null", "age.minimum", "age.maximum", "adult"),
        *("state.pattern", "state.max_length", "state.valid_values"),
        *("state.missingValues", "state.invalidValues", "state.nullValues", "state.nullValues.2", "row.sql"),
    ]
    assert rules["adult"].kind == RuleKind.EXPRESSION
    assert rules["adult"].max_percent is not None
    assert 4.99 < rules["adult"].max_percent < 5
    assert rules["state.missingValues"].max_rows == 0
    assert rules["state.invalidValues"].max_rows == 9
    assert rules["state.invalidValues"].action == Action.DROP
    assert rules["state.nullValues"].max_rows == 7
    assert rules["state.nullValues.2"].max_rows is None
    assert rules["row.sql"].column is None
    assert rules["age.minimum"].action == Action.QUARANTINE


def test_a_column_sets_the_action_of_its_own_rules() -> None:
    def warn(value: Any) -> None:
        value["schema"][0]["properties"][1]["customProperties"] = [{"property": "action", "value": "warn"}]

    rules = {rule.id: rule for rule in parse(changed(warn)).rules}
    assert rules["age.minimum"].action == Action.WARN
    assert rules["adult"].action == Action.QUARANTINE


def at(*place: str | int) -> Callable[[Any], Any]:
    def find(value: Any) -> Any:
        for part in place:
            value = value[part]
        return value

    return find


def setting(*place: str | int, to: Any) -> Callable[[Any], object]:
    return lambda value: at(*place[:-1])(value).__setitem__(place[-1], to)


def quality(**check: Any) -> Callable[[Any], object]:
    return setting(*PROPERTIES, 1, "quality", 0, to=check)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (setting("statuss", to="x"), "statuss: unknown key. Did you mean 'status'?"),
        (setting(*PROPERTIES, 0, "classificaton", to="x"), "Did you mean 'classification'?"),
        (setting(*PROPERTIES, 1, "quality", 0, "mustBeLess", to=1), "unknown key. Did you mean 'mustBeLessThan'?"),
        (setting("kind", to="Contract"), "kind: expected DataContract"),
        (setting("apiVersion", to="v2.2.0"), "apiVersion: expected a version 3"),
        (setting("version", to=None), "'version' is missing"),
        (setting("schema", to=[]), "expected one table, found 0"),
        (lambda value: value.pop("schema"), "'schema' is missing: a list with the one table"),
        (setting("schema", 0, "properties", to=[]), "list the columns"),
        (setting(*PROPERTIES, 0, "name", to="AGE"), "can't be told from"),
        (setting(*PROPERTIES, 0, "name", to=None), "can't name a column"),
        (setting(*PROPERTIES, 0, "logicalType", to=None), "needs a logicalType or a physicalType"),
        (setting(*PROPERTIES, 0, "logicalType", to="sting"), "Did you mean 'string'?"),
        (setting(*PROPERTIES, 0, "logicalType", to="array"), "'items' is missing"),
        (setting(*PROPERTIES, 0, "logicalType", to="time"), "no type of a column"),
        (setting(*PROPERTIES, 1, "physicalType", to="int61"), "Did you mean 'int64'?"),
        (setting(*PROPERTIES, 1, "physicalType", to="float32"), "no physical type of logicalType integer"),
        (setting(*PROPERTIES, 1, "required", to="yes"), "required: expected true or false, found 'yes'"),
        (setting(*PROPERTIES, 1, "name", to=7), "name: expected text, found the number 7"),
        (setting(*PROPERTIES, to="id"), "expected a list, found 'id'"),
        (setting(*PROPERTIES, 0, "physicalName", to="AGE"), "is that of the files already"),
        (setting(*PROPERTIES, 0, "name", to="first name"), "write the files' name as physicalName"),
        (setting(*PROPERTIES, 0, "name", to="a.b"), "can't name a column in a contract"),
        (setting(*PROPERTIES, 0, "encryptedName", to="x"), "use a policy's pseudonym"),
        (setting(*PROPERTIES, 0, "classification", to=" "), "classification: empty"),
        (setting(*PROPERTIES, 1, "logicalTypeOptions", to={"minimun": 0}), "Did you mean 'minimum'?"),
        (setting(*PROPERTIES, 1, "logicalTypeOptions", to={"format": "i32"}), "the physicalType says int16"),
        (setting(*PROPERTIES, 1, "logicalTypeOptions", to={"format": "i128"}), "no format of a number"),
        (setting(*PROPERTIES, 2, "logicalTypeOptions", to={"format": "mail"}), "Did you mean 'email'?"),
        (setting(*PROPERTIES, 3, "logicalTypeOptions", to={"format": "yyyy"}), "leave the format out"),
        (setting(*PROPERTIES, 3, "logicalTypeOptions", to={"timezone": "UTC"}), "expected true or false"),
        (setting(*PROPERTIES, 1, "logicalTypeOptions", to={"minimum": True}), "expected a number"),
        (
            setting(*PROPERTIES, 1, "logicalTypeOptions", to={"minimum": "low"}),
            'expected a number, found the text "low"',
        ),
        (
            setting(*PROPERTIES, 1, "logicalTypeOptions", to={"maximum": "60"}),
            'logicalTypeOptions.maximum: expected a number such as 60, found the text "60"',
        ),
        (
            setting(*PROPERTIES, 1, "logicalTypeOptions", to={"minimum": 60, "maximum": 48}),
            "logicalTypeOptions.maximum: 48 is below minimum 60: no row can pass",
        ),
        (
            setting(*PROPERTIES, 1, "logicalTypeOptions", to={"minimum": 60, "exclusiveMaximum": 60}),
            "60 is not above minimum 60: no row can pass",
        ),
        (
            setting(*PROPERTIES, 2, "logicalTypeOptions", to={"minLength": 3, "maxLength": 2}),
            "maxLength: 2 is below minLength 3: no row can pass",
        ),
        (setting(*PROPERTIES, 1, "logicalTypeOptions", to={"multipleOf": 0}), "at least 1"),
        (setting(*PROPERTIES, 1, "logicalTypeOptions", to={"pattern": "x"}), "pattern takes text"),
        (setting(*PROPERTIES, 2, "logicalTypeOptions", to={"pattern": "(a"}), "pattern can't be read"),
        (setting(*PROPERTIES, 2, "logicalTypeOptions", to={"pattern": "(?=a)"}), "look-around"),
        (setting(*PROPERTIES, 2, "logicalTypeOptions", to={"pattern": "x" * 2000}), "at most 1000"),
        (quality(type="sql", query="agee > 1"), "unknown column 'agee'. Did you mean 'age'?"),
        (quality(type="sql", query="select count(*) from people"), "subqueries are not allowed"),
        (quality(type="sql", query="age + 1"), "expected a condition"),
        (quality(type="sql", query="1 = 1"), "at least one column"),
        (quality(type="sql"), "'query' is missing"),
        (quality(type="text", description="nice"), "checks of type 'text' aren't executed"),
        (quality(type="custom", engine="soda", implementation="x"), "other engines"),
        (quality(metric="freshness"), "is no metric that can be checked"),
        (quality(metric="rowCount", mustBe=0), "belongs to the table"),
        (quality(metric="nullValue"), "Did you mean 'nullValues'?"),
        (quality(rule="nullValues"), "renamed to 'metric'"),
        (quality(), "'metric' is missing"),
        (quality(metric="nullValues", schedule="0 1 * * *"), "not by a schedule"),
        (quality(metric="nullValues", mustBe=3), "expected an upper bound"),
        (quality(metric="nullValues", mustBeGreaterThan=3), "expected an upper bound"),
        (quality(metric="nullValues", mustBeLessThan=0), "expected an upper bound"),
        (quality(metric="nullValues", mustBeLessOrEqualTo=-1), "expected an upper bound"),
        (quality(metric="nullValues", mustBeBetween=[1, 2]), "expected an upper bound"),
        (quality(metric="nullValues", mustBe=0, mustBeLessThan=3), "one operator is enough"),
        (quality(metric="nullValues", mustBe=0, unit="percents"), "Did you mean 'percent'?"),
        (
            quality(metric="nullValues", customProperties=[{"property": "action", "value": "quarantin"}]),
            "Did you mean 'quarantine'?",
        ),
        (
            quality(metric="nullValues", customProperties=[{"property": "acton", "value": "drop"}]),
            "Did you mean 'action'?",
        ),
        (
            quality(metric="nullValues", mustBeLessThan=3, customProperties=[{"property": "action", "value": "fail"}]),
            "takes no limit",
        ),
        (quality(metric="invalidValues", arguments={"validValue": [1]}), "Did you mean 'validValues'?"),
        (quality(metric="invalidValues", arguments={"validValues": [1], "pattern": "x"}), "two checks"),
        (quality(metric="invalidValues", arguments={"validValues": []}), "at least one"),
        (quality(metric="invalidValues", arguments={"validValues": [[1]]}), "list of values"),
        (quality(metric="invalidValues", arguments={"validValues": [None]}), "no valid value"),
        (quality(metric="invalidValues", arguments={"validValues": ["x"]}), "can't take text and whole numbers"),
        (setting("schema", 0, "quality", to=[{"metric": "nullValues"}]), "belongs to a column"),
        (setting("schema", 0, "quality", 0, "id", to="adult"), "has the id 'adult' too"),
    ],
)
def test_what_cannot_be_executed_is_refused_with_its_line(change: Callable[[Any], object], expected: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse(changed(change))
    messages = str(refusal.value).splitlines()
    assert any(expected in message for message in messages), str(refusal.value)
    assert all(message.startswith("contracts/x.yaml:") for message in messages)


def test_a_finding_stands_at_the_line_of_its_value() -> None:
    value = changed(setting(*PROPERTIES, 1, "quality", 0, "query", to="agee > 1"))
    with pytest.raises(InvalidInput) as refusal:
        parse(value)
    line = lines_of(value)[(*PROPERTIES, 1, "quality", 0)]
    assert str(refusal.value).startswith(f"contracts/x.yaml:{line}: schema[0].properties[1].quality[0]: ")


def test_all_findings_are_told_at_once() -> None:
    def twice(value: Any) -> None:
        value["schema"][0]["properties"][1]["quality"][0]["query"] = "agee > 1"
        value["schema"][0]["quality"][0]["query"] = "sttate = 'CA'"

    with pytest.raises(InvalidInput) as refusal:
        parse(changed(twice))
    assert len(str(refusal.value).splitlines()) == 2


@pytest.mark.parametrize(
    "value", [None, [], "x", 3, {}, {"schema": "x"}, {"schema": [None]}, {"schema": [{"properties": [3]}]}]
)
def test_other_documents_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"contracts/x\.yaml"):
        parse(value)


# --- drafts

FLAT = st.sampled_from(
    [
        *(pa.int8(), pa.uint32(), pa.float32(), pa.string(), pa.large_string(), pa.bool_(), pa.date32(), pa.date64()),
        *(pa.timestamp("ns", "UTC"), pa.timestamp("ms"), pa.decimal128(12, 3), pa.dictionary(pa.int8(), pa.string())),
    ]
)
LEAVES = FLAT | st.sampled_from([pa.binary(), pa.null(), pa.time64("us")])
FIELD_NAMES = st.text(st.characters(codec="utf-8"), max_size=6)


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    return (
        inner.map(pa.list_)
        | inner.map(lambda kind: pa.list_(kind, 2))
        | inner.map(lambda kind: pa.map_(pa.string(), kind))
        | st.dictionaries(FIELD_NAMES, inner, min_size=1, max_size=3).map(lambda parts: pa.struct(list(parts.items())))
    )


OTHER = _nested(st.recursive(LEAVES, _nested, max_leaves=4)) | LEAVES
NAMES = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    flat=st.dictionaries(NAMES, FLAT, min_size=1, max_size=5),
    other=st.dictionaries(NAMES, OTHER, max_size=2),
    data=st.data(),
)
def test_a_draft_is_read_back_and_fits_the_files(
    flat: dict[str, pa.DataType], other: dict[str, pa.DataType], data: st.DataObject
) -> None:
    schema = pa.schema([*flat.items(), *((name, kind) for name, kind in other.items() if name not in flat)])
    if twin_findings(schema):
        with pytest.raises(InvalidInput):
            draft_contract("x", schema)
        return
    partitions = data.draw(st.sets(st.sampled_from(sorted(flat))))
    contract = parse(yaml.safe_load(draft_contract("some-data", schema, partitions=partitions)))
    readable = [leaf.path for leaf in leaves_of(schema) if logical_type(column_type(leaf.type))]
    assert [column.path for column in contract.columns] == readable
    assert all(name.isascii() for column in contract.columns for name in [column.name])
    assert table_columns_match(contract, schema) == []
    assert {column.path[0] for column in contract.columns if column.partitioned} == partitions
    assert contract.rules == ()


def test_a_draft_guesses_to_the_strict_side_and_says_that_all_is_denied() -> None:
    text = draft_contract("people", pa.schema([("email", pa.string()), ("arr_delay", pa.int16())]))
    assert "Nobody can read any of this until a policy allows it" in text
    assert parse(yaml.safe_load(text)).column("email").classification == "pii.direct"


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("SSN", "pii.direct"),
        ("firstName", "pii.direct"),
        ("customer_id", "pii.direct"),
        ("date of birth", "pii.direct"),
        ("phone2", "pii.direct"),
        ("sick_days", "sensitive.health"),
        ("diagnoses", "sensitive.health"),
        ("patientDisability", "sensitive.health"),
        ("medical_record", "sensitive.health"),
        ("race", "sensitive"),
        ("hispanic_origin", "sensitive"),
        ("wage_per_hour", "sensitive"),
        ("age", "pii.quasi"),
        ("zip_code", "pii.quasi"),
        ("sex", "pii.quasi"),
        ("storage", "unclassified"),
        ("arr_delay", "unclassified"),
    ],
)
def test_classifications_are_guessed_from_the_words_of_a_name(name: str, guess: str) -> None:
    assert guess_classification(name) == guess


def test_files_without_a_flat_column_get_no_draft() -> None:
    with pytest.raises(InvalidInput, match="none of its 1 columns holds anything"):
        draft_contract("x", pa.schema([("l", pa.list_(pa.binary()))]))


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (lambda v: v.update(roles=[]), ("roles",), "names no role"),
        (lambda v: column_of(v, 2).update(enum=[]), (*PROPERTIES, 2, "enum"), "lists no value"),
        (
            lambda v: column_of(v, 1).update(primaryKeyPosition=1),
            (*PROPERTIES, 1, "primaryKeyPosition"),
            "a key that the column isn't part of",
        ),
        (
            lambda v: column_of(v, 1)["quality"][0].update(mustBeLessThan=101),
            (*PROPERTIES, 1, "quality", 0, "mustBeLessThan"),
            "100 percent",
        ),
        (
            lambda v: v["schema"][0]["quality"][0].update(mustBeLessOrEqualTo=100.5, unit="percent"),
            ("schema", 0, "quality", 0, "mustBeLessOrEqualTo"),
            "100 percent",
        ),
        (lambda v: column_of(v, 3).update(name="quarantine_rule"), (*PROPERTIES, 3), "physicalName"),
        (lambda v: column_of(v, 3).update(name="Quarantine_X"), (*PROPERTIES, 3), "'quarantine_' begins"),
    ],
)
def test_what_would_be_skipped_is_refused_with_its_line(
    change: Callable[[Any], object], place: tuple[str | int, ...], words: str
) -> None:
    value = changed(change)
    with pytest.raises(InvalidInput) as caught:
        parse(value)
    (finding,) = str(caught.value).split("\n")
    assert finding.startswith(f"contracts/x.yaml:{lines_of(value)[place]}:")
    assert words in finding


def test_limits_up_to_all_rows_and_no_place_in_a_key_are_let_through() -> None:
    def change(value: Any) -> None:
        column_of(value, 1)["quality"][0]["mustBeLessThan"] = 100
        value["schema"][0]["quality"][0].update(mustBeLessOrEqualTo=100, unit="percent")
        column_of(value, 1)["primaryKeyPosition"] = -1
        column_of(value, 0)["primaryKeyPosition"] = 1

    contract = parse(changed(change))
    assert contract.primary_key == ("id",)
    assert {rule.id: rule.max_percent for rule in contract.rules}["row.sql"] == 100


def test_a_draft_maps_names_that_quarantine_files_keep_for_themselves() -> None:
    schema = pa.schema([("quarantine_rule", pa.string()), ("column_quarantine_rule", pa.int64())])
    contract = parse(yaml.safe_load(draft_contract("cases", schema)))
    assert [(column.name, column.path) for column in contract.columns] == [
        ("column_quarantine_rule_2", ("quarantine_rule",)),
        ("column_quarantine_rule", ("column_quarantine_rule",)),
    ]


def column_of(value: Any, position: int) -> Any:
    return value["schema"][0]["properties"][position]
