"""What an open slot waits for: its next step, an attempt that comes later, its end.

1. Steps come in their order, one at a time; a failed one ends the slot.
2. An attempt that failed is resumed under the same run, unless it is said that it has to be a run of its own.
3. Beyond its deadline a slot that began no step is missed; one that did is stopped, and failed. What people asked for
   has no deadline.
4. A wait that was reckoned by a clock which has gone back since is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from dataops.declarations.schedule_steps import JobStep, kind_of, name_of
from dataops.declarations.schedules import Schedule, schedule_from_record
from dataops.declarations.times import parse_duration
from dataops.scheduling.applying import FAILING
from dataops.scheduling.events import SlotOutcome, StepEnded, StepRetry
from dataops.scheduling.slots import run_id_of
from dataops.scheduling.state import OpenSlot, StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginStep:
    """Begin attempt `attempt` (from 1) at step `step` (from 0), under the run `run`; where that exists, resume it."""

    step: int
    attempt: int
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An attempt began, and nobody said that it ended: its child runs, or its script died and it has to run again."""

    step: int
    attempt: int
    run: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopStep:
    """Stop the step that runs, and say how it ended."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSlot:
    """Append `Stopping`: the slot runs beyond its deadline."""

    reason: str
    outcome: Literal["stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil:
    """Nothing before `at`."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSlot:
    """Append `Ended`."""

    outcome: SlotOutcome
    reason: str


StepDecision = BeginStep | Running | StopStep | StopSlot | WaitUntil | EndSlot


def next_step(slot: OpenSlot, *, now: datetime, believed: bool = True) -> StepDecision:
    """What `slot` waits for at `now` (aware UTC). A step with a condition is asked for by whoever begins it.

    Parameters
    ----------
    believed : whether `now` is; by a clock that isn't no deadline passes.
    """
    schedule = schedule_from_record(slot.declaration)
    running = next((number for number, step in enumerate(slot.steps) if step.is_running), None)
    if slot.stopping is not None:
        if running is not None:
            return StopStep(step=running, reason=slot.stopping.reason)
        return EndSlot(outcome=slot.stopping.outcome, reason=slot.stopping.reason)
    if (end := _end(slot, schedule)) is not None:
        return end
    if believed and (overdue := _overdue(slot, schedule, now, running)) is not None:
        return overdue
    if running is not None:
        step = slot.steps[running]
        return Running(step=running, attempt=step.attempt, run=step.run)
    return _begin(slot, schedule, now)


def after_attempt(
    slot: OpenSlot, *, step: int, error: str, may_pass: bool, now: datetime, by: str, anew: bool = False
) -> StepRetry | StepEnded:
    """What follows from an attempt at `step` that failed with `error`: another later, or the end of the step.

    Parameters
    ----------
    may_pass : whether the same may go well later though nobody mends anything (exit codes 10 and 11, and others whose
        error says so).
    anew : whether another attempt is to be a run of its own, because this one's can't be resumed.
    """
    schedule, attempt = schedule_from_record(slot.declaration), slot.steps[step].attempt
    retries = schedule.retries
    again_at = now + _wait(parse_duration(retries.wait), parse_duration(retries.at_most), attempt)
    ends_at = _deadline(slot, schedule)
    is_in_time = ends_at is None or again_at <= ends_at
    if may_pass and attempt <= retries.times and is_in_time and slot.stopping is None:
        return StepRetry(at=now, by=by, key=slot.key, step=step, next_try_at=again_at, error=error, anew=anew)
    return StepEnded(at=now, by=by, key=slot.key, step=step, outcome="failed", error=error)


def _wait(first: timedelta, at_most: timedelta, attempt: int) -> timedelta:
    """`first`, doubled with each attempt after the first, and `at_most` at most; doubled no further than that takes."""
    doublings = min(attempt - 1, (at_most // first).bit_length())
    return min(first * (1 << doublings), at_most)


def _end(slot: OpenSlot, schedule: Schedule) -> EndSlot | None:
    """The slot's end, where its steps say so."""
    for number, step in enumerate(slot.steps):
        if step.outcome in FAILING:
            named = f"step {number + 1} ({name_of(schedule.steps[number])})"
            reason = f"{named} {step.outcome}" + (f": {step.error}" if step.error else "")
            return EndSlot(outcome="stopped" if step.outcome == "stopped" else "failed", reason=reason)
    if all(step.outcome is not None for step in slot.steps):
        return EndSlot(outcome="done", reason="")
    return None


def _overdue(slot: OpenSlot, schedule: Schedule, now: datetime, running: int | None) -> StepDecision | None:
    ends_at = _deadline(slot, schedule)
    if ends_at is None or now <= ends_at:
        return None
    reason = f"its deadline of {schedule.deadline} passed"
    if running is not None:
        return StopSlot(reason=reason, outcome="failed")
    begun = any(step.attempt or step.outcome is not None for step in slot.steps)
    return EndSlot(outcome="failed", reason=reason) if begun else EndSlot(outcome="missed", reason=reason)


def _begin(slot: OpenSlot, schedule: Schedule, now: datetime) -> BeginStep | WaitUntil:
    """The next attempt at the first step that hasn't ended, or when it comes."""
    number = next(number for number, step in enumerate(slot.steps) if step.outcome is None)
    step, declared = slot.steps[number], schedule.steps[number]
    retry_at = step.next_try_at
    if retry_at is not None and step.ended_at is not None and step.ended_at <= now < retry_at:
        return WaitUntil(at=retry_at, reason="another attempt")
    if number == 0 and retry_at is None and slot.claimed_at <= now < slot.not_before:
        return WaitUntil(at=slot.not_before, reason="jitter")
    job = declared.job if isinstance(declared, JobStep) else kind_of(declared)
    return BeginStep(step=number, attempt=step.attempt + 1, run=_run(slot, step, number, job))


def _run(slot: OpenSlot, step: StepState, number: int, job: str) -> str:
    if step.run is not None and not step.anew:
        return step.run
    return run_id_of(
        slot.schedule,
        slot.digest,
        slot.key,
        slot.nominal,
        step=number,
        job=job,
        attempt=step.attempt + 1,
        again=slot.again,
    )


def _deadline(slot: OpenSlot, schedule: Schedule) -> datetime | None:
    within: timedelta | None = schedule.within
    return None if within is None or slot.cause == "backfill" else slot.nominal + within
