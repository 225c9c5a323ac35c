"""What of a workspace needs a person: the rules by which `dataops status` wakes somebody up.

What is tried again by itself, waits its turn, or was paused needs nobody; nor does a script that was killed, once
another one has looked since.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dataops.records import Record
from dataops.runs.ledger import State
from dataops.scheduling.beats import Beat, looks_alive
from dataops.scheduling.promises import Freshness
from dataops.scheduling.recent import RecentRun
from dataops.scheduling.standing import Mood
from dataops.scheduling.wording import ago, counted, spell_age

if TYPE_CHECKING:
    from dataops.scheduling.status import Status

START = "dataops schedule run"
SUBMISSION_LATE = timedelta(hours=1)
"""How long a submission may wait to be begun."""

_RUN_SILENT = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """Something that needs a person: what it is about, what is wrong, and the command that says more (None: none)."""

    about: str
    says: str
    do: str | None = None

    def record(self) -> Record:
        """JSON values."""
        return {"about": self.about, "says": self.says, "do": self.do}


def concerns(status: Status) -> Iterator[Concern]:
    """What of `status` needs a person, the gravest first."""
    yield from status.unreadable
    yield from _of_scripts(status)
    for one in status.schedules:
        if one.needs_a_person:
            kind = "schedule file" if one.mood is Mood.BROKEN else "schedule"
            yield Concern(about=f"{kind} {one.name}", says=one.says, do=one.do)
    yield from status.stuck
    told = {one.name for one in status.schedules if one.needs_a_person or one.mood is Mood.PAUSED}
    for (
        fresh
    ) in status.freshness:  # a promise that is broken because its schedule fails, or was paused, is no other news
        if fresh.is_stale(status.at) and not (fresh.what == "schedule" and fresh.name in told):
            yield Concern(about=f"{fresh.what} {fresh.name}", says=fresh.says(status.at), do=_advice_on(fresh))
    for champion in status.champions:
        if champion.problem is not None:
            verify = f"dataops model verify {champion.model}"
            yield Concern(about=f"model {champion.model}", says=champion.problem, do=verify)
    yield from _of_submissions(status)


def _of_scripts(status: Status) -> Iterator[Concern]:
    """Concerns about what scripts can't do, and about nobody doing the work that there is."""
    alive = [one for one in status.scripts if looks_alive(one, status.at)]
    looked = alive or [one for one in (status.polled,) if one is not None]
    known = {one.about for one in status.unreadable}
    for what, text in {what: text for one in looked for what, text in one.troubles.items()}.items():
        if f"schedule {what}" not in known:
            yield Concern(about=f"scheduler script, {what}", says=text)
    if alive:
        return
    last = max(status.scripts, key=lambda one: one.at, default=None)
    opened = sum(len(one.open) for one in status.schedules)
    says = None
    if last is not None and not last.ended:  # else one that came after it made up for it, as cron's next does
        says = f"{spell_script(last)} is silent since {spell_age(status.at - last.at)}, and no other one runs"
    elif opened:
        says = f"none runs, and {counted(opened, 'slot')} that one had begun {'is' if opened == 1 else 'are'} open"
    elif any(one.mood is Mood.LATE for one in status.schedules):
        says = f"none runs; {spell_polled(status)}"
    elif status.polled is None and any(one.mood is Mood.NEW for one in status.schedules):
        says = "none has ever looked at the schedules"
    if says is not None:
        yield Concern(about="scheduler script", says=says, do=START)


def _of_submissions(status: Status) -> Iterator[Concern]:
    waiting = [one for one in status.submissions if one.script is None and one.submitted_at is not None]
    late = [one for one in waiting if one.submitted_at and status.at - one.submitted_at > SUBMISSION_LATE]
    if late:
        oldest = min(one.submitted_at for one in late if one.submitted_at)
        waits = f"{counted(len(late), 'job')} waiting, the oldest for {spell_age(status.at - oldest)}"
        says = f"{waits}; {spell_polled(status)}"
        yield Concern(about="submissions", says=says, do="dataops job list")


def spell_polled(status: Status) -> str:
    """When a script looked at schedules and inbox last."""
    if status.polled is None or status.polled.polled_at is None:
        return "no script ever looked"
    return f"one last looked {ago(status.polled.polled_at, status.at)}"


def _advice_on(fresh: Freshness) -> str:
    return f"dataops dataset show {fresh.name}" if fresh.what == "dataset" else f"dataops schedule why {fresh.name}"


def spell_script(beat: Beat) -> str:
    """A script by its machine and process: ``script 1a2b3c4d5e6f on alpha (process 4711)``."""
    return f"script {beat.script} on {beat.host} (process {beat.pid})"


def silent_runs(status: Status) -> list[RecentRun]:
    """Runs that neither ended nor said anything lately, and that no open slot and no submission is about: somebody
    began them by hand, and their process is gone or stuck.
    """
    held = {run for one in status.schedules for slot in one.open for run in slot.runs}
    held |= {one.id for one in status.submissions}
    running = [one for one in status.runs if one.state is State.RUNNING and one.run not in held]
    return [one for one in running if status.at - one.at > _RUN_SILENT]
