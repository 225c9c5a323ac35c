"""Loops of k-means in machine code: the nearest centre of each row, and what the rows of each centre add up to.

1. Rows are taken as they are encoded: numbers, then codes, float32 side by side; a code is a place in a table.
2. What is added up are whole numbers: each row's values on a grid that is fixed for the column. So sums are exact, and
   the same for any order and any cut of the rows.
3. Importing it loads machine code (see `machine_code`), so tasks import it when they need it.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from dataops.training.machine_code import compiled

Values = np.ndarray[Any, np.dtype[np.float32]]

_VALUES = nb.types.Array(nb.float32, 2, "C", readonly=True)
_TABLE = nb.types.Array(nb.float64, 2, "C", readonly=True)
_READ = nb.types.Array(nb.float64, 1, "C", readonly=True)
_PLACES = nb.types.Array(nb.int64, 1, "C", readonly=True)
_NUMBERS = nb.types.Array(nb.int32, 1, "C", readonly=True)
_SUMS = nb.int64[:, ::1]


@compiled(nb.void(_VALUES, _PLACES, _TABLE, _TABLE, nb.int32[::1], nb.float64[::1]))
def put_nearest(values: Values, first: Any, numeric: Any, codes: Any, nearest: Any, squared: Any) -> None:
    """`nearest` is the number of the nearest centre of each row, the lowest of equally near ones, and `squared` the
    squared distance to it.

    Parameters
    ----------
    values : (n_rows, n_numeric + n_categorical).
    first : int64 (n_categorical,), where a column's codes begin among all codes.
    numeric : (n_numeric, n_centres), coordinates.
    codes : (n_codes, n_centres), what a code adds to the squared distance.
    """
    n_numeric, n_centres = values.shape[1] - len(first), numeric.shape[1]
    distances = np.empty(n_centres)
    for row in range(len(values)):
        distances[:] = 0.0
        for place in range(n_numeric):
            value = np.float64(values[row, place])
            for centre in range(n_centres):
                apart = value - numeric[place, centre]
                distances[centre] += apart * apart
        for place in range(len(first)):
            code = first[place] + np.int64(values[row, n_numeric + place])
            for centre in range(n_centres):
                distances[centre] += codes[code, centre]
        best = 0
        for centre in range(1, n_centres):
            if distances[centre] < distances[best]:
                best = centre
        nearest[row], squared[row] = best, distances[best]


@compiled(nb.void(_VALUES, _PLACES, _NUMBERS, _READ, _READ, nb.float64, _SUMS, _SUMS, nb.int64[::1]))
def add_rows(
    values: Values,
    first: Any,
    nearest: Any,
    weights: Any,
    units: Any,
    weight_unit: float,
    numeric: Any,
    codes: Any,
    total: Any,
) -> None:
    """Rows are added to what their centres have: values times weight to `numeric`, weights to `codes` and `total`.

    Parameters
    ----------
    weights : (n_rows,); of no length: each row weighs 1.
    units : (n_numeric,), powers of two: how many grid steps a value of 1 has.
    weight_unit : likewise of weights.
    numeric : (n_numeric, n_centres), codes : (n_codes, n_centres), total : (n_centres,), in grid steps.
    """
    n_numeric = values.shape[1] - len(first)
    for row in range(len(values)):
        centre, weight = nearest[row], 1.0
        if len(weights):
            weight = weights[row]
        steps = np.int64(np.floor(weight * weight_unit + 0.5))
        total[centre] += steps
        for place in range(n_numeric):
            value = weight * np.float64(values[row, place])
            numeric[place, centre] += np.int64(np.floor(value * units[place] + 0.5))
        for place in range(len(first)):
            codes[first[place] + np.int64(values[row, n_numeric + place]), centre] += steps
