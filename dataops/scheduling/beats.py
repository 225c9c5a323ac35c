"""Beats: which scheduler scripts are alive, said by themselves.

::

    <storage>/schedulers/<script>-<n>.json

1. A script puts a beat under its own name and number every few seconds, then deletes the one before: nothing is ever
   overwritten, and the highest number is what holds. The last one of a script that ended says so.
2. No times of two machines are compared. Whoever watches another script notes, by the watcher's own monotonic clock,
   how long that one's number hasn't moved. A process that is gone from the watcher's own machine is dead at once.
3. Being dead takes nothing away from a script. It lets others take over what it holds, which only saves work: what
   decides is who appends to the schedule's journal. A script that was stopped and comes back finds out there.
4. A script whose loop hasn't come round for `STUCK_SECONDS` stops beating, though its process is there.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from dataops.errors import DataopsError, Format, Integrity, InvalidInput, NotFound
from dataops.records import Record, decode_record, digest_bytes, encode_record, format_time, now_utc, parse_time
from dataops.storage.objects import Store

FOLDER = "schedulers"
BEAT_SECONDS = 5.0
DEAD_AFTER_SECONDS = 20.0
STUCK_SECONDS = 300.0
FORGOTTEN = timedelta(days=1)
"""How long after its last beat a script's beats are deleted by the next one that starts."""

_MAX_BYTES = 8192
_MAX_TROUBLES, _MAX_TROUBLE = 4, 100  # characters of what it is about; each is up to 6 bytes in a record
_KEY = re.compile(rf"{FOLDER}/([0-9a-f]{{12}})-(\d{{10}})\.json")
_TEXTS = ("script", "host", "machine", "account", "version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What one script says of itself.

    Attributes
    ----------
    script : 12 hex digits that no other script has.
    host, account : on which machine and as whom it runs, for people.
    machine : what all processes that can see this one's process id have in common, and no others.
    pid, born : its process id, and when that process began, as its machine counts; "" where a machine doesn't say.
    at, every : when it said so, and after how many seconds it will again.
    since : when it started.
    polled_at : when it last looked at schedules and inbox.
    holds : how many slots and submissions it holds.
    ended : whether it came to its end; what it still holds then may be taken over.
    troubles : what went wrong the last time that it looked, by what it was about; the first few, shortened.
    """

    script: str
    number: int
    host: str
    machine: str
    pid: int
    born: str
    account: str
    version: str
    at: datetime
    every: float
    since: datetime
    polled_at: datetime | None
    holds: int
    ended: bool
    troubles: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Where it lies in the store."""
        return f"{FOLDER}/{self.script}-{self.number:010d}.json"

    def to_bytes(self) -> bytes:
        """The beat as a record."""
        body: Record = {one.name: getattr(self, one.name) for one in fields(self)}
        times = {name: None if body[name] is None else format_time(body[name]) for name in ("at", "since", "polled_at")}
        if not self.troubles:  # no key for what most beats don't have
            del body["troubles"]
        return encode_record("beat", 1, {**body, **times})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The beat that `to_bytes` wrote.

        Raises
        ------
        Format : it didn't.
        """
        record = decode_record(data, "beat", 1)
        try:
            return cls(
                **{name: str(record[name]) for name in (*_TEXTS, "born")},
                number=int(record["number"]),
                pid=int(record["pid"]),
                at=parse_time(record["at"]),
                every=float(record["every"]),
                since=parse_time(record["since"]),
                polled_at=None if record["polled_at"] is None else parse_time(record["polled_at"]),
                holds=int(record["holds"]),
                ended=bool(record["ended"]),
                troubles={str(what): str(told) for what, told in record.get("troubles", {}).items()},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Format(f"not the beat of a scheduler script: {type(error).__name__} while reading it") from None


def read_beats(store: Store, known: Iterable[Beat] = ()) -> list[Beat]:
    """The last beat of each script whose beats are there, the newest first. They are claims of whoever may write.

    Parameters
    ----------
    known : beats that were read before, and needn't be read again.
    """
    read = {beat.key: beat for beat in known}
    newest: dict[str, str] = {}
    for key in sorted(store.list(FOLDER)):  # numbers have ten digits
        if (found := _KEY.fullmatch(key)) is not None:
            newest[found[1]] = key
    beats = [read.get(key) or _read(store, key) for key in newest.values()]
    return sorted((beat for beat in beats if beat is not None), key=lambda beat: beat.at, reverse=True)


def _read(store: Store, key: str) -> Beat | None:
    """The beat under `key`; None for one that was deleted by now, or isn't one, or isn't of this place."""
    try:
        beat = Beat.from_bytes(store.get_at_most(key, _MAX_BYTES))
    except (NotFound, Format, Integrity, InvalidInput):
        return None
    return beat if beat.key == key else None


def last_polled(beats: Iterable[Beat]) -> Beat | None:
    """The beat of the script that looked at schedules and inbox last; None where none ever did."""
    return max((beat for beat in beats if beat.polled_at), key=lambda beat: beat.polled_at or beat.at, default=None)


def looks_alive(beat: Beat, now: datetime) -> bool:
    """Whether the script seems to run, for people: by the clock, which is no way to decide who may take over."""
    return not beat.ended and not is_gone(beat) and now - beat.at <= timedelta(seconds=DEAD_AFTER_SECONDS)


def is_gone(beat: Beat) -> bool:
    """Whether it can be seen from this process that the beat's process is no more."""
    if not beat.born or beat.machine != this_machine():
        return False
    born = process_born(beat.pid)
    return born != beat.born if born else not _is_there(beat.pid)


def this_machine() -> str:
    """Digest of what says which process ids this process can see: the boot of the machine, and the pid namespace."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return digest_bytes("\n".join(parts).encode()).removeprefix("sha256:")[:16]


def process_born(pid: int) -> str:
    """When the process began, in the ticks of its machine: no clock that somebody sets; "" where it isn't there, or the
    system doesn't say, as of other accounts' processes under `hidepid`; "0" where it is dead and not yet waited for.
    """
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *rest = told.rpartition(")")[2].split()  # the name before it may hold anything
        return "0" if state in "ZX" else rest[18]
    except (OSError, ValueError, IndexError):
        return ""


def _is_there(pid: int) -> bool:
    """Whether there is such a process, as far as this one is told: one that it may not ask about is there."""
    if pid <= 0:  # a group, and no process
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


class Watch:
    """Tells, by this process's own clock, which scripts are dead.

    Parameters
    ----------
    monotonic : seconds that only ever grow.
    gap_seconds : after a longer time without a look nobody is dead for that: maybe all of them stood still, as on a
        machine that was suspended.
    """

    def __init__(
        self,
        *,
        dead_after_seconds: float = DEAD_AFTER_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        gap_seconds: float = 60.0,
    ) -> None:
        self._dead_after, self._monotonic, self._gap = dead_after_seconds, monotonic, gap_seconds
        self._looked = monotonic()
        self._seen: dict[str, tuple[int, float]] = {}  # script -> number (0: none is there), and when it was first seen
        self._beats: Mapping[str, Beat] = {}
        self._moved: set[str] = set()
        self._asked: set[str] = set()  # since the last look

    def look(self, store: Store) -> None:
        """Note what beats are there now."""
        self._beats = {beat.script: beat for beat in read_beats(store, self._beats.values())}
        now, before_that = self._monotonic(), self._looked
        self._looked = now
        if now - before_that > self._gap:
            self._seen = {script: (number, now) for script, (number, _) in self._seen.items()}
        for script in {*self._beats, *self._seen}:
            number = self._beats[script].number if script in self._beats else 0
            before = self._seen.get(script)
            if before is None or before[0] != number:
                self._seen[script] = (number, now)
                self._moved |= {script} if before is not None else set()
        self._forget()

    def _forget(self) -> None:
        """Scripts whose beats are gone, and that nobody asked about since the last look."""
        kept, self._asked = self._beats.keys() | self._asked, set()
        self._seen = {script: seen for script, seen in self._seen.items() if script in kept}
        self._moved &= self._seen.keys()

    def is_dead(self, script: str) -> bool:
        """Whether others may take over what `script` holds. One that was never seen is watched from now on."""
        self._asked.add(script)
        beat = self._beats.get(script)
        if beat is not None and (beat.ended or is_gone(beat)):
            return True
        _, since = self._seen.setdefault(script, (0, self._looked))
        return self._looked - since >= self._dead_after  # what has been since the last look, nobody knows

    def is_known(self, script: str) -> bool:
        """Whether it was seen to be dead, or to be alive."""
        return self.is_dead(script) or script in self._moved


class Heart:
    """Beats for this process, in a thread of its own, while it is entered.

    Parameters
    ----------
    every : seconds between two beats.
    """

    def __init__(self, store: Store, *, account: str, version: str, every: float = BEAT_SECONDS) -> None:
        self._store, self._stop, self._lock = store, threading.Event(), threading.Lock()
        self._came_round = time.monotonic()
        at = now_utc()
        self._beat = Beat(
            script=secrets.token_hex(6),
            number=0,
            host=socket.gethostname(),
            machine=this_machine(),
            pid=os.getpid(),
            born=process_born(os.getpid()),
            account=account,
            version=version,
            at=at,
            every=every,
            since=at,
            polled_at=None,
            holds=0,
            ended=False,
        )
        self._thread = threading.Thread(target=self._beat_on, name="heart", daemon=True)

    @property
    def script(self) -> str:
        """The script's id."""
        return self._beat.script

    def __enter__(self) -> Self:
        """Raises Storage where the first beat can't be written: nobody could tell whether this script is alive."""
        self._put(ended=False)
        forget(self._store)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(DataopsError):  # then others find out by themselves
            self._put(ended=True)

    def came_round(self, *, polled_at: datetime, holds: int, troubles: Mapping[str, str] | None = None) -> None:
        """Note that the loop looked at everything, and what went wrong."""
        first = list((troubles or {}).items())[:_MAX_TROUBLES]
        told = {what[:_MAX_TROUBLE]: text[: 2 * _MAX_TROUBLE] for what, text in first}
        with self._lock:
            self._came_round = time.monotonic()
            self._beat = replace(self._beat, polled_at=polled_at, holds=holds, troubles=told)

    def alive(self) -> None:
        """Note that the loop is at work."""
        self._came_round = time.monotonic()

    def _beat_on(self) -> None:
        while not self._stop.wait(self._beat.every):
            if time.monotonic() - self._came_round < STUCK_SECONDS:
                with suppress(DataopsError):  # a store that fails now may take the next one
                    self._put(ended=False)

    def _put(self, *, ended: bool) -> None:
        with self._lock:
            before = self._beat
            self._beat = replace(before, number=before.number + 1, at=now_utc(), ended=ended)
            beat = self._beat
        self._store.put_if_absent(beat.key, beat.to_bytes())
        if before.number:
            self._store.delete(before.key)


def forget(store: Store) -> None:
    """Beats that nobody asks for any more are deleted: of scripts that ended and held nothing, or are silent for long.
    The one that looked last stays: it says when that was.
    """
    beats = read_beats(store)
    last, now = last_polled(beats), now_utc()
    keep = {beat.script for beat in beats if not (beat.ended and not beat.holds) and now - beat.at <= FORGOTTEN}
    keep |= {last.script} if last else set()
    known = {beat.script for beat in beats}
    newest = {beat.script: beat.key for beat in beats}
    for key in store.list(FOLDER):
        found = _KEY.fullmatch(key)
        if found is None or found[1] not in known:
            continue
        if found[1] not in keep or key < newest[found[1]]:
            store.delete(key)
