"""How much each worker did when: rows and bytes by worker in bins of equal width, made of tasks that ended.

1. Pure: adding tasks in any order gives the same bins, but for rounding.
2. A task's rows are spread evenly over the time that it took: a large unit doesn't look like a burst at its end.
3. Bounded: bins get twice as wide when there are too many, and workers beyond `MOST_WORKERS` count as one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

MOST_BINS = 600
BINS_IN_THE_END = 120  # of a run that ended: many of them are kept
MOST_WORKERS = 32
OTHERS = "others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A task over units that ended: by which worker, from when to when, in seconds since 1970, and how much it was."""

    worker: str
    start: float
    stop: float
    rows: float
    size_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What workers did, by time.

    Attributes
    ----------
    width : seconds of a bin; a power of two.
    workers : their addresses, in the order in which they were first heard of; the last of too many is `OTHERS`. A
        worker's number is its place, from 1 on.
    bins : number of the bin (its start divided by `width`) -> place of the worker -> rows and bytes.
    """

    width: int = 1
    workers: tuple[str, ...] = ()
    bins: Mapping[int, Mapping[int, tuple[float, float]]] = field(default_factory=dict)

    def span(self) -> tuple[int, int]:
        """The first bin, and the one after the last."""
        return (min(self.bins), max(self.bins) + 1) if self.bins else (0, 0)

    def by_worker(self) -> tuple[list[float], dict[str, tuple[list[float], list[float]]]]:
        """Starts of all bins, in seconds since 1970, and for each worker that did anything rows and bytes a second in
        each of them.
        """
        first, stop = self.span()
        at_work = {place for cells in self.bins.values() for place in cells}
        starts = [float(number * self.width) for number in range(first, stop)]
        rates: dict[str, tuple[list[float], list[float]]] = {}
        for place in sorted(at_work):
            cells = [self.bins.get(number, {}).get(place, (0.0, 0.0)) for number in range(first, stop)]
            rates[self.workers[place]] = (
                [rows / self.width for rows, _ in cells],
                [size / self.width for _, size in cells],
            )
        return starts, rates


def with_workers(flow: Flow, workers: Iterable[str]) -> Flow:
    """`flow` with places for `workers`, as far as there are any, before these did anything."""
    fresh = [one for one in dict.fromkeys(workers) if one not in flow.workers]
    free = max(0, MOST_WORKERS - 1 - len(flow.workers))
    return replace(flow, workers=(*flow.workers, *fresh[:free])) if fresh and free else flow


def add(flow: Flow, tasks: Iterable[Done]) -> Flow:
    """`flow` with what `tasks` did."""
    for task in tasks:
        flow = _add(flow, task)
    return flow


def thinned(flow: Flow) -> Flow:
    """`flow` in no more bins than are kept of a run that ended."""
    first, stop = flow.span()
    while stop - first > BINS_IN_THE_END:
        flow = _wider(flow)
        first, stop = flow.span()
    return flow


def _add(flow: Flow, task: Done) -> Flow:
    if not (math.isfinite(task.start) and math.isfinite(task.stop)) or task.stop < task.start:
        return flow
    flow = _with_room(flow, task)
    place, workers = _place(flow.workers, task.worker)
    bins, seconds = dict(flow.bins), task.stop - task.start
    for number in range(int(task.start // flow.width), int(task.stop // flow.width) + 1):
        begin = max(task.start, number * flow.width)
        share = (min(task.stop, (number + 1) * flow.width) - begin) / seconds if seconds else 1.0
        bins[number] = _plus(bins.get(number, {}), place, share * task.rows, share * task.size_bytes)
    return Flow(width=flow.width, workers=workers, bins=bins)


def _with_room(flow: Flow, task: Done) -> Flow:
    while True:
        first, stop = flow.span()
        begin, end = int(task.start // flow.width), int(task.stop // flow.width) + 1
        reach = max(stop, end) - min(first, begin) if flow.bins else end - begin
        if reach <= MOST_BINS:
            return flow
        flow = _wider(flow)


def _wider(flow: Flow) -> Flow:
    """`flow` in bins of twice the width."""
    bins: dict[int, Mapping[int, tuple[float, float]]] = {}
    for number, cells in flow.bins.items():
        for place, (rows, size) in cells.items():
            bins[number // 2] = _plus(bins.get(number // 2, {}), place, rows, size)
    return Flow(width=flow.width * 2, workers=flow.workers, bins=bins)


def _plus(
    cells: Mapping[int, tuple[float, float]], place: int, rows: float, size: float
) -> Mapping[int, tuple[float, float]]:
    known_rows, known_size = cells.get(place, (0.0, 0.0))
    return {**cells, place: (known_rows + rows, known_size + size)}


def _place(workers: tuple[str, ...], worker: str) -> tuple[int, tuple[str, ...]]:
    """The place of `worker`, and the workers with it."""
    if worker in workers:
        return workers.index(worker), workers
    if len(workers) < MOST_WORKERS - 1:
        return len(workers), (*workers, worker)
    return MOST_WORKERS - 1, (*workers[: MOST_WORKERS - 1], OTHERS)
