"""Occasions: what happened that schedules fire on, read from the records that say so.

1. Nothing is noted down of what was seen but its number, by whoever claims or passes it: a look decides nothing and may
   be repeated. What it remembers (`drifts`) only saves reading.
2. An occasion is as old as its record says. What happened before the schedule was first seen is none.
3. A dataset of the catalog has a new snapshot once somebody looks at its files: this look does.
4. Runs have no order but that of their machines' clocks: drift is numbered by the time that its run was done, and one
   with a lower number may be recorded later. So each such number is noted down for a day (`decided.WINDOW`).
5. A promotion that this workspace doesn't trust, and a rollback, is no occasion.
"""

from __future__ import annotations

from collections.abc import Iterator

from dataops.datasets.catalog import is_declared, open_dataset
from dataops.datasets.snapshot import snapshot_journal
from dataops.declarations.schedule_steps import DriftLimit
from dataops.declarations.schedules import DriftWhen, PromotedWhen, Schedule, SnapshotWhen
from dataops.records import parse_time
from dataops.registry.aliases import history
from dataops.registry.moves import MoveKind
from dataops.runs.workspace import Workspace
from dataops.scheduling.drifts import Drifts
from dataops.scheduling.slots import Occasion, number_at
from dataops.scheduling.state import ScheduleState

MOST = 1000
"""How many occasions one look goes back."""


def look(
    workspace: Workspace, schedule: Schedule, state: ScheduleState | None, drifts: Drifts | None = None
) -> list[Occasion]:
    """The occasions of `schedule` that nobody claimed or passed, rising; none of a schedule of the clock, nor before it
    was first seen.

    Parameters
    ----------
    drifts : what the looks before remember of runs.

    Raises
    ------
    NotFound, Storage, Format, Integrity : what it fires on can't be read.
    """
    if state is None:
        return []
    match schedule.when:
        case SnapshotWhen(snapshot=dataset):
            found = _snapshots(workspace, dataset, state)
        case PromotedWhen(promoted=model):
            found = _promotions(workspace, model)
        case DriftWhen(drift=limit):
            found = _drifted(workspace, limit, drifts or Drifts())
        case _:
            return []
    new = (one for one in found if one.at >= state.since and not state.has_decided(one.number))
    return sorted(new, key=lambda one: one.number)[-MOST:]


def _snapshots(workspace: Workspace, dataset: str, state: ScheduleState) -> Iterator[Occasion]:
    if is_declared(workspace.settings, dataset):
        open_dataset(workspace.settings, workspace.store, dataset)
    journal = snapshot_journal(workspace.store, dataset)
    entry = journal.tail()
    while entry is not None:
        at = parse_time(entry.written_at)
        facts = {"dataset": dataset, "snapshot": entry.number}
        yield Occasion(key=f"snapshot-{entry.number}", at=at, number=entry.number, facts=facts)
        older = entry.number - 1
        entry = journal.read(older) if older > (state.seen or 0) and at >= state.since else None


def _promotions(workspace: Workspace, model: str) -> Iterator[Occasion]:
    for move in history(workspace.registry, model):
        if move.kind is MoveKind.PROMOTED and move.trusted:
            facts = {"model": model, "version": move.version, "generation": move.generation}
            key = f"promotion-{move.generation}"
            yield Occasion(key=key, at=move.moved_at, number=move.generation, facts=facts)


def _drifted(workspace: Workspace, limit: DriftLimit, drifts: Drifts) -> Iterator[Occasion]:
    for one in drifts.look(workspace, limit.job):
        if one.psi >= limit.psi:
            facts = {"job": limit.job, "run": one.run, "psi": one.psi, "column": one.column}
            yield Occasion(key=f"drift-{one.run}", at=one.at, number=number_at(one.at), by_time=True, facts=facts)
