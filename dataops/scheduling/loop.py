"""The loop of a scheduler script: it comes round, looks at every schedule and the inbox, begins what may begin.

1. Each time everything is read anew: settings, schedules, policies of today. What a slot began with it ends with.
2. What goes wrong with one schedule, or with the inbox, is told and stops nothing else.
3. Nothing is kept in memory that has to last. Kill a script at any point: the next one finds all of it in the journals.
4. A script that is told to end begins nothing more, asks its processes to stop, and leaves what they did open: the
   next one goes on with it.
5. A clock that is set forward or back by more than a day while the loop runs is not believed: nothing is claimed
   by it, and no deadline passes, until somebody says that it is right (`--accept-clock`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from dataops.declarations.schedules import SchedulesRead, read_schedules
from dataops.records import Record
from dataops.runs.audit import sign_audit
from dataops.runs.workspace import AUDIT_PREFIX, open_workspace, os_user
from dataops.scheduling.alarms import COMMAND_SECONDS, WEBHOOK_SECONDS
from dataops.scheduling.beats import BEAT_SECONDS, Heart, Watch
from dataops.scheduling.book import book_names
from dataops.scheduling.floor import Clock, Floor, Limits, Ready, SystemClock, VirtualClock
from dataops.scheduling.inbox_turn import INBOX, InboxTurn
from dataops.scheduling.pace import Pace
from dataops.scheduling.parent import GRACE_SECONDS
from dataops.scheduling.picking import pick
from dataops.scheduling.turns import Turn
from dataops.scheduling.working import Starter
from dataops.settings import Settings, read_settings
from dataops.storage.journal import Journal
from dataops.storage.objects import Store, open_store
from dataops.version import VERSION

__all__ = ["Clock", "PassResult", "Scheduler", "SystemClock", "VirtualClock"]

POLL_SECONDS = 5.0
_GLANCE_SECONDS = 0.1  # between two looks at whether a process ended
_AT_LEAST = timedelta(seconds=60)  # how late a slot may be and still be in time, however often a script looks


@dataclass(slots=True, kw_only=True)
class PassResult:
    """What came of coming round, once or until nothing was left to do.

    Attributes
    ----------
    decisions : entries that this script wrote.
    begun : processes that it started.
    failed : slots and submissions that it ended, and that aren't done.
    broken : what is wrong with each schedule file that can't be read.
    troubled : what went wrong with a schedule, the inbox or the store, and may pass.
    """

    decisions: int = 0
    begun: int = 0
    failed: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    troubled: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0: all that was due is done; 1: something failed; 2: a schedule file can't be read."""
        if self.broken:
            return 2
        return 1 if self.failed or self.troubled else 0

    def record(self) -> Record:
        """JSON values."""
        return asdict(self)


class Scheduler:
    """A scheduler script of the workspace at `folder`. Enter it: it beats until it is left.

    Parameters
    ----------
    clock : what tells the time.
    start : gives whoever starts steps, for the store of their logs.
    log : takes the lines that say what was decided.
    limits : how much runs at once; None: as the workspace's settings say.
    poll_seconds : how long it rests between two rounds.
    accept_clock : whether the clock is believed, however it jumps.
    beat_seconds, watch : how often it says that it is there, and how it tells whether others are.
    store : the storage; None: that of the settings.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock,
        start: Callable[[Store, Path], Starter],
        log: Callable[[str], None],
        limits: Limits | None = None,
        poll_seconds: float = POLL_SECONDS,
        accept_clock: bool = False,
        beat_seconds: float = BEAT_SECONDS,
        watch: Watch | None = None,
        store: Store | None = None,
    ) -> None:
        self._folder, self._limits, self._poll_seconds = folder.resolve(), limits, poll_seconds
        settings = self._settings()
        self._store = store or open_store(settings.storage)
        self._heart = Heart(self._store, account=os_user(), version=VERSION, every=beat_seconds)
        self._floor = Floor(
            folder=self._folder,
            store=self._store,
            audit=Journal(self._store, AUDIT_PREFIX, "audit"),
            script=self._heart.script,
            account=os_user(),
            clock=clock,
            watch=watch or Watch(gap_seconds=max(60.0, 3 * poll_seconds)),
            starter=start(self._store, self._folder),
            limits=limits or Limits(at_once=settings.runs_at_once, per_user=settings.runs_per_user),
            log=log,
            open=open_workspace,
        )
        self._turns: dict[str, Turn] = {}
        self._inbox = InboxTurn(self._floor)
        self._served: dict[str, datetime] = {}
        self._broken: dict[str, str] = {}
        self._begun = 0
        self._pace = Pace(self._floor, believe=accept_clock)

    @property
    def script(self) -> str:
        """The id of this script."""
        return self._floor.script

    def __enter__(self) -> Self:
        self._heart.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._heart.__exit__(None)

    def once(self, stop: threading.Event | None = None) -> PassResult:
        """What came of doing all that is due, and waiting for it. What waits for a later time is left to it.

        Parameters
        ----------
        stop : set by whoever wants it to end before that.
        """
        asked = stop or threading.Event()
        before = self._count()
        while not asked.is_set():
            decisions, ended = self._floor.decisions, self._ended()
            begun = self._come_round()
            is_quiet = not begun and decisions == self._floor.decisions and self._ended() <= ended
            if is_quiet and not self._is_busy() and not self._must_watch():
                break
            self._rest(asked, 0.0 if decisions != self._floor.decisions else min(self._poll_seconds, 1.0))
        found = self._result(before)
        if asked.is_set() and self._is_busy():
            return replace(found, troubled={**found.troubled, "told to end": "what runs is stopped before it is done"})
        return found

    def run(self, stop: threading.Event) -> PassResult:
        """What came of coming round until `stop` is set."""
        self._floor.say(f"script {self.script} looks every {self._poll_seconds:g} s at {self._folder}")
        before = self._count()
        while not stop.is_set():
            self._come_round()
            self._rest(stop, self._poll_seconds)
        self._floor.say(f"script {self.script} was told to end")
        return self._result(before)

    # One round

    def _come_round(self) -> int:
        """How many processes were started."""
        floor = self._floor
        self._pace.check()
        floor.look_anew()
        floor.sweep()
        with floor.minding("scheduler scripts"):
            floor.watch.look(self._store)
        ready: list[Ready] = []
        with floor.minding("settings"):
            self._take_settings()
        read = self._read()
        for name in self._names(read):
            declared = read.schedules.get(name)
            with floor.minding(name):
                turn = self._turns.get(name) or Turn(floor, name, grace=self._grace)
                self._turns[name] = turn
                ready += turn.take(declared.schedule if declared else None)
                self._heart.alive()
        with floor.minding(INBOX):
            ready += self._inbox.take()
        begun = self._begin(ready)
        if floor.told:
            self._sign()
        self._heart.came_round(polled_at=floor.now(), holds=self._holds(), troubles=floor.problems)
        return begun

    def _read(self) -> SchedulesRead:
        read = SchedulesRead()
        with self._floor.minding("schedules"):
            read = read_schedules(self._folder)
        for file, message in read.broken.items():
            if self._broken.get(file) != message:
                self._floor.say(f"{file} can't be read, and its schedules wait: {message}")
        for file in self._broken.keys() - read.broken.keys():
            self._floor.say(f"{file} can be read again")
        self._broken = dict(read.broken)
        return read

    def _names(self, read: SchedulesRead) -> Iterator[str]:
        """What is declared, and what ever was: slots of a schedule that is gone go on."""
        known: list[str] = []
        with self._floor.minding("schedules of before"):
            known = book_names(self._store)
        yield from sorted({*read.schedules, *known, *self._turns})

    def _begin(self, ready: list[Ready]) -> int:
        floor = self._floor
        chosen = pick(
            [one.waiting for one in ready],
            floor.users(),
            at_once=floor.limits.at_once,
            per_user=floor.limits.per_user,
            served=self._served,
        )
        begun = 0
        by_key = {one.waiting.key: one for one in ready}
        for waiting in chosen:
            with floor.minding(waiting.key):
                if by_key[waiting.key].begin():
                    begun += 1
                    self._served[waiting.user] = floor.now()
        self._begun += begun
        return begun

    # What it reads

    def _settings(self) -> Settings:
        return read_settings(self._folder, os.environ)

    def _take_settings(self) -> None:
        if self._limits is None:
            settings = self._settings()
            self._floor.limits = Limits(at_once=settings.runs_at_once, per_user=settings.runs_per_user)

    @property
    def _grace(self) -> timedelta:
        return max(_AT_LEAST, timedelta(seconds=2 * self._poll_seconds))

    def _holds(self) -> int:
        return sum(len(turn.held()) for turn in self._turns.values()) + self._inbox.held()

    def _must_watch(self) -> bool:
        """Whether some other script holds something, and nobody knows yet whether it is alive."""
        holders = {holder for turn in self._turns.values() for holder in turn.holders()} | self._inbox.holders()
        return any(not self._floor.watch.is_known(holder) for holder in holders)

    # Resting and ending

    def _rest(self, stop: threading.Event, seconds: float) -> None:
        """Until it is time to come round again: after `seconds`, or as soon as a process ended."""
        until, ended = time.monotonic() + seconds, self._ended()
        while time.monotonic() < until and not stop.is_set() and self._ended() <= ended:
            stop.wait(min(_GLANCE_SECONDS if self._floor.at_work else seconds, max(until - time.monotonic(), 0.0)))

    def _ended(self) -> set[str]:
        """What has ended, and is not yet on record."""
        return {what for what, work in self._floor.at_work.items() if work.poll() is not None}

    def _is_busy(self) -> bool:
        return len(self._ended()) < len(self._floor.at_work)

    def _end(self) -> None:
        """Its processes end; what they came to is on record, where they weren't stopped."""
        floor = self._floor
        floor.is_ending = True
        working = [*floor.at_work.values(), *floor.astray]
        if floor.at_work:
            many = f"{len(floor.at_work)} processes" if len(floor.at_work) > 1 else "one process"
            floor.say(f"stops {many}; whoever comes next goes on there")
        for work in working:
            work.child.stop()
        deadline = time.monotonic() + GRACE_SECONDS + 5
        while any(work.poll() is None for work in working) and time.monotonic() < deadline:
            time.sleep(_GLANCE_SECONDS)
        if floor.at_work:
            self._come_round()
        for alarm in floor.alarms:  # nobody else raises them
            alarm.join(COMMAND_SECONDS + WEBHOOK_SECONDS + 5)
        for name, turn in self._turns.items():
            with floor.minding(name):
                turn.close()
        self._heart.came_round(polled_at=floor.now(), holds=self._holds(), troubles=floor.problems)

    def _sign(self) -> None:
        """What the audit was told is signed, where the workspace signs."""
        self._floor.told = 0
        with self._floor.minding("audit"):
            workspace = self._floor.workspace()
            if workspace.signing_key() is not None and (note := sign_audit(workspace)):
                self._floor.say(f"note: {note}")

    def _count(self) -> PassResult:
        return PassResult(decisions=self._floor.decisions, begun=self._begun, failed=self._floor.failures)

    def _result(self, before: PassResult) -> PassResult:
        now = self._count()
        return replace(
            now,
            decisions=now.decisions - before.decisions,
            begun=now.begun - before.begun,
            failed=now.failed - before.failed,
            broken=dict(self._broken),
            troubled=dict(self._floor.problems),
        )
