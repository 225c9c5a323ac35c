"""The embedded cluster: processes on this machine, bound to loopback, with a private spill folder that is wiped.

1. Scoring takes one process per core with one native thread each; training takes few processes with more threads
   (cluster file).
2. Native libraries (Arrow, XGBoost, BLAS) get as many threads as the worker has, or two cores do the work of one. Their
   threads sleep while they wait for each other: by default they spin, and where other processes want the cores as well,
   boosting took three times the time and the processor's time (`benchmarks/waiting.py`).
3. Scoring, what a unit's arrays lay in is kept for the next unit, given back where memory is short (`memory`). Dask has
   glibc give each freed block back, and a worker that scores asked the kernel for the same pages 300,000 times in five
   seconds, and waited a second for them to be zeroed.
4. A worker that died is started again by its nanny, however long that takes on a busy machine: Dask would take a worker
   for lost for good that isn't back after 15 seconds, and be left without any.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

from dataops.declarations.clusters import Shape, StartedFile
from dataops.engine.certs import Certificates, security
from dataops.engine.spill import spill_folder
from dataops.engine.standing import Standing

if TYPE_CHECKING:
    from distributed import LocalCluster
    from distributed.security import Security

NATIVE_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
WAIT_POLICY = "OMP_WAIT_POLICY"
KEPT = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # larger blocks are given back at once
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
    # one allocator for Arrow and NumPy: what one gave back the other takes, and nothing new is touched; in huge pages
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
_PRE_SPAWN = "distributed.nanny.pre-spawn-environ"
_DASKS = ("MALLOC_TRIM_THRESHOLD_", "65536")


def usable_cores() -> int:
    """Cores that this process may use (affinity counts, not what the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def start(
    cluster: StartedFile, shape: Shape, *, workers: int | None = None, certs: Certificates | None = None
) -> Iterator[Standing]:
    """The workers of `shape` on this machine with a Dask scheduler in this process, until the context ends.

    Parameters
    ----------
    workers : worker processes, instead of what `shape` says.
    certs : what their connections are encrypted with; None or empty: they aren't, and stay on loopback.
    """
    n_workers, threads = shape.resolve(usable_cores())
    n_workers = workers or n_workers
    secured = security(certs) if certs else None
    with (
        spill_folder(cluster.local_directory) as spill,
        environment_of_workers(threads, keep=shape is not cluster.train),
        _start(cluster, n_workers, threads, spill, secured) as local,
    ):
        yield Standing(
            scheduler=local, called="the embedded cluster", security=secured, workers=n_workers, threads=threads
        )


def _start(cluster: StartedFile, n_workers: int, threads: int, spill: Path, secured: Security | None) -> LocalCluster:
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
            **({"protocol": "tls://", "security": secured} if secured else {}),
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


def worker_variables(threads: int, *, keep: bool) -> dict[str, str]:
    """What a worker with `threads` threads is told by its environment, for its native libraries and its memory.

    Parameters
    ----------
    keep : whether it keeps what a unit's arrays lay in. Workers that train don't: rows lie there already.
    """
    ours = {WAIT_POLICY: "passive"}
    if keep:  # each arena keeps its own: of a thread, one for what is read, one for what is written
        ours |= {**KEPT, "MALLOC_ARENA_MAX": str(2 * threads)}
    told = {name: _set_by_others(name) or value for name, value in ours.items()}
    return {**dict.fromkeys(NATIVE_THREAD_VARIABLES, str(threads)), **told}


def _set_by_others(name: str) -> str | None:
    """What the environment or the cluster file says, which know the machine; not what Dask says by default, and may
    have left in the environment.
    """
    import dask

    for found in (os.environ.get(name), dask.config.get(_PRE_SPAWN, {}).get(name)):
        if found is not None and (name, str(found)) != _DASKS:
            return str(found)
    return None


@contextmanager
def environment_of_workers(threads: int, *, keep: bool) -> Iterator[None]:
    """Workers of `threads` threads that start meanwhile are told `worker_variables`.

    By the environment, which wins over Dask's ``pre-spawn-environ`` (one thread): Dask writes that into our environment
    and leaves it there, for the next cluster as well.
    """
    told = worker_variables(threads, keep=keep)
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
