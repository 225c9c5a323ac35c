"""The only worker is lost: what was to run there runs on the one that comes after it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, Future, LocalCluster

from dataops.engine.loosening import loosen


@pytest.fixture
def single() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as started,
        Client(started, set_as_default=False) as client,
    ):
        yield client


def die_once(mark: Path) -> str:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return "done"
    os.kill(os.getpid(), signal.SIGKILL)
    return "dead"


def submit(client: Client, mark: Path, *, elsewhere: bool) -> Future:
    where = {"workers": list(client.nthreads()), "allow_other_workers": elsewhere}
    return client.submit(die_once, mark, pure=False, **where)


def test_a_task_that_may_run_elsewhere_does(single, tmp_path):
    loosen(single)
    loosen(single)
    assert submit(single, tmp_path / "mark", elsewhere=True).result(timeout=120) == "done"


def test_one_that_must_run_there_still_waits(single, tmp_path):
    loosen(single)
    gone, must = set(single.nthreads()), submit(single, tmp_path / "mark", elsewhere=False)
    while gone & set(single.nthreads()) or not single.nthreads():
        time.sleep(0.05)
    assert must.status == "pending"
    assert single.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.unrunnable)) == 1
