"""Train jobs: one pass for the summary, one for the encoded parts, every candidate on the same rows, all of them
registered.

1. Learning reads the input for the purpose ``train``, judging reads it (and other datasets) for ``evaluate``: two
   grants, two reads.
2. The model carries its whole feature program: the steps that prepared its training set, masks that generalise, the
   encoder.
   A pseudonym can't be a feature: it would tie a model to a key.
3. Whatever decides the outcome is in the version's lineage: data, grants, preparation, code, seed, trainer, parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dataops.datasets.access import GovernedInput
from dataops.datasets.scan import COUNTED, Receipt
from dataops.declarations.jobs import Candidate, TrainJob
from dataops.engine.code import code_identity
from dataops.engine.work import Work
from dataops.errors import InvalidInput, near_match
from dataops.features.encoder import Encoder, fit_encoder
from dataops.features.program import compose_program
from dataops.features.steps import RowSteps
from dataops.features.summary import merge
from dataops.governance.contract import Column
from dataops.governance.expressions import Expression, parse_expression, result_type
from dataops.governance.masking import MaskKind
from dataops.models.card import TrainedOn, write_card
from dataops.models.package import Package
from dataops.preparation.prepare import generalisations, granted_after_masks
from dataops.preparation.split import TEST, TRAIN
from dataops.records import Record, now_utc
from dataops.registry.versions import Registry
from dataops.training.evaluate import evaluate_on_cluster
from dataops.training.reading import (
    PartContext,
    Selection,
    SummaryContext,
    load_parts,
    read_figures,
    require_target_type,
    summarise_unit,
)
from dataops.training.trainers import load_trainer

INPUT, HOLDOUT = "input", "holdout"
NO_STEPS = RowSteps()


def evaluation_name(dataset: str) -> str:
    """How a run names its reading of `dataset` for evaluation."""
    return f"evaluate:{dataset}"


def open_evaluations(job: TrainJob, open_input: Callable[[str, str], GovernedInput]) -> dict[str, GovernedInput]:
    """The datasets that `job` is judged on, opened for the purpose ``evaluate``, by their names in the run."""
    names = dict.fromkeys([job.input, *job.evaluate.datasets])
    return {evaluation_name(name): open_input(name, "evaluate") for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """A train job, resolved against its inputs.

    Attributes
    ----------
    learn : the rows to learn from.
    judge : the rows to judge on, by the name that metrics are reported under, with the run's name of the input.
    steps : what the model puts in front of raw data.
    columns : the feature columns as the encoder takes them.
    """

    learn: Selection
    judge: Mapping[str, tuple[str, Selection]]
    steps: RowSteps
    columns: tuple[Column, ...]


def plan_train(job: TrainJob, inputs: Mapping[str, GovernedInput], *, where: str) -> TrainPlan:
    """`job` over `inputs`.

    Raises
    ------
    AccessDenied : a feature, the target, the weight or a slice is denied for the purpose that it is read for.
    InvalidInput : an unknown column, a target that isn't yes or no, a pseudonym as feature, unknown trainers or
        parameters.
    """
    given = inputs[INPUT]
    target = parse_expression(job.target, where=f"{where}: target")
    beside = (job.weight,) if job.weight else ()
    granted = _require_columns(given, [*job.features.columns, *target.columns, *beside], where)
    _require_no_pseudonyms(job, given, where)
    schema = pa.schema([pa.field(column.name, column.type) for column in granted.values()])
    require_target_type(result_type(target, schema, where=f"{where}: target"), where)
    for number, candidate in enumerate(job.candidates):
        _require_trainer(candidate, f"{where}: candidates[{number}]")
    steps = _model_steps(job, given, where)
    split = given.dataset.lineage.get("split")
    wanted = [*job.features.columns, *target.columns, *beside, *([split] if split else [])]
    learn = Selection(
        source=given.source,
        read=tuple(name for name in granted if name in wanted),
        steps=NO_STEPS,
        labelled=None,
        side=TRAIN,
        split_column=split,
        target=target,
        weight=job.weight,
    )
    judge = {
        _metrics_name(job, name): (name, _judging(job, one, given, target, where))
        for name, one in inputs.items()
        if name != INPUT
    }
    return TrainPlan(
        learn=learn, judge=judge, steps=steps, columns=tuple(granted[name] for name in job.features.columns)
    )


def _metrics_name(job: TrainJob, input_name: str) -> str:
    return HOLDOUT if input_name == evaluation_name(job.input) else input_name.removeprefix("evaluate:")


def _require_columns(given: GovernedInput, names: Sequence[str], where: str) -> dict[str, Column]:
    """The granted columns by name; raises where one of `names` is unknown or denied."""
    known = {column.name for column in given.dataset.contract.columns}
    findings = [
        f"{where}: no column '{name}' in dataset '{given.dataset.name}'.{near_match(name, known)}"
        for name in dict.fromkeys(names)
        if name not in known
    ]
    if findings:
        raise InvalidInput("\n".join(findings))
    given.grant.require_columns(list(dict.fromkeys(names)), what=where)
    return {column.name: column for column in granted_after_masks(given)}


def _require_no_pseudonyms(job: TrainJob, given: GovernedInput, where: str) -> None:
    masks = given.grant.effect.columns
    decided = {decision.column: decision.mask for decision in given.grant.decisions}
    for name in job.features.columns:
        mask = masks.get(name) or decided.get(name)
        if mask is not None and mask.kind is MaskKind.PSEUDONYM:
            raise InvalidInput(
                f"{where}: features: '{name}' is a pseudonym, which means nothing to a model; leave it out"
            )


def _require_trainer(candidate: Candidate, where: str) -> None:
    try:
        load_trainer(candidate.trainer).require_params(candidate.params)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from None


def _preparation(given: GovernedInput) -> RowSteps | None:
    """The steps that made `given` from raw data; None where it is raw itself."""
    declared = given.dataset.lineage.get("preparation")
    return None if declared is None else RowSteps.from_record(declared["steps"])


def _model_steps(job: TrainJob, given: GovernedInput, where: str) -> RowSteps:
    """What raw data needs in front of the encoder to look as the training set does."""
    masks = tuple(pair for pair in generalisations(given) if pair[0] in job.features.columns)
    made_by = _preparation(given)
    if made_by is None:
        return RowSteps(generalise=masks)
    later = [name for name, mask in masks if (name, mask) not in made_by.generalise]
    if later:
        raise InvalidInput(
            f"{where}: the policy generalises {', '.join(later)} now, but '{given.dataset.name}' was prepared without; "
            "prepare it again, so that training and rescoring see the same"
        )
    return made_by.needed_for(job.features.columns)


def _judging(job: TrainJob, one: GovernedInput, trained_on: GovernedInput, target: Expression, where: str) -> Selection:
    """How `one` is read to judge models that were trained on `trained_on`."""
    place = f"{where}: evaluate: dataset '{one.dataset.name}'"
    needed = tuple(dict.fromkeys([*job.features.columns, *target.columns, *job.evaluate.slices]))
    same = one.dataset.name == trained_on.dataset.name
    made_by, trained_by = (each.dataset.lineage.get("preparation_digest") for each in (one, trained_on))
    declared = trained_on.dataset.lineage.get("preparation")
    if made_by == trained_by or declared is None:
        split = one.dataset.lineage.get("split") if same else None
        columns = [*needed, *([split] if split else [])]
        granted = _require_columns(one, columns, place)
        return Selection(
            source=one.source,
            read=tuple(name for name in granted if name in columns),
            steps=NO_STEPS,
            labelled=None,
            side=TEST if same else None,
            split_column=split,
            target=target,
            slices=job.evaluate.slices,
        )
    if made_by is not None:
        raise InvalidInput(
            f"{place} was prepared by another declaration than '{trained_on.dataset.name}'; name the raw dataset"
        )
    labelled = parse_expression(declared["labelled"], where="labelled") if declared["labelled"] else None
    wanted = tuple(dict.fromkeys([*needed, *(labelled.columns if labelled else ())]))
    steps = RowSteps.from_record(declared["steps"]).needed_for(wanted)
    sources = raw_sources(steps, wanted)
    granted = _require_columns(one, sources, place)
    return Selection(
        source=one.source,
        read=tuple(name for name in granted if name in sources),
        steps=steps,
        labelled=labelled,
        side=None,
        split_column=None,
        target=target,
        slices=job.evaluate.slices,
    )


def raw_sources(steps: RowSteps, wanted: Sequence[str]) -> list[str]:
    """The columns of raw data that `steps` need to give `wanted`."""
    derived = {name for name, _ in steps.derive}
    return list(dict.fromkeys([*(name for name in wanted if name not in derived), *steps.source_columns()]))


def run_train(
    job: TrainJob, inputs: Mapping[str, GovernedInput], work: Work, *, registry: Registry, where: str
) -> dict[str, Any]:
    """The run's result: the registered versions with their metrics, and what was read."""
    plan = plan_train(job, inputs, where=where)
    given = inputs[INPUT]
    numeric, categorical = job.features.numeric.columns, job.features.categorical.columns
    context = SummaryContext(selection=plan.learn, numeric=numeric, categorical=categorical)
    summarised = work.map_units("summarise", summarise_unit, context, given.units)
    receipts: list[Receipt] = [receipt for _, receipt in summarised]
    encoder = fit_encoder(merge([summary for summary, _ in summarised]), job.features)
    parts, _ = load_parts(work, "encode", PartContext(selection=plan.learn, encoder=encoder), given.units)
    models = []
    for number, candidate in enumerate(job.candidates):
        with work.phase(f"fit {_candidate_name(job, number)}"):
            trainer = load_trainer(candidate.trainer)
            models.append(trainer.fit(parts, candidate.params, job.seed))
    del parts  # the workers' memory is needed for evaluation
    reads = {INPUT: read_figures(receipts)}
    metrics = _judge_all(job, plan, inputs, models, encoder, work, reads)
    with work.phase("register"):
        versions = _register_all(job, plan, inputs, models, metrics, encoder, registry, work.run, reads)
    return {"model": job.name, "versions": versions, "primary_metric": str(job.evaluate.metrics[0]), "reads": reads}


def _candidate_name(job: TrainJob, number: int) -> str:
    trainer = job.candidates[number].trainer
    same = [place for place, candidate in enumerate(job.candidates) if candidate.trainer == trainer]
    return trainer if len(same) == 1 else f"{trainer}-{same.index(number) + 1}"


def _judge_all(
    job: TrainJob,
    plan: TrainPlan,
    inputs: Mapping[str, GovernedInput],
    models: Sequence[tuple[str, bytes]],
    encoder: Encoder,
    work: Work,
    reads: dict[str, Any],
) -> list[dict[str, Any]]:
    """Per model: dataset -> report; fills `reads` with what was read for it."""
    reports: list[dict[str, Any]] = [{} for _ in models]
    for name, (input_name, selection) in plan.judge.items():
        context = PartContext(selection=selection, encoder=encoder)
        parts, receipts = load_parts(work, f"judge on {name}", context, inputs[input_name].units)
        for report, (model_format, model) in zip(reports, models, strict=True):
            figures = evaluate_on_cluster(parts, model_format, model, job.evaluate.metrics)
            # named, so that a promotion compares two versions on the same rows only
            report[name] = {"snapshot": inputs[input_name].dataset.snapshot.content_digest, **figures}
        reads[input_name] = read_figures(receipts)
    return reports


def _register_all(
    job: TrainJob,
    plan: TrainPlan,
    inputs: Mapping[str, GovernedInput],
    models: Sequence[tuple[str, bytes]],
    metrics: Sequence[Mapping[str, Any]],
    encoder: Encoder,
    registry: Registry,
    run: str,
    reads: Mapping[str, Any],
) -> list[Record]:
    given = inputs[INPUT]
    program = compose_program(_source_schema(given), plan.steps, encoder)
    classes = sorted({part for column in plan.columns for part in column.classification.split("+")})
    registered = []
    for number, ((model_format, model), report) in enumerate(zip(models, metrics, strict=True)):
        lineage = _lineage(job, number, given, run, reads)
        candidate = job.candidates[number]
        card = write_card(
            model=job.name,
            target=job.target,
            trainer=candidate.trainer,
            params=candidate.params,
            data=TrainedOn(
                dataset=given.dataset.name,
                snapshot=f"{given.dataset.snapshot.number} ({given.dataset.snapshot.content_digest})",
                rows=reads[INPUT]["counts"]["passed"],
            ),
            grant=given.grant,
            program=program,
            metrics=report,
            purpose=job.description,
            limits=job.limits,
        )
        package = Package(
            program=program,
            model_format=model_format,
            model=model,
            metrics=report,
            card=card,
            lineage=lineage,
            classifications=tuple(classes),
        )
        version = registry.register(job.name, package, at=now_utc())
        registered.append(
            {
                "version": version.version,
                "digest": version.digest,
                "candidate": _candidate_name(job, number),
                "format": model_format,
                "size_bytes": len(model),
                "metrics": report,
            }
        )
    return registered


def _source_schema(given: GovernedInput) -> pa.Schema:
    """The columns of raw data, as they are before any mask."""
    declared = given.dataset.lineage.get("source_columns")
    columns = given.dataset.contract.columns if declared is None else [Column.from_record(one) for one in declared]
    return pa.schema([pa.field(column.name, column.type) for column in columns])


def _lineage(job: TrainJob, number: int, given: GovernedInput, run: str, reads: Mapping[str, Any]) -> Record:
    candidate = job.candidates[number]
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
        "trainer": candidate.trainer,
        "params": dict(candidate.params),
        "target": job.target,
        "primary_metric": str(job.evaluate.metrics[0]),
    }
