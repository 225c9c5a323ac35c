"""The rows of one unit: all of them, or of a replay those that a quarantine file names, as the source has them now.

1. Which rows a replay reads is read by the worker from the quarantine file itself, whose bytes must be those that its
   record names.
2. In a file that didn't change since, a row is found by its place. In one that did, by its primary key: the row whose
   key stands there exactly once, and stood in the quarantine file exactly once. The contract must hold the very key
   unique that held when the row was set aside; a value that today's type of the column can't hold names no row.
3. A row that can't be found so stays in quarantine as it was, without a place: nothing is lost, nothing is taken for
   another row.
4. Only the row groups that hold such rows are decoded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataops.datasets.decode import decode_unit
from dataops.datasets.places import Places
from dataops.datasets.quarantine import (
    PLACE,
    QUARANTINE_KEY,
    QUARANTINE_ROW,
    QUARANTINE_ROW_GROUP,
    aside_columns,
    group_of_rows,
    key_mark,
)
from dataops.datasets.reading import Source
from dataops.datasets.snapshot import Fragment
from dataops.datasets.units import Unit
from dataops.errors import Conflict, Integrity
from dataops.governance.contract import schema_of
from dataops.governance.expressions import Expression
from dataops.records import digest_bytes
from dataops.storage.files import open_files


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenRows:
    """What a unit gives before anything is decided.

    Attributes
    ----------
    table : the columns that were asked for, unmasked, in the contract's types.
    places : where each row stands in its file.
    skipped : rows that weren't decoded, since none of them can pass the row filters.
    key : the primary key by which the rows may be found again, if they are set aside; None: by none.
    carried : rows of the quarantine file that stay there, since the source has them no more; None where there are none.
    """

    table: pa.Table
    places: Places
    key: str | None = None
    skipped: int = 0
    carried: pa.Table | None = None

    @property
    def rows(self) -> int:
        """Rows to account for."""
        return int(self.table.num_rows) + self.skipped + (0 if self.carried is None else int(self.carried.num_rows))


def take_rows(
    source: Source, unit: Unit, names: Collection[str], *, encoded: bool = False, filters: Sequence[Expression] = ()
) -> TakenRows:
    """The columns `names` of the rows of `unit` that may pass `filters`; `encoded` as in `decode_unit`.

    Raises
    ------
    Integrity : the source's file is not the one that was planned, or the quarantine file not the one that was recorded.
    Conflict : rows of a changed file that no key names; nothing is read then.
    """
    if unit.aside is None:
        decoded = decode_unit(source, unit, names, encoded=encoded, filters=filters)
        places = _places(unit, decoded.groups)
        skipped = unit.rows - len(places)
        return TakenRows(table=decoded.table, places=places, key=key_mark(source.contract), skipped=skipped)
    aside = read_aside(source.quarantine, unit.aside)
    key = _key_that_held(source, aside)
    placed = np.asarray(aside.column(QUARANTINE_ROW).is_valid())
    if unit.aside_key:
        _require_key(unit, aside, key)
        rows, found = _rows_by_key(source, unit, aside)
    else:
        rows, found = np.sort(np.asarray(aside.column(QUARANTINE_ROW).drop_null(), dtype=np.int64)), placed
    _require_inside(unit, rows)
    carried = aside.filter(pa.array(~found))
    return TakenRows(
        table=_decoded(source, unit, names, rows),
        places=Places(first=unit.first_row, rows=unit.fragment.rows).take(rows - unit.first_row),
        key=key,
        carried=carried if carried.num_rows else None,
    )


def _places(unit: Unit, groups: Collection[int]) -> Places:
    """Of each row of the row groups `groups`."""
    rows = [group.rows for group in unit.groups]
    places = Places(first=unit.first_row, rows=sum(rows))
    if len(groups) == len(rows):
        return places
    kept = np.isin(np.arange(unit.start_group, unit.stop_group), list(groups))
    return places.take(np.flatnonzero(np.repeat(kept, rows)))


def read_aside(url: str | None, fragment: Fragment) -> pa.Table:
    """The quarantine file `fragment` below `url`, if its bytes are those of its record.

    Raises
    ------
    Integrity : they aren't.
    """
    if url is None:
        raise Integrity(f"{fragment.path}: rows of a quarantine file are planned, but not where quarantine lies")
    with open_files(url).open(fragment.path) as opened:
        data = opened.read()
    if (len(data), digest_bytes(data)) != (fragment.size_bytes, fragment.digest):
        raise Integrity(f"quarantine/{fragment.path}: its bytes are not the recorded ones")
    return pq.read_table(pa.BufferReader(data))


def with_carried(quarantined: pa.Table | None, carried: pa.Table | None, source: Source) -> pa.Table | None:
    """`quarantined` and behind it the rows that were `carried` over, in the columns of today's contract."""
    if carried is None:
        return quarantined
    shown = aside_columns(source.contract)
    columns = schema_of(column for column in source.contract.columns if column.name in shown)
    fields = [*PLACE, *(columns.field(name) for name in sorted(columns.names) if name not in PLACE.names)]
    kept = pa.table([_kept(carried, field) for field in fields], schema=pa.schema(fields))
    return kept if quarantined is None else pa.concat_tables([quarantined.cast(kept.schema), kept])


def _kept(carried: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    """A column as it was set aside; null where today's contract has another type or a new column, or for its place."""
    nothing = pa.chunked_array([pa.nulls(carried.num_rows, field.type)])
    if field.name not in carried.column_names or field.name in (QUARANTINE_ROW, QUARANTINE_ROW_GROUP):
        return nothing
    try:
        return carried.column(field.name).cast(field.type)
    except pa.ArrowException:  # its text holds a value
        return nothing


def _decoded(source: Source, unit: Unit, names: Collection[str], rows: np.ndarray) -> pa.Table:
    parts = []
    for part in _groups(unit, np.unique(group_of_rows(unit, rows))):
        first, stop = np.searchsorted(rows, [part.first_row, part.first_row + part.rows])
        parts.append(decode_unit(source, part, names).table.take(pa.array(rows[first:stop] - part.first_row)))
    nothing = schema_of(column for column in source.contract.columns if column.name in names).empty_table()
    return pa.concat_tables(parts) if parts else nothing


def _groups(unit: Unit, wanted: Collection[int]) -> Iterator[Unit]:
    """A plain unit for each of the row groups `wanted`, in their order."""
    first_row, wanted = unit.first_row, set(wanted)
    for number, group in enumerate(unit.groups, unit.start_group):
        if number in wanted:
            alone = replace(unit.fragment, row_groups=(group,))
            yield replace(
                unit, fragment=alone, start_group=number, stop_group=number + 1, first_row=first_row, aside=None
            )
        first_row += group.rows


def _require_inside(unit: Unit, rows: np.ndarray) -> None:
    stop = unit.first_row + unit.fragment.rows
    if len(np.unique(rows)) != len(rows) or (len(rows) and not unit.first_row <= rows[0] <= rows[-1] < stop):
        raise Integrity(f"unit {unit.id}: its quarantine file names rows that {unit.fragment.shown} doesn't have there")


def _key_that_held(source: Source, aside: pa.Table) -> str | None:
    """Today's primary key, if it held when all rows of `aside` were first read; of rows that were then read under
    another key nobody knows whether others had the same values.
    """
    held = set(aside.column(QUARANTINE_KEY).unique().to_pylist())
    return held.pop() if held == {key_mark(source.contract)} else None


def _require_key(unit: Unit, aside: pa.Table, key: str | None) -> None:
    if key is None or not set(unit.aside_key) <= set(aside.column_names):
        raise Conflict(
            f"{unit.fragment.shown} changed since its rows were set aside, and then another primary key held, or none: "
            "they can't be found again. Run the job again"
        )


def _as_type(values: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    """`values` of a former type of their column in today's; null for each that it can't hold as it was: no key is null,
    and of two values that became one neither names a row.
    """
    if values.type == type_:
        return values
    try:
        now = values.cast(type_)
        return pc.if_else(pc.equal(now.cast(values.type), values), now, pa.scalar(None, type_))
    except pa.ArrowException:  # its text holds a value
        if len(values) <= 1:
            return pa.chunked_array([pa.nulls(len(values), type_)])
        half = len(values) // 2  # which they are is found by halves
        parts = [_as_type(part, type_) for part in (values.slice(0, half), values.slice(half))]
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks], type_)


def _rows_by_key(source: Source, unit: Unit, aside: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Offsets in the file of the rows that are found again, sorted, and which rows of `aside` they are (boolean)."""
    keys = [f"key_{number}" for number in range(len(unit.aside_key))]
    types = [source.contract.column(name).type for name in unit.aside_key]
    wanted = pa.table([_as_type(aside.column(n), t) for n, t in zip(unit.aside_key, types, strict=True)], names=keys)
    wanted = wanted.append_column("aside", pa.array(np.arange(aside.num_rows)))
    pairs = []
    for part in _groups(unit, range(unit.start_group, unit.stop_group)):
        there = decode_unit(source, part, unit.aside_key).table.select(list(unit.aside_key)).rename_columns(keys)
        there = there.append_column("row", pa.array(np.arange(part.rows) + part.first_row))
        pairs.append(wanted.join(there, keys, join_type="inner", use_threads=False).select(["aside", "row"]))
    found = np.zeros(aside.num_rows, dtype=bool)
    if not pairs:  # a file without rows
        return np.zeros(0, dtype=np.int64), found
    every = pa.concat_tables(pairs)
    once = _once(every.column("aside")) & _once(every.column("row"))
    found[np.asarray(every.column("aside"), dtype=np.int64)[once]] = True
    return np.sort(np.asarray(every.column("row"), dtype=np.int64)[once]), found


def _once(values: pa.ChunkedArray) -> np.ndarray:
    """Boolean (n,): whether a value stands in `values` only once."""
    counted = pc.value_counts(values)
    single = counted.field("values").filter(pc.equal(counted.field("counts"), 1))
    return np.asarray(pc.is_in(values, value_set=single))
