"""Export as a Delta table: the rows as other systems read them, once for each snapshot."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.datasets import delta
from dataops.datasets.delta import Delta, delta_schema, export_delta
from dataops.errors import InvalidInput

SCHEMA = pa.schema([("key", pa.int64()), ("town", pa.string()), ("late", pa.bool_()), ("score", pa.float32())])


def _rows(first: int, n_rows: int) -> pa.Table:
    towns = ["a/b", "ä=ö", None, "x"]
    return pa.table(
        {
            "key": list(range(first, first + n_rows)),
            "town": [towns[i % 4] for i in range(n_rows)],
            "late": [i % 3 == 0 for i in range(n_rows)],
            "score": [i / 7 for i in range(n_rows)],
        },
        schema=SCHEMA,
    )


def _target(folder: Path, snapshot: int = 1, *, partition_by: Sequence[str] = ()) -> Delta:
    return Delta(
        url=str(folder / "table"), dataset="scores", snapshot=snapshot, effect="e1", partition_by=tuple(partition_by)
    )


def _read(folder: Path) -> list[dict[str, object]]:
    table = DeltaTable(str(folder / "table")).to_pyarrow_table()
    return sorted(table.select(SCHEMA.names).to_pylist(), key=lambda row: row["key"])


@pytest.mark.parametrize("partition_by", [(), ("town",), ("late", "town")])
def test_the_table_holds_the_rows(tmp_path: Path, partition_by: tuple[str, ...]) -> None:
    tables = [_rows(0, 10), _rows(10, 0), _rows(10, 5)]
    exported = export_delta(_target(tmp_path, partition_by=partition_by), SCHEMA, tables)
    assert _read(tmp_path) == pa.concat_tables(tables).to_pylist()
    assert (exported.rows, exported.written, exported.version) == (15, True, 0)
    assert {file.parent for file in (tmp_path / "table").rglob("*.parquet")} == {tmp_path / "table"}


def test_units_with_equal_rows_are_both_in_it(tmp_path: Path) -> None:
    export_delta(_target(tmp_path), SCHEMA, [_rows(0, 3), _rows(0, 3)])
    assert len(_read(tmp_path)) == 6


def test_to_repeat_changes_nothing(tmp_path: Path) -> None:
    first = export_delta(_target(tmp_path), SCHEMA, [_rows(0, 4)])
    again = export_delta(_target(tmp_path), SCHEMA, [_rows(0, 4)])
    assert again == replace(first, written=False)
    assert DeltaTable(str(tmp_path / "table")).version() == 0


def test_a_newer_snapshot_replaces_the_rows_in_one_commit(tmp_path: Path) -> None:
    export_delta(_target(tmp_path), SCHEMA, [_rows(0, 4)])
    export_delta(_target(tmp_path, 5), SCHEMA, [_rows(2, 4)])
    assert _read(tmp_path) == _rows(2, 4).to_pylist()
    older = export_delta(_target(tmp_path, 3), SCHEMA, [_rows(0, 1)])
    assert (older.written, older.snapshot) == (False, 5)
    assert _read(tmp_path) == _rows(2, 4).to_pylist()
    assert DeltaTable(str(tmp_path / "table"), version=0).to_pyarrow_table().num_rows == 4


def test_no_commit_adds_what_it_removes(tmp_path: Path) -> None:
    export_delta(_target(tmp_path), SCHEMA, [_rows(0, 4)])
    export_delta(_target(tmp_path, 2), SCHEMA, [_rows(0, 4), _rows(4, 1)])
    log = (tmp_path / "table/_delta_log/00000000000000000001.json").read_text()
    actions = [json.loads(line) for line in log.splitlines()]
    added, removed = ({one[kind]["path"] for one in actions if kind in one} for kind in ("add", "remove"))
    assert (len(added), len(removed), added & removed) == (2, 1, set())
    assert len(_read(tmp_path)) == 5


def test_an_empty_dataset_is_an_empty_table(tmp_path: Path) -> None:
    assert export_delta(_target(tmp_path), SCHEMA, []).rows == 0
    assert DeltaTable(str(tmp_path / "table")).to_pyarrow_table().schema.names == SCHEMA.names


def test_what_a_dead_export_left_is_taken_up(tmp_path: Path) -> None:
    def dying() -> object:
        yield _rows(0, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_delta(_target(tmp_path), SCHEMA, dying())
    assert not DeltaTable.is_deltatable(str(tmp_path / "table"))
    export_delta(_target(tmp_path), SCHEMA, [_rows(0, 4), _rows(4, 4)])
    assert [row["key"] for row in _read(tmp_path)] == list(range(8))


def test_two_exports_at_once_are_one(tmp_path: Path) -> None:
    export_delta(_target(tmp_path), SCHEMA, [_rows(0, 1)])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: export_delta(_target(tmp_path, 2), SCHEMA, [_rows(0, 8)]), range(4)))
    assert _read(tmp_path) == _rows(0, 8).to_pylist()
    assert DeltaTable(str(tmp_path / "table")).transaction_version("dataops/scores/e1") == 2


@pytest.mark.parametrize("first", [0, 1])
def test_an_older_snapshot_never_replaces_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    export_delta(_target(tmp_path), SCHEMA, [_rows(0, first)])
    opened, seen = delta._open, []

    def overtaken(url: str) -> object:
        table = opened(url)
        seen.append(url)
        if len(seen) == 2:  # the one that is committed on
            monkeypatch.setattr(delta, "_open", opened)
            export_delta(_target(tmp_path, 6), SCHEMA, [_rows(6, 1)])
        return table

    monkeypatch.setattr(delta, "_open", overtaken)
    exported = export_delta(_target(tmp_path, 5), SCHEMA, [_rows(5, 1)])
    assert (exported.written, exported.snapshot) == (False, 6)
    assert _read(tmp_path) == _rows(6, 1).to_pylist()


@pytest.mark.parametrize("other", [{"dataset": "others"}, {"effect": "e2"}, {"partition_by": ("town",)}])
def test_a_table_of_something_else_is_left_alone(tmp_path: Path, other: dict[str, object]) -> None:
    export_delta(_target(tmp_path), SCHEMA, [_rows(0, 4)])
    with pytest.raises(InvalidInput, match="choose another folder"):
        export_delta(replace(_target(tmp_path, 2), **other), SCHEMA, [_rows(0, 9)])  # type: ignore[arg-type]
    assert len(_read(tmp_path)) == 4


def test_a_partition_that_is_no_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"partition by 'twn': no such column.*'town'"):
        export_delta(_target(tmp_path, partition_by=["twn"]), SCHEMA, [_rows(0, 1)])
    assert not (tmp_path / "table").exists()


AT = dt.datetime(824, 1, 2, 3, 4, 5, 60)  # noqa: DTZ001  # a column without a zone


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.bool_(), [True, None, False]),
        (pa.int8(), [-1, None, 7]),
        (pa.uint32(), [2**32 - 1, None]),
        (pa.string(), ["a b/c=d%20", "null", None, "ä"]),
        (pa.date32(), [dt.date(824, 1, 2), None, dt.date(2024, 2, 29)]),
        (pa.timestamp("us"), [AT, None]),
        (pa.timestamp("s"), [AT.replace(microsecond=0), None]),
        (pa.timestamp("us", "Europe/Oslo"), [AT.replace(tzinfo=dt.UTC), None]),
    ],
)
def test_partition_values_come_back_as_they_were(tmp_path: Path, kind: pa.DataType, values: list[object]) -> None:
    table = pa.table({"key": list(range(2 * len(values))), "value": pa.array(values * 2, kind)})
    exported = export_delta(_target(tmp_path, partition_by=["value"]), table.schema, [table])
    assert exported.files == len(values)
    found = DeltaTable(str(tmp_path / "table")).to_pyarrow_table().sort_by("key").column("value")
    assert found.type == delta_schema(table.schema).field("value").type
    plain = delta_schema(table.schema).field("value").type
    assert found.combine_chunks() == table.column("value").cast(plain).combine_chunks()


@pytest.mark.parametrize("kind", [pa.binary(), pa.float32(), pa.float64(), pa.decimal128(9, 2), pa.list_(pa.int8())])
def test_a_partition_of_a_type_that_a_log_cannot_hold_is_refused(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"key": [1], "value": pa.array([None], kind)})
    with pytest.raises(InvalidInput, match="partition by 'value': it is "):
        export_delta(_target(tmp_path, partition_by=["value"]), table.schema, [table])
    assert not (tmp_path / "table").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array(["a", "", "", None]), "2 rows .* empty text"),
        (pa.array([0, 10**7, None, 1], pa.date32()), "1 rows .* year"),
        (pa.array([0, 9 * 10**18, -(10**17), 1], pa.timestamp("us")), "2 rows .* year"),
    ],
)
def test_partition_values_that_would_change_are_refused_and_counted(
    tmp_path: Path, values: pa.Array, message: str
) -> None:
    table = pa.table({"key": [1, 2, 3, 4], "value": values})
    with pytest.raises(InvalidInput, match=f"partition by 'value': {message}"):
        export_delta(_target(tmp_path, partition_by=["value"]), table.schema, [table])
    assert not (tmp_path / "table" / "_delta_log").exists()


def test_types_that_delta_has_not_are_refused_by_name(tmp_path: Path) -> None:
    schema = pa.schema([("at", pa.time64("us")), ("big", pa.uint64()), ("fine", pa.int8())])
    with pytest.raises(InvalidInput, match=r"column 'at' is time64\[us\], column 'big' is uint64"):
        delta_schema(schema)
    assert not (tmp_path / "table").exists()


def test_a_time_that_delta_would_cut_is_refused(tmp_path: Path) -> None:
    times = pa.table({"at": pa.array([1], pa.timestamp("ns"))})
    with pytest.raises(InvalidInput, match="finer than a microsecond"):
        export_delta(_target(tmp_path), times.schema, [times])
    assert not (tmp_path / "table" / "_delta_log").exists()


@settings(max_examples=20)
@given(
    st.sampled_from([pa.uint8(), pa.uint32(), pa.int8(), pa.date32(), pa.timestamp("ms"), pa.timestamp("s", "UTC")]),
    st.lists(st.integers(0, 100) | st.none(), max_size=5),
)
def test_values_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, kind: pa.DataType, numbers: list[int | None]
) -> None:
    folder = tmp_path_factory.mktemp("types")
    values = pa.array(numbers, pa.int32()).cast(pa.int64() if pa.types.is_timestamp(kind) else pa.int32()).cast(kind)
    table = pa.table({"value": values})
    export_delta(_target(folder), table.schema, [table])
    found = DeltaTable(str(folder / "table")).to_pyarrow_table().column("value").to_pylist()
    assert [_plain(value) for value in found] == [_plain(value) for value in values.to_pylist()]


def _plain(value: object) -> object:
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    return value
