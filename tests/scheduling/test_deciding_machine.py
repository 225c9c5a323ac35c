"""Whatever clocks, outages, pauses and scripts do: each slot is decided once, in turn, and none is left out unjustly.

The model is a dictionary: slot number -> what became of it. Slots are ten minutes apart, so that a range of them is
plain arithmetic here, and none of the deciding code's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dataops.declarations.schedules import CatchUpAll, Schedule
from dataops.errors import Conflict
from dataops.scheduling.applying import apply
from dataops.scheduling.deciding import GRACE, decide
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
    Stopping,
    Wanted,
    WantedSlot,
    event_from_record,
    event_record,
)
from dataops.scheduling.slots import key_of
from dataops.scheduling.state import ScheduleState, state_from_record, state_record

STEP = timedelta(minutes=10)
ZERO = datetime(2026, 1, 1, tzinfo=UTC)
MOST_DECISIONS = 60


def number_of(time: datetime) -> int:
    """The slot at `time`; it has to be one."""
    number, rest = divmod(time - ZERO, STEP)
    assert rest == timedelta(0)
    return number


def last_before(time: datetime) -> int:
    return (time - ZERO) // STEP


class Deciding(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = ZERO + timedelta(seconds=30)
        self.state: ScheduleState | None = None
        self.became: dict[int, str] = {}  # claimed, skipped, missed: what came due by itself
        self.asked: dict[int, int] = {}  # how often a person's wish was claimed
        self.wishes: dict[int, int] = {}
        self.begin = 0  # the first slot that counts
        self.paused_at: datetime | None = None
        self.rests: list[tuple[datetime, datetime]] = []  # times in which it was paused
        self.version = self.times = 0

    @initialize(
        catch_up=st.sampled_from(["none", "last", "all", {"all": 2}, {"all": 5}]),
        overlap=st.sampled_from([None, "skip", "queue", "replace"]),
        deadline=st.sampled_from([None, None, "25m", "2h"]),
        jitter=st.sampled_from([None, "5m"]),
    )
    def declare(self, catch_up: Any, overlap: str | None, deadline: str | None, jitter: str | None) -> None:
        if overlap == "replace" and catch_up not in ("none", "last"):
            catch_up = "last"
        keys = {"catch_up": catch_up, "overlap": overlap, "deadline": deadline, "jitter": jitter}
        self.keys = {key: value for key, value in keys.items() if value is not None}
        self.schedule = self.declared()
        self.look()

    def declared(self, **more: Any) -> Schedule:
        every = {"every": "10m", "from": f"2026-01-{1 + self.times % 28:02d}"}
        steps = [{"job": "a", "file": f"a{self.version}.yaml"}]
        return Schedule.model_validate({"name": "s", "when": every, "steps": steps, **self.keys, **more})

    # What happens

    @rule(minutes=st.sampled_from([0, 1, 5, 9, 10, 10, 11, 20, 35, 90]), seconds=st.integers(0, 90))
    def time_goes_on(self, minutes: int, seconds: int) -> None:
        self.now += timedelta(minutes=minutes, seconds=seconds)
        self.look()

    @rule(minutes=st.sampled_from([30, 60, 24 * 60]))
    def nobody_looks_for_long(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(hours=st.sampled_from([1, 24, -1, -24]))
    def the_clock_jumps(self, hours: int) -> None:
        self.now = max(ZERO, self.now + timedelta(hours=hours))
        self.look()

    @rule(outcome=st.sampled_from(["stopped", "failed"]))
    def the_open_slot_ends(self, outcome: Any) -> None:
        assert self.state is not None
        if (own := self.state.own) is not None:
            self.append(Ended(at=self.now, by="s", key=own.key, outcome=outcome))
            self.look()

    @rule()
    def a_wish_ends(self) -> None:
        assert self.state is not None
        for key, slot in self.state.open.items():
            if slot.cause == "backfill":
                self.append(Ended(at=self.now, by="s", key=key, outcome="stopped"))
                return

    @rule(back=st.integers(-3, 60))
    def a_person_wants_a_slot(self, back: int) -> None:
        number = last_before(self.now) - back
        time = ZERO + number * STEP
        assert self.state is not None
        by_itself = number >= self.begin and (self.state.through is None or time > self.state.through)
        event = Wanted(at=self.now, by="ana", slots=(WantedSlot(key=key_of(time), nominal=time),))
        if by_itself or key_of(time) in self.state.open:
            self.refuse(event)
        else:
            if all(slot.key != key_of(time) for slot in self.state.wanted):
                self.wishes[number] = self.wishes.get(number, 0) + 1
            self.append(event)

    @precondition(lambda self: self.state is not None and self.state.paused is None)
    @rule()
    def a_person_pauses(self) -> None:
        self.append(Paused(at=self.now, by="ana"))
        self.paused_at = self.now

    @precondition(lambda self: self.paused_at is not None)
    @rule()
    def a_person_resumes(self) -> None:
        assert self.paused_at is not None
        self.append(Resumed(at=self.now, by="ana"))
        self.rests.append((self.paused_at, self.now))
        self.paused_at = None
        self.look()

    @rule()
    def its_steps_are_declared_anew(self) -> None:
        self.version += 1
        self.schedule = self.declared()
        self.look()

    @rule()
    def its_times_are_declared_anew(self) -> None:
        """Other words for the same times: what had come due by the ones of before is passed over, and no other."""
        self.times += 1
        self.schedule = self.declared()
        self.look()

    @rule()
    def a_script_that_is_behind_decides_too(self) -> None:
        """Of two that decide on one entry, the second finds that its event doesn't fit what the first one wrote."""
        first = self.ask(self.state)
        if first is None or isinstance(first, Begun):
            return
        self.take(first)
        if isinstance(first, Claimed | Skipped | Missed | Queued | Changed | Stopping):
            self.refuse(first)
        self.look()

    # A script looks

    def ask(self, state: ScheduleState | None) -> Event | None:
        return decide(self.schedule, state, [], now=self.now, script="s", side_by_side=2)

    def look(self) -> None:
        for _ in range(MOST_DECISIONS):
            event = self.ask(self.state)
            if event is None:
                break
            self.take(event)
        else:
            raise AssertionError("it goes on deciding for ever")
        self.nothing_is_left_behind()

    def append(self, event: Event) -> None:
        assert event_from_record(event_record(event)) == event
        self.state = apply(self.state, event)
        assert state_from_record(state_record(self.state)) == self.state

    def refuse(self, event: Event) -> None:
        try:
            apply(self.state, event)
        except Conflict:
            return
        raise AssertionError(f"{event} was taken")

    def take(self, event: Event) -> None:
        before = self.state
        match event:
            case Begun():
                self.begin = last_before(event.since - timedelta(microseconds=1)) + 1
            case Changed() if before is not None and event.when != before.when and not self.became:
                self.begin = last_before(event.since - timedelta(microseconds=1)) + 1
            case Claimed(cause="backfill"):
                number = number_of(event.nominal)
                self.asked[number] = self.asked.get(number, 0) + 1
            case Claimed():
                self.check_claim(event, before)
                self.became[number_of(event.nominal)] = "claimed"
            case Skipped() | Missed():
                numbers = range(number_of(event.first), number_of(event.last) + 1)
                assert event.count == len(numbers)
                for number in numbers:
                    assert number not in self.became
                    self.check_left_out(event, number, before)
                    self.became[number] = event.event
        self.append(event)

    # What has to hold

    def check_claim(self, event: Claimed, before: ScheduleState | None) -> None:
        assert before is not None
        number = number_of(event.nominal)
        assert number not in self.became
        assert all(other < number for other in self.became)
        assert before.through is None or event.nominal > before.through
        assert event.nominal <= self.now
        assert number >= self.begin
        assert before.own is None
        assert before.paused is None
        if (within := self.schedule.within) is not None:
            assert self.now <= event.nominal + within
        if event.cause == "due":
            assert self.now - event.nominal <= GRACE
        if self.schedule.catch_up == "none" and event.cause != "queue":
            assert self.now - event.nominal <= GRACE

    def check_left_out(self, event: Skipped | Missed, number: int, before: ScheduleState | None) -> None:
        """Only what a rule of the declaration says is left out."""
        assert before is not None
        time, last = ZERO + number * STEP, last_before(self.now)
        assert self.begin <= number <= last
        catch_up, within = self.schedule.catch_up, self.schedule.within
        is_late = self.now - time > GRACE
        rested = any(time <= end or self.waited(time, end) for _, end in self.rests)
        if "declared anew" in event.reason:
            assert self.schedule.digests[1] != before.when
            assert isinstance(event, Skipped) or is_late
        elif event.reason == "it was paused":
            assert rested or (before.paused is not None and self.schedule.digests[1] != before.when)
        elif "deadline" in event.reason:
            assert within is not None
            assert self.now > time + within
        elif isinstance(event, Skipped):
            overlap = self.schedule.overlapping
            newer = number < last
            assert (overlap == "skip" and before.own is not None and not is_late) or newer
            assert overlap == "replace" or not is_late
        else:
            assert is_late or before.waiting_until is not None
            if catch_up == "last":
                assert number < last
            elif isinstance(catch_up, CatchUpAll):
                assert last - number >= catch_up.all
            else:
                assert catch_up == "none"

    def waited(self, time: datetime, end: datetime) -> bool:
        """Waiting slots are dropped by a pause, also where the clock was put back before it ended."""
        assert self.state is not None
        return self.state.resumed_at is not None and time <= self.state.resumed_at

    def nothing_is_left_behind(self) -> None:
        """After a look, all that is due was decided, or waits while another is open."""
        state = self.state
        assert state is not None
        if state.paused is not None:
            return
        waiting = -1 if state.waiting_until is None else number_of(state.waiting_until)
        decided = max(self.became, default=self.begin - 1)
        for number in range(self.begin, last_before(self.now) + 1):
            if number > decided:
                assert number <= waiting
                assert state.own is not None
        for number in range(self.begin, decided + 1):
            assert number in self.became

    @invariant()
    def one_slot_of_its_own_is_open(self) -> None:
        if self.state is None:
            return
        own = [slot for slot in self.state.open.values() if slot.cause != "backfill"]
        assert len(own) <= 1
        assert len(self.state.open) - len(own) <= 2

    @invariant()
    def no_wish_is_claimed_more_often_than_it_was_made(self) -> None:
        assert all(count <= self.wishes.get(number, 0) for number, count in self.asked.items())

    @invariant()
    def the_counts_are_those_of_the_model(self) -> None:
        if self.state is None:
            return
        counts: Mapping[str, int] = self.state.counts
        found = list(self.became.values())
        assert counts.get("claimed", 0) == found.count("claimed") + sum(self.asked.values())
        assert counts.get("skipped", 0) == found.count("skipped")
        assert counts.get("missed", 0) == found.count("missed")


TestDeciding = Deciding.TestCase
TestDeciding.settings = settings(stateful_step_count=40)
