"""What lies in quarantine: counted for everybody from the records of units, shown to stewards from the files.

1. A run's rows *wait* while the run is part of its output's newest snapshot and no replay took them.
2. Counting opens no quarantine file. Showing rows needs the role ``steward``, and is audited as a reading like any
   other: the intent first, without which nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dataops.datasets.catalog import require_dataset
from dataops.datasets.commit import UnitRecord, committed_units, unit_key
from dataops.datasets.links import LINKS_FOLDER, Links, linking_runs, read_links
from dataops.datasets.publish import merge_set_aside
from dataops.datasets.quarantine import QUARANTINE_FOLDER, QUARANTINE_RULE
from dataops.datasets.replayed import read_aside
from dataops.datasets.snapshot import DATASETS_FOLDER, Manifest, Snapshot, read_manifest, read_snapshot
from dataops.errors import NotFound, near_match
from dataops.governance.audit import record_intent, record_result
from dataops.records import digest, now_utc
from dataops.runs.audit import signed
from dataops.runs.ledger import new_run_id
from dataops.runs.workspace import STEWARD, Workspace
from dataops.storage.files import open_files


class HeldState(StrEnum):
    """What may become of rows in quarantine."""

    WAITING = "waiting"  # a replay would take them
    REPLAYED = "replayed"  # a replay took them; what it left waits under its own run
    REPLACED = "replaced"  # a newer run made the output anew, or their run's rows expired
    UNPUBLISHED = "unpublished"  # their run failed, or hasn't ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Rows of `dataset` that `run` set aside while it made `output`.

    Attributes
    ----------
    rules : rows by the rule that set them aside.
    by : the replay that took them.
    """

    dataset: str
    output: str
    run: str
    state: HeldState
    rows: int
    rules: Mapping[str, int]
    since: str
    by: str | None = None


def held_rows(workspace: Workspace, dataset: str | None = None) -> tuple[Held, ...]:
    """What lies in quarantine (of `dataset`), by dataset, oldest first.

    Raises
    ------
    NotFound : no dataset of that name.
    """
    if dataset is not None:
        require_dataset(workspace.settings, workspace.store, dataset)
    folders = _folders(workspace).items()
    found = [_held(workspace, of, run, units) for (of, run), units in folders if dataset in (None, of)]
    return tuple(sorted((one for one in found if one), key=lambda one: (one.dataset, one.since, one.run)))


def _folders(workspace: Workspace) -> dict[tuple[str, str], list[str]]:
    """The units whose files lie below the quarantine's folder, by dataset and run; also those that a run took over."""
    try:
        stats = open_files(quarantine_url(workspace)).list("")
    except NotFound:
        return {}
    found: dict[tuple[str, str], list[str]] = {}
    for stat in stats:
        match stat.path.split("/"):
            case [dataset, run, file] if file.startswith("part-"):  # whatever else lies there is none of ours
                found.setdefault((dataset, run), []).append(file.removeprefix("part-").rsplit("-", 1)[0])
    for dataset, links in _linking(workspace):
        found.setdefault((dataset, links.run), []).extend(links.units)
    return found


def _linking(workspace: Workspace) -> Iterator[tuple[str, Links]]:
    """Runs that took over units with rows in quarantine, with the dataset that those are of."""
    outputs = {key.split("/")[1] for key in workspace.store.list(DATASETS_FOLDER) if f"/{LINKS_FOLDER}/" in key}
    for output in sorted(outputs):
        for run in linking_runs(workspace.store, output):
            links = read_links(workspace.store, output, run)
            places = [path.split("/") for paths in links.files.values() for path in paths] if links else []
            for dataset in sorted({place[1] for place in places if place[0] == QUARANTINE_FOLDER}):
                if links is not None:
                    yield dataset, links


def quarantine_url(workspace: Workspace) -> str:
    """Where all quarantine files lie."""
    return f"{workspace.settings.storage}/{QUARANTINE_FOLDER}"


def _held(workspace: Workspace, dataset: str, run_id: str, units: Sequence[str]) -> Held | None:
    """None for files that no record names, and for the copies of a replay that freed no row."""
    try:
        run = workspace.ledger.read(run_id)
    except NotFound:  # somebody cleared old runs away
        return None
    output = run.declaration["output"]
    manifest = _manifest(workspace, output, run_id)
    if manifest is not None:
        rules, (state, by) = manifest.set_aside, _state(read_snapshot(workspace.store, output), run_id)
    elif run.replay_of:
        return None
    else:  # no manifest yet: the records of its units are all that there is
        rules = merge_set_aside(_records(workspace, output, run_id, units))
        state, by = HeldState.UNPUBLISHED, None
    if not rules:
        return None
    return Held(
        dataset=dataset,
        output=output,
        run=run_id,
        state=state,
        rows=sum(rules.values()),
        rules=rules,
        since=run.created_at,
        by=by,
    )


def _records(workspace: Workspace, output: str, run: str, units: Sequence[str]) -> Iterator[UnitRecord]:
    for unit in dict.fromkeys(units):
        with suppress(NotFound):  # of an attempt that didn't come to its end
            yield UnitRecord.from_bytes(workspace.store.get(unit_key(output, run, unit)))


def quarantine_records(workspace: Workspace, output: str, run: str) -> list[UnitRecord]:
    """The records of the units of `run` that set rows aside, in the order of the units."""
    done = committed_units(workspace.store, output, run)
    return [record for _, record in sorted(done.items()) if record.quarantine is not None]


def _manifest(workspace: Workspace, output: str, run: str) -> Manifest | None:
    try:
        return read_manifest(workspace.store, output, run)
    except NotFound:
        return None


def _state(snapshot: Snapshot | None, run: str) -> tuple[HeldState, str | None]:
    manifests = snapshot.manifests if snapshot else ()
    if run in [manifest.run for manifest in manifests]:
        took = [manifest.run for manifest in manifests if manifest.replay_of == run]
        return (HeldState.REPLAYED, took[0]) if took else (HeldState.WAITING, None)
    return HeldState.REPLACED, None


def find_held(held: Sequence[Held], run: str) -> Held:
    """What `run` set aside.

    Raises
    ------
    NotFound : nothing; with the near match.
    """
    for one in held:
        if one.run == run:
            return one
    raise NotFound(f"run '{run}' has no rows in quarantine.{near_match(run, [one.run for one in held])}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Rows of quarantine as a steward sees them; `total` counts all that were asked for.

    `note` is what kept the audit from being signed, None where nothing did.
    """

    rows: tuple[Mapping[str, Any], ...]
    total: int
    note: str | None = None


def show_rows(workspace: Workspace, dataset: str, *, run: str | None, rule: str | None, limit: int) -> Shown:
    """The first `limit` rows of `dataset` that wait in quarantine, or those that `run` set aside, each with its run.

    Raises
    ------
    AccessDenied : the user hasn't the role ``steward``; nothing was read.
    NotFound : no such dataset, run or rule.
    """
    workspace.require_steward("rows in quarantine hold true values (`dataops quarantine list` counts them)")
    reader = workspace.reader()
    held = held_rows(workspace, dataset)
    chosen = [find_held(held, run)] if run else [one for one in held if one.state is HeldState.WAITING]
    rules = sorted({name for one in chosen for name in one.rules})
    if rule is not None and rule not in rules:
        raise NotFound(f"no row of '{dataset}' there was set aside by rule '{rule}'.{near_match(rule, rules)}")
    total = sum(one.rules.get(rule, 0) if rule else one.rows for one in chosen)
    if not total:
        return Shown(rows=(), total=0)
    reading = new_run_id("quarantine", now_utc())
    record_intent(
        workspace.audit,
        run=reading,
        principal=reader.principal,
        roles=reader.roles,
        purpose=STEWARD,
        dataset=dataset,
        snapshot=digest([one.run for one in chosen]),
        effect_digest=digest({"quarantine": [one.run for one in chosen], "rule": rule, "limit": limit}),
        policy_digest=digest(sorted(policy.digest for policy in reader.policies)),
    )
    rows: tuple[Mapping[str, Any], ...] = ()
    outcome = "failed"
    with signed(workspace) as signing:
        try:
            rows = tuple(_rows(workspace, chosen, rule, limit))
            outcome = "done"
        finally:
            record_result(
                workspace.audit,
                run=reading,
                dataset=dataset,
                purpose=STEWARD,
                outcome=outcome,
                counts={"read": len(rows)},
                receipts_root=None,
            )
    return Shown(rows=rows, total=total, note=signing.note)


def _rows(workspace: Workspace, chosen: Sequence[Held], rule: str | None, limit: int) -> Iterator[Mapping[str, Any]]:
    left = limit
    for one in chosen:
        for record in quarantine_records(workspace, one.output, one.run):
            if record.quarantine is None or not left:
                continue
            table = read_aside(quarantine_url(workspace), record.quarantine)
            for row in table.to_pylist():
                if left and rule in (None, row[QUARANTINE_RULE]):
                    left -= 1
                    yield {"run": one.run, **row}
