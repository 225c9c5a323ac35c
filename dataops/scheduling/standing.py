"""Where one schedule stands, in the words that a person wants at three in the morning. Pure.

1. A schedule needs a person where its newest slot failed or was missed, where a slot is due and nobody begins it, or
   where its file can't be read. What tries again by itself, waits, runs or was paused by somebody doesn't.
2. Paused is an answer: somebody knows. What failed before isn't asked about again while it lasts.
3. Everything is told from the last entry of the schedule's journal, however many slots it has behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from dataops.declarations.schedule_steps import name_of
from dataops.declarations.schedules import CronWhen, EveryWhen, Schedule, schedule_from_record, when_digest
from dataops.errors import DataopsError
from dataops.records import Record, format_time
from dataops.scheduling.cron import next_slots
from dataops.scheduling.state import OpenSlot, ScheduleState, StepState
from dataops.scheduling.wording import ago, counted, spell_age, spell_slot

LATE_AFTER = timedelta(minutes=10)
"""How long a slot may be due before it is late: a script that cron starts looks every few minutes."""

_MOMENT = timedelta(microseconds=1)


class Mood(StrEnum):
    """How a schedule is, the worst first."""

    BROKEN = "broken"
    FAILED = "failed"
    LATE = "late"
    NEW = "new"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    GONE = "gone"
    OVER = "over"
    FINE = "fine"


NEEDS_A_PERSON = frozenset({Mood.BROKEN, Mood.FAILED, Mood.LATE})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStanding:
    """A slot that is open: what it does or waits for, since when, and which script holds it."""

    key: str
    nominal: datetime
    cause: str
    since: datetime
    holder: str
    step: str
    says: str
    waits: bool
    runs: tuple[str, ...]
    hindsight: str | None

    def record(self) -> Record:
        """JSON values."""
        body = {name: getattr(self, name) for name in self.__dataclass_fields__}
        times = {name: format_time(body[name]) for name in ("nominal", "since")}
        return {**body, **times, "runs": list(self.runs)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a schedule stands.

    Attributes
    ----------
    mood, says : how it is and why, in a line; `do` is the command that says more, None for none.
    slot : the key of the slot that this is about.
    next : the next slot of its clock; None for one of occasions, and for one that is over or gone.
    wanted : slots that people asked for and nobody began.
    """

    name: str
    file: str | None
    owner: str | None
    mood: Mood
    says: str
    zone: str = "UTC"
    do: str | None = None
    slot: str | None = None
    next: datetime | None = None
    open: tuple[OpenStanding, ...] = ()
    wanted: int = 0
    last: Mapping[str, Any] | None = None
    last_done_at: datetime | None = None
    failures_in_a_row: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody has to look."""
        return self.mood in NEEDS_A_PERSON

    def record(self) -> Record:
        """JSON values."""
        body = {name: getattr(self, name) for name in self.__dataclass_fields__}
        times = {name: None if body[name] is None else format_time(body[name]) for name in ("next", "last_done_at")}
        rest = {"mood": self.mood.value, "open": [one.record() for one in self.open], "counts": dict(self.counts)}
        return {**body, **times, **rest, "needs_a_person": self.needs_a_person}


def stand(
    schedule: Schedule | None, state: ScheduleState | None, *, now: datetime, file: str | None = None
) -> Standing:
    """Where a schedule stands at `now`, by its declaration (None: no file has it any more) and its journal's state
    (None: no script has seen it yet). One of the two is given.
    """
    zone = zone_of(schedule)
    mood, says, slot = _mood(schedule, state, now, zone)
    name = schedule.name if schedule is not None else state.name if state is not None else ""
    facts = _facts(state, now) if state is not None else {}
    return Standing(
        name=name,
        file=file,
        owner=schedule.owner if schedule is not None else None,
        mood=mood,
        says=says,
        zone=zone,
        do=_advice(mood, name, slot),
        slot=slot,
        next=_next(schedule, state, now),
        **facts,
    )


def broken(file: str, message: str) -> Standing:
    """The standing of a file that can't be read: its schedules begin nothing until it is mended."""
    return Standing(name=file, file=file, owner=None, mood=Mood.BROKEN, says=message)


def zone_of(schedule: Schedule | None) -> str:
    """The time zone of the schedule's clock; UTC for one without."""
    return schedule.when.time_zone if schedule is not None and isinstance(schedule.when, CronWhen) else "UTC"


def due_since(schedule: Schedule, state: ScheduleState, now: datetime) -> datetime | None:
    """The time of the first slot of the clock up to `now` about which nobody decided anything; None for none.

    Slots that wait behind an open one were decided about, and so is nothing while the declaration is a new one: its
    slots count from when a script sees it.
    """
    when = schedule.when
    if not isinstance(when, CronWhen | EveryWhen) or when_digest(schedule) != state.when:
        return None
    behind = state.waiting_until if state.own is not None else None
    decided = [state.since - _MOMENT, state.through, state.resumed_at, behind]
    after = max(moment for moment in decided if moment is not None)
    within = (moment for moment in next_slots(schedule, after=after, count=1) if moment <= now)
    return next(within, None)


_Told = tuple[Mood, str, str | None]  # how it is, why, and the slot that this is about


def _mood(schedule: Schedule | None, state: ScheduleState | None, now: datetime, zone: str) -> _Told:
    if schedule is None:
        return Mood.GONE, "no file declares it any more", None
    if state is None:
        return Mood.NEW, "no script has looked at it yet", None
    if state.paused is not None or schedule.paused:
        return Mood.PAUSED, _paused(state, now), None
    return (
        _failed(state, now, zone)
        or _late(schedule, state, now, zone)
        or _busy(state, now)
        or _at_rest(schedule, state, now, zone)
    )


def _failed(state: ScheduleState, now: datetime, zone: str) -> _Told | None:
    last = state.last
    if last is None or last.outcome not in ("failed", "missed"):
        return None
    times = f", {state.failures_in_a_row:,} in a row" if state.failures_in_a_row > 1 else ""
    again = "; another one is open" if state.open else ""
    told = f"slot {spell_slot(last.nominal, zone)} {last.outcome} {ago(last.ended_at, now)}{times}: {last.reason}"
    return Mood.FAILED, f"{told}{again}", last.key


def _late(schedule: Schedule, state: ScheduleState, now: datetime, zone: str) -> _Told | None:
    due = due_since(schedule, state, now)
    if due is None or now - due <= LATE_AFTER:
        return None
    return Mood.LATE, f"slot {spell_slot(due, zone)} is due for {spell_age(now - due)}, and nobody began it", None


def _busy(state: ScheduleState, now: datetime) -> _Told | None:
    slots = sorted((stand_open(slot, now) for slot in state.open.values()), key=lambda one: one.waits)
    if slots:
        return (Mood.WAITING if slots[0].waits else Mood.RUNNING), slots[0].says, slots[0].key
    if state.wanted:
        return Mood.WAITING, f"{counted(len(state.wanted), 'slot')} that somebody asked for", None
    return None


def _at_rest(schedule: Schedule, state: ScheduleState, now: datetime, zone: str) -> _Told:
    last = state.last
    told = f"slot {spell_slot(last.nominal, zone)} {last.outcome} {ago(last.ended_at, now)}" if last else "no slot yet"
    if last is not None and last.reason and last.outcome != "done":
        told = f"{told}: {last.reason}"
    if schedule.ends_at is not None and schedule.ends_at < now:
        return Mood.OVER, f"it ended {ago(schedule.ends_at, now)}; {told}", last.key if last else None
    return Mood.FINE, told, last.key if last else None


def _paused(state: ScheduleState, now: datetime) -> str:
    pause = state.paused
    if pause is None or pause.declared:
        return "its file says `paused: true`"
    return f"by {pause.by}, {ago(pause.at, now)}{f': {pause.reason}' if pause.reason else ''}"


def _advice(mood: Mood, name: str, slot: str | None) -> str | None:
    if mood is Mood.PAUSED:
        return f"dataops schedule resume {name}"
    if mood is Mood.FAILED:
        return f"dataops schedule why {name} {slot}"
    return None


def _facts(state: ScheduleState, now: datetime) -> dict[str, Any]:
    last = state.last
    return {
        "open": tuple(stand_open(slot, now) for slot in state.open.values()),
        "wanted": len(state.wanted),
        "last": last
        and {
            "slot": last.key,
            "nominal": format_time(last.nominal),
            "outcome": last.outcome,
            "reason": last.reason,
            "ended_at": format_time(last.ended_at),
        },
        "last_done_at": state.last_done_at,
        "failures_in_a_row": state.failures_in_a_row,
        "counts": state.counts,
    }


def _next(schedule: Schedule | None, state: ScheduleState | None, now: datetime) -> datetime | None:
    if schedule is None or not schedule.by_clock or schedule.paused or (state is not None and state.paused):
        return None
    return next(iter(next_slots(schedule, after=now, count=1)), None)


def stand_open(slot: OpenSlot, now: datetime) -> OpenStanding:
    """What an open slot does or waits for."""
    names = step_names(slot.declaration)
    at, step = present_step(slot)
    named = names[at] if at < len(names) else f"step {at + 1}"
    place = f"{named} ({at + 1} of {len(slot.steps)})" if len(slot.steps) > 1 else named
    says, waits = _doing(slot, step, place, now)
    return OpenStanding(
        key=slot.key,
        nominal=slot.nominal,
        cause=slot.cause,
        since=slot.claimed_at,
        holder=slot.holder,
        step=named,
        says=f"stopping: {slot.stopping.reason}" if slot.stopping is not None else says,
        waits=waits,
        runs=tuple(one.run for one in slot.steps if one.run is not None),
        hindsight=slot.hindsight,
    )


def present_step(slot: OpenSlot) -> tuple[int, StepState]:
    """The first step without an outcome, or the last one."""
    at = next((i for i, step in enumerate(slot.steps) if step.outcome is None), len(slot.steps) - 1)
    return at, slot.steps[at]


def _doing(slot: OpenSlot, step: StepState, place: str, now: datetime) -> tuple[str, bool]:
    """What is done, and whether that is waiting."""
    if step.next_try_at is not None:
        why = f"; the last one: {step.error}" if step.error else ""
        return f"tries {place} again {ago(step.next_try_at, now)}, attempt {step.attempt + 1}{why}", True
    if step.is_running and step.begun_at is not None:
        attempt = f", attempt {step.attempt}" if step.attempt > 1 else ""
        return f"runs {place} since {spell_age(now - step.begun_at)}{attempt}", False
    if slot.not_before > now:
        return f"begins {ago(slot.not_before, now)}: its jitter", True
    return f"is about to begin {place}", True


def step_names(declaration: Mapping[str, Any]) -> tuple[str, ...]:
    """What the steps of a slot's declaration are called; none where this release can't read it."""
    try:
        return tuple(name_of(step) for step in schedule_from_record(declaration).steps)
    except DataopsError:
        return ()
