"""A workspace of schedules whose steps are played: scheduler scripts whose clock, store and processes a test has in
hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dataops.records import new_nonce
from dataops.runs.workspace import os_user
from dataops.scheduling.beats import Watch
from dataops.scheduling.book import Book, event_of
from dataops.scheduling.events import Event
from dataops.scheduling.floor import Limits, VirtualClock
from dataops.scheduling.loop import PassResult, Scheduler
from dataops.scheduling.state import ScheduleState
from dataops.scheduling.working import Result, StepCommand
from dataops.storage.objects import MemoryStore, Store, open_store

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DONE = Result(exit_code=0, answer={"run": "a", "result": {}})
HOURLY = """
name: hourly
when: {every: 1h}
start: 2026-03-01T01:00:00Z
catch_up: all
steps:
  - {job: scores, file: jobs/a.yaml}
"""


def failing(family: str, message: str, code: int, *, may_pass: bool = False) -> Result:
    """How a process ends that fails."""
    answer = {"error": {"family": family, "message": message}}
    return Result(exit_code=code, answer=answer, error=message, may_pass=may_pass or code in (10, 11))


def make_stage(folder: Path, *schedules: str) -> Path:
    """A workspace with these schedules, each in a file of its own, which is named by its place; its storage is in this
    process's memory.
    """
    (folder / "schedules").mkdir(parents=True)
    (folder / "dataops.yaml").write_text(f"storage: memory://{new_nonce()}\n")
    (folder / "principals.yaml").write_text(f"principals:\n  {os_user()}: {{roles: [analyst]}}\n")
    for number, text in enumerate(schedules):
        declare(folder, text, number)
    return folder


def declare(folder: Path, text: str, number: int = 0) -> None:
    """The schedules of one file."""
    (folder / "schedules" / f"{number}.yaml").write_text(text)


@dataclass(slots=True)
class Played:
    """A process that ends when a test says so."""

    command: StepCommand
    result: Result | None = None
    stops: int = 0

    def poll(self) -> Result | None:
        return self.result

    def stop(self) -> None:
        self.stops += 1
        if self.result is None:
            self.result = Result(exit_code=130, error="stopped")


@dataclass(slots=True)
class Company:
    """Plays the steps of all scripts: `answers` says by job how a process ends, None: not by itself."""

    answers: dict[str, Callable[[int], Result | None]] = field(default_factory=dict)
    started: list[Played] = field(default_factory=list)
    committed: Counter[str] = field(default_factory=Counter)
    before_start: Callable[[StepCommand], None] = lambda _: None

    def start(self, command: StepCommand) -> Played:
        self.before_start(command)
        played = Played(command)
        self.started.append(played)
        job = command.arguments[3] if command.arguments[:2] == ("job", "run") else command.arguments[1]
        turn = sum(self.job_of(one) == job for one in self.started)
        played.result = self.answers.get(job, lambda _: DONE)(turn)
        if played.result is not None and played.result.exit_code == 0:
            self.committed[command.run] = 1  # put if absent: doing it twice is doing it once
        return played

    @staticmethod
    def job_of(played: Played) -> str:
        return played.command.arguments[3]

    def runs(self) -> list[str]:
        """The runs of all processes that were started, in their order."""
        return [one.command.run for one in self.started]


@dataclass(slots=True)
class Stage:
    """One directory, and as many scripts on it as a test likes."""

    folder: Path
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(START))
    company: Company = field(default_factory=Company)
    lines: list[str] = field(default_factory=list)
    limits: Limits = field(default_factory=lambda: Limits(at_once=10, per_user=10))

    @property
    def store(self) -> MemoryStore:
        found = open_store((self.folder / "dataops.yaml").read_text().split()[1])
        assert isinstance(found, MemoryStore)
        return found

    def script(self, *, store: Store | None = None, dead_after: float = 3600.0) -> Scheduler:
        """Another scheduler script, which doesn't beat until it is entered."""
        return Scheduler(
            self.folder,
            clock=self.clock,
            start=lambda _store, _folder: self.company,
            log=self.lines.append,
            limits=self.limits,
            poll_seconds=0.01,
            watch=Watch(dead_after_seconds=dead_after),
            store=store,
        )

    def once(self, *, later: timedelta = timedelta(0), **how: Any) -> PassResult:
        """What a script does that comes `later`, does what is due and ends."""
        self.clock.at += later
        with self.script(**how) as script:
            return script.once()

    def state(self, name: str = "hourly") -> ScheduleState:
        found = Book(self.store, name).head().state
        assert found is not None
        return found

    def events(self, name: str = "hourly", *kinds: str) -> list[Event]:
        """What happened, oldest first, of these kinds alone if there are any."""
        found = [event_of(entry) for entry in Book(self.store, name).entries(newest_first=False)]
        return [event for event in found if not kinds or event.event in kinds]

    def ended(self, name: str = "hourly") -> dict[str, str]:
        """The outcome of each slot that ended; a slot that ended twice is a mistake."""
        found = self.events(name, "ended")
        keys = [event.key for event in found]  # type: ignore[union-attr]
        assert len(set(keys)) == len(keys), keys
        return {event.key: event.outcome for event in found}  # type: ignore[union-attr]

    def audited(self, *names: str) -> list[Mapping[str, Any]]:
        """What the audit was told of schedules, of these events alone if there are any."""
        from dataops.storage.journal import Journal

        bodies = [entry.body for entry in Journal(self.store, "audit", "audit").entries()]
        return [body for body in bodies if not names or body["event"] in names]

    def said(self) -> str:
        """All lines of the scripts' logs."""
        return "\n".join(self.lines)


def abandon(script: Scheduler) -> None:
    """The script is gone as if it had been killed: it says nothing more."""
    script._heart._stop.set()


def keys(first: datetime, count: int, step: timedelta = HOUR) -> list[str]:
    """The keys of slots of the clock."""
    return [(first + step * number).strftime("%Y%m%dt%H%M%Sz") for number in range(count)]


def only(found: Iterable[Any]) -> Any:
    """The one of them."""
    (one,) = found
    return one
