"""Backfill: slots of a stretch of time, each with its reason, and the asking for those that are missing.

1. Every slot of the clock in the stretch is told with a reason before anything is asked for.
2. What was done isn't done again, but for what is *stale*: done under another declaration of the schedule. New data
   alone makes nothing stale.
3. A slot is *hindsight* where a model version that its steps would score with is younger than the slot: nobody could
   have had these scores then. It is refused, or carries a label for ever (docs/adr/0036-slots-in-job-files.md).
4. Asking is one entry of the schedule's journal. A scheduler script does what was asked for, within its limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from dataops.declarations.jobs import find_job
from dataops.declarations.references import parse_model_reference
from dataops.declarations.rescore import RescoreJob
from dataops.declarations.schedule_steps import JobStep
from dataops.declarations.schedules import CronWhen, EveryWhen, Schedule, schedule_digest
from dataops.declarations.train import TrainJob
from dataops.errors import InvalidInput, NotFound
from dataops.records import Record, format_time
from dataops.registry.aliases import resolve_reference
from dataops.registry.versions import Registry
from dataops.scheduling.cron import clock_slots
from dataops.scheduling.events import Wanted, WantedSlot
from dataops.scheduling.slot_history import SlotHistory, ToldSlot
from dataops.scheduling.slot_times import slot_times_of
from dataops.scheduling.slots import key_of
from dataops.scheduling.state import Moved, ScheduleState
from dataops.scheduling.wording import spell_minute

MAX_SLOTS = 400
"""How many slots are asked for at once: the schedule's every entry carries those that wait."""
MAX_LISTED = 20_000

_MOMENT = timedelta(microseconds=1)


class Reason(StrEnum):
    """What was with a slot until now."""

    DONE = "done"
    STALE = "stale"
    OPEN = "open"
    WANTED = "asked for"
    COMING = "comes by itself"
    MISSING = "missing"
    MISSED = "missed"
    SKIPPED = "skipped"
    FAILED = "failed"
    STOPPED = "stopped"


LACKING = frozenset({Reason.MISSING, Reason.MISSED, Reason.SKIPPED, Reason.FAILED, Reason.STOPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedVersion:
    """A model version that a step would score with now, and since when there was one: registered, or made champion by a
    slot of this very schedule, by the clock of its script.
    """

    reference: str
    version: int | None
    since: datetime

    @property
    def named(self) -> str:
        """How people name it."""
        model = self.reference.partition("@")[0]
        return f"{model}@{self.version}" if self.version is not None else f"a version of {model} trained in the slot"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillSlot:
    """One slot of the stretch.

    Attributes
    ----------
    reason, says : what was with it, and more of it in words.
    again : how often it was claimed.
    younger : versions that it would score with and that are younger than it.
    runs_now : whether it is among what would be asked for.
    """

    key: str
    nominal: datetime
    reason: Reason
    says: str
    again: int
    younger: tuple[UsedVersion, ...]
    runs_now: bool

    def record(self) -> Record:
        """JSON values."""
        return {
            "slot": self.key,
            "nominal": format_time(self.nominal),
            "reason": self.reason.value,
            "says": self.says,
            "hindsight": [one.named for one in self.younger],
            "runs": self.runs_now,
        }


def plan_backfill(
    schedule: Schedule,
    state: ScheduleState,
    history: SlotHistory,
    *,
    first: datetime,
    last: datetime,
    now: datetime,
    stale: bool = False,
    used: Sequence[UsedVersion] = (),
) -> list[BackfillSlot]:
    """The slots of `schedule` from `first` to `last`, both included, within its own start and end, oldest first.

    Parameters
    ----------
    state, history : of the schedule's journal.
    stale : slots that were done under another declaration are done again.
    used : versions that its steps would score with.

    Raises
    ------
    InvalidInput : a schedule of occasions, or more slots than can be told.
    """
    when = schedule.when
    if not isinstance(when, CronWhen | EveryWhen):
        raise InvalidInput(
            f"schedule '{schedule.name}' goes by occasions, and of those none was left out: what a script hasn't seen "
            "yet it takes by itself. For the past, run the job by hand: `dataops job run FILE NAME --slot TIME`"
        )
    begin = max(first, schedule.starts_at or first)
    end = min(last, now, schedule.ends_at or last)
    times = []
    for nominal in clock_slots(when, after=begin - _MOMENT, until=end):
        times.append(nominal)
        if len(times) > MAX_LISTED:
            raise InvalidInput(f"more than {MAX_LISTED:,} slots lie between --from and --to: choose a shorter stretch")
    digest = schedule_digest(schedule)
    return [_told(nominal, state, history, digest=digest, stale=stale, used=used) for nominal in times]


def ask_for(
    slots: Sequence[BackfillSlot], *, at: datetime, by: str, hindsight: str | None = None, reason: str = ""
) -> Wanted | None:
    """The event that asks for those of `slots` that run; None where none does.

    Raises
    ------
    InvalidInput : more than can be asked for at once; or some are hindsight, and no label says so.
    """
    running = [one for one in slots if one.runs_now]
    younger = [one for one in running if one.younger]
    if younger and not hindsight:
        raise InvalidInput(_refused(running, younger))
    if len(running) > MAX_SLOTS:
        raise InvalidInput(
            f"{len(running):,} slots are asked for, and {MAX_SLOTS} at once are the most: move --to before "
            f"{running[MAX_SLOTS].nominal:%Y-%m-%d}, and ask for the others when these are done"
        )
    wanted = tuple(
        WantedSlot(key=one.key, nominal=one.nominal, again=one.again, hindsight=hindsight if one.younger else None)
        for one in running
    )
    return Wanted(at=at, by=by, slots=wanted, reason=reason) if wanted else None


def used_versions(
    schedule: Schedule, registry: Registry, promoted: Mapping[str, Moved], *, workspace: Path, now: datetime
) -> tuple[UsedVersion, ...]:
    """The versions that the rescores of `schedule` would score with now, oldest first.

    A model that an earlier step of the same slot trains has none yet, whatever its alias names: `now` is its time. An
    alias that points nowhere is left out: its slot would fail and say so.

    Parameters
    ----------
    promoted : of the schedule's state: a champion is as old as the move that one of its slots made.
    """
    found: dict[str, UsedVersion] = {}
    trained: set[str] = set()
    for step in schedule.steps:
        if not isinstance(step, JobStep):
            continue
        job = find_job(workspace / step.file, step.job, slot_times_of(schedule, now)).job
        if isinstance(job, TrainJob):
            trained.add(job.name)
        if isinstance(job, RescoreJob):
            for reference in (job.model, *job.challengers.values()):
                with suppress(NotFound):
                    found[reference] = _used(reference, registry, promoted, trained=trained, now=now)
    return tuple(sorted(found.values(), key=lambda one: one.since))


def _used(
    reference: str, registry: Registry, promoted: Mapping[str, Moved], *, trained: set[str], now: datetime
) -> UsedVersion:
    asked = parse_model_reference(reference)
    if asked.version is None and asked.model in trained:
        return UsedVersion(reference=reference, version=None, since=now)
    version = resolve_reference(registry, reference)
    moved = promoted.get(version.model)
    since = version.registered_at.astimezone(UTC)
    if moved is not None and moved.version == version.version:
        since = min(since, moved.at)
    return UsedVersion(reference=reference, version=version.version, since=since)


def _told(
    nominal: datetime,
    state: ScheduleState,
    history: SlotHistory,
    *,
    digest: str,
    stale: bool,
    used: Sequence[UsedVersion],
) -> BackfillSlot:
    key = key_of(nominal)
    told = history.slots.get(key)
    reason, says = _reason(key, nominal, told, state, history, digest=digest)
    runs_now = reason in LACKING or (stale and reason is Reason.STALE)
    younger = tuple(one for one in used if one.since > nominal) if runs_now else ()
    return BackfillSlot(
        key=key,
        nominal=nominal,
        reason=reason,
        says=says,
        again=told.claims if told is not None else 0,
        younger=younger,
        runs_now=runs_now,
    )


def _reason(
    key: str, nominal: datetime, told: ToldSlot | None, state: ScheduleState, history: SlotHistory, *, digest: str
) -> tuple[Reason, str]:
    if key in state.open:
        return Reason.OPEN, f"since {spell_minute(state.open[key].claimed_at)} UTC"
    if any(one.key == key for one in state.wanted):
        return Reason.WANTED, "waits for a scheduler script"
    if nominal >= state.since and (state.through is None or nominal > state.through):
        return Reason.COMING, "is due, and not begun yet"
    if told is not None and told.outcome is not None:
        return _ended(told, digest)
    passed = history.passed_at(nominal)
    if passed is not None:
        return Reason(passed.kind), passed.reason
    before = nominal < state.since
    return (
        Reason.MISSING,
        f"before {state.since:%Y-%m-%d %H:%M} UTC, when the schedule began" if before else "no record",
    )


def _ended(told: ToldSlot, digest: str) -> tuple[Reason, str]:
    when = f"{told.outcome} {spell_minute(told.ended_at)} UTC" if told.ended_at is not None else ""
    if told.outcome == "done":
        label = f", in hindsight: {told.hindsight}" if told.hindsight else ""
        if told.digest != digest:
            return Reason.STALE, f"{when}, under another declaration{label}"
        return Reason.DONE, f"{when}{label}"
    return Reason(str(told.outcome)), f"{when}{f': {told.reason}' if told.reason else ''}"


def _refused(running: Sequence[BackfillSlot], younger: Sequence[BackfillSlot]) -> str:
    newest = max((one for slot in younger for one in slot.younger), key=lambda one: one.since)
    count = f"{len(younger):,} of {len(running):,} slots" if len(younger) < len(running) else f"{len(running):,} slots"
    first, last = younger[0].nominal, younger[-1].nominal
    span = f"{first:%Y-%m-%d %H:%M}" if first == last else f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    return (
        f"{count} ({span}) would be hindsight: {newest.named} is there since {newest.since:%Y-%m-%d %H:%M} UTC, and "
        "scores of it for a time before that are none that anybody could have had. Begin with --from after that, or "
        "give them a label that stays with them: --hindsight TEXT"
    )
