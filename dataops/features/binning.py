"""Binning: the cells that a feature's rows are counted in, from the summary of the training rows.

1. A number has about `PARTS` bins of equally many training rows. A value of more rows than such a part has a bin of its
   own, which what is near to it doesn't fall into.
2. An edge lies between two values of the summary, never on one: whole numbers up to 8192 are told apart exactly, other
   numbers to 13 significant bits.
3. Edges are numbers as the encoder gives them. It keeps order, so a bin is an interval of the column's own numbers too.
4. The `MOST_CATEGORIES` most frequent categories of a column have a cell each, the rest one together. The encoder knows
   none of fewer rows than the policies ask for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.features.cells import UNKNOWN, CategoryCells, Cells, Floats32, NumberCells
from dataops.features.columns import Floats, Ints
from dataops.features.encoder import CategoricalColumn, Encoder, NumericColumn, encode
from dataops.features.summary import NumericSummary, Summary, starts_of, values_of

PARTS = 50
MOST_CATEGORIES = 64
_LARGEST = np.finfo(np.float32).max


def fit_cells(summary: Summary, encoder: Encoder) -> tuple[Cells, ...]:
    """The cells of each column of `encoder`, in its order; each cell is a coarse one too.

    Parameters
    ----------
    summary : of the rows that `encoder` was fitted on.
    """
    numbers = [_number_cells(column, summary.numeric_column(column.name)) for column in encoder.numeric]
    categories = [_category_cells(column, summary) for column in encoder.categorical]
    return (*numbers, *categories)


def _number_cells(column: NumericColumn, summary: NumericSummary) -> NumberCells:
    begins, heavy = bin_starts(summary.counts, PARTS)
    keys = summary.keys
    values = _encoded(column, values_of(keys[heavy]))
    edges = [
        _encoded(column, starts_of(keys[begins & ~heavy])),
        # in float32 the ends of a value's own bin may have become that value
        np.minimum(_encoded(column, starts_of(keys[heavy])), values),
        np.maximum(_encoded(column, starts_of(keys[heavy] + 1)), np.nextafter(values, _LARGEST)),
    ]
    lower, upper = edges[1:]
    edge = np.unique(np.concatenate(edges))
    place = np.searchsorted(edge, values, side="right")
    own = (edge[np.maximum(place - 1, 0)] == lower) & (edge[np.minimum(place, len(edge) - 1)] == upper)
    fill = int(np.searchsorted(edge, _encoded(column, np.array([column.fill])), side="right")[0])
    return NumberCells(
        name=column.name,
        edges=edge,
        fill=fill,
        points=tuple((1 + place[own]).tolist()),
        coarse=np.arange(len(edge) + 2),
    )


def bin_starts(counts: Ints, parts: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which of some values in order begin a bin, the first one aside, and which have a bin of their own.

    Parameters
    ----------
    counts : ``(n_values,)``, rows of each value.
    parts : how many bins of equally many rows there are to be; a value of more rows than one has a bin of its own.
    """
    total = int(counts.sum())
    heavy = counts * parts >= max(total, 1)
    part = np.minimum((np.cumsum(counts) - counts) * parts // max(total, 1), parts - 1)
    begins = np.zeros(len(counts), np.bool_)
    begins[1:] = (part[1:] != part[:-1]) | heavy[1:] | heavy[:-1]
    return begins, heavy


def _encoded(column: NumericColumn, values: Floats) -> Floats32:
    alone = Encoder(numeric=(column,), categorical=())
    return encode(alone, pa.table({column.name: values})).numeric[:, 0]


def _category_cells(column: CategoricalColumn, summary: Summary) -> CategoryCells:
    counted = summary.categorical_column(column.name)
    rows = dict(zip(counted.values.to_pylist(), counted.counts.tolist(), strict=True))
    by_rows = sorted(range(len(column.categories)), key=lambda place: (-rows.get(column.categories[place], 0), place))
    of_code = np.full(len(column.categories), UNKNOWN + 1 + MOST_CATEGORIES)
    of_code[sorted(by_rows[:MOST_CATEGORIES])] = UNKNOWN + 1 + np.arange(min(len(by_rows), MOST_CATEGORIES))
    return CategoryCells(name=column.name, of_code=of_code, coarse=np.arange(int(of_code.max(initial=UNKNOWN)) + 1))
