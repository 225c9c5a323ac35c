"""Row groups: what a plan counts is what lies in memory, not what lies on the disk."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataops.datasets.row_groups import row_groups_of

ROWS = 10_000


def sizes(folder: Path, table: pa.Table, **options: object) -> list[int]:
    pq.write_table(table, folder / "a.parquet", **options)
    return [group.size_bytes for group in row_groups_of(pq.read_metadata(folder / "a.parquet"))]


@pytest.mark.parametrize(
    ("type_", "width"),
    [
        (pa.int8(), 4),
        (pa.int32(), 4),
        (pa.float32(), 4),
        (pa.date32(), 4),
        (pa.int64(), 8),
        (pa.float64(), 8),
        (pa.bool_(), 1),
    ],
)
def test_equal_numbers_count_as_wide_as_they_are_decoded(tmp_path: Path, type_: pa.DataType, width: int) -> None:
    table = pa.table({"a": pa.array([1] * ROWS, pa.int32()).cast(type_)})
    assert pq.write_table(table, tmp_path / "b.parquet") is None
    stored = pq.read_metadata(tmp_path / "b.parquet").row_group(0).total_byte_size
    assert stored < ROWS * width  # else this shows nothing
    assert sizes(tmp_path, table) == [ROWS * width]


def test_numbers_of_a_fixed_length_count_by_their_length(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array([b"0123456789abcdef"] * ROWS, pa.binary(16))})
    assert sizes(tmp_path, table) == [ROWS * 16]


def test_text_in_a_dictionary_counts_as_codes_and_other_text_by_its_pages(tmp_path: Path) -> None:
    table = pa.table({"a": ["a text of some length"] * ROWS})
    assert sizes(tmp_path, table) == [ROWS * 4]
    (plain,) = sizes(tmp_path, table, use_dictionary=False)
    assert plain > ROWS * 21


def test_values_in_lists_are_counted_and_not_their_rows(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array([[1.5] * 20] * ROWS)})
    (size,) = sizes(tmp_path, table)
    assert size >= ROWS * 20 * 8


def test_each_row_group_counts_for_itself(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array(range(ROWS), pa.int64()), "b": pa.array([1] * ROWS, pa.int32())})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=ROWS // 2)
    first, second = row_groups_of(pq.read_metadata(tmp_path / "a.parquet"))
    assert (first.rows, second.rows) == (ROWS // 2, ROWS // 2)
    assert first.size_bytes >= ROWS // 2 * 12
    assert second.size_bytes >= ROWS // 2 * 12
