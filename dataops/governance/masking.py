"""Masks at work: what is done to a column's values before anyone sees them. Pure functions over Arrow columns.

==========  =======================================  =======================================  ===================
mask        takes                                    gives                                    keeps nulls
==========  =======================================  =======================================  ===================
drop        any type                                 no column                                -
null        any type                                 the type, every row null                 every row is null
redact      any type                                 string, every row ``[redacted]``         no: it hides them
constant    text: any type                           string, every row the text               no: it hides them
            number: integer, float                   the type, every row the number           no: it hides them
pseudonym   string, binary, integer, boolean,        string, 32 hex digits                    yes
            date, timestamp
generalise  width, edges, top, bottom:               integer type; float64                    yes
            integer, float
            prefix: string                           string                                   yes
            date: timestamp; but day also date       the type                                 yes
keep        string                                   string, as many characters               yes
rare        as pseudonym                             the type; a rare value ``[rare]`` in     yes
                                                     text, null in other types
==========  =======================================  =======================================  ===================

1. A mask acts on a value alone (rare: on the value and what was counted before): any split of the rows into pieces
   gives the same values.
2. All but pseudonyms are idempotent (rare: with the same counts). A second pseudonym is another pseudonym.
3. The result is built anew: no buffer, dictionary or slot under a null holds a value of the input. Dictionaries are
   decoded, since a dictionary keeps values that no row holds any more.
4. What has no exact answer becomes null (NaN, infinity, a float whose bins are finer than its own precision, a number
   below the first edge): never an error that depends on a value, never the value itself.
5. Of a list, drop and null take the whole; the others act on each element, and lengths and null lists stay visible.
6. One mask is put on a column, never two: which one where several are asked for is decided in `marks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import Integrity, InvalidInput
from dataops.governance.generalising import coarse_floats, coarse_integers, cut_dates, ends, prefixes
from dataops.governance.hashing import keyed_hashes
from dataops.governance.mask import VALUE_FREE, Mask, MaskKind, parse_mask
from dataops.governance.plain_types import (
    is_list,
    one_array,
    one_dictionary,
    plain_column,
    plain_type,
    recoded,
    used_values,
)
from dataops.governance.pseudonyms import is_identity, pseudonyms

__all__ = [
    "RARE",
    "REDACTED",
    "VALUE_FREE",
    "Mask",
    "MaskKind",
    "apply_mask",
    "output_type",
    "parse_mask",
    "plain_column",
    "plain_type",
]

REDACTED = "[redacted]"
RARE = "[rare]"
_MANY = 2  # rows of each value at least, for a dictionary to be worth it
_IDENTITIES = "string, binary, integer, boolean, date or timestamp"


def output_type(mask: Mask, type_: pa.DataType) -> pa.DataType:
    """The type of a column of `type_` under `mask`.

    Raises
    ------
    InvalidInput : the mask can't take the type, or leaves no column (drop).
    """
    plain = plain_type(type_)
    if mask.kind == MaskKind.DROP:
        raise InvalidInput("mask drop: leaves no column, so it has no type")
    if mask.kind == MaskKind.NULL:
        return plain
    if is_list(plain):
        return pa.list_(output_type(mask, plain.value_type))
    return _TYPES[mask.kind](mask, plain)


def _constant_type(mask: Mask, plain: pa.DataType) -> pa.DataType:
    if isinstance(mask.value, str):
        return pa.string()
    _require_type(mask, plain, _is_number(plain), "integer or float (a text takes any type)")
    _require_numbers(mask, plain)
    return plain


def _pseudonym_type(mask: Mask, plain: pa.DataType) -> pa.DataType:
    _require_type(mask, plain, is_identity(plain), _IDENTITIES)
    return pa.string()


def _generalised_type(mask: Mask, plain: pa.DataType) -> pa.DataType:
    if mask.prefix is not None:
        _require_type(mask, plain, pa.types.is_string(plain), "string")
        return plain
    if mask.date is not None:
        days = mask.date == "day"  # of a date, its day is the value itself
        dates = pa.types.is_timestamp(plain) or (pa.types.is_date(plain) and not days)
        _require_type(mask, plain, dates, "timestamp" if days else "date or timestamp")
        return plain
    _require_type(mask, plain, _is_number(plain), "integer or float")
    _require_numbers(mask, plain)
    return plain if pa.types.is_integer(plain) else pa.float64()


def _kept_type(mask: Mask, plain: pa.DataType) -> pa.DataType:
    _require_type(mask, plain, pa.types.is_string(plain), "string")
    return plain


def _rare_type(mask: Mask, plain: pa.DataType) -> pa.DataType:
    _require_type(mask, plain, is_identity(plain), _IDENTITIES)
    return plain


_TYPES: dict[MaskKind, Callable[[Mask, pa.DataType], pa.DataType]] = {
    MaskKind.REDACT: lambda _mask, _plain: pa.string(),
    MaskKind.CONSTANT: _constant_type,
    MaskKind.PSEUDONYM: _pseudonym_type,
    MaskKind.GENERALISE: _generalised_type,
    MaskKind.KEEP: _kept_type,
    MaskKind.RARE: _rare_type,
}


def _is_number(plain: pa.DataType) -> bool:
    return bool(pa.types.is_integer(plain) or pa.types.is_floating(plain))


def _require_numbers(mask: Mask, plain: pa.DataType) -> None:
    """Nothing, if the mask's own numbers are values of the type; a width need only be whole for integers."""
    if not pa.types.is_integer(plain):
        return
    whole = float(mask.width or 0).is_integer()
    _require_type(mask, plain, whole, "float (whole widths only for integers)")
    limits = np.iinfo(plain.to_pandas_dtype())
    numbers = [mask.value, mask.top, mask.bottom, *(mask.edges or ())]
    fit = all(float(n).is_integer() and limits.min <= n <= limits.max for n in numbers if isinstance(n, int | float))
    _require_type(mask, plain, fit, "float, or an integer type that holds its numbers")


def _require_type(mask: Mask, type_: pa.DataType, taken: bool, expected: str) -> None:  # noqa: FBT001 - a finding, not a switch
    if not taken:
        raise InvalidInput(f"mask {mask}: takes {expected}, not {type_}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Means:
    """What some masks need beside the column; shown nowhere."""

    key: bytes | None
    frequent: np.ndarray[Any, np.dtype[np.uint64]] | None


def apply_mask(
    mask: Mask,
    column: pa.ChunkedArray,
    *,
    key: bytes | None = None,
    frequent: np.ndarray[Any, np.dtype[np.uint64]] | None = None,
    encoded: bool = False,
) -> pa.ChunkedArray:
    """`column` as the mask lets it be seen, in `output_type` and built anew.

    Parameters
    ----------
    mask
        What to do.
    column
        Of any chunks; string, large_string or dictionary alike.
    key
        Of a pseudonym, 32 to 64 bytes from `keys.derive_key`; of a rare mask, the key that `frequent` was hashed with;
        ignored by the other kinds.
    frequent
        Of a rare mask: uint64 (n_values,), sorted; `hashing.keyed_hashes` of the values that stay.
    encoded
        Text of a dictionary may come out as a dictionary, of the masked values that rows have, in their own order.

    Raises
    ------
    InvalidInput : the mask can't take the column's type, a pseudonym has no proper key, or a rare mask no counts.
    Integrity : the column's own bytes are broken (text that is not UTF-8). The message holds none of them.
    """
    type_ = output_type(mask, column.type)
    try:
        means = _Means(key=key, frequent=frequent)
        if encoded and mask.kind in _KERNELS and pa.types.is_string(type_) and pa.types.is_dictionary(column.type):
            return pa.chunked_array([_encoded(mask, column, type_, means)])
        return pa.chunked_array([_masked(mask, column, type_, means)], type=type_)
    except (pa.ArrowException, UnicodeError, OverflowError):
        raise Integrity(
            f"mask {mask}: a column of {len(column)} rows of type {column.type} holds bytes that are no {column.type}"
        ) from None


def _masked(mask: Mask, column: pa.ChunkedArray, type_: pa.DataType, means: _Means) -> pa.Array:
    if mask.kind == MaskKind.NULL:
        return pa.nulls(len(column), type_)
    if is_list(plain_type(column.type)):
        return _each_element(mask, plain_column(column), type_, means)
    if mask.kind in {MaskKind.REDACT, MaskKind.CONSTANT}:
        value = REDACTED if mask.kind == MaskKind.REDACT else mask.value
        return pa.repeat(pa.scalar(value, pa.float64() if isinstance(value, float) else None).cast(type_), len(column))
    if pa.types.is_dictionary(column.type):
        return _each_distinct(mask, column, type_, means)
    return _KERNELS[mask.kind](mask, plain_column(column), means)


def _each_distinct(mask: Mask, column: pa.ChunkedArray, type_: pa.DataType, means: _Means) -> pa.Array:
    """By the values of the dictionary where they are fewer than the rows; no dictionary is left."""
    encoded = one_array(column)
    if len(encoded.dictionary) >= len(encoded):
        return _masked(mask, plain_column(column), type_, means)
    values = pa.chunked_array([encoded.dictionary])
    return _masked(mask, values, type_, means).take(encoded.indices)


def _encoded(mask: Mask, column: pa.ChunkedArray, type_: pa.DataType, means: _Means) -> pa.Array:
    """Masked by the values of the dictionary, and left as one: rows cost no text.

    The dictionary is that of the masked values, each once and sorted: in the order of the true ones it would tell which
    pseudonym comes before which.
    """
    chunk = one_dictionary(column)
    used = used_values(chunk)
    if not 0 < _MANY * np.count_nonzero(used) <= len(chunk):
        return _each_distinct(mask, column, type_, means)
    values = pa.chunked_array([chunk.dictionary.filter(pa.array(used))])
    found = _masked(mask, values, type_, means).dictionary_encode()
    order = pc.array_sort_indices(found.dictionary).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    # of a value that no row has any place will do
    places = pa.array(rank).take(found.indices).take(pa.array(np.maximum(np.cumsum(used) - 1, 0)))
    return recoded(chunk, places, found.dictionary.take(pa.array(order)))


def _generalised(mask: Mask, plain: pa.ChunkedArray, _means: _Means) -> pa.Array:
    if mask.prefix is not None:
        return prefixes(plain, mask.prefix)
    if mask.date is not None:
        return cut_dates(plain, mask.date)
    return coarse_integers(plain, mask) if pa.types.is_integer(plain.type) else coarse_floats(plain, mask)


def _without_rare(mask: Mask, plain: pa.ChunkedArray, means: _Means) -> pa.Array:
    """Frequent values as they are, all others hidden; values are gathered anew, so no buffer keeps a rare one."""
    if means.frequent is None or means.key is None:
        raise InvalidInput(f"mask {mask}: needs the frequent values of the whole dataset and the key of their hashes")
    values = one_array(plain)
    hashes, frequent = keyed_hashes([plain], key=means.key), means.frequent
    place = np.minimum(np.searchsorted(frequent, hashes), max(len(frequent) - 1, 0))
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    stays = (frequent[place] == hashes if len(frequent) else np.zeros(len(hashes), dtype=bool)) & valid
    kept = values.filter(pa.array(stays))
    row = np.cumsum(stays) - 1
    if not pa.types.is_string(values.type):
        return kept.take(pa.array(np.where(stays, row, 0), mask=~stays))
    with_word = pa.concat_arrays([kept, pa.array([RARE], pa.string())])
    return with_word.take(pa.array(np.where(stays, row, len(kept)), mask=~valid))


def _each_element(mask: Mask, column: pa.ChunkedArray, type_: pa.DataType, means: _Means) -> pa.Array:
    lists = one_array(column)
    flat = pa.chunked_array([lists.flatten()])  # without what lies under null lists or outside of the slice
    lengths = pc.fill_null(lists.value_lengths(), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    elements = _masked(mask, flat, type_.value_type, means)
    return pa.ListArray.from_arrays(offsets, elements, type=type_, mask=lists.is_null())


_KERNELS: dict[MaskKind, Callable[[Mask, pa.ChunkedArray, _Means], pa.Array]] = {
    MaskKind.PSEUDONYM: lambda _mask, plain, means: pseudonyms(plain, key=means.key),
    MaskKind.GENERALISE: _generalised,
    MaskKind.KEEP: lambda mask, plain, _means: ends(plain, mask.first or 0, mask.last or 0),
    MaskKind.RARE: _without_rare,
}
