"""Keyed hashes of rows, and pseudonyms against the plain loop that defines them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import InvalidInput
from dataops.governance.hashing import keyed_hashes
from dataops.governance.pseudonyms import pseudonyms

KEY = bytes(range(32))


def hashes(*columns: pa.Array, key: bytes = KEY) -> list[int]:
    return keyed_hashes([pa.chunked_array([column]) for column in columns], key=key).tolist()


WORDS = st.text(max_size=20) | st.text("ab", max_size=20) | st.text("é\u0301e", max_size=4)
LONG = st.tuples(st.integers(100, 300), st.sampled_from("ab")).map(lambda pair: pair[0] * pair[1])
VALUES: list[tuple[pa.DataType, st.SearchStrategy[Any], Callable[[Any], Any]]] = [
    (pa.string(), WORDS | LONG, lambda value: unicodedata.normalize("NFC", value)),
    (pa.binary(), st.binary(max_size=20) | st.binary(max_size=3).map(lambda value: value + b"\0"), lambda value: value),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), lambda value: value),
    (pa.uint64(), st.integers(0, 2**64 - 1) | st.integers(2**64 - 3, 2**64 - 1), lambda value: value),
    (pa.int8(), st.integers(-128, 127), lambda value: value),
    (pa.bool_(), st.booleans(), lambda value: value),
    (pa.date32(), st.dates(), lambda value: value),
    (pa.timestamp("us"), st.datetimes(), lambda value: value),
    (pa.time64("us"), st.times(), lambda value: value),
    (pa.float64(), st.floats() | st.sampled_from([0.0, -0.0]), lambda value: "nan" if value != value else value),  # noqa: PLR0124
    (pa.decimal128(9, 3), st.decimals(-9, 9, places=3), lambda value: value),
]


@given(st.data())
def test_rows_have_equal_hashes_exactly_where_their_values_are_equal(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=3))
    rows = data.draw(st.lists(st.tuples(*(st.none() | values for _, values, _ in kinds)), max_size=10))
    columns = [pa.array([row[i] for row in rows], type_) for i, (type_, _, _) in enumerate(kinds)]
    canonical = [tuple(None if value is None else kinds[i][2](value) for i, value in enumerate(row)) for row in rows]
    found = hashes(*columns)
    for i, one in enumerate(found):
        for j, other in enumerate(found):
            assert (one == other) == (canonical[i] == canonical[j])


@given(st.sampled_from(VALUES), st.data(), st.integers(0, 8))
def test_a_row_has_its_hash_whatever_rows_surround_it(
    kind: tuple[pa.DataType, st.SearchStrategy[Any], Any], data: st.DataObject, cut: int
) -> None:
    type_, values, _ = kind
    column = pa.array(data.draw(st.lists(st.none() | values, max_size=8)), type_)
    pieces = pa.chunked_array([column.slice(0, cut), column.slice(cut)], type_)
    assert keyed_hashes([pieces], key=KEY).tolist() == hashes(column)
    assert hashes(column.slice(cut)) == hashes(column)[cut:]


def test_rows_beyond_one_block_are_hashed_as_all_others() -> None:
    numbers = np.arange(100_000) % 70_000
    texts = pa.array([f"{number}" for number in numbers])
    for column in (pa.array(numbers), texts):
        found = np.array(hashes(column))
        assert len(np.unique(found)) == 70_000
        assert (found[70_000:] == found[:30_000]).all()


def test_a_value_has_one_hash_in_every_width_encoding_and_unit() -> None:
    integers = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
    assert len({hashes(pa.array([7], type_))[0] for type_ in integers}) == 1
    texts = [pa.array(["é"], type_) for type_ in (pa.string(), pa.large_string(), pa.string_view())]
    assert len({hashes(text)[0] for text in [*texts, texts[0].dictionary_encode(), pa.array(["e\u0301"])]}) == 1
    moment = pa.array([datetime(1933, 5, 1, tzinfo=UTC)])
    zones = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in ("UTC", "Asia/Tokyo")]
    assert len({hashes(moment.cast(zone))[0] for zone in zones}) == 1
    assert len({hashes(pa.array([date(2026, 1, 1)], type_))[0] for type_ in (pa.date32(), pa.date64())}) == 1
    assert len({hashes(pa.array([time(12, 30)], type_))[0] for type_ in (pa.time32("s"), pa.time64("ns"))}) == 1
    assert len({hashes(pa.array([0.5], type_))[0] for type_ in (pa.float16(), pa.float32(), pa.float64())}) == 1
    decimals = [pa.array([Decimal("1.50")], pa.decimal128(9, scale)) for scale in (1, 2, 5)]
    assert len({hashes(column)[0] for column in decimals}) == 1
    assert hashes(pa.array([b"ab"], pa.binary(2))) == hashes(pa.array([b"ab"]))


def test_values_of_different_types_and_columns_in_another_order_differ() -> None:
    one = pa.array([1])
    moment = one.cast(pa.timestamp("s"))
    alike: list[pa.Array] = [
        one,
        pa.array(["1"]),
        pa.array([b"1"]),
        pa.array([True]),
        pa.array([1.0]),
        pa.array([Decimal(1)]),
        one.cast("int32").cast(pa.date32()),
        moment,
        moment.cast(pa.timestamp("s", "UTC")),
    ]
    assert len({hashes(column)[0] for column in alike}) == len(alike)
    assert hashes(one, pa.array([2])) != hashes(pa.array([2]), one)
    assert hashes(pa.array(["a"]), pa.array(["bc"])) != hashes(pa.array(["ab"]), pa.array(["c"]))


def test_every_null_has_one_hash_whatever_lies_under_it() -> None:
    hidden = pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\0"), pa.array([5, 6]).buffers()[1]], null_count=2)
    assert len({*hashes(hidden), *hashes(pa.nulls(1, pa.string())), *hashes(pa.nulls(1, pa.bool_()))}) == 1


def test_another_key_gives_other_hashes() -> None:
    column = pa.array(["ana"])
    assert hashes(column) != hashes(column, key=KEY[::-1])


def test_bits_are_spread_evenly_over_the_hash() -> None:
    for column in (pa.array(range(20_000)), pa.array([f"k{number}" for number in range(20_000)])):
        found = np.array(hashes(column), dtype=np.uint64)
        ones = [float(((found >> np.uint64(bit)) & np.uint64(1)).mean()) for bit in range(64)]
        assert max(abs(share - 0.5) for share in ones) < 0.02  # more than five standard deviations


@pytest.mark.parametrize("key", [b"", b"short", bytes(65)])
def test_without_a_proper_key_there_is_no_hash(key: bytes) -> None:
    with pytest.raises(InvalidInput, match="needs a key"):
        hashes(pa.array([1]), key=key)


def test_what_has_no_equality_is_refused() -> None:
    for column in (pa.array([[1]]), pa.array([{"a": 1}])):
        with pytest.raises(InvalidInput, match="equality"):
            hashes(column)
    with pytest.raises(InvalidInput, match="without columns"):
        keyed_hashes([], key=KEY)


# Pseudonyms: fast ways over the buffers give what the plain definition gives


def defined(tag: bytes, canonical: bytes) -> str:
    return blake2b(tag + canonical, key=KEY, digest_size=16).hexdigest()


DEFINED: list[tuple[pa.DataType, st.SearchStrategy[Any], Callable[[Any], str]]] = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1), lambda value: defined(b"i", b"%d" % value)),
    (pa.uint64(), st.integers(0, 2**64 - 1), lambda value: defined(b"i", b"%d" % value)),
    (pa.string(), WORDS, lambda value: defined(b"s", unicodedata.normalize("NFC", value).encode())),
    (pa.binary(), st.binary(max_size=9), lambda value: defined(b"x", value)),
    (pa.bool_(), st.booleans(), lambda value: defined(b"b", b"%d" % value)),
    (pa.date32(), st.dates(), lambda value: defined(b"d", b"%d" % (value - date(1970, 1, 1)).days)),
    *(
        (
            pa.timestamp(unit, zone),
            st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2),
            lambda value, tag=b"z" if zone else b"t", scale=scale: defined(tag, b"%d" % (value * scale)),
        )
        for unit, scale in (("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1))
        for zone in (None, "UTC")
    ),
]


@given(st.sampled_from(DEFINED), st.data())
def test_a_pseudonym_is_the_keyed_hash_of_tag_and_canonical_value(
    kind: tuple[pa.DataType, st.SearchStrategy[Any], Callable[[Any], str]], data: st.DataObject
) -> None:
    type_, values, one = kind
    rows = data.draw(st.lists(st.none() | values, max_size=8))
    column = pa.array(rows, pa.int64()).cast(type_) if pa.types.is_timestamp(type_) else pa.array(rows, type_)
    expected = [None if value is None else one(value) for value in rows]
    assert pseudonyms(pa.chunked_array([column]), key=KEY).to_pylist() == expected


@pytest.mark.parametrize("repeats", ["none", "few", "neighbours", "many"])
def test_unique_and_repeated_values_have_the_same_pseudonyms(repeats: str) -> None:
    n_rows = 10_000
    ids = {
        "none": np.arange(n_rows),
        "few": np.maximum(np.arange(n_rows), 50),
        "neighbours": np.arange(n_rows) // 3,
        "many": np.arange(n_rows) % 7,
    }[repeats]
    given_ = pa.chunked_array([pa.array([None, *(f"id-{number}" for number in ids)])])
    expected = [None, *(defined(b"s", b"id-%d" % number) for number in ids)]
    assert pseudonyms(given_, key=KEY).to_pylist() == expected
