"""From a cluster file to a client: as many processes and threads as it says, and nothing left behind."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from dataops.declarations.clusters import ClusterFile
from dataops.engine.code import code_identity
from dataops.engine.connect import connect, usable_cores
from dataops.engine.progress import Progress
from dataops.engine.work import Work
from tests.datasets.examples import make_unit
from tests.engine import jobs
from tests.engine.jobs import Context


def test_an_embedded_cluster_is_what_its_file_says_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as an earlier cluster of this process may leave it
    spill, notes = tmp_path / "spill", tmp_path / "notes"
    spill.mkdir()
    notes.mkdir()
    declared = {"score": {"workers": 1, "threads": 3}, "local_directory": str(spill), "memory_limit": "1 GiB"}
    cluster = ClusterFile.model_validate(declared)
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
        assert found["omp"] == "3"
    assert list(spill.iterdir()) == []
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 5}, raising=False)
    assert usable_cores() == 2


def test_the_code_is_named_by_its_files() -> None:
    identity = code_identity()
    assert identity["digest"].startswith("sha256:")
    assert identity == code_identity()
