"""The grid of a model's cells: rows that a model of trees can't tell apart. `cell_scores` scores each kind once.

1. A tree only asks whether a value reaches a threshold. Rows whose values lie between the same thresholds in every
   column are in one *cell*: they come to the same leaves, and have the same score to the bit.
2. Which cell a row is in is worked out exactly, or not at all: there are no cells where a model has more of them than a
   63-bit number can name, or asks other questions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataops.features.columns import Floats32
from dataops.features.thresholds import Thresholds

Keys = npt.NDArray[np.int64]

MOST_CELLS = 2**62
LEAST_TREES = 20  # with fewer, a row's score costs no more than its cell
BLOCK = 1 << 15  # rows: a block's columns stay in a core's cache
_MOST_THRESHOLDS = 1 << 15  # of a column: trees of more than these tell most rows apart


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """The cells of one model; `find_grid` makes it.

    Attributes
    ----------
    columns : the places of the matrix's columns that are asked about, and what they are compared with.
    size : how many cells there are.
    """

    columns: tuple[tuple[int, Thresholds], ...]
    size: int

    def keys(self, matrix: Floats32) -> Keys:
        """The cell of each row of `matrix`, int64 (n_rows,), below `size`."""
        keys = np.zeros(len(matrix), np.int64)
        self.fill(keys, matrix, range(0, len(matrix), BLOCK))
        return keys

    def fill(self, keys: Keys, matrix: Floats32, blocks: Sequence[int]) -> None:
        """The cells of the rows of some blocks, by where those start; `keys` is zero there."""
        for start in blocks:
            block = keys[start : start + BLOCK]
            for place, thresholds in self.columns:
                block *= thresholds.n + 1
                block += thresholds.reached(np.ascontiguousarray(matrix[start : start + BLOCK, place]))


def find_grid(thresholds: Mapping[int, Sequence[float]], *, trees: int) -> Grid | None:
    """The cells of a model whose trees ask whether column `place` reaches one of ``thresholds[place]``; None where that
    is of no use.
    """
    rising = {place: np.unique(np.array(values, np.float32)) for place, values in sorted(thresholds.items())}
    size = math.prod(len(values) + 1 for values in rising.values())
    finite = all(np.isfinite(values).all() for values in rising.values())
    few = all(len(values) < _MOST_THRESHOLDS for values in rising.values())
    if trees < LEAST_TREES or not finite or not few or size > MOST_CELLS:
        return None
    return Grid(columns=tuple((place, Thresholds(values)) for place, values in rising.items()), size=size)
