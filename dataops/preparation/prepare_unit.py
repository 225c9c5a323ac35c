"""What is done to each unit of a prepare job: what workers are told of its plan, and what they do by it.

They are told no declaration: to read one takes libraries that take longer to load than many a unit to prepare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from dataops.datasets.commit import UnitRecord, commit_unit, open_storage
from dataops.datasets.reading import Source
from dataops.datasets.scan import read_unit
from dataops.datasets.units import Unit
from dataops.features.steps import RowSteps
from dataops.governance.contract import Column, schema_of
from dataops.governance.expressions import Expression, evaluate_predicate
from dataops.preparation.split import SPLIT_COLUMN, Sides


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPlan:
    """What is done to each unit.

    Attributes
    ----------
    labelled : keeps the rows that it is true for, after the steps; None keeps all.
    sides : how rows are parted; None: they aren't.
    read : columns that are read.
    columns : those of the output, in its order.
    output : the dataset that is made.
    """

    steps: RowSteps
    labelled: Expression | None
    sides: Sides | None
    read: tuple[str, ...]
    columns: tuple[Column, ...]
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareContext:
    """What a worker needs to prepare units."""

    source: Source
    plan: UnitPlan
    storage: str
    run: str


def prepare_unit(context: PrepareContext, unit: Unit) -> UnitRecord:
    """The record of `unit`, prepared and written by this attempt or by an earlier one."""
    plan = context.plan
    read = read_unit(context.source, unit, plan.read, encoded=True)
    table, filtered = plan.steps.apply(read.table)
    if plan.labelled is not None:
        labelled = table.filter(evaluate_predicate(plan.labelled, table))
        filtered, table = filtered + table.num_rows - labelled.num_rows, labelled
    if plan.sides is not None:
        sides = plan.sides.of(table)
        if SPLIT_COLUMN in table.column_names:  # one that a step looked at, and that isn't kept
            table = table.drop_columns([SPLIT_COLUMN])
        table = table.append_column(SPLIT_COLUMN, sides)
    return commit_unit(
        *open_storage(context.storage),
        dataset=plan.output,
        run=context.run,
        input_dataset=context.source.dataset,
        table=as_declared(table, plan.columns),
        quarantined=read.quarantined,
        receipt=read.receipt.with_filtered_by_job(filtered),
    )


def as_declared(table: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """The columns of the output in their types; text that is a dictionary stays one."""
    declared = {}
    for field in schema_of(columns):
        column = table.column(field.name)
        encoded = pa.types.is_dictionary(column.type) and column.type.value_type == field.type == pa.string()
        declared[field.name] = column if encoded else column.cast(field.type)
    return pa.table(declared).combine_chunks()
