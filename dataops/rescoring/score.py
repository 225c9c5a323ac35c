"""Scoring one unit: one governed read, every model of the pass over it, one part.

1. Parts hold keys and scores, no time and no attempt: the same versions on the same units give the same bytes.
2. A predictor is loaded once per worker process, by digest, with the threads of one unit.
3. Models of equal feature programs share the encoded rows.
4. One row goes in, one score comes out: a model that gives more or fewer fails the unit. A row whose score is no
   probability, no finite number of a regression, or no cluster, fails as one that can't be scored does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataops.datasets.commit import UnitRecord, commit_unit, open_storage
from dataops.datasets.error_rows import key_columns
from dataops.datasets.reading import Source
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.datasets.units import Unit
from dataops.declarations.metrics import Task
from dataops.declarations.outputs import OWN
from dataops.engine.tasks import Later
from dataops.errors import ContractViolation, Integrity, InvalidInput
from dataops.features.columns import Floats32
from dataops.features.encoder import Encoded
from dataops.features.slices import slice_places
from dataops.governance.plain_types import plain_column
from dataops.models.boosted import BoostedModel
from dataops.models.onedal import with_kernel
from dataops.models.package import StoredModel
from dataops.models.predictor import Kernel, Predictor
from dataops.records import Record
from dataops.registry.versions import ModelVersion, Registry
from dataops.rescoring.impact import count_impact
from dataops.rescoring.monitored import count_drift
from dataops.rescoring.outputs import score_columns
from dataops.rescoring.ranks import count_ranks
from dataops.rescoring.row_errors import NO_ROW, Reasons
from dataops.rescoring.scales import scale_of
from dataops.rescoring.unit_errors import error_rows, try_unit
from dataops.rescoring.unit_plan import ScoredModel, UnitPlan
from dataops.storage.objects import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreContext:
    """What a worker needs to score units.

    Attributes
    ----------
    most_failed : rows that may fail in the whole run; None: any number.
    kernels : what scores XGBoost's trees, by the model's name in the job; see `dataops.rescoring.kernels`.
    """

    source: Source
    plan: UnitPlan
    storage: str
    registry: str
    run: str
    most_failed: int | None = None
    kernels: Mapping[str, Kernel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What came of some rows.

    Attributes
    ----------
    table : kept columns and scores, one row per row that the programs' condition keeps.
    summary : small counts, see `dataops.rescoring.figures`.
    """

    table: pa.Table
    summary: Mapping[str, Any]


class NoProbability(InvalidInput):
    """What a model gave for a row isn't a number from 0 to 1."""


class NoNumber(InvalidInput):
    """What a regression gave for a row isn't a finite number."""


class NoCluster(InvalidInput):
    """A row lies farther from each centre than float32 can say."""


_STRANGE: Mapping[Task, type[InvalidInput]] = {
    Task.BINARY: NoProbability,
    Task.REGRESSION: NoNumber,
    Task.CLUSTERS: NoCluster,
}


def score_unit(context: ScoreContext, unit: Unit, *, killers: Reasons = NO_ROW) -> UnitRecord:
    """The record of `unit`, scored and written by this attempt or by an earlier one; see `begin_unit`."""
    record: UnitRecord = begin_unit(context, unit, killers=killers).finish()
    return record


def begin_unit(context: ScoreContext, unit: Unit, *, killers: Reasons = NO_ROW) -> Later:
    """The record of `unit`, once it is written: scored by now, while the unit before it is being written.

    Parameters
    ----------
    killers : rows (by their offset among those that are read) that kill whoever scores them, see `probe`.
    """
    plan = context.plan
    keys, read = _keys(context), read_for_scoring(context, unit)
    score = partial(score_rows, plan, load_predictors(context))
    tried = try_unit(score, unit, read, killers=killers, most=context.most_failed)
    scored, failed = tried.result, tried.failed
    receipt = read.receipt.with_failed(len(failed))
    commit = partial(
        commit_unit,
        *open_storage(context.storage),
        dataset=plan.output,
        run=context.run,
        input_dataset=context.source.dataset,
        table=_sorted(scored.table, plan.sort_by),
        quarantined=read.quarantined,
        receipt=receipt.with_filtered_by_job(receipt.passed - scored.table.num_rows),
        summary=scored.summary,
        errors=error_rows(unit, read, keys, failed),
    )
    return Later(commit)


def read_for_scoring(context: ScoreContext, unit: Unit) -> GovernedRead:
    """What is scored of `unit`: the same to the bit, dictionaries too, for whoever scores or tries it."""
    return read_unit(context.source, unit, context.plan.read, keys=_keys(context), encoded=True)


def _keys(context: ScoreContext) -> tuple[str, ...]:
    return tuple(key_columns(context.source.contract, context.plan.keep))


def load_predictors(context: ScoreContext) -> dict[str, Predictor]:
    """The predictors of the plan's models, by their names in the job."""
    kernels = context.kernels
    return {
        model.name: read_predictor(context.registry, model.version, kernels.get(model.name, "xgboost"))
        for model in context.plan.models
    }


@lru_cache(maxsize=16)
def read_predictor(registry: str, model: ModelVersion, kernel: Kernel = "xgboost") -> Predictor:
    """The predictor of a version in the registry at `registry`, as it was when the run was planned."""
    return make_predictor(read_model(registry, model), kernel)


def read_model(registry: str, model: ModelVersion) -> StoredModel:
    """The model of a version in the registry at `registry`, as it was when the run was planned.

    The plan has the version's program, parsed: its expressions need the parser of SQL, which takes longer to import
    than many a unit to score.
    """
    # workers only read the registry, and it may be all that they can do there
    version, stored = Registry(open_store(registry, read_only=True)).read_model(model.model, model.version)
    if version != model:
        raise Integrity(f"{model.reference} changed after the run was planned; start a new run")
    return stored


def make_predictor(stored: StoredModel, kernel: Kernel) -> Predictor:
    """The predictor of `stored`, of one thread."""
    predictor = stored.predictor()
    return with_kernel(predictor, kernel, threads=1) if isinstance(predictor, BoostedModel) else predictor


def score_rows(plan: UnitPlan, predictors: Mapping[str, Predictor], table: pa.Table) -> Scored:
    """The scores of the rows of `table` by every model of `plan`.

    Raises
    ------
    InvalidInput : a column that the programs can't take.
    ContractViolation : a model gave more or fewer scores than there are rows.
    NoProbability, NoNumber, NoCluster : a score isn't one of 0 to 1, no finite number, or no cluster.
    """
    runs = {model.program_digest: model.program for model in plan.models}
    encoded = {digest: program.run(table) for digest, program in runs.items()}
    kept, _ = encoded[plan.models[0].program_digest]
    columns = {name: kept.column(name) for name in plan.keep}
    predictions, unknown, profile = {}, {}, {}
    for model in plan.models:
        _, rows = encoded[model.program_digest]
        predictions[model.name], scores = _score_model(plan, model, predictors[model.name], rows)
        columns |= scores
        unknown[model.name] = dict(rows.unknown)
        if model.monitored is not None:
            profile[model.name] = count_drift(model.monitored, rows, predictions[model.name], kept)
    summary = {"unknown": unknown, "profile": profile, **_counted(plan, predictions, kept)}
    return Scored(table=pa.table(columns), summary=summary)


def _counted(plan: UnitPlan, predictions: Mapping[str, Floats32], kept: pa.Table) -> dict[str, Any]:
    """What a unit's record keeps of the scores of its rows."""
    scale = scale_of(plan.task)
    edges = {model.name: model.score_edges if scale.by_cells else model.decile_edges for model in plan.models}
    scores = {model.name: scale.histogram(predictions[model.name], edges[model.name]) for model in plan.models}
    return {"scores": scores, **({"impact": _impact(plan, predictions, kept)} if plan.challengers else {})}


def _impact(plan: UnitPlan, predictions: Mapping[str, Floats32], kept: pa.Table) -> Record:
    """What is counted of the challengers' scores beside those of the job's own model."""
    own, threshold = predictions[OWN], plan.threshold
    if threshold is None:
        edges = plan.models[0].score_edges
        return {name: count_ranks(own, predictions[name], edges).record() for name in plan.challengers}
    slices = {name: (slice_places(kept.column(name), values), len(values) + 1) for name, values in plan.slices.items()}
    return {
        name: count_impact(own, predictions[name], threshold=threshold, slices=slices).record()
        for name in plan.challengers
    }


def _score_model(
    plan: UnitPlan, model: ScoredModel, predictor: Predictor, rows: Encoded
) -> tuple[Floats32, dict[str, pa.Array]]:
    """The predictions of one model, and its columns."""
    if predictor.task is not plan.task:
        raise Integrity(
            f"model {model.version.reference} is one of task {predictor.task}, and its lineage says {plan.task}"
        )
    scale = scale_of(plan.task)
    found, margin = scale.answers(predictor, rows, plan.outputs)
    if len(found) != rows.rows:
        raise ContractViolation(
            f"model {model.version.reference}: {rows.rows} rows went in, {len(found)} scores came out"
        )
    if not scale.valid(found).all():
        raise _STRANGE[plan.task](f"model {model.version.reference}: scores that aren't {scale.what}")
    columns = score_columns(
        plan.outputs,
        found,
        margin,
        model=model.name,
        threshold=plan.threshold,
        decile_edges=model.decile_edges,
        task=plan.task,
    )
    return found, columns


def _sorted(table: pa.Table, columns: tuple[str, ...]) -> pa.Table:
    """`table` by rising values of `columns`, nulls last, equal rows as they came."""
    if not columns:
        return table
    by = pa.table({name: plain_column(table.column(name)) for name in columns})
    return table.take(pc.sort_indices(by, sort_keys=[(name, "ascending") for name in columns]))
