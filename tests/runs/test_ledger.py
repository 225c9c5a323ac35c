"""The ledger: what a run was asked to do never changes, and its state is the fold of its events."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from dataops.datasets.units import Unit
from dataops.errors import AlreadyExists, Format, NotFound
from dataops.records import encode_record
from dataops.runs.ledger import Ledger, Run, State, new_run_id
from dataops.storage.objects import MemoryStore
from tests.datasets.examples import make_unit
from tests.storage.faulty import MODES, Crash, FaultyStore, Mode, crash_points

UNITS: tuple[Unit, ...] = tuple(make_unit(number, 3) for number in range(3))


def _run(name: str = "job-20260131t120000-aaaaaa", **changes: Any) -> Run:
    given: dict[str, Any] = {
        "id": name,
        "job": "job",
        "kind": "prepare",
        "declaration": {"name": "job", "job": "prepare"},
        "source": "jobs/a b.yaml",
        "principal": "ana",
        "roles": ("data_science",),
        "inputs": {"input": {"dataset": "people", "rows": 9}},
        "model": None,
        "code": {"version": "1", "digest": "sha256:c"},
        "work_digest": "sha256:" + "0" * 64,
        "created_at": "2026-01-31T12:00:00.000000Z",
    }
    return Run(**given | changes)


def _started(store: MemoryStore, run: Run | None = None) -> tuple[Ledger, Run]:
    ledger, run = Ledger(store), run or _run()
    ledger.start(run, {"input": UNITS, "evaluate:people_new": UNITS[:1]})
    ledger.emit(run.id, "run_started", principal="ana")
    return ledger, run


def test_a_run_and_its_frozen_plans_come_back_as_they_were() -> None:
    ledger, run = _started(MemoryStore())
    assert ledger.read(run.id) == run
    assert ledger.plan(run.id, "input") == UNITS
    assert ledger.plan(run.id, "evaluate:people_new") == UNITS[:1]


def test_an_id_never_means_two_runs() -> None:
    store = MemoryStore()
    ledger, run = _started(store)
    with pytest.raises(AlreadyExists):
        ledger.start(_run(principal="bob"), {"input": UNITS})
    assert ledger.read(run.id).principal == "ana"


def test_an_unknown_run_gives_the_near_match() -> None:
    ledger, run = _started(MemoryStore())
    with pytest.raises(NotFound, match=f"Did you mean '{run.id}'"):
        ledger.state(run.id[:-1] + "b")


def test_a_record_of_a_later_release_is_refused() -> None:
    with pytest.raises(Format):
        Run.from_bytes(_run().to_bytes().replace(b"run/1", b"run/2"))


@pytest.mark.parametrize(
    ("events", "state", "error"),
    [
        ([], State.RUNNING, None),
        (["failed"], State.FAILED, "Storage: no answer"),
        (["failed", "resumed"], State.RUNNING, None),
        (["failed", "resumed", "done"], State.DONE, None),
        (["done", "failed", "resumed"], State.DONE, None),  # a driver that was thought dead
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_the_state_is_what_the_events_say_and_done_is_final(events: list[str], state: State, error: str | None) -> None:
    ledger, run = _started(MemoryStore())
    fields: dict[str, dict[str, Any]] = {
        "failed": {"family": "Storage", "message": "no answer"}, "resumed": {}, "done": {"result": {"rows": 1}},
    }  # fmt: skip
    for event in events:
        ledger.emit(run.id, f"run_{event}", **fields[event])
    found = ledger.state(run.id)
    assert (found.state, found.error) == (state, error)
    assert found.result == ({"rows": 1} if state is State.DONE else {})
    assert len(found.events) == len(events) + 1


def test_seconds_of_a_phase_add_up_over_attempts() -> None:
    ledger, run = _started(MemoryStore())
    for seconds in (1.5, 2.0):
        ledger.emit(run.id, "phase_started", phase="score", units=3, rows=9)
        ledger.emit(run.id, "phase_ended", phase="score", outcome="failed", seconds=seconds)
    assert ledger.state(run.id).phase_seconds() == {"score": 3.5}


def test_runs_are_listed_by_time_whatever_their_job_is_called() -> None:
    store = MemoryStore()
    names = ["z-1-20260131t120000-aaaaaa", "a-20260131t120001-000000", "m_x-20260201t000000-000000"]
    for name in reversed(names):
        _started(store, _run(name))
    assert Ledger(store).ids() == names


def test_the_newest_run_that_did_the_same_work_to_the_end_is_found() -> None:
    store = MemoryStore()
    runs = [_run(f"job-2026013{day}t120000-aaaaaa") for day in range(3)]
    other = _run("job-20260139t120000-aaaaaa", work_digest="sha256:" + "1" * 64)
    for run in (*runs, other):
        _started(store, run)
    ledger = Ledger(store)
    assert ledger.find_done(runs[0].work_digest) is None
    for run in (runs[1], runs[0], other):
        ledger.finish(run, {"rows": 1})
    found = ledger.find_done(runs[0].work_digest)
    assert found is not None
    assert (found.run.id, found.state) == (runs[1].id, State.DONE)


def test_what_somebody_submitted_stands_for_no_run_of_who_asks_for_none_of_these() -> None:
    store = MemoryStore()
    own, submitted = _run("job-20260131t120000-aaaaaa"), _run("job-20260201t120000-saaaaaa")
    ledger, _ = _started(store, submitted)
    ledger.finish(submitted, {})
    assert ledger.find_done(own.work_digest, submitted=False) is None
    _started(store, own)
    ledger.finish(own, {})
    for also, expected in ((True, submitted), (False, own)):
        found = ledger.find_done(own.work_digest, submitted=also)
        assert found is not None
        assert found.run.id == expected.id


def test_a_run_that_other_code_took_up_is_done_but_not_the_same_work() -> None:
    store = MemoryStore()
    ledger, run = _started(store)
    ledger.emit(run.id, "run_started", code="sha256:c")
    ledger.emit(run.id, "run_resumed", code="sha256:other")
    ledger.emit(run.id, "run_resumed", code="sha256:c")
    ledger.finish(run, {})
    assert ledger.state(run.id).state is State.DONE
    assert ledger.find_done(run.work_digest) is None


def test_a_run_whose_record_was_cleared_away_keeps_nobody_from_the_older_ones() -> None:
    store = MemoryStore()
    ledger, run = _started(store)
    ledger.finish(run, {})
    newer = _run("job-20260201t120000-bbbbbb")
    ledger.start(newer, {})
    ledger.finish(newer, {})
    store.delete(f"runs/{newer.id}/run.json")
    found = ledger.find_done(run.work_digest)
    assert found is not None
    assert found.run == run
    store.delete(f"runs/{run.id}/run.json")
    assert ledger.find_done(run.work_digest) is None


@pytest.mark.parametrize("keys", [{}, {"roles": []}, {"roles": 1}])
def test_a_record_with_other_keys_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(Format, match="other keys"):
        Run.from_bytes(encode_record("run", 1, keys))
    with pytest.raises(Format, match="other keys"):
        Run.from_bytes(encode_record("run", 1, {**json.loads(_run().to_bytes()), "more": 1}))


def test_ids_say_job_and_time_and_differ() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    ids = {new_run_id("my-job", at) for _ in range(50)}
    assert len(ids) == 50
    assert all(one.startswith("my-job-20260131t120000-") for one in ids)


def test_events_of_two_drivers_are_all_kept() -> None:
    ledger, run = _started(MemoryStore())
    barrier = threading.Barrier(4)

    def speak(name: int) -> None:
        barrier.wait()
        for number in range(10):
            ledger.emit(run.id, "unit_retried", phase=str(name), unit=str(number))

    threads = [threading.Thread(target=speak, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [(event["phase"], event["unit"]) for event in ledger.state(run.id).events if "unit" in event]
    assert len(said) == len(set(said)) == 40


@pytest.mark.parametrize("mode", MODES)
def test_a_start_that_dies_leaves_no_run_or_a_whole_one(mode: Mode) -> None:
    def attempt(k: int) -> bool:
        store, run = MemoryStore(), _run()
        try:
            Ledger(FaultyStore(store, k, mode)).start(run, {"input": UNITS})
        except Crash:
            died = True
        else:
            died = False
        ledger = Ledger(store)
        assert ledger.ids() in ([], [run.id])
        if ledger.ids():
            assert ledger.plan(run.id, "input") == UNITS
        return died

    crash_points(attempt, at_least=2)


@pytest.mark.parametrize("mode", MODES)
def test_an_end_that_dies_leaves_a_run_that_is_done_or_can_be_finished(mode: Mode) -> None:
    def attempt(k: int) -> bool:
        store = MemoryStore()
        ledger, run = _started(store)
        try:
            Ledger(FaultyStore(store, k, mode)).finish(run, {"rows": 1})
        except Crash:
            died = True
        else:
            died = False
        if ledger.state(run.id).state is not State.DONE:
            ledger.finish(run, {"rows": 1})
        assert ledger.state(run.id).state is State.DONE
        found = ledger.find_done(run.work_digest)
        assert found is not None
        assert found.state is State.DONE
        return died

    crash_points(attempt, at_least=3)
