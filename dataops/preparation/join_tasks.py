"""What workers do in a join: rows that others need go by their keys, matches are found on the keys, rows are put
together where they stand.

1. `read_joined`, per unit of a joined dataset: its governed rows, for every worker or by key into buckets.
2. `look_at_main`, per unit of the main input, where anything goes by key: keys alone, with the rows that they are of.
3. `match_bucket`, per bucket: the rows of the dataset that the keys find, handed to the units that have them.
   `settle_bucket`: of rows with one name all but the one that stays.
4. `join_unit`, per unit of the main input: its rows, what they found, and the part.
5. `hand_on_groups` and `group_bucket` where the main input is aggregated: the parts are those of buckets.

Rows of the main input never travel, only their keys do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.datasets.allowed import require_unexpired
from dataops.datasets.commit import UnitRecord, commit_unit, open_storage
from dataops.datasets.receipt import Receipt
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.datasets.units import Unit
from dataops.declarations.join import Deduplicate
from dataops.errors import Integrity, InvalidInput
from dataops.governance.contract import schema_of
from dataops.preparation.aggregate import aggregated
from dataops.preparation.deduplicate import kept_rows
from dataops.preparation.exchange import Exchange, Step, Tally, require_conserved
from dataops.preparation.join_plan import Joined, JoinPlan
from dataops.preparation.join_side import ROW, TIME, UNIT, JoinSide, handed_on, has_key, key_columns, key_name
from dataops.preparation.matching import Matches, Rows, expanded, key_type

MOST_ROWS = 50_000_000
"""That one unit may become: its rows are put together in memory."""
MAIN = "main"
_PLACE = [(ROW, pa.int64()), (UNIT, pa.int32())]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinContext:
    """What a worker needs for a step of a join.

    Attributes
    ----------
    units : how many the main input has.
    place : of the join that a step is about; None: of the main input.
    paths : files of the steps before, in the order of their units, by phase.
    tallies : what was written there, by phase.
    """

    plan: JoinPlan
    exchange: Exchange
    units: int
    place: int | None = None
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tallies: Mapping[str, Tally] = field(default_factory=dict)

    @property
    def joined(self) -> Joined:
        """The join that this step is about."""
        assert self.place is not None  # noqa: S101  # the step is one of a join
        return self.plan.joins[self.place]

    @property
    def named(self) -> Deduplicate:
        """How rows are named where they are deduplicated."""
        found = self.plan.job.deduplicate if self.place is None else self.joined.join.deduplicate
        assert found is not None  # noqa: S101  # the step is there for it
        return found

    def phase(self, what: str) -> str:
        """The name of the step `what` of this join, or of the main input."""
        return f"{what}-{MAIN if self.place is None else self.place + 1}"


def number_of(unit: Unit) -> int:
    """The number of a unit, or bucket, among those of its kind."""
    return int(unit.id[1:])


def read_joined(context: JoinContext, unit: Unit) -> Step:
    """The rows of a joined dataset, by key: all in one part where every worker gets them."""
    joined, exchange, phase = context.joined, context.exchange, context.phase("read")
    if (earlier := exchange.earlier(phase, unit.id)) is not None:
        return earlier
    read = read_unit(joined.source, unit, joined.read)
    table, tallies = read.table, {}
    if joined.buckets:
        gone = _gone(context, unit, table.num_rows)
        if gone is not None:
            tallies[context.phase("settle")] = _arrived(context, unit, np.flatnonzero(gone))
            table = table.filter(pa.array(~gone))
        table = table.filter(has_key(key_columns(table, joined.join.keys, joined.key_types)))
    keys = key_columns(table, joined.join.keys, joined.key_types)
    parts = max(1, joined.buckets)
    part, tallies[phase] = exchange.by_key(keys, parts)
    path = exchange.write(f"{phase}-{unit.id}", table, part, parts)
    return exchange.put(Step(phase=phase, unit=unit.id, paths={phase: path}, tallies=tallies, receipt=read.receipt))


def look_at_names(context: JoinContext, unit: Unit) -> Step:
    """The names of a joined dataset's rows, where they are to be deduplicated and go by key."""
    exchange, phase = context.exchange, context.phase("names")
    if (earlier := exchange.earlier(phase, unit.id)) is not None:
        return earlier
    read = read_unit(context.joined.source, unit, context.named.columns)
    path, tally = _hand_on_names(context, unit, read.table, context.joined.buckets)
    return exchange.put(
        Step(phase=phase, unit=unit.id, paths={phase: path}, tallies={phase: tally}, receipt=read.receipt)
    )


def look_at_main(context: JoinContext, unit: Unit) -> Step:
    """The keys of the main input's rows, for each dataset whose rows go by key, and the names of its rows."""
    plan, exchange = context.plan, context.exchange
    if (earlier := exchange.earlier("keys", unit.id)) is not None:
        return earlier
    read = read_unit(plan.source, unit, plan.keys_read)
    paths, tallies = {}, {}
    if plan.job.deduplicate is not None:
        phase = context.phase("names")
        paths[phase], tallies[phase] = _hand_on_names(context, unit, read.table, plan.buckets)
    for place, joined in enumerate(plan.joins):
        if joined.buckets:
            phase = f"keys-{place + 1}"
            paths[phase], tallies[phase] = _hand_on_keys(context, unit, read.table, joined, phase)
    return exchange.put(Step(phase="keys", unit=unit.id, paths=paths, tallies=tallies, receipt=read.receipt))


def _hand_on_names(context: JoinContext, unit: Unit, table: pa.Table, buckets: int) -> tuple[str, Tally]:
    """Rows that have a name, by it: the others equal none, and stay."""
    named = _with_places(table.select(context.named.columns), unit)
    types = [_own_type(named, name) for name in context.named.by]
    named = named.filter(has_key(key_columns(named, context.named.by, types)))
    part, tally = context.exchange.by_key(key_columns(named, context.named.by, types), buckets)
    return context.exchange.write(f"{context.phase('names')}-{unit.id}", named, part, buckets), tally


def _own_type(table: pa.Table, name: str) -> pa.DataType:
    type_ = table.schema.field(name).type
    return key_type(type_, type_) or type_


def _hand_on_keys(context: JoinContext, unit: Unit, table: pa.Table, joined: Joined, phase: str) -> tuple[str, Tally]:
    keys = key_columns(table, joined.join.on, joined.key_types)
    columns = {key_name(place): key for place, key in enumerate(keys)}
    if joined.join.asof is not None:
        columns[TIME] = table.column(joined.join.asof.at)
    found = _with_places(pa.table(columns), unit).filter(has_key(keys))
    part, tally = context.exchange.by_key([found.column(name) for name in list(columns)[: len(keys)]], joined.buckets)
    return context.exchange.write(f"{phase}-{unit.id}", found, part, joined.buckets), tally


def _with_places(table: pa.Table, unit: Unit) -> pa.Table:
    """`table` with the number of the unit, and of the row among those that were read of it."""
    places = {ROW: np.arange(table.num_rows, dtype=np.int64), UNIT: np.full(table.num_rows, number_of(unit), np.int32)}
    for name, type_ in _PLACE:
        table = table.append_column(name, pa.array(places[name], type_))
    return table


def settle_bucket(context: JoinContext, bucket: Unit) -> Step:
    """Of the rows with one name all but the one that stays, for the units that have them."""
    exchange, phase, names = context.exchange, context.phase("settle"), context.phase("names")
    if (earlier := exchange.earlier(phase, bucket.id)) is not None:
        return earlier
    table = exchange.read(context.paths[names], number_of(bucket))
    by = key_columns(table, context.named.by, [_own_type(table, name) for name in context.named.by])
    order = table.column(context.named.order) if context.named.order else None
    keeps = kept_rows(by, order, keep=context.named.keep)
    gone = table.select([ROW, UNIT]).filter(pa.array(~keeps))
    units = context.units
    path = exchange.write(f"{phase}-{bucket.id}", gone.select([ROW]), _numbers(gone.column(UNIT)), units)
    tallies = {names: exchange.tally(by), phase: _places(exchange, gone.column(UNIT), gone.column(ROW))}
    return exchange.put(Step(phase=phase, unit=bucket.id, paths={phase: path}, tallies=tallies))


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = column.to_numpy().astype(np.int64)
    return found


def _places(exchange: Exchange, units: pa.ChunkedArray, rows: pa.ChunkedArray) -> Tally:
    return exchange.tally([units, rows])


def _gone(context: JoinContext, unit: Unit, n_rows: int) -> npt.NDArray[np.bool_] | None:
    """Which rows of `unit` `settle_bucket` found to go, bool (n_rows,); None where it wasn't asked."""
    phase = context.phase("settle")
    if phase not in context.paths:
        return None
    rows = context.exchange.read(context.paths[phase], number_of(unit)).column(ROW).to_numpy()
    gone = np.zeros(n_rows, np.bool_)
    gone[rows] = True
    return gone


def match_bucket(context: JoinContext, bucket: Unit) -> Step:
    """What the keys of a bucket find, for the units that have them: the columns that the join adds."""
    joined, exchange, phase = context.joined, context.exchange, context.phase("match")
    if (earlier := exchange.earlier(phase, bucket.id)) is not None:
        return earlier
    require_unexpired(joined.source)
    keys_phase, read_phase = context.phase("keys"), context.phase("read")
    theirs = exchange.read(context.paths[read_phase], number_of(bucket), joined.schema)
    ours = exchange.read(context.paths[keys_phase], number_of(bucket))
    keys = [ours.column(key_name(place)) for place in range(len(joined.key_types))]
    side = JoinSide(joined, theirs)
    matches = side.matches(keys, ours.column(TIME) if joined.join.asof else None)
    rows, found = expanded(np.arange(ours.num_rows, dtype=np.int64), matches, inner=True)
    places = ours.select([ROW, UNIT]).take(pa.array(rows))
    taken = side.rows.take(pa.array(found))
    table = pa.table([*taken.columns, places.column(ROW)], [*taken.column_names, ROW])
    path = exchange.write(f"{phase}-{bucket.id}", table, _numbers(places.column(UNIT)), context.units)
    tallies = {
        keys_phase: exchange.tally(keys),
        read_phase: exchange.tally(key_columns(theirs, joined.join.keys, joined.key_types)),
        phase: _places(exchange, places.column(UNIT), places.column(ROW)),
    }
    return exchange.put(Step(phase=phase, unit=bucket.id, paths={phase: path}, tallies=tallies))


def join_unit(context: JoinContext, unit: Unit) -> UnitRecord:
    """The record of `unit`, joined and written by this attempt or by an earlier one."""
    plan = context.plan
    read = read_unit(plan.source, unit, plan.read)
    table, arrived = read.table, {}
    rows = np.arange(table.num_rows, dtype=np.int64)
    gone = _gone(context, unit, table.num_rows)
    if gone is not None:
        rows = rows[~gone]
        arrived[context.phase("settle")] = _arrived(context, unit, np.flatnonzero(gone))
    added: list[tuple[pa.Table, Rows]] = []
    for place, joined in enumerate(plan.joins):
        matches, theirs, tally = _found(context, unit, table, place)
        arrived |= {f"match-{place + 1}": tally} if tally is not None else {}
        _require_fits(unit, matches, rows)
        places, found = expanded(rows, matches, inner=joined.join.how == "inner")
        rows, added = rows[places], [(one, taken[places]) for one, taken in added]
        added.append((theirs, found))
    return _commit(context, read, _put_together(plan, table, rows, added), rows, arrived)


def _found(context: JoinContext, unit: Unit, table: pa.Table, place: int) -> tuple[Matches, pa.Table, Tally | None]:
    """What the rows of `unit` find in the dataset of join `place`, and the columns that it adds."""
    joined = context.plan.joins[place]
    if not joined.buckets:
        phase = f"read-{place + 1}"
        side = _SIDES.get(context, place, phase)
        keys = key_columns(table, joined.join.on, joined.key_types)
        asof = joined.join.asof
        return side.matches(keys, table.column(asof.at) if asof else None), side.rows, None
    require_unexpired(joined.source)
    theirs = context.exchange.read(context.paths[f"match-{place + 1}"], number_of(unit))
    at = theirs.column(ROW).to_numpy()
    if len(at) and int(at.max()) >= table.num_rows:
        raise Integrity(f"unit {unit.id}: other rows were read for the keys than for the output; start a new run")
    return handed_on(at, table.num_rows), theirs.drop_columns([ROW]), _arrived(context, unit, at)


def _arrived(context: JoinContext, unit: Unit, rows: npt.NDArray[np.int64]) -> Tally:
    units = pa.chunked_array([pa.array(np.full(len(rows), number_of(unit), np.int32))])
    return _places(context.exchange, units, pa.chunked_array([pa.array(rows)]))


class _Sides:
    """The datasets that every worker gets, made once per process; those of another run are let go."""

    def __init__(self) -> None:
        self._exchange: Exchange | None = None
        self._sides: dict[str, JoinSide] = {}
        self._lock = Lock()

    def get(self, context: JoinContext, place: int, phase: str) -> JoinSide:
        """The one of join `place`.

        Raises
        ------
        Integrity : it isn't the one that was written.
        """
        with self._lock:
            if self._exchange != context.exchange:
                self._exchange, self._sides = context.exchange, {}
            if phase not in self._sides:
                self._sides[phase] = _side_for_all(context, context.plan.joins[place], phase)
            return self._sides[phase]


_SIDES = _Sides()


def _side_for_all(context: JoinContext, joined: Joined, phase: str) -> JoinSide:
    table = context.exchange.read(context.paths[phase], 0, joined.schema)
    keys = key_columns(table, joined.join.keys, joined.key_types)
    what = f"join of '{joined.join.dataset}' ({phase})"
    require_conserved(what, context.tallies[phase], context.exchange.tally(keys))
    return JoinSide(joined, table)


def _require_fits(unit: Unit, matches: Matches, rows: Rows) -> None:
    made = int(matches.counts[rows].sum())
    if made > MOST_ROWS:
        raise InvalidInput(
            f"unit {unit.id}: {len(rows)} rows would become {made}, more than {MOST_ROWS}: do so many rows have one "
            "key? Join on more columns, or aggregate first"
        )


def _put_together(plan: JoinPlan, table: pa.Table, rows: Rows, added: Sequence[tuple[pa.Table, Rows]]) -> pa.Table:
    """The columns of the output: `rows` of `table`, and of each that was `added` what they found (-1: nothing)."""
    whole = len(rows) == table.num_rows and bool((rows == np.arange(len(rows))).all())
    main = table.select(plan.kept) if whole else table.select(plan.kept).take(pa.array(rows))
    columns: list[Any] = list(main.columns)
    for theirs, found in added:
        columns += theirs.take(pa.array(found, mask=found < 0)).columns
    schema = schema_of(plan.columns)
    return pa.table(
        [column.cast(one.type) for column, one in zip(columns, schema, strict=True)], schema
    ).combine_chunks()


def _commit(
    context: JoinContext, read: GovernedRead, table: pa.Table, rows: Rows, arrived: Mapping[str, Tally]
) -> UnitRecord:
    left = len(np.unique(rows))  # of the main input's rows those that came through
    receipt = read.receipt.with_filtered_by_job(read.receipt.passed - left).with_made(table.num_rows)
    return commit_unit(
        *open_storage(context.exchange.storage),
        dataset=context.plan.job.output,
        run=context.exchange.run,
        input_dataset=context.plan.source.dataset,
        table=table,
        quarantined=read.quarantined,
        receipt=receipt,
        summary={"arrived": {name: tally.record() for name, tally in arrived.items()}} if arrived else {},
    )


def hand_on_groups(context: JoinContext, unit: Unit) -> UnitRecord:
    """The record of `unit`, whose rows went by their group: none of them is in the output as it is."""
    plan, exchange = context.plan, context.exchange
    read = read_unit(plan.source, unit, plan.keys_read)
    gone = _gone(context, unit, read.table.num_rows)
    table = read.table if gone is None else read.table.filter(pa.array(~gone))
    part, tally = exchange.by_key([table.column(name) for name in plan.job.group_by], plan.buckets)
    path = exchange.write(f"groups-{unit.id}", table, part, plan.buckets)
    return commit_unit(
        *open_storage(exchange.storage),
        dataset=plan.job.output,
        run=exchange.run,
        input_dataset=plan.source.dataset,
        table=schema_of(plan.columns).empty_table(),
        quarantined=read.quarantined,
        receipt=read.receipt.with_filtered_by_job(read.receipt.passed - table.num_rows).with_made(0),
        summary={"handed_on": path, "groups": tally.record()},
    )


def group_bucket(context: JoinContext, bucket: Unit) -> UnitRecord:
    """The groups of a bucket, counted and written."""
    plan, exchange = context.plan, context.exchange
    table = exchange.read(context.paths["groups"], number_of(bucket))
    tally = exchange.tally([table.column(name) for name in plan.job.group_by])
    made = aggregated(table, plan.job.group_by, plan.job.aggregations)
    return commit_unit(
        *open_storage(exchange.storage),
        dataset=plan.job.output,
        run=exchange.run,
        input_dataset=plan.source.dataset,
        table=made.cast(schema_of(plan.columns)).combine_chunks(),
        quarantined=None,
        receipt=Receipt(unit=bucket.id, read=0, passed=0).with_made(made.num_rows),
        summary={"groups": tally.record()},
    )
