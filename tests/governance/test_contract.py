"""Contracts as values: records, digests, names."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import Format, InvalidInput, NotFound
from dataops.governance.column_types import LOGICAL_TYPES, casts_losslessly, logical_type, parse_type, spell_type
from dataops.governance.contract import Action, Column, Contract, Rule, RuleKind, derived_contract

TYPES = st.sampled_from(
    [
        *(
            pa.int8(),
            pa.uint64(),
            pa.float16(),
            pa.float32(),
            pa.float64(),
            pa.string(),
            pa.bool_(),
            pa.date32(),
            pa.date64(),
        ),
        *(pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("ns", "Europe/Berlin"), pa.decimal128(10, 2), pa.null()),
    ]
)
TYPES |= TYPES.map(pa.list_)
TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
COLUMNS = st.builds(
    Column,
    name=TEXT,
    type=TYPES,
    required=st.booleans(),
    classification=TEXT,
    partitioned=st.booleans(),
    description=TEXT,
    masks=st.lists(TEXT, max_size=2).map(tuple),
    stored=st.lists(TEXT, max_size=2).map(tuple),
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
RULES = st.builds(
    Rule,
    id=TEXT,
    kind=st.sampled_from(RuleKind),
    column=st.none() | TEXT,
    arguments=st.dictionaries(TEXT, SCALARS | st.lists(SCALARS, max_size=3), max_size=2),
    action=st.sampled_from(Action),
    max_rows=st.none() | st.integers(0, 10),
    max_percent=st.none() | st.floats(0, 100),
    description=TEXT,
)
CONTRACTS = st.builds(
    Contract,
    name=TEXT,
    version=TEXT,
    columns=st.lists(COLUMNS, max_size=3).map(tuple),
    rules=st.lists(RULES, max_size=3).map(tuple),
    roles=st.none() | st.lists(TEXT, max_size=2).map(tuple),
    retention_seconds=st.none() | st.integers(0, 10),
    primary_key=st.lists(TEXT, max_size=2).map(tuple),
)


@given(contract=CONTRACTS)
def test_a_record_comes_back_as_the_same_contract(contract: Contract) -> None:
    again = Contract.from_record(json.loads(json.dumps(contract.record())))
    assert again == contract
    assert again.digest == contract.digest
    assert pickle.loads(pickle.dumps(contract)) == contract


@given(column=COLUMNS, other=COLUMNS)
def test_the_digest_covers_all_but_descriptions(column: Column, other: Column) -> None:
    digests = [Contract(name="c", version="1", columns=(one,)).digest for one in (column, other)]
    same = replace(column, description="") == replace(other, description="")
    assert (digests[0] == digests[1]) == same


@pytest.mark.parametrize(
    "record", [{}, None, {"name": 1}, {"name": "x", "type": "list", "masks": []}, {"name": "x", "typ": "int8"}]
)
def test_another_record_is_refused(record: object) -> None:
    for kind in (Column, Rule, Contract):
        with pytest.raises(Format):
            kind.from_record(record)  # type: ignore[attr-defined]


@given(kind=TYPES)
def test_a_type_is_read_as_it_was_spelled(kind: pa.DataType) -> None:
    assert parse_type(spell_type(kind)) == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("VARCHAR(20)", pa.string()),
        ("BIGINT", pa.int64()),
        ("DOUBLE", pa.float64()),
        ("FLOAT", pa.float32()),
        ("DECIMAL(10,2)", pa.decimal128(10, 2)),
        ("timestamp[ms, tz=UTC]", pa.timestamp("ms", "UTC")),
        ("large_string", pa.string()),
    ],
)
def test_other_names_of_types_are_read(text: str, kind: pa.DataType) -> None:
    assert parse_type(text) == kind


def test_an_unknown_type_is_refused_with_its_near_match() -> None:
    with pytest.raises(InvalidInput, match="Did you mean 'float32'"):
        parse_type("floot32")
    for text in (
        "list<>",
        "list<list<int8>>",
        "list<binary>",
        "decimal(2,5)",
        "decimal(99,1)",
        "binary",
        "timestamp[h]",
    ):
        with pytest.raises(InvalidInput):
            parse_type(text)


def test_logical_types_are_those_of_the_standard() -> None:
    assert {logical_type(kind): kind for kind in LOGICAL_TYPES.values()} == dict(LOGICAL_TYPES)
    assert logical_type(pa.dictionary(pa.int8(), pa.large_string())) == "string"
    assert logical_type(pa.list_(pa.int8())) == "array"
    assert logical_type(pa.list_(pa.binary())) is None
    assert logical_type(pa.struct([("a", pa.int8())])) is None
    assert logical_type(pa.binary()) is None


@pytest.mark.parametrize(
    ("stored", "wanted", "fits"),
    [
        (pa.int8(), pa.int64(), True),
        (pa.int64(), pa.int8(), False),
        (pa.uint8(), pa.int16(), True),
        (pa.uint64(), pa.int64(), False),
        (pa.int8(), pa.uint64(), False),
        (pa.int32(), pa.float64(), True),
        (pa.int64(), pa.float64(), False),
        (pa.int32(), pa.float32(), False),
        (pa.float32(), pa.float64(), True),
        (pa.float64(), pa.float32(), False),
        (pa.dictionary(pa.int8(), pa.string()), pa.string(), True),
        (pa.large_string(), pa.string(), True),
        (pa.string(), pa.int64(), False),
        (pa.int64(), pa.string(), False),
        (pa.timestamp("ms"), pa.timestamp("us"), True),
        (pa.timestamp("ns"), pa.timestamp("us"), False),
        (pa.timestamp("us"), pa.timestamp("us", "UTC"), False),
        (pa.date32(), pa.timestamp("us"), True),
        (pa.timestamp("us"), pa.date32(), False),
        (pa.decimal128(5, 2), pa.decimal128(9, 4), True),
        (pa.decimal128(5, 2), pa.decimal128(5, 3), False),
        (pa.null(), pa.int8(), True),
        (pa.bool_(), pa.int8(), False),
        (pa.list_(pa.int8()), pa.list_(pa.int64()), True),
        (pa.list_(pa.int8(), 2), pa.list_(pa.int8()), True),
        (pa.large_list(pa.dictionary(pa.int8(), pa.string())), pa.list_(pa.string()), True),
        (pa.list_(pa.int64()), pa.list_(pa.int8()), False),
        (pa.list_(pa.int8()), pa.int8(), False),
        (pa.int8(), pa.list_(pa.int8()), False),
    ],
)
def test_which_casts_lose_nothing(stored: pa.DataType, wanted: pa.DataType, fits: bool) -> None:
    assert casts_losslessly(stored, wanted) is fits


def test_rules_of_rows_and_of_the_dataset_are_told_apart() -> None:
    rules = tuple(Rule(id=str(kind), kind=kind) for kind in RuleKind)
    contract = Contract(name="c", version="1", columns=(), rules=rules)
    assert [rule.id for rule in contract.dataset_rules] == ["unique", "row_count", "freshness"]
    assert len(contract.row_rules) == len(rules) - 3
    assert not {rule.id for rule in contract.row_rules} & {rule.id for rule in contract.dataset_rules}


def test_what_we_made_is_stored_flat_under_its_names() -> None:
    street = Column(name="address.street", type=pa.string(), stored=("address", "Straße"))
    assert street.path == ("address", "Straße")
    assert derived_contract("x", [street]).columns[0].path == ("address.street",)


def test_an_unknown_column_is_named_with_its_near_match() -> None:
    contract = derived_contract(
        "x", [Column(name="age", type=pa.int8()), Column(name="sex", type=pa.string(), required=True)]
    )
    assert contract.column("age").type == pa.int8()
    with pytest.raises(NotFound, match="Did you mean 'age'"):
        contract.column("agee")


@pytest.mark.parametrize(
    "names",
    [
        ["ssn", "SSN"],
        ["ssn", "\uff53\uff53\uff4e"],
        ["ssn", "ssn"],
        ["ssn "],
        [""],
        ["s\u200bsn"],
        ["a\x00"],
        ["x" * 300],
    ],
)
def test_names_that_pass_for_others_are_refused(names: list[str]) -> None:
    with pytest.raises(InvalidInput):
        derived_contract("x", [Column(name=name, type=pa.int8()) for name in names])
