"""Rows on their way: every row arrives once, in its part, in order, whatever types its columns have; what is damaged or
gone is said; of several attempts one counts.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import Integrity
from dataops.preparation.exchange import Exchange, Step, Tally, require_conserved, total
from dataops.preparation.matching import KeyIndex, expanded

KEYS = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c", "å", ""])), max_size=30)
TYPES: dict[str, tuple[pa.DataType, Any]] = {
    "decimal": (pa.decimal128(12, 2), lambda n: Decimal(n) / 4),
    "list": (pa.list_(pa.string()), lambda n: [f"v{n}"] * (n % 3)),
    "bytes": (pa.binary(), lambda n: bytes([n % 256])),
    "flag": (pa.bool_(), lambda n: n % 2 == 0),
    "day": (pa.date32(), lambda n: n),
    "at": (pa.timestamp("ns", "UTC"), lambda n: n),
    "time": (pa.time64("us"), lambda n: n),
    "text": (pa.string(), lambda n: "x" * n),
}


def _table(keys: list[str | None]) -> pa.Table:
    rows = range(len(keys))
    columns = {"key": pa.array(keys, pa.string()), "row": pa.array(rows, pa.int64())}
    for name, (type_, make) in TYPES.items():
        columns[name] = pa.array([None if n % 5 == 4 else make(n) for n in rows], type_)
    return pa.table(columns)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Exchange:
    return Exchange(storage=str(tmp_path_factory.mktemp("exchange")), dataset="out", run="run-1", seed="seed")


@given(units=st.lists(KEYS, min_size=1, max_size=3), parts=st.integers(1, 4))
def test_every_row_arrives_once_and_in_order(exchange: Exchange, units: list[list[str | None]], parts: int) -> None:
    tables = [_table(keys) for keys in units]
    paths, written = [], []
    for table in tables:
        part, tally = exchange.by_key([table.column("key")], parts)
        paths.append(exchange.write("rows", table, part, parts))
        written.append(tally)
    arrived = [exchange.read(paths, number) for number in range(parts)]
    require_conserved("rows", total(written), total(exchange.tally([one.column("key")]) for one in arrived))
    of_key: dict[str | None, int] = {}
    for number, table in enumerate(arrived):
        for key in table.column("key").to_pylist():
            assert of_key.setdefault(key, number) == number
    for key in of_key:
        sent = [row for table in tables for row in table.to_pylist() if row["key"] == key]
        got = [row for row in arrived[of_key[key]].to_pylist() if row["key"] == key]
        assert got == sent


@given(left=KEYS, right=KEYS)
def test_payloads_of_any_type_come_along(left: list[str | None], right: list[str | None]) -> None:
    theirs = _table(right)
    keys = pa.chunked_array([pa.array(left, pa.string())])
    matches = KeyIndex([theirs.column("key")]).matches([keys])
    places, found = expanded(np.arange(len(left)), matches, inner=False)
    taken = theirs.take(pa.array(found, mask=found < 0)).to_pylist()
    rows = theirs.to_pylist()
    assert [left[place] for place in places] == [
        row["key"] if row["key"] is not None else left[place] for place, row in zip(places, taken, strict=True)
    ]
    assert taken == [dict.fromkeys(theirs.column_names) if row < 0 else rows[row] for row in found]


def test_other_data_make_other_buckets(exchange: Exchange) -> None:
    keys = [pa.chunked_array([pa.array([f"k{n}" for n in range(200)])])]
    other = Exchange(storage=exchange.storage, dataset="out", run="run-1", seed="another")
    assert exchange.by_key(keys, 8)[0].tolist() != other.by_key(keys, 8)[0].tolist()


def test_rows_that_differ_in_count_or_key_are_told() -> None:
    with pytest.raises(Integrity, match="2 rows were handed on, 1 arrived"):
        require_conserved("rows", Tally(rows=2, hashes=3), Tally(rows=1, hashes=3))
    with pytest.raises(Integrity, match="are not the same"):
        require_conserved("rows", Tally(rows=2, hashes=3), Tally(rows=2, hashes=4))


def test_tallies_wrap_and_come_back_from_records() -> None:
    most = Tally(rows=1, hashes=2**64 - 1)
    assert total([most, most]) == Tally(rows=2, hashes=2**64 - 2)
    assert Tally.from_record(most.record()) == most


def test_first_attempt_counts_and_the_other_leaves_nothing(tmp_path: Path) -> None:
    exchange = Exchange(storage=str(tmp_path), dataset="out", run="run-1", seed="seed")
    table = _table(["a", "b"])
    part, tally = exchange.by_key([table.column("key")], 1)
    steps = [
        Step(
            phase="read-1",
            unit="u000000",
            paths={"read-1": exchange.write("x", table, part, 1)},
            tallies={"read-1": tally},
        )
        for _ in range(2)
    ]
    assert [exchange.put(step) for step in steps] == [steps[0], steps[0]]
    assert exchange.done("read-1") == {"u000000": steps[0]}
    assert exchange.earlier("read-1", "u000000") == steps[0]
    assert exchange.earlier("read-1", "u000001") is None
    assert len(list(tmp_path.rglob("*.arrow"))) == 1
    exchange.remove()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("harm", ["gone", "cut", "noise"])
def test_damaged_file_is_an_error_without_a_value(tmp_path: Path, harm: str) -> None:
    exchange = Exchange(storage=str(tmp_path), dataset="out", run="run-1", seed="seed")
    table = _table(["CANARY"] * 50)
    path = exchange.write("x", table, np.zeros(50, np.int64), 1)
    file = tmp_path / path
    data = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(data[:-40] if harm == "cut" else b"noise" * (len(data) // 5))
    with pytest.raises(Integrity, match="gone or damaged") as caught:
        exchange.read([path], 0)
    assert "CANARY" not in str(caught.value)
