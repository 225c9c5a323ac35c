"""The recorder: what the Dask scheduler sees of a run, noted there, and taken from there at the end.

1. Noting is cheap: a tuple when a task ends, and one for each worker a second, of what the Dask scheduler knows anyway.
   Workers and driver send nothing for it.
2. A run's tasks are those that are marked as its own (`Work.phase`): other runs on the same cluster are none of its
   business.
3. Whoever began it takes it off. If that client is gone, it takes itself off.
4. It is sent to the Dask scheduler, also to one that somebody else started, which must have this package. Where that
   can't be, the run goes on without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.metrics import time
from tornado.ioloop import PeriodicCallback

from dataops.engine.noted import PHASE, Notes, Recorded, Sample, SeenWorker, SpanFigure, TaskPart
from dataops.engine.telling import UNITS
from dataops.errors import Compute
from dataops.records import new_nonce

if TYPE_CHECKING:
    from distributed import Client
    from distributed.scheduler import Scheduler, WorkerState

CHUNK = 5_000  # rows of an answer: the Dask scheduler has other things to do
SAMPLE_SECONDS = 1
ANSWER_SECONDS = 10.0
_NAME = "dataops-recorder"


class Recorder(SchedulerPlugin):  # type: ignore[misc]  # Dask has no types
    """Notes what `run` does on a Dask scheduler, from its registration until the client `client` ends or takes it.

    Parameters
    ----------
    client : the id of the client whose run it is.
    """

    idempotent = True

    def __init__(self, run: str, client: str) -> None:
        self.name = f"{_NAME}-{new_nonce()}"  # of this attempt at the run: there may be others at once
        self._run, self._client = run, client
        self._notes = Notes()
        self._seen: dict[int, SeenWorker] = {}

    async def start(self, scheduler: Scheduler) -> None:
        """Begin to note; called on the Dask scheduler's own loop."""
        self._scheduler, self._began = scheduler, time()
        scheduler.handlers[self.name] = self.answer
        self._clock = PeriodicCallback(self._tick, SAMPLE_SECONDS * 1000)
        self._clock.start()
        self._tick()

    def transition(self, key: Any, start: str, finish: str, *_: Any, **told: Any) -> None:
        """Note a task of the run that ended on a worker."""
        if start != "processing" or not (parts := told.get("startstops")):
            return
        annotations = self._scheduler.tasks[key].annotations or {}
        run, phase = annotations.get(PHASE, (None, None))
        if run != self._run:  # tasks of all the rest of the cluster end here
            return
        self._notes.add_task(
            phase,
            told["worker"],
            parts,
            units=annotations.get(UNITS, {}),
            result_bytes=told.get("nbytes", 0),
            failed=finish == "erred",
        )

    def remove_client(self, scheduler: Scheduler, client: str) -> None:  # noqa: ARG002  # Dask's names
        """End, if it is the client whose run it is."""
        if client == self._client:
            self._take_off()

    async def close(self) -> None:
        """End with the Dask scheduler."""
        self._clock.stop()

    def answer(self, part: str, begin: int = 0) -> Any:
        """What was noted, piece by piece: `part` is ``facts``, ``tasks``, ``samples`` or ``end``."""
        match part:
            case "facts":
                self._sample()
                self._clock.stop()
                return self._facts()
            case "tasks":
                return self._notes.tasks[begin : begin + CHUNK]
            case "samples":
                return self._notes.samples[begin : begin + CHUNK]
        return self._take_off()

    def _facts(self) -> dict[str, Any]:
        return {
            "began": self._began,
            "ended": time(),
            "phases": self._notes.phases,
            "workers": [self._seen.get(n, SeenWorker(one, 0, 0)) for n, one in enumerate(self._notes.workers)],
            "spans": [*self._span_figures(), *self._notes.sums()],
            "left_out": self._notes.left_out,
            "sample_seconds": self._notes.every * SAMPLE_SECONDS,
        }

    def _tick(self) -> None:
        if self._notes.is_due():
            self._sample()

    def _sample(self) -> None:
        at = time()
        self._notes.add_samples([self._look_at(worker, at) for worker in self._scheduler.workers.values()])

    def _look_at(self, worker: WorkerState, at: float) -> Sample:
        number, told = self._notes.number(worker.address), worker.metrics
        if number not in self._seen:
            self._seen[number] = SeenWorker(worker.address, worker.nthreads, worker.memory_limit or 0)
        spilled = told.get("spilled_bytes", {}).get("disk", 0)
        return Sample(at, number, told.get("memory", 0), spilled, told.get("cpu", 0.0), len(worker.processing))

    def _span_figures(self) -> Iterator[SpanFigure]:
        """Dask's own sums over the spans of the run since it began; none where Dask keeps none."""
        spans = self._scheduler.extensions.get("spans")
        if spans is None:
            return
        sums: dict[tuple[str, str, str, str], float] = {}
        for name, found in spans.spans_search_by_name.items():
            if len(name) != 2 or name[0] != self._run:
                continue
            for span in found:
                if span.enqueued < self._began:  # of an attempt before this one
                    continue
                for key, figure in span.cumulative_worker_metrics.items():
                    of = (name[1], str(key[0]), str(key[-2]), str(key[-1]))
                    sums[of] = sums.get(of, 0.0) + figure
        for of, figure in sums.items():
            yield SpanFigure(*of, float(figure))

    def _take_off(self) -> None:
        self._clock.stop()
        self._scheduler.handlers.pop(self.name, None)
        self._scheduler.plugins.pop(self.name, None)


def begin_recording(client: Client, run: str) -> Callable[[], Recorded]:
    """Note what `run` does from now on; what comes back takes the notes, once, and ends them.

    Raises
    ------
    Compute : the Dask scheduler can't; so does taking them where it is gone.
    """
    recorder = Recorder(run, client.id)
    try:
        client.register_plugin(recorder)
    except Exception as error:  # noqa: BLE001  # whatever it is, the run goes on without
        raise Compute(f"the Dask scheduler takes no recorder ({type(error).__name__})") from None
    return lambda: _take(client, recorder.name)


def _take(client: Client, name: str) -> Recorded:
    """What the recorder `name` noted; it is gone then."""

    def ask(part: str, begin: int = 0) -> Any:
        if client.status != "running":
            raise Compute("the Dask scheduler is gone, and the recording with it")
        return client.sync(getattr(client.scheduler, name), part=part, begin=begin, callback_timeout=ANSWER_SECONDS)

    def rows(part: str) -> Iterator[Any]:
        begin = 0
        while chunk := ask(part, begin):
            yield from chunk
            begin += len(chunk)

    try:
        facts = ask("facts")
        recorded = Recorded(
            began=facts["began"],
            ended=facts["ended"],
            phases=list(facts["phases"]),
            workers=[SeenWorker(*one) for one in facts["workers"]],
            spans=[SpanFigure(*one) for one in facts["spans"]],
            tasks=[TaskPart(*one) for one in rows("tasks")],
            samples=[Sample(*one) for one in rows("samples")],
            left_out=facts["left_out"],
            sample_seconds=facts["sample_seconds"],
        )
    except Compute:
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, nobody answers
        raise Compute(f"the Dask scheduler gives no recording ({type(error).__name__})") from None
    with suppress(Exception):  # it ends itself with its client
        ask("end")
    return recorded
