"""What footers say of a read before it: which row groups may pass, which bytes are touched."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from dataops.datasets.footers import Expected, expect
from dataops.governance.contract import Column
from tests.datasets.examples import make_contract, make_source, units_of, write

AGES = pa.table({"age": pa.array(range(100), pa.int32()), "name": [f"person-{i}" for i in range(100)]})
COLUMNS = (Column(name="age", type=pa.int64()), Column(name="name", type=pa.string()))


def expected(folder: Path, *filters: str, columns: tuple[str, ...] = ("age",), made_of: pa.Table = AGES) -> Expected:
    write(folder / "a.parquet", made_of, row_group_size=10)
    source = make_source(folder, contract=make_contract(columns=COLUMNS), filters=filters)
    return expect(source, units_of(folder), columns)


@pytest.mark.parametrize(
    ("condition", "groups"),
    [
        ("age >= 95", 1),
        ("age < 20", 2),
        ("age = 34", 1),
        ("age between 15 and 25", 2),
        ("age > 100", 0),
        ("age > -1", 10),
    ],
)
def test_row_groups_without_a_row_that_passes_are_not_read(tmp_path: Path, condition: str, groups: int) -> None:
    found = expected(tmp_path, condition)
    assert (found.groups, found.groups_read, found.rows) == (10, groups, 10 * groups)


def test_all_filters_must_pass(tmp_path: Path) -> None:
    assert expected(tmp_path, "age > 50", "age < 40").groups_read == 0


def test_bytes_are_those_of_the_columns_that_are_read(tmp_path: Path) -> None:
    both, one = (expected(tmp_path / name, columns=names) for name, names in (("b", ("age", "name")), ("o", ("age",))))
    assert both.read_bytes == both.stored_bytes == one.stored_bytes
    assert 0 < one.read_bytes < both.read_bytes


def test_without_statistics_everything_may_pass(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", AGES, row_group_size=10, write_statistics=False)
    source = make_source(tmp_path, contract=make_contract(columns=COLUMNS), filters=["age > 1000"])
    assert expect(source, units_of(tmp_path), ["age"]).groups_read == 10


def test_a_partition_column_has_the_value_of_its_folder(tmp_path: Path) -> None:
    for year in (2023, 2024):
        write(tmp_path / f"year={year}" / "a.parquet", AGES)
    columns = (*COLUMNS, Column(name="year", type=pa.int32(), partitioned=True))
    source = make_source(tmp_path, contract=make_contract(columns=columns), filters=["year = 2024"])
    found = expect(source, units_of(tmp_path), ["age"])
    assert (found.groups, found.groups_read, found.rows) == (2, 1, 100)
