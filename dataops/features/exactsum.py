"""Sums of floats without rounding, so that how rows are split and in which order they are added can't matter.

Method: pre-rounding (Demmel and Nguyen, "Fast Reproducible Floating-Point Summation", ARITH 2013), carried on until
nothing is left. Each turn cuts the top 32 bits off all values of a block; the parts cut off are multiples of one power
of two and small enough that float64 adds them without rounding. Some 20 ns a value for both sums.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BLOCK = 1 << 14  # values: a few buffers of this size fit a core's cache, and 2**14 * 2**32 < 2**53
_UNIT = 1074  # every float64 is a multiple of 2**-1074
_LARGEST = 2.0**400  # beyond, and below its inverse, a square or its rounding error leaves the range of float64
_SPLITTER = 2.0**27 + 1.0


def exact_moments(values: Floats) -> tuple[Fraction, Fraction]:
    """The exact sum and the exact sum of squares of finite `values`, ``(n,)`` float64."""
    total = squares = 0
    rare: list[float] = []
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK].copy()
        size = np.abs(block)
        extreme = (size > _LARGEST) | ((size < 1 / _LARGEST) & (size > 0))
        if extreme.any():
            rare += block[extreme].tolist()
            block[extreme] = 0.0
        high, low = _square(block)
        total += _sum_units(block)
        squares += _sum_units(high) + _sum_units(low)
    one = 1 << _UNIT
    by_one = [Fraction(value) for value in rare]
    return Fraction(total, one) + sum(by_one), Fraction(squares, one) + sum(value * value for value in by_one)


def exact_sums(
    values: Floats, cells: npt.NDArray[np.integer[Any]], n_cells: int, *, bits: int
) -> tuple[list[int], list[int]]:
    """The exact sums of `values` and of their squares by cell, in units of ``2**-bits``.

    Parameters
    ----------
    values : ``(n,)``, zeros and numbers between ``2**-400`` and ``2**400``; they, and their squares, are multiples of
        the unit.
    cells : ``(n,)``, the cell of each, below `n_cells`.
    """
    totals, squares = [0] * n_cells, [0] * n_cells
    for start in range(0, len(values), _BLOCK):
        block, which = values[start : start + _BLOCK].copy(), cells[start : start + _BLOCK]
        high, low = _square(block)
        _add_units(block, which, totals, bits)
        _add_units(high, which, squares, bits)
        _add_units(low, which, squares, bits)
    return totals, squares


def _add_units(rest: Floats, cells: npt.NDArray[np.integer[Any]], totals: list[int], bits: int) -> None:
    """The exact sums of `rest` (which is used up) by cell are added to `totals`: `_sum_units`, cell by cell."""
    while (top := max(rest.max(), -rest.min())) > 0:
        grid = max(math.frexp(top)[1] - 32, -bits)
        pull = math.ldexp(1.5, 52 + grid)
        part = rest + pull
        part -= pull
        rest -= part
        sums = np.bincount(cells, part, len(totals))
        for cell in np.flatnonzero(sums).tolist():
            totals[cell] += int(math.ldexp(float(sums[cell]), -grid)) << (grid + bits)


def _square(values: Floats) -> tuple[Floats, Floats]:
    """``values**2`` as an unevaluated sum of two floats, exactly (T. J. Dekker, 1971)."""
    front = values * _SPLITTER
    front -= front - values
    back = values - front
    high = values * values
    low = front * front
    low -= high
    front *= back
    low += 2.0 * front
    back *= back
    low += back
    return high, low


def _sum_units(rest: Floats) -> int:
    """The exact sum of `rest` (which is used up), in units of ``2**-1074``."""
    total = 0
    while (top := max(rest.max(), -rest.min())) > 0:
        grid = max(math.frexp(top)[1] - 32, -_UNIT)
        pull = math.ldexp(1.5, 52 + grid)
        part = rest + pull
        part -= pull
        rest -= part
        total += int(math.ldexp(float(part.sum()), -grid)) << (grid + _UNIT)
    return total
