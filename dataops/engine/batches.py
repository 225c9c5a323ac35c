"""Units that wait to be handed out: how many go along in one task, which go alone, which wait for a while.

1. Pure: time is an argument, and nothing here decides what a unit is or what becomes of it. The same units come out
   whatever the threads; only how many travel together depends on them.
2. A batch is worth some milliseconds to a second of work, by decoded bytes and a fixed cost for each unit, so that Dask
   is asked once for many small units; a large unit is a batch of its own.
3. Batches get smaller as the end comes near, down to single units, so that all threads end at about the same time
   (guided self-scheduling: Polychronopoulos and Kuck, IEEE Transactions on Computers, 1987).
4. A unit that is tried again waits until its time has come, and holds up no other.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable

from dataops.datasets.units import Unit

BATCH_COST = 64 * 2**20  # about a second of reading, scoring and writing: a unit of the planned size
UNIT_COST = 2**20  # opening a file, writing a part and a record: as much time as this many decoded bytes
BATCHES_PER_THREAD = 4  # of what is left: more even ends, more tasks


class Backlog:
    """Units that wait, in the order in which they are handed out."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self._together = deque((unit, _cost(unit)) for unit in units)
        self._cost = sum(cost for _, cost in self._together)
        self._alone: deque[Unit] = deque()
        self._pausing: list[tuple[float, str, Unit]] = []

    def take(self, now: float, *, threads: int) -> tuple[Unit, ...]:
        """The units of the next task; none where none may be handed out at `now`.

        Parameters
        ----------
        now : seconds, on the clock of `pause`.
        threads : of all workers together.
        """
        while self._pausing and self._pausing[0][0] <= now:
            self._alone.append(heapq.heappop(self._pausing)[2])
        if self._alone:
            return (self._alone.popleft(),)
        most = min(BATCH_COST, self._cost // (BATCHES_PER_THREAD * max(1, threads)))
        batch: list[Unit] = []
        while self._together and (not batch or self._together[0][1] <= most):
            unit, cost = self._together.popleft()
            batch.append(unit)
            self._cost -= cost
            most -= cost
        return tuple(batch)

    def put_alone(self, units: Iterable[Unit]) -> None:
        """Hand each of `units` out next, by itself: one of them may be the end of its worker."""
        self._alone.extend(units)

    def pause(self, unit: Unit, *, until: float) -> None:
        """Hand `unit` out again by itself, at `until` or later."""
        heapq.heappush(self._pausing, (until, unit.id, unit))

    @property
    def next_due(self) -> float | None:
        """When the next pause ends; None without one."""
        return self._pausing[0][0] if self._pausing else None

    def __len__(self) -> int:
        """How many units wait, pausing or not."""
        return len(self._together) + len(self._alone) + len(self._pausing)


def _cost(unit: Unit) -> int:
    return UNIT_COST + unit.size_bytes
