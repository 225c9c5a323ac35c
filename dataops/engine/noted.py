"""What is noted of a run while it goes on: which task ran where and when, and how the workers fared. Pure.

1. It is bounded: of tasks beyond `MAX_TASKS` parts only the sums of their phase are kept; of too many samples every
   other one goes, and from then on they are taken half as often, so that they reach from the beginning to the end.
2. No key, argument or result of a task is noted, and so no value of any row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

PHASE = "dataops_phase"
"""The annotation of a task: the run that it is of, and the phase."""
MAX_TASKS = 100_000  # parts of tasks; some 20 MB on the Dask scheduler
MAX_SAMPLES = 50_000
NOTED = "noted"
"""The kind of our own sums over the tasks of a phase, beside those of Dask's spans."""
COMPUTE, DISK, TRANSFER = "compute", "disk", "transfer"


class TaskPart(NamedTuple):
    """What a task did for a while: `action` is Dask's word (``compute``, ``transfer``, ``disk-read``, ...).

    Attributes
    ----------
    task : counts the tasks that ended; parts of one task have the same.
    phase, worker : places in `Recorded.phases` and `Recorded.workers`.
    began, ended : seconds since 1970, by the Dask scheduler's clock.
    rows, read_bytes : of the task's units, decoded; None where it has none.
    result_bytes : that the task's result took on its worker.
    failed : whether the task raised; tasks over units don't.
    """

    task: int
    phase: int
    worker: int
    action: str
    began: float
    ended: float
    rows: int | None
    read_bytes: int | None
    result_bytes: int
    failed: bool


class Sample(NamedTuple):
    """How a worker was at a moment, as it last said.

    Attributes
    ----------
    memory, spilled : bytes that its process holds, and that it moved to its disk.
    cpu : percent of one core.
    executing : tasks that it has in hand.
    """

    at: float
    worker: int
    memory: int
    spilled: int
    cpu: float
    executing: int


class SeenWorker(NamedTuple):
    """A worker process; one that is started again is another one."""

    address: str
    threads: int
    memory_limit: int


class SpanFigure(NamedTuple):
    """A sum over all tasks of a phase, also of those that were left out: e.g. ``execute``, ``thread-cpu``,
    ``seconds``, of Dask; or of ours (`NOTED`) ``tasks`` and ``failed``, ``rows``, or seconds of ``compute``,
    ``transfer`` and ``disk``.
    """

    phase: str
    kind: str
    activity: str
    unit: str
    figure: float


def kind_of(action: str) -> str:
    """What a task did, of Dask's word for it: it computed, read from its disk or wrote there, or waited for others."""
    if action == COMPUTE:
        return COMPUTE
    return DISK if action.startswith(DISK) else TRANSFER


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was noted of a run from `began` to `ended` (seconds since 1970).

    Attributes
    ----------
    left_out : parts of tasks that weren't kept.
    sample_seconds : how far apart samples of a worker are.
    """

    began: float
    ended: float
    phases: Sequence[str]
    workers: Sequence[SeenWorker]
    tasks: Sequence[TaskPart]
    samples: Sequence[Sample]
    spans: Sequence[SpanFigure]
    left_out: int
    sample_seconds: int


@dataclass(slots=True, kw_only=True)
class Notes:
    """What is noted so far, within bounds."""

    max_tasks: int = MAX_TASKS
    max_samples: int = MAX_SAMPLES
    tasks: list[TaskPart] = field(default_factory=list)
    left_out: int = 0
    every: int = 1
    _workers: dict[str, int] = field(default_factory=dict)
    _phases: dict[str, int] = field(default_factory=dict)
    _sums: defaultdict[tuple[str, str, str], float] = field(default_factory=lambda: defaultdict(float))
    _rounds: list[Sequence[Sample]] = field(default_factory=list)
    _ended: int = 0
    _ticks: int = 0
    _samples: int = 0

    @property
    def phases(self) -> list[str]:
        """The phases that had a task, in the order of the first one's end."""
        return list(self._phases)

    @property
    def workers(self) -> list[str]:
        """The addresses of all workers that were seen, by number."""
        return list(self._workers)

    @property
    def samples(self) -> list[Sample]:
        """All samples that are kept, in the order of time."""
        return [sample for samples in self._rounds for sample in samples]

    def number(self, worker: str) -> int:
        """The number of the worker at the address `worker`, which is a new one if it wasn't seen before."""
        return self._workers.setdefault(worker, len(self._workers))

    def add_task(
        self,
        phase: str,
        worker: str,
        parts: Iterable[Mapping[str, Any]],
        *,
        units: Mapping[str, int],
        result_bytes: int,
        failed: bool,
    ) -> None:
        """Note a task that ended; `parts` are Dask's ``startstops``."""
        number, of_phase = self.number(worker), self._phases.setdefault(phase, len(self._phases))
        rows, read_bytes = units.get("rows"), units.get("bytes")
        self._sums[phase, "tasks", "count"] += 1
        self._sums[phase, "failed", "count"] += failed
        for part in parts:
            did = kind_of(part["action"])
            self._sums[phase, did, "seconds"] += max(0.0, part["stop"] - part["start"])
            self._sums[phase, "rows", "count"] += (rows or 0) if did == COMPUTE else 0
            if len(self.tasks) >= self.max_tasks:
                self.left_out += 1
                continue
            times = part["start"], part["stop"]
            self.tasks.append(
                TaskPart(self._ended, of_phase, number, part["action"], *times, rows, read_bytes, result_bytes, failed)
            )
        self._ended += 1

    def sums(self) -> Iterator[SpanFigure]:
        """What all tasks of each phase come to, also those that were left out."""
        for (phase, activity, unit), figure in self._sums.items():
            yield SpanFigure(phase, NOTED, activity, unit, figure)

    def is_due(self) -> bool:
        """Whether samples are to be taken at this tick of the clock."""
        self._ticks += 1
        return (self._ticks - 1) % self.every == 0

    def add_samples(self, samples: Sequence[Sample]) -> None:
        """Note how the workers are."""
        self._rounds.append(samples)
        self._samples += len(samples)
        if self._samples > self.max_samples and len(self._rounds) > 1:
            self._rounds = self._rounds[::2]
            self._samples = sum(len(one) for one in self._rounds)
            self.every *= 2
