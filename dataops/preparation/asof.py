"""The newest row with the key that was there at a time: a join that sees nothing of what came later. Pure.

1. A row is available from its time on, or, where its recording counts, from the later of both. One whose time, or
   recording, isn't known is never available; neither is anything to a row without a time.
2. Of the available rows the one with the newest time is taken, of those the one that was recorded last, of those the
   last one of the table. If that one is older than the tolerance, none is.
3. Times are compared as integers of one unit, never as floats or local time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import InvalidInput
from dataops.preparation.matching import KeyIndex, Matches, Rows

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_SECONDS = 86_400
_FIRST, _SIGN = int(np.iinfo(np.int64).min), np.uint64(1 << 63)

Valid = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How times of both sides are compared: `type_` has the unit, `oldest` is the tolerance in it, None for any."""

    type_: pa.DataType
    oldest: int | None
    strictly_before: bool

    def ticks(self, column: pa.ChunkedArray) -> tuple[Rows, Valid]:
        """int64 (n_rows,) and whether there is a time at all."""
        valid: Valid = column.is_valid().to_numpy()
        whole = pa.int32() if pa.types.is_date32(self.type_) else pa.int64()
        try:
            numbers = column.cast(self.type_).cast(whole)
        except pa.ArrowInvalid:  # its text may hold the value
            raise InvalidInput(f"a time doesn't fit {self.type_}, in which both sides are compared") from None
        found: Rows = pc.fill_null(numbers, 0).to_numpy().astype(np.int64)
        return found, valid

    def oldest_seen(self, ticks: Rows) -> Rows:
        """How old a row may be that is seen at each of `ticks`; what lies before all that int64 can tell is the first
        of it.
        """
        if self.oldest is None:
            return np.full(len(ticks), _FIRST, np.int64)
        since_first = ticks.view(np.uint64) ^ _SIGN
        oldest = np.uint64(min(self.oldest, 2**64 - 1))
        found: Rows = (np.where(since_first >= oldest, since_first - oldest, np.uint64(0)) ^ _SIGN).view(np.int64)
        return found


def times_of(type_: pa.DataType, *, oldest: timedelta | None, strictly_before: bool) -> Times:
    """How times of `type_` are compared.

    Raises
    ------
    InvalidInput : no type of a time, or a tolerance that its unit can't tell.
    """
    if pa.types.is_date32(type_):
        if oldest is not None and oldest.total_seconds() % _DAY_SECONDS:
            raise InvalidInput("dates have a tolerance of whole days, like '7d'")
        ticks = None if oldest is None else oldest.days
    elif pa.types.is_timestamp(type_):
        ticks = None if oldest is None else int(oldest.total_seconds()) * _PER_SECOND[type_.unit]
    else:
        raise InvalidInput(f"expected times or dates, found {type_}")
    return Times(type_=type_, oldest=ticks, strictly_before=strictly_before)


class AsOfIndex:
    """A table's rows by key, and by when they become available.

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
        self._at, valid = times.ticks(time)
        known, available = np.zeros(len(self._at), np.int64), self._at
        if recorded is not None:
            known, has_record = times.ticks(recorded)
            valid, available = valid & has_record, np.maximum(self._at, known)
        rows = self._index.order[valid[self._index.order]]
        key = np.repeat(np.arange(self._index.n_keys), self._index.counts)[valid[self._index.order]]
        self.repeated = _repeated(key, self._at[rows], known[rows])
        newest_last = np.lexsort((rows, known[rows], self._at[rows], key))  # within a key, the later the better
        rank = np.empty(len(rows), np.int64)
        rank[newest_last] = np.arange(len(rows))
        self._moments = np.unique(available[rows])
        moment = np.searchsorted(self._moments, available[rows]) + 1  # from 1: 0 is before all of them
        in_time = np.lexsort((rank, moment, key))
        self._step = len(self._moments) + 1
        self._available = key[in_time] * self._step + moment[in_time]
        # ranks rise with the key, so the best so far never is one of another key
        self._best = rows[newest_last][np.maximum.accumulate(rank[in_time])] if len(rows) else rows

    def matches(self, keys: Sequence[pa.ChunkedArray], at: pa.ChunkedArray) -> Matches:
        """For each row with `keys` and the time `at`, at most one row of the table."""
        numbers = self._index.numbers(keys)
        ticks, valid = self._times.ticks(at)
        moment = np.searchsorted(self._moments, ticks, side="left" if self._times.strictly_before else "right")
        places = np.searchsorted(self._available, numbers * self._step + moment, side="right") - 1
        found = valid & (numbers >= 0) & (places >= 0)
        found[found] = self._available[places[found]] // self._step == numbers[found]
        rows = np.full(len(numbers), -1, np.int64)
        rows[found] = self._best[places[found]]
        if self._times.oldest is not None:
            found[found] = self._at[rows[found]] >= self._times.oldest_seen(ticks[found])
        starts = np.where(found, np.cumsum(found) - 1, 0)
        return Matches(starts=starts, counts=found.astype(np.int64), found=rows[found])


def _repeated(key: Rows, at: Rows, known: Rows) -> int:
    """How many rows have key, time and recording of another one."""
    if not len(key):
        return 0
    order = np.lexsort((known, at, key))
    same = np.ones(len(key) - 1, np.bool_)
    for values in (key, at, known):
        same &= np.diff(values[order]) == 0
    return int(np.count_nonzero(same))
