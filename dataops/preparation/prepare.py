"""Prepare jobs: a governed dataset, row-wise steps, a split, a new snapshot of the output.

1. Columns and expressions are checked against the grant before a row is read.
2. A column of the output carries the classification of all it was made from, the names of these (`origins`) and the
   masks that were applied to them; so does the one that says on which side of the split a row is.
3. The output's manifest carries the steps themselves, so that a model trained on it can put them in front of raw data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import committed_units
from dataops.datasets.publish import publish, require_within_thresholds
from dataops.datasets.snapshot import Manifest, Snapshot
from dataops.declarations.prepare import PrepareJob, Split, parse_moment
from dataops.engine.work import Work
from dataops.errors import InvalidInput
from dataops.features.steps import RowSteps
from dataops.governance.contract import Column, derived_contract, inherited_classification, schema_of
from dataops.governance.expressions import Expression, parse_expression, result_type
from dataops.governance.marks import derived_marks, derived_origins, side_marks
from dataops.preparation.prepare_unit import PrepareContext, UnitPlan, prepare_unit
from dataops.preparation.split import SPLIT_COLUMN, Sides, split_start
from dataops.records import Record, digest
from dataops.storage.objects import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparePlan:
    """A prepare job, resolved against what may be read."""

    job: PrepareJob
    steps: RowSteps
    labelled: Expression | None
    read: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def of_units(self) -> UnitPlan:
        """What workers are told of it."""
        return UnitPlan(
            steps=self.steps,
            labelled=self.labelled,
            sides=None if self.job.split is None else _sides(self.job.split),
            read=self.read,
            columns=self.columns,
            output=self.job.output,
        )

    def declaration(self) -> Record:
        """What a model needs to repeat the preparation on raw data; its digest names the preparation."""
        return {
            "steps": self.steps.record(),
            "labelled": self.labelled and self.labelled.sql,
            "columns": [column.name for column in self.columns],
        }


def _sides(split: Split) -> Sides:
    start = None if split.test_from is None else parse_moment(split.test_from)
    return Sides(keys=split.key_columns, test=split.test or 0.0, start=start)


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
        generalise=given.generalisations(),
        derive=tuple(
            (name, parse_expression(text, where=f"{where}: derive.{name}")) for name, text in job.derive.items()
        ),
        where=parse_expression(job.where, where=f"{where}: where") if job.where else None,
    )
    labelled = parse_expression(job.labelled, where=f"{where}: labelled") if job.labelled else None
    split_by = job.split.key_columns if job.split else ()
    available = {column.name: column for column in given.masked_columns()}
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
    if job.split is not None and job.split.test_from is not None:
        _require_comparable(job.split.test_from, everything[split_by[0]].type, f"{where}: split.test_from")
    if split_by:
        columns = (*columns, _split_column([everything[name] for name in split_by], given, where, chosen))
    derived_contract(job.output, columns)  # refuses names that a reader would take for one another
    sources = steps.sources_for((*chosen, *split_by, *(labelled.columns if labelled else ())))
    # of constants alone, any column says how many rows there are
    read = tuple(name for name in available if name in sources) or tuple(available)[:1]
    return PreparePlan(job=job, steps=steps, labelled=labelled, read=read, columns=columns)


def _require_comparable(text: str, type_: pa.DataType, where: str) -> None:
    try:
        split_start(parse_moment(text), type_)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from None


def _split_column(keys: Sequence[Column], given: GovernedInput, where: str, chosen: Sequence[str]) -> Column:
    if SPLIT_COLUMN in chosen:
        raise InvalidInput(
            f"{where}: split: the output has a column '{SPLIT_COLUMN}' already; leave it out or rename it"
        )
    return Column(
        name=SPLIT_COLUMN,
        type=pa.string(),
        required=True,
        classification=inherited_classification(keys),
        masks=side_marks(keys, [one.mask for one in given.grant.decisions if one.mask is not None]),
        origins=derived_origins(keys),
    )


def _derived_columns(
    steps: RowSteps, available: Mapping[str, Column], given: GovernedInput, where: str
) -> dict[str, Column]:
    known = dict(available)
    for name, expression in steps.derive:
        place = f"{where}: derive.{name}"
        _require_known(expression.columns, known, given, place)
        schema = schema_of(known.values())
        sources = [known[source] for source in expression.columns]
        known[name] = Column(
            name=name,
            type=result_type(expression, schema, where=place),
            required=False,
            classification=inherited_classification(sources),
            # made from masked values: what was masked there is masked here
            masks=derived_marks(sources),
            origins=derived_origins(sources),
        )
    return {name: column for name, column in known.items() if name not in available}


def _require_condition(expression: Expression, known: Mapping[str, Column], given: GovernedInput, where: str) -> None:
    _require_known(expression.columns, known, given, where)
    kind = result_type(expression, schema_of(known.values()), where=where)
    if not (pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise InvalidInput(f"{where}: the expression gives {kind}; expected a condition, true or false")


def _require_known(names: Sequence[str], known: Mapping[str, Column], given: GovernedInput, where: str) -> None:
    """Nothing, if all `names` are among the columns that may be read and those that are derived."""
    given.require_columns([name for name in names if name not in known], where=where, beside=known)


def run_prepare(
    plan: PreparePlan, given: GovernedInput, work: Work, *, storage: str, replay_of: str | None = None
) -> tuple[Manifest, Snapshot]:
    """The published output of the job: every unit prepared once, then one manifest.

    Parameters
    ----------
    replay_of : the run whose quarantine the units of `given` take: what passes is added to what it made.

    Raises
    ------
    ContractViolation : more rows break a rule than it allows; nothing is published.
    """
    store = open_store(storage)
    context = PrepareContext(source=given.source, plan=plan.of_units, storage=storage, run=work.run)
    done = committed_units(store, plan.job.output, work.run)
    records = work.map_units("prepare", prepare_unit, context, given.units, done=done)
    with work.phase("publish"):
        require_within_thresholds(given, [record.receipt for record in records])
        return publish(
            store,
            dataset=plan.job.output,
            run=work.run,
            zone=given.dataset.zone,
            columns=plan.columns,
            units=given.units,
            records={record.unit: record for record in records},
            lineage=prepare_lineage(plan, given),
            replay_of=replay_of,
        )


def _split_by(split: Split) -> Record:
    """The columns that decide on which side a row is; no moment and no share of them."""
    return {"time": split.time} if split.time is not None else {"keys": list(split.key_columns)}


def prepare_lineage(plan: PreparePlan, given: GovernedInput) -> Record:
    """What the manifest says of where the output came from."""
    before = given.dataset.lineage.get("preparation_digest")
    return {
        "kind": "prepare",
        **given.lineage(),
        "preparation": plan.declaration(),
        "preparation_digest": digest(plan.declaration()),
        "source_columns": [column.record() for column in given.granted_columns()],
        "split": SPLIT_COLUMN if plan.job.split else None,
        **({"split_by": _split_by(plan.job.split)} if plan.job.split else {}),
        **({"input_preparation_digest": before} if before else {}),
    }
