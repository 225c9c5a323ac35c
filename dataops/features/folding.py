"""Folding: cells of few rows put together, so that no count is about fewer rows than may be shown.

A *fold* gives each cell the number of the cell that it becomes part of, ``(n_cells,)`` int64, counted from 0. One fold
holds for several populations (the values of a slice, or then and now), so that nothing can be had by difference.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dataops.features.binning import bin_starts
from dataops.features.cells import MISSING, UNKNOWN, Cells, Fold, NumberCells, folded
from dataops.features.columns import Ints

SMALLEST_CELL = 5
"""Rows that a coarse cell has of the reference: a share of fewer is mostly chance (Cochran 1954, Biometrics 10)."""
COARSE_PARTS = 10
"""A number is compared by tenths, as the rule of thumb for the population stability index is about (Siddiqi 2006)."""
LEAST_SHARE = 100
"""A category is compared by itself if one row of so many has it."""


def fold_cells(cells: Cells, counts: Ints, least: int) -> Fold:
    """The fold after which each population has none or at least `least` rows in each cell of `cells`.

    Parameters
    ----------
    counts : ``(n_populations, n_cells)``.
    """
    return fold_neighbours(counts, least) if isinstance(cells, NumberCells) else fold_small(counts, least)


def fold_neighbours(counts: Ints, least: int) -> Fold:
    """As `fold_cells`, of cells in an order: only neighbours are put together, as few as it takes."""
    starts, current = [0], np.zeros(len(counts), np.int64)
    for place in range(counts.shape[1]):
        current = current + counts[:, place]
        if may_stand(current, least) and place + 1 < counts.shape[1]:
            starts.append(place + 1)
            current = np.zeros(len(counts), np.int64)
    while len(starts) > 1 and not may_stand(counts[:, starts[-1] :].sum(axis=1), least):
        starts.pop()
    fold = np.zeros(counts.shape[1], np.int64)
    fold[starts[1:]] = 1
    return np.cumsum(fold)


def fold_small(counts: Ints, least: int) -> Fold:
    """As `fold_cells`, of cells without order: those of few rows are one, the last, with the next larger if need be."""
    together: npt.NDArray[np.bool_] = np.any((counts > 0) & (counts < least), axis=0)
    if not together.any():
        return np.arange(counts.shape[1])
    for place in np.argsort(counts.sum(axis=0), kind="stable"):
        if may_stand(counts[:, together].sum(axis=1), least):
            break
        together[place] |= bool(counts[:, place].any())
    fold = np.cumsum(~together) - 1
    fold[together] = np.count_nonzero(~together)
    return fold


def may_stand(rows: Ints, least: int) -> bool:
    """Whether each of `rows` is none, or at least `least`."""
    return bool(((rows == 0) | (rows >= least)).all())


def coarse_fold(cells: Cells, counts: Ints, fold: Fold, least: int, *, apart: bool = False) -> Fold:
    """The coarse cell of each of `cells`, by which drift is told; no finer than `fold`.

    Parameters
    ----------
    counts : ``(n_cells,)``, the rows of the reference.
    fold : what hides small counts; see `fold_cells`.
    apart : also of a number each is compared by itself, as of a category, if so many rows have it.
    """
    shown = folded(counts, fold)
    special = _special(cells, fold)
    others = np.setdiff1d(np.arange(len(shown)), special)
    least = max(least, SMALLEST_CELL)
    rows = shown[others]
    if isinstance(cells, NumberCells) and not apart:
        begins, _ = bin_starts(rows, COARSE_PARTS)
        tenths = np.cumsum(begins, dtype=np.int64)
        among = fold_neighbours(folded(rows, tenths)[None], least)[tenths] if len(rows) else tenths
    else:
        among = fold_small(rows[None], max(least, -(-int(shown.sum()) // LEAST_SHARE)))
    coarse = np.zeros(len(shown), np.int64)
    coarse[special] = np.arange(len(special))
    coarse[others] = len(special) + among
    return coarse[fold]


def _special(cells: Cells, fold: Fold) -> Fold:
    """The folded cells that hold what was missing, or unknown, and nothing else."""
    special = [MISSING] if isinstance(cells, NumberCells) else [MISSING, UNKNOWN]
    return np.array([fold[cell] for cell in special if np.count_nonzero(fold == fold[cell]) == 1], np.int64)
