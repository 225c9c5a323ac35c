"""What a worker's process keeps of memory, and gives back where it is short of it.

1. A worker keeps what a unit's arrays lay in for the next unit (see `embedded`). glibc gives the arena of a thread back
   only from its end, so what one live block stands behind stays for good, and Dask would take it for used.
2. So whoever asks how much room workers have has them give it back first (`in_use`), each task of a fit does, and units
   that leave their worker with more than half of its limit (`give_back_if_short`): Dask pauses it at 80 percent.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from distributed import Client, Worker

SHORT = 0.5
"""The share of a worker's limit above which what is kept is given back after each batch of units."""


def give_back() -> None:
    """What this process keeps and doesn't use is the system's again."""
    pa.default_memory_pool().release_unused()
    trim = _trim()
    if trim is not None:
        trim(0)


def give_back_if_short() -> None:
    """`give_back`, in a task of units whose worker holds more than `SHORT` of its limit."""
    worker = this_worker()
    if worker is None:
        return
    limit = worker.memory_manager.memory_limit
    if limit and worker.monitor.get_process_memory() > SHORT * limit:
        give_back()


def in_use(client: Client) -> Mapping[str, int]:
    """Bytes that each worker's process holds and can't give back, without the results that Dask holds, by address."""
    found: Mapping[str, int] = client.run(_in_use, on_error="ignore")
    return found


def this_worker() -> Any:
    """The Dask worker whose task this is; None where there is none."""
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def _in_use(dask_worker: Worker) -> int:
    give_back()
    used: int = dask_worker.monitor.get_process_memory() - dask_worker.state.nbytes
    return max(0, used)


@cache
def _trim() -> Callable[[int], Any] | None:
    """Glibc's ``malloc_trim``; None with another library."""
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):
        return None
