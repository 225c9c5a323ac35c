"""A joined dataset as tasks look into it: its rows by key, once deduplicated or counted. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import ContractViolation
from dataops.preparation.aggregate import aggregated
from dataops.preparation.asof import AsOfIndex
from dataops.preparation.deduplicate import kept_rows
from dataops.preparation.join_plan import Joined
from dataops.preparation.matching import KeyIndex, Matches, Rows
from dataops.preparation.windows import AsOfRows, aggregated_as_of

ROW, UNIT, TIME = "\x1frow", "\x1funit", "\x1ftime"
"""Columns beside those of the datasets: no column of a contract can be called so."""


def key_name(place: int) -> str:
    """What the key's column number `place` is called on the way."""
    return f"\x1fkey{place}"


def key_columns(table: pa.Table, names: Sequence[str], types: Sequence[pa.DataType]) -> list[pa.ChunkedArray]:
    """The columns `names` in the types that keys are compared in; null, which equals nothing, for a time that no value
    of the other side's unit can be equal to.
    """
    return [_comparable(table.column(name), type_) for name, type_ in zip(names, types, strict=True)]


def _comparable(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(type_)
    except pa.ArrowInvalid:
        if not pa.types.is_timestamp(type_):
            raise
        wrapped = column.cast(type_, safe=False)
        same = pc.equal(wrapped.cast(column.type, safe=False), column)
        return pc.if_else(same, wrapped, pa.scalar(None, type_))


def has_key(keys: Sequence[pa.ChunkedArray]) -> pa.Array:
    """Whether each row has a value in all of `keys`."""
    valid = np.logical_and.reduce([key.is_valid().to_numpy() for key in keys])
    return pa.array(valid)


class JoinSide:
    """The rows of a dataset that can be found by key.

    Parameters
    ----------
    table : all rows with the keys that are asked for, in the order of the dataset: the columns that the join reads.

    Raises
    ------
    ContractViolation : two rows with one key, where one is expected.
    """

    def __init__(self, joined: Joined, table: pa.Table) -> None:
        join = joined.join
        if join.deduplicate is not None and not joined.buckets:  # else it was done before rows went by their keys
            by = [table.column(name) for name in join.deduplicate.by]
            order = join.deduplicate.order and table.column(join.deduplicate.order)
            table = table.filter(pa.array(kept_rows(by, order or None, keep=join.deduplicate.keep)))
        table = table.filter(has_key(key_columns(table, join.keys, joined.key_types)))  # as where rows go by key
        keys = key_columns(table, join.keys, joined.key_types)
        self._table, self._asked = table, join.aggregations
        self._index: KeyIndex | AsOfIndex | AsOfRows
        recorded = table.column(join.asof.as_known) if join.asof is not None and join.asof.as_known else None
        if join.aggregate and join.asof is not None and joined.times is not None:
            self._index = AsOfRows(keys, table.column(join.asof.time), recorded, times=joined.times)
            return
        if join.aggregate:
            names = [key_name(place) for place in range(len(keys))]
            for name, key in zip(names, keys, strict=True):
                table = table.append_column(name, key)
            table = aggregated(table, names, join.aggregations)
            keys = [table.column(name) for name in names]
        self._rows = table.select(joined.sources).combine_chunks()
        if join.asof is not None and joined.times is not None:
            self._index = AsOfIndex(keys, table.column(join.asof.time), recorded, times=joined.times)
            repeated = self._index.repeated
        else:
            self._index = KeyIndex(keys)
            repeated = int(np.count_nonzero(self._index.counts > 1))
        if repeated and join.expect == "one":
            raise ContractViolation(_twice(joined, repeated))

    def found(self, keys: Sequence[pa.ChunkedArray], at: pa.ChunkedArray | None) -> tuple[Matches, pa.Table]:
        """The rows that each row of the main input finds, by its `keys` and its time, and the columns that they add.

        Raises
        ------
        InvalidInput : a sum that doesn't fit.
        """
        if isinstance(self._index, KeyIndex):
            return self._index.matches(keys), self._rows
        assert at is not None  # noqa: S101  # an as-of join has a time
        if isinstance(self._index, AsOfIndex):
            return self._index.matches(keys, at), self._rows
        return aggregated_as_of(self._table, self._index.seen(keys, at), self._asked)


def handed_on(rows: Rows, n_rows: int) -> Matches:
    """The matches of `n_rows` rows, where of each match it is known which of these `rows` it is for."""
    counts = np.bincount(rows, minlength=n_rows).astype(np.int64)
    return Matches(starts=np.cumsum(counts) - counts, counts=counts, found=np.argsort(rows, kind="stable"))


def _twice(joined: Joined, repeated: int) -> str:
    join = joined.join
    keys = ", ".join(join.keys)
    if join.asof is not None:
        return (
            f"dataset '{join.dataset}': {repeated} rows have {keys} and {', '.join(join.asof.columns)} of another one, "
            "and nobody can say which of them holds; `deduplicate` it"
        )
    return (
        f"dataset '{join.dataset}': {repeated} keys ({keys}) stand on more than one row, and the join expects one; "
        "`deduplicate` or `aggregate` it, or say `expect: many`"
    )
