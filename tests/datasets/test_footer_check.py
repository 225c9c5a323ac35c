"""Footers as bytes: every footer that Arrow writes passes, no bytes do worse than being refused."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.compact import BrokenThrift, read_struct
from dataops.datasets.footer_check import BrokenFooter, check_footer
from tests.attacks.thrift import I16, pack, unpack

NESTED = pa.table(
    {
        "a": pa.array([1, None, 3], pa.int8()),
        "text": pa.array(["x", None, "y"]).dictionary_encode(),
        "lists": pa.array([[[1], []], None, [None]], pa.list_(pa.list_(pa.int64()))),
        "struct": pa.array([{"x": 1, "y": [{"z": 2.5}]}, None, {"x": None, "y": []}]),
        "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "fixed": pa.array([b"abcd", None, b"efgh"], pa.binary(4)),
        "money": pa.array([None, None, None], pa.decimal128(30, 2)),
        "truth": pa.array([True, None, False]),
        "seen": pa.array([1, None, 3], pa.timestamp("us", "UTC")),
        "nothing": pa.nulls(3),
    }
)


def file_of(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def footer_of(data: bytes) -> bytes:
    return data[-8 - int.from_bytes(data[-8:-4], "little") : -8]


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("options", [{"version": "1.0"}, {"data_page_version": "2.0"}, {"write_page_index": True}])
@pytest.mark.parametrize("table", [NESTED, NESTED.slice(0, 1), NESTED.slice(0, 0)], ids=["rows", "one row", "no rows"])
def test_what_arrow_writes_passes(table: pa.Table, options: dict[str, Any], compression: str) -> None:
    data = file_of(table, row_group_size=2, compression=compression, **options)
    check_footer(footer_of(data), len(data))


@pytest.mark.parametrize("options", [{"write_statistics": False}, {"use_dictionary": False}])
def test_statistics_and_dictionaries_may_be_left_out(options: dict[str, Any]) -> None:
    data = file_of(NESTED, **options)
    check_footer(footer_of(data), len(data))


def test_a_footer_of_a_longer_file_is_refused() -> None:
    data = file_of(NESTED)
    with pytest.raises(BrokenFooter, match="outside of the file"):
        check_footer(footer_of(data), len(data) - 200)


@given(st.binary(max_size=400))
def test_no_bytes_do_worse_than_being_refused(data: bytes) -> None:
    with suppress(BrokenThrift):
        read_struct(data)
    with suppress(BrokenFooter):
        check_footer(data, 10_000)


@given(st.data())
def test_no_change_of_a_footer_does_worse_than_being_refused(data: st.DataObject) -> None:
    whole = file_of(NESTED, row_group_size=2)
    footer = bytearray(footer_of(whole))
    for _ in range(data.draw(st.integers(1, 4))):
        footer[data.draw(st.integers(0, len(footer) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BrokenFooter):
        check_footer(bytes(footer), len(whole))


def test_what_arrow_would_read_otherwise_is_refused() -> None:
    """Arrow reads over a field of another type, and takes a list's elements for what they should be."""
    data = file_of(NESTED)
    fields, _ = unpack(footer_of(data))
    node = fields[2].value[1].value
    column = fields[4].value[0].value[1].value[0].value[3].value
    for struct, field in ((node, 3), (column, 5), (column, 11)):
        struct[field].kind, kept = I16, struct[field].kind
        with pytest.raises(BrokenFooter, match="of another type"):
            check_footer(pack(fields), len(data))
        struct[field].kind = kept
    column[2].of, kept = I16, column[2].of
    with pytest.raises(BrokenFooter, match="other elements"):
        check_footer(pack(fields), len(data))
    column[2].of = kept
    check_footer(pack(fields), len(data))


@pytest.mark.parametrize(
    "struct", [b"\x15\x02\x05\x02\x02\x00", b"\x10\x00", b"\x05\x00\x02\x00", b"\x05\x82\x80\x08\x02\x00"]
)
def test_fields_that_arrow_numbers_otherwise_are_refused(struct: bytes) -> None:
    """A field twice, one of no type, of the number 0, of 65,537."""
    with pytest.raises(BrokenThrift, match="a field twice"):
        read_struct(struct)
