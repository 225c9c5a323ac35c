"""The scanner finds what it is for: a scanner that finds nothing would let every canary test pass."""

from __future__ import annotations

import base64
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.attacks.scanner import Scanner, forms

TEXT = "zq7-canary-51-Kw"
NUMBER = 918_273_645_546


@pytest.mark.parametrize(("name", "pattern"), [pair for token in (TEXT, NUMBER) for pair in forms(token)])
def test_finds_every_form_at_every_place(name: str, pattern: bytes) -> None:
    scanner = Scanner([TEXT, NUMBER])
    for before in range(5):
        hits = scanner.look("here", b"x" * before + pattern + b"y")
        assert name in {hit.form for hit in hits}


@pytest.mark.parametrize("shift", range(6))
def test_finds_base64_within_longer_data(shift: int) -> None:
    encoded = base64.b64encode(b"\xff" * shift + TEXT.encode() + b"\xff\xff")
    assert {hit.token for hit in Scanner([TEXT]).look("here", encoded)} == {TEXT}


def test_finds_nothing_where_nothing_is() -> None:
    scanner = Scanner([TEXT, NUMBER])
    assert scanner.look("here", b"") == set()
    assert scanner.look("here", b"short") == set()
    assert scanner.look("here", TEXT[:-1].encode() + bytes(range(256)) * 50) == set()


def found(tmp_path: Path, table: pa.Table, **options: object) -> dict[str, set[str]]:
    """Kinds of views in which the scanner finds tokens in `table` written as Parquet, by token."""
    path = tmp_path / "one.parquet"
    pq.write_table(table, path, compression="zstd", **options)
    kinds: dict[str, set[str]] = {}
    for hit in Scanner([TEXT, NUMBER]).look_at_file(path, tmp_path):
        kinds.setdefault(str(hit.token), set()).add(hit.place.partition("(")[2].rstrip(")"))
    return kinds


def padded(value: object) -> list[object]:
    """`value` among others, so that it isn't a bound of the statistics."""
    return [value, *([str(value)[0] + "a", "zz"] if isinstance(value, str) else [0, 2**60])] * 50


def test_finds_cells(tmp_path: Path) -> None:
    kinds = found(tmp_path, pa.table({"text": padded(TEXT), "number": padded(NUMBER)}), write_statistics=False)
    assert kinds[TEXT] >= {"cells of text", "dictionary of text"}
    assert kinds[str(NUMBER)] >= {"cells of number"}


def test_finds_dictionary_entries_that_no_row_has(tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int8()), pa.array(["plain", TEXT]))
    kinds = found(tmp_path, pa.table({"text": column}), store_schema=False, write_statistics=False)
    assert "dictionary of text" in kinds[TEXT]
    assert "cells of text" not in kinds[TEXT]


def test_finds_statistics_and_metadata(tmp_path: Path) -> None:
    table = pa.table({"text": [TEXT]}).replace_schema_metadata({"note": TEXT})
    assert found(tmp_path, table)[TEXT] >= {"statistics", "metadata"}


def test_finds_names(tmp_path: Path) -> None:
    folder = tmp_path / f"clinic={TEXT}"
    folder.mkdir()
    (folder / "empty").touch()
    assert {hit.token for hit in Scanner([TEXT]).look_at_tree(tmp_path)} == {TEXT}
