"""What workers do in a join: rows that others need go by their keys, matches are found on the keys, rows are put
together where they stand.

1. `read_joined`, per unit of a joined dataset: its governed rows, for every worker or by key into buckets.
2. `look_at_main`, per unit of the main input, where anything goes by key: keys alone, with the rows that they are of.
3. `match_bucket`, per bucket: the rows of the dataset that the keys find, handed to the units that have them.
4. `join_unit`, per unit of the main input: its rows, what they found, and the part.

Deduplication is in `join_names`, a main input that is aggregated in `join_groups`.

Rows of the main input never travel, only their keys do. Nothing that was read is used once its grant has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from dataops.datasets.allowed import require_unexpired
from dataops.datasets.commit import UnitRecord, commit_unit, open_storage
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.datasets.units import Unit
from dataops.errors import Integrity, InvalidInput
from dataops.governance.contract import schema_of
from dataops.preparation.exchange import Exchange, Step, Tally, require_conserved
from dataops.preparation.join_context import (
    JoinContext,
    arrived_at,
    gone_of,
    number_of,
    numbers,
    with_places,
)
from dataops.preparation.join_names import hand_on_names
from dataops.preparation.join_plan import Joined, JoinPlan
from dataops.preparation.join_side import ROW, TIME, UNIT, JoinSide, handed_on, has_key, key_columns, key_name
from dataops.preparation.matching import Matches, Rows, expanded

MOST_ROWS = 50_000_000
"""That one unit may become: its rows are put together in memory."""


def read_joined(context: JoinContext, unit: Unit) -> Step:
    """The rows of a joined dataset, by key: all in one part where every worker gets them."""
    joined, exchange, phase = context.joined, context.exchange, context.phase("read")
    if (earlier := exchange.earlier(phase, unit.id)) is not None:
        return earlier
    read = read_unit(joined.source, unit, joined.read)
    table, tallies = read.table, {}
    if joined.buckets:
        gone = gone_of(context, unit, table.num_rows)
        if gone is not None:
            tallies[context.phase("settle")] = arrived_at(context, unit, np.flatnonzero(gone))
            table = table.filter(pa.array(~gone))
        table = table.filter(has_key(key_columns(table, joined.join.keys, joined.key_types)))
    keys = key_columns(table, joined.join.keys, joined.key_types)
    parts = max(1, joined.buckets)
    part, tallies[phase] = exchange.by_key(keys, parts)
    path = exchange.write(f"{phase}-{unit.id}", table, part, parts)
    return exchange.put(Step(phase=phase, unit=unit.id, paths={phase: path}, tallies=tallies, receipt=read.receipt))


def look_at_main(context: JoinContext, unit: Unit) -> Step:
    """The keys of the main input's rows, for each dataset whose rows go by key, and the names of its rows."""
    plan, exchange = context.plan, context.exchange
    if (earlier := exchange.earlier("keys", unit.id)) is not None:
        return earlier
    read = read_unit(plan.source, unit, plan.keys_read)
    paths, tallies = {}, {}
    if plan.job.deduplicate is not None:
        phase = context.phase("names")
        paths[phase], tallies[phase] = hand_on_names(context, unit, read.table, plan.buckets)
    for place, joined in enumerate(plan.joins):
        if joined.buckets:
            phase = f"keys-{place + 1}"
            paths[phase], tallies[phase] = _hand_on_keys(context, unit, read.table, joined, phase)
    return exchange.put(Step(phase="keys", unit=unit.id, paths=paths, tallies=tallies, receipt=read.receipt))


def _hand_on_keys(context: JoinContext, unit: Unit, table: pa.Table, joined: Joined, phase: str) -> tuple[str, Tally]:
    keys = key_columns(table, joined.join.on, joined.key_types)
    columns = {key_name(place): key for place, key in enumerate(keys)}
    if joined.join.asof is not None:
        columns[TIME] = table.column(joined.join.asof.at)
    found = with_places(pa.table(columns), unit).filter(has_key(keys))
    part, tally = context.exchange.by_key([found.column(name) for name in list(columns)[: len(keys)]], joined.buckets)
    return context.exchange.write(f"{phase}-{unit.id}", found, part, joined.buckets), tally


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
    matches, added = JoinSide(joined, theirs).found(keys, ours.column(TIME) if joined.join.asof else None)
    parts = _matched_parts(ours, matches, added, context.units)
    schema = added.schema.append(pa.field(ROW, pa.int64()))
    tallies = {
        keys_phase: exchange.tally(keys),
        read_phase: exchange.tally(key_columns(theirs, joined.join.keys, joined.key_types)),
        phase: exchange.tally([ours.column(UNIT), ours.column(ROW)], matches.counts),
    }
    path = exchange.write_parts(f"{phase}-{bucket.id}", schema, parts)
    return exchange.put(Step(phase=phase, unit=bucket.id, paths={phase: path}, tallies=tallies))


def _matched_parts(ours: pa.Table, matches: Matches, theirs: pa.Table, units: int) -> Iterator[pa.Table]:
    """For each unit what its rows found: the columns of `theirs`, and the row that it was found for.

    Parameters
    ----------
    ours : the rows that asked, with their units and places.

    Raises
    ------
    InvalidInput : a unit would become more rows than are put together in memory; before any of them is.
    """
    unit, at = numbers(ours.column(UNIT)), numbers(ours.column(ROW))
    order = np.argsort(unit, kind="stable").astype(np.int64)
    edges = np.searchsorted(unit[order], np.arange(units + 1))
    made = np.concatenate([[0], np.cumsum(matches.counts[order])])
    for number, (start, stop) in enumerate(pairwise(edges)):
        _require_room(f"u{number:06d}", int(stop - start), int(made[stop] - made[start]))
    return _parts(order, edges, at, matches, theirs)


def _parts(order: Rows, edges: Rows, at: Rows, matches: Matches, theirs: pa.Table) -> Iterator[pa.Table]:
    for start, stop in pairwise(edges):
        asked = order[start:stop]
        rows, found = expanded(asked, matches, inner=True)
        yield theirs.take(pa.array(found)).append_column(ROW, pa.array(at[asked[rows]]))


def join_unit(context: JoinContext, unit: Unit) -> UnitRecord:
    """The record of `unit`, joined and written by this attempt or by an earlier one."""
    plan = context.plan
    read = read_unit(plan.source, unit, plan.read)
    table, arrived = read.table, {}
    rows = np.arange(table.num_rows, dtype=np.int64)
    gone = gone_of(context, unit, table.num_rows)
    if gone is not None:
        rows = rows[~gone]
        arrived[context.phase("settle")] = arrived_at(context, unit, np.flatnonzero(gone))
    added: list[tuple[pa.Table, Rows]] = []
    for place, joined in enumerate(plan.joins):
        matches, theirs, tally = _found(context, unit, table, place)
        arrived |= {f"match-{place + 1}": tally} if tally is not None else {}
        _require_room(unit.id, len(rows), int(matches.counts[rows].sum()))
        places, found = expanded(rows, matches, inner=joined.join.how == "inner")
        rows, added = rows[places], [(one, taken[places]) for one, taken in added]
        added.append((theirs, found))
    return _commit(context, read, _put_together(plan, table, rows, added), rows, arrived)


def _found(context: JoinContext, unit: Unit, table: pa.Table, place: int) -> tuple[Matches, pa.Table, Tally | None]:
    """What the rows of `unit` find in the dataset of join `place`, and the columns that it adds."""
    joined = context.plan.joins[place]
    require_unexpired(joined.source)
    if not joined.buckets:
        phase = f"read-{place + 1}"
        side = _SIDES.get(context, place, phase)
        keys = key_columns(table, joined.join.on, joined.key_types)
        asof = joined.join.asof
        return *side.found(keys, table.column(asof.at) if asof else None), None
    theirs = context.exchange.read(context.paths[f"match-{place + 1}"], number_of(unit))
    at = theirs.column(ROW).to_numpy()
    if len(at) and int(at.max()) >= table.num_rows:
        raise Integrity(f"unit {unit.id}: other rows were read for the keys than for the output; start a new run")
    return handed_on(at, table.num_rows), theirs.drop_columns([ROW]), arrived_at(context, unit, at)


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


def _require_room(unit: str, rows: int, made: int) -> None:
    if made > MOST_ROWS:
        raise InvalidInput(
            f"unit {unit}: {rows} rows would become {made}, more than {MOST_ROWS}: do so many rows have one "
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
