"""Drift of the runs of a job, for whoever looks again and again: a run is read until it is done, and never after that.

1. Of a script's first look the newest `MOST` runs are read, of each later look what is new of those that weren't done.
   What is remembered saves reading and decides nothing: a script that begins knows none of it, and finds the same.
2. A run counts from its first `run_done` on: what a driver says after that changes nothing.
3. Runs that somebody submitted, and replays, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from dataops.errors import NotFound
from dataops.records import parse_time
from dataops.runs.ledger import RUNS_FOLDER, is_submitted, job_of
from dataops.runs.workspace import Workspace
from dataops.scheduling.conditions import largest_psi
from dataops.storage.journal import Journal

MOST = 1000
"""How many runs of a job one look goes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftedRun:
    """A run that is done and tells of drift: since when it is, the largest psi and its column."""

    run: str
    at: datetime
    psi: float
    column: str


@dataclass(slots=True, kw_only=True)
class _Read:
    """How far a run was read: its next event, and whether it is done, with what it told."""

    events: Journal
    next_number: int = 1
    is_done: bool = False
    found: DriftedRun | None = None


class Drifts:
    """What the runs of one job tell of drift."""

    def __init__(self) -> None:
        self._reads: dict[str, _Read] = {}

    def look(self, workspace: Workspace, job: str) -> Iterator[DriftedRun]:
        """The rescores of `job` that are done and tell of drift, the one that began first by its id first.

        Raises
        ------
        Storage, Format, Integrity : a run can't be read.
        """
        names = [name for name in workspace.store.folders(RUNS_FOLDER) if _is_of(name, job)]
        newest = sorted(names, key=lambda name: name.split("-")[-2:])[-MOST:]
        self._reads = {name: self._reads.get(name) or _unread(workspace, name) for name in newest}
        for name, read in self._reads.items():
            if not read.is_done:
                _read_on(workspace, name, read)
            if read.found is not None:
                yield read.found


def _is_of(name: str, job: str) -> bool:
    return len(name.split("-")) > 2 and job_of(name) == job and not is_submitted(name)


def _unread(workspace: Workspace, run: str) -> _Read:
    return _Read(events=Journal(workspace.store, f"{RUNS_FOLDER}/{run}/events", "event"))


def _read_on(workspace: Workspace, run: str, read: _Read) -> None:
    """Reads what is new of a run that wasn't done. An event is behind it only once all that it says is known: where the
    store fails in between, the next look reads it again.
    """
    for entry in read.events.entries(read.next_number):
        if entry.body["event"] == "run_done":
            psi = largest_psi(entry.body["result"])
            if psi is not None and _counts(workspace, run):
                at = parse_time(entry.body["at"])
                read.found = DriftedRun(run=run, at=at, psi=psi[0], column=psi[1])
            read.is_done = True
            return
        read.next_number = entry.number + 1


def _counts(workspace: Workspace, run: str) -> bool:
    with suppress(NotFound):  # somebody cleared it away
        found = workspace.ledger.read(run)
        return found.kind == "rescore" and found.replay_of is None
    return False
