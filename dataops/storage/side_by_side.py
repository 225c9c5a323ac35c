"""Many small operations side by side: what waits for a disk or a network waits together.

1. Results come in the order of what they are of; the first error is raised, and what hasn't begun doesn't begin.
2. Operations are handed out in bundles: a hundred thousand that take some microseconds each would spend most of their
   time being handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 8
LARGEST_BUNDLE = 256

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item], *, threads: int = THREADS) -> list[Result]:
    """`function` of each of `items`, in their order, in so many threads at once."""
    listed = list(items)
    size = max(1, min(LARGEST_BUNDLE, len(listed) // (threads * 4)))
    bundles = [listed[start : start + size] for start in range(0, len(listed), size)]
    with ThreadPoolExecutor(threads) as pool:
        try:
            done = list(pool.map(lambda bundle: [function(item) for item in bundle], bundles))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [result for bundle in done for result in bundle]
