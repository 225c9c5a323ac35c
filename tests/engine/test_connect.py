"""From a cluster file to a client: as many processes and threads as it says, and nothing left behind."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pyarrow as pa
import pytest
from distributed import Client, LocalCluster

from dataops.declarations.clusters import AddressFile, LocalFile
from dataops.engine import code
from dataops.engine.code import code_identity
from dataops.engine.collecting import THRESHOLDS
from dataops.engine.connect import connect, usable_cores
from dataops.engine.embedded import worker_variables
from dataops.engine.progress import Progress
from dataops.engine.work import Work
from dataops.errors import Compute, ContractViolation
from tests.datasets.examples import make_unit
from tests.engine import jobs
from tests.engine.jobs import Context

MALLOC_OF_THREE = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
    "MALLOC_ARENA_MAX": "6",
}
UNSET = ("OMP_WAIT_POLICY", "MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_")


def test_an_embedded_cluster_is_what_its_file_says_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")  # as a cluster of somebody else's may leave it
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as an earlier cluster of this process may leave it
    spill, notes = tmp_path / "spill", tmp_path / "notes"
    spill.mkdir()
    notes.mkdir()
    declared = {"score": {"workers": 1, "threads": 3}, "local_directory": str(spill), "memory_limit": "1 GiB"}
    cluster = LocalFile.model_validate(declared)
    with connect(cluster, cluster.score) as connection:
        assert (connection.workers, connection.threads) == (1, 3)
        assert list(connection.client.nthreads().values()) == [3]
        assert connection.dashboard.startswith("http://127.0.0.1:")
        addresses = [*connection.client.nthreads(), connection.client.scheduler.address]
        assert all(address.startswith("tcp://127.0.0.1:") for address in addresses)
        (private,) = spill.iterdir()
        assert private.stat().st_mode & 0o077 == 0
        work = Work(client=connection.client, run="run", emit=lambda *_, **__: None, progress=Progress(io.StringIO()))
        (found,) = work.map_units("look", jobs.where_it_runs, Context(folder=notes), [make_unit(0, 1)])
        assert (found["omp"], found["waiting"], found["malloc"]) == ("3", "passive", MALLOC_OF_THREE)
        assert set(connection.client.run(gc.get_threshold).values()) == {THRESHOLDS}
        assert set(connection.client.run(lambda: pa.default_memory_pool().backend_name).values()) == {"system"}
        assert set(connection.client.run(lambda: os.environ["GLIBC_TUNABLES"]).values()) == {"glibc.malloc.hugetlb=1"}
    assert list(spill.iterdir()) == []
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "65536"
    assert not set(UNSET) & set(os.environ)


def test_what_the_environment_or_the_cluster_file_says_of_memory_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MALLOC_OF_THREE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    asked = {"distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": 12345}}
    with dask.config.set(asked):
        told = worker_variables(3, keep=True)
    assert (told["MALLOC_ARENA_MAX"], told["MALLOC_TRIM_THRESHOLD_"]) == ("7", "12345")
    assert not set(MALLOC_OF_THREE) & set(worker_variables(3, keep=False))
    assert told["MALLOC_MMAP_THRESHOLD_"] == MALLOC_OF_THREE["MALLOC_MMAP_THRESHOLD_"]


def test_what_a_cluster_sets_of_dasks_configuration_is_taken_back_and_no_more() -> None:
    """In a process of its own: here Dask was imported long ago."""
    program = """
from dataops.declarations.clusters import AddressFile
from dataops.engine.connect import joined
from dataops.errors import Compute
gone = AddressFile(kind="address", address="tcp://127.0.0.1:1", start_seconds=0.2)
for _ in range(2):
    try:
        with joined(gone, None):
            pass
    except Compute:
        pass
import dask
print(dask.config.get("distributed.comm.retry.count"), dask.config.get("distributed.scheduler.allowed-failures"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["0", "3"], done.stderr


@pytest.fixture(scope="module")
def standing() -> Iterator[AddressFile]:
    """A cluster that somebody else started: a worker with one thread, in this process."""
    words: dict[str, Any] = {"protocol": "tcp://", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **words) as started:
        yield AddressFile(kind="address", address=started.scheduler_address)


def on_it(standing: AddressFile, do: Callable[[Client], None]) -> None:
    with connect(standing, None) as connection:
        do(connection.client)


def blip(client: Client) -> None:
    """Cut the connection of `client` to its Dask scheduler, as a reset does; back when it is there again."""
    first, cut = client.scheduler_comm, threading.Event()

    def abort() -> None:
        first.comm.abort()
        cut.set()

    client.loop.add_callback(abort)
    assert cut.wait(60)
    deadline = time.monotonic() + 60
    while client.status != "running" or client.scheduler_comm in (first, None):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def work_of(client: Client) -> Work:
    return Work(client=client, run="run", emit=lambda *_, **__: None, progress=Progress(io.StringIO()))


def test_a_connection_that_is_there_again_was_lost_all_the_same(standing: AddressFile, tmp_path: Path) -> None:
    units = [make_unit(number, 1) for number in range(40)]

    def do(client: Client) -> None:
        work = work_of(client)
        work.map_units("score", jobs.rows_of, Context(folder=tmp_path), units, landed=lambda *_: blip(client))

    with pytest.raises(Compute, match="connection to the Dask scheduler was lost") as caught:
        on_it(standing, do)
    assert caught.value.cluster_lost
    assert 0 < len(list(tmp_path.iterdir())) < len(units)


def test_what_was_waited_for_when_it_was_cut_is_lost_with_it(standing: AddressFile, tmp_path: Path) -> None:
    def do(client: Client) -> None:
        waiting = client.submit(jobs.wait_for, tmp_path / "let-go", pure=False)
        blip(client)
        waiting.result()

    with pytest.raises(Compute, match="was lost") as caught:
        on_it(standing, do)
    (tmp_path / "let-go").touch()
    assert caught.value.cluster_lost


@pytest.mark.parametrize("error", [ContractViolation("of the data"), KeyError("of ours")], ids=["data", "code"])
def test_what_is_wrong_elsewhere_is_wrong_whatever_became_of_the_connection(
    standing: AddressFile, error: Exception
) -> None:
    def do(client: Client) -> None:
        blip(client)
        raise error

    with pytest.raises(type(error)) as caught:
        on_it(standing, do)
    assert caught.value is error


def test_a_connection_that_was_cut_between_two_phases_costs_nothing(standing: AddressFile, tmp_path: Path) -> None:
    with connect(standing, None) as connection:
        work = work_of(connection.client)
        blip(connection.client)
        assert work.map_units("score", jobs.rows_of, Context(folder=tmp_path), [make_unit(0, 3)]) == [3]


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 5}, raising=False)
    assert usable_cores() == 2


def test_the_code_is_named_by_its_files() -> None:
    identity = code_identity()
    assert identity["digest"].startswith("sha256:")
    assert identity == code_identity()


@pytest.mark.parametrize("name", ["python", "sqlglot", "numpy"])
def test_another_version_of_what_decides_on_values_is_other_code(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    here, versions = code_identity()["digest"], dict(code.library_versions())
    monkeypatch.setattr(code, "library_versions", lambda: {**versions, name: f"{versions[name]}.1"})
    assert code_identity.__wrapped__()["digest"] != here
