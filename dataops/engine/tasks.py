"""What a worker does with the units it is handed: one after the other, failures as values, writing beside reading.

1. A task never raises: what goes wrong comes back as a `Failure` by family, for its unit alone, so that no traceback
   with arguments reaches a worker's log.
2. A function may leave the writing of its result for later (`Later`). It is done on one thread beside the task while
   the next unit is read, one unit at a time: not more than two units of a task are in memory.
3. What is left to be written at the end of a task is waited for outside Dask's pool of threads, so that the next task
   begins; not more tasks wait so than the worker has threads. So of a thread three units are in memory at most: the
   last one of the task before, one that is written, and one that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import BoundedSemaphore, get_ident
from typing import Any, Self

from dataops import errors
from dataops.datasets.units import Unit
from dataops.engine.code import require_code
from dataops.engine.memory import give_back_if_short, this_worker
from dataops.errors import Compute, DataopsError

Task = Callable[[Any, Unit], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a task failed: a family of `dataops.errors`, its message, and whether it `may_pass` by itself."""

    family: str
    message: str
    may_pass: bool = False

    def error(self) -> DataopsError:
        """The error to raise on the driver's side."""
        family: type[DataopsError] = getattr(errors, self.family, Compute)
        error = family(self.message)
        return errors.passing(error) if self.may_pass else error


@dataclass(frozen=True, slots=True)
class Later:
    """A unit's result that has yet to be written: `finish` writes it and returns it.

    `finish` runs on another thread, while the next unit is read on this one: it only writes.
    """

    finish: Callable[[], Any]


_in_hand: dict[int, str] = {}  # unit by thread


def attempt(function: Task, context: Any, unit: Unit) -> Any:
    """The result of `function(context, unit)`, or a `Failure`."""
    return _outcome(unit, lambda: function(context, unit))


def units_in_hand() -> list[str]:
    """The units that this process is doing right now, by id: what hangs is among them."""
    return list(_in_hand.values())


def attempt_batch(code: Mapping[str, str], function: Task, context: bytes, units: bytes) -> list[Any] | Failure:
    """`attempt_all`, with context and units as they travel; one failure for all if they can't be unpacked, or if other
    `code` than the run's would do them.
    """
    try:
        require_code(code)
        given, batch = _unpacked(context), _loads(units)
    except Compute as error:
        return Failure(family="Compute", message=str(error))
    except Exception as error:  # noqa: BLE001  # its text may hold what was packed
        return Failure(
            family="Compute",
            message=f"a task can't be unpacked on its worker ({type(error).__name__}); does the worker have this code?",
        )
    try:
        return attempt_all(function, given, batch)
    finally:
        give_back_if_short()


def attempt_all(function: Task, context: Any, units: Sequence[Unit]) -> list[Any]:
    """The result of `function(context, unit)`, or a `Failure`, for each of `units`, in their order."""
    with _Writing() as writing:
        outcomes = []
        for unit in units:
            outcome = attempt(function, context, unit)
            outcomes.append(writing.begin(unit, outcome) if isinstance(outcome, Later) else outcome)
        with writing.left_to_do():
            return [outcome.result() if isinstance(outcome, Future) else outcome for outcome in outcomes]


def _outcome(unit: Unit, do: Callable[[], Any]) -> Any:
    """What `do` returns for `unit`, or a `Failure`."""
    _in_hand[get_ident()] = unit.id
    try:
        return do()
    except DataopsError as error:
        return Failure(family=type(error).__name__, message=str(error), may_pass=error.may_pass)
    except MemoryError:
        return Failure(
            family="Compute", message=f"unit {unit.id}: out of memory on its worker ({unit.size_bytes} bytes decoded)"
        )
    except OSError as error:
        return Failure(family="Storage", message=f"unit {unit.id}: {type(error).__name__}, errno {error.errno}")
    except Exception as error:  # noqa: BLE001  # its text may hold values, and must not leave the worker
        return Failure(family="Compute", message=f"unit {unit.id}: {type(error).__name__}{_place(error)}")
    finally:
        _in_hand.pop(get_ident(), None)


def _place(error: BaseException) -> str:
    """Where in our code an unexpected error came from: file name and line, no values."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        if f"{__package__.split('.')[0]}/" in trace.tb_frame.f_code.co_filename:
            name = trace.tb_frame.f_code.co_filename.rsplit("dataops/", 1)[-1]
            place = f" at {name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


@lru_cache(maxsize=4)
def _unpacked(packed: bytes) -> Any:
    return _loads(packed)


def _loads(packed: bytes) -> Any:
    from distributed.protocol.pickle import loads

    return loads(packed)


class _Writing:
    """The thread that writes what the units of one task left for later; started when the first one does."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._last: Future[Any] | None = None

    def begin(self, unit: Unit, later: Later) -> Future[Any]:
        """The outcome of `later`, begun once the one before is done."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="write")
        if self._last is not None:
            self._last.result()  # a third unit would wait in memory
        self._last = self._thread.submit(_outcome, unit, later.finish)
        return self._last

    @contextmanager
    def left_to_do(self) -> Iterator[None]:
        """Whatever is left may be waited for here: the worker's next task begins meanwhile."""
        worker = None if self._last is None or self._last.done() else this_worker()
        if worker is None:
            yield
            return
        from distributed import secede

        with _places(worker.state.nthreads):
            secede()
            yield

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown()


@lru_cache
def _places(threads: int) -> BoundedSemaphore:
    """Room for tasks of this process that wait for their writing outside the pool."""
    return BoundedSemaphore(threads)
