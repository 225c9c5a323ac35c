"""What a run says to the Dask scheduler, for whoever watches it there.

1. Telling never waits and never fails a run: messages go out one after the other on the client's own loop, and one
   that doesn't get through is let go.
2. How far a phase is, and the rounds of a fit, is told by time and not by units: four times in a second at most, and
   less often the longer it takes. Phases, trials and what goes wrong are told as they come.
3. Of more than `MOST_WAITING` that wait, the oldest of those that say how far something is are let go first, then other
   events; never that the run is there or how it ended, without which the others tell nobody anything.
4. A message holds what the ledger's events hold: counts, names and times, and no value of any row.

Dask keeps the last messages under `TOPIC` (``client.get_events``), and hands them to the plugins of its scheduler, of
which `dataops.monitoring.page` is one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dataops.datasets.units import Unit

if TYPE_CHECKING:
    from distributed import Client

TOPIC = "dataops"
PROGRESS = "progress"
UNITS = "dataops_units"
"""The annotation of a task over units: how many, their rows, and their bytes decoded."""
HOW_FAR = (PROGRESS, "rounds_done", "trial_reached")
FRAME = ("run_shown", "run_ended")
MOST_WAITING = 10_000  # a search that is taken up again tells all its trials at once
SECONDS_TO_LAND = 2.0  # for what is on its way when a run ends
FASTEST, SLOWEST, PER_PHASE = 0.25, 2.0, 400.0  # seconds between messages; a phase of N seconds waits N/400


class Teller:
    """Tells what a run does, under its id.

    Parameters
    ----------
    client : of the cluster that the run is on; it stays the caller's.
    """

    def __init__(self, client: Client, run: str) -> None:
        self._client, self._run = client, run
        self._waiting: deque[dict[str, Any]] = deque()  # touched on the client's loop alone
        self._sending: asyncio.Task[None] | None = None

    def tell(self, event: str, /, **fields: Any) -> None:
        """Send `event` with JSON `fields`, some time soon."""
        with suppress(Exception):  # a client that is gone has no loop any more
            message = {"run": self._run, "event": event, "at": time.time(), **plain(fields)}
            self._client.loop.add_callback(self._put, message)

    def close(self) -> None:
        """Wait for what is on its way, but not long."""
        if self._client.status != "running":
            return
        with suppress(Exception):
            waited = asyncio.run_coroutine_threadsafe(self._landed(), self._client.loop.asyncio_loop)
            waited.result(SECONDS_TO_LAND)

    def _put(self, message: dict[str, Any]) -> None:
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last["event"] == message["event"] == PROGRESS and last["phase"] == message["phase"]:
            self._waiting.pop()  # a newer one says all that it did
        self._waiting.append(message)
        if len(self._waiting) > MOST_WAITING:
            self._let_one_go()
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._send())

    def _let_one_go(self) -> None:
        events = [one["event"] for one in self._waiting]
        known = (place for place, event in enumerate(events) if event in HOW_FAR)
        other = (place for place, event in enumerate(events) if event not in FRAME)
        place = next(known, next(other, None))
        if place is not None:
            del self._waiting[place]

    async def _send(self) -> None:
        try:
            while self._waiting:
                message = self._waiting.popleft()
                with suppress(Exception):  # the watchdog's business, not ours
                    if self._client.status == "running":
                        await self._client.scheduler.log_event(topic=TOPIC, msg=message)
        finally:
            self._sending = None

    async def _landed(self) -> None:
        while self._sending is not None:
            await asyncio.wait([self._sending])


class Pace:
    """When a phase that began at `started` may speak again; seconds of a monotonic clock."""

    def __init__(self, started: float) -> None:
        self._started = self._spoke = started

    def is_due(self, now: float) -> bool:
        """Whether it may speak at `now`; if so, it is taken to do so."""
        if now - self._spoke < min(SLOWEST, max(FASTEST, (now - self._started) / PER_PHASE)):
            return False
        self._spoke = now
        return True


def size_of(units: Sequence[Unit]) -> dict[str, int]:
    """How much a task over `units` does, to annotate it with."""
    size_bytes = sum(unit.size_bytes for unit in units)
    return {"units": len(units), "rows": sum(unit.rows for unit in units), "bytes": size_bytes}


def plain(value: Any) -> Any:
    """`value` of JSON types alone, as it can travel: mappings as dicts, sequences as lists, anything else as text."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    return str(value)
