"""The newest run of each job, and the drift of the newest rescores, without reading every run.

A run's id says its job and its time, so the newest of a job is found by names alone; its last event says how it ended,
found by doubling. Of hundreds of runs a few records are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dataops.errors import DataopsError, NotFound
from dataops.records import Record, format_time, parse_time
from dataops.runs.ledger import RUNS_FOLDER, Ledger, Run, State, job_of
from dataops.storage.journal import Journal
from dataops.storage.objects import Store

MAX_JOBS = 40
"""Of how many jobs the newest run is looked at: those that ran last."""

_TRIES = 5  # folders of one job's runs that are looked at for one that can be told of


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentRun:
    """The newest run of a job.

    Attributes
    ----------
    at : of its last event; of one that runs, when something was last heard of it.
    error : what it failed with; None where it didn't.
    """

    run: str
    job: str
    kind: str
    state: State
    principal: str
    created_at: datetime
    at: datetime
    error: str | None

    def record(self) -> Record:
        """JSON values."""
        times = {"created_at": format_time(self.created_at), "at": format_time(self.at)}
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, **times, "state": self.state.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """What the newest rescore that is done says of drift."""

    job: str
    run: str
    at: datetime
    drift: Mapping[str, Any]

    @property
    def raised(self) -> int:
        """How many limits were reached."""
        return len(self.drift.get("raised", ()))

    def record(self) -> Record:
        """JSON values."""
        raised = [one for one in self.drift.get("raised", ()) if "slice" not in one]  # a slice is named by a value
        known = [one for one in self.drift.get("columns", ()) if "psi" in one]
        most = max(known, key=lambda one: float(one["psi"]), default=None)
        highest = most and {"column": most["column"], "psi": most["psi"]}
        return {
            "job": self.job,
            "run": self.run,
            "at": format_time(self.at),
            "highest": highest,
            "raised": raised,
            "raised_in_slices": self.raised - len(raised),
            "unknown": self.drift.get("unknown"),
        }


def newest_runs(store: Store) -> dict[str, list[str]]:
    """The ids of runs by their jobs, each newest first, the job that ran last first."""
    by_job: dict[str, list[str]] = {}
    named = [name for name in store.folders(RUNS_FOLDER) if len(name.split("-")) > 2]
    for run in sorted(named, key=lambda one: one.split("-")[-2:], reverse=True):
        by_job.setdefault(job_of(run), []).append(run)
    return by_job


def recent_runs(store: Store, by_job: Mapping[str, Sequence[str]]) -> list[RecentRun]:
    """The newest run of each of the jobs that ran last, by the jobs' names."""
    found = []
    for runs in list(by_job.values())[:MAX_JOBS]:
        for run in runs[:_TRIES]:
            with suppress(DataopsError):  # a log of what came to no run, or damaged: `dataops job show` says which
                found.append(_recent(store, run))
                break
    return sorted(found, key=lambda one: one.job)


def recent_drift(store: Store, by_job: Mapping[str, Sequence[str]]) -> Iterator[Drifted]:
    """The drift of each job's newest run that is done, of those that say something of it."""
    for job, runs in list(by_job.items())[:MAX_JOBS]:
        for run in runs[:_TRIES]:
            last = _last_event(store, run)
            if last.get("event") != "run_done":
                continue
            if drift := last["result"].get("drift"):
                yield Drifted(job=job, run=run, at=parse_time(last["at"]), drift=drift)
            break


def _recent(store: Store, run_id: str) -> RecentRun:
    run = Run.from_bytes(store.get(f"{RUNS_FOLDER}/{run_id}/run.json"))
    last = _last_event(store, run_id)
    state, error = _ended(last)
    if state is State.RUNNING:  # what follows the end of a run is rare, and has to be looked behind
        folded = Ledger(store).state(run_id)
        state, error = folded.state, folded.error
    return RecentRun(
        run=run_id,
        job=run.job,
        kind=run.kind,
        state=state,
        principal=run.principal,
        created_at=parse_time(run.created_at),
        at=parse_time(last.get("at", run.created_at)),
        error=error,
    )


def _ended(last: Mapping[str, Any]) -> tuple[State, str | None]:
    if last.get("event") == "run_failed":
        return State.FAILED, f"{last['family']}: {last['message']}"
    return (State.DONE if last.get("event") == "run_done" else State.RUNNING), None


def _last_event(store: Store, run_id: str) -> Mapping[str, Any]:
    try:
        tail = Journal(store, f"{RUNS_FOLDER}/{run_id}/events", "event").tail()
    except NotFound:
        tail = None
    return {} if tail is None else tail.body
