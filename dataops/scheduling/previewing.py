"""What a schedule would do, in words, before it is put to work. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from dataops.declarations.schedule_steps import JobStep, PromoteStep, name_of
from dataops.declarations.schedules import CatchUpAll, CronWhen, EveryWhen, Schedule
from dataops.records import Record, format_time
from dataops.scheduling.slots import jitter_seconds, key_of
from dataops.scheduling.wording import counted, spell_slot


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSlot:
    """A slot to come: its time, by its schedule's clock and in UTC; when it would begin; what is odd about it."""

    key: str
    nominal: datetime
    local: str
    begins: datetime
    note: str | None

    def record(self) -> Record:
        """JSON values."""
        times = {"nominal": format_time(self.nominal), "begins": format_time(self.begins)}
        return {"slot": self.key, **times, "local": self.local, "note": self.note}


def planned(schedule: Schedule, times: Iterable[datetime], *, zone: str) -> Iterator[PlannedSlot]:
    """`times`, rising, as the slots of `schedule` that they are."""
    before: str | None = None
    for nominal in times:
        key, local = key_of(nominal), spell_slot(nominal, zone)
        name = local.rpartition(" ")[2]
        moved = before is not None and name != before
        yield PlannedSlot(
            key=key,
            nominal=nominal,
            local=local,
            begins=nominal + timedelta(seconds=jitter_seconds(schedule, key)),
            note="the clock was moved since the slot before" if moved else None,
        )
        before = name


def spell_when(schedule: Schedule) -> str:
    """When slots of `schedule` come due."""
    when = schedule.when
    if isinstance(when, CronWhen):
        return f"{when.cron}, by the clock of {when.time_zone}"
    if isinstance(when, EveryWhen):
        return f"every {when.every}, counted from {when.since}"
    (kind, what), *_ = when.model_dump(mode="json").items()
    said = {
        "snapshot": f"when dataset {what} has a new snapshot",
        "promoted": f"when model {what} has a new champion",
    }
    return said.get(kind) or f"when the psi of job {what['job']} reaches {what['psi']:g}"


def rules(schedule: Schedule) -> dict[str, str]:
    """What becomes of late, overlapping, slow and failed slots, in a sentence each."""
    overlap = {
        "skip": "a slot that comes due while one is open is left out",
        "queue": "a slot that comes due while one is open waits until that ends",
        "replace": "a slot that comes due while one is open stops that one, and takes its place",
    }
    told = {"catch-up": _catch_up(schedule), "overlap": overlap[schedule.overlapping]}
    if schedule.deadline is not None:
        told["deadline"] = (
            f"a slot that hasn't begun {schedule.deadline} after its time is missed; one that still runs then is "
            "stopped, and failed"
        )
    if schedule.jitter is not None:
        told["jitter"] = f"each slot waits up to {schedule.jitter}, always the same for the same slot"
    retries = schedule.retries
    if retries.times:
        told["retries"] = (
            f"what may pass is tried {counted(retries.times, 'time')} more, first after {retries.wait}, then after "
            f"twice as long each, {retries.at_most} at most"
        )
    else:
        told["retries"] = "none: what fails ends its slot"
    return told


def _catch_up(schedule: Schedule) -> str:
    match schedule.catch_up:
        case "none":
            return "slots that no script was there for are missed"
        case "last":
            return "of slots that no script was there for the newest runs, the others are missed"
        case "all":
            return "slots that no script was there for all run, the oldest first"
        case CatchUpAll(all=most):
            return f"of slots that no script was there for the newest {most:,} run, the oldest first; others are missed"


def step_lines(schedule: Schedule) -> list[str]:
    """The steps in their order, each with its condition."""
    lines = []
    for number, step in enumerate(schedule.steps, start=1):
        condition = step.condition
        if condition is not None and not isinstance(condition, str):
            (kind, what), *_ = condition.model_dump(mode="json", exclude_none=True).items()
            told = what if isinstance(what, str) else ", ".join(f"{key} {one}" for key, one in what.items())
            on = f", if {kind} {told}"
        else:
            on = f", if {condition}" if condition is not None else ""
        file = f" of {step.file}" if isinstance(step, JobStep) else ""
        gate = f" by {step.rules}" if isinstance(step, PromoteStep) else ""
        lines.append(f"{number}. {name_of(step)}{file}{gate}{on}")
    return lines
