"""The end of a run that published and then died, written from what it left: nothing is planned or read again.

1. What it did is done: its manifest is part of its output, whatever contract, policy and data are by now. Only its end
   isn't on record: the audit's result, lineage, the state, the report. Its figures are made of what its units counted,
   by what the model versions fixed that it pinned; where one is gone, they say that drift is unknown.
2. Nothing tells a driver that died from one that is just writing this itself. Both may: neither reads, publishes or
   deletes anything. The audit takes the same result twice (with a warning), the ledger's first `run_done` counts, and
   both say of lineage the same.
3. A run that published and then failed for another reason has a result already, ``failed``, which closed its intent. So
   it is announced once more before its other result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dataops.datasets.commit import UnitRecord, committed_units
from dataops.datasets.following import read_taken
from dataops.datasets.snapshot import Fragment, Manifest, Snapshot, read_snapshot, snapshot_journal
from dataops.declarations.inputs import INPUT
from dataops.declarations.outputs import OWN
from dataops.declarations.rescore import RescoreJob
from dataops.engine.progress import Progress
from dataops.errors import DataopsError, Integrity, NotFound
from dataops.governance.audit import record_result
from dataops.governance.audit_verdicts import RESULT
from dataops.governance.lineage import EventType, completed_event
from dataops.records import now_utc
from dataops.rescoring.figures import score_figures, with_drift
from dataops.rescoring.monitor import drift_by_model, plan_monitoring
from dataops.rescoring.monitored import Monitored, slices_of
from dataops.runs.audit import announce
from dataops.runs.execute import Outcome, published_result, try_report, try_sign_audit
from dataops.runs.ledger import Run, State
from dataops.runs.lineage import read_events_of, write_event
from dataops.runs.planning import job_of_run
from dataops.runs.workspace import Workspace

DONE = "done"


def half_done_replays(workspace: Workspace, outputs: Iterable[str]) -> Iterator[tuple[Run, Manifest]]:
    """The replays that are part of one of `outputs`, and whose end isn't on record."""
    for output in dict.fromkeys(outputs):
        snapshot = read_snapshot(workspace.store, output)
        for manifest in snapshot.manifests if snapshot else ():
            if manifest.replay_of is None:
                continue
            try:
                found = workspace.ledger.state(manifest.run)
            except NotFound:  # somebody cleared old runs away
                continue
            if found.state is not State.DONE:
                yield found.run, manifest


def finish_published(workspace: Workspace, run: Run, manifest: Manifest, progress: Progress) -> Outcome:
    """The outcome of `run`, whose `manifest` is part of its output: it is done from now on.

    Raises
    ------
    Integrity, NotFound : what its result is made of isn't there any more.
    """
    snapshot = _that_brought_in(workspace, manifest)
    result = {**published_result(manifest, snapshot), **_figures(workspace, run, manifest)}
    if manifest.follows is not None:
        result["arrivals"] = dict(read_taken(workspace.store, run.id, manifest.follows["record"]).counts)
    _record_result(workspace, run, manifest)
    _tell_lineage(workspace, run, manifest, snapshot, progress)
    workspace.ledger.finish(run, result)
    try_sign_audit(workspace, progress)
    return Outcome(state=workspace.ledger.state(run.id), report=try_report(workspace, run, progress))


def _that_brought_in(workspace: Workspace, manifest: Manifest) -> Snapshot:
    for entry in snapshot_journal(workspace.store, manifest.dataset).entries(manifest.after + 1):
        if manifest.run in [listed["run"] for listed in entry.body["manifests"]]:
            snapshot = read_snapshot(workspace.store, manifest.dataset, entry.number)
            assert snapshot is not None  # noqa: S101  # its entry was just read
            return snapshot
    raise Integrity(
        f"run {manifest.run}: no snapshot of '{manifest.dataset}' after {manifest.after} holds its manifest"
    )


def _figures(workspace: Workspace, run: Run, manifest: Manifest) -> dict[str, Any]:
    if run.model is None:
        return {}
    records = committed_units(workspace.store, manifest.dataset, run.id)
    missing = [unit for unit in manifest.units if unit not in records]
    if missing:
        raise Integrity(f"run {run.id}: {len(missing)} of {len(manifest.units)} units have no record any more")
    figures = _score_figures(workspace, run, manifest, [records[unit] for unit in manifest.units])
    return {**figures, "predictors": manifest.lineage.get("predictors", {}), "model": run.model}


def _score_figures(workspace: Workspace, run: Run, manifest: Manifest, records: Sequence[UnitRecord]) -> dict[str, Any]:
    """What the run would have said of its scores: of drift and by slice as the versions that it pinned are there."""
    least = run.inputs[INPUT]["grant"]["effect"].get("min_group_size", 1)
    job = job_of_run(run)
    assert isinstance(job, RescoreJob)  # noqa: S101  # it has a model
    try:
        models = {
            name: _monitored(workspace, job, name, pinned)
            for name, pinned in {OWN: run.model or {}, **run.challengers}.items()
        }
    except DataopsError as failure:
        gone = {
            "unknown": f"the model version couldn't be read when the run's end was written ({type(failure).__name__})"
        }
        drift = dict.fromkeys((OWN, *run.challengers), gone) if job.monitor.drift else {}
        models = {}
    else:
        judged = drift_by_model(job, models, records, min_group_size=least)
        drift = {name: told for name, (told, _) in judged.items()}
    figures = score_figures(records, challengers=job.challengers, slices=slices_of(models), min_group_size=least)
    return figures if manifest.replay_of is not None else with_drift(figures, drift)


def _monitored(workspace: Workspace, job: RescoreJob, name: str, pinned: Mapping[str, Any]) -> Monitored | None:
    """How the rows of a model were counted.

    Raises
    ------
    NotFound, Integrity, Format, InvalidInput : its version isn't there as it was.
    """
    loaded = workspace.registry.read(pinned["model"], pinned["version"])
    if loaded.version.digest != pinned["digest"]:
        raise Integrity(f"{loaded.version.reference} isn't the version that the run began with")
    place = f"job '{job.name}': model {loaded.version.reference}"
    return plan_monitoring(loaded.package.reference, job.monitor, own=name == OWN, where=place)


def _record_result(workspace: Workspace, run: Run, manifest: Manifest) -> None:
    """The audit's result of the reading, if the run didn't write it."""
    pinned = run.inputs[INPUT]
    last: Mapping[str, Any] = {}
    for entry in workspace.audit.entries():
        if entry.body.get("run") == run.id:
            last = entry.body
    if last.get("outcome") == DONE:
        return
    if last.get("event") == RESULT:
        announce(workspace, run.id, pinned)
    record_result(
        workspace.audit,
        run=run.id,
        dataset=pinned["dataset"],
        purpose=pinned["grant"]["purpose"],
        outcome=DONE,
        counts=manifest.counts,
        receipts_root=manifest.receipts_root,
    )


def _tell_lineage(workspace: Workspace, run: Run, manifest: Manifest, snapshot: Snapshot, progress: Progress) -> None:
    """What the run would have said of its end, made of what it said of its beginning; without it nothing is said."""
    try:
        said = {event["eventType"]: event for event in read_events_of(workspace.store, run.id)}
        if EventType.COMPLETE in said:
            return
        units = workspace.ledger.plan(run.id, INPUT)
        files = {unit.fragment.path: unit.fragment for unit in units}
        event = completed_event(
            said[EventType.START],
            at=now_utc(),
            source=run.inputs[INPUT]["dataset"],
            read=_statistics(manifest.counts["read"], files.values()),
            made=manifest.dataset,
            facts={"snapshot": snapshot.number, "runs": [one.run for one in snapshot.manifests]},
            version=snapshot.content_digest,
            written=_statistics(manifest.rows, manifest.fragments),
        )
        write_event(workspace.store, run.id, EventType.COMPLETE, event)
    except Exception as failure:  # noqa: BLE001  # lineage undoes no run
        progress.say(
            f"  note: no lineage of the end of run {run.id} ({type(failure).__name__}); it is done all the same"
        )


def _statistics(rows: int, files: Iterable[Fragment]) -> Mapping[str, int]:
    sizes = [one.size_bytes for one in files]
    return {"size": sum(sizes), "rowCount": rows, "fileCount": len(sizes)}
