"""Profiles: how many rows fall into which cell of each feature and of the score, counted where rows are scored.

1. Cells are fixed when a model is judged (see `cells`, `binning`, `reference`); counting only adds whole rows. So the
   counts of any split of the rows, added up in any order, are those of all rows.
2. A slice is counted by the place of its value among those that the reference knows, all others together, and in the
   coarser cells that drift is told by.
3. Counts are one vector of integers: first the score and the columns of all rows, cell by cell, then each slice's
   values with the coarse cells of score and columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dataops.errors import Format
from dataops.features.cells import (
    MISSING,
    UNKNOWN,
    CategoryCells,
    Cells,
    Fold,
    NumberCells,
    category_cells,
    folded,
    number_cells,
)
from dataops.features.columns import Floats32, Ints
from dataops.features.encoder import Encoded
from dataops.records import Record

SCORE_BINS = 20
"""Equal bins of 0 to 1, in which scores are shown."""

_BLOCK = 1 << 15  # rows: their columns stay in a core's cache


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: where counts lie is worked out once
class ProfileSpec:
    """What is counted of scored rows.

    Parameters
    ----------
    scores : the cells of the score.
    columns : those of the features, in the encoder's order.
    slices : column -> its values; the last place, behind them, is that of all other values.
    """

    scores: NumberCells
    columns: tuple[Cells, ...]
    slices: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def all_cells(self) -> tuple[Cells, ...]:
        """The cells of the score, then of the columns."""
        return (self.scores, *self.columns)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where the cells of the score and of each column begin among those of all rows, and where the last end."""
        return tuple(accumulate((cells.n_cells for cells in self.all_cells), initial=0))

    @cached_property
    def coarse_starts(self) -> tuple[int, ...]:
        """Where the coarse cells of the score and of each column begin, and where the last end."""
        return tuple(accumulate((int(cells.coarse.max()) + 1 for cells in self.all_cells), initial=0))

    @cached_property
    def coarse(self) -> Fold:
        """The coarse cell, among those of score and columns together, of each cell."""
        parts = zip(self.coarse_starts, self.all_cells, strict=False)
        return np.concatenate([start + cells.coarse for start, cells in parts])

    @cached_property
    def slice_starts(self) -> tuple[int, ...]:
        """Where the counts of each slice begin, and where the last end."""
        sizes = ((len(values) + 1) * self.coarse_starts[-1] for _, values in self.slices)
        return tuple(accumulate(sizes, initial=self.starts[-1]))

    @property
    def size(self) -> int:
        """How many counts there are."""
        return self.slice_starts[-1]

    def of_slice(self, counts: Ints, place: int) -> Ints:
        """The counts of the slice at `place`: ``(n_values + 1, n_coarse_cells)``, a view."""
        start, stop = self.slice_starts[place : place + 2]
        return counts[start:stop].reshape(-1, self.coarse_starts[-1])

    def with_slices(self, names: Sequence[str]) -> ProfileSpec:
        """The spec that counts no other slices than `names`, in their order."""
        known = dict(self.slices)
        return ProfileSpec(
            scores=self.scores, columns=self.columns, slices=tuple((name, known[name]) for name in names)
        )

    def record(self) -> Record:
        """The spec as JSON."""
        return {
            "scores": self.scores.record(),
            "columns": [cells.record() for cells in self.columns],
            "slices": [{"column": name, "values": list(values)} for name, values in self.slices],
        }

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The spec that `record()` wrote.

        Raises
        ------
        Format : it didn't.
        """
        try:
            return cls(
                scores=number_cells(record["scores"]),
                columns=tuple(
                    number_cells(one) if "edges" in one else category_cells(one) for one in record["columns"]
                ),
                slices=tuple((str(one["column"]), tuple(map(str, one["values"]))) for one in record["slices"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Format(f"not what rows are counted by: {type(error).__name__} while reading it") from None


def count_profile(
    spec: ProfileSpec, encoded: Encoded, scores: Floats32, slices: Sequence[npt.NDArray[np.integer[Any]]] = ()
) -> Ints:
    """The counts of the rows, int64 ``(spec.size,)``.

    Parameters
    ----------
    encoded : the rows as the model takes them, by the encoder that `spec` was made for.
    scores : float32 (n_rows,).
    slices : for each slice of `spec`, (n_rows,) places among its values; see `dataops.features.slices`.
    """
    counts = np.zeros(spec.size, np.int64)
    whole = counts[: spec.starts[-1]]
    for start in range(0, encoded.rows, _BLOCK):
        block = slice(start, start + _BLOCK)
        columns = (scores[block], *_columns_of(encoded, block))
        missing = {place + 1: mask[block] for place, mask in encoded.missing.items()}
        if not spec.slices:
            whole += _count(spec.all_cells, columns, missing, _all_rows(len(columns[0])))[0]
        for place, (_, values) in enumerate(spec.slices):
            cells = _count(spec.all_cells, columns, missing, _Groups(places=slices[place][block], n=len(values) + 1))
            spec.of_slice(counts, place)[:] += folded(cells, spec.coarse, spec.coarse_starts[-1])
            if place == 0:  # each row has one value of a slice, so these are all rows
                whole += cells.sum(axis=0)
    return counts


def count_columns(columns: Sequence[Cells], encoded: Encoded) -> Ints:
    """The counts of the features alone, int64, column after column."""
    counts = np.zeros(sum(cells.n_cells for cells in columns), np.int64)
    for start in range(0, encoded.rows, _BLOCK):
        block = slice(start, start + _BLOCK)
        missing = {place: mask[block] for place, mask in encoded.missing.items()}
        values = _columns_of(encoded, block)
        counts += _count(columns, values, missing, _all_rows(values.shape[1]))[0]
    return counts


def _columns_of(encoded: Encoded, rows: slice) -> Floats32:
    """``(n_columns, n_rows)``, each column in one piece."""
    return np.ascontiguousarray(encoded.values[rows].T)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Groups:
    """Rows by the value of a slice: the place of each row's value, (n_rows,), among the slice's `n`."""

    places: npt.NDArray[np.integer[Any]]
    n: int

    def count(self, values: npt.NDArray[np.integer[Any]], size: int) -> Ints:
        """``(n, size)``: how many rows of each value have each of `values`, (n_rows,), below `size`."""
        if self.n > 1:
            values = values + self.places * np.int64(size)
        return np.bincount(values, minlength=self.n * size).reshape(self.n, size)


def _all_rows(n_rows: int) -> _Groups:
    return _Groups(places=np.zeros(n_rows, np.int8), n=1)


def _count(
    all_cells: Sequence[Cells],
    columns: Sequence[Floats32] | Floats32,
    missing: Mapping[int, npt.NDArray[np.bool_]],
    groups: _Groups,
) -> Ints:
    """``(n_groups, n_cells)``, column after column."""
    counted = [np.zeros((groups.n, 0), np.int64)]
    for place, (cells, values) in enumerate(zip(all_cells, columns, strict=True)):
        absent = groups.places[missing[place]] if place in missing else groups.places[:0]
        n_missing = np.bincount(absent, minlength=groups.n)
        count = _count_numbers if isinstance(cells, NumberCells) else _count_codes
        counted.append(count(cells, values, n_missing, groups))  # type: ignore[arg-type]  # each gets its own cells
    return np.concatenate(counted, axis=1)


def _count_numbers(cells: NumberCells, values: Floats32, n_missing: Ints, groups: _Groups) -> Ints:
    counts = np.zeros((groups.n, cells.n_cells), np.int64)
    counts[:, 1:] = groups.count(cells.thresholds.reached(values), cells.n_cells - 1)
    counts[:, MISSING] = n_missing
    counts[:, 1 + cells.fill] -= n_missing
    return counts


def _count_codes(cells: CategoryCells, codes: Floats32, n_missing: Ints, groups: _Groups) -> Ints:
    by_code = groups.count(codes.astype(np.int32), len(cells.of_code) + 1)
    counts = np.zeros((groups.n, cells.n_cells), np.int64)
    counts[:, MISSING], counts[:, UNKNOWN] = n_missing, by_code[:, 0] - n_missing
    np.add.at(counts.T, cells.of_code, by_code[:, 1:].T)
    return counts


def score_histogram(scores: Floats32) -> list[int]:
    """Rows in each of `SCORE_BINS` equal bins of [0, 1]."""
    counts = np.zeros(SCORE_BINS, np.int64)
    for start in range(0, len(scores), _BLOCK):  # small enough to stay in the processor's cache
        bins = (scores[start : start + _BLOCK].astype(np.float64) * SCORE_BINS).astype(np.intp)  # exact in 64 bits
        counts += np.bincount(np.minimum(bins, SCORE_BINS - 1), minlength=SCORE_BINS)
    return [int(count) for count in counts]


def sparse_counts(counts: Ints) -> list[int]:
    """`counts` for a record: for each that isn't zero, how many zeros stand before it, then the count."""
    places = np.flatnonzero(counts)
    pairs = np.empty((len(places), 2), np.int64)
    pairs[:, 0], pairs[:, 1] = np.diff(places, prepend=-1) - 1, counts[places]
    flat: list[int] = pairs.ravel().tolist()
    return flat


def dense_counts(record: Sequence[int], size: int) -> Ints:
    """The `size` counts that `sparse_counts` wrote.

    Raises
    ------
    Format : it wrote another number of them.
    """
    counts = np.zeros(size, np.int64)
    pairs = np.array(record, np.int64)
    if len(pairs) % 2:
        raise Format("counts of a profile come in pairs, and these don't")
    places = np.cumsum(pairs[::2] + 1) - 1
    if len(places) and not 0 <= places.min() <= places.max() < size:
        raise Format(f"counts of a profile that has {size} cells lie beyond them")
    counts[places] = pairs[1::2]
    return counts
