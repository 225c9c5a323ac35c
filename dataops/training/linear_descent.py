"""Coordinate descent for a step of Newton's method with an absolute penalty."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from dataops.training.machine_code import compiled

Vector = np.ndarray[Any, np.dtype[np.float64]]

_MOST_SWEEPS = 20_000
_SWEEPS_OF_SOME = 10
_STANDS_STILL = 1e-14  # of what the step gains: by so little may the last sweep change it

_READ = nb.types.Array(nb.float64, 1, "C", readonly=True)
_READ_SQUARE = nb.types.Array(nb.float64, 2, "C", readonly=True)


@compiled(nb.void(_READ_SQUARE, _READ, _READ, _READ, nb.float64[::1]))
def descend(curvature: Any, gradient: Vector, point: Vector, absolute: Vector, step: Vector) -> None:
    """`step`, zeros at first, becomes that to the least of a quadratic with an absolute penalty.

    ``gradient @ step + step @ curvature @ step / 2 + sum(absolute * |point + step|)``, coordinate by coordinate: over
    all of them, then over those that are not zero until these stand still, and again, until all do.
    """
    length = len(step)
    slope = gradient.copy()
    for sweep in range(_MOST_SWEEPS):
        all_of_them = sweep % _SWEEPS_OF_SOME == 0
        largest = 0.0
        for place in range(length):
            at = point[place] + step[place]
            if not all_of_them and at == 0.0:
                continue
            bend = curvature[place, place]
            aim = at - slope[place] / bend
            kept = max(abs(aim) - absolute[place] / bend, 0.0)
            change = (kept if aim > 0 else -kept) - at
            if change != 0.0:
                step[place] = -point[place] if kept == 0.0 else step[place] + change
                for other in range(length):
                    slope[other] += change * curvature[place, other]
                largest = max(largest, change * change * bend)
        gained = 1e-300
        for place in range(length):
            gained += abs(gradient[place] * step[place])
        if all_of_them and largest <= _STANDS_STILL * gained:
            return
