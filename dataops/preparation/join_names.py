"""Rows with one name, found across all units by the hash of the name: which of them go."""

from __future__ import annotations

import pyarrow as pa

from dataops.datasets.allowed import require_unexpired
from dataops.datasets.scan import read_unit
from dataops.datasets.units import Unit
from dataops.preparation.deduplicate import kept_rows
from dataops.preparation.exchange import Step, Tally
from dataops.preparation.join_context import JoinContext, number_of, numbers, places_of, with_places
from dataops.preparation.join_side import ROW, UNIT, has_key, key_columns
from dataops.preparation.matching import key_type


def look_at_names(context: JoinContext, unit: Unit) -> Step:
    """The names of a joined dataset's rows, where they are to be deduplicated and go by key."""
    exchange, phase = context.exchange, context.phase("names")
    if (earlier := exchange.earlier(phase, unit.id)) is not None:
        return earlier
    read = read_unit(context.joined.source, unit, context.named.columns)
    path, tally = hand_on_names(context, unit, read.table, context.joined.buckets)
    return exchange.put(
        Step(phase=phase, unit=unit.id, paths={phase: path}, tallies={phase: tally}, receipt=read.receipt)
    )


def hand_on_names(context: JoinContext, unit: Unit, table: pa.Table, buckets: int) -> tuple[str, Tally]:
    """Rows that have a name, by it: the others equal none, and stay."""
    named = with_places(table.select(context.named.columns), unit)
    types = [_own_type(named, name) for name in context.named.by]
    named = named.filter(has_key(key_columns(named, context.named.by, types)))
    part, tally = context.exchange.by_key(key_columns(named, context.named.by, types), buckets)
    return context.exchange.write(f"{context.phase('names')}-{unit.id}", named, part, buckets), tally


def _own_type(table: pa.Table, name: str) -> pa.DataType:
    type_ = table.schema.field(name).type
    return key_type(type_, type_) or type_


def settle_bucket(context: JoinContext, bucket: Unit) -> Step:
    """Of the rows with one name all but the one that stays, for the units that have them."""
    exchange, phase, names = context.exchange, context.phase("settle"), context.phase("names")
    if (earlier := exchange.earlier(phase, bucket.id)) is not None:
        return earlier
    require_unexpired(context.source)
    table = exchange.read(context.paths[names], number_of(bucket))
    by = key_columns(table, context.named.by, [_own_type(table, name) for name in context.named.by])
    order = table.column(context.named.order) if context.named.order else None
    keeps = kept_rows(by, order, keep=context.named.keep)
    gone = table.select([ROW, UNIT]).filter(pa.array(~keeps))
    units = context.units
    path = exchange.write(f"{phase}-{bucket.id}", gone.select([ROW]), numbers(gone.column(UNIT)), units)
    tallies = {names: exchange.tally(by), phase: places_of(exchange, gone.column(UNIT), gone.column(ROW))}
    return exchange.put(Step(phase=phase, unit=bucket.id, paths={phase: path}, tallies=tallies))
