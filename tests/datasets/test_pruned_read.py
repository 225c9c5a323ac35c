"""Row groups in which no row can pass aren't decoded; what is read is the same as if they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.decode import decode_unit
from dataops.datasets.footers import expect
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.governance.contract import Column
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
    return [(one.table.to_pylist(), one.places.in_file().tolist(), one.receipt.record()) for one in reads]


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
    assert got.places.in_file().tolist() == list(range(9, 20))
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


def of_type(kind: pa.DataType, values: list[Any]) -> pa.Array:
    return pa.array(values, pa.int64()).cast(kind) if pa.types.is_timestamp(kind) else pa.array(values, kind)


DAY_10000 = 2_932_897  # days from 1970 to the first one that Python has no date for
NANOSECONDS = st.integers(-3, 3) | st.integers(-(10**9), 10**9)
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any], list[str]]] = {
    "nanoseconds": (
        pa.timestamp("ns"),
        NANOSECONDS,
        ["'1970-01-01 00:00:00'", "'1969-12-31 23:59:59.999999'", "'1970-01-01 00:00:00.000001'"],
    ),
    "microseconds": (pa.timestamp("us"), st.integers(-(10**7), 10**7), ["'1970-01-01 00:00:00'"]),
    "a zone": (pa.timestamp("us", "UTC"), st.integers(-(10**7), 10**7), []),
    "days": (pa.date32(), st.integers(-1000, 1000) | st.just(DAY_10000), ["'1970-01-01'", "'1971-02-03'"]),
    "unsigned": (pa.uint64(), st.integers(0, 9) | st.just(2**64 - 1), ["0", "5", "9223372036854775807"]),
    "bytes": (pa.int8(), st.integers(-128, 127), ["-128", "0", "126.5"]),
    "half": (pa.float16(), st.sampled_from([-1.5, 0.0, 2.5]), ["0.5"]),
    "single": (pa.float32(), st.floats(width=32), ["0.1", "0.0"]),
    "double": (pa.float64(), st.floats(), ["0.1", "0.0"]),
    "decimal": (pa.decimal128(9, 2), st.decimals(-99, 99, places=2), ["0.1", "7"]),
    "truth": (pa.bool_(), st.booleans(), ["true", "false"]),
    "text": (pa.string(), st.text(max_size=3), ["''", "'a'", "'é'"]),
}


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_footers_of_every_type_change_nothing_of_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    kind, drawn, literals = KINDS[name]
    values = data.draw(st.lists(st.none() | drawn, min_size=1, max_size=9))
    if name == "half":
        values = [None if one is None else np.float16(one) for one in values]
    comparisons = ["=", "<>"] if name == "truth" else ["=", "<>", "<", "<=", ">", ">="]
    condition = data.draw(
        st.sampled_from(["x is null", *(f"x {one} {literal}" for one in comparisons for literal in literals)])
    )
    table = pa.table({"x": of_type(kind, values), "place": range(len(values))})
    contract = make_contract(columns=[Column(name="x", type=kind), Column(name="place", type=pa.int64())])
    told = []
    for statistics in (True, False):
        folder = tmp_path_factory.mktemp("kind")
        write(folder / "a.parquet", table, row_group_size=2, write_statistics=statistics)
        source = make_source(folder, contract=contract, filters=[condition])
        got = [read_unit(source, unit, ["place"]) for unit in units_of(folder)]
        told.append([(one.table.to_pylist(), one.receipt.record()) for one in got])
        expect(str(folder), contract, units_of(folder), ["place"], [parse_expression(condition, where="test")])
    assert told[0] == told[1]


def test_text_that_is_none_keeps_nobody_from_reading(tmp_path: Path) -> None:
    """Statistics that can't be decoded say nothing; the row itself is null in the language."""
    values = pa.array([b"\xff\xfe", b"a", b"b"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, values.buffers())
    write(tmp_path / "a.parquet", pa.table({"x": text, "place": [1, 2, 3]}))
    contract = make_contract(columns=[Column(name="x", type=pa.string()), Column(name="place", type=pa.int64())])
    source = make_source(tmp_path, contract=contract, filters=["x <> 'b'"])
    assert read_unit(source, units_of(tmp_path)[0], ["place"]).table.to_pylist() == [{"place": 2}]
