"""Drift: how far the rows of today are from those that the model was judged on, in all and by the values of slices.

1. Figures are made of whole rows in fixed cells, so they are those of the whole table, however it was cut into units.
2. No figure is made of a slice's value that would tell, by difference from the whole, of fewer rows than the policies
   ask for.
3. What the figures of a column are, and which of them are shown, is told in `column_drift`; which of them warn or stop,
   in `drift_limits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dataops.features.cells import Cells, Fold, folded
from dataops.features.columns import Ints
from dataops.features.hiding import shown_places
from dataops.features.reference import Folded, Reference
from dataops.features.slices import OTHERS
from dataops.records import Record
from dataops.rescoring.column_drift import ColumnDrift, Compared, column_drift, too_few


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Drift of some rows: all, or those of a slice's value.

    Attributes
    ----------
    slice_column, value : None for all rows.
    rows_then, rows : how many rows; None where too few to say, or where they would tell of too few by difference.
    columns : the score, then the features.
    """

    rows_then: int | None
    rows: int | None
    columns: tuple[ColumnDrift, ...]
    slice_column: str | None = None
    value: str | None = None

    def record(self) -> Record:
        """The drift as JSON; of a slice's value the figures alone, since there may be many."""
        columns = [column.record(figures_only=self.slice_column is not None) for column in self.columns]
        return {"rows_then": self.rows_then, "rows": self.rows, "columns": columns}


def compare(reference: Reference, counts: Ints, slices: Sequence[str], *, min_group_size: int = 1) -> list[Population]:
    """The drift of all rows, then of each value of each slice.

    Parameters
    ----------
    counts : as `count_profile` gives them for ``reference.spec.with_slices(slices)``.
    min_group_size : `Effect.min_group_size` of the grant that the rows were read under.
    """
    least = max(min_group_size, 1)
    spec = reference.spec.with_slices(slices)
    whole = np.split(counts[: spec.starts[-1]], spec.starts[1:-1])
    compared = [
        Compared(
            cells=cells,
            fold=kept.fold,
            parts=_parts(cells, kept.fold, len(kept.counts)),
            then=kept.counts,
            now=folded(now, kept.fold, len(kept.counts)),
            least=least,
        )
        for cells, kept, now in zip(spec.all_cells, reference.overall, whole, strict=True)
    ]
    all_rows = (reference.rows, int(whole[0].sum()))
    populations = [_population(compared, *(rows if rows >= least else None for rows in all_rows))]
    places = {name: place for place, (name, _) in enumerate(reference.spec.slices)}
    for place, (name, values) in enumerate(spec.slices):
        by_column = np.split(spec.of_slice(counts, place), spec.coarse_starts[1:-1], axis=1)
        known = reference.slices[places[name]]
        populations += _slice_populations(name, (*values, OTHERS), spec.all_cells, known, by_column, least)
    return populations


def _parts(cells: Cells, fold: Fold, n_groups: int) -> Fold:
    """The coarse cell of each group: all cells of a group are of one."""
    parts = np.zeros(n_groups, np.int64)
    parts[fold] = cells.coarse
    return parts


def _slice_populations(
    name: str, values: Sequence[str], all_cells: Sequence[Cells], kept: Sequence[Folded], now: list[Ints], least: int
) -> Iterator[Population]:
    all_then, all_rows = kept[0].counts.sum(axis=1), now[0].sum(axis=1)
    told_then, told = shown_places(all_then, least), shown_places(all_rows, least)
    for number, value in enumerate(values):
        if not all_then[number] and not all_rows[number]:
            continue
        compared = [
            Compared(
                cells=cells,
                fold=one.fold[cells.coarse],
                parts=np.arange(one.counts.shape[1]),
                then=one.counts[number],
                now=folded(counted[number], one.fold, one.counts.shape[1]),
                least=least,
            )
            for cells, one, counted in zip(all_cells, kept, now, strict=True)
        ]
        rows_then = int(all_then[number]) if number in told_then else None
        rows = int(all_rows[number]) if number in told else None
        yield _population(compared, rows_then, rows, slice_column=name, value=value)


def _population(
    compared: Sequence[Compared],
    rows_then: int | None,
    rows: int | None,
    *,
    slice_column: str | None = None,
    value: str | None = None,
) -> Population:
    make = column_drift if rows_then is not None and rows is not None else too_few
    scores, *features = compared
    return Population(
        rows_then=rows_then,
        rows=rows,
        columns=(make(scores, is_score=True), *(make(one) for one in features)),
        slice_column=slice_column,
        value=value,
    )
