"""Rescoring: one model version over a whole dataset, each row scored once.

1. A model version carries its feature program: raw data goes through the very preparation that made the training set.
   Data that this preparation made goes straight to the encoder; data prepared otherwise is refused.
2. Parts hold keys and scores, no time and no attempt: the same version on the same units gives the same bytes.
3. A score is derived from every column that the program reads: it has their classifications, names and marks.
4. The predictor is loaded once per worker process, by digest, with the threads of one unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord, commit_unit, committed_units
from dataops.datasets.publish import publish, require_within_thresholds
from dataops.datasets.reading import Source
from dataops.datasets.scan import read_unit
from dataops.datasets.snapshot import Manifest, Snapshot
from dataops.datasets.units import Unit
from dataops.declarations.jobs import RescoreJob
from dataops.engine.work import Work
from dataops.errors import ContractViolation, Integrity, InvalidInput
from dataops.features.program import FeatureProgram
from dataops.governance.contract import Column, inherited_classification
from dataops.governance.marks import derived_marks, derived_origins
from dataops.models.predictor import Predictor, load_predictor
from dataops.records import Record
from dataops.registry.versions import LoadedVersion, ModelVersion, Registry
from dataops.storage.files import open_files
from dataops.storage.objects import open_store

PROBABILITY, PREDICTION = "probability", "prediction"
THRESHOLD = 0.5
SCORE_BINS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePlan:
    """A rescore job, resolved against the model version and what may be read."""

    job: RescoreJob
    model: ModelVersion
    program: FeatureProgram
    read: tuple[str, ...]
    columns: tuple[Column, ...]


def plan_rescore(job: RescoreJob, given: GovernedInput, version: LoadedVersion, *, where: str) -> ScorePlan:
    """`job` over `given` with `version`.

    Raises
    ------
    AccessDenied : the model or `keep` needs a column that the policies deny for scoring, or the model one that they
        mask otherwise than it learnt.
    InvalidInput : the data lacks a column, or was prepared by another declaration than the model's training set.
    """
    program = program_for(given, version, where=where)
    granted = {column.name: column for column in given.masked_columns()}
    for names, place in (
        (program.source_columns(), f"{where}: model {version.version.reference}"),
        (job.keep, f"{where}: keep"),
    ):
        given.require_columns(names, where=place)
    given.grant.require_masks(
        program.source_columns(),
        version.package.program.steps.generalise,
        what=f"{where}: model {version.version.reference}",
    )
    clash = sorted({PROBABILITY, PREDICTION} & set(job.keep))
    if clash:
        raise InvalidInput(f"{where}: keep: '{clash[0]}' is a column that scores have themselves")
    scored = [granted[name] for name in program.source_columns()]
    outputs = (_output(PROBABILITY, pa.float32(), scored), _output(PREDICTION, pa.bool_(), scored))
    read = tuple(name for name in granted if name in {*program.source_columns(), *job.keep})
    columns = (*(granted[name] for name in job.keep), *outputs)
    return ScorePlan(job=job, model=version.version, program=program, read=read, columns=columns)


def _output(name: str, type_: pa.DataType, sources: Sequence[Column]) -> Column:
    """A column of scores, derived from `sources`: what restricts one of them restricts it."""
    return Column(
        name=name,
        type=type_,
        required=True,
        classification=inherited_classification(sources),
        masks=derived_marks(sources),
        origins=derived_origins(sources),
    )


def program_for(given: GovernedInput, version: LoadedVersion, *, where: str) -> FeatureProgram:
    """The model's program as `given` needs it: whole for raw data, without steps for data that its own preparation
    made.
    """
    trained_on = version.package.lineage.get("preparation_digest")
    made_by = given.dataset.lineage.get("preparation_digest")
    if made_by is None:
        return version.package.program
    if made_by != trained_on:
        raise InvalidInput(
            f"{where}: dataset '{given.dataset.name}' was prepared by another declaration than the training set of "
            f"{version.version.reference}; rescore the raw data, or prepare it as the model's training set was"
        )
    return version.package.program.after_preparation()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreContext:
    """What a worker needs to score units."""

    source: Source
    plan: ScorePlan
    storage: str
    registry: str
    run: str


@lru_cache(maxsize=4)
def _predictor(registry: str, model: ModelVersion) -> Predictor:
    # workers only read the registry, and it may be all that they can do there
    loaded = Registry(open_store(registry, read_only=True)).read(model.model, model.version)
    if loaded.version != model:
        raise Integrity(f"{model.reference} changed after the run was planned; start a new run")
    return load_predictor(loaded.package.model_format, loaded.package.model, threads=1)


def score_unit(context: ScoreContext, unit: Unit) -> UnitRecord:
    """The record of `unit`, scored and written by this attempt or by an earlier one."""
    plan = context.plan
    read = read_unit(context.source, unit, plan.read)
    table, encoded = plan.program.run(read.table)
    probability = _predictor(context.registry, plan.model).predict(encoded)
    if len(probability) != table.num_rows:
        raise ContractViolation(f"unit {unit.id}: {table.num_rows} rows went in, {len(probability)} scores came out")
    scores = {
        **{name: table.column(name) for name in plan.job.keep},
        PROBABILITY: pa.array(probability, pa.float32()),
        PREDICTION: pa.array(probability >= THRESHOLD, pa.bool_()),
    }
    return commit_unit(
        open_store(context.storage),
        open_files(context.storage),
        dataset=plan.job.output,
        run=context.run,
        input_dataset=context.source.dataset,
        table=pa.table(scores),
        quarantined=read.quarantined,
        receipt=read.receipt.with_filtered_by_job(read.table.num_rows - table.num_rows),
        summary={"scores": score_histogram(probability), "unknown": dict(encoded.unknown)},
    )


def score_histogram(probability: np.ndarray) -> list[int]:
    """Rows in each of `SCORE_BINS` equal bins of [0, 1]."""
    counts, _ = np.histogram(probability, bins=SCORE_BINS, range=(0.0, 1.0))
    return [int(count) for count in counts]


def run_rescore(
    plan: ScorePlan, given: GovernedInput, work: Work, *, storage: str, registry: str, replay_of: str | None = None
) -> tuple[Manifest, Snapshot, Record]:
    """The published scores of the job, and figures for its report.

    Parameters
    ----------
    replay_of : the run whose quarantine the units of `given` take: what passes is added to what it made.

    Raises
    ------
    ContractViolation : more rows were set aside than ``errors.max_rate`` or a rule allows; nothing is published.
    """
    store = open_store(storage)
    context = ScoreContext(source=given.source, plan=plan, storage=storage, registry=registry, run=work.run)
    done = committed_units(store, plan.job.output, work.run)
    records = work.map_units("score", score_unit, context, given.units, done=done)
    with work.phase("publish"):
        require_within_thresholds(given, [record.receipt for record in records])
        if replay_of is None:  # all rows of a replay were set aside once: their rate says nothing
            _require_error_rate(plan.job, given, records)
        manifest, snapshot = publish(
            store,
            dataset=plan.job.output,
            run=work.run,
            zone=given.dataset.zone,
            columns=plan.columns,
            units=given.units,
            records={record.unit: record for record in records},
            lineage={
                "kind": "rescore",
                **given.lineage(),
                "model": plan.model.model,
                "model_version": plan.model.version,
                "model_digest": plan.model.digest,
            },
            replay_of=replay_of,
        )
    return manifest, snapshot, score_figures(records)


def _require_error_rate(job: RescoreJob, given: GovernedInput, records: Sequence[UnitRecord]) -> None:
    aside = sum(record.receipt.quarantined for record in records)
    checked = sum(record.receipt.read - record.receipt.filtered_by_policy for record in records)
    if checked and aside / checked > job.errors.max_rate:
        raise ContractViolation(
            f"{aside} of {checked} rows of '{given.dataset.name}' were quarantined, {aside / checked:.3%}; "
            f"errors.max_rate allows {job.errors.max_rate:.3%}. Nothing was published: mend the data, or raise "
            "errors.max_rate"
        )


def score_figures(records: Sequence[UnitRecord]) -> dict[str, Any]:
    """What a report shows of the scores of all units together."""
    histogram = np.sum([record.summary["scores"] for record in records] or [[0] * SCORE_BINS], axis=0)
    unknown: dict[str, int] = {}
    for record in records:
        for name, count in record.summary["unknown"].items():
            unknown[name] = unknown.get(name, 0) + count
    return {"scores": [int(count) for count in histogram], "unknown_categories": unknown}
