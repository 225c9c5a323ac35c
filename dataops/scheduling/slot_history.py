"""What became of each slot of a schedule, from all entries of its journal. Pure.

Where a schedule stands is told by its last entry alone (`state`); what became of a slot of last March is not: for that
its journal is read from the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from dataops.scheduling.events import (
    Claimed,
    Ended,
    Event,
    Missed,
    Skipped,
    StepBegun,
    StepEnded,
    StepRetry,
    Stopping,
    TakenOver,
)

SlotEvent = Claimed | StepBegun | StepEnded | StepRetry | TakenOver | Stopping | Ended
SLOT_EVENTS = (Claimed, StepBegun, StepEnded, StepRetry, TakenOver, Stopping, Ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldSlot:
    """One slot that was claimed at least once.

    Attributes
    ----------
    claims : how often.
    outcome, reason, ended_at : of the last time; None, "" and None while it is open.
    digest : of the schedule when it was claimed last.
    runs : of the last time, in the order of its steps.
    """

    key: str
    nominal: datetime
    cause: str
    digest: str
    claims: int
    outcome: str | None = None
    reason: str = ""
    ended_at: datetime | None = None
    hindsight: str | None = None
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedRange:
    """Slots from `first` to `last` that never came, and why."""

    kind: Literal["skipped", "missed"]
    first: datetime
    last: datetime
    count: int
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotHistory:
    """All slots of a schedule that were claimed, by key, and the ranges that were passed over, oldest first."""

    slots: Mapping[str, ToldSlot] = field(default_factory=dict)
    passed: Sequence[PassedRange] = ()

    def passed_at(self, nominal: datetime) -> PassedRange | None:
        """The last range that covers `nominal`; None where it was never passed over."""
        return next((one for one in reversed(self.passed) if one.first <= nominal <= one.last), None)


def slot_history(events: Iterable[Event]) -> SlotHistory:
    """What `events`, oldest first, say of slots."""
    slots: dict[str, ToldSlot] = {}
    passed: list[PassedRange] = []
    for event in events:
        match event:
            case Claimed():
                slots[event.key] = _claimed(event, slots.get(event.key))
            case StepBegun() if event.key in slots and event.run is not None:
                told = slots[event.key]
                slots[event.key] = replace(told, runs=tuple(dict.fromkeys([*told.runs, event.run])))
            case Ended() if event.key in slots:
                told = slots[event.key]
                slots[event.key] = replace(told, outcome=event.outcome, reason=event.reason, ended_at=event.at)
            case Skipped() | Missed():
                passed.append(_passed(event))
    return SlotHistory(slots=slots, passed=tuple(passed))


def events_of(key: str, events: Iterable[Event]) -> tuple[SlotEvent, ...]:
    """The events of the slot `key` since it was claimed last, oldest first; none for one that never was."""
    found: list[SlotEvent] = []
    for event in events:
        if isinstance(event, SLOT_EVENTS) and event.key == key:
            found = [event] if isinstance(event, Claimed) else [*found, event]
    return tuple(found)


def _claimed(event: Claimed, before: ToldSlot | None) -> ToldSlot:
    return ToldSlot(
        key=event.key,
        nominal=event.nominal,
        cause=event.cause,
        digest=event.digest,
        claims=before.claims + 1 if before else 1,
        hindsight=event.hindsight,
    )


def _passed(event: Skipped | Missed) -> PassedRange:
    return PassedRange(
        kind=event.event, first=event.first, last=event.last, count=event.count, reason=event.reason, at=event.at
    )
