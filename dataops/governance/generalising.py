"""Generalisations: values made coarser, each by itself and idempotently. Pure kernels over plain Arrow columns.

1. The result of a kernel is its own result: a bound's bound is the bound, a month's start starts its month.
2. The slot beneath a null may hold a value that was masked earlier: it isn't computed on, nothing of it is passed on.
3. A value without an exact answer becomes null.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LARGEST_BIN = 2.0**52  # beyond it, bins are finer than a float's own precision


def prefixes(column: pa.ChunkedArray, length: int) -> pa.Array:
    """The first `length` characters (code points) of each value."""
    cut = pc.utf8_slice_codeunits(pc.fill_null(column, ""), 0, length)
    return _one(pc.if_else(column.is_valid(), cut, pa.scalar(None, cut.type)))


def cut_dates(column: pa.ChunkedArray, unit: str) -> pa.Array:
    """First moment of each value's month or year; of an instant with a zone, in UTC (the same on every machine)."""
    type_ = column.type
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        column = column.cast(pa.timestamp(type_.unit, "UTC"))
    return _one(pc.floor_temporal(column, unit=unit).cast(type_))  # the kernel leaves the slots of nulls out


def integer_bins(column: pa.ChunkedArray, width: float) -> pa.Array:
    """Lower bound of each value's bin ``[k * width, (k + 1) * width)``; the first one begins at the type's least value.

    `width` is a whole number of at most 2**53.
    """
    values = pc.fill_null(column, 0).to_numpy()
    wide = values.astype(np.uint64 if values.dtype.kind == "u" else np.int64)
    lower = wide - np.mod(wide, wide.dtype.type(width))
    least = np.iinfo(values.dtype).min
    # greater than the value: the subtraction wrapped around
    lower = np.where((lower > wide) | (lower < least), wide.dtype.type(least), lower)
    return pa.array(lower.astype(values.dtype), type=column.type, mask=_is_null(column))


def float_bins(column: pa.ChunkedArray, width: float) -> pa.Array:
    """Lower bound ``k * width``: the greatest whole k whose product, as rounded, isn't above the value.

    Defined by the rounded product, so a bound is its own bound: ``floor(x / width) * width`` alone isn't idempotent.
    """
    values = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy()
    with np.errstate(all="ignore"):
        bins = np.floor(values / width)
        no_bin = _is_null(column) | ~np.isfinite(values) | ~(np.abs(bins) < _LARGEST_BIN)
        bins = np.where(no_bin, 0.0, bins)
        bins += np.where((bins + 1) * width <= values, 1.0, 0.0)
        bins -= np.where(bins * width > values, 1.0, 0.0)
        lower = np.where(no_bin, 0.0, bins * width + 0.0)  # + 0.0: no negative zero
    return pa.array(lower, type=pa.float64(), mask=no_bin | ~np.isfinite(lower))


def _one(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _is_null(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return cast("np.ndarray[Any, np.dtype[np.bool_]]", column.is_null().to_numpy().astype(bool))
