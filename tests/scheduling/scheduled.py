"""Schedules, a script with a virtual clock, and what it says of a schedule: what tests of deciding share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from dataops.declarations.schedules import Schedule
from dataops.scheduling.applying import apply
from dataops.scheduling.deciding import decide
from dataops.scheduling.events import Claimed, Ended, Event, Missed, Queued, Skipped
from dataops.scheduling.slots import Occasion
from dataops.scheduling.state import OpenSlot, ScheduleState


def at(text: str) -> datetime:
    """``07:30`` of the first of January 2026, ``05 07:30`` of another day, or a whole time; in UTC."""
    whole = text if "T" in text else "2026-01-{}T{}".format(*(text.split() if " " in text else ("01", text)))
    return datetime.fromisoformat(whole).replace(tzinfo=UTC)


def schedule(**keys: Any) -> Schedule:
    """A schedule every ten minutes, of one step, unless `keys` say otherwise."""
    steps = [{"job": "a", "file": "jobs/a.yaml"}]
    return Schedule.model_validate({"name": "s", "when": {"every": "10m"}, "steps": steps, **keys})


class Script:
    """A scheduler script that decides one schedule by a virtual clock."""

    def __init__(self, begin: str, declared: Schedule | None = None, /, **keys: Any) -> None:
        self.schedule = declared or schedule(**keys)
        self.state: ScheduleState | None = None
        self.occasions: list[Occasion] = []
        self.look(begin)

    def look(self, now: str | datetime, **options: Any) -> list[str]:
        """What it decides at that time, in words."""
        self.now = now if isinstance(now, datetime) else at(now)
        said: list[str] = []
        while (event := self.decide(**options)) is not None:
            self.append(event)
            said.append(spell(event))
            assert len(said) < 100, said
        return said

    def decide(self, **options: Any) -> Event | None:
        """The next event, which nobody has written yet."""
        return decide(self.schedule, self.state, self.new(), now=self.now, script="script", **options)

    def new(self) -> Sequence[Occasion]:
        """The occasions that nobody decided."""
        return [one for one in self.occasions if self.state is None or not self.state.has_decided(one.number)]

    def append(self, event: Event) -> ScheduleState:
        """The state after `event`."""
        self.state = apply(self.state, event)
        return self.state

    def happens(self, number: int, when: str) -> None:
        """A new snapshot of that number."""
        self.occasions.append(Occasion(key=f"snapshot-{number}", at=at(when), number=number, facts={"n": number}))

    def end(self, outcome: Any = "stopped") -> None:
        """The slot that came due by itself is over."""
        assert self.state is not None
        assert self.state.own is not None
        self.append(Ended(at=self.now, by="script", key=self.state.own.key, outcome=outcome))

    @property
    def slot(self) -> OpenSlot:
        """The only open slot."""
        assert self.state is not None
        (slot,) = self.state.open.values()
        return slot

    def __getattr__(self, name: str) -> Any:
        return getattr(self.state, name)


def spell(event: Event) -> str:
    """``claimed 00:10 due``, ``missed 00:20-00:40 (3)``."""
    match event:
        case Claimed(number=None):
            return f"claimed {event.nominal:%H:%M} {event.cause}"
        case Claimed():
            return f"claimed {event.key} {event.cause}"
        case Skipped(number=None) | Missed(number=None):
            return f"{event.event} {event.first:%H:%M}-{event.last:%H:%M} ({event.count})"
        case Skipped() | Missed():
            return f"{event.event} up to {event.number} ({event.count})"
        case Queued():
            return f"queued {event.first:%H:%M}-{event.until:%H:%M} ({event.count}) {event.cause}"
    return event.event


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)
