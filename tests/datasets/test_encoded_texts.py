"""Text that files hold as dictionaries is checked and masked by its distinct values; nothing of it is passed on."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.decode import decode_unit, lies_in_dictionary
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.errors import DataopsError, Integrity
from dataops.governance.contract import RuleKind
from dataops.governance.masking import Mask, MaskKind
from tests.datasets.examples import make_contract, make_rule, make_source, units_of, write

CANARY = "CANARY-7319"
READ = ("person", "age", "trade")
TRADES = ["smith", "baker", "clerk", CANARY]


def towns(trades: list[str | None]) -> pa.Table:
    n = len(trades)
    return pa.table(
        {
            "person": [f"p{i}" for i in range(n)],
            "age": pa.array([i % 90 for i in range(n)], pa.int32()),
            "trade": pa.array(trades, pa.string()),
            "secret": ["x"] * n,
        }
    )


def read(folder: Path, table: pa.Table, **options: Any) -> GovernedRead:
    """What a reader gets under a filter, two rules and a mask."""
    write(folder / "a.parquet", table, **options)
    rules = [
        make_rule(id="known", kind=RuleKind.PATTERN, column="trade", arguments={"value": "smith|baker|CANARY.*"}),
        make_rule(id="given", kind=RuleKind.NOT_NULL, column="trade", arguments={}),
        make_rule(id="apart", kind=RuleKind.EXPRESSION, column=None, arguments={"sql": "trade <> person"}),
    ]
    columns = {"person": None, "age": None, "trade": None}
    source = make_source(
        folder, contract=make_contract(rules=rules), columns=columns, filters=[f"trade is null or trade <> '{CANARY}'"]
    )
    return read_unit(source, units_of(folder)[0], READ)


@given(st.lists(st.sampled_from([*TRADES, None]), min_size=1, max_size=80), st.integers(1, 4))
def test_dictionaries_change_nothing_of_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, trades: list[str | None], times: int
) -> None:
    table = towns(trades * times)
    encoded = read(tmp_path_factory.mktemp("encoded"), table, use_dictionary=True)
    plain = read(tmp_path_factory.mktemp("plain"), table, use_dictionary=False)
    assert encoded.table.equals(plain.table)
    assert encoded.receipt == plain.receipt
    assert encoded.positions.tolist() == plain.positions.tolist()
    aside = [[] if one.quarantined is None else one.quarantined.to_pylist() for one in (encoded, plain)]
    assert aside[0] == aside[1]


def test_no_value_of_a_row_that_was_left_out_comes_along(tmp_path: Path) -> None:
    table = towns(TRADES * 100)
    write(tmp_path / "a.parquet", table)
    (unit,) = units_of(tmp_path)
    inside = decode_unit(make_source(tmp_path), unit, ["trade"], encoded=True).table
    assert pa.types.is_dictionary(inside.schema.field("trade").type)
    assert CANARY.encode() in pickle.dumps(inside)
    got = read(tmp_path, table)
    assert got.receipt.filtered_by_policy == 100
    assert got.quarantined is not None
    for passed_on in (got.table, got.quarantined):
        assert CANARY.encode() not in pickle.dumps(passed_on)
        assert not any(pa.types.is_dictionary(field.type) for field in passed_on.schema)


def test_texts_that_are_nearly_all_different_are_read_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", towns(TRADES * 100))
    (unit,) = units_of(tmp_path)
    found = decode_unit(make_source(tmp_path), unit, ["person", "trade"], encoded=True).table
    assert [pa.types.is_dictionary(field.type) for field in found.schema] == [False, True]


def test_a_damaged_page_never_points_outside_of_its_dictionary(tmp_path: Path) -> None:
    table, path = towns(TRADES * 100), tmp_path / "a.parquet"
    write(path, table, compression="none")
    whole, before = path.read_bytes(), path.stat()
    (unit,) = units_of(tmp_path)
    columns = {"trade": Mask(kind=MaskKind.KEEP, first=1)}
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(2)
    start = chunk.dictionary_page_offset
    refused = 0
    for place in range(start, start + chunk.total_compressed_size):
        data = bytearray(whole)
        data[place] ^= 1 << random.Random(place).randrange(8)  # noqa: S311 - which bit, alike in every run
        path.write_bytes(data)
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
        try:
            got = read_unit(make_source(tmp_path, columns=columns), unit, ["trade"])
            assert got.table.num_rows == table.num_rows
        except DataopsError as error:
            refused += isinstance(error, Integrity)
    assert refused > 10


def test_a_filter_of_dictionaries_is_evaluated_by_row(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", towns(["smith", None, "baker", "smith"] * 50))
    source = make_source(tmp_path, filters=["trade = 'smith'"])
    assert read_unit(source, units_of(tmp_path)[0], ["trade"]).table.column("trade").to_pylist() == ["smith"] * 100


@pytest.mark.parametrize(
    ("encodings", "size", "expected"),
    [
        (("PLAIN", "RLE", "RLE_DICTIONARY"), 100, True),
        (("PLAIN_DICTIONARY", "RLE"), 100, True),
        (("PLAIN", "RLE", "RLE_DICTIONARY"), 4000, False),
        (("PLAIN", "RLE"), 100, False),
        (("RLE_DICTIONARY", "DELTA_BYTE_ARRAY"), 100, False),
    ],
)
def test_that_text_lies_in_a_dictionary_is_told_by_its_encodings(
    encodings: tuple[str, ...], size: int, *, expected: bool
) -> None:
    """Writers such as DuckDB don't say where the dictionary's page begins."""
    chunk = SimpleNamespace(
        encodings=encodings, total_uncompressed_size=size, num_values=1000, has_dictionary_page=False
    )
    assert lies_in_dictionary(cast("Any", chunk)) is expected
