"""The lineage that runs leave: OpenLineage events beside the storage's records, and read back from there.

1. A run's events lie under ``lineage/<run>/<nn>-<type>.json``, put once each, in the order in which they were said.
   They outlive the run's own records, and the data.
2. What is told is taken from the plan that runs and from what was published, not from what a job says of itself.
3. Lineage that can't be written undoes no run: it is said, and the run goes on. (Without the audit nothing is read;
   lineage explains what the audit proves.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dataops.datasets.access import GovernedInput
from dataops.datasets.snapshot import Snapshot, read_snapshot
from dataops.declarations.inputs import INPUT
from dataops.declarations.metrics import Task
from dataops.errors import DataopsError, Format, InvalidInput
from dataops.governance.contract import Column
from dataops.governance.lineage import (
    DatasetFacts,
    DatasetId,
    EventType,
    ModelFacts,
    Reading,
    RuleOutcome,
    RunFacts,
    run_event,
)
from dataops.governance.lineage_graph import Branch, Direction, Graph, Link
from dataops.preparation.join_plan import JoinPlan
from dataops.preparation.prepare import PreparePlan
from dataops.records import Record, canonical_bytes, now_utc, parse_time
from dataops.registry.aliases import resolve_reference
from dataops.registry.versions import ModelVersion
from dataops.rescoring.plan import ScorePlan
from dataops.runs.column_lineage import joined_from, learnt_from, prepared_from, scored_from
from dataops.runs.ledger import Run, job_of
from dataops.runs.workspace import Workspace
from dataops.storage.disk import redact
from dataops.storage.objects import Store

if TYPE_CHECKING:
    from dataops.engine.progress import Progress
    from dataops.runs.planning import Planned

_PREDICTS: Mapping[Task, str] = {Task.BINARY: "probability", Task.REGRESSION: "number", Task.CLUSTERS: "cluster"}

LINEAGE_FOLDER = "lineage"
ENGINE = "Dask"


def tell_lineage(
    workspace: Workspace,
    run: Run,
    planned: Planned,
    kind: EventType,
    progress: Progress,
    *,
    result: Mapping[str, Any] | None = None,
    error: BaseException | None = None,
) -> None:
    """The event that says how it stands with `run`; where it can't be made or written, a line on stderr says so.

    Parameters
    ----------
    result : of a run that is done, what it gives.
    error : of one that failed; only its family is told.
    """
    try:
        event = event_of(workspace, run, planned, kind, result=result or {}, error=error)
        write_event(workspace.store, run.id, kind, event)
    except Exception as failure:  # noqa: BLE001  # whatever it is, the run's own records are whole
        progress.say(f"  note: no lineage of this run's {kind.lower()} ({type(failure).__name__}); the run goes on")


def write_event(store: Store, run: str, kind: EventType, event: Record) -> str:
    """The key that holds `event` now: the next number of its run."""
    data = canonical_bytes(event)
    number = len(store.list(f"{LINEAGE_FOLDER}/{run}"))
    while True:
        number += 1
        key = f"{LINEAGE_FOLDER}/{run}/{number:02d}-{kind.lower()}.json"
        if store.put_if_absent(key, data):
            return key


def read_events(store: Store) -> Iterator[Record]:
    """All events, run by run in the order of their keys.

    Raises
    ------
    Format : a file among them that is no event.
    """
    yield from _events(store, LINEAGE_FOLDER)


def read_events_of(store: Store, run: str) -> Iterator[Record]:
    """The events of `run`, as `read_events`."""
    yield from _events(store, f"{LINEAGE_FOLDER}/{run}")


def _events(store: Store, folder: str) -> Iterator[Record]:
    for key in store.list(folder):
        try:
            event = json.loads(store.get(key))
            event["run"]["runId"], event["eventType"]
        except (ValueError, LookupError, TypeError):
            raise Format(
                f"{key} is not an OpenLineage event of a run; remove it, the runs' own records are elsewhere"
            ) from None
        yield dict(event)


def walk_from(
    workspace: Workspace, name: str, *, ways: Sequence[str], columns: Sequence[str] = ()
) -> dict[str, Branch | Link]:
    """The walks from `name`, by direction: a dataset, a model, either with ``@<number>``, a model's alias, or a run.

    Raises
    ------
    NotFound : lineage knows nothing of that name, or no such column.
    InvalidInput : columns of a run, which has none.
    """
    graph = Graph.of_events(read_events(workspace.store))
    if name in graph.steps:
        if columns:
            raise InvalidInput(f"'{name}' is a run, and columns are followed from a dataset or model: name that")
        return {way: graph.around(name, Direction(way)) for way in ways}
    name, at, number = name.partition("@")
    if at and not number.isdecimal():
        number = str(resolve_reference(workspace.registry, f"{name}@{number}").version)
    start = graph.find(name, int(number) if at else None)
    return {way: graph.walk(start, Direction(way), columns or None) for way in ways}


def event_of(
    workspace: Workspace,
    run: Run,
    planned: Planned,
    kind: EventType,
    *,
    result: Mapping[str, Any],
    error: BaseException | None,
) -> Record:
    """The event as JSON."""
    reads = result.get("reads", {})
    inputs: list[DatasetFacts | ModelFacts] = list(_inputs(workspace, planned.inputs, reads))
    versions = [planned.model, *planned.challengers.values()] if planned.model else []
    inputs += [_model_read(workspace, version) for version in dict.fromkeys(versions)]
    outputs = () if kind is EventType.FAIL else _outputs(workspace, run, planned, result)
    family = None if error is None else type(error).__name__
    return run_event(
        kind, _run_facts(workspace, run, planned), at=now_utc(), inputs=inputs, outputs=outputs, error=family
    )


def _run_facts(workspace: Workspace, run: Run, planned: Planned) -> RunFacts:
    parent = run.replay_of
    return RunFacts(
        id=run.id,
        job=run.job,
        kind=run.kind,
        created_at=parse_time(run.created_at),
        namespace=_storage(workspace),
        code=run.code,
        engine=(ENGINE, version("dask")),
        readings=tuple(_reading(name, given) for name, given in planned.inputs.items()),
        parent=_parent(workspace, parent) if parent else None,
    )


def _parent(workspace: Workspace, run_id: str) -> tuple[str, str, Any] | None:
    try:
        return run_id, job_of(run_id), parse_time(workspace.ledger.read(run_id).created_at)
    except DataopsError:  # its records were cleared away, and with them its time
        return None


def _reading(name: str, given: GovernedInput) -> Reading:
    grant = given.grant
    return Reading(
        input=name,
        dataset=given.dataset.name,
        purpose=str(grant.purpose),
        roles=grant.roles,
        zone=str(given.dataset.zone),
        policy=grant.policy_digest,
        effect=grant.effect.digest,
        masked={column: str(mask.kind) for column, mask in grant.effect.columns.items() if mask is not None},
    )


def _inputs(
    workspace: Workspace, inputs: Mapping[str, GovernedInput], reads: Mapping[str, Any]
) -> Iterator[DatasetFacts]:
    """Each dataset once: one that is read for two purposes is one input of OpenLineage."""
    firsts: dict[str, str] = {}
    for name, given in inputs.items():
        firsts.setdefault(given.dataset.name, name)
    for name in firsts.values():
        given = inputs[name]
        counts = reads.get(name, {}).get("counts")
        snapshot = given.dataset.snapshot
        read = {unit.fragment.path: unit.fragment.size_bytes for unit in given.units}  # of a replay: few of its files
        yield DatasetFacts(
            id=DatasetId(namespace=_storage(workspace), name=given.dataset.name),
            columns=given.dataset.contract.columns,
            zone=str(given.dataset.zone),
            origin="catalog" if given.dataset.declared else "job",
            version=snapshot.content_digest,
            snapshot=snapshot.number,
            runs=_runs_of(snapshot),
            rows=None if counts is None else counts["read"],
            size_bytes=None if counts is None else sum(read.values()),
            files=None if counts is None else len(read),
            tested=_tested(given, counts),
        )


def _tested(given: GovernedInput, counts: Mapping[str, int] | None) -> tuple[RuleOutcome, ...]:
    rules = given.dataset.contract.rules
    if counts is None:
        return tuple(RuleOutcome(rule=rule) for rule in rules)
    return tuple(RuleOutcome(rule=rule, broken=counts.get(f"broken:{rule.id}", 0)) for rule in rules)


def _model_read(workspace: Workspace, model: ModelVersion) -> ModelFacts:
    loaded = workspace.registry.read(model.model, model.version)
    encoder = loaded.package.program.encoder
    return ModelFacts(
        id=DatasetId(namespace=_registry(workspace), name=model.model),
        features=_features(
            [column.name for column in encoder.numeric], [column.name for column in encoder.categorical]
        ),
        predicts=_PREDICTS[loaded.package.task],
        version=model.version,
        digest=model.digest,
        model_format=model.model_format,
        metrics=_metric_names(loaded.package.metrics),
    )


def _outputs(
    workspace: Workspace, run: Run, planned: Planned, result: Mapping[str, Any]
) -> Sequence[DatasetFacts | ModelFacts]:
    given, plan = planned.inputs[INPUT], planned.plan
    from dataops.training.realised import RealisedPlan

    source = DatasetId(namespace=_storage(workspace), name=given.dataset.name)
    match plan:
        case PreparePlan():
            made = prepared_from(plan, given, source)
            return (_made(workspace, run, plan.job.output, plan.columns, given, result, made),)
        case JoinPlan():
            named = {
                name: (one, DatasetId(namespace=_storage(workspace), name=one.dataset.name))
                for name, one in planned.inputs.items()
            }
            joined = joined_from(plan, named)
            return (_made(workspace, run, plan.job.output, plan.columns, given, result, joined),)
        case ScorePlan():
            made = scored_from(plan, given, source, _registry(workspace))
            return (_made(workspace, run, plan.job.output, plan.columns, given, result, made),)
        case RealisedPlan():
            return ()
        case _:
            facts = ModelFacts(
                id=DatasetId(namespace=_registry(workspace), name=plan.job.name),
                features=_features(plan.job.features.numbers, plan.job.features.codes),
                predicts=_PREDICTS[plan.job.task],
                metrics=tuple(str(metric) for metric in plan.job.metrics),
                made_of=learnt_from(plan, given, source),
            )
            return _registered(facts, result.get("versions", ())) or (facts,)


def _made(
    workspace: Workspace,
    run: Run,
    name: str,
    columns: tuple[Column, ...],
    given: GovernedInput,
    result: Mapping[str, Any],
    made_of: Any,
) -> DatasetFacts:
    snapshot = read_snapshot(workspace.store, name, result["snapshot"]) if result else None
    mine = [one for one in snapshot.manifests if one.run == run.id] if snapshot else []
    written = [fragment for manifest in mine for fragment in manifest.fragments]
    return DatasetFacts(
        id=DatasetId(namespace=_storage(workspace), name=name),
        columns=columns,
        zone=str(given.dataset.zone),
        origin="job",
        version=snapshot.content_digest if snapshot else None,
        snapshot=snapshot.number if snapshot else None,
        runs=_runs_of(snapshot) if snapshot else (),
        rows=sum(fragment.rows for fragment in written) if snapshot else None,
        size_bytes=sum(fragment.size_bytes for fragment in written) if snapshot else None,
        files=len(written) if snapshot else None,
        made_of=made_of,
    )


def _registered(facts: ModelFacts, versions: Sequence[Mapping[str, Any]]) -> tuple[ModelFacts, ...]:
    return tuple(
        ModelFacts(
            id=facts.id,
            features=facts.features,
            predicts=facts.predicts,
            version=one["version"],
            digest=one["digest"],
            model_format=one["format"],
            metrics=facts.metrics,
            size_bytes=one["size_bytes"],
            made_of=facts.made_of,
        )
        for one in versions
    )


def _features(numeric: Sequence[str], categorical: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return (*((name, "number") for name in numeric), *((name, "category") for name in categorical))


def _metric_names(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for report in metrics.values() for name in report["overall"]))


def _runs_of(snapshot: Snapshot) -> tuple[str, ...]:
    return tuple(manifest.run for manifest in snapshot.manifests)


def _storage(workspace: Workspace) -> str:
    return redact(workspace.store.url)


def _registry(workspace: Workspace) -> str:
    return redact(workspace.registry.store.url)
