"""Prepare jobs: a governed dataset, row-wise steps, a split, a new snapshot of the output.

1. Columns and expressions are checked against the grant before a row is read.
2. A column of the output carries the classification of all it was made from, and the masks that were applied to it.
3. The output's manifest carries the steps themselves, so that a model trained on it can put them in front of raw data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from dataops.datasets.access import GovernedInput
from dataops.datasets.publish import UnitRecord, commit_unit, committed_units, publish
from dataops.datasets.scan import Source, read_unit
from dataops.datasets.snapshot import Manifest, Snapshot
from dataops.datasets.units import Unit
from dataops.declarations.jobs import PrepareJob
from dataops.engine.work import Work
from dataops.errors import InvalidInput, near_match
from dataops.features.steps import RowSteps
from dataops.governance.contract import Column
from dataops.governance.expressions import Expression, evaluate_predicate, parse_expression, result_type
from dataops.governance.masking import Mask, MaskKind, output_type
from dataops.preparation.split import SPLIT_COLUMN, assign_split
from dataops.records import Record, digest
from dataops.storage.files import open_files
from dataops.storage.objects import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparePlan:
    """A prepare job, resolved against what may be read."""

    steps: RowSteps
    labelled: Expression | None
    split_by: tuple[str, ...]
    split_test: float
    read: tuple[str, ...]
    columns: tuple[Column, ...]

    def declaration(self) -> Record:
        """What a model needs to repeat the preparation on raw data; its digest names the preparation."""
        return {
            "steps": self.steps.record(),
            "labelled": self.labelled and self.labelled.sql,
            "columns": [column.name for column in self.columns],
        }


def granted_after_masks(given: GovernedInput) -> tuple[Column, ...]:
    """The columns of `given` as its reader gets them: masked types, masks noted."""
    masks = given.grant.effect.columns
    return tuple(_after_mask(column, masks[column.name]) for column in given.granted_columns())


def _after_mask(column: Column, mask: Mask | None) -> Column:
    if mask is None:
        return column
    applied = tuple(dict.fromkeys([*column.masks, mask.digest]))
    return replace(column, type=output_type(mask, column.type), masks=applied, required=False)


def generalisations(given: GovernedInput) -> tuple[tuple[str, Mask], ...]:
    """The generalising masks of the grant, by column: the ones that a feature may be made of."""
    masks = given.grant.effect.columns.items()
    return tuple((name, mask) for name, mask in masks if mask is not None and mask.kind is MaskKind.GENERALISE)


def plan_prepare(job: PrepareJob, given: GovernedInput, *, where: str) -> PreparePlan:
    """`job` over `given`, with the columns that it reads and makes.

    Parameters
    ----------
    where : the file of the job, for messages.

    Raises
    ------
    AccessDenied : it needs a column that the policies deny.
    InvalidInput : an unknown column, a type that doesn't fit, a name given twice.
    """
    steps = RowSteps(
        generalise=generalisations(given),
        derive=tuple(
            (name, parse_expression(text, where=f"{where}: derive.{name}")) for name, text in job.derive.items()
        ),
        where=parse_expression(job.where, where=f"{where}: where") if job.where else None,
    )
    labelled = parse_expression(job.labelled, where=f"{where}: labelled") if job.labelled else None
    split_by, split_test = (job.split.key_columns, job.split.test) if job.split else ((), 0.0)
    available = {column.name: column for column in granted_after_masks(given)}
    clash = sorted({column.name for column in given.dataset.contract.columns} & set(job.derive))
    if clash:
        raise InvalidInput(
            f"{where}: derive: {', '.join(clash)} would hide columns of dataset '{given.dataset.name}'; use other names"
        )
    derived = _derived_columns(steps, available, given, where)
    everything = {**available, **derived}
    for expression, place in ((steps.where, "where"), (labelled, "labelled")):
        if expression is not None:
            _require_condition(expression, everything, given, f"{where}: {place}")
    chosen = tuple(job.columns) if job.columns is not None else (*available, *derived)
    _require_known((*chosen, *split_by), everything, given, where)
    columns = tuple(everything[name] for name in chosen)
    if split_by:
        columns = (*columns, _split_column([everything[name] for name in split_by], where, chosen))
    wanted = {*chosen, *split_by, *(labelled.columns if labelled else ())}
    sources = _sources(steps, wanted) or set(list(available)[:1])  # constants alone: a column says how many rows
    read = tuple(name for name in available if name in sources)
    return PreparePlan(
        steps=steps, labelled=labelled, split_by=split_by, split_test=split_test, read=read, columns=columns
    )


def _sources(steps: RowSteps, wanted: set[str]) -> set[str]:
    """The columns to read for `wanted`: they themselves where not derived, and what the steps look at."""
    derived = {name for name, _ in steps.derive}
    looked_at = set(steps.where.columns) if steps.where else set()
    for _, expression in steps.derive:
        looked_at |= set(expression.columns)
    return (wanted | looked_at) - derived


def _split_column(keys: Sequence[Column], where: str, chosen: Sequence[str]) -> Column:
    if SPLIT_COLUMN in chosen:
        raise InvalidInput(
            f"{where}: split: the output has a column '{SPLIT_COLUMN}' already; leave it out or rename it"
        )
    return Column(
        name=SPLIT_COLUMN,
        type=pa.string(),
        required=True,
        classification=inherited_classification(keys),
        masks=tuple(dict.fromkeys(mask for key in keys for mask in key.masks)),
    )


def _derived_columns(
    steps: RowSteps, available: Mapping[str, Column], given: GovernedInput, where: str
) -> dict[str, Column]:
    known = dict(available)
    for name, expression in steps.derive:
        place = f"{where}: derive.{name}"
        _require_known(expression.columns, known, given, place)
        schema = _schema_of(known.values())
        sources = [known[source] for source in expression.columns]
        known[name] = Column(
            name=name,
            type=result_type(expression, schema, where=place),
            required=False,
            classification=inherited_classification(sources),
            # made from masked values: what was masked there is masked here
            masks=tuple(dict.fromkeys(mask for source in sources for mask in source.masks)),
            origins=tuple(sorted({name for source in sources for name in source.origins or (source.name,)})),
        )
    return {name: column for name, column in known.items() if name not in available}


def _require_condition(expression: Expression, known: Mapping[str, Column], given: GovernedInput, where: str) -> None:
    _require_known(expression.columns, known, given, where)
    kind = result_type(expression, _schema_of(known.values()), where=where)
    if not (pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise InvalidInput(f"{where}: the expression gives {kind}; expected a condition, true or false")


def _schema_of(columns: Iterable[Column]) -> pa.Schema:
    return pa.schema([pa.field(column.name, column.type) for column in columns])


def inherited_classification(sources: Sequence[Column]) -> str:
    """All classifications of `sources`, joined by ``+``: a policy must allow each of them."""
    parts = {part for column in sources for part in column.classification.split("+")}
    return "+".join(sorted(parts)) if parts else "public"


def _require_known(names: Sequence[str], known: Mapping[str, Column], given: GovernedInput, where: str) -> None:
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    in_contract = [name for name in unknown if name in {column.name for column in given.dataset.contract.columns}]
    if in_contract:
        given.grant.require_columns(in_contract, what=where)
    if unknown:
        name = unknown[0]
        raise InvalidInput(f"{where}: no column '{name}' in dataset '{given.dataset.name}'.{near_match(name, known)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareContext:
    """What a worker needs to prepare units."""

    source: Source
    plan: PreparePlan
    storage: str
    output: str
    run: str


def prepare_unit(context: PrepareContext, unit: Unit) -> UnitRecord:
    """The record of `unit`, prepared and written by this attempt or by an earlier one."""
    plan = context.plan
    read = read_unit(context.source, unit, plan.read)
    table, filtered = plan.steps.apply(read.table)
    if plan.labelled is not None:
        labelled = table.filter(evaluate_predicate(plan.labelled, table))
        filtered, table = filtered + table.num_rows - labelled.num_rows, labelled
    if plan.split_by:
        sides = assign_split([table.column(name) for name in plan.split_by], test=plan.split_test)
        if SPLIT_COLUMN in table.column_names:  # one that a step looked at, and that isn't kept
            table = table.drop_columns([SPLIT_COLUMN])
        table = table.append_column(SPLIT_COLUMN, sides)
    return commit_unit(
        open_store(context.storage),
        open_files(context.storage),
        dataset=context.output,
        run=context.run,
        input_dataset=context.source.dataset,
        table=_as_declared(table, plan.columns),
        quarantined=read.quarantined,
        receipt=read.receipt.with_filtered_by_job(filtered),
    )


def _as_declared(table: pa.Table, columns: Sequence[Column]) -> pa.Table:
    schema = _schema_of(columns)
    return table.select(schema.names).cast(schema).combine_chunks()


def run_prepare(
    job: PrepareJob, given: GovernedInput, work: Work, *, storage: str, where: str
) -> tuple[Manifest, Snapshot]:
    """The published output of `job`: every unit prepared once, then one manifest.

    Raises
    ------
    ContractViolation : more rows break a rule than it allows; nothing is published.
    """
    store = open_store(storage)
    plan = plan_prepare(job, given, where=where)
    context = PrepareContext(source=given.source, plan=plan, storage=storage, output=job.output, run=work.run)
    done = committed_units(store, job.output, work.run)
    records = work.map_units("prepare", prepare_unit, context, given.units, done=done)
    by_unit = {record.unit: record for record in records}
    with work.phase("publish"):
        require_within_thresholds(given, records)
        return publish(
            store,
            dataset=job.output,
            run=work.run,
            zone=given.dataset.zone,
            columns=plan.columns,
            units=given.units,
            records=by_unit,
            lineage=prepare_lineage(plan, given),
        )


def prepare_lineage(plan: PreparePlan, given: GovernedInput) -> Record:
    """What the manifest says of where the output came from."""
    return {
        "kind": "prepare",
        "input": given.dataset.name,
        "input_snapshot": given.dataset.snapshot.number,
        "input_digest": given.dataset.snapshot.content_digest,
        "effect": given.grant.effect.digest,
        "policy": given.grant.policy_digest,
        "preparation": plan.declaration(),
        "preparation_digest": digest(plan.declaration()),
        "source_columns": [column.record() for column in given.granted_columns()],
        "split": SPLIT_COLUMN if plan.split_by else None,
    }


def require_within_thresholds(given: GovernedInput, records: Sequence[UnitRecord]) -> None:
    """Nothing, unless the units together break a contract rule more often than it allows."""
    from dataops.errors import ContractViolation
    from dataops.governance.checking import over_threshold

    rules = given.dataset.contract.rules
    broken = [sum(record.receipt.broken.get(rule.id, 0) for record in records) for rule in rules]
    checked = int(np.sum([record.receipt.read - record.receipt.filtered_by_policy for record in records]))
    findings = over_threshold(given.dataset.contract, broken, checked)
    if findings:
        listed = "\n  ".join(findings)
        raise ContractViolation(
            f"dataset '{given.dataset.name}' breaks its contract; nothing was published:\n  {listed}"
        )
