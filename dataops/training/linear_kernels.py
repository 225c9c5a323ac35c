"""Loops of linear models in machine code: margins, gradients, curvatures of rows, without the interpreter's lock.

1. Rows are taken as they are encoded: numbers, then codes, float32 side by side. A code is a place in a table, never a
   one-hot column, and nothing is copied.
2. Sums are made in float64, row after row: the same rows give the same bits on the same kind of processor.
3. Importing it loads machine code (see `machine_code`), so tasks import it when they need it.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from dataops.training.machine_code import compiled

Vector = np.ndarray[Any, np.dtype[np.float64]]
Values = np.ndarray[Any, np.dtype[np.float32]]

_ROWS = 8  # of a curvature's sums at a time: as many multiplications for each number that is loaded and stored

# Read-only arrays are taken as well: what comes from another process may be one.
_VALUES = nb.types.Array(nb.float32, 2, "C", readonly=True)
_READ = nb.types.Array(nb.float64, 1, "C", readonly=True)
_PLACES = nb.types.Array(nb.int64, 1, "C", readonly=True)
_OUT, _SQUARE = nb.float64[::1], nb.float64[:, ::1]


@compiled(nb.void(_VALUES, nb.float32[::1], nb.float32[::1], nb.int64[::1]))
def put_extents(values: Values, least: Any, largest: Any, nonfinite: Any) -> None:
    """By column, the least and the largest finite value, or 0, and how many are infinite or not a number."""
    least[:], largest[:], nonfinite[:] = 0.0, 0.0, 0
    for row in range(len(values)):
        for place in range(values.shape[1]):
            value = values[row, place]
            if not np.isfinite(value):
                nonfinite[place] += 1
            elif value < least[place]:
                least[place] = value
            elif value > largest[place]:
                largest[place] = value


@compiled(nb.void(_VALUES, _PLACES, _READ, _OUT))
def put_margins(values: Values, first: Any, coefficients: Vector, out: Vector) -> None:
    """`out` is the margin of each row.

    Parameters
    ----------
    values : (n_rows, n_numeric + n_categorical).
    first : int64 (n_categorical,), where the coefficients of a column's codes begin.
    coefficients : intercept, one for each number, one for each code.
    """
    n_numeric = values.shape[1] - len(first)
    for row in range(len(values)):
        margin = coefficients[0]
        for place in range(n_numeric):
            margin += coefficients[1 + place] * np.float64(values[row, place])
        for place in range(len(first)):
            margin += coefficients[first[place] + np.int64(values[row, n_numeric + place])]
        out[row] = margin


@compiled(nb.void(_VALUES, _PLACES, _READ, _OUT))
def add_sums(values: Values, first: Any, weights: Vector, out: Vector) -> None:
    """The sum of each feature, weighted by row, is added to `out`: a gradient, where the weights are residuals."""
    n_numeric = values.shape[1] - len(first)
    for row in range(len(values)):
        weight = weights[row]
        out[0] += weight
        for place in range(n_numeric):
            out[1 + place] += weight * np.float64(values[row, place])
        for place in range(len(first)):
            out[first[place] + np.int64(values[row, n_numeric + place])] += weight


@compiled(nb.void(_VALUES, _PLACES, _READ, _READ, _READ, _SQUARE))
def add_products(  # noqa: C901 - one loop over rows
    values: Values, first: Any, weights: Vector, mean: Vector, scale: Vector, out: Any
) -> None:
    """The products of each two features, weighted by row, are added to the lower triangle of `out`.

    Numbers enter less their `mean`, times their `scale`. Of one code with itself nothing is added: that sum is the one
    with the intercept.
    """
    n_numeric, n_codes = values.shape[1] - len(first), len(first)
    width = 1 + n_numeric
    plain, weighted = np.zeros((width, _ROWS)), np.zeros((width, _ROWS))
    for start in range(0, len(values), _ROWS):
        n_rows = min(_ROWS, len(values) - start)
        if n_rows < _ROWS:
            plain[:], weighted[:] = 0.0, 0.0
        for row in range(n_rows):
            weight = weights[start + row]
            plain[0, row], weighted[0, row] = 1.0, weight
            for place in range(n_numeric):
                value = (np.float64(values[start + row, place]) - mean[place]) * scale[place]
                plain[1 + place, row], weighted[1 + place, row] = value, weight * value
        for one in range(width):
            for other in range(one + 1):
                total = 0.0
                for row in range(_ROWS):
                    total += weighted[one, row] * plain[other, row]
                out[one, other] += total
        for row in range(n_rows):
            weight = weights[start + row]
            for place in range(n_codes):
                at = first[place] + np.int64(values[start + row, n_numeric + place])
                for other in range(width):
                    out[at, other] += weighted[other, row]
                for other in range(place):
                    out[at, first[other] + np.int64(values[start + row, n_numeric + other])] += weight


@compiled(nb.void(_OUT, _READ, _OUT))
def add_rounded(part: Vector, grid: Vector, out: Vector) -> None:
    """`part`, rounded to multiples of `grid`, is added to `out`, and is zero afterwards."""
    for place in range(len(part)):
        if part[place] != 0.0:
            out[place] += np.rint(part[place] / grid[place]) * grid[place]
            part[place] = 0.0


@compiled(nb.void(_SQUARE, _READ, _SQUARE))
def add_rounded_products(part: Any, grid: Vector, out: Any) -> None:
    """The lower triangle of `part`, rounded to multiples of the products of `grid`, is added to `out`, and is zero
    afterwards.
    """
    for one in range(len(part)):
        for other in range(one + 1):
            if part[one, other] != 0.0:
                step = grid[one] * grid[other]
                out[one, other] += np.rint(part[one, other] / step) * step
                part[one, other] = 0.0
