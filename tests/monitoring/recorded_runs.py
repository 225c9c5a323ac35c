"""Records of runs as the recorder makes them, for tests of what is shown of them."""

from __future__ import annotations

from collections.abc import Iterable

from dataops.engine.noted import NOTED, Recorded, Sample, SeenWorker, SpanFigure, TaskPart
from dataops.monitoring.recorded import Attempt
from dataops.runs.recording import tables_of

BEGAN = 1_790_000_000.0


def attempt(
    tasks: Iterable[TaskPart],
    samples: Iterable[Sample] = (),
    *,
    phases: tuple[str, ...] = ("survey", "score"),
    workers: int = 2,
    threads: int = 1,
    seconds: float = 10.0,
    began: float = BEGAN,
    left_out: int = 0,
    cpu: float = 4.0,
    sums: Iterable[SpanFigure] = (),
) -> Attempt:
    """The records of an attempt; times of `tasks` and `samples` count from its beginning. `sums` are the recorder's."""
    noted = Recorded(
        began=began,
        ended=began + seconds,
        phases=phases,
        workers=[SeenWorker(f"tcp://127.0.0.1:{4000 + number}", threads, 2 * 10**9) for number in range(workers)],
        tasks=[one._replace(began=began + one.began, ended=began + one.ended) for one in tasks],
        samples=[one._replace(at=began + one.at) for one in samples],
        spans=[*(SpanFigure(name, "execute", "thread-cpu", "seconds", cpu) for name in phases), *sums],
        left_out=left_out,
        sample_seconds=1,
    )
    return Attempt(began=noted.began, ended=noted.ended, left_out=left_out, **tables_of(noted))


def part(
    task: int,
    began: float,
    ended: float,
    *,
    phase: int = 1,
    worker: int = 0,
    action: str = "compute",
    rows: int | None = None,
    failed: bool = False,
) -> TaskPart:
    return TaskPart(task, phase, worker, action, began, ended, rows, rows, 100, failed)


def summed(phase: str, **figures: float) -> list[SpanFigure]:
    """What the recorder itself adds up of a phase."""
    return [SpanFigure(phase, NOTED, name, "count", figure) for name, figure in figures.items()]


def sampled(seconds: int, workers: int, *, memory: int = 10**9, spilled: int = 0, cpu: float = 90.0) -> list[Sample]:
    """A sample of each worker each second; memory grows by 10 MB a second, and by 100 MB from worker to worker."""
    return [
        Sample(float(at), worker, memory + at * 10**7 + worker * 10**8, spilled, cpu, 1)
        for at in range(seconds + 1)
        for worker in range(workers)
    ]


def a_rescore() -> list[Attempt]:
    """Two workers that surveyed for two seconds and scored for seven, one of them longer than the other."""
    survey = [
        part(number, 0.2 + 0.9 * (number // 2), 1.0 + 0.9 * (number // 2), phase=0, worker=number % 2, rows=50_000)
        for number in range(4)
    ]
    score = [
        part(4 + number, 2.4 + 1.1 * (number // 2), 3.4 + 1.1 * (number // 2), worker=number % 2, rows=12_000)
        for number in range(12)
    ]
    late = [part(20, 9.0, 9.7, worker=1, rows=12_000), part(20, 8.95, 9.0, worker=1, action="transfer")]
    return [attempt([*survey, *score, *late], sampled(10, 2))]
