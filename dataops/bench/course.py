"""The course of a benchmark: phase by phase over the line, with the calls and verbs that anybody has.

1. A phase's time begins when its cluster is there and ends when its outcome is published. Planning counts; starting
   and stopping clusters and processes is told apart.
2. What is rescored twice counts by the worse time: once lucky is no measurement.
3. Streams are processes of the command line, side by side: from when the first has its cluster until the last is done,
   and while any of them plans.
4. The rows of a phase depend on the data alone: to read something once instead of twice makes a phase faster, never
   smaller.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dataops.bench.making import Data, PartMade, load_data, make_data
from dataops.bench.place import JOBS, RESCORES, Place, make_workspace, rescore_jobs
from dataops.bench.results import COUNTED, MADE, Phase
from dataops.bench.scores import Scored
from dataops.bench.sizes import NEW, PAST
from dataops.declarations.clusters import ClusterFile, read_cluster, shape_of
from dataops.declarations.jobs import find_job
from dataops.engine.connect import connect
from dataops.engine.progress import Progress
from dataops.errors import Compute, Integrity
from dataops.records import parse_time
from dataops.runs.execute import RESUMABLE, Options, Outcome, run_job
from dataops.runs.ledger import RunState
from dataops.runs.workspace import Workspace
from dataops.scheduling.parent import PARENT_VARIABLE

if TYPE_CHECKING:
    from distributed import Client

PREPARED = ("payments_joined", "training", "arrivals")
TRIES = 2
STREAM = (sys.executable, "-m", "dataops.bench.stream")
OUTPUT = "scores"

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Course:
    """A benchmark on its way: `phases` that ended, the `outcomes` of their runs, the rescores, the clusters' shape."""

    place: Place
    cluster_file: Path
    workers: int | None
    progress: Progress
    phases: list[Phase] = field(default_factory=list)
    outcomes: dict[str, RunState] = field(default_factory=dict)
    scored: list[Scored] = field(default_factory=list)
    shape: dict[str, int] = field(default_factory=dict)

    @property
    def cluster(self) -> ClusterFile:
        """What the cluster file says."""
        return read_cluster(self.cluster_file, workspace=self.place.folder)

    def _begin(self, phase: str) -> None:
        """Tells people which phase comes."""
        phases = (MADE, *COUNTED)
        self.progress.say(f"phase {phases.index(phase) + 1} of {len(phases)}: {phase}")

    def make(self) -> Data:
        """The data, made as far as it isn't there."""
        self._begin(MADE)

        def made(client: Client) -> tuple[Data, int]:
            parts = self.place.size.parts()
            self.progress.start(MADE, len(parts), sum(part.rows for part in parts))

            def landed(part: PartMade) -> None:
                self.progress.advance(1, part.rows)

            return make_data(client, self.place.data_url, self.place.size, self.place.journal, landed=landed)

        try:
            (data, rows), seconds, startup = self.on_cluster(made)
        except RESUMABLE as error:
            error.add_note("What was made stays: the same command goes on with the parts that are missing.")
            raise
        self.phases.append(Phase(name=MADE, rows=rows, seconds=seconds, startup_seconds=startup))
        return data

    def load(self, data: Data) -> int:
        """Decoded bytes of all files, each read once on the cluster."""
        self._begin("load")

        def load(client: Client) -> tuple[int, int]:
            self.progress.start("load", len(data.parts), data.rows())
            paths = [part.path for part in data.parts]
            return load_data(client, self.place.data_url, paths, landed=lambda rows: self.progress.advance(1, rows))

        (rows, held), seconds, startup = self.on_cluster(load)
        if rows != data.rows():
            raise Integrity(f"{data.rows():,} rows were written, and {rows:,} are read: the files were changed")
        self.phases.append(Phase(name="load", rows=rows, seconds=seconds, startup_seconds=startup))
        return held

    def run_line(self, workspace: Workspace, data: Data, streams: int) -> None:
        """All phases that are jobs."""
        self._of_jobs("governed load", workspace, ("payments",), rows=data.rows(PAST))
        self._of_jobs("prepare", workspace, PREPARED, rows=data.rows())
        (trained,) = self._of_jobs("train", workspace, ("fraud",), rows=data.good_rows(PAST))
        names = (OUTPUT, *(f"{OUTPUT}_{number}" for number in range(1, streams + 1)))
        version = next(one["version"] for one in trained.result["versions"] if "xgboost" in one["candidate"])
        text = rescore_jobs(names, f"fraud@{version}")
        (self.place.folder / RESCORES).write_text(text, encoding="utf-8")
        rows = data.good_rows(NEW)
        self._begin("rescore")
        tries = [self._job(workspace, RESCORES, OUTPUT) for _ in range(TRIES)]
        self.scored += [
            Scored(name=f"{OUTPUT}, try {number}", dataset=OUTPUT, run=state.run.id)
            for number, (*_, state) in enumerate(tries, 1)
        ]
        worst, startup = max(took for took, _, _ in tries), sum(waited for _, waited, _ in tries)
        self.phases.append(
            Phase(
                name="rescore",
                rows=rows,
                seconds=worst,
                startup_seconds=startup,
                tries=tuple(took for took, _, _ in tries),
                runs=tuple(state.run.id for *_, state in tries),
            )
        )
        self._streams(workspace, names[1:], rows)

    def on_cluster(self, work: Callable[[Client], T]) -> tuple[T, float, float]:
        """What `work` gives, and the seconds of it and of the cluster around it."""
        asked = time.monotonic()
        shape = shape_of(self.cluster, training=False)
        with connect(self.cluster, shape, workers=self.workers) as connection:
            self.shape = {"workers": connection.workers, "threads": connection.threads}
            started = time.monotonic()
            with _phase_shown(self.progress), _cluster_errors():
                found = work(connection.client)
            seconds = time.monotonic() - started
        return found, seconds, time.monotonic() - asked - seconds

    def _of_jobs(self, name: str, workspace: Workspace, jobs: Sequence[str], *, rows: int) -> list[RunState]:
        """The runs of `jobs`, one after the other, as one phase of `rows`."""
        self._begin(name)
        took = [self._job(workspace, JOBS, job) for job in jobs]
        states = [state for *_, state in took]
        self.phases.append(
            Phase(
                name=name,
                rows=rows,
                seconds=sum(seconds for seconds, _, _ in took),
                startup_seconds=sum(startup for _, startup, _ in took),
                runs=tuple(state.run.id for state in states),
            )
        )
        return states

    def _job(self, workspace: Workspace, file: str, name: str) -> tuple[float, float, RunState]:
        """Seconds at work, seconds beside, and the run of a job."""
        declared = find_job(workspace.settings.workspace / file, name)
        options = Options(cluster=self.cluster, workers=self.workers, again=True)
        asked, began = time.time(), time.monotonic()
        outcome: Outcome = run_job(
            workspace, declared.job, source=declared.document.source, options=options, progress=self.progress
        )
        wall = time.monotonic() - began
        self.outcomes[name] = outcome.state
        events = _events(outcome.state)
        at_work = events["run_started"] - asked + events["run_done"] - events["cluster_ready"]
        return at_work, max(0.0, wall - at_work), outcome.state

    def _streams(self, workspace: Workspace, names: Sequence[str], rows: int) -> None:
        began = time.monotonic()
        self._begin("streams")
        command = ["job", "run", str(self.place.folder / RESCORES)]
        options = ["--again", "--quiet", "--json", "--workspace", str(self.place.folder)]
        options += ["--cluster", str(self.cluster_file)]
        options += ["--workers", str(self.workers)] if self.workers else []
        self.progress.start("side by side", len(names), rows * len(names))
        with _phase_shown(self.progress), tempfile.TemporaryDirectory(prefix="dataops-asked-") as asked:
            told = side_by_side(
                [[*STREAM, f"{asked}/{name}", *command, name, *options] for name in names],
                ended=lambda: self.progress.advance(1, rows),
            )
            asked_at = [float((Path(asked) / name).read_text(encoding="utf-8")) for name in names]
        wall = time.monotonic() - began
        states = [workspace.ledger.state(one["run"]) for one in told]
        for name, state in zip(names, states, strict=True):
            self.outcomes[name] = state
            self.scored.append(Scored(name=name, dataset=name, run=state.run.id))
        seconds = seconds_of_streams(asked_at, [_events(state) for state in states])
        self.phases.append(
            Phase(
                name="streams",
                rows=rows * len(names),
                seconds=seconds,
                startup_seconds=max(0.0, wall - seconds),
                runs=tuple(state.run.id for state in states),
            )
        )


def begin(place: Place, cluster_file: Path, *, workers: int | None, progress: Progress) -> tuple[Course, Data]:
    """A course whose data is made."""
    course = Course(place=place, cluster_file=cluster_file, workers=workers, progress=progress)
    return course, course.make()


def run_course(course: Course, data: Data, streams: int) -> tuple[Workspace, int]:
    """The measured phases, in the workspace that is given back with the data's decoded bytes."""
    held = course.load(data)
    workspace = make_workspace(course.place)
    course.run_line(workspace, data, streams)
    return workspace, held


def _events(state: RunState) -> dict[str, float]:
    """When each event was first, in seconds since 1970: what a lost cluster had done counts as well."""
    return {event["event"]: parse_time(event["at"]).timestamp() for event in reversed(state.events)}


def seconds_of_streams(asked: Sequence[float], events: Sequence[Mapping[str, float]]) -> float:
    """Seconds that count of streams: from the first cluster that was ready until the last was done, and all before in
    which one of them planned.

    Parameters
    ----------
    asked : when each was asked for its run, in seconds since 1970.
    events : when the events of each run were.
    """
    planning = [(start, one["run_started"]) for start, one in zip(asked, events, strict=True)]
    work = (min(one["cluster_ready"] for one in events), max(one["run_done"] for one in events))
    seconds, until = 0.0, -math.inf
    for start, stop in sorted([*planning, work]):
        seconds += max(0.0, stop - max(start, until))
        until = max(until, stop)
    return seconds


@contextmanager
def _phase_shown(progress: Progress) -> Iterator[None]:
    ok = False
    try:
        yield
        ok = True
    finally:
        progress.stop(ok=ok)


@contextmanager
def _cluster_errors() -> Iterator[None]:
    """What Dask raises of itself, as an error of ours."""
    from distributed.scheduler import KilledWorker

    try:
        yield
    except (KilledWorker, CancelledError, TimeoutError) as error:
        raise Compute(f"the cluster lost what it was asked for ({type(error).__name__}); call again") from None


def side_by_side(commands: Sequence[Sequence[str]], *, ended: Callable[[], None]) -> list[dict[str, Any]]:
    """What each process printed as JSON, all of them started together; `ended` is called for each that has ended.

    They end with this process, and those that are left when this ends early are interrupted.

    Raises
    ------
    Compute : one of them failed.
    """
    with tempfile.TemporaryDirectory(prefix="dataops-streams-") as folder, ExitStack() as started:
        files = [(Path(folder) / f"{number}.json", Path(folder) / f"{number}.log") for number in range(len(commands))]
        processes = [started.enter_context(_started(command, *to)) for command, to in zip(commands, files, strict=True)]
        for number, process in enumerate(processes):
            if process.wait():
                said = files[number][1].read_text(encoding="utf-8", errors="replace").strip().splitlines()
                told = next((line for line in said if line.startswith("error: ")), f"exit code {process.returncode}")
                raise Compute(f"stream {number + 1} of {len(commands)}: {told.removeprefix('error: ')}")
            ended()
        return [json.loads(out.read_text(encoding="utf-8")) for out, _ in files]


@contextmanager
def _started(command: Sequence[str], out: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the context."""
    environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
    with out.open("wb") as told, log.open("wb") as said:
        process = subprocess.Popen(command, stdout=told, stderr=said, env=environment)  # noqa: S603 -- our own list
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
