"""Units on Dask: each done, in order, with failures as our own errors and nothing of a row in them."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from dataops.engine import handing_out as engine
from dataops.engine.progress import Progress
from dataops.engine.tasks import Failure, attempt
from dataops.engine.work import Work
from dataops.errors import Compute, ContractViolation, Integrity, Storage
from tests.datasets.examples import make_unit
from tests.engine import jobs
from tests.engine.jobs import Context

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
    """Two workers of which a task may kill one: they are started again."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
        ) as started,
        Client(started, set_as_default=False) as client,
    ):
        yield client


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


class TestKilledWorker:
    def _work(self, client: Client, told: Told, folder: Path) -> Work:
        return Work(client=client, run=f"run-{folder.name}", emit=told, progress=Progress(io.StringIO()))

    def test_costs_only_what_it_was_doing(self, mortal: Client, told: Told, tmp_path: Path) -> None:
        results = self._work(mortal, told, tmp_path).map_units(
            "score", jobs.kills_its_worker_once, Context(folder=tmp_path), UNITS
        )
        assert results == [unit.rows for unit in UNITS]

    def test_by_the_same_unit_over_and_over_names_the_unit(self, mortal: Client, told: Told, tmp_path: Path) -> None:
        mortal.wait_for_workers(2, timeout=60)
        with pytest.raises(Compute, match=r"workers died several times over unit u00000\d \(part-\d\.parquet\)"):
            self._work(mortal, told, tmp_path).map_units(
                "score", jobs.kills_its_worker, Context(folder=tmp_path), UNITS[:4]
            )


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
