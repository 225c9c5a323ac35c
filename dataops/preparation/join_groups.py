"""A main input that is aggregated: its rows go by their group, and the parts of the output are those of buckets."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dataops.datasets.allowed import require_unexpired
from dataops.datasets.commit import UnitRecord, commit_unit, open_storage
from dataops.datasets.receipt import Receipt
from dataops.datasets.scan import read_unit
from dataops.datasets.units import Unit
from dataops.governance.contract import schema_of
from dataops.preparation.aggregate import aggregated
from dataops.preparation.join_context import JoinContext, arrived_at, gone_of, number_of


def hand_on_groups(context: JoinContext, unit: Unit) -> UnitRecord:
    """The record of `unit`, whose rows went by their group: none of them is in the output as it is."""
    plan, exchange = context.plan, context.exchange
    read = read_unit(plan.source, unit, plan.keys_read)
    gone = gone_of(context, unit, read.table.num_rows)
    table, arrived = read.table, {}
    if gone is not None:
        arrived[context.phase("settle")] = arrived_at(context, unit, np.flatnonzero(gone)).record()
        table = table.filter(pa.array(~gone))
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
        summary={"handed_on": path, "groups": tally.record(), **({"arrived": arrived} if arrived else {})},
    )


def group_bucket(context: JoinContext, bucket: Unit) -> UnitRecord:
    """The groups of a bucket, counted and written."""
    plan, exchange = context.plan, context.exchange
    require_unexpired(plan.source)
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
