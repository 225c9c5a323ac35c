"""Decoding nested columns: leaf by leaf, under the contract's names, and never the leaf of somebody else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataops.datasets import decode
from dataops.datasets.decode import decode_unit
from dataops.datasets.scan import read_unit
from dataops.datasets.source import read_fragments, read_schema
from dataops.errors import AccessDenied, ContractViolation, InvalidInput
from dataops.governance.contract import Column, Contract, Rule, RuleKind
from dataops.storage.files import open_files
from tests.datasets.examples import make_contract, make_source, units_of, write

ADDRESS = pa.struct([("street", pa.string()), ("Postal Code", pa.int32()), ("secret", pa.string())])
TABLE = pa.table(
    {
        "id": [1, 2, 3],
        "address": pa.array(
            [
                {"street": "a", "Postal Code": 7, "secret": "CANARY"},
                None,
                {"street": None, "Postal Code": 9, "secret": "CANARY"},
            ],
            ADDRESS,
        ),
        "orders": pa.array(
            [[{"sku": "x", "card": "CANARY"}], None, [None, {"sku": "y", "card": "CANARY"}]],
            pa.list_(pa.struct([("sku", pa.string()), ("card", pa.string())])),
        ),
        "tags": pa.array([[("k", "v")], [], None], pa.map_(pa.string(), pa.string())),
        "address.street": ["CANARY-flat"] * 3,
    }
)
COLUMNS = (
    Column(name="id", type=pa.int64()),
    Column(name="address.street", type=pa.string(), stored=("address", "street")),
    Column(name="address.code", type=pa.int64(), stored=("address", "Postal Code")),
    Column(name="address.secret", type=pa.string(), stored=("address", "secret"), classification="sensitive"),
    Column(name="orders.sku", type=pa.list_(pa.string()), stored=("orders", "sku")),
    Column(name="orders.card", type=pa.list_(pa.string()), stored=("orders", "card"), classification="pii.direct"),
    Column(name="tags.key", type=pa.list_(pa.string()), stored=("tags", "key")),
    Column(name="tags.value", type=pa.list_(pa.string()), stored=("tags", "value")),
    Column(name="flat", type=pa.string(), stored=("address.street",)),
)
GRANTED = ("id", "address.street", "address.code", "orders.sku", "tags.key", "tags.value")


def nested_contract(*rules: Rule) -> Contract:
    return make_contract(columns=COLUMNS, rules=rules)


def test_leaves_come_under_the_contracts_names_and_types(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", TABLE)
    (unit,) = units_of(tmp_path)
    found = decode_unit(make_source(tmp_path, contract=nested_contract()), unit, GRANTED).table
    assert found.to_pydict() == {
        "id": [1, 2, 3],
        "address.street": ["a", None, None],
        "address.code": [7, None, 9],
        "orders.sku": [["x"], None, [None, "y"]],
        "tags.key": [["k"], [], None],
        "tags.value": [["v"], [], None],
    }
    assert found.schema.types == [column.type for column in COLUMNS if column.name in GRANTED]
    assert found.schema.metadata is None


def test_a_leaf_is_not_decoded_for_its_neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.parquet", TABLE)
    asked: list[list[int]] = []

    def opened(*args: Any, **options: Any) -> Any:
        file = pq.ParquetFile(*args, **options)

        def read(*args: Any, column_indices: list[int], **options: Any) -> pa.Table:
            asked.append(column_indices)
            return file.reader.read_row_groups(*args, column_indices=column_indices, **options)

        reader = SimpleNamespace(read_row_groups=read)
        return SimpleNamespace(reader=reader, schema_arrow=file.schema_arrow, metadata=file.metadata)

    monkeypatch.setattr(decode, "pq", SimpleNamespace(ParquetFile=opened))
    (unit,) = units_of(tmp_path)
    found = decode_unit(make_source(tmp_path, contract=nested_contract()), unit, ("address.street", "orders.sku")).table
    assert asked == [[1, 4]]  # by number: `address.street` is the name of two leaves
    assert "CANARY" not in str(found.to_pydict())


def test_a_denied_leaf_of_a_granted_struct_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", TABLE)
    (unit,) = units_of(tmp_path)
    source = make_source(tmp_path, contract=nested_contract(), columns=dict.fromkeys(GRANTED))
    with pytest.raises(AccessDenied, match=r"address\.secret"):
        read_unit(source, unit, ["address.street", "address.secret"])


def test_rules_see_elements_and_set_whole_rows_aside(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", TABLE)
    (unit,) = units_of(tmp_path)
    rule = Rule(id="sku", kind=RuleKind.NOT_NULL, column="orders.sku")
    source = make_source(tmp_path, contract=nested_contract(rule), columns=dict.fromkeys(GRANTED))
    read = read_unit(source, unit, ["id", "orders.sku"])
    assert read.table.to_pydict() == {"id": [1, 2], "orders.sku": [["x"], None]}
    assert read.receipt.broken == {"sku": 1}


def test_a_struct_filter_may_look_where_the_reader_may_not(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", TABLE)
    (unit,) = units_of(tmp_path)
    source = make_source(
        tmp_path, contract=nested_contract(), columns={"id": None}, filters=["address.secret = 'CANARY'"]
    )
    assert read_unit(source, unit, ["id"]).table.to_pydict() == {"id": [1, 3]}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (TABLE.drop_columns("address"), r"lacks the column 'address\.street'"),
        (TABLE.append_column("ADDRESS", TABLE.column("id")), "'ADDRESS' can't be told from column 'address'"),
        (TABLE.append_column("address", TABLE.column("id")), "'address' can't be told from column 'address'"),
        (
            TABLE.set_column(1, "address", pa.array([{"street": 1}] * 3)),
            r"column 'address\.street' of a\.parquet is int64",
        ),
        (
            TABLE.set_column(1, "address", pa.array([[{"street": "CANARY"}]] * 3)),
            r"column 'address\.street' of a\.parquet is list<",
        ),
    ],
)
def test_files_that_changed_their_shape_are_refused_without_a_value(
    tmp_path: Path, table: pa.Table, expected: str
) -> None:
    write(tmp_path / "a.parquet", table)
    (unit,) = units_of(tmp_path)
    with pytest.raises(ContractViolation, match=expected) as refusal:
        decode_unit(make_source(tmp_path, contract=nested_contract()), unit, ("address.street",))
    assert "CANARY" not in str(refusal.value)


def test_a_partition_folder_may_have_any_name(tmp_path: Path) -> None:
    write(tmp_path / "Jahr%20A=2024" / "a.parquet", TABLE.select(["id"]))
    write(tmp_path / "Jahr%20A=__HIVE_DEFAULT_PARTITION__" / "a.parquet", TABLE.select(["id"]))
    columns = (COLUMNS[0], Column(name="year", type=pa.int16(), stored=("Jahr A",), partitioned=True))
    source = make_source(tmp_path, contract=make_contract(columns=columns))
    found = [decode_unit(source, unit, ("id", "year")).table for unit in units_of(tmp_path)]
    assert [table.column("year").to_pylist() for table in found] == [[2024] * 3, [None] * 3]
    assert found[0].schema.field("year").type == pa.int16()


def test_files_may_order_the_parts_of_a_struct_as_they_like(tmp_path: Path) -> None:
    other = pa.struct([(name, ADDRESS.field(name).type) for name in ("secret", "street", "Postal Code")])
    write(tmp_path / "a.parquet", TABLE)
    write(tmp_path / "b.parquet", TABLE.set_column(1, "address", pa.array(TABLE["address"].to_pylist(), other)))
    files = open_files(str(tmp_path))
    assert read_schema(files, read_fragments(files)).names == TABLE.column_names
    write(tmp_path / "c.parquet", TABLE.set_column(1, "address", pa.array([{"street": 1}] * 3)))
    with pytest.raises(InvalidInput, match=r"address\.street \(int64 and string\)"):
        read_schema(files, read_fragments(files))
