"""Plain types: a column without its encoding. Masks, hashes and encoders see values, never dictionaries or views.

A dictionary keeps values that no row has any more, so it is decoded before anything is hidden.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def plain_type(type_: pa.DataType) -> pa.DataType:
    """`type_` without encoding: dictionaries decoded, one string type, one binary type."""
    types = pa.types
    if types.is_dictionary(type_):
        return plain_type(type_.value_type)
    if types.is_large_string(type_) or types.is_string_view(type_):
        return pa.string()
    if types.is_large_binary(type_) or types.is_binary_view(type_):
        return pa.binary()
    return type_


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`column` in its plain type."""
    target = plain_type(column.type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column if column.type == target else column.cast(target)


def without_strays(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`column`, a dictionary without nulls among its values, as one chunk that holds only values that a row has."""
    chunk = _one_dictionary(column)
    used = np.zeros(len(chunk.dictionary), np.bool_)
    used[chunk.indices.drop_null().to_numpy()] = True
    if not used.all():
        places = (np.cumsum(used) - 1).astype(np.int32)
        values = chunk.dictionary.filter(pa.array(used))
        chunk = pa.DictionaryArray.from_arrays(pa.array(places).take(chunk.indices), values)
    return pa.chunked_array([chunk])


def in_order_of_rows(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """`column`, a dictionary without nulls among its values, as if its plain values had been encoded: with each value
    that a row has, once, the first row's first; indices are int32.
    """
    chunk = _one_dictionary(column)
    if pc.count_distinct(chunk.dictionary).as_py() < len(chunk.dictionary):  # some writers repeat values
        return chunk.cast(chunk.type.value_type).dictionary_encode()
    order = pc.unique(chunk.indices.drop_null()).to_numpy()
    if np.array_equal(order, np.arange(len(chunk.dictionary))):
        return pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int32()), chunk.dictionary)
    places = np.zeros(len(chunk.dictionary), np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    values = chunk.dictionary.take(pa.array(order))
    return pa.DictionaryArray.from_arrays(pa.array(places).take(chunk.indices), values)


def _one_dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return column.unify_dictionaries().combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """`column` as a single array."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def is_list(type_: pa.DataType) -> bool:
    """Whether `type_` is a list of whichever layout."""
    types = pa.types
    return any(test(type_) for test in (types.is_list, types.is_large_list, types.is_fixed_size_list))
