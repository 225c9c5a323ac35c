"""The book of a schedule: its journal, each entry of which says what happened and where the schedule stands since then.

::

    <storage>/schedules/<name>/<n>.json       journal: events, each with the state after it
    <storage>/schedule-names/<name>.json      put once: that there is such a book

1. What decides is the append: an event directly follows the entry that it was decided on, or isn't written. Of two
   scripts that decide at once one is first, the other reads anew and decides again.
2. The last entry says where a schedule stands. Nobody reads the others to go on, however many there are.
3. What people have to account for is told to the workspace's audit after the append, at least once: an entry says up to
   which one the audit is known to be written, and who finds entries beyond that tells them again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dataops.errors import Conflict, Format
from dataops.governance.audit import MAX_NAME_LENGTH, record_event
from dataops.records import encode_record, format_time, require_name
from dataops.scheduling.applying import apply
from dataops.scheduling.events import (
    Begun,
    Changed,
    Claimed,
    Ended,
    Event,
    Missed,
    Paused,
    Queued,
    Resumed,
    Skipped,
    Stopping,
    TakenOver,
    Told,
    Unwanted,
    Wanted,
    event_from_record,
    event_record,
)
from dataops.scheduling.state import ScheduleState, state_from_record, state_record
from dataops.storage.journal import Entry, Journal
from dataops.storage.objects import Store

FOLDER = "schedules"
NAMES_FOLDER = "schedule-names"
MAX_ENTRY_BYTES = 16 * 1024 * 1024

_UNPLAIN = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LATE: Final = ("catch_up", "backfill")
_TOLD: Mapping[type, tuple[str, ...]] = {
    Begun: ("digest",),
    Changed: ("digest",),
    Claimed: ("key", "cause", "hindsight"),
    Skipped: ("count", "first", "last", "reason"),
    Missed: ("count", "first", "last", "reason"),
    Queued: ("cause", "count", "first", "until"),
    TakenOver: ("key", "held_by"),
    Stopping: ("key", "outcome", "reason"),
    Ended: ("key", "outcome", "reason"),
    Wanted: ("slots", "reason"),
    Unwanted: ("keys", "reason"),
    Paused: ("reason",),
    Resumed: ("reason",),
}
_CALLED: Mapping[str, str] = {"key": "slot", "slots": "count", "keys": "count"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The last entry of a book with the state after it; both None for a book that wasn't begun."""

    entry: Entry | None = None
    state: ScheduleState | None = None

    @property
    def event(self) -> Event | None:
        """What happened last."""
        return None if self.entry is None else event_of(self.entry)


class Book:
    """The book of one schedule."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = require_name(name, "schedule")
        self._store = store
        self._journal = Journal(store, f"{FOLDER}/{name}", "schedule", max_bytes=MAX_ENTRY_BYTES)
        self._head = Head()
        self._told = 0
        self._told_beyond: set[int] = set()
        self._events: dict[int, Event] = {}

    def head(self) -> Head:
        """Where the schedule stands now.

        Raises
        ------
        Integrity, Format : the journal is damaged, or written by a later release.
        Storage : it can't be read.
        """
        entry = self._journal.tail()
        if entry is None:
            self._head = Head()
        elif self._head.entry is None or entry.digest != self._head.entry.digest:
            self._head = Head(entry=entry, state=_state_of(entry))
        return self._head

    def append(self, event: Event, *, after: Head) -> Head | None:
        """Where the schedule stands since `event`; None where somebody else was first: read again, decide again.

        Raises
        ------
        Conflict : the event doesn't fit: whoever decided it was wrong.
        Storage : it can't be written, or nobody knows whether it was.
        """
        told = max(self._told, after.state.told if after.state else 0)
        state = apply(after.state, event, told=told)
        if after.entry is None:
            self._store.put_if_absent(_name_key(self.name), encode_record("schedule-name", 1, {"name": self.name}))
        try:
            entry = self._journal.append(
                {"event": event_record(event), "state": state_record(state)}, after=after.entry
            )
        except Conflict:
            return None
        self._head = Head(entry=entry, state=state)
        return self._head

    def read(self, number: int) -> Entry:
        """The entry of that number; NotFound where there is none."""
        return self._journal.read(number)

    def entries(self, *, newest_first: bool = True) -> Iterator[Entry]:
        """All entries; newest first they are read as they are asked for, so that a few cost little."""
        if not newest_first:
            yield from self._journal.entries()
            return
        last = self._journal.tail()
        for number in range(last.number if last else 0, 0, -1):
            yield self._journal.read(number)

    def tell(self, audit: Journal, *, account: str, owes: Callable[[Event], bool] = lambda _: True) -> int:
        """How many entries the audit was told of now: of those up to the head, which it may not know yet.

        Parameters
        ----------
        account : whom this process runs as.
        owes : whether it is this process that tells of an event; others tell of theirs.

        Raises
        ------
        Storage : the audit can't be written; it is told again next time.
        """
        entry, state = self._head.entry, self._head.state
        if entry is None or state is None:
            return 0
        count, is_whole = 0, True
        self._told = max(self._told, state.told)
        for number in range(self._told + 1, entry.number + 1):
            event = self._event(number)
            facts = None if number in self._told_beyond else told_facts(event)
            if facts is not None and not owes(event):
                is_whole = False  # whoever did it may die before it tells
                continue
            if facts is not None:
                name = f"schedule_{event.event}"
                record_event(audit, name, principal=account, schedule=self.name, entry=number, **facts)
                count += 1
            self._told, self._told_beyond = self._note(number, is_whole=is_whole)
        return count

    def owed(self, *, at: datetime, by: str, lag: int = 0) -> Told | None:
        """What the journal should say of what the audit knows; None where it says so, or it wouldn't matter.

        Parameters
        ----------
        lag : how many entries it may be behind.
        """
        state = self._head.state
        if state is None or self._told - state.told <= lag:
            return None
        numbers = range(state.told + 1, self._told + 1)
        matters = any(told_facts(self._event(number)) is not None for number in numbers)
        return Told(at=at, by=by, number=self._told) if matters or lag else None

    def _note(self, number: int, *, is_whole: bool) -> tuple[int, set[int]]:
        """Up to which entry the audit knows all, and which it knows beyond that."""
        if not is_whole:
            return self._told, self._told_beyond | {number}
        return number, {one for one in self._told_beyond if one > number}

    def _event(self, number: int) -> Event:
        """What happened by the entry of that number; of those that the audit may not know, it is kept in mind."""
        self._events = {one: event for one, event in self._events.items() if one > self._told}
        if number not in self._events:
            entry = self._head.entry
            is_last = entry is not None and entry.number == number
            self._events[number] = event_of(entry if is_last and entry is not None else self.read(number))
        return self._events[number]


def book_names(store: Store) -> list[str]:
    """The schedules that ever were, also those that nobody declares any more."""
    keys = store.list(NAMES_FOLDER)
    return sorted(key.rsplit("/", 1)[-1].removesuffix(".json") for key in keys)


def event_of(entry: Entry) -> Event:
    """What happened by `entry`.

    Raises
    ------
    Format : nothing that this release knows.
    """
    return event_from_record(_part(entry, "event"))


def told_facts(event: Event) -> dict[str, object] | None:
    """What the audit is told of `event`; None for what runs tell themselves, or for what is as expected."""
    if type(event) not in _TOLD or (isinstance(event, Claimed) and event.cause not in _LATE):
        return None
    if isinstance(event, Ended) and event.outcome == "done":
        return None
    facts = {name: _fact(getattr(event, name)) for name in ("by", *_TOLD[type(event)])}
    return {_CALLED.get(name, name): fact for name, fact in facts.items() if fact is not None}


def _fact(value: object) -> object:
    match value:
        case datetime():
            return format_time(value)
        case str():
            return plain(value)
        case tuple():
            return len(value)
        case _:
            return value


def plain(text: str) -> str:
    """`text` in a line, short enough for the audit."""
    line = _UNPLAIN.sub(" ", text).strip()
    return line if len(line) <= MAX_NAME_LENGTH else line[: MAX_NAME_LENGTH - 3] + "..."


def _state_of(entry: Entry) -> ScheduleState:
    return state_from_record(_part(entry, "state"))


def _part(entry: Entry, name: str) -> Mapping[str, Any]:
    part = entry.body.get(name)
    if not isinstance(part, Mapping):
        raise Format(f"record {entry.number} of a schedule's journal holds no {name}")
    return part


def _name_key(name: str) -> str:
    return f"{NAMES_FOLDER}/{name}.json"
