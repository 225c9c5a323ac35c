"""Why a slot came to what it came to, from the entries of its schedule's journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dataops.errors import NotFound
from dataops.records import Record, format_time
from dataops.scheduling.book import Book, event_of
from dataops.scheduling.events import Claimed, Ended, Missed, Skipped, event_record
from dataops.scheduling.slot_history import SLOT_EVENTS, SlotEvent
from dataops.scheduling.state import ScheduleState, state_from_record
from dataops.scheduling.telling import spell_event
from dataops.storage.journal import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that happened: when, who says so, what in words, and the event as JSON values."""

    at: datetime
    by: str
    says: str
    event: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What became of one slot.

    Attributes
    ----------
    outcome : ``open`` while it is; ``skipped`` or ``missed`` for one that never came; None where nothing is on record.
    hindsight : the label that it carries; None for none.
    lines : what happened, oldest first.
    """

    schedule: str
    slot: str
    nominal: datetime | None
    outcome: str | None
    says: str
    cause: str | None = None
    hindsight: str | None = None
    digest: str | None = None
    lines: tuple[Line, ...] = ()

    def record(self) -> Record:
        """JSON values."""
        return {
            **{
                name: getattr(self, name)
                for name in ("schedule", "slot", "outcome", "says", "cause", "hindsight", "digest")
            },
            "nominal": None if self.nominal is None else format_time(self.nominal),
            "events": [one.event for one in self.lines],
        }


def why(book: Book, key: str, nominal: datetime | None) -> Why:
    """What became of the slot `key`, of the last time that it was claimed.

    Parameters
    ----------
    nominal : the slot's time, where `key` is of a clock: so that ranges that were passed over are found.

    Raises
    ------
    NotFound : nothing on record is about it.
    """
    found: list[tuple[SlotEvent, Entry]] = []
    passed: Skipped | Missed | None = None
    entries = book.entries()
    entry = next(entries, None)
    while entry is not None:
        event = event_of(entry)
        if isinstance(event, SLOT_EVENTS) and event.key == key:
            found.append((event, entry))
            if isinstance(event, Claimed):
                break
        elif not found and isinstance(event, Skipped | Missed) and _covers(event, nominal):
            passed = event
            break
        entry = next(entries, None)
    if found:
        return _claimed(book, key, found[::-1])
    if passed is not None and nominal is not None:
        return _passed_over(book.name, key, nominal, passed)
    raise NotFound(f"nothing on record is about slot {key} of schedule '{book.name}'")


def _covers(event: Skipped | Missed, nominal: datetime | None) -> bool:
    return nominal is not None and event.number is None and event.first <= nominal <= event.last


def _claimed(book: Book, key: str, found: list[tuple[SlotEvent, Entry]]) -> Why:
    """The slot by its events, oldest first; the first of them is its claim."""
    lines = tuple(
        Line(at=event.at, by=event.by, says=spell_event(event, _before(book, entry)), event=event_record(event))
        for event, entry in found
    )
    claim, last = found[0][0], found[-1][0]
    ended = isinstance(last, Ended)
    claimed = claim if isinstance(claim, Claimed) else None
    return Why(
        schedule=book.name,
        slot=key,
        nominal=claimed.nominal if claimed else None,
        outcome=last.outcome if isinstance(last, Ended) else "open",
        says=lines[-1].says if ended else "it is open",
        cause=claimed.cause if claimed else None,
        hindsight=claimed.hindsight if claimed else None,
        digest=claimed.digest if claimed else None,
        lines=lines,
    )


def _before(book: Book, entry: Entry) -> ScheduleState | None:
    """Where the schedule stood before `entry`."""
    return state_from_record(_state(book.read(entry.number - 1))) if entry.number > 1 else None


def _state(entry: Entry) -> Mapping[str, Any]:
    body: Mapping[str, Any] = entry.body
    return dict(body["state"])


def _passed_over(schedule: str, key: str, nominal: datetime, event: Skipped | Missed) -> Why:
    line = Line(at=event.at, by=event.by, says=spell_event(event, None), event=event_record(event))
    return Why(schedule=schedule, slot=key, nominal=nominal, outcome=event.event, says=event.reason, lines=(line,))
