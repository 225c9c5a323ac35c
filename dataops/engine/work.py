"""Units on Dask: submitted in a window, results small and released at once, failures as values, retries, progress.

1. A task is `function(context, unit)`, and depends on no other. The context goes along with it, packed once and
   unpacked once per worker: if workers got it from each other, all would wait for one that died until Dask gives it up.
2. A task never raises: it returns a failure by family, so that no traceback with arguments reaches a worker's log.
3. What may pass (storage faults) is tried again with a growing pause; what can't pass stops the phase.
4. Results come back in the order of the units, whatever the order in which they were done.
5. Task keys are opaque: run, phase, unit.
6. A worker that dies holds up its own units alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import Future as Fetching
from dataclasses import dataclass, field
from functools import lru_cache, partial
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from dataops import errors
from dataops.datasets.units import Unit
from dataops.engine.progress import Progress
from dataops.errors import Compute, DataopsError, Storage

if TYPE_CHECKING:
    from distributed import Client, Future

RETRIES = 3
PAUSE_SECONDS = 0.5
WINDOW_PER_THREAD = 4  # enough to hide the round trip, few enough to stop early

Task = Callable[[Any, Unit], Any]
Fetched = Fetching[Any]
Landed = SimpleQueue[tuple["Future", Fetched]]


class Emit(Protocol):
    """Where events of a run go."""

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Record `event` with JSON `fields`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a task failed: a family of `dataops.errors` and its message."""

    family: str
    message: str

    def error(self) -> DataopsError:
        """The error to raise on the driver's side."""
        family = getattr(errors, self.family, Compute)
        return family(self.message)


def attempt(function: Task, context: Any, unit: Unit) -> Any:
    """The result of `function(context, unit)`, or a `Failure`."""
    try:
        return function(context, unit)
    except DataopsError as error:
        return Failure(family=type(error).__name__, message=str(error))
    except MemoryError:
        return Failure(
            family="Compute", message=f"unit {unit.id}: out of memory on its worker ({unit.size_bytes} bytes decoded)"
        )
    except OSError as error:
        return Failure(family="Storage", message=f"unit {unit.id}: {type(error).__name__}, errno {error.errno}")
    except Exception as error:  # noqa: BLE001  # its text may hold values, and must not leave the worker
        return Failure(family="Compute", message=f"unit {unit.id}: {type(error).__name__}{_place(error)}")


def _place(error: BaseException) -> str:
    """Where in our code an unexpected error came from: file name and line, no values."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        if f"{__package__.split('.')[0]}/" in trace.tb_frame.f_code.co_filename:
            name = trace.tb_frame.f_code.co_filename.rsplit("dataops/", 1)[-1]
            place = f" at {name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def attempt_packed(function: Task, packed: bytes, unit: Unit) -> Any:
    """`attempt`, with the context as it travels."""
    return attempt(function, _unpacked(packed), unit)


@lru_cache(maxsize=4)
def _unpacked(packed: bytes) -> Any:
    from distributed.protocol.pickle import loads

    return loads(packed)


@dataclass(slots=True, kw_only=True)
class Work:
    """What a job is done with: a client, a run's name, a place for events, a progress display."""

    client: Client
    run: str
    emit: Emit
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    def phase(self, name: str, total: int = 0, rows: int = 0) -> Phase:
        """A context manager that times a phase, shows it, records it and marks its tasks with a Dask span."""
        return Phase(work=self, name=name, total=total, rows=rows)

    def map_units(
        self, phase: str, function: Task, context: Any, units: Sequence[Unit], *, done: Mapping[str, Any] | None = None
    ) -> list[Any]:
        """`function(context, unit)` for each of `units`, in their order.

        Parameters
        ----------
        done : results that exist already, by unit; these units are not run.

        Raises
        ------
        DataopsError : of the family that a task reported, after retries where that could help.
        """
        results: dict[str, Any] = dict(done or {})
        waiting = [unit for unit in units if unit.id not in results]
        with self.phase(phase, total=len(units), rows=sum(unit.rows for unit in waiting)) as shown:
            shown.advance(len(units) - len(waiting), 0)
            if waiting:
                self._run(phase, function, context, waiting, results, shown)
        return [results[unit.id] for unit in units]

    def _run(
        self,
        phase: str,
        function: Task,
        context: Any,
        waiting: list[Unit],
        results: dict[str, Any],
        shown: Phase,
    ) -> None:
        from distributed.protocol.pickle import dumps

        task = partial(attempt_packed, function, dumps(context))
        queue = [(unit, 0) for unit in reversed(waiting)]
        flying: dict[Future, tuple[Unit, int]] = {}
        landed: Landed = SimpleQueue()
        window = WINDOW_PER_THREAD * max(1, sum(self.client.nthreads().values()))

        def fly() -> None:
            while queue and len(flying) < window:
                unit, tries = queue.pop()
                key = f"{self.run}-{phase}-{unit.id}-{tries}"
                future = self.client.submit(task, unit, key=key, pure=False)
                flying[future] = (unit, tries)
                _fetch(future, landed)

        try:
            fly()
            while flying:
                future, fetched = landed.get()
                unit, tries = flying.pop(future)
                outcome = _outcome(fetched, unit)
                future.release()
                if isinstance(outcome, Failure):
                    self._again_or_raise(phase, outcome, unit, tries)
                    queue.append((unit, tries + 1))
                else:
                    results[unit.id] = outcome
                    shown.advance(1, unit.rows)
                fly()
        finally:
            self.client.cancel(list(flying))

    def _again_or_raise(self, phase: str, failure: Failure, unit: Unit, tries: int) -> None:
        if failure.family != Storage.__name__ or tries >= RETRIES:
            raise failure.error()
        self.emit("unit_retried", phase=phase, unit=unit.id, reason=failure.message, tries=tries + 1)
        time.sleep(PAUSE_SECONDS * 2**tries)


def _fetch(future: Future, landed: Landed) -> None:
    """Put `future` into `landed` when its result is here.

    The result may be on a worker that dies before it is fetched: Dask makes it again, and asks the dead one for some
    time. Fetching one after the other would hold up all units for that time.
    """
    client = future.client
    fetching = asyncio.run_coroutine_threadsafe(
        client.gather(future, asynchronous=True),
        client.loop.asyncio_loop,
    )
    fetching.add_done_callback(lambda fetched: landed.put((future, fetched)))


def _outcome(fetched: Fetched, unit: Unit) -> Any:
    try:
        return fetched.result()
    except (Exception, CancelledError) as error:  # noqa: BLE001  # Dask's own: a task never raises
        reason = type(error).__name__
    if reason == "KilledWorker":
        return Failure(
            family="Compute",
            # Dask suspects all that its worker had in hand, not only what it was doing
            message=f"workers died several times over unit {unit.id} ({unit.fragment.shown}) or one beside it; is "
            f"memory_limit too small for {unit.size_bytes} bytes of columns?",
        )
    return Failure(family="Compute", message=f"unit {unit.id}: the cluster answered '{reason}'")


class Phase:
    """A part of a run with a name: timed, shown, recorded."""

    def __init__(self, *, work: Work, name: str, total: int, rows: int) -> None:
        self._work, self._name, self._total, self._rows = work, name, total, rows

    def __enter__(self) -> Self:
        from distributed import span

        self._started = time.monotonic()
        self._span = span(self._work.run, self._name)
        self._span.__enter__()
        self._work.progress.start(self._name, self._total)
        self._work.emit("phase_started", phase=self._name, units=self._total, rows=self._rows)
        return self

    def advance(self, units: int, rows: int) -> None:
        """Count `units` and `rows` as done."""
        self._work.progress.advance(units, rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._started
        self._work.seconds[self._name] = seconds
        self._span.__exit__(kind, error, trace)
        self._work.progress.stop(ok=kind is None)
        outcome = "done" if kind is None else "failed"
        self._work.emit("phase_ended", phase=self._name, outcome=outcome, seconds=round(seconds, 3))
