"""Sixty and more ways to damage a Parquet file, each read as a run reads it: planned before the damage, and after it.

A verdict is `EQUAL` (all rows, as they were), or the family of the error that names the file. Planned before, damage
meets a plan that knows the footer's digest; planned after, the footer is all there is to go by.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataops.datasets.scan import read_unit
from dataops.datasets.source import read_fragments, read_schema
from dataops.datasets.units import Unit, plan_units
from dataops.errors import InvalidInput
from dataops.governance.checking import table_columns_match
from dataops.storage.files import open_files
from tests.attacks.isolated import Case
from tests.attacks.thrift import BINARY, I32, LIST, STRUCT, Struct, Value, integer, number_bytes, pack, pack_to, unpack
from tests.datasets.examples import make_contract, make_source

EQUAL, INTEGRITY, BREAKS, UNFIT = "equal", "Integrity", "ContractViolation", "InvalidInput"
N_ROWS, GROUP_ROWS = 400, 150
GRANTED = ("person", "age", "trade")
CANARY = "CANARY"
TABLE = pa.table(
    {
        "person": [f"{CANARY}-{number % 37}" for number in range(N_ROWS)],
        "age": pa.array([number * 7 % 90 for number in range(N_ROWS)], pa.int32()),
        "trade": ["smith" if number % 3 else None for number in range(N_ROWS)],
        "secret": [f"{CANARY}-{number}" for number in range(N_ROWS)],
    }
)
PERSON, AGE, TRADE = range(3)
DELTAS = {"person": "DELTA_BYTE_ARRAY", "age": "DELTA_BINARY_PACKED", "trade": "DELTA_LENGTH_BYTE_ARRAY"}
WRITTEN: Mapping[str, Mapping[str, Any]] = {
    "plain": {"compression": "none", "use_dictionary": False},
    "sealed": {"compression": "none", "use_dictionary": False, "write_page_checksum": True},
    "dictionary": {"compression": "none"},
    "sealed dictionary": {"compression": "none", "write_page_checksum": True},
    "zstd": {"compression": "zstd", "write_page_checksum": True},
    "snappy": {"compression": "snappy"},
    "second": {"compression": "zstd", "data_page_version": "2.0", "write_page_checksum": True},
    "delta": {"compression": "none", "use_dictionary": False, "column_encoding": DELTAS},
}

Damage = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of damage to a file `written` in one of the ways of `WRITTEN`; `before`, `after`: the verdicts."""

    damage: Damage
    written: str = "plain"
    before: str = INTEGRITY
    after: str = INTEGRITY


@cache
def whole(written: str) -> bytes:
    """The file as it was."""
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, row_group_size=GROUP_ROWS, **WRITTEN[written])
    return sink.getvalue()


# --- the footer


def footer_start(data: bytes) -> int:
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def with_footer(data: bytes, footer: bytes) -> bytes:
    return data[: footer_start(data)] + footer + struct.pack("<I", len(footer)) + b"PAR1"


def in_footer(change: Callable[[Struct], Any]) -> Damage:
    def damage(data: bytes) -> bytes:
        fields, _ = unpack(data, footer_start(data))
        change(fields)
        return with_footer(data, pack(fields))

    return damage


def raw_footer(change: Callable[[bytes], bytes]) -> Damage:
    return lambda data: with_footer(data, change(data[footer_start(data) : -8]))


def groups(footer: Struct) -> list[Struct]:
    return [one.value for one in footer[4].value]


def chunk(footer: Struct, column: int = AGE, group: int = 0) -> Struct:
    return groups(footer)[group][1].value[column].value  # type: ignore[no-any-return]


def meta(footer: Struct, column: int = AGE, group: int = 0) -> Struct:
    return chunk(footer, column, group)[3].value  # type: ignore[no-any-return]


def node(footer: Struct, column: int = AGE) -> Struct:
    return footer[2].value[column + 1].value  # type: ignore[no-any-return]


def put(place: Callable[[Struct], Struct], field: int, value: Callable[[Any], Any] | Any) -> Damage:
    """The field of the struct that `place` finds in the footer, as `value` makes it of what it was."""

    def change(footer: Struct) -> None:
        at = place(footer)[field]
        at.value = value(at.value) if callable(value) else value

    return in_footer(change)


def add(place: Callable[[Struct], Struct], field: int, value: Value) -> Damage:
    return in_footer(lambda footer: place(footer).__setitem__(field, value))


def without(place: Callable[[Struct], Struct], field: int) -> Damage:
    return in_footer(lambda footer: place(footer).pop(field))


def all_rows(rows: int) -> Damage:
    """Every count of the first row group, and the file's, as for `rows` rows."""

    def change(footer: Struct) -> None:
        footer[3].value += rows - GROUP_ROWS
        groups(footer)[0][3].value = rows
        for column in range(4):
            meta(footer, column)[5].value = rows

    return in_footer(change)


def share_pages(footer: Struct) -> None:
    meta(footer, TRADE)[9].value = meta(footer, PERSON)[9].value


def swap_rows(footer: Struct) -> None:
    """One group claims what another lacks: the file's number of rows stays right."""
    groups(footer)[0][3].value -= 100
    groups(footer)[1][3].value += 100


def retype(footer: Struct) -> None:
    """INT32 becomes FLOAT, wherever it is said."""
    node(footer)[1].value = 4
    for group in range(len(groups(footer))):
        meta(footer, group=group)[1].value = 4


# --- pages


def page_at(data: bytes, column: int, *, dictionary: bool) -> tuple[int, Struct, int]:
    footer, _ = unpack(data, footer_start(data))
    start = meta(footer, column)[11 if dictionary else 9].value
    header, end = unpack(data, start)
    return start, header, end


def in_page(change: Callable[[Struct], Any], column: int = AGE, *, dictionary: bool = False) -> Damage:
    """The header of the first page changed; its checksum makes room for larger numbers."""

    def damage(data: bytes) -> bytes:
        start, header, end = page_at(data, column, dictionary=dictionary)
        header.pop(4, None)
        change(header)
        return data[:start] + pack_to(header, end - start) + data[end:]

    return damage


def put_page(field: int, value: int, column: int = AGE, *, below: int = 0, dictionary: bool = False) -> Damage:
    def change(header: Struct) -> None:
        (header[below].value if below else header)[field].value = value

    return in_page(change, column, dictionary=dictionary)


def in_values(
    change: Callable[[bytearray], Any], column: int = AGE, *, dictionary: bool = False, keep_checksum: bool = True
) -> Damage:
    """The bytes of the first page behind its header changed, their number kept."""

    def damage(data: bytes) -> bytes:
        if not keep_checksum:
            data = in_page(lambda _: None, column, dictionary=dictionary)(data)
        _, header, end = page_at(data, column, dictionary=dictionary)
        size = header[3].value
        values = bytearray(data[end : end + size])
        change(values)
        assert len(values) == size
        return data[:end] + bytes(values) + data[end + size :]

    return damage


def at(place: int, *new: int) -> Callable[[bytearray], None]:
    def change(values: bytearray) -> None:
        start = place if place >= 0 else len(values) + place
        values[start : start + len(new)] = bytes(new)

    return change


def flip(place: int, bit: int = 1) -> Callable[[bytearray], None]:
    def change(values: bytearray) -> None:
        values[place] ^= bit

    return change


def fill(value: int, start: int = 0) -> Callable[[bytearray], None]:
    def change(values: bytearray) -> None:
        values[start:] = bytes([value]) * (len(values) - start)

    return change


def bomb(values: bytearray) -> None:
    """A zstd frame that says it holds 2**40 bytes."""
    values[:13] = b"\x28\xb5\x2f\xfd\xe0" + (2**40).to_bytes(8, "little")


# --- whole files


def other_rows(data: bytes) -> bytes:
    """Another file of the same size, with a value that the first hasn't (one that moved alone leaves no trace)."""
    ages = [91, *TABLE.column("age").to_pylist()[1:]]
    sink = io.BytesIO()
    table = TABLE.set_column(AGE, "age", pa.array(ages, pa.int32()))
    pq.write_table(table, sink, row_group_size=GROUP_ROWS, **WRITTEN["plain"])
    assert len(sink.getvalue()) == len(data)
    return sink.getvalue()


def arrow_file(data: bytes) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return (sink.getvalue() + b"\0" * len(data))[: len(data)]


def patched(place: Callable[[bytes], int], new: bytes) -> Damage:
    def damage(data: bytes) -> bytes:
        start = place(data) % len(data)
        return data[:start] + new + data[start + len(new) :]

    return damage


def footer_length(length: Callable[[int], int]) -> Damage:
    def damage(data: bytes) -> bytes:
        now = int.from_bytes(data[-8:-4], "little")
        return data[:-8] + struct.pack("<I", length(now) & 0xFFFFFFFF) + b"PAR1"

    return damage


LONG = number_bytes(2**31)
FILES = {
    "no bytes": Kind(damage=lambda _: b""),
    "one byte": Kind(damage=lambda data: data[:1]),
    "two magics alone": Kind(damage=lambda _: b"PAR1PAR1"),
    "magics around an empty footer": Kind(damage=lambda _: b"PAR1\0\0\0\0PAR1"),
    "cut by one byte": Kind(damage=lambda data: data[:-1]),
    "cut by length and magic": Kind(damage=lambda data: data[:-8]),
    "cut in the footer": Kind(damage=lambda data: data[: footer_start(data) + 100]),
    "cut in front of the footer": Kind(damage=lambda data: data[: footer_start(data)]),
    "cut in the pages": Kind(damage=lambda data: data[:1000]),
    "its middle is gone": Kind(damage=lambda data: data[:1000] + data[2000:]),
    "its first page is gone": Kind(damage=lambda data: data[:4] + data[800:]),
    "a byte more at its end": Kind(damage=lambda data: data + b"\0"),
    "a file behind a file": Kind(damage=lambda data: data + data, after=EQUAL),
    "all zero": Kind(damage=lambda data: b"\0" * len(data)),
    "text instead": Kind(damage=lambda data: (b"person,age\nann,31\n" * len(data))[: len(data)]),
    "gzip around it": Kind(damage=lambda data: gzip.compress(data, mtime=0)),
    "an Arrow file instead": Kind(damage=arrow_file),
    "its last block was never written": Kind(damage=lambda data: data[:-512] + b"\0" * 512),
    "its halves changed places": Kind(damage=lambda data: data[len(data) // 2 :] + data[: len(data) // 2]),
    "another file of its size and time": Kind(damage=other_rows, after="400 rows"),
    "another magic in front": Kind(damage=patched(lambda _: 0, b"PAR2")),
    "another magic behind": Kind(damage=patched(lambda _: -4, b"PAR2")),
    "magic of an encrypted footer": Kind(damage=patched(lambda _: -4, b"PARE")),
    "magic of an encrypted file": Kind(damage=lambda data: b"PARE" + data[4:-4] + b"PARE"),
    "footer length 0": Kind(damage=footer_length(lambda _: 0)),
    "footer length 1 more": Kind(damage=footer_length(lambda now: now + 1)),
    "footer length 1 less": Kind(damage=footer_length(lambda now: now - 1)),
    "footer length of half the footer": Kind(damage=footer_length(lambda now: now // 2)),
    "footer length of all there is": Kind(damage=footer_length(lambda _: len(whole("plain")) - 12)),
    "footer length beyond the file": Kind(damage=footer_length(lambda _: 2**31)),
    "footer length -1": Kind(damage=footer_length(lambda _: -1)),
}
FOOTERS = {
    "footer of zeros": Kind(damage=raw_footer(lambda footer: b"\0" * len(footer))),
    "footer without a first field": Kind(damage=raw_footer(lambda footer: b"\xff" + footer[1:])),
    "footer with a list of 2**31": Kind(damage=raw_footer(lambda footer: footer[:2] + b"\x19\xfc" + LONG + footer[4:])),
    "footer with a text of 2**31": Kind(damage=raw_footer(lambda _: b"\x18" + LONG + b"\0" * 64)),
    "footer nested a thousand deep": Kind(damage=raw_footer(lambda _: b"\x1c" * 1000 + b"\0" * 1001)),
    "footer of lists in lists": Kind(damage=raw_footer(lambda _: b"\x19" + b"\x19" * 50_000 + b"\0")),
    "footer with an endless number": Kind(damage=raw_footer(lambda _: b"\x15" + b"\xff" * 400)),
    "no schema": Kind(damage=in_footer(lambda footer: footer.pop(2))),
    "no row groups": Kind(damage=in_footer(lambda footer: footer.pop(4))),
    "fewer rows in the file": Kind(damage=put(lambda footer: footer, 3, N_ROWS - 1)),
    "more rows in the file": Kind(damage=put(lambda footer: footer, 3, N_ROWS + 1)),
    "less than no rows in the file": Kind(damage=put(lambda footer: footer, 3, -1)),
    "2**62 rows in the file": Kind(damage=put(lambda footer: footer, 3, 2**62)),
    "fewer rows in a group": Kind(damage=put(lambda footer: groups(footer)[1], 3, 22)),
    "fewer rows in a group, more in another": Kind(damage=in_footer(swap_rows)),
    "less than no rows in a group": Kind(damage=put(lambda footer: groups(footer)[1], 3, -150)),
    "2**40 rows everywhere": Kind(damage=all_rows(2**40)),
    "2**31 - 1 rows everywhere": Kind(damage=all_rows(2**31 - 1)),
    "more rows everywhere": Kind(damage=all_rows(GROUP_ROWS + 1)),
    "fewer rows everywhere": Kind(damage=all_rows(GROUP_ROWS - 1)),
    "fewer values in a column": Kind(damage=put(meta, 5, GROUP_ROWS - 1)),
    "less than no values": Kind(damage=put(meta, 5, -1)),
    "a row group lacks a column": Kind(damage=put(lambda footer: groups(footer)[0], 1, lambda found: found[:-1])),
    "a schema with a column less": Kind(damage=put(lambda footer: footer, 2, lambda found: found[:-1])),
    "a schema of 2**31 columns": Kind(damage=put(lambda footer: footer[2].value[0].value, 5, 2**31 - 1)),
    "a schema that ends in a group": Kind(damage=add(lambda footer: node(footer, 3), 5, integer(7, I32))),
    "pages in front of the file": Kind(damage=put(meta, 9, -5)),
    "pages behind the file": Kind(damage=put(meta, 9, 2**40)),
    "pages in the footer": Kind(damage=put(meta, 9, lambda _: footer_start(whole("plain")))),
    "pages of another column": Kind(damage=in_footer(share_pages)),
    "2**50 bytes of pages": Kind(damage=put(meta, 7, 2**50)),
    "less than no bytes of pages": Kind(damage=put(meta, 7, -100)),
    "less than no bytes decoded": Kind(damage=put(meta, 6, -100)),
    "bytes of pages cut by one": Kind(damage=put(meta, 7, lambda size: size - 1)),
    "a column of another type than the schema's": Kind(damage=put(meta, 1, 5)),
    "a column of no type": Kind(damage=in_footer(lambda footer: node(footer)[1].__setattr__("value", 77))),
    "whole numbers become floats everywhere": Kind(damage=in_footer(retype), after=UNFIT),
    "another codec": Kind(damage=put(meta, 4, 2), written="snappy"),
    "a codec that is none": Kind(damage=put(meta, 4, 99), written="snappy"),
    "compressed pages said to be plain": Kind(damage=put(meta, 4, 0), written="snappy"),
    "a column without metadata": Kind(damage=without(chunk, 3)),
    "an encrypted column": Kind(damage=add(chunk, 8, Value(STRUCT, {1: Value(STRUCT, {})}))),
    "an encrypted column without metadata": Kind(
        damage=in_footer(lambda footer: (chunk(footer).pop(3), chunk(footer).update({9: Value(BINARY, b"x" * 40)})))
    ),
    "a footer that says it is encrypted": Kind(
        damage=add(lambda footer: footer, 8, Value(STRUCT, {1: Value(STRUCT, {})}))
    ),
    "a column in another file": Kind(damage=add(chunk, 1, Value(BINARY, b"../b.parquet"))),
    "statistics of another width": Kind(damage=put(lambda footer: meta(footer)[12].value, 5, b"\0")),
    "a histogram of one level too many": Kind(
        damage=add(meta, 16, Value(STRUCT, {2: Value(LIST, [integer(GROUP_ROWS)] * 2, of=6)}))
    ),
    "a name that is no text": Kind(damage=put(node, 4, b"\xff\xfe")),
    "a name with a flipped bit": Kind(damage=put(node, 4, b"agd"), after=UNFIT),
    "a name that another column has": Kind(damage=put(node, 4, b"person"), after=UNFIT),
    "a column that may repeat": Kind(damage=put(node, 3, 2), after=UNFIT),
}
PAGES = {
    "a page of an unknown kind": Kind(damage=put_page(1, 9), written="sealed"),
    "a page of 2**31 - 1 bytes": Kind(damage=put_page(2, 2**31 - 1), written="sealed", before=EQUAL, after=EQUAL),
    "a compressed page of 2**31 - 1 bytes": Kind(damage=put_page(2, 2**31 - 1), written="zstd"),
    "a page of less than no bytes": Kind(damage=put_page(2, -1), written="sealed"),
    "a page that is stored in 2**31 - 1 bytes": Kind(damage=put_page(3, 2**31 - 1), written="sealed"),
    "a page that is stored in less than no bytes": Kind(damage=put_page(3, -1), written="sealed"),
    "a page of 2**31 - 1 values": Kind(damage=put_page(1, 2**31 - 1, below=5), written="sealed"),
    "a page of less than no values": Kind(damage=put_page(1, -1, below=5), written="sealed"),
    "a page of fewer values": Kind(damage=put_page(1, GROUP_ROWS - 1, below=5), written="sealed"),
    "a page of more values": Kind(damage=put_page(1, GROUP_ROWS + 1, below=5), written="sealed"),
    "a page of an unknown encoding": Kind(damage=put_page(2, 77, below=5), written="sealed"),
    "a page without its header": Kind(damage=in_page(lambda header: header.pop(5)), written="sealed"),
    "a dictionary of 2**31 - 1 values": Kind(
        damage=put_page(1, 2**31 - 1, PERSON, below=7, dictionary=True), written="sealed dictionary"
    ),
    "a dictionary of less than no values": Kind(
        damage=put_page(1, -1, PERSON, below=7, dictionary=True), written="sealed dictionary"
    ),
    "a dictionary without values": Kind(
        damage=put_page(1, 0, PERSON, below=7, dictionary=True), written="sealed dictionary"
    ),
    "a dictionary cut by a value": Kind(
        damage=put_page(1, 36, PERSON, below=7, dictionary=True), written="sealed dictionary"
    ),
    "a page of the second kind with levels beyond it": Kind(
        damage=in_page(lambda header: header[8].value[5].__setattr__("value", 8191), TRADE), written="second"
    ),
    "a page of the second kind with more nulls than rows": Kind(
        damage=in_page(lambda header: header[8].value[2].__setattr__("value", 8191), TRADE),
        written="second",
        before=EQUAL,
        after=EQUAL,
    ),
    "a flipped bit under a checksum": Kind(damage=in_values(flip(-30)), written="sealed"),
    "a flipped bit in a sealed dictionary": Kind(
        damage=in_values(flip(40), PERSON, dictionary=True), written="sealed dictionary"
    ),
    "a flipped bit in compressed bytes under a checksum": Kind(damage=in_values(flip(-30)), written="zstd"),
    "a block of zeros under a checksum": Kind(damage=in_values(fill(0, 100)), written="sealed"),
    "text that is none, without a checksum": Kind(damage=in_values(at(-1, 0xFF), PERSON), before=BREAKS, after=BREAKS),
    "text of 2**31 bytes": Kind(damage=in_values(at(10, 255, 255, 255, 127), PERSON)),
    "text of less than no bytes": Kind(damage=in_values(fill(255, 6), PERSON)),
    "levels of 2**31 bytes": Kind(damage=in_values(at(0, 255, 255, 255, 127), TRADE)),
    "levels of no bytes": Kind(damage=in_values(at(0, 0, 0, 0, 0), TRADE)),
    "indices beyond the dictionary": Kind(damage=in_values(fill(255, 8), PERSON), written="dictionary"),
    "indices 255 bits wide": Kind(damage=in_values(at(6, 255), PERSON), written="dictionary"),
    "a dictionary whose text goes on beyond it": Kind(
        damage=in_values(at(0, 255, 255, 255, 127), PERSON, dictionary=True), written="dictionary"
    ),
    "text that is none in a dictionary": Kind(
        damage=in_values(at(-1, 0xFF), PERSON, dictionary=True), written="dictionary", before=BREAKS, after=BREAKS
    ),
    "a compressed page of noise": Kind(damage=in_values(fill(0xA5), PERSON), written="snappy"),
    "a compressed page that says it holds more": Kind(damage=in_values(at(0, 255, 255, 3)), written="snappy"),
    "a frame that says it holds 2**40 bytes": Kind(damage=in_values(bomb, PERSON, keep_checksum=False), written="zstd"),
    "deltas of blocks of 2**31": Kind(damage=in_values(at(6, 255, 255, 255, 255, 7)), written="delta"),
    "deltas of noise": Kind(damage=in_values(fill(255, 6)), written="delta"),
    "lengths of noise": Kind(damage=in_values(fill(255, 6), TRADE), written="delta"),
}
KINDS: Mapping[str, Kind] = {**FILES, **FOOTERS, **PAGES}


def _planned(folder: Path) -> tuple[Unit, ...]:
    """Units of the files, as a declared dataset is opened."""
    files = open_files(str(folder))
    fragments = read_fragments(files)
    findings = table_columns_match(make_contract(), read_schema(files, fragments))
    if findings:
        raise InvalidInput(f"a.parquet: {findings[0]}")
    return plan_units(fragments)


def _write(folder: Path, data: bytes) -> None:
    path = folder / "a.parquet"
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))


def _case(kind: Kind, *, planned_before: bool) -> Case:
    def read(folder: Path) -> str:
        good = whole(kind.written)
        _write(folder, good)
        units = _planned(folder) if planned_before else ()
        damaged = kind.damage(good)
        assert damaged != good
        _write(folder, damaged)
        source = make_source(folder)
        tables = [read_unit(source, unit, GRANTED).table for unit in units or _planned(folder)]
        found = pa.concat_tables(tables)
        return EQUAL if found.equals(TABLE.select(GRANTED)) else f"{found.num_rows} rows"

    return read


def _whole_case(written: str) -> Case:
    def read(folder: Path) -> str:
        _write(folder, whole(written))
        source = make_source(folder)
        found = pa.concat_tables([read_unit(source, unit, GRANTED).table for unit in _planned(folder)])
        return EQUAL if found.equals(TABLE.select(GRANTED)) else f"{found.num_rows} rows"

    return read


CASES: Mapping[str, Case] = {
    **{f"{written}: whole": _whole_case(written) for written in WRITTEN},
    **{f"{name}: before": _case(kind, planned_before=True) for name, kind in KINDS.items()},
    **{f"{name}: after": _case(kind, planned_before=False) for name, kind in KINDS.items()},
}
