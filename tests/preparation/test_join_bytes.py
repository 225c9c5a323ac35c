"""What a dataset takes in memory is told from its types, never as too little."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from dataops.governance.contract import Column
from dataops.preparation.join_bytes import bytes_at_most

ROWS, TEXT = 5_000_000, 1_000
WIDE = [Column(name=f"n{place}", type=pa.int8(), required=False) for place in range(99)]
KEY = Column(name="key", type=pa.int64(), required=False)
NOTE = Column(name="note", type=pa.string(), required=False)
OTHER = Column(name="other", type=pa.string(), required=False)
SIZE = ROWS * (99 * 4 + 8 + 4 + TEXT)  # the note has all of the text


def _told(*columns: Column) -> int:
    every = [*WIDE, KEY, NOTE, OTHER]
    read = {one.name: one for one in every} | {one.name: one for one in columns}
    return bytes_at_most(every, read, {one.name for one in columns}, rows=ROWS, size=SIZE)


def test_one_long_text_among_many_numbers_has_all_that_numbers_have_not() -> None:
    assert _told(KEY, NOTE) == ROWS * (8 + TEXT + 4)
    assert _told(NOTE, OTHER) == ROWS * (TEXT + 4)


def test_numbers_take_their_width_whatever_else_there_is() -> None:
    assert _told(KEY, *WIDE[:2]) == ROWS * (8 + 4 + 4)


@pytest.mark.parametrize("column", [KEY, NOTE])
def test_a_mask_that_makes_text_counts_as_text(column: Column) -> None:
    masked = replace(column, type=pa.string(), masks=("hash",))
    assert _told(masked) >= ROWS * 64


def test_types_that_have_no_width_are_told_as_text() -> None:
    kinds = [pa.list_(pa.int8()), pa.binary(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
    columns = [Column(name=str(kind), type=kind, required=False) for kind in kinds]
    read = {one.name: one for one in columns}
    for one in columns:
        assert bytes_at_most(columns, read, {one.name}, rows=10, size=1_000) == 1_000
    price = Column(name="price", type=pa.decimal128(9, 2), required=False)
    assert bytes_at_most([price], {"price": price}, {"price"}, rows=10, size=160) == 160
