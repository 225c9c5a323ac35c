"""What a worker keeps of memory is given back where room is asked for, and after a task that leaves it short."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from typing import Any

import numpy as np
import psutil
import pytest
from distributed import Client

from dataops.declarations.clusters import LocalFile
from dataops.engine.connect import connect
from dataops.engine.memory import give_back, give_back_if_short, in_use
from dataops.training.parts import submit

MIB = 2**20
KEPT, BLOCK = 300 * MIB, MIB // 2
PINS: list[np.ndarray] = []


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    one = {"workers": 1, "threads": 1}
    cluster = LocalFile.model_validate({"kind": "local", "score": one, "train": one, "memory_limit": "8 GiB"})
    with connect(cluster, cluster.score) as connection:
        yield connection.client


def leave_behind() -> int:
    """What a task's thread used, and what its arena keeps; bytes that the process holds."""

    def use() -> None:
        blocks = []
        for number in range(KEPT // BLOCK):
            blocks.append(np.ones(BLOCK, np.uint8))
            if number % 10 == 0:
                PINS.append(np.ones(BLOCK // 10, np.uint8))  # what lives on among them
        blocks.clear()

    thread = Thread(target=use)
    thread.start()
    thread.join()
    return int(psutil.Process().memory_info().rss)


def as_units_do() -> None:
    leave_behind()
    give_back_if_short()


def test_what_a_thread_left_behind_is_no_use_of_memory(client: Client) -> None:
    (address,) = client.nthreads()
    before = in_use(client)[address]
    held = client.submit(leave_behind, pure=False).result()
    assert held > before + KEPT / 2, "the worker kept nothing: there is nothing to be seen here"
    assert in_use(client)[address] < before + KEPT / 4


@pytest.mark.parametrize(("limit", "kept"), [(8 * 2**30, True), (400 * MIB, False)])
def test_a_task_gives_it_back_where_its_worker_is_short(client: Client, limit: int, kept: bool) -> None:
    def now_limited(dask_worker: Any) -> int:
        give_back()
        before, dask_worker.memory_manager.memory_limit = dask_worker.memory_manager.memory_limit, limit
        return int(before)

    (address,) = client.nthreads()
    client.run(now_limited)
    before = client.run(lambda: psutil.Process().memory_info().rss)[address]
    client.submit(as_units_do, key=f"left-{limit}").result()
    after = client.run(lambda: psutil.Process().memory_info().rss)[address]
    assert (after > before + KEPT / 2) is kept


def test_a_task_of_a_fit_gives_it_back(client: Client) -> None:
    (address,) = client.nthreads()
    before = in_use(client)[address]
    submit(client, leave_behind, key="fit").result()
    assert client.run(lambda: psutil.Process().memory_info().rss)[address] < before + KEPT / 2


def test_outside_of_a_worker_there_is_nothing_to_be_short_of() -> None:
    give_back_if_short()
