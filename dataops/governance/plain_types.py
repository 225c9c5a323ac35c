"""Plain types: a column without its encoding. Masks, hashes and encoders see values, never dictionaries or views.

A dictionary keeps values that no row has any more, so it is decoded before anything is hidden.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_BLOCK = 65_536  # rows, whose indices stay in a processor's cache while they are counted


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


def rows_at(rows: pa.Table, places: np.ndarray) -> pa.Table:
    """The rows at `places`, which must be places of rows: int64 (n_found,)."""
    # a look at whether they are takes as long again, a filter of Arrow's half as long
    return pc.take(rows, pa.array(places), boundscheck=False)


def without_strays(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`column`, a dictionary without nulls among its values, as one chunk that holds only values that a row has."""
    chunk = one_dictionary(column)
    used = used_values(chunk)
    if not used.all():
        chunk = recoded(
            chunk, pa.array((np.cumsum(used) - 1).astype(np.int32)), chunk.dictionary.filter(pa.array(used))
        )
    return pa.chunked_array([chunk])


def used_values(chunk: pa.DictionaryArray) -> np.ndarray:
    """Which values of the dictionary a row has: boolean (n_values,)."""
    indices, n_values = chunk.indices.drop_null().to_numpy(), len(chunk.dictionary)
    used = np.zeros(n_values, np.bool_)
    block = max(_BLOCK, 4 * n_values)
    for start in range(0, len(indices), block):
        used |= np.bincount(indices[start : start + block], minlength=n_values) > 0
        if used.all():
            break
    return used


def recoded(chunk: pa.DictionaryArray, places: pa.Int32Array, values: pa.Array) -> pa.DictionaryArray:
    """`chunk` over the dictionary `values`: what was its value ``i`` is the one at ``places[i]``, or null."""
    indices = pc.take(places, chunk.indices, boundscheck=False)  # they are inside, see `used_values` and `decode`
    return pa.DictionaryArray.from_arrays(indices, values)


def in_order_of_rows(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """`column`, a dictionary without nulls among its values, as if its plain values had been encoded: with each value
    that a row has, once, the first row's first; indices are int32.
    """
    chunk = one_dictionary(column)
    if pc.count_distinct(chunk.dictionary).as_py() < len(chunk.dictionary):  # some writers repeat values
        return chunk.cast(chunk.type.value_type).dictionary_encode()
    order = pc.unique(chunk.indices.drop_null()).to_numpy()
    if np.array_equal(order, np.arange(len(chunk.dictionary))):
        return pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int32()), chunk.dictionary)
    places = np.zeros(len(chunk.dictionary), np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    return recoded(chunk, pa.array(places), chunk.dictionary.take(pa.array(order)))


def one_dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """`column`, a dictionary, as a single array."""
    return column.unify_dictionaries().combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """`column` as a single array."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def is_list(type_: pa.DataType) -> bool:
    """Whether `type_` is a list of whichever layout."""
    types = pa.types
    return any(test(type_) for test in (types.is_list, types.is_large_list, types.is_fixed_size_list))
