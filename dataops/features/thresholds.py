"""Thresholds: how many of some numbers a value reaches, exactly, for many values at a time.

A search branches at every step as nobody can foresee: 50 nanoseconds a value. Here the upper bits of a float32 name a
bucket, a table says how many thresholds lie below it, and the few in it are compared one by one: 3 to 4 nanoseconds,
up to 12 where four share a bucket.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from dataops.features.columns import Floats32

_SHIFTS = (20, 18, 16, 14)  # bits of a float32 below those that name its bucket: the fewer, the larger the table
_MOST_STEPS = 4
_MOST = np.iinfo(np.int16).max - _MOST_STEPS


class Thresholds:
    """Some numbers to reach.

    Parameters
    ----------
    values : float32, strictly rising.
    """

    __slots__ = ("_below", "_shift", "_steps", "_values", "n")

    def __init__(self, values: Floats32) -> None:
        self.n = len(values)
        """How many there are."""
        self._values = np.concatenate([values, np.full(_MOST_STEPS, np.nan, np.float32)])  # nothing reaches a NaN
        self._shift, self._steps = _shift_and_steps(values)
        self._below = _table(values, self._shift) if self._steps <= _MOST_STEPS and self.n <= _MOST else None

    def __reduce__(self) -> tuple[type[Self], tuple[Floats32]]:  # the table is larger than what it is made of
        return type(self), (self._values[: self.n],)

    def reached(self, values: Floats32) -> npt.NDArray[np.integer]:
        """How many each of `values`, in one piece, no infinity and no NaN, reaches, from 0 to `n`."""
        if self._below is None:
            return np.searchsorted(self._values[: self.n], values, side="right")
        found = self._below.take(values.view(np.uint32) >> self._shift)
        start = found.copy() if self._steps > 1 else found
        for step in range(self._steps):
            found = found + (values >= self._values.take(start + np.int16(step)))
        return found


def _shift_and_steps(values: Floats32) -> tuple[int, int]:
    """The smallest table whose buckets hold as few of `values` as those of the largest, and how many at most."""
    held = {shift: np.unique(_buckets(values, shift), return_counts=True)[1] for shift in _SHIFTS}
    steps = {shift: int(counts.max(initial=0)) for shift, counts in held.items()}
    least = max(1, steps[_SHIFTS[-1]])
    return next((shift, found) for shift, found in steps.items() if found <= least)


def _table(values: Floats32, shift: int) -> npt.NDArray[np.int16]:
    """How many of `values` lie below all floats of a bucket, by its bits."""
    buckets = 1 << (32 - shift)
    held = np.bincount(_buckets(values, shift), minlength=buckets)
    below = (np.cumsum(held) - held).astype(np.int16)
    half = buckets // 2  # negative floats come behind the others by their bits, and the other way round
    return np.concatenate([below[half:], below[:half][::-1]])


def _buckets(values: Floats32, shift: int) -> npt.NDArray[np.int64]:
    """The bucket of each of `values`, counted from the least float32 on; that of both zeros is that of -0.0."""
    bits = np.where(values == 0, np.float32(-0.0), values).astype(np.float32).view(np.uint32)
    raw = (bits >> shift).astype(np.int64)
    half = 1 << (31 - shift)
    return np.where(raw < half, raw + half, 2 * half - 1 - raw)
