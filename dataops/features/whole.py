"""Summaries of whole numbers of a narrow range: counted by value, which says all that `summary` asks for, exactly.

Parts of dates, distances, ages: one pass of counting instead of sums without rounding and a sort of all values.
"""

from __future__ import annotations

from fractions import Fraction
from operator import mul

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from dataops.features.columns import Floats, numpy_of

WIDEST = 1 << 14
"""How far the largest value may lie above the least: as many counts fit a core's cache."""
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


def moments_of(values: Floats, counts: npt.NDArray[np.int64]) -> tuple[Fraction, Fraction]:
    """The exact sum and the exact sum of squares of whole `values`, each as often as `counts` says."""
    whole, times = list(map(int, values.tolist())), counts.tolist()
    return Fraction(sum(map(mul, whole, times))), Fraction(sum(map(mul, map(mul, whole, whole), times)))
