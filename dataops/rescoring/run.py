"""A rescore from its plan to its published scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord, committed_units
from dataops.datasets.publish import publish, require_within_thresholds
from dataops.datasets.snapshot import Manifest, Snapshot
from dataops.datasets.units import Unit
from dataops.declarations.metrics import Task
from dataops.engine.work import Work
from dataops.records import Record
from dataops.registry.versions import ModelVersion
from dataops.rescoring.allowance import Allowance
from dataops.rescoring.figures import score_figures, with_drift
from dataops.rescoring.kernels import pinned_kernels, predictors
from dataops.rescoring.linking import Linkable
from dataops.rescoring.monitor import drift_by_model, event_of, require_no_stop, warning_of
from dataops.rescoring.plan import ScorePlan
from dataops.rescoring.probe import CAN_PROBE, probe_unit
from dataops.rescoring.score import ScoreContext, begin_unit
from dataops.storage.objects import open_store


def run_rescore(
    plan: ScorePlan,
    given: GovernedInput,
    work: Work,
    *,
    storage: str,
    registry: str,
    replay_of: str | None = None,
    follows: Record | None = None,
    linkable: Callable[[], Linkable | None] | None = None,
    linked: Mapping[str, UnitRecord] | None = None,
) -> tuple[Manifest, Snapshot, Record]:
    """The published scores of the job, and figures for its report.

    Parameters
    ----------
    replay_of : the run whose quarantine the units of `given` take: what passes is added to what it made.
    follows : of a run that takes files as they arrive, see `Manifest.follows`: its scores are added to those there are.
    linkable : gives what lets later runs take its units over, or None where they can't; asked once all units have a
        record, since only then is it known who else worked at them.
    linked : records that its units have already, taken over from earlier runs.

    Raises
    ------
    ContractViolation : more rows were set aside than ``errors`` or a rule allows, or they drifted too far; nothing is
        published.
    """
    store = open_store(storage)
    allowance = _allowance(plan, given, replay=replay_of is not None)
    context = ScoreContext(
        source=given.source,
        plan=plan.of_units,
        storage=storage,
        registry=registry,
        run=work.run,
        most_failed=allowance.most,
    )
    done = committed_units(store, plan.job.output, work.run, known=linked)
    kernels = pinned_kernels(store, plan, given.units, run=work.run, registry=registry)
    context = replace(context, kernels=kernels)
    scored_by = {"predictors": predictors(plan, kernels)}
    records = _scored(work, context, given.units, done, allowance)
    with work.phase("publish"):
        require_within_thresholds(given, [record.receipt for record in records])
        allowance.require_kept()
        drift = {} if replay_of is not None else _drift(plan, given, records, work)
        told = linkable() if linkable else None
        manifest, snapshot = publish(
            store,
            dataset=plan.job.output,
            run=work.run,
            zone=given.dataset.zone,
            columns=plan.columns,
            units=given.units,
            records={record.unit: record for record in records},
            lineage=_lineage(plan, given, told, follows) | scored_by,
            replay_of=replay_of,
            identities=told.identities() if told else None,
        )
    return manifest, snapshot, with_drift(_figures(plan, given, records), drift) | scored_by


def _drift(plan: ScorePlan, given: GovernedInput, records: Sequence[UnitRecord], work: Work) -> Mapping[str, Record]:
    """The drift of each model's rows, by its name in the job; what the job's own model raises is told.

    Raises
    ------
    ContractViolation : a limit stops the run.
    """
    least = given.grant.effect.min_group_size
    judged = drift_by_model(plan.job, plan.monitored, records, min_group_size=least)
    for _, raised in judged.values():
        if raised:
            work.emit("drifted", raised=event_of(raised))
        require_no_stop(raised, given.dataset.name)
        if warning := warning_of(raised):
            work.progress.say(f"  drift        {warning}")
    return {name: drift for name, (drift, _) in judged.items()}


def _allowance(plan: ScorePlan, given: GovernedInput, *, replay: bool) -> Allowance:
    rows = sum(unit.rows for unit in given.units)
    return Allowance(budget=plan.job.errors, dataset=given.dataset.name, rows=rows, replay=replay)


def _scored(
    work: Work, context: ScoreContext, units: Sequence[Unit], done: Mapping[str, UnitRecord], allowance: Allowance
) -> list[UnitRecord]:
    """The records of `units`; as each comes, what it set aside is looked at."""

    def count(record: UnitRecord) -> None:
        allowance.add(record)
        allowance.require_possible()

    for record in done.values():
        count(record)
    return work.map_units(
        "score",
        begin_unit,
        context,
        units,
        done=done,
        landed=lambda _, record: count(record),
        on_killed=lambda _: probe_unit if CAN_PROBE else None,
    )


def _figures(plan: ScorePlan, given: GovernedInput, records: Sequence[UnitRecord]) -> Record:
    """What the run's result says of the scores."""
    return score_figures(
        records,
        challengers=plan.challengers,
        slices=plan.slices,
        min_group_size=given.grant.effect.min_group_size,
        task=plan.task,
    )


def _lineage(plan: ScorePlan, given: GovernedInput, linkable: Linkable | None, follows: Record | None) -> Record:
    """What the manifest says of what the scores were made from."""
    lineage: Record = {"kind": "rescore", **given.lineage(), **_models(plan)}
    if plan.task is not Task.BINARY:
        lineage["task"] = str(plan.task)
    if linkable is not None:
        lineage["basis"] = linkable.basis.record()
    if follows is not None:
        lineage["follows"] = follows
    return lineage


def _models(plan: ScorePlan) -> Record:
    """What the lineage says of the models."""
    others = {name: _version(version) for name, version in plan.challengers.items()}
    return {**_version(plan.model), "challengers": others} if others else _version(plan.model)


def _version(version: ModelVersion) -> Record:
    return {"model": version.model, "model_version": version.version, "model_digest": version.digest}
