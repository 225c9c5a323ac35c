"""The grid of a model's cells: rows that a model of trees can't tell apart, each kind of which is scored once.

1. A tree only asks whether a value reaches a threshold. Rows whose values lie between the same thresholds in every
   column are in one *cell*: they come to the same leaves, and have the same score to the bit.
2. Which cell a row is in is worked out exactly, or not at all: there are no cells where a model has more of them than a
   63-bit number can name, or asks other questions.
3. Whether it pays is told by a sample of the rows. The scores are the same either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats32 = npt.NDArray[np.float32]
Keys = npt.NDArray[np.int64]
Predict = Callable[[Floats32], Floats32]

MOST_CELLS = 2**62
LEAST_TREES = 20  # with fewer, a row's score costs no more than its cell
_LEAST_ROWS = 1 << 12
_SAMPLE = 4  # one row of so many tells whether rows repeat
_PAYS = 0.7  # cells a row: beyond, few rows are saved
_TABLE = 1 << 22  # cells of which a table of scores is kept; beyond, those that occur are looked up
_BLOCK = 1 << 15  # rows: a block's columns stay in a core's cache
_SHIFT = 14  # bits of a float32 below those that name its bucket: 512 buckets from one power of two to the next
_BUCKETS = 1 << (32 - _SHIFT)
_MOST_STEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Column:
    """The thresholds of one column of the matrix.

    Attributes
    ----------
    thresholds : float32, rising, each once, then infinities: one is read behind the last.
    below : int16 (_BUCKETS,): thresholds below all of a bucket's floats, by their upper bits; None: too close together.
    steps : the most thresholds that lie in one bucket.
    """

    place: int
    thresholds: Floats32
    n_thresholds: int
    below: npt.NDArray[np.int16] | None
    steps: int

    def sides(self, values: Floats32) -> npt.NDArray[np.integer]:
        """How many thresholds each of `values`, contiguous and no NaN, reaches."""
        if self.below is None:
            return np.searchsorted(self.thresholds[: self.n_thresholds], values, side="right")
        found = self.below.take(values.view(np.uint32) >> _SHIFT)
        start = found.copy() if self.steps > 1 else found
        for step in range(self.steps):
            found = found + (values >= self.thresholds.take(start + np.int16(step)))
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """The cells of one model; `find_grid` makes it."""

    columns: tuple[_Column, ...]
    size: int

    def keys(self, matrix: Floats32) -> Keys:
        """The cell of each row of `matrix`, int64 (n_rows,), below `size`."""
        keys = np.zeros(len(matrix), np.int64)
        for start in range(0, len(matrix), _BLOCK):
            block = keys[start : start + _BLOCK]
            for column in self.columns:
                values = np.ascontiguousarray(matrix[start : start + _BLOCK, column.place])
                block *= column.n_thresholds + 1
                block += column.sides(values)
        return keys

    def predict(self, matrix: Floats32, predict: Predict) -> Floats32:
        """What `predict` gives for each row of `matrix`, asked once for each cell where many rows share one."""
        if len(matrix) < _LEAST_ROWS or not self._pays(matrix):
            return predict(matrix)
        keys = self.keys(matrix)
        if self.size > _TABLE:
            encoded = pa.array(keys).dictionary_encode()
            keys, size = encoded.indices.to_numpy(), len(encoded.dictionary)
        else:
            size = self.size
        first = np.full(size, -1, np.int64)
        first[keys[::-1]] = np.arange(len(keys) - 1, -1, -1)  # of equal keys the last assignment stays: the first row's
        there = np.flatnonzero(first >= 0)
        scores = np.empty(size, np.float32)
        scores[there] = predict(np.ascontiguousarray(matrix[first[there]]))
        return scores.take(keys)

    def _pays(self, matrix: Floats32) -> bool:
        sample = self.keys(matrix[::_SAMPLE])
        return len(pa.array(sample).unique()) <= _PAYS * len(sample)


def find_grid(thresholds: Mapping[int, Sequence[float]], *, trees: int) -> Grid | None:
    """The cells of a model whose trees ask whether column `place` reaches one of ``thresholds[place]``; None where that
    is of no use.
    """
    rising = {place: np.unique(np.array(values, np.float32)) for place, values in sorted(thresholds.items())}
    size = math.prod(len(values) + 1 for values in rising.values())
    finite = all(np.isfinite(values).all() for values in rising.values())
    few = all(len(values) + _MOST_STEPS <= np.iinfo(np.int16).max for values in rising.values())
    if trees < LEAST_TREES or not finite or not few or size > MOST_CELLS:
        return None
    return Grid(columns=tuple(_column(place, values) for place, values in rising.items()), size=size)


def _column(place: int, thresholds: Floats32) -> _Column:
    in_bucket = np.bincount(_ordered_buckets(thresholds), minlength=_BUCKETS)
    steps = int(in_bucket.max(initial=0))
    below = (np.cumsum(in_bucket) - in_bucket).astype(np.int16)
    half = _BUCKETS // 2  # negative floats come behind the others by their bits, and the other way round
    by_bits = np.concatenate([below[half:], below[:half][::-1]])
    padded = np.concatenate([thresholds, np.full(_MOST_STEPS, np.inf, np.float32)])
    return _Column(
        place=place,
        thresholds=padded,
        n_thresholds=len(thresholds),
        below=by_bits if steps <= _MOST_STEPS else None,
        steps=steps,
    )


def _ordered_buckets(values: Floats32) -> npt.NDArray[np.int64]:
    """The bucket of each value, counted from the least float32 on; the bucket of both zeros is that of -0.0."""
    bits = np.where(values == 0, np.float32(-0.0), values).astype(np.float32).view(np.uint32)
    raw = (bits >> _SHIFT).astype(np.int64)
    half = _BUCKETS // 2
    return np.where(raw < half, raw + half, _BUCKETS - 1 - raw)
