"""What a job is done with: phases that are timed, shown and recorded, and units on Dask.

1. Results come back in the order of the units, whatever the order in which they were done.
2. How units travel and what is done about faults is told in `engine.batches`, `engine.flights` and
   `engine.handing_out`, what happens on a worker in `engine.tasks`.
3. What a phase shows in the terminal it also tells the Dask scheduler, if there is a teller.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dataops.datasets.receipt import Receipt
from dataops.datasets.units import Unit
from dataops.engine.batches import Backlog
from dataops.engine.flights import Flights
from dataops.engine.handing_out import Emit, HandingOut, Landed, OnKilled
from dataops.engine.noted import PHASE
from dataops.engine.progress import Progress
from dataops.engine.tasks import Task
from dataops.engine.telling import PROGRESS, Pace, Teller
from dataops.engine.watchdog import Watchdog

if TYPE_CHECKING:
    from distributed import Client


@dataclass(slots=True, kw_only=True)
class Work:
    """What a job is done with: a client, a run's name, a place for events, a progress display.

    Attributes
    ----------
    run_seconds : how long after it was `started` units may be handed out and waited for; None: as long as it takes.
    stalled_seconds : how long no unit may land before those in hand are handed out again; None: as long as it takes.
    seconds : how long each phase took.
    teller : tells the Dask scheduler what goes to no ledger: how far a phase came. None: nobody is told.
    """

    client: Client
    run: str
    emit: Emit
    progress: Progress
    run_seconds: float | None = None
    stalled_seconds: float | None = None
    started: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)
    teller: Teller | None = None

    @property
    def shape(self) -> dict[str, int]:
        """Worker processes, and the threads of the one with the most: libraries that add up in parallel go by both."""
        threads = self.client.nthreads().values()
        return {"workers": len(threads), "threads": max(threads, default=0)}

    def phase(self, name: str, total: int = 0, rows: int = 0) -> Phase:
        """A context manager that times a phase, shows it, records it and marks its tasks with a Dask span."""
        return Phase(work=self, name=name, total=total, rows=rows)

    def tell(self, event: str, /, **fields: Any) -> None:
        """Tell the Dask scheduler of `event`, if anybody is told."""
        if self.teller is not None:
            self.teller.tell(event, **fields)

    def map_units(
        self,
        phase: str,
        function: Task,
        context: Any,
        units: Sequence[Unit],
        *,
        done: Mapping[str, Any] | None = None,
        landed: Landed | None = None,
        kept: Callable[[Any], Any] | None = None,
        on_killed: OnKilled | None = None,
    ) -> list[Any]:
        """`function(context, unit)` for each of `units`, in their order.

        Parameters
        ----------
        function : may return `Later` for a result that has yet to be written.
        done : results that exist already, by unit; these units are not run.
        landed : called with each unit and its result as it lands, once; what it raises stops the phase.
        kept : what of a result is kept and given back, if not all of it.
        on_killed : for a unit over which workers died several times: the function to try instead, or None.

        Raises
        ------
        DataopsError : of the family that a task reported, after retries where that could help.
        Compute : the cluster, not a task, is at fault, or the work takes too long; the run can be resumed.
        """
        results: dict[str, Any] = dict(done or {})
        waiting = [unit for unit in units if unit.id not in results]
        with self.phase(phase, total=len(units), rows=sum(unit.rows for unit in waiting)) as shown:
            for result in results.values():
                shown.count(result)
            shown.begin_with(len(units) - len(waiting))

            def land(unit: Unit, result: Any) -> None:
                results[unit.id] = result if kept is None else kept(result)
                shown.count(result)
                shown.advance(1, unit.rows)
                if landed is not None:
                    landed(unit, result)

            if waiting:
                self._run(phase, function, context, waiting, land, on_killed)
        return [results[unit.id] for unit in units]

    def _run(
        self,
        phase: str,
        function: Task,
        context: Any,
        waiting: Sequence[Unit],
        land: Landed,
        on_killed: OnKilled | None,
    ) -> None:
        run_ends = None if self.run_seconds is None else self.started + self.run_seconds
        with Flights(self.client, f"{self.run}-{phase}", context) as flights:
            HandingOut(
                phase=phase,
                function=function,
                flights=flights,
                backlog=Backlog(waiting),
                watchdog=Watchdog(heard=time.monotonic(), run_ends=run_ends, stalled_seconds=self.stalled_seconds),
                emit=self.emit,
                landed=land,
                on_killed=on_killed,
                missing={unit.id: unit for unit in waiting},
            ).run()


class Phase:
    """A part of a run with a name: timed, shown, recorded."""

    def __init__(self, *, work: Work, name: str, total: int, rows: int) -> None:
        self._work, self._name, self._total, self._rows = work, name, total, rows
        self._units_done = self._units_before = self._rows_done = 0
        self._counts: Counter[str] = Counter()
        self._said: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._pace = Pace(self._started)
        self._marks = _marked(self._work.run, self._name)
        self._marks.__enter__()
        self._work.progress.start(self._name, self._total, self._rows)
        self._work.emit("phase_started", phase=self._name, units=self._total, rows=self._rows)
        return self

    def begin_with(self, units: int) -> None:
        """Count `units` that an attempt before this one did."""
        self._units_before = units
        self.advance(units, 0)

    def advance(self, units: int, rows: int) -> None:
        """Count `units` and `rows` as done."""
        self._units_done += units
        self._rows_done += rows
        self._work.progress.advance(units, rows)
        self._tell_if_due()

    def count(self, result: Any) -> None:
        """Count what became of a unit's rows, if `result` is a receipt or has one."""
        receipt = _receipt_of(result)
        if receipt is None or self._work.teller is None:
            return
        counts = receipt.record()
        broken = counts.pop("broken")
        self._counts.update({name: rows for name, rows in counts.items() if isinstance(rows, int)})
        self._counts.update({f"broken:{rule}": rows for rule, rows in broken.items()})

    def tell(self, figures: str, done: int, total: int) -> None:
        """Show how far a phase came that doesn't go by units: `figures` in words, `done` of `total`."""
        self._said = {"figures": figures, "done": done, "total": total}
        self._work.progress.tell(figures, done, total)
        self._tell_if_due()

    def _tell_if_due(self) -> None:
        if self._work.teller is not None and self._pace.is_due(time.monotonic()):
            self._tell()

    def _tell(self) -> None:
        done = {"units": self._units_done, "before": self._units_before, "rows": self._rows_done}
        self._work.tell(PROGRESS, phase=self._name, **done, counts=dict(self._counts), **self._said)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._started
        self._work.seconds[self._name] = seconds
        self._marks.__exit__(kind, error, trace)
        self._work.progress.stop(ok=kind is None)
        self._tell()
        outcome = "done" if kind is None else "failed"
        self._work.emit("phase_ended", phase=self._name, outcome=outcome, seconds=round(seconds, 3))


@contextmanager
def _marked(run: str, phase: str) -> Iterator[None]:
    """Tasks that are handed out meanwhile say whose they are: by a span of Dask's, and by an annotation of our own, for
    Dask gives tasks whose keys begin alike the span of the first.
    """
    from dask import annotate
    from distributed import span

    with span(run, phase), annotate(**{PHASE: (run, phase)}):
        yield


def _receipt_of(result: Any) -> Receipt | None:
    """The receipt among what a task over a unit came to; None where there is none."""
    found = result if isinstance(result, tuple) else (result, getattr(result, "receipt", None))
    return next((one for one in found if isinstance(one, Receipt)), None)
