"""Which columns an output's columns come from, told from the plan of the job that makes it.

1. A plan knows its columns before a row is read, so this needs no run and no data.
2. A derived column comes from the columns of the input behind it, however many steps lie between.
3. What decided which rows there are is told apart: row filters of the policies, the job's own conditions, rules of the
   contract that set rows aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataops.datasets.access import GovernedInput
from dataops.declarations.inputs import INPUT
from dataops.declarations.outputs import column_name
from dataops.features.steps import RowSteps
from dataops.governance.conditions import columns_of_rule
from dataops.governance.contract import Action
from dataops.governance.expressions import Expression, parse_expression
from dataops.governance.lineage import PREDICTION_FIELD, ColumnLineage, ColumnUse, DatasetId, Subtype
from dataops.preparation.join_plan import Joined, JoinPlan
from dataops.preparation.prepare import PreparePlan
from dataops.rescoring.plan import ScorePlan
from dataops.rescoring.unit_plan import ScoredModel

if TYPE_CHECKING:
    from dataops.training.plan import TrainPlan

SETS_ASIDE = frozenset({Action.DROP, Action.QUARANTINE, Action.FAIL})


@dataclass(frozen=True, slots=True, kw_only=True)
class InputColumns:
    """The columns of one input under its grant, called `id`; `derive` is what the job makes of them first."""

    given: GovernedInput
    id: DatasetId
    derive: Mapping[str, Expression]

    def sources(self, names: Iterable[str]) -> tuple[str, ...]:
        """The columns of the input that stand behind `names`, sorted."""
        found: set[str] = set()
        for name in names:
            expression = self.derive.get(name)
            found |= {name} if expression is None else set(self.sources(expression.columns))
        return tuple(sorted(found))

    def uses(self, names: Iterable[str], subtype: Subtype, why: str) -> tuple[ColumnUse, ...]:
        """That something depends on `names`, as the grant shows them."""
        return tuple(
            self._use(name, subtype, why, masking=self._mask(name) is not None) for name in self.sources(names)
        )

    def kept(self, name: str) -> tuple[ColumnUse, ...]:
        """A column that is passed on: as it is, under its mask, or derived."""
        if name in self.derive:
            return self.uses([name], Subtype.TRANSFORMATION, "derived")
        mask = self._mask(name)
        if mask is None:
            return (self._use(name, Subtype.IDENTITY, "", masking=False),)
        return (self._use(name, Subtype.TRANSFORMATION, f"mask: {mask}", masking=True),)

    def rows(self) -> Iterator[ColumnUse]:
        """The columns by which policies and contract leave rows out, seen without masks."""
        for sql in self.given.grant.effect.filters:
            for name in parse_expression(sql, where="row filter").columns:
                yield self._use(name, Subtype.FILTER, "policy", masking=False)
        for rule in self.given.dataset.contract.rules:
            if rule.action in SETS_ASIDE:
                for name in sorted(columns_of_rule(rule)):
                    yield self._use(name, Subtype.FILTER, "contract", masking=False)

    def _mask(self, name: str) -> str | None:
        mask = self.given.grant.effect.columns.get(name)
        return None if mask is None else str(mask.kind)

    def _use(self, name: str, subtype: Subtype, why: str, *, masking: bool) -> ColumnUse:
        return ColumnUse(dataset=self.id, column=name, subtype=subtype, masking=masking, why=why)


def prepared_from(plan: PreparePlan, given: GovernedInput, dataset: DatasetId) -> ColumnLineage:
    """Of the columns that a prepare job makes."""
    columns = InputColumns(given=given, id=dataset, derive=dict(plan.steps.derive))
    names = [column.name for column in plan.columns]
    fields = {name: columns.kept(name) for name in names}
    if plan.job.split is not None:  # its column is the last one, and made of the keys
        fields[names[-1]] = columns.uses(plan.job.split.key_columns, Subtype.TRANSFORMATION, "split")
    rows = [*columns.rows(), *_conditions(columns, plan.steps)]
    if plan.labelled is not None:
        rows += columns.uses(plan.labelled.columns, Subtype.FILTER, "labelled")
    return ColumnLineage(fields=fields, rows=_distinct(rows))


def joined_from(plan: JoinPlan, inputs: Mapping[str, tuple[GovernedInput, DatasetId]]) -> ColumnLineage:
    """Of the columns that a join job makes.

    Parameters
    ----------
    inputs : what is read and what it is called, by the run's name of the input.
    """
    columns = {name: InputColumns(given=given, id=dataset, derive={}) for name, (given, dataset) in inputs.items()}
    main, job = columns[INPUT], plan.job
    fields = {name: main.kept(name) for name in (*plan.kept, *job.group_by)}
    keys = main.uses(job.group_by, Subtype.TRANSFORMATION, "group by")
    for name, counted in job.aggregations.items():
        fields[name] = _distinct([*main.uses(counted.columns, Subtype.AGGREGATION, counted.measure), *keys])
    rows = [*main.rows()]
    if job.deduplicate is not None:
        rows += main.uses(job.deduplicate.columns, Subtype.FILTER, "deduplicate")
    for one in plan.joins:
        fields |= _fields_of(one, main, columns[one.name])
        rows += columns[one.name].rows()
        if one.join.deduplicate is not None:
            rows += columns[one.name].uses(one.join.deduplicate.columns, Subtype.FILTER, "deduplicate")
        if one.join.how == "inner" or one.join.expect == "many":
            rows += _found_by(one, main, columns[one.name], Subtype.FILTER)
    return ColumnLineage(fields=fields, rows=_distinct(rows))


def _fields_of(one: Joined, main: InputColumns, theirs: InputColumns) -> dict[str, tuple[ColumnUse, ...]]:
    """The columns that a join adds: their own, and the keys and times that found them."""
    found = _found_by(one, main, theirs, Subtype.TRANSFORMATION)
    counted = one.join.aggregations
    fields = {name: theirs.kept(source) for name, source in one.join.named.items()}
    fields |= {name: theirs.uses(it.columns, Subtype.AGGREGATION, it.measure) for name, it in counted.items()}
    return {name: _distinct([*uses, *found]) for name, uses in fields.items()}


def _found_by(one: Joined, main: InputColumns, theirs: InputColumns, subtype: Subtype) -> tuple[ColumnUse, ...]:
    join, asof = one.join, one.join.asof
    times = ((asof.at,), asof.columns) if asof else ((), ())
    ours = main.uses([*join.on, *times[0]], subtype, "joined by")
    return (*ours, *theirs.uses([*join.keys, *times[1]], subtype, "joined by"))


def learnt_from(plan: TrainPlan, given: GovernedInput, dataset: DatasetId) -> ColumnLineage:
    """Of a model's features, and of its prediction, which all of them and the target went into; what it is judged on
    made nothing of it.
    """
    columns = InputColumns(given=given, id=dataset, derive={})
    fields = {
        column.name: columns.uses([column.name], Subtype.AGGREGATION, "feature learnt from") for column in plan.columns
    }
    weight = columns.uses([plan.job.weight] if plan.job.weight else [], Subtype.AGGREGATION, "weight")
    target = columns.uses(plan.learn.target.columns, Subtype.AGGREGATION, "target learnt from")
    learnt = [use for uses in fields.values() for use in uses]
    fields[PREDICTION_FIELD] = _distinct([*target, *weight, *learnt])
    rows = [*columns.rows(), *columns.uses(plan.learn.target.columns, Subtype.FILTER, "target known")]
    if plan.learn.split_column is not None:
        rows += columns.uses([plan.learn.split_column], Subtype.FILTER, "split")
    return ColumnLineage(fields=fields, rows=_distinct(rows))


def scored_from(plan: ScorePlan, given: GovernedInput, dataset: DatasetId, registry: str) -> ColumnLineage:
    """Of kept columns and scores; models are datasets of the namespace `registry`."""
    kept = InputColumns(given=given, id=dataset, derive={})
    fields = {name: kept.kept(name) for name in plan.job.keep}
    for model in plan.models:
        score = _scored_from(model, given, dataset, DatasetId(namespace=registry, name=model.version.model))
        fields |= {column_name(output, model.name): score for output in plan.outputs}
    steps = plan.models[0].program.steps  # all models of a pass keep the same rows
    columns = InputColumns(given=given, id=dataset, derive=dict(steps.derive))
    return ColumnLineage(fields=fields, rows=_distinct([*columns.rows(), *_conditions(columns, steps)]))


def _scored_from(
    model: ScoredModel, given: GovernedInput, dataset: DatasetId, artefact: DatasetId
) -> tuple[ColumnUse, ...]:
    columns = InputColumns(given=given, id=dataset, derive=dict(model.program.steps.derive))
    said = ColumnUse(dataset=artefact, column=PREDICTION_FIELD, subtype=Subtype.TRANSFORMATION, why="model")
    return (*columns.uses(model.program.source_columns(), Subtype.TRANSFORMATION, "scored"), said)


def _conditions(columns: InputColumns, steps: RowSteps) -> tuple[ColumnUse, ...]:
    return columns.uses(steps.where.columns if steps.where else (), Subtype.FILTER, "job")


def _distinct(uses: Iterable[ColumnUse]) -> tuple[ColumnUse, ...]:
    return tuple(dict.fromkeys(uses))
