"""The matrix of features, filled: some columns at a time, by blocks of rows.

1. Column by column each value would touch a line of memory of its own: with hundreds of columns that is what encoding
   takes its time for. So as many columns as a line holds are filled together.
2. A text is looked up once per distinct value, and a column's texts are told apart once, however many features are made
   of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataops.features.columns import (
    Categories,
    Floats,
    array_of,
    column_of,
    may_lack_numbers,
    numpy_of,
    read_categories,
    read_numbers,
    valid_of,
)
from dataops.features.kinds import (
    BinColumn,
    CategoricalColumn,
    CodeColumn,
    HashColumn,
    IndicatorColumn,
    LookupColumn,
    NumberColumn,
    NumericColumn,
)

_Absent: TypeAlias = npt.NDArray[np.bool_] | None
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_BLOCK = 1 << 14  # rows: what is made of some columns on the way stays in a core's cache
_FEW_EDGES = 100
_LINE = 16  # columns: as many float32 as a line of that cache holds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutOfFold:
    """What training rows are encoded with, so that no row's feature is made of its own target.

    Parameters
    ----------
    folds : ``(n_rows,)``, the part of the training rows that each row is in.
    values : by feature, ``(n_folds, n_categories + 1)`` float64: what a category's rows of that part look up, made of
        all other parts; the last is what `other` is.
    """

    folds: npt.NDArray[np.integer[Any]]
    values: Mapping[str, Floats]


class Filler(Protocol):
    """A feature on its way into the matrix.

    Attributes
    ----------
    absent : which of the rows that were filled have no value; None: none can lack it.
    unknown : how many rows have a category that isn't known; None where none has to be.
    """

    absent: _Absent
    unknown: int | None

    def fill(self, rows: slice, out: npt.NDArray[np.float32]) -> None:
        """The values of `rows`."""


def fill_matrix(
    columns: Sequence[NumberColumn | CodeColumn], table: pa.Table, out_of_fold: OutOfFold | None
) -> tuple[npt.NDArray[np.float32], list[Filler]]:
    """The features of the rows of `table`, ``(n_rows, n_columns)`` float32 in C order, and how each was filled.

    Raises
    ------
    InvalidInput : a column is of a type that can't be such a feature.
    """
    fillers = _fillers(columns, table, out_of_fold)
    values = np.empty((table.num_rows, len(fillers)), np.float32)
    for first in range(0, len(fillers), _LINE):
        _fill(values[:, first : first + _LINE], fillers[first : first + _LINE])
    return values, fillers


def _fill(out: npt.NDArray[np.float32], columns: Sequence[Filler]) -> None:
    """Fill `out`, some columns of a matrix whose rows lie in one piece, by blocks of rows of all of them."""
    block = np.empty((len(columns), min(_BLOCK, len(out))), np.float32)
    for start in range(0, max(1, len(out)), _BLOCK):  # also of no row the types are looked at
        rows = slice(start, min(start + _BLOCK, len(out)))
        for column, values in zip(columns, block, strict=True):
            column.fill(rows, values[: rows.stop - start])
        out[rows] = block[:, : rows.stop - start].T


def _fillers(
    columns: Sequence[NumberColumn | CodeColumn], table: pa.Table, out_of_fold: OutOfFold | None
) -> list[Filler]:
    read: dict[str, Categories] = {}

    def categories(name: str) -> Categories:
        if name not in read:
            read[name] = read_categories(name, column_of(table, name))
        return read[name]

    def filler(column: NumberColumn | CodeColumn) -> Filler:
        match column:
            case NumericColumn():
                return _Numbers(column, column_of(table, column.source))
            case IndicatorColumn():
                return _Marks(column, column_of(table, column.source))
            case BinColumn():
                return _Bins(column, column_of(table, column.source))
            case LookupColumn() if out_of_fold is not None and column.name in out_of_fold.values:
                return _LooksUpByFold(column, categories(column.source), out_of_fold)
            case _:
                return _LooksUp(column, categories(column.source))

    return [filler(column) for column in columns]


class _Numbers:
    __slots__ = ("_column", "_scaled", "_source", "absent", "unknown")

    def __init__(self, column: NumericColumn, source: pa.ChunkedArray) -> None:
        self._column, self._source = column, source
        self._scaled = (column.mean, column.scale) != (0.0, 1.0)
        self.absent: _Absent = np.zeros(len(source), np.bool_) if may_lack_numbers(source) else None
        self.unknown: int | None = None

    def fill(self, rows: slice, out: npt.NDArray[np.float32]) -> None:
        column = self._column
        values = read_numbers(column.source, self._source.slice(rows.start, len(out)))
        if self.absent is not None and not (usable := np.isfinite(values)).all():
            self.absent[rows] = ~usable
            values = np.where(usable, values, column.fill)
        if column.is_shaped:
            values = column.shaped(values)
        if self._scaled:
            with np.errstate(over="ignore"):  # clipped below
                values = values - column.mean
                values /= column.scale
        np.clip(values, -_LARGEST_FLOAT32, _LARGEST_FLOAT32, out=out, casting="same_kind")


class _Marks:
    __slots__ = ("_column", "_source", "absent", "unknown")

    def __init__(self, column: IndicatorColumn, source: pa.ChunkedArray) -> None:
        self._column, self._source = column, source
        self.absent: _Absent = None
        self.unknown: int | None = None

    def fill(self, rows: slice, out: npt.NDArray[np.float32]) -> None:
        values = read_numbers(self._column.source, self._source.slice(rows.start, len(out)))
        np.logical_not(np.isfinite(values), out=out, casting="unsafe")


class _Bins:
    __slots__ = ("_column", "_edges", "_source", "absent", "unknown")

    def __init__(self, column: BinColumn, source: pa.ChunkedArray) -> None:
        self._column, self._source, self._edges = column, source, np.array(column.edges, np.float64)
        self.absent: _Absent = np.zeros(len(source), np.bool_) if may_lack_numbers(source) else None
        self.unknown: int | None = None

    def fill(self, rows: slice, out: npt.NDArray[np.float32]) -> None:
        values = read_numbers(self._column.source, self._source.slice(rows.start, len(out)))
        out[:] = _reached(self._edges, values)
        out += 1
        if self.absent is not None and not (usable := np.isfinite(values)).all():
            self.absent[rows] = ~usable
            out[~usable] = 0


def _reached(edges: Floats, values: Floats) -> npt.NDArray[np.integer[Any]]:
    """How many of `edges`, rising, each value reaches; any number where it is NaN."""
    if len(edges) > _FEW_EDGES:
        return np.searchsorted(edges, values, side="right")
    reached = np.zeros(len(values), np.uint8)
    for edge in edges:  # some comparisons in a row cost less than one search, whose branches can't be foreseen
        reached += values >= edge
    return reached


class _LooksUp:
    """What is looked up by category: a code, a share, a mean."""

    __slots__ = ("_found", "_places", "absent", "unknown")

    def __init__(self, column: CategoricalColumn | HashColumn | LookupColumn, stored: Categories) -> None:
        is_null = np.append(~valid_of(stored.texts), True)  # the last is null's
        if isinstance(column, HashColumn):
            texts = stored.texts.to_pylist()
            found = np.array([0 if text is None else column.code_of(text) for text in [*texts, None]], np.float32)
            self.unknown: int | None = None
        else:
            places = _places_among(column.categories, stored.texts)
            has_none = places == len(column.categories)
            if isinstance(column, LookupColumn):
                found = np.array([*column.values, column.other], np.float32)[places]
            else:
                found = np.where(has_none, 0, places + 1).astype(np.float32)
            has_none &= ~is_null
            self.unknown = int(np.count_nonzero(has_none[stored.indices])) if has_none.any() else 0
        self._found, self._places = found, stored.indices
        self.absent: _Absent = is_null[stored.indices] if stored.may_be_null else None

    def fill(self, rows: slice, out: npt.NDArray[np.float32]) -> None:
        out[:] = self._found.take(self._places[rows])


class _LooksUpByFold(_LooksUp):
    """What is looked up by category and part of the training rows."""

    __slots__ = ("_by_fold", "_folds")

    def __init__(self, column: LookupColumn, stored: Categories, out_of_fold: OutOfFold) -> None:
        super().__init__(column, stored)
        places = _places_among(column.categories, stored.texts)
        self._by_fold = out_of_fold.values[column.name][:, places].astype(np.float32)
        self._folds = out_of_fold.folds

    def fill(self, rows: slice, out: npt.NDArray[np.float32]) -> None:
        out[:] = self._by_fold[self._folds[rows], self._places[rows]]


def _places_among(categories: Sequence[str], texts: pa.StringArray) -> npt.NDArray[np.int32]:
    """The place of each of `texts`, and of null behind them, among `categories`; ``len(categories)`` for any other."""
    known = pc.index_in(texts, value_set=array_of(categories) if categories else pa.nulls(0, pa.string()))
    places = np.full(len(texts) + 1, len(categories), np.int32)
    np.copyto(places[:-1], numpy_of(known), where=valid_of(known))
    return places
