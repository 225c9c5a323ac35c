"""How often Python looks for garbage that refers to itself: rarely, in our own processes, which import much at first.

By Python's default it looks once for 700 objects more, a hundred times while a worker imports what it scores with: an
eighth of the time until its first rows. Dask collects by itself where a worker is short of memory.
"""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 10, 10)


def collect_rarely() -> None:
    """From now on this process does."""
    gc.set_threshold(*THRESHOLDS)
