"""Text that files hold as dictionaries is checked and masked by its distinct values; nothing of it is passed on."""

from __future__ import annotations

import itertools
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

from dataops.datasets.commit import ROWS_PER_GROUP, parquet_bytes
from dataops.datasets.decode import decode_unit, lies_in_dictionary, require_inside_dictionaries
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.errors import ContractViolation, DataopsError, Integrity
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
    assert encoded.places.in_file().tolist() == plain.places.in_file().tolist()
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


# --- what is written


TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "b", "c", "\u00e9", "long" * 40])), max_size=60)


@given(TEXTS, st.lists(st.integers(0, 60), max_size=3), st.randoms(use_true_random=False))
def test_equal_rows_give_equal_bytes_however_their_text_is_encoded(
    texts: list[str | None], cuts: list[int], chance: random.Random
) -> None:
    bounds = [0, *sorted(cut % (len(texts) + 1) for cut in cuts), len(texts)]
    chunks = []
    for start, stop in itertools.pairwise(bounds):
        words = ["stray", *{text for text in texts if text is not None}, "a"]  # one that no row has, one maybe twice
        chance.shuffle(words)
        places = [None if text is None else words.index(text) for text in texts[start:stop]]
        chunks.append(pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), pa.array(words)))
    encoded = pa.chunked_array(chunks, pa.dictionary(pa.int32(), pa.string()))
    plain = pa.table({"t": pa.array(texts, pa.string()), "n": range(len(texts))})
    assert parquet_bytes(plain.set_column(0, "t", encoded)).equals(parquet_bytes(plain))


@pytest.mark.parametrize("values", [3, 1 << 14, (1 << 14) + 1, 40_000])
@pytest.mark.parametrize("length", [8, 200])
def test_equal_rows_give_equal_bytes_over_row_groups_and_of_large_dictionaries(values: int, length: int) -> None:
    rows = ROWS_PER_GROUP + 5_000
    texts = pa.array([f"{place % values:0{length}d}" for place in range(rows)])
    table = pa.table({"t": texts})
    assert parquet_bytes(pa.table({"t": texts.dictionary_encode()})).equals(parquet_bytes(table))


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int16(), pa.int64()], ids=str)
@pytest.mark.parametrize("places", [[], [0, 1, 0], [1, None, 0], [1, 1, 1]], ids=str)
@pytest.mark.parametrize("times", [1, 60_000])
def test_equal_rows_give_equal_bytes_whatever_counts_a_dictionary(
    kind: pa.DataType, places: list[int | None], times: int
) -> None:
    one = pa.DictionaryArray.from_arrays(pa.array(places, kind), pa.array(["a", "b"]), ordered=True)
    texts = pa.chunked_array([one] * times)
    plain = pa.table({"t": texts.cast(pa.string())})
    assert parquet_bytes(pa.table({"t": texts})).equals(parquet_bytes(plain))


def test_rows_that_a_reader_may_not_see_change_no_byte_of_what_is_written(tmp_path: Path) -> None:
    rows = ["smith", "clerk", "baker"] * 30
    parts = []
    for name, hidden in (("one", [CANARY, "baker"]), ("two", ["clerk", CANARY]), ("three", ["smith", "smith"])):
        table = towns([*hidden, *rows]).set_column(
            0, "person", pa.array(["clerk", "baker", *(f"p{place}" for place in range(len(rows)))])
        )
        folder = tmp_path / name
        write(folder / "a.parquet", table)
        source = make_source(folder, columns={"trade": None}, filters=["person not in ('clerk', 'baker')"])
        seen = read_unit(source, units_of(folder)[0], ["trade"], encoded=True).table
        assert pa.types.is_dictionary(seen.schema.field("trade").type)
        parts.append(parquet_bytes(seen))
    assert parts[0].equals(parts[1])
    assert parts[0].equals(parts[2])


# --- text that is no text


def with_bad_text(folder: Path, *, at: int) -> Path:
    """Two hundred rows, one of which has a byte that is no UTF-8."""
    texts = [b"smith", b"baker"] * 100
    texts[at] = b"caf\xe9"
    table = towns(["smith"] * 200)
    bad = pa.DictionaryArray.from_arrays(*_encoded_bytes(texts))
    return write(folder / "a.parquet", table.set_column(2, "trade", bad))


def _encoded_bytes(texts: list[bytes]) -> tuple[pa.Array, pa.Array]:
    encoded = pa.array(texts, pa.binary()).dictionary_encode()
    values = encoded.dictionary
    return encoded.indices, pa.StringArray.from_buffers(len(values), values.buffers()[1], values.buffers()[2])


@pytest.mark.parametrize("encoded", [True, False])
def test_bad_text_of_a_row_that_is_filtered_out_keeps_nobody_from_reading(tmp_path: Path, encoded: bool) -> None:
    with_bad_text(tmp_path, at=7)
    columns = {"age": None, "trade": None}
    hidden = make_source(tmp_path, columns=columns, filters=["person <> 'p7'"])
    [unit] = units_of(tmp_path)
    assert read_unit(hidden, unit, ["trade"], encoded=encoded).table.num_rows == 199
    shown = make_source(tmp_path, columns=columns)
    with pytest.raises(ContractViolation, match=r"column 'trade' of .* holds values that are no string"):
        read_unit(shown, unit, ["trade"], encoded=encoded)


def test_an_index_that_is_not_in_its_dictionary_is_damage() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["a"]), safe=False)
    with pytest.raises(pa.ArrowInvalid, match="isn't in its dictionary"):
        require_inside_dictionaries(pa.table({"t": column}))
    below = pa.DictionaryArray.from_arrays(pa.array([0, -1], pa.int32()), pa.array(["a"]), safe=False)
    with pytest.raises(pa.ArrowInvalid, match="isn't in its dictionary"):
        require_inside_dictionaries(pa.table({"t": below}))
    empty = pa.DictionaryArray.from_arrays(pa.array([None], pa.int32()), pa.array([], pa.string()))
    require_inside_dictionaries(pa.table({"t": empty}))
