"""Kernels over plain columns that make each value coarser or hide a part of it, by itself and idempotently. Pure.

1. The result of a kernel is its own result: a bound's bound is the bound, a month's start starts its month.
2. The slot beneath a null may hold a value that was masked earlier: it isn't computed on, nothing of it is passed on.
3. A value without an exact answer becomes null.
4. Numbers are coded first (`top`, `bottom`), then put into bins; so the lower bound of a bin may lie under `bottom`.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.governance.mask import Mask
from dataops.governance.plain_types import one_array

_LARGEST_BIN = 2.0**52  # beyond it, bins are finer than a float's own precision
_HIDDEN = "*"


def prefixes(column: pa.ChunkedArray, length: int) -> pa.Array:
    """The first `length` characters (code points) of each value."""
    return _restore_nulls(pc.utf8_slice_codeunits(pc.fill_null(column, ""), 0, length), column)


def ends(column: pa.ChunkedArray, first: int, last: int) -> pa.Array:
    """The `first` and `last` characters (code points) of each value, a ``*`` for each one between.

    A value of no more than `first` + `last` characters is all ``*``: shown whole, it wouldn't be masked.
    """
    text = pc.fill_null(column, "")
    length = pc.utf8_length(text)
    shown = pc.greater(length, first + last)
    stars = pc.binary_repeat(_HIDDEN, pc.if_else(shown, pc.subtract(length, first + last), length))
    begin = pc.utf8_slice_codeunits(text, 0, first) if first else ""
    end = pc.utf8_slice_codeunits(text, -last) if last else ""
    return _restore_nulls(
        pc.binary_join_element_wise(pc.if_else(shown, begin, ""), stars, pc.if_else(shown, end, ""), ""), column
    )


def cut_dates(column: pa.ChunkedArray, unit: str) -> pa.Array:
    """First moment of each value's day, month, quarter or year; of an instant with a zone, in UTC (the same on every
    machine).
    """
    type_ = column.type
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        column = column.cast(pa.timestamp(type_.unit, "UTC"))
    return one_array(pc.floor_temporal(column, unit=unit).cast(type_))  # the kernel leaves the slots of nulls out


def coarse_integers(column: pa.ChunkedArray, mask: Mask) -> pa.Array:
    """Each whole number coded and put into its bin, in the column's type.

    The mask's numbers are whole ones that the type can hold (`masking.output_type` has seen to it).
    """
    values = _filled(column, 0)
    hidden = _is_null(column)
    values = _coded(values, mask, values.dtype.type)
    if mask.width is not None:
        values = _integer_bins(values, mask.width)
    if mask.edges is not None:
        values, below = _by_edges(values, np.array([int(edge) for edge in mask.edges], dtype=values.dtype))
        hidden = hidden | below
    return _hiding(values, hidden, column.type)


def coarse_floats(column: pa.ChunkedArray, mask: Mask) -> pa.Array:
    """Each number coded and put into its bin, as float64; NaN and infinity have no answer."""
    values = _filled(column.cast(pa.float64()), 0.0)
    hidden = _is_null(column) | ~np.isfinite(values)
    values = _coded(np.where(hidden, 0.0, values), mask, np.float64)
    if mask.width is not None:
        values, outside = _float_bins(values, mask.width)
        hidden = hidden | outside
    if mask.edges is not None:
        values, below = _by_edges(values, np.array(mask.edges))
        hidden = hidden | below
    return _hiding(values + 0.0, hidden, pa.float64())  # + 0.0: no negative zero


def _filled(column: pa.ChunkedArray, value: float) -> np.ndarray[Any, Any]:
    return cast("np.ndarray[Any, Any]", (pc.fill_null(column, value) if column.null_count else column).to_numpy())


def _hiding(values: np.ndarray[Any, Any], hidden: np.ndarray[Any, np.dtype[np.bool_]], type_: pa.DataType) -> pa.Array:
    if not hidden.any():
        return pa.array(values, type=type_)
    return pa.array(np.where(hidden, values.dtype.type(0), values), type=type_, mask=hidden)


def _coded(values: np.ndarray[Any, Any], mask: Mask, scalar: type[Any]) -> np.ndarray[Any, Any]:
    if mask.top is not None:
        values = np.minimum(values, scalar(mask.top))
    if mask.bottom is not None:
        values = np.maximum(values, scalar(mask.bottom))
    return values


def _by_edges(
    values: np.ndarray[Any, Any], edges: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, np.dtype[np.bool_]]]:
    """The greatest edge that isn't above each value; True where there is none."""
    place = np.searchsorted(edges, values, side="right") - 1
    return edges[np.maximum(place, 0)], place < 0


def _integer_bins(values: np.ndarray[Any, Any], width: float) -> np.ndarray[Any, Any]:
    """Lower bound of each value's bin ``[k * width, (k + 1) * width)``; the first one begins at the type's least value.

    `width` is a whole number of at most 2**53.
    """
    wide = values.astype(np.uint64 if values.dtype.kind == "u" else np.int64)
    lower = wide // wide.dtype.type(width)  # faster than the remainder
    lower *= wide.dtype.type(width)
    least = np.iinfo(values.dtype).min
    if len(wide) and int(wide.min()) < least + int(width):  # only there a bound may lie beyond the type
        first = wide.dtype.type(least)
        # greater than the value: the product wrapped around
        lower = np.where((lower > wide) | (lower < first), first, lower)
    return lower.astype(values.dtype, copy=False)


def _float_bins(
    values: np.ndarray[Any, Any], width: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, np.dtype[np.bool_]]]:
    """Lower bound ``k * width``: the greatest whole k whose product, as rounded, isn't above the value; True where
    there is none.

    Defined by the rounded product, so a bound is its own bound: ``floor(x / width) * width`` alone isn't idempotent.
    """
    with np.errstate(all="ignore"):
        bins = np.floor(values / width)
        no_bin = ~(np.abs(bins) < _LARGEST_BIN)
        bins = np.where(no_bin, 0.0, bins)
        bins += np.where((bins + 1) * width <= values, 1.0, 0.0)
        bins -= np.where(bins * width > values, 1.0, 0.0)
        lower = bins * width
    return lower, no_bin | ~np.isfinite(lower)


def _restore_nulls(text: pa.ChunkedArray, column: pa.ChunkedArray) -> pa.Array:
    return one_array(pc.if_else(column.is_valid(), text, pa.scalar(None, text.type)))


def _is_null(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if not column.null_count:
        return np.zeros(len(column), dtype=bool)
    return cast("np.ndarray[Any, np.dtype[np.bool_]]", column.is_null().to_numpy().astype(bool))
