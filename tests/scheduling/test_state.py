"""What follows from events: states that are written and read alike, and events that don't fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.declarations.schedules import schedule_digest, schedule_record, when_digest
from dataops.errors import Conflict, Format, InvalidInput
from dataops.records import canonical_bytes
from dataops.scheduling import events
from dataops.scheduling.applying import MAX_WANTED, apply
from dataops.scheduling.events import (
    Begun,
    Changed,
    Claimed,
    Ended,
    Event,
    Missed,
    Paused,
    Queued,
    Resumed,
    Skipped,
    StepBegun,
    StepEnded,
    StepRetry,
    Stopping,
    TakenOver,
    Told,
    Unwanted,
    Wanted,
    WantedSlot,
    event_from_record,
    event_record,
)
from dataops.scheduling.state import ScheduleState, state_from_record, state_record
from tests.scheduling.scheduled import at, schedule

BY: dict[str, Any] = {"at": at("01:00"), "by": "script"}
TWO_STEPS = schedule(steps=[{"job": "a", "file": "jobs/a.yaml"}, {"promote": "late"}])
KEY = "20260101t001000z"


def begun() -> ScheduleState:
    declared = TWO_STEPS
    return apply(
        None, Begun(**BY, name="s", digest=schedule_digest(declared), when=when_digest(declared), since=at("00:00"))
    )


def claim(time: str = "00:10", **changed: Any) -> Claimed:
    fields = {
        "key": f"20260101t{time.replace(':', '')}00z",
        "nominal": at(time),
        "cause": "due",
        "digest": schedule_digest(TWO_STEPS),
        "declaration": schedule_record(TWO_STEPS),
        "not_before": at(time),
    }
    return Claimed(**{**BY, **fields, **changed})


def after(state: ScheduleState, *happened: Event) -> ScheduleState:
    for event in happened:
        state = apply(state, event)
    return state


def opened() -> ScheduleState:
    return after(begun(), claim())


def step_done(step: int = 0, **changed: Any) -> tuple[Event, ...]:
    fields: dict[str, Any] = {**BY, "key": KEY, "step": step, "outcome": "done", **changed}
    return StepBegun(**BY, key=KEY, step=step, attempt=1, run="a-1"), StepEnded(**fields)


def refuse(state: ScheduleState | None, event: Event, message: str) -> None:
    with pytest.raises(Conflict, match=message):
        apply(state, event)


# Written and read


EVERY_EVENT: list[Event] = [
    Begun(**BY, name="s", digest="d", when="w", since=at("00:00")),
    Changed(**BY, digest="d", when="w", since=at("00:00"), dropped=2),
    claim(number=7, facts={"rows": 3, "of": {"a": [1]}}, hindsight="label", again=1, cause="occasion"),
    Skipped(**BY, count=2, first=at("00:10"), last=at("00:20"), reason="r", number=4),
    Missed(**BY, count=1, first=at("00:10"), last=at("00:10"), reason="r"),
    Queued(**BY, cause="catch_up", count=2, first=at("00:10"), until=at("00:20")),
    StepBegun(**BY, key=KEY, step=0, attempt=1, run="a-1"),
    StepEnded(**BY, key=KEY, step=0, outcome="promoted", facts={"model": "late", "version": 3}, error=None),
    StepRetry(**BY, key=KEY, step=0, next_try_at=at("01:05"), error="e", anew=True),
    TakenOver(**BY, key=KEY, held_by="other"),
    Stopping(**BY, key=KEY, reason="r", outcome="failed"),
    Ended(**BY, key=KEY, outcome="done"),
    Wanted(**BY, slots=(WantedSlot(key=KEY, nominal=at("00:10"), hindsight="l", again=2, number=1, facts={"a": 1}),)),
    Unwanted(**BY, keys=(KEY,)),
    Paused(**BY, reason="r", declared=True),
    Resumed(**BY),
    Told(**BY, number=9),
]


def test_the_examples_are_of_every_kind() -> None:
    assert {type(event) for event in EVERY_EVENT} == set(get_args(events.Event))


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: event.event)
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    record = json.loads(canonical_bytes(event_record(event)))
    assert event_from_record(record) == event
    assert record["at"] == "2026-01-01T01:00:00.000000Z"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: {**record, "more": 1},
        lambda record: {**record, "event": "eneded"},
        lambda record: {key: value for key, value in record.items() if key != "key"},
        lambda record: {**record, "outcome": "fine"},
        lambda record: {**record, "at": "2026-01-01"},
        lambda record: {**record, "key": 5},
        lambda _: {},
    ],
)
def test_an_event_that_is_not_known_is_refused(spoil: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    with pytest.raises(Format):
        event_from_record(spoil(event_record(Ended(**BY, key=KEY, outcome="done"))))


def full() -> ScheduleState:
    """A state in which nothing is left at its default."""
    return after(
        begun(),
        claim("00:10", facts={"a": [1, None]}, hindsight="l", again=1),
        StepBegun(**BY, key=KEY, step=0, attempt=1, run="a-1"),
        StepRetry(**BY, key=KEY, step=0, next_try_at=at("01:05"), error="e", anew=True),
        Stopping(**BY, key=KEY, reason="r"),
        Ended(**BY, key=KEY, outcome="failed", reason="r"),
        claim("00:20"),
        *(event_at("20260101t002000z", event) for event in step_done()),
        StepEnded(**BY, key="20260101t002000z", step=1, outcome="promoted", facts={"model": "late", "version": 3}),
        Ended(**BY, key="20260101t002000z", outcome="done"),
        claim("00:30"),
        Queued(**BY, cause="catch_up", count=2, first=at("00:40"), until=at("00:50")),
        Wanted(**BY, slots=(WantedSlot(key=KEY, nominal=at("00:10")),)),
        Paused(**BY, reason="r"),
        Told(**BY, number=4),
    )


def event_at(key: str, event: Any) -> Event:
    record = {**event_record(event), "key": key}
    return event_from_record(record)


def test_a_state_is_read_as_it_was_written() -> None:
    state = full()
    assert state_from_record(json.loads(canonical_bytes(state_record(state)))) == state
    assert (state.through, state.waiting_until, state.catch_up_until) == (at("00:30"), at("00:50"), at("00:50"))
    assert (state.failures_in_a_row, state.last_done_at, state.told) == (0, at("00:20"), 4)
    assert state.counts == {"claimed": 3, "failed": 1, "done": 1}
    assert state.promoted["late"].version == 3
    assert state.promoted["late"].at == BY["at"]  # not the slot's own time, which may be long ago


@pytest.mark.parametrize("path", [(), ("open", "20260101t003000z"), ("paused",), ("last",), ("promoted", "late")])
def test_a_state_with_a_key_of_a_later_release_is_refused(path: tuple[str, ...]) -> None:
    record = state_record(full())
    part = record
    for name in path:
        part = part[name]
    part["later"] = 1
    with pytest.raises(Format, match="does not know"):
        state_from_record(record)


def test_a_time_without_a_zone_is_no_event() -> None:
    naive = Told(at=datetime(2026, 1, 1), by="s", number=1)  # noqa: DTZ001
    with pytest.raises(InvalidInput, match="without a zone"):
        event_record(naive)


# What doesn't fit


def test_nothing_happens_before_a_schedule_began_and_it_begins_once() -> None:
    refuse(None, claim(), "before it has begun")
    refuse(begun(), Begun(**BY, name="s", digest="d", when="w", since=at("00:00")), "begun already")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (claim("00:10"), "is open"),
        (claim("00:20"), "has to wait"),
        (claim("00:00", cause="backfill"), "nobody asks"),
        (Skipped(**BY, count=1, first=at("00:10"), last=at("00:20"), reason="r"), "decided already"),
        (Missed(**BY, count=0, first=at("00:20"), last=at("00:20"), reason="r"), "no slots"),
        (Missed(**BY, count=1, first=at("00:30"), last=at("00:20"), reason="r"), "no slots"),
        (Queued(**BY, cause="queue", count=1, first=at("00:10"), until=at("00:20")), "decided already"),
        (Queued(**BY, cause="queue", count=1, first=at("00:30"), until=at("00:20")), "wait already"),
        (Changed(**BY, digest=schedule_digest(TWO_STEPS), when="w", since=at("00:00")), "as it was"),
        (Ended(**BY, key="k", outcome="stopped"), "isn't open"),
        (Ended(**BY, key=KEY, outcome="done"), "can't be done yet"),
        (TakenOver(**BY, key=KEY, held_by="another"), "is held by script"),
        (StepBegun(**BY, key=KEY, step=1, attempt=1), "isn't the next"),
        (StepBegun(**BY, key=KEY, step=2, attempt=1), "isn't the next"),
        (StepBegun(**BY, key=KEY, step=-1, attempt=1), "isn't the next"),
        (StepBegun(**BY, key=KEY, step=0, attempt=2), "can't begin"),
        (StepEnded(**BY, key=KEY, step=1, outcome="done"), "isn't the next"),
        (StepRetry(**BY, key=KEY, step=0, next_try_at=at("02:00"), error="e"), "isn't running"),
        (Resumed(**BY), "isn't paused"),
        (Wanted(**BY, slots=(WantedSlot(key="k", nominal=at("00:20")),)), "comes due by itself"),
        (Wanted(**BY, slots=(WantedSlot(key="k", nominal=at("00:20"), number=3),)), "comes due by itself"),
    ],
)
def test_what_does_not_fit_an_open_slot_is_refused(event: Event, message: str) -> None:
    refuse(opened(), event, message)


def test_a_slot_that_was_decided_is_never_claimed_again() -> None:
    state = after(opened(), Ended(**BY, key=KEY, outcome="stopped"))
    for time in ("00:10", "00:05", "00:00"):
        refuse(state, claim(time), "decided already")
    refuse(begun(), claim("00:10", nominal=at("00:10") - timedelta(days=1)), "decided already")
    missed = after(begun(), Missed(**BY, count=3, first=at("00:10"), last=at("00:30"), reason="r"))
    refuse(missed, claim("00:30"), "decided already")


def test_an_occasion_is_decided_once_by_its_number() -> None:
    state = after(begun(), claim(number=5, key="snapshot-5"), Ended(**BY, key="snapshot-5", outcome="stopped"))
    refuse(state, claim(number=5, key="snapshot-5"), "occasion 5")
    refuse(state, claim(number=4, key="snapshot-4"), "occasion 4")
    refuse(state, Skipped(**BY, count=1, first=at("00:10"), last=at("00:10"), reason="r", number=5), "occasion 5")
    assert after(state, claim(number=6, key="snapshot-6")).seen == 6


def test_nothing_is_claimed_in_a_pause_or_of_its_time() -> None:
    paused = after(begun(), Paused(**BY))
    refuse(paused, claim(), "is paused")
    refuse(paused, Paused(**BY), "paused already")
    resumed = after(paused, Resumed(at=at("01:00"), by="ana"))
    refuse(resumed, claim("00:50"), "decided already")
    refuse(resumed, Queued(**BY, cause="queue", count=1, first=at("00:50"), until=at("00:50")), "decided already")
    assert after(resumed, claim("01:10")).through == at("01:10")


def test_a_step_is_begun_once_and_ends_once() -> None:
    begin, end = step_done()
    running = after(opened(), begin)
    refuse(running, begin, "can't begin")
    refuse(running, Ended(**BY, key=KEY, outcome="failed"), "can't be failed yet")
    ended = after(running, end)
    refuse(ended, end, "has ended")
    refuse(ended, StepBegun(**BY, key=KEY, step=0, attempt=2), "has ended")


def test_a_failed_step_lets_no_other_begin_and_no_slot_be_done() -> None:
    failed = after(opened(), *step_done(outcome="failed", error="e"))
    refuse(failed, StepBegun(**BY, key=KEY, step=1, attempt=1), "isn't the next")
    refuse(failed, Ended(**BY, key=KEY, outcome="done"), "can't be done")
    assert after(failed, Ended(**BY, key=KEY, outcome="failed")).failures_in_a_row == 1


def test_a_slot_that_is_being_stopped_begins_nothing_and_is_stopped_once() -> None:
    stopping = after(opened(), Stopping(**BY, key=KEY, reason="r"))
    refuse(stopping, StepBegun(**BY, key=KEY, step=0, attempt=1), "can't begin")
    refuse(stopping, Stopping(**BY, key=KEY, reason="again"), "already")
    assert stopping.open[KEY].stopping is not None


def test_a_retry_keeps_what_is_known_of_the_attempt() -> None:
    begin, _ = step_done()
    state = after(opened(), begin, StepRetry(**BY, key=KEY, step=0, next_try_at=at("01:05"), error="e", anew=True))
    step = state.open[KEY].steps[0]
    assert (step.attempt, step.run, step.error, step.anew, step.is_running) == (1, "a-1", "e", True, False)
    again = after(state, StepBegun(**BY, key=KEY, step=0, attempt=2, run="a-2")).open[KEY].steps[0]
    assert (again.attempt, again.run, again.anew, again.next_try_at, again.is_running) == (2, "a-2", False, None, True)


def test_who_takes_a_slot_over_holds_it() -> None:
    state = after(opened(), TakenOver(at=at("01:00"), by="other", key=KEY, held_by="script"))
    assert state.open[KEY].holder == "other"
    refuse(state, TakenOver(at=at("01:00"), by="third", key=KEY, held_by="script"), "is held by other")


def test_a_rollback_is_a_move_as_well() -> None:
    facts = {"model": "late", "version": 2}
    state = after(opened(), *step_done(), StepEnded(**BY, key=KEY, step=1, outcome="rolled_back", facts=facts))
    moved = state.promoted["late"]
    assert (moved.version, moved.outcome, moved.at) == (2, "rolled_back", BY["at"])


def test_so_many_wishes_wait_and_no_more() -> None:
    def want(first: int, count: int) -> Wanted:
        times = [at("00:00") - timedelta(hours=hours) for hours in range(first, first + count)]
        return Wanted(**BY, slots=tuple(WantedSlot(key=f"{time:%Y%m%dt%H%M%Sz}", nominal=time) for time in times))

    state = after(begun(), want(1, MAX_WANTED - 1), want(1, 3), want(MAX_WANTED, 1))
    assert len(state.wanted) == MAX_WANTED
    refuse(state, want(MAX_WANTED, 2), "wait already, and with these it would be 1,001: 1,000 are the most")
    assert after(state, want(1, 3)) == state  # these wait already


def test_wishes_are_taken_back_by_their_keys() -> None:
    slots = tuple(WantedSlot(key=key, nominal=at("00:00") - timedelta(days=1)) for key in ("a", "b", "c"))
    state = after(begun(), Wanted(**BY, slots=slots), Unwanted(**BY, keys=("a", "c", "z")))
    assert [slot.key for slot in state.wanted] == ["b"]


@given(st.lists(st.integers(0, 50), max_size=6))
def test_what_the_audit_knows_only_grows(numbers: list[int]) -> None:
    state = begun()
    for number in numbers:
        before = state.told
        state = apply(state, Told(**BY, number=number))
        state = apply(state, Unwanted(**BY, keys=()), told=number)
        assert state.told == max(before, number)
