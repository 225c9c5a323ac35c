"""Processes that die where they are told to: with their n-th read, score, part or record, or a put of the driver's.

1. What is to happen is told by the environment, as JSON, with a folder for marks: it can be printed, and replayed.
2. Each death happens once, in whichever process comes to its place first: that one takes the death's mark. A process
   counts for itself, and one that is started in the place of a dead one begins at zero.
3. Whoever comes to a place may also let another process die: the driver, or Dask's scheduler, whose id is in a mark.
4. Units that are begun are noted in a file: what a resumed run does again can be counted.

A worker is made mortal as its preload (`dask_setup`), a driver is started by `drive`, this process by `mortal`.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from unittest.mock import patch

DEATHS, MARKS = "DEATHS", "DEATH_MARKS"
MODULE = "tests.faults.dying"
FULL = "full"  # the mark that stands while no file can be written


class Died(BaseException):
    """A process that is killed without one: what would come after this isn't done."""


class Step(StrEnum):
    """What a process may be at."""

    READ = "read"
    SCORE = "score"
    PART = "part"
    RECORD = "record"
    TIME = "time"
    MANIFEST = "manifest"
    SNAPSHOT = "snapshot"
    AUDIT = "audit"
    EVENT = "event"
    LINEAGE = "lineage"
    DONE = "done"


class Moment(StrEnum):
    """Of a step. Half done is a part of which some bytes are written, and a record that has its bytes, but no name."""

    BEFORE = "before"
    HALF = "half"
    AFTER = "after"


class Deed(StrEnum):
    """What happens then: kill -9 of the victim, `Died`, no room on the disk from then on, memory without an end."""

    KILL = "kill"
    RAISE = "raise"
    FILL_DISK = "fill disk"
    FILL_MEMORY = "fill memory"


OF_A_UNIT = (
    (Step.READ, Moment.AFTER),
    (Step.SCORE, Moment.AFTER),
    *((step, moment) for step in (Step.PART, Step.RECORD) for moment in Moment),
)
OF_A_RUN = tuple(
    (step, moment)
    for step in (Step.MANIFEST, Step.SNAPSHOT, Step.AUDIT, Step.LINEAGE, Step.EVENT, Step.DONE)
    for moment in Moment
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A process dies with its `nth` `step`.

    Attributes
    ----------
    seconds : for `Step.TIME`: how long after its first unit.
    victim : "self", or the mark that holds the id of the process that dies.
    """

    step: Step
    nth: int = 1
    moment: Moment = Moment.AFTER
    seconds: float = 0.0
    victim: str = "self"
    deed: Deed = Deed.KILL


def told(deaths: Sequence[Death], marks: Path) -> dict[str, str]:
    """The environment that tells of `deaths`, whose marks lie in `marks`."""
    return {DEATHS: json.dumps([asdict(death) for death in deaths]), MARKS: str(marks)}


def taken(marks: Path) -> list[int]:
    """Which deaths happened, by their number in the schedule."""
    return sorted(int(path.stem) for path in marks.glob("*.taken"))


def begun(marks: Path) -> list[str]:
    """The ids of the units that were begun, each as often as that happened."""
    notes = marks / "begun"
    return notes.read_text().split() if notes.exists() else []


def of_a_unit(choice: random.Random, victim: str = "self", *, most: int = 6) -> Death:
    """A death somewhere between the read of a unit and its record."""
    if choice.random() < 0.2:
        return Death(step=Step.TIME, seconds=round(choice.uniform(0, 0.2), 3), victim=victim)
    step, moment = choice.choice(OF_A_UNIT)
    return Death(step=step, moment=moment, nth=choice.randint(1, most), victim=victim)


class Mortal:
    """What of this process is looked at, and what it dies of."""

    def __init__(self, deaths: Sequence[Death], marks: Path) -> None:
        self._deaths, self._marks = deaths, marks
        self._seen: Counter[Step] = Counter()
        self._clocks: list[threading.Timer] = []
        self._lock = threading.Lock()

    @contextmanager
    def step(self, step: Step) -> Iterator[tuple[int, Callable[[Moment], None]]]:
        """Around what is done at `step`: its number, and what to call in the middle."""
        with self._lock:
            self._seen[step] += 1
            number = self._seen[step]

        def come_to(moment: Moment) -> None:
            for place, death in enumerate(self._deaths):
                if (death.step, death.nth, death.moment) == (step, number, moment):
                    self._die(place, death)

        come_to(Moment.BEFORE)
        yield number, come_to
        come_to(Moment.AFTER)

    def begin(self, unit: str) -> None:
        """Note that `unit` is begun; clocks start with the first one."""
        with (self._marks / "begun").open("a") as notes:
            notes.write(f"{unit}\n")
        with self._lock:
            first, self._seen[Step.TIME] = not self._seen[Step.TIME], 1
        for place, death in enumerate(self._deaths) if first else ():
            if death.step is Step.TIME:
                clock = threading.Timer(death.seconds, self._die, (place, death))
                clock.daemon = True
                clock.start()
                self._clocks.append(clock)

    def stop_clocks(self) -> None:
        """Nobody dies of time any more."""
        for clock in self._clocks:
            clock.cancel()

    def require_room(self) -> None:
        """Nothing, unless the disk is full."""
        if (self._marks / FULL).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _die(self, place: int, death: Death) -> None:
        try:
            (self._marks / f"{place}.taken").touch(exist_ok=False)
        except FileExistsError:
            return
        if death.deed is Deed.RAISE:
            raise Died
        if death.deed is Deed.FILL_DISK:
            (self._marks / FULL).touch()
        elif death.deed is Deed.FILL_MEMORY:
            _fill_memory()
        else:
            victim = os.getpid() if death.victim == "self" else int((self._marks / death.victim).read_text())
            os.kill(victim, signal.SIGKILL)
            if victim == os.getpid():
                time.sleep(60)  # the signal takes its time; nothing is done meanwhile


def _fill_memory() -> None:
    """Take memory until somebody ends this process."""
    held = []
    for _ in range(10_000):
        held.append(os.urandom(1 << 20) * 16)
        time.sleep(0.002)
    raise AssertionError("nobody ended a process that took all memory")


def _step_of(key: str) -> Step | None:
    """What is done when a record is put under `key`."""
    folders = {"audit/": Step.AUDIT, "lineage/": Step.LINEAGE, "done/": Step.DONE}
    for folder, step in folders.items():
        if key.startswith(folder):
            return step
    if "/units/" in key:
        return Step.RECORD
    if key.startswith("datasets/") and key.endswith("/manifest.json"):
        return Step.MANIFEST
    if key.startswith("datasets/") and "/snapshots/" in key:
        return Step.SNAPSHOT
    return Step.EVENT if "/events/" in key else None


@contextmanager
def mortal(deaths: Sequence[Death], marks: Path) -> Iterator[None]:
    """While it holds, this process dies of `deaths`."""
    from dataops.preparation import prepare_unit
    from dataops.rescoring import score
    from dataops.storage import objects
    from dataops.storage.files import PosixFiles
    from dataops.storage.objects import PosixStore

    one, here = Mortal(deaths, marks), threading.local()
    read, scored, write = score.read_unit, score.score_rows, PosixFiles.write
    create, link = PosixStore._create, objects.link_new

    def read_unit(source: Any, unit: Any, *others: Any, **named: Any) -> Any:
        one.begin(unit.id)
        with one.step(Step.READ):
            return read(source, unit, *others, **named)

    def score_rows(*given: Any, **named: Any) -> Any:
        with one.step(Step.SCORE):
            return scored(*given, **named)

    def write_file(files: PosixFiles, path: str, do: Callable[[Any], Any]) -> Any:
        if "/data/part-" not in path:
            return write(files, path, do)
        with one.step(Step.PART) as (_, come_to):
            return write(files, path, lambda sink: do(_Torn(sink, one, come_to)))

    def create_record(store: PosixStore, key: str, data: bytes) -> bool:
        if (step := _step_of(key)) is None:
            return create(store, key, data)
        with one.step(step) as (_, here.come_to):
            if step is Step.RECORD:
                one.require_room()
            return create(store, key, data)

    def link_new(source: Path, target: Path) -> bool:
        getattr(here, "come_to", lambda _: None)(Moment.HALF)
        here.come_to = lambda _: None
        return link(source, target)

    with ExitStack() as stack:
        stack.callback(one.stop_clocks)
        for place, name, function in (
            (score, "read_unit", read_unit),
            (prepare_unit, "read_unit", read_unit),
            (score, "score_rows", score_rows),
            (PosixFiles, "write", write_file),
            (PosixStore, "_create", create_record),
            (objects, "link_new", link_new),
        ):
            stack.enter_context(patch.object(place, name, function))
        yield


class _Torn:
    """A stream that is left with half of what was written, if the process dies then."""

    def __init__(self, sink: Any, one: Mortal, come_to: Callable[[Moment], None]) -> None:
        self._sink, self._one, self._come_to = sink, one, come_to

    def write(self, data: Any) -> int:
        view = memoryview(data)
        half = len(view) // 2
        self._sink.write(view[:half])
        self._sink.flush()
        self._come_to(Moment.HALF)
        self._one.require_room()
        return half + int(self._sink.write(view[half:]))


def deaths_of(told: Sequence[dict[str, Any]]) -> list[Death]:
    """The deaths that `told` tells of."""
    return [
        Death(**{**one, "step": Step(one["step"]), "moment": Moment(one["moment"]), "deed": Deed(one["deed"])})
        for one in told
    ]


def _as_told() -> AbstractContextManager[None]:
    return mortal(deaths_of(json.loads(os.environ[DEATHS])), Path(os.environ[MARKS]))


_for_life = ExitStack()


def dask_setup(_worker: Any) -> None:
    """Dask calls this for a worker that has this module as its preload: as long as it lives, it is mortal."""
    _for_life.enter_context(_as_told())


def drive() -> None:
    """``dataops``, as the command line calls it, in a process that is mortal."""
    from dataops.cli.main import main

    (Path(os.environ[MARKS]) / "driver").write_text(str(os.getpid()))
    with _as_told():
        main(sys.argv[1:])
