"""Hiding: which figures about groups of rows may be shown, where the policies ask for groups of a least size.

1. A count stands if it is of no row, or of as many as the policies ask for at least.
2. What doesn't stand is hidden, with as much beside it as keeps it from being had by difference from the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dataops.features.columns import Ints
from dataops.features.folding import fold_neighbours, may_stand
from dataops.features.slices import OTHERS


def hidden_places(counts: Ints, least: int) -> tuple[int, ...]:
    """The places that can't be shown by themselves, smallest first: those with a count that doesn't stand, and the next
    smaller until the counts of all of them together stand. Places without rows aren't among them.

    Parameters
    ----------
    counts : ``(n_places,)``, or ``(n_places, n_cells)`` where rows are told by cell: together the rows of the place.
    """
    cells = _cells(counts)
    rows = cells.sum(axis=1)
    order = [int(place) for place in np.argsort(rows, kind="stable") if rows[place]]
    hidden = [place for place in order if not may_stand(cells[place], least)]
    left = [place for place in order if place not in hidden]
    while hidden and left and not may_stand(cells[hidden].sum(axis=0), least):
        hidden.append(left.pop(0))
    return tuple(hidden)


def shown_places(counts: Ints, least: int) -> frozenset[int]:
    """The places whose counts may be shown: all others that have rows; see `hidden_places`."""
    return frozenset(np.flatnonzero(_cells(counts).sum(axis=1)).tolist()) - frozenset(hidden_places(counts, least))


def _cells(counts: Ints) -> Ints:
    return counts if counts.ndim == 2 else counts[:, None]


def values_together(rows_of: Mapping[str, int], least: int) -> tuple[str, ...]:
    """The values that are one, `OTHERS`: those of fewer than `least` rows, and the next larger if it takes them."""
    values = sorted(rows_of, key=lambda value: (value != OTHERS, value))
    together = [values[place] for place in hidden_places(np.array([rows_of[value] for value in values]), least)]
    if together and OTHERS in rows_of and OTHERS not in together:
        together.append(OTHERS)
    return tuple(together)


def share(part: int, rows: int, least: int) -> float | None:
    """`part` of `rows`; None without rows, and where it, or what is left, is of too few rows."""
    return part / rows if rows and may_stand(np.array([part, rows - part]), least) else None


def shares_above(counts: Sequence[int] | npt.NDArray[Any], rows: int, least: int) -> list[float | None]:
    """The shares of `rows` that lie above rising steps, each None where it would tell of too few rows, be it as the
    rows between two steps.

    Parameters
    ----------
    counts : rows above each step, none more than above the step before.
    """
    above = np.array(counts, np.int64)
    between = -np.diff(above, prepend=rows, append=0)
    fold = fold_neighbours(between[None, ::-1], least)[::-1]
    apart = fold[:-1] != fold[1:]
    return [int(part) / rows if rows and told else None for part, told in zip(above, apart, strict=True)]


def shown_histogram(histogram: Sequence[int] | Ints, least: int) -> tuple[int, ...]:
    """`histogram` with the rows of neighbouring bins put together in the largest of them, where one is of too few."""
    counts = np.array(histogram, np.int64)
    fold = fold_neighbours(counts[None], least)
    shown = np.zeros(len(counts), np.int64)
    for cell in range(int(fold.max(initial=-1)) + 1):
        places = np.flatnonzero(fold == cell)
        shown[places[np.argmax(counts[places])]] = counts[places].sum()
    return tuple(shown.tolist())
