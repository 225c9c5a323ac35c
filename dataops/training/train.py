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
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from dataops.datasets.access import GovernedInput
from dataops.datasets.publish import require_within_thresholds
from dataops.datasets.receipt import COUNTED
from dataops.declarations.inputs import INPUT
from dataops.declarations.metrics import HOLDOUT, Task
from dataops.engine.code import code_identity, library_versions
from dataops.engine.work import Work
from dataops.features.binning import fit_cells
from dataops.features.cells import Cells
from dataops.features.encoder import Encoder
from dataops.features.fitting import asked_of, fit_features
from dataops.features.program import FeatureProgram, compose_program
from dataops.features.reference import Reference
from dataops.features.summary import Merging
from dataops.governance.contract import Column, schema_of
from dataops.governance.signing import SigningKey
from dataops.models.calibration import calibrated
from dataops.models.card import TrainedOn, write_card
from dataops.models.golden import make_golden
from dataops.models.package import SUBMITTED_BY, Package
from dataops.models.predictor import load_predictor
from dataops.records import Record, now_utc
from dataops.registry.versions import Registry
from dataops.storage.objects import Store
from dataops.training.candidates import FittedModel, candidate_name, fit_candidates
from dataops.training.evaluate import REPLICATES, evaluate_on_cluster
from dataops.training.grouping import needs_groups, with_times
from dataops.training.judging import judge_on_cluster
from dataops.training.plan import TrainPlan
from dataops.training.reading import (
    PartContext,
    Selection,
    SummaryContext,
    count_times,
    load_parts,
    read_figures,
    summarise_unit,
)
from dataops.training.selection import SELECTION, selection_digests


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One fitted candidate: its model, per dataset how it does there, and what later rows are compared with."""

    name: str
    trainer: str
    params: Mapping[str, Any]
    fitted: FittedModel
    metrics: Mapping[str, Any]
    reference: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Candidates, fitted and judged, which nobody registered yet.

    Attributes
    ----------
    program : what all of them put in front of raw data.
    reads : what was read, by the run's name of the input.
    """

    candidates: Sequence[Trained]
    program: FeatureProgram
    reads: Mapping[str, Any]


def run_train(
    plan: TrainPlan,
    inputs: Mapping[str, GovernedInput],
    work: Work,
    *,
    registry: Registry,
    store: Store | None = None,
    key: SigningKey | None = None,
    submitted_by: str | None = None,
) -> dict[str, Any]:
    """The run's result: the registered versions, signed by `key` where there is one, with their metrics, what was
    read, and what was searched.

    Parameters
    ----------
    store : where trials of a search are kept.
    submitted_by : somebody else than the account that runs this, who submitted it: the versions say so.
    """
    job, training = plan.job, fit_and_judge(plan, inputs, work, store=store)
    with work.phase("register"):
        versions = [
            _register(plan, inputs[INPUT], one, training, registry, key, work=work, submitted_by=submitted_by)
            for one in training.candidates
        ]
    reads = dict(training.reads)
    result = {"model": job.name, "versions": versions, "primary_metric": str(job.metrics[0]), "reads": reads}
    searches = {one.name: one.fitted.searched.record() for one in training.candidates if one.fitted.searched}
    return {**result, "searches": searches} if searches else result


def fit_and_judge(
    plan: TrainPlan, inputs: Mapping[str, GovernedInput], work: Work, *, store: Store | None = None
) -> Training:
    """Every candidate of the plan, fitted and judged; nothing is registered. `store`: where trials are kept."""
    job, given = plan.job, inputs[INPUT]
    learnt = _grouped(plan, given, work)
    context = SummaryContext(selection=learnt, asked=asked_of(job.features))
    merging = Merging()
    receipts = work.map_units(
        "summarise",
        summarise_unit,
        context,
        given.units,
        landed=lambda _, result: merging.add(result[0]),
        kept=lambda result: result[1],
    )
    require_within_thresholds(given, receipts)
    summary = merging.merged()
    fitted = fit_features(summary, job.features, min_group_size=given.grant.effect.min_group_size)
    encoder = fitted.encoder
    learn = PartContext(selection=learnt, encoder=encoder, by_fold=fitted.by_fold)
    rows = [receipt.passed for receipt in receipts]
    models = fit_candidates(job, learn, given.units, rows, work, store=store)
    reads = {INPUT: read_figures(receipts)}
    judging = Judging(encoder=encoder, cells=fit_cells(summary, encoder), models=models)
    judged = _judge_all(plan, inputs, judging, work, reads)
    candidates = [
        Trained(
            name=candidate_name(job, number),
            trainer=candidate.trainer,
            params=candidate.params if model.searched is None else model.searched.params,
            fitted=model,
            metrics=report,
            reference=reference,
        )
        for number, (candidate, model, (report, reference)) in enumerate(
            zip(job.candidates, models, judged, strict=True)
        )
    ]
    program = compose_program(_source_schema(given), plan.steps, encoder)
    return Training(candidates=candidates, program=program, reads=reads)


def _grouped(plan: TrainPlan, given: GovernedInput, work: Work) -> Selection:
    """The rows to learn from, with what is to be known of all of them before they are parted into groups."""
    grouping = plan.learn.grouping
    if needs_groups(plan.job):
        work.emit("rows_grouped", by=grouping.record(), why=grouping.why)
        if grouping.why:
            work.progress.say(f"  note: {grouping}")
    if grouping.time is None:
        return plan.learn
    counted = work.map_units("count times", count_times, plan.learn, given.units)
    return replace(plan.learn, grouping=with_times(grouping, counted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What is judged: the models, and how rows become what they take and what is counted of them."""

    encoder: Encoder
    cells: tuple[Cells, ...]
    models: Sequence[FittedModel]


def _judge_all(
    plan: TrainPlan, inputs: Mapping[str, GovernedInput], judging: Judging, work: Work, reads: dict[str, Any]
) -> list[tuple[dict[str, Any], Reference]]:
    """Per model: dataset -> report, and the reference made of the rows held out; fills `reads` with what was read."""
    reports: list[dict[str, Any]] = [{} for _ in judging.models]
    references: list[Reference] = []
    for input_name, selection in plan.judge.items():
        name, given = plan.metrics_name(input_name), inputs[input_name]
        context = PartContext(selection=replace(selection, grouped=True), encoder=judging.encoder)
        parts, receipts = load_parts(work, f"judge on {name}", context, given.units)
        require_within_thresholds(given, receipts)
        least = given.grant.effect.min_group_size
        for report, model in zip(reports, judging.models, strict=True):
            if name == HOLDOUT:
                figures, reference = judge_on_cluster(
                    parts,
                    *model.loadable,
                    plan.job.metrics,
                    cells=judging.cells,
                    dataset=name,
                    min_group_size=least,
                    points=plan.job.evaluate.points,
                    calibration=model.calibration,
                )
                references.append(reference)
            else:
                points = plan.job.evaluate.points
                figures = evaluate_on_cluster(
                    parts,
                    *model.loadable,
                    plan.job.metrics,
                    min_group_size=least,
                    points=points,
                    calibration=model.calibration,
                )
            # named, so that a promotion compares two versions on the same rows only
            kept = {"snapshot": given.dataset.snapshot.content_digest, SELECTION: selection_digests(selection)}
            report[name] = {**kept, **figures}
        reads[input_name] = read_figures(receipts)
    return list(zip(reports, references, strict=True))


def _register(
    plan: TrainPlan,
    given: GovernedInput,
    trained: Trained,
    training: Training,
    registry: Registry,
    key: SigningKey | None,
    *,
    work: Work,
    submitted_by: str | None,
) -> Record:
    """What the run's result says of the version that `trained` became."""
    job, program, reads = plan.job, training.program, training.reads
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
        reference=trained.reference,
        purpose=job.description,
        limits=job.limits,
        task=job.task,
        calibration=trained.fitted.facts.get("calibration"),
    )
    package = Package(
        program=program,
        model_format=trained.fitted.model_format,
        model=trained.fitted.model,
        metrics=trained.metrics,
        card=card,
        lineage={
            **_lineage(plan, trained, given, work, reads),
            **({} if submitted_by is None else {SUBMITTED_BY: submitted_by}),
        },
        reference=trained.reference,
        golden=make_golden(program, calibrated(load_predictor(*trained.fitted.loadable), trained.fitted.calibration)),
        calibration=trained.fitted.calibration,
        classifications=tuple(sorted({part for one in plan.columns for part in one.classification.split("+")})),
    )
    version = registry.register(job.name, package, at=now_utc(), key=key)
    return {
        "version": version.version,
        "digest": version.digest,
        "candidate": trained.name,
        "format": trained.fitted.model_format,
        "size_bytes": len(trained.fitted.model),
        # what tells how sure they are is long, and of which rows is for gates: both stay with the version
        "metrics": {
            of: {key: one[key] for key in one if key not in (REPLICATES, SELECTION)}
            for of, one in trained.metrics.items()
        },
    }


def _source_schema(given: GovernedInput) -> pa.Schema:
    """The columns of raw data, as they are before any mask."""
    declared = given.dataset.lineage.get("source_columns")
    return schema_of(given.dataset.contract.columns if declared is None else map(Column.from_record, declared))


def _lineage(plan: TrainPlan, trained: Trained, given: GovernedInput, work: Work, reads: Mapping[str, Any]) -> Record:
    job = plan.job
    return {
        "run": work.run,
        "dataset": given.dataset.name,
        "snapshot": given.dataset.snapshot.number,
        "data_digest": given.dataset.snapshot.content_digest,
        "effect": given.grant.effect.digest,
        "policy": given.grant.policy_digest,
        "preparation_digest": given.dataset.lineage.get("preparation_digest"),
        "rows": {name: {key: read["counts"][key] for key in COUNTED} for name, read in reads.items()},
        "code": dict(code_identity()),
        "libraries": dict(library_versions()),
        "cluster": work.shape,
        "seed": job.seed,
        "trainer": trained.trainer,
        "params": dict(trained.params),
        **({"held_out_by": plan.learn.grouping.record()} if needs_groups(job) else {}),
        **({"fit": dict(trained.fitted.facts)} if trained.fitted.facts else {}),
        **({"search": trained.fitted.searched.lineage()} if trained.fitted.searched else {}),
        "target": job.target,
        **({} if job.task is Task.BINARY else {"task": str(job.task)}),
        "primary_metric": str(job.metrics[0]),
    }
