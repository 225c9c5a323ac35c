"""The ledger of runs: what each run was asked to do, what it read, how far it came.

1. ``run.json`` is put once: declaration, reader, pinned inputs, policy, code. A run id never means two things. The
   frozen plan of units of each input lies beside it and is put before it.
2. Events are a journal; the state of a run is the fold of it: nothing is ever overwritten.
3. A run whose driver died simply stops having events; `resume` goes on under the same id. Done is final.
4. A run that other code took up than it began with has work of both: it is done, but no other run may rely on it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from dataops.datasets.units import Unit, plan_from_record, plan_record
from dataops.errors import AlreadyExists, Conflict, Format, NotFound, near_match, passing
from dataops.records import Record, decode_record, encode_record, format_time, now_utc
from dataops.storage.journal import Entry, Journal
from dataops.storage.objects import Store

RUNS_FOLDER = "runs"
PLANS_FOLDER = "plans"
DONE_FOLDER = "done"


class State(StrEnum):
    """Where a run stands. ``running`` is also what a run says whose driver died: resume it."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The record of one run; `inputs` are what `GovernedInput.pinned` says, by role (``input``,
    ``evaluate:<dataset>``); `replay_of` is the run whose quarantine it takes, None for a run over whole data;
    `challengers` are the model versions that a rescore applies beside `model`, by their names in the job.
    """

    id: str
    job: str
    kind: str
    declaration: Mapping[str, Any]
    source: str
    principal: str
    roles: tuple[str, ...]
    inputs: Mapping[str, Any]
    model: Mapping[str, Any] | None
    code: Mapping[str, str]
    work_digest: str
    created_at: str
    replay_of: str | None = None
    challengers: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The stored record."""
        body = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("replay_of", "challengers"):
            if not body[name]:  # no key for what most runs aren't
                del body[name]
        return encode_record("run", 1, {**body, "roles": list(self.roles)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Run:
        """The run stored in `data`.

        Raises
        ------
        Format : not the record of a run that this release knows.
        """
        body = decode_record(data, "run", 1)
        body.pop("format")
        try:
            return cls(**{**body, "roles": tuple(body["roles"])})
        except (KeyError, TypeError):
            raise Format("expected the record of a run, found one with other keys") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run with what its events say."""

    run: Run
    state: State
    events: tuple[Record, ...]
    result: Mapping[str, Any]
    error: str | None

    @property
    def is_of_one_code(self) -> bool:
        """Whether every driver that worked at the run had the code that it began with."""
        begun = (event for event in self.events if event["event"] in ("run_started", "run_resumed"))
        return {event.get("code", self.run.code["digest"]) for event in begun} <= {self.run.code["digest"]}

    def phase_seconds(self) -> dict[str, float]:
        """Seconds of each phase that ended, in order; of a resumed run, all its attempts together."""
        seconds: dict[str, float] = {}
        for event in self.events:
            if event["event"] == "phase_ended":
                seconds[event["phase"]] = seconds.get(event["phase"], 0.0) + event["seconds"]
        return seconds


def new_run_id(job: str, at: datetime) -> str:
    """``<job>-<UTC time>-<6 random hex digits>``: sorts by job, then by time."""
    return f"{job}-{at.strftime('%Y%m%dt%H%M%S')}-{secrets.token_hex(3)}"


def job_of(run_id: str) -> str:
    """The name of the job that `run_id` ran."""
    return run_id.rsplit("-", 2)[0]


def is_submitted(run_id: str) -> bool:
    """Whether the run is one that somebody submitted: whose declaration its writer made up, whatever job it names."""
    return _SUBMITTED.fullmatch(run_id.rsplit("-", 1)[-1]) is not None


_SUBMITTED = re.compile(r"s[0-9a-f]{6}")


class Ledger:
    """The runs in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._journals: dict[str, Journal] = {}  # each knows where its end was: a new one has to look for it
        self._read: tuple[str, list[Entry]] = ("", [])  # events of the run that was asked for last

    def start(self, run: Run, plans: Mapping[str, Sequence[Unit]]) -> None:
        """Record `run` and the frozen `plans` of its inputs, by their names in the run.

        Raises
        ------
        AlreadyExists : another run has its id.
        Conflict : somebody froze other units under its id, and may be about to begin it.
        """
        for name, units in plans.items():
            plan = encode_record("plan", 1, plan_record(units))
            if not self._store.put_if_absent(_plan_key(run.id, name), plan):
                raise passing(Conflict(f"run {run.id}: other units were frozen under this id; choose another one"))
        if not self._store.put_if_absent(_run_key(run.id), run.to_bytes()):
            raise AlreadyExists(f"run {run.id} exists already")

    def plan(self, run_id: str, name: str) -> tuple[Unit, ...]:
        """The units that `run_id` froze of the input called `name`."""
        return plan_from_record(decode_record(self._store.get(_plan_key(run_id, name)), "plan", 1))

    def finish(self, run: Run, result: Mapping[str, Any]) -> None:
        """Record that `run` is done, so that the same work finds it.

        What finds it comes first and doesn't count alone: after `run_done` nobody would resume a run to put it there.
        """
        self._store.put_if_absent(_done_key(run), encode_record("done", 1, {"run": run.id}))
        self.emit(run.id, "run_done", result=result)

    def emit(self, run_id: str, event: str, /, **fields: Any) -> None:
        """Append an event to the run's journal."""
        self._events(run_id).append({"event": event, "at": format_time(now_utc()), **fields})

    def read(self, run_id: str) -> Run:
        """The record of a run; NotFound names the near match, or the newest run of a job of that name."""
        try:
            return Run.from_bytes(self._store.get(_run_key(run_id)))
        except NotFound:
            raise NotFound(f"no run '{run_id}'.{self._nearest(run_id)}") from None

    def _nearest(self, run_id: str) -> str:
        """The end of the message about an unknown run."""
        ids = self.ids()
        of_job = [known for known in ids if job_of(known) == run_id]
        if of_job:
            return f" That is a job; its newest run is '{of_job[-1]}', `dataops job list --job {run_id}` lists all."
        return near_match(run_id, ids)

    def find(self, run_id: str) -> RunState | None:
        """The run with its state as of now; None where there is no such run."""
        try:
            data = self._store.get(_run_key(run_id))
        except NotFound:
            return None
        return self._folded(run_id, Run.from_bytes(data))

    def state(self, run_id: str) -> RunState:
        """The run with its state as of now; NotFound as `read`."""
        return self._folded(run_id, self.read(run_id))

    def _folded(self, run_id: str, run: Run) -> RunState:
        events = tuple(dict(entry.body) for entry in self._entries(run_id))
        state, result, error = State.RUNNING, {}, None
        for event in events:
            if state is State.DONE:  # a driver that was thought dead may still speak: what was done stays done
                break
            match event["event"]:
                case "run_started" | "run_resumed":
                    state, error = State.RUNNING, None
                case "run_done":
                    state, result = State.DONE, event["result"]
                case "run_failed":
                    state, error = State.FAILED, f"{event['family']}: {event['message']}"
        return RunState(run=run, state=state, events=events, result=result, error=error)

    def ids(self) -> list[str]:
        """All run ids, oldest first."""
        keys = self._store.list(RUNS_FOLDER)
        ids = [key.split("/")[1] for key in keys if key.endswith("/run.json")]
        return sorted(ids, key=_by_time)

    def find_done(self, work_digest: str, *, submitted: bool = True) -> RunState | None:
        """The newest run that did the same work on the same data to the end, all of it by the same code; None where
        there is none. Runs that somebody submitted count only if `submitted`.
        """
        done = self._store.list(_done_folder(work_digest))
        ids = sorted((key.rsplit("/", 1)[-1].removesuffix(".json") for key in done), key=_by_time)
        for run_id in reversed(ids):
            if is_submitted(run_id) and not submitted:
                continue
            with suppress(NotFound):  # somebody cleared old runs away
                found = self.state(run_id)
                if found.state is State.DONE and found.is_of_one_code:
                    return found
        return None

    def _entries(self, run_id: str) -> list[Entry]:
        """All events of a run; those that were read for the last question aren't read again."""
        known = self._read[1] if self._read[0] == run_id else []
        found = [*known, *self._events(run_id).entries(before=known[-1] if known else None)]
        self._read = run_id, found
        return found

    def _events(self, run_id: str) -> Journal:
        if run_id not in self._journals:
            self._journals[run_id] = Journal(self._store, f"{RUNS_FOLDER}/{run_id}/events", "event")
        return self._journals[run_id]


def _run_key(run_id: str) -> str:
    return f"{RUNS_FOLDER}/{run_id}/run.json"


def _plan_key(run_id: str, name: str) -> str:
    # not among what people read of a run: a partition folder's name is a value of its column
    return f"{PLANS_FOLDER}/{run_id}/{name.replace(':', '-')}.json"


def _done_folder(work_digest: str) -> str:
    return f"{DONE_FOLDER}/{work_digest.removeprefix('sha256:')}"


def _done_key(run: Run) -> str:
    return f"{_done_folder(run.work_digest)}/{run.id}.json"


def _by_time(run_id: str) -> list[str]:
    return run_id.split("-")[-2:]
