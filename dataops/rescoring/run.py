"""A rescore from its plan to its published scores."""

from __future__ import annotations

from collections.abc import Sequence

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord, committed_units
from dataops.datasets.publish import publish, require_within_thresholds
from dataops.datasets.snapshot import Manifest, Snapshot
from dataops.declarations.jobs import RescoreJob
from dataops.engine.work import Work
from dataops.errors import ContractViolation
from dataops.records import Record
from dataops.registry.versions import ModelVersion
from dataops.rescoring.figures import score_figures
from dataops.rescoring.plan import ScorePlan
from dataops.rescoring.score import ScoreContext, score_unit
from dataops.storage.objects import open_store


def run_rescore(
    plan: ScorePlan, given: GovernedInput, work: Work, *, storage: str, registry: str, replay_of: str | None = None
) -> tuple[Manifest, Snapshot, Record]:
    """The published scores of the job, and figures for its report.

    Parameters
    ----------
    replay_of : the run whose quarantine the units of `given` take: what passes is added to what it made.

    Raises
    ------
    ContractViolation : more rows were set aside than ``errors`` or a rule allows; nothing is published.
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
            lineage={"kind": "rescore", **given.lineage(), **_models(plan)},
            replay_of=replay_of,
        )
    return manifest, snapshot, score_figures(records, min_group_size=given.grant.effect.min_group_size)


def _models(plan: ScorePlan) -> Record:
    """What the lineage says of the models."""
    others = {name: _version(version) for name, version in plan.challengers.items()}
    return {**_version(plan.model), "challengers": others} if others else _version(plan.model)


def _version(version: ModelVersion) -> Record:
    return {"model": version.model, "model_version": version.version, "model_digest": version.digest}


def _require_error_rate(job: RescoreJob, given: GovernedInput, records: Sequence[UnitRecord]) -> None:
    aside = sum(record.receipt.quarantined for record in records)
    checked = sum(record.receipt.read - record.receipt.filtered_by_policy for record in records)
    if checked and aside / checked > job.errors.max_rate:
        raise ContractViolation(
            f"{aside} of {checked} rows of '{given.dataset.name}' were quarantined, {aside / checked:.3%}; "
            f"errors.max_rate allows {job.errors.max_rate:.3%}. Nothing was published: mend the data, or raise "
            "errors.max_rate"
        )
