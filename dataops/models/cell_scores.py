"""Scores of the cells of a model's `grid`, each asked for once: rows in one cell have the same score to the bit, now
and in every later batch of the same process.

1. Cells that occurred are kept in their order, `MOST_KEPT` of them at most, and looked up there. Which ones a batch
   has is told by a table where there are few in all, else by their hashes.
2. A sample of the rows tells whether it pays: whether few of them lie in cells that nobody has asked for. Where rows
   hardly repeat, they are scored as they are. The scores are the same either way.
3. What is kept is replaced as a whole, never changed where it lies: threads that score at the same time may forget what
   another found, and never read half of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataops.features.columns import Floats32, numpy_of, of_numpy
from dataops.models.grid import BLOCK, Grid, Keys

Predict = Callable[[Floats32], Floats32]

MOST_KEPT = 1 << 20  # cells: 12 bytes each
_LEAST_ROWS = 1 << 12
_SAMPLE = 4  # one block of so many tells whether rows repeat
_PAYS = 0.7  # cells to ask for, a row: beyond, few rows are saved
_LEARNS = 0.95  # the same while there is room: they may come again in the next batch
_TABLE = 1 << 22  # cells of a grid, up to which a table tells those that occur


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Kept:
    """Cells int64 (n_cells,), rising, and their scores float32 (n_cells,)."""

    cells: Keys
    scores: Floats32

    def find(self, cells: Keys) -> tuple[npt.NDArray[np.bool_], Floats32]:
        """Which of `cells`, rising, are there, and the scores of those."""
        at = np.searchsorted(self.cells, cells)
        there = at < len(self.cells)
        there[there] = self.cells[at[there]] == cells[there]
        return there, self.scores[at[there]]

    def with_more(self, cells: Keys, scores: Floats32) -> _Kept:
        """Also these `cells`, rising, none of which is there, as far as there is room."""
        room = MOST_KEPT - len(self.cells)
        cells, scores = cells[:room], scores[:room]
        at = np.searchsorted(self.cells, cells)
        return _Kept(cells=np.insert(self.cells, at, cells), scores=np.insert(self.scores, at, scores))


class CellScores:
    """What one kind of score of one model is in the cells of its `grid`."""

    __slots__ = ("_grid", "_kept")

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._kept = _Kept(cells=np.empty(0, np.int64), scores=np.empty(0, np.float32))

    def predict(self, matrix: Floats32, predict: Predict) -> Floats32:
        """What `predict` gives for each row of `matrix`, asked once for each cell where many rows share one."""
        if len(matrix) < _LEAST_ROWS:
            return predict(matrix)
        keys, blocks = np.zeros(len(matrix), np.int64), range(0, len(matrix), BLOCK)
        self._grid.fill(keys, matrix, blocks[::_SAMPLE])
        if not self._pays(np.concatenate([keys[start : start + BLOCK] for start in blocks[::_SAMPLE]])):
            return predict(matrix)
        self._grid.fill(keys, matrix, [start for start in blocks if start not in blocks[::_SAMPLE]])
        cells, places = self._cells_of(keys)
        row = np.empty(len(cells), np.int64)
        row[places] = np.arange(len(keys))  # any row of a cell is as good as another
        kept = self._kept
        there, known = kept.find(cells)
        scores = np.empty(len(cells), np.float32)
        scores[there] = known
        if not there.all():
            scores[~there] = predict(matrix.take(row[~there], axis=0))
            self._kept = kept.with_more(cells[~there], scores[~there])
        return scores.take(places)

    def _cells_of(self, keys: Keys) -> tuple[Keys, npt.NDArray[np.int32]]:
        """The cells that occur, rising, and the place of each row's among them."""
        if self._grid.size <= _TABLE:
            occurs = np.zeros(self._grid.size, np.bool_)
            occurs[keys] = True
            cells: Keys = np.flatnonzero(occurs)
            place = np.empty(self._grid.size, np.int32)
            place[cells] = np.arange(len(cells), dtype=np.int32)
            return cells, place.take(keys)
        encoded = of_numpy(keys).dictionary_encode()
        cells, places = numpy_of(encoded.dictionary), numpy_of(encoded.indices)
        order = np.argsort(cells)
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return cells[order], rank.take(places)

    def _pays(self, sample: Keys) -> bool:
        """Whether few of the rows in these cells would have to be scored, or others may be in them later."""
        cells = np.sort(numpy_of(of_numpy(sample).unique()))
        kept = self._kept
        asked = len(cells) - int(np.count_nonzero(kept.find(cells)[0]))
        return asked <= (_PAYS if len(kept.cells) >= MOST_KEPT else _LEARNS) * len(sample)
