import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pytest

from dataops.errors import InvalidInput
from dataops.features.columns import column_of, read_categories, read_numbers, require_columns

TEXTS = ["a", "b", None, "a"]


def read(column: pa.ChunkedArray | pa.Array) -> list[str | None]:
    """What each row of `column` reads as."""
    categories = read_categories("x", column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column]))
    texts = [*categories.texts.to_pylist(), None]
    return [texts[index] for index in categories.indices]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(TEXTS),
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS, pa.string_view()),
        pa.array(TEXTS).dictionary_encode(),
        pa.chunked_array([pa.array(["a", "b"]).dictionary_encode(), pa.array([None, "a"]).dictionary_encode()]),
        pa.chunked_array([["a"], [], ["b", None, "a"]]),
        pa.DictionaryArray.from_arrays(pa.array([1, 0, 2, 1], pa.int8()), pa.array(["b", "a", None])),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 3], pa.uint16()), pa.array(["a", "b", "z", "a"])),
    ],
    ids=[
        "string",
        "large",
        "view",
        "dictionary",
        "two_dictionaries",
        "chunks",
        "null_in_dictionary",
        "repeats_in_dictionary",
    ],
)
def test_a_category_reads_the_same_however_the_text_is_stored(column: pa.ChunkedArray | pa.Array) -> None:
    assert read(column) == TEXTS


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([7, -1, None], pa.int8()), ["7", "-1", None]),
        (pa.array([7.0, -1.0, None]), ["7", "-1", None]),
        (pa.array([7.0, -1.0, np.nan], pa.float32()), ["7", "-1", None]),
        (pa.array([-0.0, 0.5, 1e11, 1e300, np.inf]), ["0", "0.5", "100000000000", "1e+300", "inf"]),
        (pa.array([dt.date(2020, 1, 31), None]), ["2020-01-31", None]),
        (pa.array([1_000, None], pa.timestamp("ms")), ["1970-01-01 00:00:01.000000", None]),
        (pa.array([1, None], pa.timestamp("s")), ["1970-01-01 00:00:01.000000", None]),
        (pa.array([decimal.Decimal("1.50"), None]), ["1.50", None]),
        (pa.array([None, None]), [None, None]),
        (pa.array([], pa.string()), []),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_other_types_have_one_text_for_each_value(column: pa.Array, expected: list[str | None]) -> None:
    assert read(column) == expected


def test_a_column_without_chunks_has_no_rows() -> None:
    assert read(pa.chunked_array([], pa.string())) == []
    assert read_numbers("x", pa.chunked_array([], pa.int64())).shape == (0,)


@pytest.mark.parametrize("chunks", [0, 1, 2])
@pytest.mark.parametrize(
    "kind",
    [
        pa.date32(),
        pa.timestamp("us", tz="Europe/Berlin"),
        pa.timestamp("ns"),
        pa.time64("us"),
        pa.decimal128(9, 2),
        pa.null(),
    ],
    ids=str,
)
def test_a_type_that_can_be_a_category_is_one_in_any_number_of_chunks(kind: pa.DataType, chunks: int) -> None:
    read = read_categories("x", pa.chunked_array([pa.nulls(2, kind)] * chunks, kind))
    assert len(read.indices) == 2 * chunks
    assert set(read.indices) <= {len(read.texts)}


@pytest.mark.parametrize("kind", [pa.list_(pa.int8()), pa.binary(), pa.struct([("a", pa.int8())])])
def test_a_type_that_has_no_text_is_refused_by_name(kind: pa.DataType) -> None:
    with pytest.raises(InvalidInput, match="'x'"):
        read_categories("x", pa.chunked_array([pa.array([None], kind)]))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None, 3]), [1.0, np.nan, 3.0]),
        (pa.array([1.5, None, np.nan, np.inf]), [1.5, np.nan, np.nan, np.inf]),
        (pa.array([True, False, None]), [1.0, 0.0, np.nan]),
        (pa.array([decimal.Decimal("1.25"), None]), [1.25, np.nan]),
        (pa.array([1, 2], pa.float16()), [1.0, 2.0]),
        (pa.array([2**60 + 1, 2**64 - 1], pa.uint64()), [float(2**60), float(2**64)]),
        (pa.array([None, None]), [np.nan, np.nan]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_numbers_are_float64_with_nan_for_null(column: pa.Array, expected: list[float]) -> None:
    for chunked in (pa.chunked_array([column]), pa.chunked_array([column[:1], column[1:]])):
        np.testing.assert_array_equal(read_numbers("x", chunked), expected)


def test_text_is_no_number_and_the_refusal_holds_no_value() -> None:
    with pytest.raises(InvalidInput, match="'x' is string, not a number") as refused:
        read_numbers("x", pa.chunked_array([["12", "secret"]]))
    assert "secret" not in str(refused.value)


def test_every_missing_column_is_named_with_its_near_match() -> None:
    with pytest.raises(InvalidInput, match=r"needs 2 column.*'agee'.*Did you mean 'age'.*'zip'"):
        require_columns(["age", "sex"], ["agee", "sex", "zip"], what="the test")


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(InvalidInput, match="2 columns named 'x'"):
        column_of(table, "x")
