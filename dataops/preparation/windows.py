"""Counts, sums and the like over the rows with a key that were there at a time, for each row that asks. Pure.

1. Which rows are seen is as in `asof`: from their time, or from the later of it and their recording, and none older
   than the tolerance. All of them count, not the newest alone. Who sees none gets no value, of a count neither.
2. What is asked means what it means in `aggregate`. Sums and means are exact, and rounded once: they don't depend on
   how many rows there are besides, or on their order.
3. Rows lie sorted by key and time, so those that are seen lie side by side: sums are differences of running sums of
   whole numbers, extremes come from a table of the extremes of all runs whose length is a power of two. With both a
   recording and a tolerance, rows of that time are looked at one by one, in slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dataops.declarations.aggregation import Aggregation, Measure
from dataops.errors import InvalidInput
from dataops.preparation.aggregate import aggregation_type
from dataops.preparation.asof import Times
from dataops.preparation.exactness import pieces_of, rounded_sums, whole_sums
from dataops.preparation.matching import KeyIndex, Matches, Rows, ranks

_SLICE = 4_000_000
"""Rows that are looked at one by one at once."""


class AsOfRows:
    """A table's rows by key and time, to ask what is seen of them.

    Parameters
    ----------
    keys, time : columns of the table.
    recorded : when its rows were recorded; None where a row is known from its time on.
    """

    def __init__(
        self,
        keys: Sequence[pa.ChunkedArray],
        time: pa.ChunkedArray,
        recorded: pa.ChunkedArray | None,
        *,
        times: Times,
    ) -> None:
        self._times, self._index = times, KeyIndex(keys)
        at, valid = times.ticks(time)
        available = at
        if recorded is not None:
            known, has_record = times.ticks(recorded)
            valid, available = valid & has_record, np.maximum(at, known)
        rows = self._index.order[valid[self._index.order]]
        key = np.repeat(np.arange(self._index.n_keys), self._index.counts)[valid[self._index.order]]
        sorts = available if times.oldest is None else at
        self._moments = np.unique(sorts[rows])
        self._step = len(self._moments) + 1
        place = key * self._step + np.searchsorted(self._moments, sorts[rows]) + 1  # 0 is before all moments
        order = np.lexsort((rows, place))
        self._places, self._rows = place[order], rows[order]
        self._available = available[self._rows] if recorded is not None and times.oldest is not None else None

    def seen(self, keys: Sequence[pa.ChunkedArray], at: pa.ChunkedArray) -> Seen:
        """Which of the rows each row with `keys` and the time `at` sees."""
        numbers = self._index.numbers(keys)
        ticks, valid = self._times.ticks(at)
        first = numbers * self._step
        stop = np.searchsorted(self._moments, ticks, side="left" if self._times.strictly_before else "right")
        start = np.zeros(len(ticks), np.int64)
        if self._times.oldest is not None:
            start = np.searchsorted(self._moments, self._times.oldest_seen(ticks), side="left")
        asks = valid & (numbers >= 0)
        starts, stops = (np.searchsorted(self._places, first + one, side="right") for one in (start, stop))
        least = np.iinfo(np.int64).min
        return Seen(
            rows=self._rows,
            starts=np.where(asks, starts, 0),
            stops=np.where(asks, np.maximum(starts, stops), 0),
            available=self._available,
            latest=np.where(ticks > least, ticks - 1, least) if self._times.strictly_before else ticks,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """For each row that asks a run of `rows`: those from `starts` to `stops`, int64 (n_asking,).

    Attributes
    ----------
    rows : rows of the table, int64 (n_rows,).
    available : of each of `rows` when it was available; None where all in a run were.
    latest : up to when a row must have been, for each that asks.
    """

    rows: Rows
    starts: Rows
    stops: Rows
    available: Rows | None
    latest: Rows

    def sums(self, values: Rows) -> Rows:
        """The sum of `values`, one for each of `rows`, over what each sees; int64, which they must fit."""
        if self.available is not None:
            return self._one_by_one(values, 0, np.add)
        running = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
        found: Rows = running[self.stops] - running[self.starts]
        return found

    def greatest(self, values: Rows) -> Rows:
        """The greatest of `values`, 0 or more, over what each sees; -1 where it sees nothing."""
        if self.available is not None:
            return self._one_by_one(values, -1, np.maximum)
        sizes, found = self.stops - self.starts, np.full(len(self.starts), -1, np.int64)
        turns = np.floor(np.log2(np.maximum(sizes, 1))).astype(np.int64)
        for turn in range(int(turns.max(initial=0)) + 1):
            run, asks = 1 << turn, (sizes > 0) & (turns == turn)
            found[asks] = np.maximum(values[self.starts[asks]], values[self.stops[asks] - run])
            values = np.maximum(values[:-run], values[run:])
        return found

    def _one_by_one(self, values: Rows, nothing: int, reduce: np.ufunc) -> Rows:
        assert self.available is not None  # noqa: S101  # who asks has looked
        found = np.full(len(self.starts), nothing, np.int64)
        for asks in self._slices():
            sizes = self.stops[asks] - self.starts[asks]
            edges = np.cumsum(sizes) - sizes
            places = np.repeat(self.starts[asks] - edges, sizes) + np.arange(int(sizes.sum()))
            there = self.available[places] <= np.repeat(self.latest[asks], sizes)
            found[asks] = reduce.reduceat(np.where(there, values[places], nothing), edges)
        return found

    def _slices(self) -> Iterator[Rows]:
        asks = np.flatnonzero(self.stops > self.starts)
        ends, start = np.cumsum(self.stops[asks] - self.starts[asks]), 0
        while start < len(asks):
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + _SLICE, side="right")))
            yield asks[start:stop]
            start = stop


def aggregated_as_of(table: pa.Table, seen: Seen, asked: Mapping[str, Aggregation]) -> tuple[Matches, pa.Table]:
    """What is `asked` over the rows of `table` that each row sees: one row for each that sees any, and who finds it.

    Raises
    ------
    InvalidInput : a sum that doesn't fit.
    """
    some = seen.sums(np.ones(len(seen.rows), np.int64)) > 0
    starts = np.where(some, np.cumsum(some) - 1, 0)
    matches = Matches(starts=starts, counts=some.astype(np.int64), found=np.arange(int(some.sum()), dtype=np.int64))
    made = {name: _measured(table, seen, one, name).filter(pa.array(some)) for name, one in asked.items()}
    return matches, pa.table(made)


def _measured(table: pa.Table, seen: Seen, asked: Aggregation, name: str) -> pa.ChunkedArray:
    if asked.column is None:
        return pa.chunked_array([pa.array(seen.sums(np.ones(len(seen.rows), np.int64)))])
    column = table.column(asked.column)
    valid = column.is_valid().to_numpy().astype(np.int64)
    if asked.measure is Measure.COUNT:
        return pa.chunked_array([pa.array(seen.sums(valid[seen.rows]))])
    if asked.measure in (Measure.MIN, Measure.MAX, Measure.LAST):
        return column.take(_extreme(table, seen, asked))
    found = _summed(column, seen, asked.measure, valid, name)
    return pa.chunked_array([found.cast(aggregation_type(asked, column.type))])


def _extreme(table: pa.Table, seen: Seen, asked: Aggregation) -> pa.Array:
    """The row that has it for each that asks, null where there is none."""
    assert asked.column is not None  # noqa: S101  # the measure is of one
    rank = ranks(table.column(asked.order or asked.column))
    known = np.ones(len(rank), np.bool_) if asked.order else rank > 0
    if asked.measure is Measure.MIN:
        rank = rank.max(initial=0) - rank
    order = np.lexsort((np.arange(len(rank)), rank))  # of equal ones the last of the table
    place = np.empty(len(rank), np.int64)
    place[order] = np.arange(len(rank))
    best = seen.greatest(np.where(known, place, -1)[seen.rows])
    rows = order[np.maximum(best, 0)] if len(order) else np.zeros(len(best), np.int64)
    return pa.array(rows, pa.int64(), mask=best < 0)


def _summed(column: pa.ChunkedArray, seen: Seen, measure: Measure, valid: Rows, name: str) -> pa.Array:
    def sums(values: Rows) -> Rows:
        return seen.sums(values[seen.rows])

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    counts, pieces = sums(valid), pieces_of(column)
    if measure is Measure.MEAN or not pa.types.is_integer(column.type):
        divisors = counts if measure is Measure.MEAN else np.ones(len(counts), np.int64)
        return pa.array(rounded_sums(pieces, sums, divisors), mask=counts == 0)
    whole = whole_sums(pieces, sums)
    if whole is None:
        raise InvalidInput(f"{name}: a sum of whole numbers that doesn't fit 64 bits; make them floats first")
    return pa.array(whole, mask=counts == 0)
