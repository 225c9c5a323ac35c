"""References: what a model was judged on, counted, so that later rows can be compared with it.

1. It is made of the very rows that the model was judged on and didn't learn from, by the scores that it gave them.
2. No count in it is about fewer rows than the policies ask for, and none can be had by difference: cells of few rows
   are put together, in a slice alike for all of its values; values of few rows are one, `OTHERS`.
3. It holds edges of bins and counts, no value of a row. What a category is called stands in the feature program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from dataops.errors import Format
from dataops.features.cells import Cells, Fold, NumberCells, folded
from dataops.features.columns import Ints
from dataops.features.folding import coarse_fold, fold_cells
from dataops.features.hiding import shown_histogram
from dataops.features.profile import ProfileSpec
from dataops.features.slices import OTHERS
from dataops.records import Record

DECILES = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Folded:
    """Counts of one column, or of the score, after small cells were put together.

    Parameters
    ----------
    fold : ``(n_cells,)``, the folded cell of each cell; of a slice: of each coarse cell.
    counts : ``(n_folded,)``, of a slice ``(n_values + 1, n_folded)``: the last row is that of other values.
    """

    fold: Fold
    counts: Ints

    def record(self) -> Record:
        """The counts as JSON."""
        return {"fold": self.fold.tolist(), "counts": self.counts.tolist()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """The rows that a model was judged on, counted.

    Parameters
    ----------
    dataset : what the metrics call them.
    rows : how many they are.
    spec : what is counted of later rows.
    decile_edges : the nine probabilities from which on the 2nd to the 10th decile begins, none below the one before it;
        None where the rows are too few.
    histogram : rows by score, in equal bins of 0 to 1; a bin of too few stands empty, and its rows in its neighbour.
    overall : of the score, then of each column of `spec`.
    slices : for each slice of `spec` likewise.
    """

    dataset: str
    rows: int
    spec: ProfileSpec
    decile_edges: tuple[float, ...] | None
    histogram: tuple[int, ...]
    overall: tuple[Folded, ...]
    slices: tuple[tuple[Folded, ...], ...]

    def record(self) -> Record:
        """The reference as JSON."""
        return {
            "dataset": self.dataset,
            "rows": self.rows,
            "spec": self.spec.record(),
            "decile_edges": None if self.decile_edges is None else list(self.decile_edges),
            "histogram": list(self.histogram),
            "overall": [one.record() for one in self.overall],
            "slices": [[one.record() for one in columns] for columns in self.slices],
        }

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The reference that `record()` wrote.

        Raises
        ------
        Format : it didn't.
        """
        try:
            spec, edges = ProfileSpec.from_record(record["spec"]), record["decile_edges"]
            reference = cls(
                dataset=str(record["dataset"]),
                rows=int(record["rows"]),
                spec=spec,
                decile_edges=None if edges is None else tuple(map(float, edges)),
                histogram=tuple(map(int, record["histogram"])),
                overall=tuple(_folded(one, cells.n_cells) for one, cells in _pairs(record["overall"], spec)),
                slices=tuple(
                    tuple(_folded(one, _n_coarse(cells), len(values) + 1) for one, cells in _pairs(columns, spec))
                    for columns, (_, values) in zip(record["slices"], spec.slices, strict=True)
                ),
            )
            reference._require_deciles()
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Format(f"not the reference of a model: {type(error).__name__} while reading it") from None
        return reference

    def _require_deciles(self) -> None:
        edges = self.decile_edges
        if edges is not None and (len(edges) != DECILES - 1 or list(edges) != sorted(edges)):
            raise ValueError("decile_edges")


def make_reference(
    spec: ProfileSpec,
    overall: Ints,
    slices: Mapping[str, Mapping[str, Ints]],
    *,
    dataset: str,
    histogram: Sequence[int],
    decile_edges: Sequence[float] | None,
    least: int,
    scores_apart: bool = False,
) -> Reference:
    """The reference of rows that were counted by `spec`, whose coarse cells it finds.

    Parameters
    ----------
    spec : cells of the score and the columns; its slices aren't looked at.
    overall : ``(n_cells,)``, all rows by the cells of `spec`, score first.
    slices : column -> value -> likewise; values of few rows are together already.
    least : rows that a count is about at least, if it isn't 0 (`Effect.min_group_size`).
    scores_apart : each cell of the score is compared by itself, as those of a category are.
    """
    parts = np.split(overall, spec.starts[1:-1])
    folds = [fold_cells(cells, counts[None], least) for cells, counts in zip(spec.all_cells, parts, strict=True)]
    coarse = [
        coarse_fold(cells, counts, fold, least, apart=scores_apart and cells is spec.scores)
        for cells, counts, fold in zip(spec.all_cells, parts, folds, strict=True)
    ]
    values = tuple((name, tuple(sorted(by_value.keys() - {OTHERS}))) for name, by_value in slices.items())
    spec = ProfileSpec(
        scores=replace(spec.scores, coarse=coarse[0]),
        columns=tuple(replace(cells, coarse=one) for cells, one in zip(spec.columns, coarse[1:], strict=True)),
        slices=values,
    )
    return Reference(
        dataset=dataset,
        rows=int(parts[0].sum()),
        spec=spec,
        decile_edges=None if decile_edges is None else tuple(decile_edges),
        histogram=shown_histogram(histogram, least),
        overall=tuple(Folded(fold=fold, counts=folded(part, fold)) for part, fold in zip(parts, folds, strict=True)),
        slices=tuple(_fold_slice(spec, slices[name], known, least) for name, known in values),
    )


def _fold_slice(
    spec: ProfileSpec, by_value: Mapping[str, Ints], known: Sequence[str], least: int
) -> tuple[Folded, ...]:
    nothing = np.zeros(spec.starts[-1], np.int64)
    fine = np.stack([by_value.get(value, nothing) for value in (*known, OTHERS)])
    coarse = np.split(folded(fine, spec.coarse), spec.coarse_starts[1:-1], axis=1)
    found = []
    for cells, counts in zip(spec.all_cells, coarse, strict=True):
        fold = fold_cells(cells, counts, least)
        found.append(Folded(fold=fold, counts=folded(counts, fold)))
    return tuple(found)


def _pairs(records: Sequence[Any], spec: ProfileSpec) -> list[tuple[Any, Cells]]:
    return list(zip(records, spec.all_cells, strict=True))


def _n_coarse(cells: Cells) -> int:
    return int(cells.coarse.max()) + 1


def _folded(record: Mapping[str, Any], n_cells: int, n_values: int | None = None) -> Folded:
    fold, counts = np.array(record["fold"], np.int64), np.array(record["counts"], np.int64)
    shape = (int(fold.max(initial=-1)) + 1,)
    if len(fold) != n_cells or (fold < 0).any() or counts.shape != (shape if n_values is None else (n_values, *shape)):
        raise ValueError("fold")
    return Folded(fold=fold, counts=counts)


def score_cells(name: str, edges: Sequence[float]) -> NumberCells:
    """The cells of a score that is parted at `edges`, which may repeat; each is a coarse one too."""
    kept = np.unique(np.array(edges, np.float32))
    return NumberCells(name=name, edges=kept, fill=0, points=(), coarse=np.arange(len(kept) + 2))
