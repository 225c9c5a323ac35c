"""What footers say of a read before it: which row groups may pass, which bytes are touched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from dataops.datasets.footers import Expected, expect
from dataops.governance.contract import Column
from dataops.governance.expressions import Expression, parse_expression
from tests.datasets.examples import make_contract, units_of, write

AGES = pa.table({"age": pa.array(range(100), pa.int32()), "name": [f"person-{i}" for i in range(100)]})
COLUMNS = (Column(name="age", type=pa.int64()), Column(name="name", type=pa.string()))


def parsed(filters: Iterable[str]) -> list[Expression]:
    return [parse_expression(text, where="test") for text in filters]


def expected(folder: Path, *filters: str, columns: tuple[str, ...] = ("age",), made_of: pa.Table = AGES) -> Expected:
    write(folder / "a.parquet", made_of, row_group_size=10)
    return expect(str(folder), make_contract(columns=COLUMNS), units_of(folder), columns, parsed(filters))


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
    contract = make_contract(columns=COLUMNS)
    assert expect(str(tmp_path), contract, units_of(tmp_path), ["age"], parsed(["age > 1000"])).groups_read == 10


def test_a_partition_column_has_the_value_of_its_folder(tmp_path: Path) -> None:
    for year in (2023, 2024):
        write(tmp_path / f"year={year}" / "a.parquet", AGES)
    columns = (*COLUMNS, Column(name="year", type=pa.int32(), partitioned=True))
    contract = make_contract(columns=columns)
    found = expect(str(tmp_path), contract, units_of(tmp_path), ["age"], parsed(["year = 2024"]))
    assert (found.groups, found.groups_read, found.rows) == (2, 1, 100)


def test_of_very_many_files_some_are_looked_at_and_no_row_is_missed(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path / f"part-{number}.parquet")
    contract, units, where = make_contract(columns=COLUMNS), units_of(tmp_path), parsed(["age > 1000"])
    every = expect(str(tmp_path), contract, units, ["age"], where)
    assert (every.rows, every.files, every.files_looked_at) == (0, 10, 10)
    some = expect(str(tmp_path), contract, units, ["age"], where, most_files=4)
    assert (some.files, some.files_looked_at, some.groups) == (10, 4, every.groups)
    assert some.rows == 6 * 4  # of files that weren't looked at any row may pass
    assert some.stored_bytes == every.stored_bytes
    assert expect(str(tmp_path), contract, (), ["age"], where).files == 0
