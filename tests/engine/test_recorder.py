"""The recorder on real clusters: what it notes, what it leaves alone, and how it ends."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from dataops.engine import recorder
from dataops.engine.noted import NOTED, Notes, Recorded
from dataops.engine.progress import Progress
from dataops.engine.recorder import begin_recording
from dataops.engine.work import Work
from dataops.errors import Compute
from tests.datasets.examples import make_unit
from tests.engine import jobs

UNITS = tuple(make_unit(number, number + 1) for number in range(20))
APART = 2.0  # seconds: Dask guesses from heartbeats how far apart clocks are, and a busy machine's take long


def left_on(client: Client) -> list[str]:
    """Recorders that the Dask scheduler still has."""

    def names(dask_scheduler: Any) -> list[str]:
        return [name for name in (*dask_scheduler.plugins, *dask_scheduler.handlers) if "dataops-recorder" in name]

    return list(client.run_on_scheduler(names))


def work_on(client: Client, run: str) -> Work:
    def unheard(_event: str, /, **_fields: Any) -> None:
        pass

    return Work(client=client, run=run, emit=unheard, progress=Progress(io.StringIO(), quiet=True))


@contextmanager
def recording(client: Client, run: str) -> Iterator[list[Recorded]]:
    take: Callable[[], Recorded] = begin_recording(client, run)
    taken: list[Recorded] = []
    yield taken
    taken.append(take())


def test_it_notes_each_task_of_its_run_with_phase_worker_times_and_rows(cluster: Client, tmp_path: Path) -> None:
    before = time.time()
    with recording(cluster, "run-1") as taken:
        work_on(cluster, "run-1").map_units("count", jobs.rows_of, jobs.Context(folder=tmp_path), UNITS)
    (recorded,) = taken
    assert recorded.phases == ["count"]
    computed = [one for one in recorded.tasks if one.action == "compute"]
    assert sum(one.rows or 0 for one in computed) == sum(unit.rows for unit in UNITS)
    assert sum(one.read_bytes or 0 for one in computed) == sum(unit.size_bytes for unit in UNITS)
    assert len({one.task for one in computed}) == len(computed)
    assert all(before - APART <= one.began <= one.ended <= recorded.ended + APART for one in computed)
    assert {recorded.workers[one.worker].address for one in computed} <= set(cluster.nthreads())
    assert not any(one.failed for one in computed)


def test_it_notes_how_the_workers_fare_at_least_at_both_ends(cluster: Client) -> None:
    with recording(cluster, "run-1") as taken:
        pass
    (recorded,) = taken
    addresses = {worker.address for worker in recorded.workers}
    assert addresses == set(cluster.nthreads())
    assert {(worker.threads, worker.memory_limit > 0) for worker in recorded.workers} == {(1, True)}
    assert len(recorded.samples) >= 2 * len(addresses)
    assert all(one.memory > 10**6 for one in recorded.samples)
    assert recorded.tasks == []


def test_it_takes_dasks_own_sums_by_phase(cluster: Client, tmp_path: Path) -> None:
    work = work_on(cluster, "run-sums")
    work.map_units("count", jobs.rows_of, jobs.Context(folder=tmp_path), UNITS)  # of an attempt before: not its own
    with recording(cluster, "run-sums") as taken:
        work.map_units("look", jobs.takes_a_processor, jobs.Context(folder=tmp_path), UNITS[:4])
        for _ in range(1200):  # sums come with the workers' heartbeats
            if cluster.run_on_scheduler(has_sums, name=("run-sums", "look")):
                break
            time.sleep(0.05)
    figures = {(one.phase, one.activity, one.unit): one.figure for one in taken[0].spans}
    assert figures["look", "thread-cpu", "seconds"] > 0
    assert {phase for phase, _, _ in figures} == {"look"}


def has_sums(dask_scheduler: Any, name: tuple[str, ...]) -> bool:
    spans = dask_scheduler.extensions["spans"].spans_search_by_name[name]
    return any("thread-cpu" in key for span in spans for key in span.cumulative_worker_metrics)


def test_it_leaves_other_runs_alone_and_names_no_key(cluster: Client, tmp_path: Path) -> None:
    with recording(cluster, "run-2") as taken:
        work_on(cluster, "run-20").map_units("count", jobs.rows_of, jobs.Context(folder=tmp_path), UNITS)
        cluster.submit(abs, -1, key="somebody's own", pure=False).result()
    assert taken[0].tasks == []
    assert "u000001" not in repr(taken)


def test_tasks_of_two_phases_whose_keys_begin_alike_are_told_apart(cluster: Client) -> None:
    work = work_on(cluster, "run-11")
    with recording(cluster, "run-11") as taken:
        with work.phase("encode"):
            kept = cluster.submit(abs, -1, key="run-11-encode-u1", pure=False)
            kept.result()
        with work.phase("judge"):  # while tasks of the first are there, Dask takes these for more of them
            cluster.submit(abs, -2, key="run-11-judge-u1", pure=False).result()
    assert taken[0].phases == ["encode", "judge"]
    assert [one.phase for one in taken[0].tasks] == [0, 1]


def test_a_task_that_raises_is_noted_as_failed(cluster: Client) -> None:
    with recording(cluster, "run-3") as taken, work_on(cluster, "run-3").phase("fit"):
        cluster.submit(int, "no number", pure=False).exception()
    assert [one.failed for one in taken[0].tasks] == [True]


def test_more_than_one_answer_holds_come_in_several(
    cluster: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as here, Client(here) as client:
        monkeypatch.setattr(recorder, "CHUNK", 3)
        with recording(client, "run-4") as taken:
            work_on(client, "run-4").map_units("count", jobs.rows_of, jobs.Context(folder=tmp_path), UNITS)
        computed = [one for one in taken[0].tasks if one.action == "compute"]
        assert sum(one.rows or 0 for one in computed) == sum(unit.rows for unit in UNITS)
        assert len(taken[0].tasks) > 3


def test_nothing_of_it_stays_on_the_dask_scheduler(cluster: Client) -> None:
    take = begin_recording(cluster, "run-5")
    other = begin_recording(cluster, "run-5")  # somebody goes on with the run, while the first is not quite dead
    assert len(left_on(cluster)) == 4
    take()
    assert len(left_on(cluster)) == 2
    other()
    assert left_on(cluster) == []


def test_it_ends_with_the_client_that_began_it(cluster: Client) -> None:
    with Client(cluster.scheduler.address, set_as_default=False) as gone:
        begin_recording(gone, "run-6")
        assert len(left_on(cluster)) == 2
    for _ in range(200):
        if not left_on(cluster):
            break
        time.sleep(0.05)
    assert left_on(cluster) == []


def test_a_dask_scheduler_that_is_gone_has_no_records_and_says_so_at_once() -> None:
    here = LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0")
    client = Client(here, set_as_default=False)
    take = begin_recording(client, "run-7")
    client.close()
    here.close()
    with pytest.raises(Compute, match="gone"):
        take()
    with pytest.raises(Compute, match="takes no recorder"):
        begin_recording(client, "run-7")


def test_a_dask_scheduler_that_lost_the_recorder_says_so(cluster: Client) -> None:
    take = begin_recording(cluster, "run-8")
    take()
    with pytest.raises(Compute, match="gives no recording"):
        take()


def test_beyond_the_bound_the_rest_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "Notes", lambda: Notes(max_tasks=2))
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as here,
        Client(here) as client,
        recording(client, "run-9") as taken,
    ):
        work_on(client, "run-9").map_units("count", jobs.rows_of, jobs.Context(folder=tmp_path), UNITS)
    assert len(taken[0].tasks) == 2
    assert taken[0].left_out > 0
    sums = {one.activity: one.figure for one in taken[0].spans if (one.phase, one.kind) == ("count", NOTED)}
    assert sums["rows"] == sum(unit.rows for unit in UNITS)
    assert sums["tasks"] > 2
    assert sums["compute"] > 0
