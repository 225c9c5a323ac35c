"""Constants, kept ends, rare values, edges and coding, and every mask over lists."""

from __future__ import annotations

import pickle
from contextlib import suppress
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import Integrity, InvalidInput
from dataops.governance.hashing import keyed_hashes
from dataops.governance.mask import overrules
from dataops.governance.masking import Mask, MaskKind, apply_mask, output_type, parse_mask

KEY = bytes(range(32))
CANARY = "CANARY-7319"


def mask(text: Any) -> Mask:
    return parse_mask(text, where="here")


def frequent_of(*values: Any, type_: pa.DataType | None = None) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.sort(keyed_hashes([pa.chunked_array([pa.array(values, type_)])], key=KEY))


def masked(text: Any, values: Any, type_: pa.DataType | None = None) -> list[Any]:
    return apply_mask(mask(text), pa.chunked_array([pa.array(values, type_)])).to_pylist()


TEXTS = st.lists(
    st.none() | st.text(max_size=6) | st.sampled_from(["ana", "bo", "[rare]", "é", "e\u0301"]), max_size=10
)
NUMBERS = st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 99), max_size=10)
FLOATS = st.lists(st.none() | st.floats() | st.floats(-9, 99), max_size=10)
TIMES = st.lists(st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)), max_size=10)  # noqa: DTZ001
NUMBER_MASKS = st.sampled_from(
    [
        {"constant": 7},
        {"generalise": {"edges": [0, 18, 65]}},
        {"generalise": {"top": 90}},
        {"generalise": {"bottom": 18, "top": 90}},
        {"generalise": {"bottom": 18, "top": 93, "width": 5}},
        {"generalise": {"bottom": -3, "edges": [0, 50]}},
    ]
)
TEXT_MASKS = st.sampled_from(
    [{"constant": "x"}, {"keep": {"first": 2}}, {"keep": {"last": 1}}, {"keep": {"first": 1, "last": 2}}, "redact"]
)
CASES = st.one_of(
    st.tuples(TEXT_MASKS, TEXTS, st.just(pa.string())),
    st.tuples(st.just({"rare": {"min_count": 2}}), TEXTS, st.just(pa.string())),
    st.tuples(st.just({"rare": {"min_count": 2}}), NUMBERS, st.just(pa.int64())),
    st.tuples(NUMBER_MASKS, NUMBERS, st.just(pa.int64())),
    st.tuples(NUMBER_MASKS, FLOATS, st.just(pa.float64())),
    st.tuples(
        st.sampled_from([{"generalise": {"date": unit}} for unit in ("day", "quarter")]),
        TIMES,
        st.just(pa.timestamp("us")),
    ),
)
FREQUENT = np.sort(np.concatenate([frequent_of("ana", "é", "[rare]"), frequent_of(*range(50))]))


def under(one: Mask, column: pa.ChunkedArray) -> pa.ChunkedArray:
    return apply_mask(one, column, key=KEY, frequent=FREQUENT)


def same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    return bool(one.combine_chunks().equals(other.combine_chunks()))


@given(CASES)
def test_every_new_mask_is_idempotent_and_gives_its_announced_type(case: tuple[Any, list[Any], pa.DataType]) -> None:
    text, values, type_ = case
    one = mask(text)
    once = under(one, pa.chunked_array([pa.array(values, type_)]))
    once.validate(full=True)
    assert once.type == output_type(one, type_)
    assert len(once) == len(values)
    assert same(under(one, once), once)


@given(CASES, st.lists(st.integers(0, 10), max_size=3))
def test_any_split_of_the_rows_gives_the_same_values(case: tuple[Any, list[Any], pa.DataType], cuts: list[int]) -> None:
    text, values, type_ = case
    one, column = mask(text), pa.chunked_array([pa.array(values, type_)])
    edges = [0, *sorted(min(cut, len(column)) for cut in cuts), len(column)]
    pieces = [column.slice(start, stop - start) for start, stop in pairwise(edges)]
    apart = [chunk for piece in pieces for chunk in under(one, piece).chunks]
    whole = under(one, column)
    assert same(pa.chunked_array(apart, whole.type), whole)


@given(CASES, CASES, st.integers(1, 5))
def test_a_column_with_dictionaries_is_masked_as_the_plain_one(
    case: tuple[Any, list[Any], pa.DataType], other: tuple[Any, list[Any], pa.DataType], times: int
) -> None:
    text, values, type_ = case
    more = other[1] if other[2] == type_ else values[:3]
    pieces = [pa.array(part * times, type_) for part in (values, more)]
    encoded = pa.chunked_array([piece.dictionary_encode() for piece in pieces], pa.dictionary(pa.int32(), type_))
    column = under(mask(text), encoded)
    assert not pa.types.is_dictionary(column.type)
    assert same(column, under(mask(text), pa.chunked_array(pieces, type_)))


@given(CASES, st.data())
def test_a_list_is_masked_as_its_elements_are(case: tuple[Any, list[Any], pa.DataType], data: st.DataObject) -> None:
    text, values, type_ = case
    one = mask(text)
    rows = data.draw(
        st.lists(st.none() | st.lists(st.sampled_from(values), max_size=3) if values else st.none(), max_size=5)
    )
    column = pa.chunked_array([pa.array(rows, pa.list_(type_))])
    lists = under(one, column)
    lists.validate(full=True)
    assert lists.type == pa.list_(output_type(one, type_))
    elements = [value for row in rows for value in row or []]
    expected = under(one, pa.chunked_array([pa.array(elements, type_)]))
    assert same(pa.chunked_array([chunk.flatten() for chunk in lists.chunks]), expected)
    assert [None if row is None else len(row) for row in rows] == [
        None if row is None else len(row) for row in lists.to_pylist()
    ]


def test_a_constant_stands_in_every_row_nulls_too() -> None:
    assert masked({"constant": "x"}, [1, None]) == ["x", "x"]
    assert masked({"constant": 5}, [1, None], pa.int8()) == [5, 5]
    assert masked({"constant": 2.5}, [1.0, None], pa.float32()) == [2.5, 2.5]
    assert masked({"constant": ""}, ["a"]) == [""]


def test_kept_ends_count_characters_and_hide_what_they_would_show_whole() -> None:
    values = ["ana@example", "äöüß", "abc", "ab", "a", "", "😀😁😂😃", None]
    assert masked({"keep": {"first": 2, "last": 1}}, values) == [
        "an********e",
        "äö*ß",
        "***",
        "**",
        "*",
        "",
        "😀😁*😃",
        None,
    ]
    assert masked({"keep": {"last": 4}}, ["4111111111111111"]) == ["************1111"]


def test_a_value_falls_to_the_greatest_edge_that_is_not_above_it() -> None:
    edges = {"generalise": {"edges": [0, 18, 65]}}
    assert masked(edges, [-1, 0, 17, 18, 64, 65, 900, None]) == [None, 0, 0, 18, 18, 65, 65, None]
    assert masked(edges, [-0.1, 17.9, float("nan"), float("inf"), 1e300]) == [None, 0.0, None, None, 65.0]


def test_coding_caps_both_ends_and_bins_come_after_it() -> None:
    assert masked({"generalise": {"top": 90, "bottom": 18}}, [17, 18, 50, 91, None]) == [18, 18, 50, 90, None]
    assert masked({"generalise": {"top": 93, "bottom": 18, "width": 5}}, [2, 22, 99]) == [15, 20, 90]
    assert masked({"generalise": {"top": 90}}, [float("-inf"), 90.5]) == [None, 90.0]


def test_times_fall_to_the_start_of_their_day_or_quarter() -> None:
    moment = datetime(2026, 5, 17, 13, 30, tzinfo=UTC)
    tokyo = pa.timestamp("us", "Asia/Tokyo")
    assert masked({"generalise": {"date": "day"}}, [moment], tokyo) == [datetime(2026, 5, 17, tzinfo=UTC)]
    assert masked({"generalise": {"date": "quarter"}}, [date(2026, 5, 17)]) == [date(2026, 4, 1)]


def test_rare_values_become_a_word_or_null_and_frequent_ones_stay() -> None:
    rare = mask({"rare": {"min_count": 2}})
    texts = pa.chunked_array([["ana", "bo", None, "e\u0301"]])
    assert under(rare, texts).to_pylist() == ["ana", "[rare]", None, "e\u0301"]
    assert under(rare, pa.chunked_array([[7, 99, None]])).to_pylist() == [7, None, None]
    nothing = np.array([], dtype=np.uint64)
    assert apply_mask(rare, texts, key=KEY, frequent=nothing).to_pylist() == ["[rare]", "[rare]", None, "[rare]"]


def test_without_counts_of_the_whole_dataset_a_rare_mask_is_refused() -> None:
    column = pa.chunked_array([[CANARY]])
    for given_ in ({}, {"key": KEY}, {"frequent": FREQUENT}):
        with pytest.raises(InvalidInput, match="frequent values of the whole dataset") as caught:
            apply_mask(mask({"rare": {"min_count": 2}}), column, **given_)
        assert CANARY not in str(caught.value)


def hiding(kind: str) -> pa.ChunkedArray:
    """A column whose rows don't show the canary but whose buffers hold it."""
    column = pa.array([CANARY, "ana", "bo"])
    if kind == "under a null":
        return pa.chunked_array([pc.if_else(pa.array([True, False, False]), pa.scalar(None, pa.string()), column)])
    if kind == "in the dictionary":
        return pa.chunked_array([column.dictionary_encode().slice(1)])
    if kind == "under a null list":
        return pa.chunked_array([pa.ListArray.from_arrays([0, 1, 3], column, mask=pa.array([True, False]))])
    if kind == "outside the lists":
        return pa.chunked_array([pa.ListArray.from_arrays([0, 1, 3], column).slice(1)])
    return pa.chunked_array([column.slice(1)])


HIDING = ["under a null", "in the dictionary", "outside the slice", "under a null list", "outside the lists"]
HIDERS = [
    "redact",
    {"constant": "x"},
    {"keep": {"first": 1}},
    {"rare": {"min_count": 2}},
    {"generalise": {"prefix": 20}},
]


@pytest.mark.parametrize("kind", HIDING)
@pytest.mark.parametrize("text", [*HIDERS, {"pseudonym": {"domain": "person"}}], ids=str)
def test_no_buffer_holds_a_value_that_no_row_shows(kind: str, text: Any) -> None:
    column = hiding(kind)
    assert CANARY.encode() in pickle.dumps(column)
    assert CANARY.encode() not in pickle.dumps(under(mask(text), column))


@pytest.mark.parametrize("text", HIDERS[:4], ids=str)
def test_no_buffer_holds_a_value_that_was_masked(text: Any) -> None:
    column = pa.chunked_array([[CANARY, "ana", CANARY]])
    assert CANARY.encode() not in pickle.dumps(under(mask(text), column))


@pytest.mark.parametrize(
    "text", [{"rare": {"min_count": 2}}, {"generalise": {"edges": [0]}}, {"generalise": {"top": 90}}], ids=str
)
def test_a_number_that_was_masked_or_lay_under_a_null_is_in_no_buffer(text: Any) -> None:
    secret, hidden = 1000007, 1000003
    column = pc.if_else(pa.array([False, True, False]), pa.scalar(None, pa.int64()), pa.array([secret, hidden, 3]))
    before, after = pickle.dumps(column), pickle.dumps(under(mask(text), pa.chunked_array([column])))
    for number in (secret, hidden):
        assert number.to_bytes(8, "little") in before
        assert number.to_bytes(8, "little") not in after


def test_broken_text_is_refused_without_quoting_it() -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xffSECRET"], pa.binary()).buffers())
    with pytest.raises(Integrity) as caught:
        apply_mask(mask({"keep": {"first": 2}}), pa.chunked_array([broken]))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ({"constant": 5}, pa.string()),
        ({"constant": 5.5}, pa.int32()),
        ({"constant": 300}, pa.int8()),
        ({"generalise": {"edges": [0, 300]}}, pa.int8()),
        ({"generalise": {"top": 0.5}}, pa.int64()),
        ({"generalise": {"bottom": -1}}, pa.uint32()),
        ({"generalise": {"edges": [0]}}, pa.string()),
        ({"generalise": {"top": 5}}, pa.bool_()),
        ({"generalise": {"date": "day"}}, pa.date32()),
        ({"keep": {"first": 1}}, pa.int64()),
        ({"keep": {"first": 1}}, pa.binary()),
        ({"rare": {"min_count": 2}}, pa.float64()),
        ({"keep": {"first": 1}}, pa.list_(pa.int64())),
    ],
    ids=str,
)
def test_a_mask_refuses_a_type_that_it_can_not_take(text: Any, type_: pa.DataType) -> None:
    with pytest.raises(InvalidInput, match="takes"):
        output_type(mask(text), type_)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ({"constant": "x"}, "constant value x"),
        ({"constant": 5}, "constant value 5"),
        ({"keep": {"first": 2, "last": 2}}, "keep first 2 last 2"),
        ({"rare": {"min_count": 20}}, "rare min_count 20"),
        ({"generalise": {"edges": [0, 18.5, 1000000]}}, "generalise edges [0, 18.5, 1000000]"),
        ({"generalise": {"top": 90, "bottom": 18, "width": 5}}, "generalise width 5 top 90 bottom 18"),
        ({"generalise": {"date": "quarter"}}, "generalise date quarter"),
    ],
)
def test_a_mask_reads_as_people_write_it_and_its_record_round_trips(text: Any, shown: str) -> None:
    one = mask(text)
    assert str(one) == shown
    assert Mask.from_record(one.record()) == one
    assert Mask.from_record(one.record()).digest == one.digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"constant": 5}, {"constant": 5.0}),
        ({"constant": 0.0}, {"constant": -0.0}),
        ({"generalise": {"edges": [0, 18]}}, {"generalise": {"edges": [-0.0, 18.0]}}),
        ({"generalise": {"top": 90}}, {"generalise": {"top": 90.0}}),
        ({"keep": {"first": 2}}, {"keep": {"first": 2, "last": 0}}),
    ],
)
def test_equal_masks_have_equal_digests(one: Any, other: Any) -> None:
    assert mask(one).digest == mask(other).digest


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("constant", "needs a text, or a number"),
        ({"constant": True}, "needs a text, or a number"),
        ({"constant": [1]}, "needs a text, or a number"),
        ({"constant": 2**60}, r"at most 2\*\*53"),
        ({"constant": "x" * 1001}, "at most 1000 characters"),
        ("keep", "first, last or both"),
        ({"keep": {"first": 0, "last": 0}}, "not both 0"),
        ({"keep": {"first": -1, "last": 2}}, "whole numbers of characters"),
        ({"keep": {"first": 1.5}}, "whole numbers of characters"),
        ({"keep": {"frist": 1}}, "Did you mean 'first'"),
        ("rare", "at least 2"),
        ({"rare": {"min_count": 1}}, "at least 2"),
        ({"rare": {"min_count": True}}, "at least 2"),
        ({"generalise": {"edges": []}}, "rising numbers"),
        ({"generalise": {"edges": [1, 1]}}, "rising numbers"),
        ({"generalise": {"edges": [0, float("nan")]}}, "rising numbers"),
        ({"generalise": {"edges": 5}}, "rising numbers"),
        ({"generalise": {"edges": ["a"]}}, "rising numbers"),
        ({"generalise": {"edges": [0], "width": 5}}, "exactly one"),
        ({"generalise": {"top": 9, "prefix": 1}}, "exactly one"),
        ({"generalise": {"top": 9, "bottom": 9}}, "less than top"),
        ({"generalise": {"top": "9"}}, "top must be a number"),
        ({"generalise": {"top": 10**400}}, "top must be a number"),
    ],
)
def test_what_is_no_mask_is_refused_with_its_place(text: Any, finding: str) -> None:
    with pytest.raises(InvalidInput, match=finding) as caught:
        parse_mask(text, where="policies/x.yaml:3")
    assert str(caught.value).startswith("policies/x.yaml:3: ")


def test_only_kinds_that_say_nothing_of_a_value_stand_in_for_others() -> None:
    free = [MaskKind.DROP, MaskKind.NULL, MaskKind.REDACT, MaskKind.CONSTANT]
    for number, kind in enumerate(MaskKind):
        assert {other for other in MaskKind if overrules(kind, other)} == set(
            [*free[number + 1 :], *set(MaskKind) - set(free)] if kind in free else []
        )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(list(MaskKind)),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from([*MaskKind, "first", "edges", "width", "top", "value", "domain"]), inner, max_size=2
            )
        ),
        max_leaves=4,
    )
)
@settings(max_examples=200)
def test_anything_is_a_mask_or_refused_by_its_family(value: Any) -> None:
    with suppress(InvalidInput):
        assert Mask.from_record(parse_mask(value, where="here").record()) == parse_mask(value, where="here")
