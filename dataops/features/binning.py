"""Binning: the cells that a feature's rows are counted in, from the summary of the training rows.

1. A number has about `PARTS` bins of equally many training rows. A value of more rows than such a part has a bin of its
   own, which what is near to it doesn't fall into.
2. An edge lies between two values of the summary, never on one: whole numbers up to 8192 are told apart exactly, other
   numbers to 13 significant bits.
3. Edges are numbers as the encoder gives them. It keeps order, so a bin is an interval of the column's own numbers too.
4. The `MOST_CATEGORIES` most frequent categories of a column have a cell each, the rest one together. The encoder knows
   none of fewer rows than the policies ask for. So do bins and buckets. What is looked up for a category is counted as
   the number that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.features.cells import UNKNOWN, CategoryCells, Cells, NumberCells
from dataops.features.columns import Floats, Floats32, Ints
from dataops.features.encoder import Encoder, encode
from dataops.features.kinds import (
    BinColumn,
    CodeColumn,
    HashColumn,
    IndicatorColumn,
    LookupColumn,
    NumberColumn,
    NumericColumn,
)
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
    return tuple(_cells(column, summary) for column in encoder.columns)


def _cells(column: NumberColumn | CodeColumn, summary: Summary) -> Cells:
    match column:
        case NumericColumn():
            return _number_cells(column, summary.numeric_column(column.source))
        case IndicatorColumn():
            edges = np.array([0.5], np.float32)
            return NumberCells(name=column.name, edges=edges, fill=0, points=(1, 2), coarse=np.arange(3))
        case LookupColumn():
            return _lookup_cells(column, _rows_of(column.source, column.categories, summary))
        case BinColumn():
            edges = np.array(column.edges)
            places = np.searchsorted(edges, values_of(summary.numeric_column(column.source).keys), side="right")
            counts = summary.numeric_column(column.source).counts
            return _code_cells(column.name, np.bincount(places, counts, minlength=len(edges) + 1))
        case HashColumn():
            counted = summary.categorical_column(column.source)
            codes = np.array([column.code_of(text) for text in counted.values.to_pylist()], np.int64)
            return _code_cells(column.name, np.bincount(codes - 1, counted.counts, minlength=column.buckets))
        case _:
            return _code_cells(column.name, _rows_of(column.source, column.categories, summary))


def _rows_of(source: str, categories: Sequence[str], summary: Summary) -> Ints:
    """Training rows of each of `categories`."""
    by_target = next((one for one in summary.targets if one.name == source), None)
    if by_target is None:
        counted = summary.categorical_column(source)
        values, rows = counted.values, counted.counts
    else:
        values, rows = by_target.values, by_target.rows[:-1].sum(axis=1)
    found = dict(zip(values.to_pylist(), rows.tolist(), strict=True))
    return np.array([found.get(category, 0) for category in categories], np.int64)


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
    fill = _encoded(column, np.array([column.fill]))[0]
    return _cells_of(column.name, edges, values, fill)


def _lookup_cells(column: LookupColumn, rows: Ints) -> NumberCells:
    """Of the values that are looked up; categories of one value count together."""
    values, places = np.unique(np.array(column.values, np.float32), return_inverse=True)
    counts = np.bincount(places, rows, minlength=len(values)).astype(np.int64)
    begins, heavy = bin_starts(counts, PARTS)
    edges = [values[begins & ~heavy], values[heavy], np.nextafter(values[heavy], _LARGEST)]
    return _cells_of(column.name, edges, values[heavy], np.float32(column.other))


def _cells_of(name: str, edges: Sequence[Floats32], own: Floats32, fill: np.float32) -> NumberCells:
    """The cells between `edges`.

    Parameters
    ----------
    edges : where bins begin, then where the bins of the values in `own` do, and where they end.
    """
    lower, upper = edges[1:]
    edge = np.unique(np.concatenate(edges))
    place = np.searchsorted(edge, own, side="right")
    alone = (edge[np.maximum(place - 1, 0)] == lower) & (edge[np.minimum(place, len(edge) - 1)] == upper)
    return NumberCells(
        name=name,
        edges=edge,
        fill=int(np.searchsorted(edge, fill, side="right")),
        points=tuple((1 + place[alone]).tolist()),
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


def _code_cells(name: str, rows: npt.NDArray[Any]) -> CategoryCells:
    """The cells of codes 1, 2 ... that so many `rows` have."""
    by_rows = sorted(range(len(rows)), key=lambda place: (-rows[place], place))
    of_code = np.full(len(rows), UNKNOWN + 1 + MOST_CATEGORIES)
    of_code[sorted(by_rows[:MOST_CATEGORIES])] = UNKNOWN + 1 + np.arange(min(len(by_rows), MOST_CATEGORIES))
    return CategoryCells(name=name, of_code=of_code, coarse=np.arange(int(of_code.max(initial=UNKNOWN)) + 1))
