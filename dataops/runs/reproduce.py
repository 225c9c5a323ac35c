"""Reproducing a model version: trained again from what its lineage says, compared, and not registered.

1. Data is what the version's run pinned, in the very units that it froze; grants are those of today; trainer,
   parameters and seed are the version's. A search isn't searched again: what it found is fitted.
2. What is not as it was is said beforehand: rows that expired or files that changed (then nothing is read), what the
   policies do, code, libraries, the cluster's shape.
3. It is audited as any run is, with an event of its own around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dataops.datasets.access import GovernedInput, govern
from dataops.datasets.catalog import Dataset, open_as_of, open_dataset
from dataops.datasets.retention import require_unexpired
from dataops.datasets.snapshot import Fragment, read_snapshot
from dataops.declarations.clusters import Shape, StartedFile
from dataops.declarations.train import Candidate, TrainJob
from dataops.engine.progress import Progress
from dataops.errors import NotFound
from dataops.governance.audit import record_result
from dataops.governance.grant import Effect
from dataops.models.package import Package
from dataops.records import digest, now_utc
from dataops.registry.aliases import resolve_reference
from dataops.registry.versions import LoadedVersion
from dataops.runs.audit import announce, announced, signed
from dataops.runs.execute import Options, with_surveys, working
from dataops.runs.ledger import Run, RunState, new_run_id
from dataops.runs.planning import Planned, job_of_run, plan_job
from dataops.runs.reproduced import Reproduced, Verdict, compared, effect_changes, other_code
from dataops.runs.workspace import Workspace
from dataops.storage.files import open_files


def reproduce(workspace: Workspace, reference: str, *, options: Options, progress: Progress) -> Reproduced:
    """What comes of training the version that `reference` means again.

    Parameters
    ----------
    options : `workers` is taken where it is given; else the cluster has the shape that the version's had.

    Raises
    ------
    NotFound : no such version, or the record of its run is gone.
    Integrity, Format : the version isn't whole.
    AccessDenied : the policies of today don't let the person at the keyboard read what it was trained on.
    InvalidInput : nor train on it.
    """
    found = resolve_reference(workspace.registry, reference)
    loaded = workspace.registry.read(found.model, found.version)
    state = _run_of(workspace, loaded)
    job = _job_of(state.run, loaded.package)
    gone = {name: why for name in job.inputs if (why := _why_gone(workspace, state.run.inputs[name]))}
    reading = new_run_id(f"{job.name}-again", now_utc())
    told = Reproduced(
        version=found.reference,
        reading=reading,
        trained_by=state.run.id,
        verdict=Verdict.DIFFERENT,
        not_as_it_was={"data": "; ".join(dict.fromkeys(gone.values()))} if gone else {},
        figures={},
        digests={},
    )
    planned = None if gone else _planned(workspace, state.run, job)
    facts = {"model": found.model, "version": found.version, "run": reading}
    with signed(workspace) as signing, announced(workspace, "model_reproduce", facts) as came:
        if planned is not None:
            told = _trained_again(workspace, state, planned, loaded, told, options, progress)
        came.facts |= {"version": found.version, "verdict": told.verdict.value}
    return replace(told, note=signing.note)


def _run_of(workspace: Workspace, loaded: LoadedVersion) -> RunState:
    run = loaded.package.lineage.get("run")
    try:
        return workspace.ledger.state(str(run))
    except NotFound:
        raise NotFound(
            f"{loaded.version.reference} was trained by run '{run}', which has no record in this workspace; without "
            "its declaration nobody can train it again"
        ) from None


def _job_of(run: Run, package: Package) -> TrainJob:
    """The declaration of `run`, with the one candidate that became the version."""
    job = job_of_run(run)
    if not isinstance(job, TrainJob):
        raise NotFound(f"run {run.id} is no train job, so nothing of it can be trained again")
    calibration = package.lineage.get("fit", {}).get("calibration", {})
    candidate = Candidate(
        trainer=package.lineage["trainer"],
        params=dict(package.lineage["params"]),
        calibrate=calibration.get("method"),
    )
    return job.model_copy(update={"candidates": (candidate,)})


def _why_gone(workspace: Workspace, pinned: Mapping[str, Any]) -> str | None:
    """Why the data that a run pinned can't be read any more; None where it can."""
    settings, store, name, number = workspace.settings, workspace.store, pinned["dataset"], pinned["snapshot"]
    try:
        require_unexpired(store, name, pinned["content_digest"])
        now = open_dataset(settings, store, name)
        then = read_snapshot(store, name, number)
    except NotFound as error:
        return str(error)
    if then is None or then.content_digest != pinned["content_digest"]:
        return f"dataset '{name}': its snapshot {number} isn't there any more"
    missing = list(_missing(now, then.fragments))
    if not missing:
        return None
    return (
        f"dataset '{name}': {len(missing)} of {len(then.fragments)} files of snapshot {number} changed or are gone, "
        f"{missing[0].shown} first"
    )


def _missing(now: Dataset, then: tuple[Fragment, ...]) -> Iterator[Fragment]:
    """The files of `then` that aren't there as they were; of a dataset that a job made none ever changes."""
    there = {digest(one.identity) for one in now.snapshot.fragments}
    files = open_files(now.url)
    for fragment in then:
        if digest(fragment.identity) in there:
            continue
        try:
            if now.declared or files.stat(fragment.path).size_bytes != fragment.size_bytes:
                yield fragment
        except NotFound:
            yield fragment


def _planned(workspace: Workspace, run: Run, job: TrainJob) -> Planned:
    """`job` over what `run` pinned, as far as the policies of today let the person at the keyboard read it."""
    reader, settings = workspace.reader(), workspace.settings
    inputs: dict[str, GovernedInput] = {}
    for name, (dataset, purpose) in job.inputs.items():
        opened = open_as_of(settings, workspace.store, dataset, run.inputs[name]["snapshot"])
        given = govern(settings, reader, opened, purpose)
        inputs[name] = replace(given, units=workspace.ledger.plan(run.id, name))
    return plan_job(workspace, job, inputs, source=run.source)


def _trained_again(
    workspace: Workspace,
    state: RunState,
    planned: Planned,
    loaded: LoadedVersion,
    told: Reproduced,
    options: Options,
    progress: Progress,
) -> Reproduced:
    from dataops.training.train import fit_and_judge

    shape = _shape_of(loaded.package, state)
    if shape and options.workers is None and isinstance(options.cluster, StartedFile):
        same = options.cluster.model_copy(update={"train": Shape(workers=shape["workers"], threads=shape["threads"])})
        options = replace(options, cluster=same)
    reads: Mapping[str, Any] = {}
    outcome = "failed"
    said: list[str] = []
    try:
        for name, given in planned.inputs.items():
            announce(workspace, told.reading, given.pinned())
            said.append(name)
        with working(planned.job, told.reading, options, progress, _unheard) as (work, _):
            surveyed = with_surveys(workspace, state.run, planned, work)
            training = fit_and_judge(surveyed.plan, surveyed.inputs, work)  # type: ignore[arg-type]  # a train job's
            reads, outcome = training.reads, "done"
            otherwise = _not_as_it_was(state.run, planned, loaded.package, shape, work.shape)
    finally:
        for name in said:  # no result without an intent, no intent without a result
            given, read = planned.inputs[name], reads.get(name, {})
            record_result(
                workspace.audit,
                run=told.reading,
                dataset=given.dataset.name,
                purpose=given.grant.purpose,
                outcome=outcome,
                counts=read.get("counts", {}),
                receipts_root=read.get("receipts_root"),
            )
    return compared(loaded.package, training, replace(told, not_as_it_was=otherwise))


def _unheard(_event: str, /, **_fields: Any) -> None:
    """Nobody keeps the events: it is no run of the ledger."""


def _shape_of(package: Package, state: RunState) -> Mapping[str, int]:
    """Workers and threads that the version was fitted with; nothing where that isn't on record."""
    if told := package.lineage.get("cluster"):
        return {"workers": told["workers"], "threads": told["threads"]}
    events = [event for event in state.events if event["event"] == "cluster_ready"]
    return {key: events[-1][key] for key in ("workers", "threads")} if events else {}


def _not_as_it_was(
    run: Run, planned: Planned, package: Package, shape: Mapping[str, int], shape_now: Mapping[str, int]
) -> dict[str, str]:
    """In words, what may make another model of the same data."""
    found = {}
    policy = [
        f"what the policies leave of dataset '{given.dataset.name}' to {given.grant.purpose}: {'; '.join(changes)}"
        for name, given in planned.inputs.items()
        if (changes := effect_changes(Effect.from_record(run.inputs[name]["grant"]["effect"]), given.grant.effect))
    ]
    if policy:
        found["policy"] = "\n".join(policy)
    found |= other_code(package)
    if not shape:
        found["cluster"] = "nobody kept the shape of the cluster that it was trained on"
    elif dict(shape) != dict(shape_now):
        found["cluster"] = f"{_spelled(shape_now)}, then {_spelled(shape)}: libraries add up in another order"
    return found


def _spelled(shape: Mapping[str, int]) -> str:
    return f"{shape['workers']} workers of {shape['threads']} threads"
