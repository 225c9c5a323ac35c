"""Row groups as a plan needs them: rows, and how large they are in memory, from the footer alone.

1. What a footer calls a column's size is its pages as they are encoded: a run of equal numbers takes a few bytes there,
   and its full width once it is decoded. So a column counts the larger of both.
2. Text that lies in dictionaries is read as codes of four bytes a row; other text has offsets of four bytes beside its
   characters, which its pages hold too.
"""

from __future__ import annotations

import pyarrow.parquet as pq

from dataops.datasets.snapshot import RowGroup

CODE_BYTES = 4  # of a text: its code in the dictionary, or its offset
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": CODE_BYTES}


def row_groups_of(metadata: pq.FileMetaData) -> tuple[RowGroup, ...]:
    """The row groups that a footer lists, with the bytes of all their columns once they are decoded."""
    widths = widths_of(metadata)
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    return tuple(RowGroup(rows=group.num_rows, size_bytes=decoded_bytes(group, widths)) for group in groups)


def widths_of(metadata: pq.FileMetaData) -> list[int]:
    """Bytes of a value of each column once it is decoded, without the characters of text."""
    return [_width(metadata.schema.column(index)) for index in range(metadata.num_columns)]


def decoded_bytes(group: pq.RowGroupMetaData, widths: list[int]) -> int:
    """Bytes of all columns of `group` in memory; `widths` are the bytes of one value of each."""
    columns = (group.column(index) for index in range(group.num_columns))
    pairs = zip(columns, widths, strict=True)
    return sum(max(column.total_uncompressed_size, column.num_values * width) for column, width in pairs)


def _width(column: pq.ColumnSchema) -> int:
    if column.physical_type == "FIXED_LEN_BYTE_ARRAY":
        return int(column.length)
    return WIDTHS[column.physical_type]
