"""How fast the machine is just now, and how steady: a fixed piece of work on all cores, measured in turns with itself.

The work is SHA-256 of bytes that fit a cache: no disk, no memory beyond it, and no code of ours, so what it strays by
is the machine's doing.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

LIMIT = 0.10  # pairs that stray by more say that the machine was too noisy
PIECES = 5
PAIRS = 15
_BLOCK = bytes(1_000_000)
_BLOCKS = 100  # about a tenth of a second
_NEARLY_ALL = 0.9


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pace(pieces: int) -> list[float]:
    """Seconds of each of some pieces of the same work, one after another, every core busy."""
    count = cores()
    with ThreadPoolExecutor(count) as pool:
        found = []
        for _ in range(pieces):
            begun = time.perf_counter()
            list(pool.map(_piece, range(count)))
            found.append(time.perf_counter() - begun)
    return found


def noise(pieces: Sequence[float]) -> float:
    """By what share nine of ten pairs stray from 1 at most: each is a piece to the next, which did the same."""
    strays = sorted(abs(after / before - 1) for before, after in zip(pieces[::2], pieces[1::2], strict=True))
    return strays[min(len(strays) - 1, int(_NEARLY_ALL * len(strays)))]


def slower(base: Sequence[float], new: Sequence[float]) -> float:
    """How many times as long the machine took for the same work, by the medians; 1 where either is unknown."""
    return statistics.median(new) / statistics.median(base) if base and new else 1.0


def _piece(_: int) -> None:
    for _block in range(_BLOCKS):
        hashlib.sha256(_BLOCK).digest()
