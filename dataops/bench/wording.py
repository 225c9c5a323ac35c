"""Figures of a benchmark as people read them."""

from __future__ import annotations

from dataops.bench.results import Result
from dataops.monitoring import wording

NOTHING = "-"


def spell_cluster(result: Result) -> str:
    """``local, 2 workers x 1 thread``."""
    workers, threads = (int(result.cluster.get(name, 0)) for name in ("workers", "threads"))
    shape = f"{workers:,} worker{'' if workers == 1 else 's'} x {threads:,} thread{'' if threads == 1 else 's'}"
    return f"{result.cluster.get('kind', NOTHING)}, {shape}"


def spell_rate(value: float | None, *, bare: bool = False) -> str:
    """``12,345 rows/s``, or without the unit; ``-`` for None."""
    if value is None:
        return NOTHING
    return wording.count(value) if bare else f"{wording.count(value)} rows/s"
