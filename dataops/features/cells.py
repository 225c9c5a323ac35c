"""Cells: what the values of a feature, or scores, are counted in.

1. A number's cells are intervals of what the encoder gives, float32; one cell may hold a single value. What was missing
   is counted apart, not where its fill lies. An infinity is missing, as it is to the encoder.
2. A category's cells are codes, the rare ones together; code 0 is told apart into what was missing and what is unknown.
3. Each cell is part of a coarse one, of those that drift is told by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from dataops.features.columns import Floats32, Ints
from dataops.features.thresholds import Thresholds
from dataops.records import Record

Fold: TypeAlias = npt.NDArray[np.int64]

MISSING, UNKNOWN = 0, 1
"""The cells of what was missing, of any column, and of a category that the model doesn't know."""

SCORES = "scores"
"""What the cells of the score are called."""


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: what counts values is made once
class NumberCells:
    """The cells of a number: cell 0 is what was missing, cell ``b + 1`` holds ``edges[b - 1] <= x < edges[b]``.

    Parameters
    ----------
    name : the column, or `SCORES`.
    edges : float32, strictly rising; the first bin has no lower end, the last no upper one.
    fill : the bin that the encoder's fill lies in.
    points : the cells that hold one value of the training rows, as those are summarised.
    coarse : ``(n_cells,)``, the coarse cell of each cell.
    """

    name: str
    edges: Floats32
    fill: int
    points: tuple[int, ...]
    coarse: Fold

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return len(self.edges) + 2

    @cached_property
    def thresholds(self) -> Thresholds:
        """The edges as what values reach: the bin of a value is how many of them."""
        return Thresholds(self.edges)

    def record(self) -> Record:
        """The cells as JSON; edges keep every bit."""
        edges = [float(edge) for edge in self.edges]
        rest = {"fill": self.fill, "points": list(self.points), "coarse": self.coarse.tolist()}
        return {"name": self.name, "edges": edges, **rest}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CategoryCells:
    """The cells of a category: cell 0 is what was missing, 1 what is unknown.

    Parameters
    ----------
    name : the column.
    of_code : the cell of each code of the encoder, from code 1 on.
    coarse : ``(n_cells,)``, the coarse cell of each cell.
    """

    name: str
    of_code: Fold
    coarse: Fold

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return len(self.coarse)

    def record(self) -> Record:
        """The cells as JSON."""
        return {"name": self.name, "of_code": self.of_code.tolist(), "coarse": self.coarse.tolist()}


Cells: TypeAlias = NumberCells | CategoryCells

OneKind = TypeVar("OneKind", NumberCells, CategoryCells)


def number_cells(record: Mapping[str, Any]) -> NumberCells:
    """The cells that `NumberCells.record` wrote.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError : it didn't.
    """
    edges = np.array(record["edges"], np.float32)
    cells = NumberCells(
        name=str(record["name"]),
        edges=edges,
        fill=int(record["fill"]),
        points=tuple(map(int, record["points"])),
        coarse=np.array(record["coarse"], np.int64),
    )
    if not (np.diff(edges) > 0).all() or not 0 <= cells.fill <= len(edges):
        raise ValueError(cells.name)
    return _checked(cells)


def category_cells(record: Mapping[str, Any]) -> CategoryCells:
    """The cells that `CategoryCells.record` wrote; raises as `number_cells`."""
    of_code, coarse = (np.array(record[key], np.int64) for key in ("of_code", "coarse"))
    if (of_code <= UNKNOWN).any():
        raise ValueError(record["name"])
    return _checked(CategoryCells(name=str(record["name"]), of_code=of_code, coarse=coarse))


def _checked(cells: OneKind) -> OneKind:
    n_cells = len(cells.coarse)
    if not _fits(cells) or (cells.coarse < 0).any() or (cells.coarse >= n_cells).any():
        raise ValueError(cells.name)
    return cells


def _fits(cells: Cells) -> bool:
    if isinstance(cells, NumberCells):
        return len(cells.coarse) == cells.n_cells
    return int(cells.of_code.max(initial=UNKNOWN)) < len(cells.coarse)


def folded(counts: Ints, fold: Fold, n_cells: int | None = None) -> Ints:
    """`counts` of shape ``(..., n)``, added up by the cell that `fold`, ``(n,)``, gives each."""
    size = int(fold.max(initial=-1)) + 1 if n_cells is None else n_cells
    result = np.zeros((*counts.shape[:-1], size), np.int64)
    np.add.at(result.T, fold, counts.T)
    return result
