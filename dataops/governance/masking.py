"""Masks: what is done to a column's values before anyone sees them. Pure functions over Arrow columns.

===========  ====================================  ==================================  ===================
mask         takes                                 gives                               keeps nulls
===========  ====================================  ==================================  ===================
drop         any type                              no column                           -
null         any type                              the type, every row null            every row is null
redact       any type                              string, every row ``[redacted]``    no: it hides them
pseudonym    string, binary, integer, boolean,     string, 32 hex digits               yes
             date, timestamp
generalise   width: integer, float                 integer type; float64               yes
             prefix: string                        string                              yes
             date: date, timestamp                 the type                            yes
===========  ====================================  ==================================  ===================

1. A mask acts on a value alone: any split of the rows into pieces gives the same values.
2. Null, redact and generalise are idempotent. A second pseudonym is another pseudonym.
3. The result is built anew: no buffer, dictionary or slot under a null holds a value of the input. Dictionaries are
   decoded first, since a dictionary keeps values that no row holds any more.
4. What has no exact answer becomes null (NaN, infinity, a float whose bins are finer than its own precision): never an
   error that depends on a value, never the value itself.
5. Strictness (`STRICTNESS`): drop > null > redact > pseudonym > generalise. Where several apply, the strictest does.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pyarrow as pa

from dataops.errors import Integrity, InvalidInput
from dataops.governance.generalising import cut_dates, float_bins, integer_bins, prefixes
from dataops.governance.mask import STRICTNESS, Mask, MaskKind, parse_mask
from dataops.governance.pseudonyms import is_identity, pseudonyms

__all__ = [
    "REDACTED",
    "STRICTNESS",
    "Mask",
    "MaskKind",
    "apply_mask",
    "output_type",
    "parse_mask",
    "plain_column",
    "plain_type",
]

REDACTED = "[redacted]"


def output_type(mask: Mask, type_: pa.DataType) -> pa.DataType:
    """The type of a column of `type_` under `mask`.

    Raises
    ------
    InvalidInput : the mask can't take the type, or leaves no column (drop).
    """
    plain = plain_type(type_)
    match mask.kind:
        case MaskKind.DROP:
            raise InvalidInput("mask drop: leaves no column, so it has no type")
        case MaskKind.NULL:
            return plain
        case MaskKind.REDACT:
            return pa.string()
        case MaskKind.PSEUDONYM:
            _require_type(mask, plain, is_identity(plain), "string, binary, integer, boolean, date or timestamp")
            return pa.string()
        case MaskKind.GENERALISE:
            return _generalised_type(mask, plain)


def _generalised_type(mask: Mask, plain: pa.DataType) -> pa.DataType:
    if mask.prefix is not None:
        _require_type(mask, plain, pa.types.is_string(plain), "string")
        return plain
    if mask.date is not None:
        _require_type(mask, plain, pa.types.is_date(plain) or pa.types.is_timestamp(plain), "date or timestamp")
        return plain
    if pa.types.is_integer(plain):
        _require_type(mask, plain, float(mask.width or 0).is_integer(), "float (whole widths only for integers)")
        return plain
    _require_type(mask, plain, pa.types.is_floating(plain), "integer or float")
    return pa.float64()


def _require_type(mask: Mask, type_: pa.DataType, taken: bool, expected: str) -> None:  # noqa: FBT001 - a finding, not a switch
    if not taken:
        raise InvalidInput(f"mask {mask}: takes {expected}, not {type_}")


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


def apply_mask(
    mask: Mask,
    column: pa.ChunkedArray,
    *,
    key: bytes | None = None,
    frequent: np.ndarray[Any, np.dtype[np.uint64]] | None = None,
) -> pa.ChunkedArray:
    """`column` as the mask lets it be seen, in `output_type` and built anew.

    Parameters
    ----------
    mask
        What to do.
    column
        Of any chunks; string, large_string or dictionary alike.
    key
        Of a pseudonym, 32 to 64 bytes from `keys.derive_key`; ignored by the other kinds.

    Raises
    ------
    InvalidInput : the mask can't take the column's type, or a pseudonym has no proper key.
    Integrity : the column's own bytes are broken (text that is not UTF-8). The message holds none of them.
    """
    type_ = output_type(mask, column.type)
    try:
        return pa.chunked_array([_masked(mask, column, type_, key)], type=type_)
    except (pa.ArrowException, UnicodeError, OverflowError):
        raise Integrity(
            f"mask {mask}: a column of {len(column)} rows of type {column.type} holds bytes that are no {column.type}"
        ) from None


def _masked(mask: Mask, column: pa.ChunkedArray, type_: pa.DataType, key: bytes | None) -> pa.Array:
    if mask.kind == MaskKind.NULL:
        return pa.nulls(len(column), type_)
    if mask.kind == MaskKind.REDACT:
        return pa.repeat(pa.scalar(REDACTED, pa.string()), len(column))
    plain = plain_column(column)
    if mask.kind == MaskKind.PSEUDONYM:
        return pseudonyms(plain, key=key)
    if mask.prefix is not None:
        return prefixes(plain, mask.prefix)
    if mask.date is not None:
        return cut_dates(plain, mask.date)
    bins = integer_bins if pa.types.is_integer(type_) else float_bins
    return bins(plain, cast("float", mask.width))
