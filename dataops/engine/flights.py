"""Batches on Dask: handed out, fetched one by one, released at once.

1. A task is `function(context, unit)` for each unit of a batch, and depends on no other task. The context goes along
   with it, packed once and unpacked once per worker: if workers got it from each other, all would wait for one that
   died until Dask gives it up.
2. Task keys are opaque: run, phase, first unit, a number. No two tasks ever have the same, so that none takes up what
   another left hanging on a worker. All tasks of a phase are one group: Dask keeps those that can't start yet with its
   scheduler, and a worker that dies has few of them in hand.
3. Every call returns within seconds, also when the Dask scheduler is gone.
4. A client that lost its connection has lost all that it asked for, also where it is connected again a moment later:
   Dask cancels its futures. So that is the loss of the cluster (`Compute.cluster_lost`), whatever the client's state by
   the time that anybody looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import Future as Fetching
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from dataops.datasets.units import Unit
from dataops.engine.code import code_identity
from dataops.engine.tasks import Failure, Task, attempt_batch, units_in_hand
from dataops.engine.telling import UNITS, size_of
from dataops.errors import Compute
from dataops.records import new_nonce

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER_SECONDS = 10.0  # for a question to the Dask scheduler
COUNT_SECONDS = 10.0  # how long a number of threads is taken for true
NO_WORKER_SECONDS = 300.0  # on a busy machine a worker takes its time to start


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a batch: outcomes in the order of `units`, or why the cluster has none.

    Attributes
    ----------
    refused : the class of Dask's own error; None where there are outcomes.
    """

    units: tuple[Unit, ...]
    outcomes: Sequence[Any] = ()
    refused: str | None = None


class Flights:
    """The batches of a phase that are on the cluster now; those that are left at the end are cancelled."""

    def __init__(self, client: Client, name: str, context: Any) -> None:
        self._client, self._name, self._packed = client, name, _pack(context)
        self._flying: dict[Future, tuple[Unit, ...]] = {}
        self._landed: SimpleQueue[tuple[Future, Fetching[Any]]] = SimpleQueue()
        self._numbers, self._nonce = count(), new_nonce()[:8]
        self._threads, self._counted, self._manned = 0, float("-inf"), time.monotonic()
        self._connected = connection_of(client)

    def __len__(self) -> int:
        """How many batches are on the cluster."""
        return len(self._flying)

    @property
    def units(self) -> tuple[Unit, ...]:
        """All units that are on the cluster; those that were handed out twice, twice."""
        return tuple(unit for units in self._flying.values() for unit in units)

    def threads(self) -> int:
        """Threads of all workers, at least 1; counted again now and then, since workers come and go.

        Raises
        ------
        Compute : there was no worker for too long.
        """
        now = time.monotonic()
        if now - self._counted > COUNT_SECONDS:
            self._threads = sum(self._ask("ncores").values())
            self._counted = now
            self._manned = now if self._threads else self._manned
        if now - self._manned > NO_WORKER_SECONDS:
            raise Compute(f"no worker was there for {NO_WORKER_SECONDS:g} seconds; what is done stays done")
        return max(1, self._threads)

    def start(self, function: Task, units: tuple[Unit, ...], *, avoid: Collection[str] = ()) -> None:
        """Hand `units` out as one task of `function`.

        Parameters
        ----------
        avoid : addresses of workers that get it only if there is no other.
        """
        from dask import annotate

        others = [address for address in self._ask("ncores") if address not in avoid] if avoid else []
        where: dict[str, Any] = {"workers": others, "allow_other_workers": True} if others else {}
        key = (self._name, f"{units[0].id}-{next(self._numbers)}-{self._nonce}")
        task = partial(attempt_batch, code_identity(), function, self._packed)
        try:
            with annotate(**{UNITS: size_of(units)}):
                future = self._client.submit(task, _pack(units), key=key, pure=False, **where)
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing can be handed out
            raise self._lost(type(error).__name__) from None
        self._flying[future] = units
        self._fetch(future)

    def next(self, seconds: float) -> Answer | None:
        """The next batch that came back; None if none did for so long.

        Raises
        ------
        Compute : the connection to the Dask scheduler was lost, though it may be there again.
        """
        try:
            future, fetched = self._landed.get(timeout=seconds)
        except Empty:
            self._require_connected()
            return None
        units = self._flying.pop(future)
        try:
            outcomes = fetched.result()
        except (Exception, CancelledError) as error:  # noqa: BLE001  # Dask's own: a task never raises
            self._require_connected()
            if isinstance(error, (OSError, CancelledError)):  # the connection is known to be gone a moment later
                raise self._lost(type(error).__name__) from None
            return Answer(units=units, refused=type(error).__name__)
        finally:
            future.release()
        return Answer(units=units, outcomes=[outcomes] * len(units) if isinstance(outcomes, Failure) else outcomes)

    def busy_workers(self) -> set[str]:
        """Addresses of the workers that have a batch of this phase in hand."""
        mine = {future.key for future in self._flying}
        return {address for address, keys in self._ask("processing").items() if mine.intersection(keys)}

    def in_hand(self) -> set[str]:
        """The units that workers are doing right now, as far as they say so within seconds."""
        self._require_connected()
        with suppress(Exception):  # a worker that is cut off says nothing; some clusters refuse such questions
            asked = self._client.sync(
                self._client._run,  # noqa: SLF001  # `run` waits for an answer as long as it takes
                units_in_hand,
                on_error="ignore",
                callback_timeout=ANSWER_SECONDS,
            )
            return {unit for units in asked.values() for unit in units}
        return set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # the cluster may be gone, and with it what is to be cancelled
            self._client.cancel(list(self._flying))

    def _ask(self, question: str) -> dict[str, Any]:
        """The answer of the Dask scheduler to a question about its workers, by address."""
        self._require_connected()
        try:
            asked = getattr(self._client.scheduler, question)
            answer: dict[str, Any] = self._client.sync(asked, workers=None, callback_timeout=ANSWER_SECONDS)
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody answers
            raise self._lost(type(error).__name__) from None
        return answer

    def _require_connected(self) -> None:
        if self._client.status != "running":
            raise self._lost(f"the client is {self._client.status}")
        if connection_of(self._client) is not self._connected:
            raise self._lost("the client is connected again, and what it waited for is cancelled")

    def _lost(self, reason: str) -> Compute:
        lost = Compute(f"the connection to the Dask scheduler was lost ({reason}); what is done stays done")
        lost.cluster_lost = True
        return lost

    def _fetch(self, future: Future) -> None:
        """Have `future` land when its result is here.

        The result may be on a worker that dies before it is fetched: Dask makes it again, and asks the dead one for
        some time. Fetching one after the other would hold up all units for that time.
        """
        fetching = asyncio.run_coroutine_threadsafe(
            self._client.gather(future, asynchronous=True),
            self._client.loop.asyncio_loop,
        )
        fetching.add_done_callback(lambda fetched: self._landed.put((future, fetched)))


def connection_of(client: Client) -> object:
    """What `client` is connected by: another one after it lost its connection and found it again; None in between."""
    return client.scheduler_comm


def _pack(value: Any) -> bytes:
    """`value` as bytes, which Dask passes on as they are: it would unpack and pack anything else on the way."""
    from distributed.protocol.pickle import dumps

    packed: bytes = dumps(value)
    return packed
