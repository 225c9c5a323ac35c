"""Units on Dask: each done, in order, with failures as our own errors and nothing of a row in them; real workers are
killed, tasks hang, a Dask scheduler dies."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster

from dataops.engine import handing_out as engine
from dataops.engine.code import code_identity
from dataops.engine.progress import Progress
from dataops.engine.tasks import Failure, attempt, attempt_all, attempt_batch
from dataops.engine.work import Work
from dataops.errors import Compute, ContractViolation, Integrity, Storage
from dataops.version import VERSION
from tests.datasets.examples import make_unit
from tests.engine import jobs
from tests.engine.jobs import Context
from tests.line.running import standing_cluster

UNITS = tuple(make_unit(number, number + 1) for number in range(20))


class Told:
    """Events as they were emitted."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, event: str, /, **fields: Any) -> None:
        self.events.append({"event": event, **fields})


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def work(cluster: Client, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setattr(engine, "PAUSE_SECONDS", 0.0)
    return Work(client=cluster, run=f"run-{tmp_path.name}", emit=told, progress=Progress(io.StringIO()))


@pytest.fixture(scope="module")
def mortal() -> Iterator[Client]:
    """A cluster as jobs have it, whose workers a task may kill: they are started again."""
    with standing_cluster(2) as connection:
        yield connection.client


@pytest.fixture(scope="module")
def one_thread() -> Iterator[Client]:
    """One worker with one thread, in this process."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as started,
        Client(started, set_as_default=False) as client,
    ):
        yield client


def work_on(client: Client, told: Told, folder: Path, **limits: float) -> Work:
    """Work on another cluster than the tests' own."""
    return Work(client=client, run=f"run-{folder.name}", emit=told, progress=Progress(io.StringIO()), **limits)


def tried(folder: Path) -> list[str]:
    """The units that were tried, once for each time."""
    return sorted(path.name[:7] for path in folder.glob("u*-[0-9]*"))


class TestUnits:
    def test_are_each_done_once_and_come_back_in_order(self, work: Work, tmp_path: Path) -> None:
        results = work.map_units("count", jobs.rows_of, Context(folder=tmp_path), tuple(reversed(UNITS)))
        assert results == [unit.rows for unit in reversed(UNITS)]
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"{unit.id}-1" for unit in UNITS]

    def test_that_are_done_are_not_done_again(self, work: Work, tmp_path: Path) -> None:
        done = {unit.id: -1 for unit in UNITS[::2]}
        results = work.map_units("count", jobs.rows_of, Context(folder=tmp_path), UNITS, done=done)
        assert results == [-1 if number % 2 == 0 else number + 1 for number in range(20)]
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"{unit.id}-1" for unit in UNITS[1::2]]

    @pytest.mark.parametrize("units", [(), UNITS[:3]], ids=["none", "all done"])
    def test_may_be_none(self, work: Work, tmp_path: Path, units: Any) -> None:
        done = {unit.id: 0 for unit in units}
        assert work.map_units("count", jobs.rows_of, Context(folder=tmp_path), units, done=done) == [0] * len(units)
        assert list(tmp_path.iterdir()) == []

    def test_are_told_as_they_land_once_each_but_for_those_that_were_done(self, work: Work, tmp_path: Path) -> None:
        heard: list[tuple[str, Any]] = []
        work.map_units(
            "count",
            jobs.rows_of,
            Context(folder=tmp_path),
            UNITS,
            done={UNITS[0].id: 1},
            landed=lambda unit, result: heard.append((unit.id, result)),
        )
        assert sorted(heard) == [(unit.id, unit.rows) for unit in UNITS[1:]]

    def test_stop_as_soon_as_who_is_told_wants_them_to(self, work: Work, told: Told, tmp_path: Path) -> None:
        units, heard = tuple(make_unit(number, 1) for number in range(300)), []

        def landed(unit: Any, result: Any) -> None:
            heard.append(unit.id)
            raise ContractViolation("too many")

        with pytest.raises(ContractViolation, match="too many"):
            work.map_units("count", jobs.rows_of, Context(folder=tmp_path), units, landed=landed)
        assert len(heard) == 1
        assert len(tried(tmp_path)) < len(units)
        assert told.events[-1]["outcome"] == "failed"

    def test_leave_nothing_on_the_cluster(self, work: Work, tmp_path: Path, cluster: Client) -> None:
        work.map_units("count", jobs.rows_of, Context(folder=tmp_path), UNITS)
        with pytest.raises(ContractViolation):
            work.map_units("bad", jobs.breaks_its_contract, Context(folder=tmp_path), UNITS)
        held = cluster.run_on_scheduler(_keys_once_idle)
        assert [key for key in held if work.run in key] == []


class TestFailure:
    def test_that_is_ours_stops_the_phase_and_is_not_tried_again(self, work: Work, told: Told, tmp_path: Path) -> None:
        with pytest.raises(ContractViolation, match="unit u000001 is bad"):
            work.map_units("check", jobs.breaks_its_contract, Context(folder=tmp_path), UNITS)
        assert not (tmp_path / "u000001-2").exists()
        assert told.events[-1] | {"seconds": 0} == {
            "event": "phase_ended", "phase": "check", "outcome": "failed", "seconds": 0,
        }  # fmt: skip

    def test_of_one_unit_leaves_the_others_of_its_batch_their_results(self, work: Work, tmp_path: Path) -> None:
        heard: list[str] = []
        with pytest.raises(ContractViolation, match="unit u000001 is bad"):
            work.map_units(
                "check",
                jobs.breaks_its_contract,
                Context(folder=tmp_path),
                tuple(make_unit(number, 1) for number in range(100)),
                landed=lambda unit, _: heard.append(unit.id),
            )
        assert {"u000000", "u000002", "u000003"} <= set(heard)
        assert "u000001" not in heard

    def test_that_nobody_foresaw_says_where_and_never_what(self, work: Work, tmp_path: Path) -> None:
        with pytest.raises(Compute) as caught:
            work.map_units("quote", jobs.quotes_a_value, Context(folder=tmp_path), UNITS[:1])
        assert "ValueError" in str(caught.value)
        assert "CANARY" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_of_storage_is_tried_again(self, work: Work, told: Told, tmp_path: Path) -> None:
        results = work.map_units("write", jobs.storage_fails_twice, Context(folder=tmp_path), UNITS[:3])
        assert results == [1, 3, 1]
        tries = [event["tries"] for event in told.events if event["event"] == "unit_retried"]
        assert tries == [1, 2]

    def test_of_storage_holds_up_no_other_unit(
        self, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now, heard = [0.0], []
        monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=lambda: now[0]))
        monkeypatch.setattr(engine, "PAUSE_SECONDS", 3600.0)

        def landed(unit: Any, result: Any) -> None:
            heard.append(unit.id)
            if len(heard) == len(UNITS) - 1:  # all but the bad one, in whose pause no time goes by
                monkeypatch.setattr(engine, "PAUSE_SECONDS", 0.0)
                now[0] = 3600.0

        work.map_units("write", jobs.storage_fails_twice, Context(folder=tmp_path), UNITS, landed=landed)
        assert heard[-1] == "u000001"
        assert len(heard) == len(UNITS)

    def test_of_storage_that_does_not_pass_ends_after_a_few_tries(self, work: Work, tmp_path: Path) -> None:
        with pytest.raises(Storage, match="errno 28") as caught:
            work.map_units("write", jobs.disk_never_works, Context(folder=tmp_path), UNITS[:1])
        assert "CANARY" not in str(caught.value)
        assert len(list(tmp_path.iterdir())) == 1 + engine.RETRIES

    def test_of_memory_names_the_unit_and_its_size(self, work: Work, tmp_path: Path) -> None:
        with pytest.raises(Compute, match=r"u000000: out of memory on its worker \(10 bytes"):
            work.map_units("fill", jobs.is_out_of_memory, Context(folder=tmp_path), UNITS[:1])

    def test_comes_back_in_its_family(self) -> None:
        def fail(*_: object) -> None:
            raise Integrity("what happened")

        failure = attempt(fail, None, UNITS[0])
        assert failure == Failure(family="Integrity", message="what happened")
        assert isinstance(failure.error(), Integrity)
        assert isinstance(Failure(family="Elsewhere", message="").error(), Compute)

    def test_other_code_than_the_runs_is_done_by_no_worker(self) -> None:
        failure = attempt_batch({"version": "0.0.1", "digest": "sha256:0"}, jobs.rows_of, b"CANARY", b"CANARY")
        assert isinstance(failure, Failure)
        assert failure.family == "Compute"
        assert f"other code than the run: version {VERSION} and not 0.0.1; units and models would" in failure.message
        assert not failure.may_pass

    def test_to_unpack_a_task_says_nothing_of_what_was_packed(self) -> None:
        failure = attempt_batch(code_identity(), jobs.rows_of, b"CANARY", b"CANARY")
        assert isinstance(failure, Failure)
        assert failure.family == "Compute"
        assert "CANARY" not in failure.message


class TestWhatIsWrittenLater:
    @pytest.mark.parametrize("size_bytes", [10, 2**30], ids=["within a batch", "from task to task"])
    def test_is_written_while_the_next_unit_is_read(
        self, one_thread: Client, told: Told, tmp_path: Path, size_bytes: int
    ) -> None:
        units = tuple(make_unit(number, size_bytes // 10) for number in range(6))
        context = Context(folder=tmp_path, last=units[-1].id)
        results = work_on(one_thread, told, tmp_path).map_units("score", jobs.writes_later, context, units)
        assert results == [(unit.id, True) for unit in units]
        assert len(list(tmp_path.glob("*-written"))) == len(units)

    def test_fails_for_its_unit_alone_and_is_tried_again(self, work: Work, told: Told, tmp_path: Path) -> None:
        results = work.map_units("score", jobs.fails_to_write, Context(folder=tmp_path), UNITS)
        assert results == [unit.rows for unit in UNITS]
        (retried,) = (event for event in told.events if event["event"] == "unit_retried")
        assert (retried["unit"], retried["reason"]) == ("u000001", "unit u000001: OSError, errno 5")
        assert tried(tmp_path) == sorted([*(unit.id for unit in UNITS), "u000001"])

    def test_needs_no_cluster(self, tmp_path: Path) -> None:
        outcomes = attempt_all(jobs.fails_to_write, Context(folder=tmp_path), UNITS[:3])
        assert [outcomes[0], outcomes[2]] == [1, 3]
        assert outcomes[1] == Failure(family="Storage", message="unit u000001: OSError, errno 5")


class TestKilledWorker:
    def test_costs_only_what_it_was_doing(self, mortal: Client, told: Told, tmp_path: Path) -> None:
        results = work_on(mortal, told, tmp_path).map_units(
            "score", jobs.kills_its_worker_once, Context(folder=tmp_path), UNITS
        )
        assert results == [unit.rows for unit in UNITS]

    def test_by_the_same_unit_over_and_over_has_it_go_another_way(
        self, mortal: Client, told: Told, tmp_path: Path
    ) -> None:
        mortal.wait_for_workers(2, timeout=120)
        asked: list[str] = []

        def on_killed(unit: Any) -> Any:
            asked.append(unit.id)
            return jobs.goes_another_way

        results = work_on(mortal, told, tmp_path).map_units(
            "score", jobs.kills_its_worker_unless_it_goes_another_way, Context(folder=tmp_path), UNITS,
            on_killed=on_killed,
        )  # fmt: skip
        assert asked == ["u000001"]  # and none that was beside it
        assert results == ["another way" if unit.id == "u000001" else "the usual way" for unit in UNITS]
        assert any("u000001" in event["units"] for event in told.events if event["event"] == "units_killed_workers")

    @pytest.mark.faults
    def test_by_a_unit_without_another_way_names_the_unit(self, mortal: Client, told: Told, tmp_path: Path) -> None:
        mortal.wait_for_workers(2, timeout=120)
        with pytest.raises(Compute, match=r"workers died several times over unit u000001 \(part-1\.parquet\)"):
            work_on(mortal, told, tmp_path).map_units(
                "score", jobs.kills_its_worker, Context(folder=tmp_path), UNITS[:4], on_killed=lambda _: None
            )


class TestTimeouts:
    def test_what_hangs_is_handed_out_again_and_named_when_it_hangs_again(
        self, cluster: Client, told: Told, tmp_path: Path
    ) -> None:
        heard: list[str] = []
        work = work_on(cluster, told, tmp_path, stalled_seconds=6.0)
        try:
            with pytest.raises(Compute, match=r"^nothing came of unit u000001 \(part-1.parquet\) for 6 seconds"):
                work.map_units(
                    "score", jobs.hangs, Context(folder=tmp_path), UNITS, landed=lambda unit, _: heard.append(unit.id)
                )
        finally:
            (tmp_path / "let-go").touch()
        assert sorted(heard) == [unit.id for unit in UNITS if unit.id != "u000001"]
        assert tried(tmp_path).count("u000001") == 2
        assert "u000001" in next(event["units"] for event in told.events if event["event"] == "units_stalled")

    def test_what_hung_once_is_done_by_its_copy_and_counts_once(
        self, cluster: Client, told: Told, tmp_path: Path
    ) -> None:
        context = Context(folder=tmp_path, bad="", slow="u000003")
        work = work_on(cluster, told, tmp_path, stalled_seconds=6.0)
        heard: list[str] = []
        try:
            results = work.map_units("score", jobs.hangs, context, UNITS, landed=lambda unit, _: heard.append(unit.id))
        finally:
            (tmp_path / "let-go").touch()
        assert results[3] == 2
        assert sorted(heard) == [unit.id for unit in UNITS]

    def test_a_run_that_takes_too_long_says_how_much_is_missing(
        self, cluster: Client, told: Told, tmp_path: Path
    ) -> None:
        work = work_on(cluster, told, tmp_path, run_seconds=0.0)
        with pytest.raises(Compute, match=r"timeouts\.run_seconds allows; \d+ units of 'score' are missing"):
            work.map_units("score", jobs.rows_of, Context(folder=tmp_path), UNITS)


@contextmanager
def elsewhere(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Client]]:
    """A Dask scheduler in a process of its own with one worker, and a client of its address."""
    dask, address = Path(sys.executable).parent / "dask", folder / "scheduler.json"
    options = ["--no-dashboard", "--scheduler-file", str(address)]
    started = [
        subprocess.Popen([dask, *words, *options], stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": "."})
        for words in (
            ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show"],
            ["worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(folder)],
        )
    ]
    try:
        with Client(scheduler_file=str(address), set_as_default=False) as client:
            client.wait_for_workers(1, timeout=120)
            yield started[0], client
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_lost_dask_scheduler_ends_a_phase_whose_results_stay(
    work: Work, told: Told, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: dict[str, Any] = {}
    (tmp_path / "notes").mkdir()
    context = Context(folder=tmp_path / "notes")
    with elsewhere(tmp_path) as (scheduler, client):

        def landed(unit: Any, result: Any) -> None:
            heard[unit.id] = result
            scheduler.kill()

        lost = work_on(client, told, tmp_path)
        many = tuple(make_unit(number, 1) for number in range(300))
        with pytest.raises(Compute, match="connection to the Dask scheduler was lost"):
            lost.map_units("score", jobs.rows_of, context, many, landed=landed)
        with pytest.raises(Compute, match="connection to the Dask scheduler was lost"):
            lost.map_units("another", jobs.rows_of, context, many)
    assert 0 < len(heard) < len(many)
    assert work.map_units("score", jobs.rows_of, context, many, done=heard) == [1] * len(many)


def test_a_phase_is_timed_and_told_also_when_it_fails(work: Work, told: Told) -> None:
    with work.phase("publish"):
        pass
    with pytest.raises(KeyError), work.phase("report", total=3, rows=7):
        raise KeyError
    assert [(event["event"], event["phase"], event.get("outcome")) for event in told.events] == [
        ("phase_started", "publish", None),
        ("phase_ended", "publish", "done"),
        ("phase_started", "report", None),
        ("phase_ended", "report", "failed"),
    ]
    assert set(work.seconds) == {"publish", "report"}


async def _keys_once_idle(dask_scheduler: Any) -> list[str]:
    """Keys that the scheduler holds, once those that clients released are gone."""
    import asyncio

    for _ in range(200):
        if not any("run-test" in str(key) for key in dask_scheduler.tasks):
            break
        await asyncio.sleep(0.02)
    return [str(key) for key in dask_scheduler.tasks]
