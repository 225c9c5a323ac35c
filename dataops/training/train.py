"""Train jobs: one pass for the summary, one for the encoded parts, every candidate on the same rows, all of them
registered.

1. Learning reads the input for the purpose ``train``, judging reads it (and other datasets) for ``evaluate``: two
   grants, two reads.
2. The model carries its whole feature program: the steps that prepared its training set, masks that generalise, the
   encoder.
3. Whatever decides the outcome is in the version's lineage: data, grants, preparation, code, seed, trainer, parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dataops.datasets.access import GovernedInput
from dataops.datasets.publish import require_within_thresholds
from dataops.datasets.receipt import COUNTED
from dataops.declarations.jobs import INPUT, TrainJob
from dataops.engine.code import code_identity
from dataops.engine.work import Work
from dataops.features.encoder import Encoder, fit_encoder
from dataops.features.program import FeatureProgram, compose_program
from dataops.features.summary import merge
from dataops.governance.contract import Column, schema_of
from dataops.models.card import TrainedOn, write_card
from dataops.models.package import Package
from dataops.records import Record, now_utc
from dataops.registry.versions import Registry
from dataops.training.evaluate import evaluate_on_cluster
from dataops.training.plan import TrainPlan
from dataops.training.reading import PartContext, SummaryContext, load_parts, read_figures, summarise_unit
from dataops.training.trainers import load_trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One fitted candidate: its model, and per dataset how it does there."""

    name: str
    trainer: str
    params: Mapping[str, Any]
    model_format: str
    model: bytes
    metrics: Mapping[str, Any]


def run_train(
    plan: TrainPlan, inputs: Mapping[str, GovernedInput], work: Work, *, registry: Registry
) -> dict[str, Any]:
    """The run's result: the registered versions with their metrics, and what was read."""
    job, given = plan.job, inputs[INPUT]
    numeric, categorical = job.features.numeric.columns, job.features.categorical.columns
    context = SummaryContext(selection=plan.learn, numeric=numeric, categorical=categorical)
    summarised = work.map_units("summarise", summarise_unit, context, given.units)
    require_within_thresholds(given, [receipt for _, receipt in summarised])
    encoder = fit_encoder(
        merge([summary for summary, _ in summarised]),
        job.features,
        min_group_size=given.grant.effect.min_group_size,
    )
    models = _fit_all(plan, given, encoder, work)
    reads = {INPUT: read_figures([receipt for _, receipt in summarised])}
    metrics = _judge_all(plan, inputs, models, encoder, work, reads)
    candidates = [
        Trained(
            name=candidate_name(job, number),
            trainer=candidate.trainer,
            params=candidate.params,
            model_format=model_format,
            model=model,
            metrics=report,
        )
        for number, (candidate, (model_format, model), report) in enumerate(
            zip(job.candidates, models, metrics, strict=True)
        )
    ]
    with work.phase("register"):
        program = compose_program(_source_schema(given), plan.steps, encoder)
        versions = [_register(plan, given, one, program, registry, run=work.run, reads=reads) for one in candidates]
    return {"model": job.name, "versions": versions, "primary_metric": str(job.evaluate.metrics[0]), "reads": reads}


def _fit_all(plan: TrainPlan, given: GovernedInput, encoder: Encoder, work: Work) -> list[tuple[str, bytes]]:
    """Format and bytes of each candidate's model. The parts end with it: their memory is needed for evaluation."""
    job = plan.job
    parts, _ = load_parts(work, "encode", PartContext(selection=plan.learn, encoder=encoder), given.units)
    models = []
    for number, candidate in enumerate(job.candidates):
        with work.phase(f"fit {candidate_name(job, number)}"):
            models.append(load_trainer(candidate.trainer).fit(parts, candidate.params, job.seed))
    return models


def candidate_name(job: TrainJob, number: int) -> str:
    """What a run calls a candidate: its trainer, numbered where several have the same."""
    trainer = job.candidates[number].trainer
    same = [place for place, candidate in enumerate(job.candidates) if candidate.trainer == trainer]
    return trainer if len(same) == 1 else f"{trainer}-{same.index(number) + 1}"


def _judge_all(
    plan: TrainPlan,
    inputs: Mapping[str, GovernedInput],
    models: Sequence[tuple[str, bytes]],
    encoder: Encoder,
    work: Work,
    reads: dict[str, Any],
) -> list[dict[str, Any]]:
    """Per model: dataset -> report; fills `reads` with what was read for it."""
    reports: list[dict[str, Any]] = [{} for _ in models]
    for input_name, selection in plan.judge.items():
        name = plan.metrics_name(input_name)
        context = PartContext(selection=selection, encoder=encoder)
        parts, receipts = load_parts(work, f"judge on {name}", context, inputs[input_name].units)
        require_within_thresholds(inputs[input_name], receipts)
        for report, (model_format, model) in zip(reports, models, strict=True):
            figures = evaluate_on_cluster(
                parts,
                model_format,
                model,
                plan.job.evaluate.metrics,
                min_group_size=inputs[input_name].grant.effect.min_group_size,
            )
            # named, so that a promotion compares two versions on the same rows only
            report[name] = {"snapshot": inputs[input_name].dataset.snapshot.content_digest, **figures}
        reads[input_name] = read_figures(receipts)
    return reports


def _register(
    plan: TrainPlan,
    given: GovernedInput,
    trained: Trained,
    program: FeatureProgram,
    registry: Registry,
    *,
    run: str,
    reads: Mapping[str, Any],
) -> Record:
    """What the run's result says of the version that `trained` became."""
    job = plan.job
    card = write_card(
        model=job.name,
        target=job.target,
        trainer=trained.trainer,
        params=trained.params,
        data=TrainedOn(
            dataset=given.dataset.name,
            snapshot=f"{given.dataset.snapshot.number} ({given.dataset.snapshot.content_digest})",
            rows=reads[INPUT]["counts"]["passed"],
        ),
        grant=given.grant,
        program=program,
        metrics=trained.metrics,
        purpose=job.description,
        limits=job.limits,
    )
    package = Package(
        program=program,
        model_format=trained.model_format,
        model=trained.model,
        metrics=trained.metrics,
        card=card,
        lineage=_lineage(job, trained, given, run, reads),
        classifications=tuple(sorted({part for one in plan.columns for part in one.classification.split("+")})),
    )
    version = registry.register(job.name, package, at=now_utc())
    return {
        "version": version.version,
        "digest": version.digest,
        "candidate": trained.name,
        "format": trained.model_format,
        "size_bytes": len(trained.model),
        "metrics": trained.metrics,
    }


def _source_schema(given: GovernedInput) -> pa.Schema:
    """The columns of raw data, as they are before any mask."""
    declared = given.dataset.lineage.get("source_columns")
    return schema_of(given.dataset.contract.columns if declared is None else map(Column.from_record, declared))


def _lineage(job: TrainJob, trained: Trained, given: GovernedInput, run: str, reads: Mapping[str, Any]) -> Record:
    return {
        "run": run,
        "dataset": given.dataset.name,
        "snapshot": given.dataset.snapshot.number,
        "data_digest": given.dataset.snapshot.content_digest,
        "effect": given.grant.effect.digest,
        "policy": given.grant.policy_digest,
        "preparation_digest": given.dataset.lineage.get("preparation_digest"),
        "rows": {name: {key: read["counts"][key] for key in COUNTED} for name, read in reads.items()},
        "code": dict(code_identity()),
        "seed": job.seed,
        "trainer": trained.trainer,
        "params": dict(trained.params),
        "target": job.target,
        "primary_metric": str(job.evaluate.metrics[0]),
    }
