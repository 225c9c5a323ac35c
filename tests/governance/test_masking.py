from __future__ import annotations

import pickle
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import Integrity, InvalidInput
from dataops.governance.masking import Mask, MaskKind, apply_mask, output_type, parse_mask, plain_column

KEY = bytes(range(32))
CANARY = "CANARY-7319"

DROP, NULL, REDACT = (Mask(kind=kind) for kind in (MaskKind.DROP, MaskKind.NULL, MaskKind.REDACT))
PSEUDONYM = Mask(kind=MaskKind.PSEUDONYM, domain="person")


def bins(width: float) -> Mask:
    return Mask(kind=MaskKind.GENERALISE, width=width)


def prefix(length: int) -> Mask:
    return Mask(kind=MaskKind.GENERALISE, prefix=length)


MONTH, YEAR = Mask(kind=MaskKind.GENERALISE, date="month"), Mask(kind=MaskKind.GENERALISE, date="year")

RANGE = (datetime(1700, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()]
TIMES = [
    pa.date32(),
    pa.date64(),
    pa.timestamp("s"),
    pa.timestamp("us"),
    pa.timestamp("us", "UTC"),
    pa.timestamp("ms", "Asia/Tokyo"),
]
OTHERS = [pa.bool_(), pa.string(), pa.large_string(), pa.binary(), pa.float32(), pa.float64()]


def values_of(type_: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_integer(type_):
        low = 0 if pa.types.is_unsigned_integer(type_) else -(2 ** (type_.bit_width - 1))
        return st.integers(low, low + 2**type_.bit_width - 1)
    if pa.types.is_date(type_):
        return st.dates()
    if pa.types.is_timestamp(type_):
        earliest, latest = (moment.replace(tzinfo=None) for moment in RANGE)
        return st.datetimes(earliest, latest, timezones=st.just(UTC) if type_.tz else st.none())
    if pa.types.is_floating(type_):
        return st.floats(width=type_.bit_width)
    return {pa.bool_(): st.booleans(), pa.binary(): st.binary(max_size=6)}.get(type_, st.text(max_size=6))


@st.composite
def columns(draw: st.DrawFn, types: list[pa.DataType]) -> pa.ChunkedArray:
    type_ = draw(st.sampled_from(types))
    rows = draw(st.lists(st.none() | values_of(type_), max_size=12))
    column = pa.chunked_array([pa.array(rows, type_)])
    encodable = pa.types.is_string(type_) or pa.types.is_integer(type_)
    return column.dictionary_encode() if encodable and draw(st.booleans()) else column


widths = st.sampled_from([1.0, 5.0, 7.0, 100.0, 2.0**40]) | st.integers(1, 2**53).map(float)
fractions = st.floats(1e-300, 2.0**53) | st.sampled_from([0.1, 0.3, 5.0, 1e-9])
masked_columns = st.one_of(
    st.tuples(st.sampled_from([NULL, REDACT]), columns(INTEGERS + TIMES + OTHERS)),
    st.tuples(widths.map(bins), columns(INTEGERS)),
    st.tuples(fractions.map(bins), columns([pa.float32(), pa.float64()])),
    st.tuples(st.integers(1, 4).map(prefix), columns([pa.string(), pa.large_string()])),
    st.tuples(st.sampled_from([MONTH, YEAR]), columns(TIMES)),
)
pseudonymised_columns = st.tuples(
    st.just(PSEUDONYM), columns(INTEGERS + TIMES + [t for t in OTHERS if not pa.types.is_floating(t)])
)


@given(masked_columns)
@settings(max_examples=50)
def test_null_redact_and_generalise_are_idempotent(case: tuple[Mask, pa.ChunkedArray]) -> None:
    mask, column = case
    once = apply_mask(mask, column)
    assert apply_mask(mask, once).equals(once)


@given(masked_columns | pseudonymised_columns, st.lists(st.integers(0, 12), max_size=3))
@settings(max_examples=50)
def test_any_split_of_the_rows_gives_the_same_values(case: tuple[Mask, pa.ChunkedArray], cuts: list[int]) -> None:
    mask, column = case
    edges = [0, *sorted(min(cut, len(column)) for cut in cuts), len(column)]
    pieces = [column.slice(start, stop - start) for start, stop in pairwise(edges)]
    chunks = [chunk for piece in pieces for chunk in piece.chunks]
    whole = apply_mask(mask, column, key=KEY)
    assert apply_mask(mask, pa.chunked_array(chunks, column.type), key=KEY).equals(whole)
    apart = [chunk for piece in pieces for chunk in apply_mask(mask, piece, key=KEY).chunks]
    assert pa.chunked_array(apart, whole.type).equals(whole)


@given(masked_columns | pseudonymised_columns)
@settings(max_examples=50)
def test_the_type_is_what_was_announced_and_no_row_is_lost(case: tuple[Mask, pa.ChunkedArray]) -> None:
    mask, column = case
    masked = apply_mask(mask, column, key=KEY)
    masked.validate(full=True)
    assert masked.type == output_type(mask, column.type)
    assert len(masked) == len(column)


@given(data=st.data(), type_=st.sampled_from(INTEGERS), width=widths)
@settings(max_examples=200)
def test_whole_numbers_are_put_into_bins_exactly_to_the_ends_of_their_type(
    data: st.DataObject, type_: pa.DataType, width: float
) -> None:
    low = 0 if pa.types.is_unsigned_integer(type_) else -(2 ** (type_.bit_width - 1))
    high = low + 2**type_.bit_width - 1
    near_ends = st.integers(low, min(high, low + 200)) | st.integers(max(low, high - 200), high)
    values = data.draw(st.lists(near_ends | st.integers(low, high), min_size=1, max_size=8))
    found = apply_mask(bins(width), pa.chunked_array([pa.array(values, type_)]))
    assert found.to_pylist() == [max(low, value // int(width) * int(width)) for value in values]


@given(columns([pa.float64()]), fractions)
@settings(max_examples=50)
def test_a_float_is_never_below_its_bin(column: pa.ChunkedArray, width: float) -> None:
    for value, lower in zip(column.to_pylist(), apply_mask(bins(width), column).to_pylist(), strict=True):
        assert lower is None or lower <= value


def test_integers_fall_to_the_lower_bound_of_their_bin() -> None:
    column = pa.chunked_array([[0, 4, 5, 9, -1, -5, -6, None]])
    assert apply_mask(bins(5), column).to_pylist() == [0, 0, 5, 5, -5, -5, -10, None]


def test_the_first_bin_of_a_type_begins_at_its_least_value() -> None:
    assert apply_mask(bins(100), pa.chunked_array([pa.array([-128, -1, 127], pa.int8())])).to_pylist() == [
        -128,
        -100,
        100,
    ]
    least = -(2**63)
    assert apply_mask(bins(7), pa.chunked_array([pa.array([least, 2**63 - 1])])).to_pylist() == [
        least,
        9223372036854775807,
    ]
    assert apply_mask(bins(7), pa.chunked_array([pa.array([2**64 - 1], pa.uint64())])).to_pylist() == [
        18446744073709551614
    ]


def test_what_has_no_bin_becomes_null() -> None:
    column = pa.chunked_array([[float("nan"), float("inf"), -float("inf"), 1e300, 0.25, -0.0]])
    assert apply_mask(bins(0.1), column).to_pylist() == [None, None, None, None, 0.2, 0.0]


@pytest.mark.parametrize("width", [0.1, 0.3, 0.7, 1.1, 0.01, 1 / 3, 7e-05])
def test_every_bound_is_its_own_bound_where_plain_division_says_otherwise(width: float) -> None:
    bounds = [k * width for k in range(1, 100)]
    assert any(bound // width != k for k, bound in enumerate(bounds, start=1))
    assert apply_mask(bins(width), pa.chunked_array([bounds])).to_pylist() == bounds


def test_dates_fall_to_the_first_of_their_month_or_year() -> None:
    days = pa.chunked_array([pa.array([date(1994, 5, 17), date(1969, 12, 31), None])])
    assert apply_mask(MONTH, days).to_pylist() == [date(1994, 5, 1), date(1969, 12, 1), None]
    assert apply_mask(YEAR, days).to_pylist() == [date(1994, 1, 1), date(1969, 1, 1), None]


def test_an_instant_is_cut_in_utc_whatever_its_zone() -> None:
    new_year = datetime(2026, 1, 1, 3, tzinfo=UTC)
    for zone in ("UTC", "America/New_York", "Asia/Tokyo"):
        column = pa.chunked_array([pa.array([new_year], pa.timestamp("us", zone))])
        assert apply_mask(YEAR, column).cast(pa.timestamp("us", "UTC")).to_pylist() == [
            datetime(2026, 1, 1, tzinfo=UTC)
        ]


def test_a_prefix_counts_characters_not_bytes() -> None:
    assert apply_mask(prefix(2), pa.chunked_array([["äöü", "😀😁😂", "a", "", None]])).to_pylist() == [
        "äö",
        "😀😁",
        "a",
        "",
        None,
    ]


def test_redact_hides_which_rows_had_no_value() -> None:
    assert apply_mask(REDACT, pa.chunked_array([[1, None]])).to_pylist() == ["[redacted]", "[redacted]"]


def test_one_person_has_one_pseudonym_in_every_width_and_encoding() -> None:
    def of(column: pa.Array) -> str:
        return str(apply_mask(PSEUDONYM, pa.chunked_array([column]), key=KEY)[0])

    assert len({of(pa.array([7], type_)) for type_ in INTEGERS}) == 1
    assert len({of(pa.array(["é"], type_)) for type_ in (pa.string(), pa.large_string(), pa.string_view())}) == 1
    assert of(pa.array(["e\u0301"])) == of(pa.array(["é"]).dictionary_encode())
    moments = [of(pa.array([date(2026, 1, 1)]).cast(pa.timestamp(unit))) for unit in ("s", "ms", "us", "ns")]
    assert len(set(moments)) == 1
    assert of(pa.array([date(2026, 1, 1)], pa.date32())) == of(pa.array([date(2026, 1, 1)], pa.date64()))


def test_values_of_different_types_have_different_pseudonyms() -> None:
    alike: list[pa.Array] = [
        pa.array([1]),
        pa.array(["1"]),
        pa.array([b"1"]),
        pa.array([True]),
        pa.array([1], pa.date32()),
    ]
    assert len({apply_mask(PSEUDONYM, pa.chunked_array([column]), key=KEY).to_pylist()[0] for column in alike}) == len(
        alike
    )


def test_a_pseudonym_is_the_keyed_hash_of_rfc_7693() -> None:
    from hashlib import blake2b

    masked = apply_mask(PSEUDONYM, pa.chunked_array([["ana", None, "ana"]]), key=KEY).to_pylist()
    expected = blake2b(b"sana", key=KEY, digest_size=16).hexdigest()
    assert masked == [expected, None, expected]
    assert len(expected) == 32


def test_another_key_gives_other_pseudonyms() -> None:
    column = pa.chunked_array([["ana", "bo"]])
    assert (
        apply_mask(PSEUDONYM, column, key=KEY).to_pylist() != apply_mask(PSEUDONYM, column, key=KEY[::-1]).to_pylist()
    )


@pytest.mark.parametrize("key", [None, b"", b"short", bytes(65)])
def test_without_a_proper_key_there_is_no_pseudonym(key: bytes | None) -> None:
    with pytest.raises(InvalidInput, match="needs a key"):
        apply_mask(PSEUDONYM, pa.chunked_array([["ana"]]), key=key)


def test_times_beyond_the_range_of_python_have_pseudonyms_and_no_error() -> None:
    far = pa.chunked_array([pa.array([2**62, -(2**62)]).cast(pa.timestamp("s"))])
    assert len(set(apply_mask(PSEUDONYM, far, key=KEY).to_pylist())) == 2


def hiding(kind: str) -> pa.ChunkedArray:
    """A column whose rows don't show the canary but whose buffers hold it."""
    column = pa.array([CANARY, "plain", "other"])
    if kind == "under a null":
        return pa.chunked_array([pc.if_else(pa.array([True, False, False]), pa.scalar(None, pa.string()), column)])
    if kind == "in the dictionary":
        return pa.chunked_array([column.dictionary_encode().slice(1)])
    return pa.chunked_array([column.slice(1)])


@pytest.mark.parametrize("kind", ["under a null", "in the dictionary", "outside the slice"])
@pytest.mark.parametrize("mask", [NULL, REDACT, PSEUDONYM, prefix(20)], ids=str)
def test_no_buffer_holds_a_value_that_no_row_shows(kind: str, mask: Mask) -> None:
    column = hiding(kind)
    assert CANARY.encode() in pickle.dumps(column)
    assert CANARY.encode() not in pickle.dumps(apply_mask(mask, column, key=KEY))


def test_a_number_hidden_under_a_null_is_not_computed_on() -> None:
    hidden = pc.if_else(pa.array([True, False]), pa.scalar(None, pa.int64()), pa.array([1000007, 3]))
    masked = apply_mask(bins(1), pa.chunked_array([hidden]))
    assert masked.to_pylist() == [None, 3]
    assert (1000007).to_bytes(8, "little") in pickle.dumps(hidden)
    assert (1000007).to_bytes(8, "little") not in pickle.dumps(masked)


def test_a_date_hidden_under_a_null_is_not_computed_on() -> None:
    dates = pa.array([date(1971, 7, 19), date(2020, 5, 1)])
    hidden = pc.if_else(pa.array([True, False]), pa.scalar(None, pa.date32()), dates)
    stored, cut = ((day - date(1970, 1, 1)).days.to_bytes(4, "little") for day in (date(1971, 7, 19), date(1971, 7, 1)))
    assert stored in pickle.dumps(hidden)
    masked = pickle.dumps(apply_mask(MONTH, pa.chunked_array([hidden])))
    assert stored not in masked
    assert cut not in masked


def test_text_that_is_not_utf8_is_refused_without_quoting_it() -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xffSECRET"], pa.binary()).buffers())
    with pytest.raises(Integrity) as caught:
        apply_mask(prefix(2), pa.chunked_array([broken]))
    assert "SECRET" not in str(caught.value)
    assert apply_mask(PSEUDONYM, pa.chunked_array([broken]), key=KEY).null_count == 0


@pytest.mark.parametrize(
    ("mask", "type_"),
    [
        (bins(5), pa.string()),
        (bins(2.5), pa.int32()),
        (bins(5), pa.decimal128(9, 2)),
        (prefix(2), pa.int64()),
        (MONTH, pa.string()),
        (PSEUDONYM, pa.float64()),
        (PSEUDONYM, pa.list_(pa.float64())),
        (PSEUDONYM, pa.struct([("name", pa.string())])),
        (DROP, pa.string()),
    ],
    ids=str,
)
def test_a_mask_refuses_a_type_that_it_can_not_take(mask: Mask, type_: pa.DataType) -> None:
    with pytest.raises(InvalidInput, match="mask"):
        output_type(mask, type_)


def test_nested_values_can_be_nulled_and_redacted() -> None:
    column = pa.chunked_array([pa.array([[CANARY], None], pa.list_(pa.string()))])
    assert apply_mask(NULL, column).null_count == 2
    structs = pa.chunked_array([pa.array([{"name": CANARY}, None])])
    assert apply_mask(REDACT, structs).to_pylist() == ["[redacted]"] * 2


@pytest.mark.parametrize(
    ("value", "mask"),
    [
        ("drop", DROP),
        ("null", NULL),
        (None, NULL),
        ("redact", REDACT),
        ({"generalise": {"width": 5}}, bins(5.0)),
        ({"generalise": {"prefix": 2}}, prefix(2)),
        ({"generalise": {"date": "year"}}, YEAR),
        ({"pseudonym": {"domain": "person"}}, PSEUDONYM),
    ],
)
def test_a_mask_is_read_as_written_and_its_record_round_trips(value: Any, mask: Mask) -> None:
    parsed = parse_mask(value, where="here")
    assert parsed == mask
    assert Mask.from_record(parsed.record()) == parsed
    assert Mask.from_record(parsed.record()).digest == mask.digest


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        ("redacted", "Did you mean 'redact'"),
        ("generalise", "exactly one"),
        ("pseudonym", "domain"),
        ({"generalise": {"width": 5, "prefix": 2}}, "exactly one"),
        ({"generalise": {"width": 0}}, "greater than 0"),
        ({"generalise": {"width": True}}, "number"),
        ({"generalise": {"width": "5"}}, "number"),
        ({"generalise": {"width": float("inf")}}, "number"),
        ({"generalise": {"prefix": 1.5}}, "whole number"),
        ({"generalise": {"prefix": -1}}, "whole number"),
        ({"generalise": {"date": "week"}}, "day, month, quarter or year"),
        ({"generalise": {"widht": 5}}, "Did you mean 'width'"),
        ({"pseudonym": {"domain": ""}}, "domain"),
        ({"pseudonym": {"domain": "person", "key_id": "key-1"}}, "no parameter 'key_id'"),
        ({"drop": {"width": 5}}, "no parameter 'width'"),
        ({"drop": {}, "null": {}}, "expected drop"),
        ({}, "expected drop"),
        (5, "expected drop"),
        ([], "expected drop"),
    ],
)
def test_what_is_no_mask_is_refused_with_its_place(value: Any, finding: str) -> None:
    with pytest.raises(InvalidInput, match=finding) as caught:
        parse_mask(value, where="policies/x.yaml:3")
    assert str(caught.value).startswith("policies/x.yaml:3: ")


@pytest.mark.parametrize("record", [{}, {"kind": "shuffle"}, {"kind": "drop", "salt": 1}, {"kind": "generalise"}])
def test_a_record_that_is_no_mask_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Mask.from_record(record)


def test_a_plain_column_has_no_dictionary() -> None:
    column = pa.chunked_array([pa.array(["a", "b", "a"], pa.large_string())]).dictionary_encode()
    assert plain_column(column).equals(pa.chunked_array([["a", "b", "a"]]))


TEXTS = [None, "", "ann", "bob", "bertha", "çelik", "zoë"]
BY_VALUE = (PSEUDONYM, parse_mask({"keep": {"last": 2}}, where="test"), prefix(1))


@pytest.mark.parametrize("mask", BY_VALUE, ids=str)
@given(
    rows=st.lists(st.sampled_from(TEXTS), max_size=40),
    others=st.lists(st.sampled_from([*TEXTS[1:], "somebody who was filtered out"]), unique=True),
    cut=st.integers(0, 40),
)
def test_a_dictionary_stays_one_of_what_rows_have_and_in_no_order_of_the_true_values(
    mask: Mask, rows: list[str | None], others: list[str], cut: int
) -> None:
    values = [*others, *dict.fromkeys(row for row in rows if row is not None and row not in others)]
    indices = pa.array([None if row is None else values.index(row) for row in rows], pa.int32())
    whole = pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.string()))
    column = pa.chunked_array([whole[:cut], whole[cut:]])
    plain = apply_mask(mask, column, key=KEY)
    encoded = apply_mask(mask, column, key=KEY, encoded=True)
    assert encoded.to_pylist() == plain.to_pylist()
    if pa.types.is_dictionary(encoded.type):
        assert encoded.num_chunks == 1
        assert encoded.chunk(0).dictionary.to_pylist() == sorted({row for row in plain.to_pylist() if row is not None})
    else:
        assert encoded.type == pa.string()


def test_a_dictionary_of_few_values_stays_one() -> None:
    column = pa.chunked_array([pa.array(["b", "a", "b", None] * 8).dictionary_encode()])
    assert pa.types.is_dictionary(apply_mask(prefix(1), column, encoded=True).type)
    assert apply_mask(REDACT, column, encoded=True).to_pylist() == ["[redacted]"] * 32
