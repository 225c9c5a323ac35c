"""Columns as numbers and as categories: the one place where Arrow types are read for features.

1. A number is a float64; null becomes NaN. Integers beyond 2**53 are rounded to the nearest float64.
2. A category is a text that doesn't depend on how the column is stored: string, large_string, string_view and
   dictionary alike; ``true``; ``7`` for the integer 7 and the float 7.0; ISO dates; times in UTC with microseconds.
3. Null and NaN are no category. Texts are made once per distinct value, never per row.
4. Any other type is refused by name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from dataops.errors import InvalidInput, near_match

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_INTEGRAL_FLOATS = float(2**53)
_NUMPY: Mapping[str, np.dtype[Any]] = {
    "double": np.dtype(np.float64),
    "int64": np.dtype(np.int64),
    "int32": np.dtype(np.int32),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Categories:
    """One column as codes into its distinct texts.

    Parameters
    ----------
    texts : distinct stored values as text; may repeat a text or hold null, since a stored dictionary may.
    indices : ``(n_rows,)`` int32, the row's place in `texts`; ``len(texts)`` for null.
    may_be_null : whether a row may be null; False where none is.
    """

    texts: pa.StringArray
    indices: npt.NDArray[np.int32]
    may_be_null: bool


def require_columns(known: Collection[str], names: Sequence[str], *, what: str) -> None:
    """Nothing, if all of `names` are `known`.

    Raises
    ------
    InvalidInput : naming every column that is missing, with its near match.
    """
    missing = sorted(set(names) - set(known))
    if missing:
        listed = "; ".join(f"'{name}'.{near_match(name, known)}" for name in missing)
        raise InvalidInput(f"{what} needs {len(missing)} column(s) that the data hasn't: {listed}")


def column_of(table: pa.Table, name: str) -> pa.ChunkedArray:
    """The column called `name`; refuses a table that has none or two of that name."""
    places = table.schema.get_all_field_indices(name)
    if len(places) != 1:
        raise InvalidInput(f"the table has {len(places)} columns named '{name}'; expected one")
    return table.column(places[0])


def read_numbers(name: str, column: pa.ChunkedArray) -> Floats:
    """`column` as float64, NaN where null; a read-only view where no copy is needed.

    Raises
    ------
    InvalidInput : the column is no number.
    """
    if not is_number(column.type):
        raise InvalidInput(
            f"column '{name}' is {column.type}, not a number: list it under categorical, or derive a number from it"
        )
    if column.type != pa.float64():
        column = pc.cast(column, pa.float64(), safe=False)
    whole = (
        column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.nulls(0, pa.float64())])
    )
    values: Floats = numpy_of(whole)
    return np.where(valid_of(whole), values, np.nan) if whole.null_count else values


def may_lack_numbers(column: pa.ChunkedArray) -> bool:
    """Whether a row of `column` may be null, NaN or infinite; False where none is."""
    return bool(column.null_count) or not (pt.is_integer(column.type) or pt.is_boolean(column.type))


def is_number(data_type: pa.DataType) -> bool:
    """Whether `data_type` can be a numeric feature; a column of type null is one without values."""
    return bool(
        pt.is_integer(data_type)
        or pt.is_floating(data_type)
        or pt.is_boolean(data_type)
        or pt.is_decimal(data_type)
        or pt.is_null(data_type)
    )


def is_category(data_type: pa.DataType) -> bool:
    """Whether `data_type` can be a categorical feature."""
    if pt.is_dictionary(data_type):
        return is_category(data_type.value_type)
    texts = (pt.is_string, pt.is_large_string, pt.is_string_view)
    moments = (pt.is_date, pt.is_time, pt.is_timestamp)
    return is_number(data_type) or any(test(data_type) for test in (*texts, *moments))


def read_categories(name: str, column: pa.ChunkedArray) -> Categories:
    """`column` as codes into its distinct texts.

    Raises
    ------
    InvalidInput : values of this type have no text that could name a category.
    """
    if not is_category(column.type):
        raise InvalidInput(
            f"column '{name}' is {column.type}, which can't be a category: use a string, boolean, number, date or time"
        )
    encoded = _dictionary_encode(column)
    texts = _texts_of(encoded.dictionary)
    stored = encoded.indices.cast(pa.int32())
    may_be_null = bool(stored.null_count or texts.null_count)
    indices = numpy_of(stored)
    if stored.null_count:
        indices = np.where(valid_of(stored), indices, np.int32(len(texts)))
    return Categories(texts=texts, indices=indices, may_be_null=may_be_null)


def numpy_of(array: pa.Array) -> npt.NDArray[Any]:
    """The values of `array`, ``(n,)``: float64, int64, int32 or booleans; whatever lies there where it is null.

    A read-only view but for booleans. Arrow's own `to_numpy` imports pandas where it is installed: half a second, which
    an application that scores a row doesn't need to wait.
    """
    values = array.buffers()[1]
    if pt.is_boolean(array.type):
        bits = np.frombuffer(values or b"", np.uint8)
        return np.unpackbits(bits, count=array.offset + len(array), bitorder="little")[array.offset :].astype(bool)
    kind = _NUMPY[str(array.type)]
    return np.frombuffer(values or b"", kind, count=len(array), offset=array.offset * kind.itemsize)


def valid_of(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Which values of `array` aren't null, ``(n,)``."""
    return numpy_of(array.is_valid())


def aligned(values: Any) -> Any:
    """`values`, an array or None; in memory of its own where it begins in the middle of a number.

    What another process sent lies wherever its message put it. Native code refuses such numbers, or is slow with them.
    """
    return values if values is None or values.flags.aligned else values.copy()


def array_of(values: Sequence[Any]) -> pa.Array:
    """`values`, None among them where there is none, in the type that they have.

    What JSON knows (text, whole numbers, numbers, true and false) is put together here, for the reason that `numpy_of`
    says; the rest is Arrow's.

    Raises
    ------
    pa.ArrowException, TypeError, ValueError, OverflowError : values of several types, or that no type holds.
    """
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        return _text_array(values)
    if kinds == {bool}:
        return _filled(pa.bool_(), np.packbits(np.array([bool(value) for value in values]), bitorder="little"), values)
    if kinds and kinds <= {int, float}:
        kind = np.dtype(np.int64 if kinds == {int} else np.float64)
        numbers = np.array([0 if value is None else value for value in values], kind)
        return _filled(pa.from_numpy_dtype(kind), numbers, values)
    return pa.array(values)


def of_numpy(values: npt.NDArray[Any]) -> pa.Array:
    """`values`, ``(n,)`` numbers, none of them null: `numpy_of` the other way round, and for its reason."""
    contiguous = np.ascontiguousarray(values)
    kind = pa.from_numpy_dtype(contiguous.dtype)
    return pa.Array.from_buffers(kind, len(contiguous), [None, pa.py_buffer(contiguous)])


def _text_array(values: Sequence[Any]) -> pa.StringArray:
    texts = [b"" if value is None else value.encode() for value in values]
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    if ends[-1] > np.iinfo(np.int32).max:
        return pa.array(values, pa.string())  # says what is wrong
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    buffers = [_present(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def _filled(kind: pa.DataType, numbers: npt.NDArray[Any], values: Sequence[Any]) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [_present(values), pa.py_buffer(numbers)])


def _present(values: Sequence[Any]) -> pa.Buffer | None:
    """The bits of what isn't None."""
    present = np.array([value is not None for value in values])
    return None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))


def _dictionary_encode(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """One dictionary array over all chunks."""
    if pt.is_null(column.type):  # Arrow can't unify dictionaries of no type
        column = pc.cast(column, pa.string())
    if pt.is_dictionary(column.type):
        if any(chunk.dictionary.null_count for chunk in column.chunks):
            # Arrow can't unify dictionaries that hold null as a value
            column = pc.cast(column, column.type.value_type).dictionary_encode()
    else:
        column = column.dictionary_encode()
    if column.num_chunks == 1:
        return column.chunk(0)
    if column.num_chunks == 0:  # Arrow can't make an empty one of every type out of no chunks
        return pa.nulls(0, column.type.value_type).dictionary_encode()
    return column.unify_dictionaries().combine_chunks()


def _texts_of(values: pa.Array) -> pa.StringArray:
    kind = values.type
    if pt.is_floating(kind):
        return _float_texts(pc.cast(values, pa.float64()))
    if pt.is_timestamp(kind):
        values = pc.cast(values, pa.timestamp("us", tz=None if kind.tz is None else "UTC"), safe=False)
    return pc.cast(values, pa.string())


def _float_texts(values: pa.DoubleArray) -> pa.StringArray:
    """Whole numbers read like integers: elsewhere nulls turn integers into floats, and that must change no category."""
    numbers = values.to_numpy(zero_copy_only=False)
    missing = np.isnan(numbers)
    whole = (np.abs(numbers) <= _INTEGRAL_FLOATS) & (np.floor(numbers) == numbers)
    integers = pc.cast(pa.array(np.where(whole, numbers, 0).astype(np.int64)), pa.string())
    texts = pc.if_else(pa.array(whole), integers, pc.cast(values, pa.string()))
    return pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), texts)
