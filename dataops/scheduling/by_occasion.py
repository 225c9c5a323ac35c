"""What becomes of occasions: of those that wait the newest or each is claimed, by their numbers.

1. What happened is not late. It waits while another slot is open, unless `overlap` says otherwise.
2. Of several that wait `catch_up: last` takes the newest, which stands for all; `all` takes each.
3. What happened before the schedule was first seen, or outside its start and end, asks for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

from dataops.scheduling.asked import Asked, Stretch
from dataops.scheduling.events import Event
from dataops.scheduling.slots import Occasion


def occurred(asked: Asked, occasions: Sequence[Occasion]) -> Event | None:
    """The next event that `occasions` ask for."""
    new, resumed_at, within = new_occasions(asked, occasions), asked.state.resumed_at, asked.schedule.within
    if resumed_at is not None and (passed := _while(new, lambda one: one.at <= resumed_at)) is not None:
        return asked.skipped(passed, "it was paused")
    if within is not None and (passed := _while(new, lambda one: one.at + within < asked.now)) is not None:
        return asked.missed(passed, f"its deadline of {asked.schedule.deadline} passed")
    return _chosen(asked, new) if new else None


def _chosen(asked: Asked, new: Sequence[Occasion]) -> Event | None:
    own, overlap, limit, newest = asked.state.own, asked.schedule.overlapping, asked.most, new[-1]
    if own is not None and overlap == "skip":
        return asked.skipped(stretch_of(new), f"slot {own.key} is open")
    # while one is open, a newer occasion may still come: until then nothing is left out that nobody needs to
    takes_newest = overlap == "replace" or (asked.schedule.catch_up == "last" and own is None)
    if takes_newest and len(new) > 1:
        return asked.skipped(stretch_of(new[:-1]), f"{newest.key} takes its place")
    if limit is not None and len(new) > limit:
        return asked.missed(stretch_of(new[:-limit]), f"more than {limit} wait")
    if own is None:
        return asked.claimed(new[0].at, "occasion", occasion=new[0])
    return asked.stopping(own, f"{newest.key} happened") if overlap == "replace" and own.stopping is None else None


def new_occasions(asked: Asked, occasions: Sequence[Occasion]) -> list[Occasion]:
    """Those that nobody decided, within the schedule's start and end, by their numbers."""
    state, schedule = asked.state, asked.schedule
    begin, end = max(state.since, schedule.starts_at or state.since), schedule.ends_at
    new = [one for one in occasions if not state.has_decided(one.number) and one.at >= begin]
    return sorted((one for one in new if end is None or one.at <= end), key=lambda one: one.number)


def _while(occasions: Sequence[Occasion], holds: Callable[[Occasion], bool]) -> Stretch | None:
    passed = list(takewhile(holds, occasions))
    return stretch_of(passed) if passed else None


def stretch_of(occasions: Sequence[Occasion]) -> Stretch:
    """`occasions`, at least one, as what is passed over together."""
    times, numbers = [one.at for one in occasions], tuple(one.number for one in occasions if one.by_time)
    last = occasions[-1].number
    return Stretch(count=len(times), first=min(times), newest=(max(times),), number=last, numbers=numbers)
