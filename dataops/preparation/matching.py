"""Which rows of one table have the key of which rows of another: on the keys alone, by values, exact. Pure.

1. Equal are values that are equal, not hashes of them. A key with a null in any column equals nothing, itself included.
2. A key is any number of columns of integers, text, bytes, booleans, dates or times; the same types on both sides.
   Floats are none: what was computed is seldom equal.
3. The rows with one key stand in the order of their table, so what is matched doesn't depend on how keys are numbered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import InvalidInput

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matches:
    """For each row of one side the rows of the other.

    Attributes
    ----------
    starts, counts : int64 (n_rows,): where its matches begin in `found`, and how many they are.
    found : int64: rows of the other side, those of one row together and in the order of their table.
    """

    starts: Rows
    counts: Rows
    found: Rows


class KeyIndex:
    """The keys of a table, numbered, and the rows that have each.

    Attributes
    ----------
    order : int64 (n_keyed,): the rows with a key, by key, then in the order of the table.
    starts : int64 (n_keys + 1,): where the rows of each key begin in `order`.
    """

    def __init__(self, keys: Sequence[pa.ChunkedArray]) -> None:
        self._values: list[pa.Array] = []
        self._folds: list[Rows] = []
        numbers = self._number(keys)
        self.order: Rows = np.argsort(numbers, kind="stable").astype(np.int64)
        self.order = self.order[np.count_nonzero(numbers < 0) :]
        self.n_keys = int(numbers.max(initial=-1)) + 1
        self.starts: Rows = np.searchsorted(numbers[self.order], np.arange(self.n_keys + 1)).astype(np.int64)

    @property
    def counts(self) -> Rows:
        """int64 (n_keys,): how many rows have each key."""
        return np.diff(self.starts)

    def numbers(self, keys: Sequence[pa.ChunkedArray]) -> Rows:
        """int64 (n_rows,): the number of each row's key, -1 for one that the table hasn't."""
        numbers: Rows | None = None
        folds = iter(self._folds)
        for column, values in zip(keys, self._values, strict=True):
            codes = _codes(column, values)
            numbers = codes if numbers is None else _looked_up(numbers, codes, len(values), next(folds))
        assert numbers is not None  # noqa: S101  # a key has a column at least
        return numbers

    def matches(self, keys: Sequence[pa.ChunkedArray]) -> Matches:
        """For each row of another table with `keys`, all rows of this one."""
        numbers = self.numbers(keys)
        known = numbers >= 0
        starts, counts = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
        starts[known], counts[known] = self.starts[numbers[known]], self.counts[numbers[known]]
        return Matches(starts=starts, counts=counts, found=self.order)

    def _number(self, keys: Sequence[pa.ChunkedArray]) -> Rows:
        numbers: Rows | None = None
        for column in keys:
            values = pc.unique(column).drop_null()
            codes = _codes(column, values)
            self._values.append(values)
            if numbers is not None:
                both = _folded(numbers, codes, len(values))
                fold = np.unique(both[both >= 0])
                self._folds.append(fold)
                codes = np.where(both >= 0, np.searchsorted(fold, both), -1)
            numbers = codes
        if numbers is None:
            raise InvalidInput("a key needs a column at least")
        return numbers


def _codes(column: pa.ChunkedArray, values: pa.Array) -> Rows:
    codes = pc.fill_null(pc.index_in(column, value_set=values, skip_nulls=True), -1)
    found: Rows = codes.to_numpy().astype(np.int64)
    return found


def _folded(numbers: Rows, codes: Rows, n_values: int) -> Rows:
    """One number for both; -1 where either is. Both are below 2**31, so that it fits."""
    return np.where((numbers >= 0) & (codes >= 0), numbers * n_values + codes, -1)


def _looked_up(numbers: Rows, codes: Rows, n_values: int, fold: Rows) -> Rows:
    if not len(fold):
        return np.full(len(numbers), -1, np.int64)
    both = _folded(numbers, codes, n_values)
    places = np.minimum(np.searchsorted(fold, both), len(fold) - 1)
    return np.where(fold[places] == both, places, -1)


def key_type(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The type in which keys of both types are compared; None where they can't be."""
    if pa.types.is_integer(left) and pa.types.is_integer(right):
        wide = [one for one in (left, right) if one == pa.uint64()]
        return pa.int64() if not wide else pa.uint64() if len(wide) == 2 else None
    if pa.types.is_timestamp(left) and pa.types.is_timestamp(right):
        if (left.tz is None) != (right.tz is None):
            return None
        units = ["s", "ms", "us", "ns"]
        finer = max(left.unit, right.unit, key=units.index)
        return pa.timestamp(finer, left.tz and "UTC")
    for test, type_ in (
        (pa.types.is_string, pa.string()),
        (pa.types.is_large_string, pa.string()),
        (pa.types.is_boolean, pa.bool_()),
        (pa.types.is_date, pa.date32()),
        (pa.types.is_binary, pa.binary()),
    ):
        if test(left) and test(right):
            return type_
    return left if left == right and pa.types.is_decimal(left) else None


def expanded(rows: Rows, matches: Matches, *, inner: bool) -> tuple[Rows, Rows]:
    """`rows` of one side, each as often as it has matches, and the row of the other side that each found.

    Parameters
    ----------
    rows : int64 (n,): rows that `matches` tells of, in any order, any of them any number of times.
    inner : whether a row without a match is left out; else it comes once, with -1.

    Returns
    -------
    Which of `rows` (int64, places in it), and the row of the other side (int64, -1: none), of the same length.
    """
    counts, starts = matches.counts[rows], matches.starts[rows]
    times = counts if inner else np.maximum(counts, 1)
    places = np.repeat(np.arange(len(rows), dtype=np.int64), times)
    first = np.cumsum(times) - times
    within = np.arange(len(places), dtype=np.int64) - first[places]
    has = counts[places] > 0
    other = np.full(len(places), -1, np.int64)
    other[has] = matches.found[starts[places[has]] + within[has]]
    return places, other


def ranks(column: pa.ChunkedArray) -> Rows:
    """The place of each value among the distinct ones, from 1, int64 (n_rows,); 0 for a null,
    NaN after all others.
    """
    found: Rows = pc.rank(column, sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64)
    found[column.is_null().to_numpy()] = 0
    return found
