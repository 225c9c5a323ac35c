from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataops.engine.noted import NOTED, Notes, Sample


def sample(at: int, worker: int) -> Sample:
    return Sample(float(at), worker, 100, 0, 50.0, 1)


def ticked(notes: Notes, ticks: int, workers: int) -> None:
    for at in range(ticks):
        if notes.is_due():
            notes.add_samples([sample(at, worker) for worker in range(workers)])


@given(ticks=st.integers(1, 3000), workers=st.integers(1, 9), most=st.integers(20, 200))
def test_samples_stay_few_and_evenly_spread_from_the_beginning_to_the_end(ticks: int, workers: int, most: int) -> None:
    notes = Notes(max_samples=most)
    ticked(notes, ticks, workers)
    kept = sorted({one.at for one in notes.samples})
    assert len(notes.samples) <= most
    assert kept == [float(at) for at in range(0, ticks, notes.every)]
    assert len(notes.samples) == len(kept) * workers


def test_more_workers_than_samples_may_be_kept_are_seen_once() -> None:
    notes = Notes(max_samples=3)
    ticked(notes, 100, workers=10)
    assert {one.worker for one in notes.samples} == set(range(10))
    assert len(notes.samples) == 10


def test_parts_of_tasks_beyond_the_bound_are_counted_and_left_out() -> None:
    notes = Notes(max_tasks=3)
    parts = [{"action": name, "start": 1.0, "stop": 2.0} for name in ("transfer", "compute")]
    for _ in range(4):
        notes.add_task("score", "tcp://a", parts, units={"rows": 5, "bytes": 7}, result_bytes=1, failed=False)
    assert [(one.task, one.action) for one in notes.tasks] == [(0, "transfer"), (0, "compute"), (1, "transfer")]
    assert notes.left_out == 5


def test_sums_by_phase_hold_all_tasks_also_those_that_were_left_out() -> None:
    notes = Notes(max_tasks=3)
    parts = [{"action": name, "start": 1.0, "stop": 1.5} for name in ("transfer", "compute", "disk-read")]
    for phase, failed in (("score", False), ("score", True), ("judge", False), ("judge", False)):
        notes.add_task(phase, "tcp://a", parts, units={"rows": 5, "bytes": 7}, result_bytes=1, failed=failed)
    assert notes.left_out == 9
    assert {(one.phase, one.activity, one.unit): one.figure for one in notes.sums() if one.kind == NOTED} == {
        (phase, activity, unit): figure
        for phase, failures in (("score", 1.0), ("judge", 0.0))
        for activity, unit, figure in (
            ("tasks", "count", 2.0), ("failed", "count", failures), ("rows", "count", 10.0),
            ("compute", "seconds", 1.0), ("transfer", "seconds", 1.0), ("disk", "seconds", 1.0),
        )
    }  # fmt: skip


def test_phases_and_workers_are_numbered_as_they_come() -> None:
    notes = Notes()
    part = [{"action": "compute", "start": 1.0, "stop": 2.0}]
    for phase, worker in (("encode", "tcp://b"), ("score", "tcp://a"), ("encode", "tcp://b")):
        notes.add_task(phase, worker, part, units={}, result_bytes=1, failed=False)
    assert (notes.phases, notes.workers) == (["encode", "score"], ["tcp://b", "tcp://a"])
    assert [(one.phase, one.worker, one.rows) for one in notes.tasks] == [(0, 0, None), (1, 1, None), (0, 0, None)]
