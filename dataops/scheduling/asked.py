"""One question of a schedule: its declaration, where it stands and the time, and the events that answer it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from dataops.declarations.schedules import (
    CatchUpAll,
    CronWhen,
    EveryWhen,
    Schedule,
    schedule_digest,
    schedule_record,
)
from dataops.scheduling.cron import clock_slots
from dataops.scheduling.events import Cause, Claimed, Missed, Queued, Skipped, Stopping
from dataops.scheduling.slots import Occasion, jitter_seconds, key_of
from dataops.scheduling.state import OpenSlot, ScheduleState

MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Slots that come one after the other: how many, the first, and the newest of them, rising; of occasions, the
    number of the last, and all of them where these are times.
    """

    count: int
    first: datetime
    newest: tuple[datetime, ...]
    number: int | None = None
    numbers: tuple[int, ...] = ()

    @property
    def last(self) -> datetime:
        """The time of the last one."""
        return self.newest[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What `dataops.scheduling.deciding.decide` was asked: see there."""

    schedule: Schedule
    state: ScheduleState
    now: datetime
    script: str
    grace: timedelta

    @property
    def most(self) -> int | None:
        """How many slots are caught up on at most; None where `catch_up` gives no number."""
        return self.schedule.catch_up.all if isinstance(self.schedule.catch_up, CatchUpAll) else None

    @property
    def caught_up(self) -> str:
        """`catch_up` as people write it."""
        catch_up = self.schedule.catch_up
        return catch_up if isinstance(catch_up, str) else f"all: {catch_up.all}"

    def is_late(self, time: datetime) -> bool:
        """Whether a slot that comes due at `time` is late."""
        return self.now - time > self.grace

    def slots(self, *, after: datetime | None = None, until: datetime | None = None) -> Stretch | None:
        """Slots of the clock that nobody decided yet, up to now at most; None where there are none."""
        return gathered(self._times(after, until), keep=self.most or 1)

    def first(self, *, until: datetime) -> datetime | None:
        """The first of them, up to now and `until`; however many follow, it is found at once."""
        return next(self._times(None, until), None)

    def _times(self, after: datetime | None, until: datetime | None) -> Iterator[datetime]:
        when, state, schedule = self.schedule.when, self.state, self.schedule
        if not isinstance(when, CronWhen | EveryWhen):
            return iter(())
        start = schedule.starts_at
        begins = [state.since - MOMENT, state.through, None if start is None else start - MOMENT, after]
        ends = [self.now, until, schedule.ends_at]
        begin = max(time for time in begins if time is not None)
        end = min(time for time in ends if time is not None)
        return clock_slots(when, after=begin, until=end)

    def slots_but(self, slots: Stretch, newest: int) -> Stretch:
        """`slots`, of which there are more, without so many of the newest."""
        older = self.slots(until=slots.newest[-newest] - MOMENT)
        assert older is not None  # noqa: S101 - there are more than `newest`
        return older

    def claimed(self, nominal: datetime, cause: Cause, *, occasion: Occasion | None = None) -> Claimed:
        """A slot that came due by itself is open."""
        key = key_of(nominal) if occasion is None else occasion.key
        not_before = min(nominal, self.now) + timedelta(seconds=jitter_seconds(self.schedule, key))
        if occasion is None:
            return self.claim(key, nominal, cause, not_before=not_before)
        number, numbers = occasion.number, (occasion.number,) if occasion.by_time else ()
        return self.claim(
            key, nominal, cause, not_before=not_before, number=number, numbers=numbers, facts=occasion.facts
        )

    def claim(self, key: str, nominal: datetime, cause: Cause, *, not_before: datetime, **more: Any) -> Claimed:
        """A slot is open."""
        return Claimed(
            at=self.now,
            by=self.script,
            key=key,
            nominal=nominal,
            cause=cause,
            digest=schedule_digest(self.schedule),
            declaration=schedule_record(self.schedule.model_copy(update={"on_failure": None})),  # URLs are secrets
            not_before=not_before,
            **more,
        )

    def queued(self, slots: Stretch) -> Queued:
        """`slots` wait."""
        cause: Literal["catch_up", "queue"] = "catch_up" if self.is_late(slots.first) else "queue"
        return Queued(at=self.now, by=self.script, cause=cause, count=slots.count, first=slots.first, until=slots.last)

    def stopping(self, own: OpenSlot, reason: str) -> Stopping:
        """The open slot makes room."""
        return Stopping(at=self.now, by=self.script, key=own.key, reason=reason)

    def skipped(self, slots: Stretch, reason: str) -> Skipped:
        """`slots` never come: a rule says so."""
        return Skipped(at=self.now, by=self.script, reason=reason, **_fields(slots))

    def missed(self, slots: Stretch, reason: str) -> Missed:
        """`slots` never come: nobody was there in time."""
        return Missed(at=self.now, by=self.script, reason=reason, **_fields(slots))


def gathered(times: Iterable[datetime], *, keep: int) -> Stretch | None:
    """The slots at `times`, rising; of the newest, `keep` are kept. None where there are none."""
    count, first, newest = 0, None, deque[datetime](maxlen=keep)
    for time in times:
        first = first or time
        count += 1
        newest.append(time)
    return None if first is None else Stretch(count=count, first=first, newest=tuple(newest))


def _fields(slots: Stretch) -> Mapping[str, Any]:
    numbered = {"number": slots.number, "numbers": slots.numbers}
    return {"count": slots.count, "first": slots.first, "last": slots.last, **numbered}
