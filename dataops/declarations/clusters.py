"""Cluster files: where and with how many processes jobs run.

1. Scoring is many small tasks of native code: one process per core, one thread each. Training moves partitions
   together, so few processes with more threads. A file says both shapes; a run takes the one of its kind.
2. ``auto`` is resolved against the machine's cores by `Shape.resolve`, a pure function: the same file and cores give
   the same shape.
3. ``config`` goes to Dask as it stands and wins over our defaults; it is visible to others (``ps``, the dashboard),
   so secrets have no place in it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from dataops.declarations.declaration import Declaration, Text
from dataops.declarations.loader import read_document, validate
from dataops.errors import InvalidInput

MAX_THREADS_PER_PROCESS = 8

_MEMORY = re.compile(r"auto|[0-9]+(\.[0-9]+)? ?[kMGT]i?B")
_ADDRESS = re.compile(r"([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})")

Count = Annotated[int, Field(ge=1, le=10_000)]


def _require_memory(text: str) -> str:
    if not _MEMORY.fullmatch(text):
        raise InvalidInput(f"{text!r} is no amount of memory: expected 'auto' or one like '4 GB' or '512 MiB'")
    return text


def _require_address(text: str) -> str:
    address = _ADDRESS.fullmatch(text)
    if not address or int(address.group(2)) > 65535:
        raise InvalidInput(f"{text!r} is no address: expected 'host:port' like '127.0.0.1:0'")
    return text


class Shape(Declaration):
    """How many worker processes, and how many threads in each."""

    workers: Count | Literal["auto"] = "auto"
    """Worker processes, 1 to 10000; `auto`: as many as the cores allow with these threads. Default: `auto`."""
    threads: Count | Literal["auto"] = 1
    """Threads per process, 1 to 10000; `auto`: the cores, shared out among the workers. Default: 1."""

    def resolve(self, cores: int) -> tuple[int, int]:
        """Worker processes and threads per process on a machine with `cores` cores, each at least 1.

        Both ``auto`` gives the fewest processes with at most eight threads each.
        """
        if self.workers == "auto" and self.threads == "auto":
            workers = -(-cores // MAX_THREADS_PER_PROCESS)
            return max(1, workers), max(1, cores // max(1, workers))
        if self.workers == "auto":
            return max(1, cores // int(self.threads)), int(self.threads)
        threads = cores // self.workers if self.threads == "auto" else self.threads
        return self.workers, max(1, threads)


class ClusterFile(Declaration):
    """An embedded Dask cluster on this machine, started for a run and stopped with it."""

    kind: Literal["local"] = "local"
    """The kind of cluster: `local`, processes on this machine. Default: `local`."""
    score: Shape = Shape(workers="auto", threads=1)
    """The shape for preparing and rescoring. Default: a process per core with one thread."""
    train: Shape = Shape(workers="auto", threads="auto")
    """The shape for training and evaluating. Default: the fewest processes with at most eight threads each."""
    memory_limit: Annotated[str, AfterValidator(_require_memory)] = "auto"
    """Memory per worker process, e.g. `4 GB` or `512 MiB`; a worker that goes beyond is restarted. `auto`: its share
    of the machine. Default: `auto`."""
    dashboard: Annotated[str, AfterValidator(_require_address)] = "127.0.0.1:0"
    """Address and port of the dashboard; port 0 takes a free one. It asks for no password: keep it on this machine.
    Default: `127.0.0.1:0`."""
    local_directory: Text | None = None
    """Folder for what workers spill from memory (governed data, unencrypted), private to you. Default: a fresh
    temporary folder."""
    config: dict[str, JsonValue] = Field(default_factory=dict)
    """Dask configuration for this cluster, with Dask's own keys, dotted or nested. Default: none."""


def read_cluster(path: Path) -> ClusterFile:
    """The cluster file at `path`.

    Raises
    ------
    InvalidInput : all findings, each with file, line and path.
    """
    return validate(read_document(path), ClusterFile)
