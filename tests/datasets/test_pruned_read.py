"""Row groups in which no row can pass aren't decoded; what is read is the same as if they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.decode import decode_unit
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.governance.expressions import parse_expression
from tests.datasets.examples import AGE_LIMIT, make_contract, make_source, units_of, write

READ = ("person", "age", "trade")


def people(ages: list[int | None]) -> pa.Table:
    names = [f"p{place}" for place in range(len(ages))]
    table = {"person": names, "age": pa.array(ages, pa.int32()), "trade": ["smith"] * len(ages), "secret": names}
    return pa.table(table)


def read(folder: Path, ages: list[int | None], condition: str, **options: Any) -> list[GovernedRead]:
    write(folder / "a.parquet", people(ages), row_group_size=4, **options)
    source = make_source(folder, contract=make_contract(rules=[AGE_LIMIT]), filters=[condition])
    return [read_unit(source, unit, READ) for unit in units_of(folder)]


def told(reads: list[GovernedRead]) -> list[Any]:
    return [(one.table.to_pylist(), one.positions.tolist(), one.receipt.record()) for one in reads]


CONDITIONS = st.sampled_from(
    ["age >= 40", "age < 30", "age is null", "age = 130", "age in (10, 50)", "not (age > 20)", "age > 1000"]
)


@given(st.lists(st.none() | st.integers(0, 140), min_size=1, max_size=20), CONDITIONS)
def test_statistics_change_nothing_of_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, ages: list[int | None], condition: str
) -> None:
    pruned = read(tmp_path_factory.mktemp("pruned"), sorted(ages, key=str), condition)
    whole = read(tmp_path_factory.mktemp("whole"), sorted(ages, key=str), condition, write_statistics=False)
    assert told(pruned) == told(whole)


def test_rows_of_row_groups_that_are_left_out_are_counted_as_filtered(tmp_path: Path) -> None:
    (got,) = read(tmp_path, list(range(20)), "age >= 9")
    assert got.positions.tolist() == list(range(9, 20))
    assert (got.receipt.read, got.receipt.filtered_by_policy, got.receipt.passed) == (20, 9, 11)
    source = make_source(tmp_path, filters=[])
    unit = units_of(tmp_path)[0]
    condition = parse_expression("age >= 9", where="test")
    assert decode_unit(source, unit, READ, filters=[condition]).groups == (2, 3, 4)


def test_a_unit_of_which_nothing_can_pass_is_read_as_empty(tmp_path: Path) -> None:
    (got,) = read(tmp_path, list(range(20)), "age > 100")
    assert got.table.num_rows == 0
    assert got.table.schema.names == list(READ)
    assert (got.receipt.read, got.receipt.filtered_by_policy) == (20, 20)
