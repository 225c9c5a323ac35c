"""Summaries of numbers with few distinct values: counted by value, which says all that `summary` asks for, exactly.

Parts of dates, distances, ages, wages: one pass of counting instead of sums without rounding and a sort of all values.
Whether floats have few distinct values is told by a sample; what comes out is the same either way.
"""

from __future__ import annotations

from fractions import Fraction
from operator import mul

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from dataops.features.columns import Floats, numpy_of, of_numpy

WIDEST = 1 << 14
"""How far the largest value may lie above the least: as many counts fit a core's cache."""
_FEW, _SAMPLE, _LEAST_ROWS = 256, 1 << 12, 1 << 14
_EXACT = 1 << 53  # as float64


def count_whole(column: pa.ChunkedArray) -> tuple[Floats, npt.NDArray[np.int64]] | None:
    """The distinct values of `column`, float64 increasing, and how often each is there, int64; nulls aren't counted.

    None where it isn't of whole numbers, or of too wide a range.
    """
    if not pt.is_integer(column.type) or column.null_count == len(column):
        return None
    ends = pc.min_max(column)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if high - low >= WIDEST or max(abs(low), abs(high)) >= _EXACT:
        return None
    counts = np.zeros(high - low + 1, np.int64)
    for chunk in column.chunks:
        known = chunk.drop_null() if chunk.null_count else chunk
        counts += np.bincount(numpy_of(pc.cast(known, pa.int64())) - low, minlength=len(counts))
    found = np.flatnonzero(counts)
    return (found + low).astype(np.float64), counts[found]


def count_few(values: Floats) -> tuple[Floats, npt.NDArray[np.int64]] | None:
    """As `count_whole`, of finite `values`, float64; None of few rows, or where a sample has many distinct ones.

    A value may come twice: 0.0 and -0.0 are two here.
    """
    sample = values[:: max(1, len(values) // _SAMPLE)]
    if len(values) < _LEAST_ROWS or len(np.unique(sample)) > _FEW:
        return None
    encoded = of_numpy(values).dictionary_encode()
    distinct = numpy_of(encoded.dictionary)
    order = np.argsort(distinct, kind="stable")
    return distinct[order], np.bincount(numpy_of(encoded.indices), minlength=len(distinct))[order].astype(np.int64)


def moments_of(values: Floats, counts: npt.NDArray[np.int64]) -> tuple[Fraction, Fraction]:
    """The exact sum and the exact sum of squares of finite `values`, each as often as `counts` says."""
    times = counts.tolist()
    if not (np.floor(values) == values).all():
        by_one = [Fraction(value) for value in values.tolist()]
        return sum(map(mul, by_one, times), Fraction()), sum(
            (value * value * n for value, n in zip(by_one, times, strict=True)), Fraction()
        )
    whole = list(map(int, values.tolist()))
    return Fraction(sum(map(mul, whole, times))), Fraction(sum(map(mul, map(mul, whole, whole), times)))
