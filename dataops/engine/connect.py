"""From a cluster file to a Dask client.

1. The embedded cluster is made of worker processes on this machine, bound to loopback, with a private spill folder
   that is wiped.
2. Scoring takes one process per core with one native thread each; training takes few processes with more threads
   (cluster file).
3. Native libraries (Arrow, XGBoost, BLAS) get as many threads as the worker has, or two cores do the work of one.
4. A task whose workers died twice is given up by Dask: units are then done one by one, so that the one that kills
   workers is found within seconds.
5. A worker that died is started again by its nanny, however long that takes on a busy machine: Dask would take a worker
   for lost for good that isn't back after 15 seconds, and be left without any.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

from dataops.declarations.clusters import ClusterFile, Shape
from dataops.engine.spill import spill_folder

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

NATIVE_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CONFIG = {
    # children of a long-lived driver inherit neither its locks nor its threads
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.scheduler.allowed-failures": 1,
    "distributed.deploy.lost-worker-timeout": "1 day",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A client and what people want to know of its cluster."""

    client: Client
    dashboard: str
    workers: int
    threads: int


def usable_cores() -> int:
    """Cores that this process may use (affinity counts, not what the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def connect(cluster: ClusterFile, shape: Shape, *, workers: int | None = None) -> Iterator[Connection]:
    """A connection to the cluster that the file describes, closed at the end.

    Parameters
    ----------
    shape : `cluster.score` or `cluster.train`.
    workers : worker processes, instead of what `shape` says.
    """
    import dask
    from distributed import Client

    n_workers, threads = shape.resolve(usable_cores())
    n_workers = workers or n_workers
    with (
        spill_folder(cluster.local_directory) as spill,
        _native_threads(threads),
        dask.config.set({**_CONFIG, **cluster.config}),
        _start_cluster(cluster, n_workers, threads, spill) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield Connection(client=client, dashboard=str(client.dashboard_link), workers=n_workers, threads=threads)


def _start_cluster(cluster: ClusterFile, n_workers: int, threads: int, spill: Path) -> LocalCluster:
    from distributed import LocalCluster

    with _interrupts_held_back():
        return LocalCluster(
            n_workers=n_workers,
            threads_per_worker=threads,
            processes=True,
            host="127.0.0.1",
            dashboard_address=cluster.dashboard,
            memory_limit=cluster.memory_limit,
            local_directory=str(spill),
            silence_logs=logging.CRITICAL,
        )


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C waits until the end; threads and processes started meanwhile never hear it.

    A terminal sends it to all processes at once. The driver alone answers: it ends its workers in order, and they print
    no tracebacks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start, in whichever thread, would let interrupts in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _native_threads(threads: int) -> Iterator[None]:
    """Native libraries of processes that start meanwhile use `threads` threads.

    By the environment, which wins over Dask's ``pre-spawn-environ`` (one thread): Dask writes that into our environment
    and leaves it there, for the next cluster as well.
    """
    before = {name: os.environ.get(name) for name in NATIVE_THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(NATIVE_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
