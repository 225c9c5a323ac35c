"""Which event comes next: a pure function of a schedule, where it stands, what happened and the time.

1. `decide` gives one event at a time; it is asked again with the state after it, until it has nothing more to say.
2. What comes due by itself comes first, then what people asked for, beside it. While a schedule is paused neither does.
3. Where times are declared anew, what had come due by the old ones is passed over first, on record (`changing`).
4. A clock that goes back changes nothing: slots up to `through` were decided. One that goes forward makes slots late.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from dataops.declarations.schedules import Schedule, schedule_digest, when_digest
from dataops.scheduling.asked import Asked
from dataops.scheduling.by_clock import due
from dataops.scheduling.by_occasion import occurred
from dataops.scheduling.changing import left_behind, times_record
from dataops.scheduling.events import Begun, Changed, Event, Paused, Resumed
from dataops.scheduling.slots import Occasion
from dataops.scheduling.state import ScheduleState

GRACE = timedelta(seconds=60)
"""How late a slot may be and still count as in time; a script that polls more seldom gives two of its distances."""


def decide(
    schedule: Schedule,
    state: ScheduleState | None,
    occasions: Sequence[Occasion],
    *,
    now: datetime,
    script: str,
    grace: timedelta = GRACE,
    side_by_side: int = 1,
) -> Event | None:
    """The next event of `schedule`, or None where nothing is to be said.

    Parameters
    ----------
    state : after the newest entry of its journal; None before the first.
    occasions : those of a schedule of occasions that `state` hasn't decided; else none. While the state
        is of other times than the declaration: those of `changing.as_it_stood`.
    now : aware UTC.
    script : the id of the script that decides, and that will hold what is claimed.
    grace : how late a slot may be and still count as in time.
    side_by_side : how many slots that people asked for may be open at once.
    """
    if state is None:
        return Begun(
            at=now,
            by=script,
            name=schedule.name,
            digest=schedule_digest(schedule),
            when=when_digest(schedule),
            since=schedule.starts_at or now,
            times=times_record(schedule),
        )
    asked = Asked(schedule=schedule, state=state, now=now, script=script, grace=grace)
    if (event := _changed(asked, occasions) or _paused(asked)) is not None:
        return event
    if state.paused is not None:
        return None
    own = due(asked) if schedule.by_clock else occurred(asked, occasions)
    return own or _wanted(asked, side_by_side)


def _changed(asked: Asked, occasions: Sequence[Occasion]) -> Event | None:
    """The schedule is declared anew, or before that: what had come due by the times of before."""
    state, schedule = asked.state, asked.schedule
    digest, when = schedule_digest(schedule), when_digest(schedule)
    if digest == state.digest:
        return None
    if (passed := left_behind(asked, occasions)) is not None:
        return passed
    since = max(asked.now, schedule.starts_at or asked.now)
    return Changed(at=asked.now, by=asked.script, digest=digest, when=when, since=since, times=times_record(schedule))


def _paused(asked: Asked) -> Event | None:
    """What its file says of pausing is not what the state says."""
    paused = asked.state.paused
    if asked.schedule.paused and paused is None:
        return Paused(at=asked.now, by=asked.script, reason="its file says paused", declared=True)
    if paused is not None and paused.declared and not asked.schedule.paused:
        return Resumed(at=asked.now, by=asked.script, reason="its file no longer says paused")
    return None


def _wanted(asked: Asked, side_by_side: int) -> Event | None:
    """The next slot that a person asked for, if there is room."""
    opened = sum(slot.cause == "backfill" for slot in asked.state.open.values())
    slot = next((one for one in asked.state.wanted if one.key not in asked.state.open), None)
    if slot is None or opened >= side_by_side:
        return None
    return asked.claim(
        slot.key,
        slot.nominal,
        slot.cause,
        not_before=asked.now,
        number=slot.number,
        facts=slot.facts,
        hindsight=slot.hindsight,
        again=slot.again,
    )
