"""What a scheduler script has at hand: its clock, the workspace as it is now, the processes that it started."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from dataops.errors import DataopsError
from dataops.records import now_utc
from dataops.registry.versions import Registry
from dataops.runs.ledger import Ledger
from dataops.runs.workspace import Workspace, open_workspace
from dataops.scheduling.beats import Watch
from dataops.scheduling.picking import Waiting
from dataops.scheduling.telling import NOTHING, spell_line
from dataops.scheduling.working import Child, Result, Starter
from dataops.settings import read_settings
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore, ReadOnlyStore, Store


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> datetime:
        """The present time, aware, in UTC."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:  # noqa: D102 - the seam says it
        return now_utc()


class VirtualClock:
    """A clock that stands still until it is set: for tests, and to run through days in minutes."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:  # noqa: D102
        return self.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of one script runs at once: in all, and of one user; all schedules together are one."""

    at_once: int = 1
    per_user: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What could be begun now, and how; `begin` says whether it was: somebody else may have been first."""

    waiting: Waiting
    begin: Callable[[], bool]


@dataclass(slots=True, kw_only=True)
class AtWork:
    """A process that this script started for `user`, and whether it went on with what another one had begun."""

    user: str
    child: Child
    run: str
    was_taken_over: bool = False

    def poll(self) -> Result | None:
        """How it ended; None while it is at work."""
        return self.child.poll()


@dataclass(slots=True, kw_only=True)
class Floor:
    """Where a script works.

    Attributes
    ----------
    script : the script's id.
    account : whom it runs as.
    log : takes a line.
    at_work : the processes that do what this script holds, by what they do.
    astray : processes whose work is somebody else's by now: they were told to stop.
    alarms : whoever tells people of slots that failed.
    problems : what went wrong the last time around, by what it was about; told when it is new.
    is_ending : whether it begins nothing more.
    claims : whether it believes the clock, and claims slots and lets deadlines pass by it.
    failures, decisions, told : slots and submissions that it ended and that aren't done, entries that it wrote, records
        that it gave to the audit.
    """

    folder: Path
    store: Store
    audit: Journal
    script: str
    account: str
    clock: Clock
    watch: Watch
    starter: Starter
    limits: Limits
    log: Callable[[str], None]
    open: Callable[[str], Workspace] = open_workspace
    at_work: dict[str, AtWork] = field(default_factory=dict)
    astray: list[AtWork] = field(default_factory=list)
    alarms: list[threading.Thread] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    is_ending: bool = False
    claims: bool = True
    failures: int = 0
    decisions: int = 0
    told: int = 0
    _workspace: Workspace | DataopsError | None = None

    def now(self) -> datetime:
        """The present time, by the script's clock."""
        return self.clock.now()

    def workspace(self) -> Workspace:
        """The workspace as it is now.

        Raises
        ------
        DataopsError : it can't be opened, or its registry can't.
        """
        if self._workspace is None:
            try:
                self._workspace = self.open(str(self.folder))
            except DataopsError as error:
                self._workspace = error
        if isinstance(self._workspace, DataopsError):
            raise self._workspace
        return self._workspace

    def storage_alone(self) -> Workspace:
        """The workspace with a registry of nothing: for what asks none, also where that can't be read.

        Raises
        ------
        InvalidInput : its settings are wrong.
        """
        return Workspace(
            settings=read_settings(self.folder, os.environ),
            store=self.store,
            registry=Registry(ReadOnlyStore(MemoryStore())),
            ledger=Ledger(self.store),
            audit=self.audit,
        )

    def look_anew(self) -> None:
        """Forget how the workspace was: it is read again."""
        self._workspace = None

    def say(self, text: str, *, schedule: str = NOTHING, slot: str = NOTHING) -> None:
        """A line in the log."""
        self.log(spell_line(self.now(), text, schedule=schedule, slot=slot))

    def users(self) -> list[str]:
        """The user of each process that is at work, or was told to stop and hasn't ended yet."""
        return [one.user for one in (*self.at_work.values(), *self.astray)]

    def lose(self, what: str) -> None:
        """The process that does `what` is to stop: its work is somebody else's, or nobody's."""
        lost = self.at_work.pop(what, None)
        if lost is not None:
            lost.child.stop()
            self.astray.append(lost)

    def sweep(self) -> None:
        """Forget what has ended: processes that went astray, and alarms."""
        self.astray = [one for one in self.astray if one.poll() is None]
        self.alarms = [one for one in self.alarms if one.is_alive()]

    @contextmanager
    def minding(self, what: str) -> Iterator[None]:
        """What goes wrong inside is told, once, and stops nothing else."""
        try:
            yield
        except DataopsError as error:
            self._trouble(what, f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001  # of one schedule; its text may hold values
            self._trouble(what, f"a bug in dataops, please report it: {type(error).__name__}{_place(error)}")
        else:
            if self.problems.pop(what, None) is not None:
                self.say("goes on: what was wrong has passed", schedule=what)

    def _trouble(self, what: str, told: str) -> None:
        if self.problems.get(what) != told:
            self.problems[what] = told
            self.say(told, schedule=what)


def _place(error: BaseException) -> str:
    """File and line of the innermost frame of ours."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        place = f" at {file.name}:{trace.tb_lineno}" if "dataops" in file.parts else place
        trace = trace.tb_next
    return place
