"""What an open slot waits for: its steps in turn, retries, jitter, its deadline and its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dataops.declarations.times import parse_duration
from dataops.runs.ledger import job_of
from dataops.scheduling.events import Ended, StepBegun, StepEnded, StepRetry, Stopping, Wanted, WantedSlot
from dataops.scheduling.state import OpenSlot
from dataops.scheduling.stepping import (
    BeginStep,
    EndSlot,
    Running,
    StepDecision,
    StopSlot,
    StopStep,
    WaitUntil,
    after_attempt,
    next_step,
)
from tests.scheduling.scheduled import Script, at, minutes

STEPS = [{"job": "a", "file": "jobs/a.yaml"}, {"promote": "late"}]


class Slot:
    """A slot claimed at 00:10, whose steps are begun and ended by hand."""

    def __init__(self, **keys: Any) -> None:
        self.script = Script("00:05", steps=STEPS, **keys)
        self.script.look("00:10")

    @property
    def slot(self) -> OpenSlot:
        return self.script.slot

    def asks(self, now: str) -> StepDecision:
        return next_step(self.slot, now=at(now))

    def begin(self, now: str) -> BeginStep:
        step = self.asks(now)
        assert isinstance(step, BeginStep), step
        self.append(StepBegun, now, step=step.step, attempt=step.attempt, run=step.run)
        return step

    def append(self, kind: Any, now: str, **fields: Any) -> None:
        self.script.append(kind(at=at(now), by="script", key=self.slot.key, **fields))

    def fails(self, now: str, *, may_pass: bool = True, anew: bool = False) -> StepRetry | StepEnded:
        number = next(place for place, step in enumerate(self.slot.steps) if step.is_running)
        event = after_attempt(
            self.slot, step=number, error="no disk", may_pass=may_pass, now=at(now), by="script", anew=anew
        )
        self.script.append(event)
        return event


def test_steps_come_in_turn_and_their_end_is_the_slot_s() -> None:
    slot = Slot()
    first = slot.begin("00:10")
    assert (first.step, first.attempt, job_of(first.run)) == (0, 1, "a")
    assert slot.asks("00:11") == Running(step=0, attempt=1, run=first.run)
    slot.append(StepEnded, "00:12", step=0, outcome="unchanged")
    second = slot.begin("00:12")
    assert (second.step, job_of(second.run)) == (1, "promote")
    slot.append(StepEnded, "00:13", step=1, outcome="refused")
    assert slot.asks("00:13") == EndSlot(outcome="done", reason="")


def test_a_step_that_failed_ends_the_slot_and_says_which() -> None:
    slot = Slot()
    slot.begin("00:10")
    assert slot.fails("00:11").event == "step_ended"
    assert slot.asks("00:11") == EndSlot(outcome="failed", reason="step 1 (a) failed: no disk")


def test_a_step_that_was_stopped_ends_the_slot_as_stopped() -> None:
    slot = Slot()
    slot.begin("00:10")
    slot.append(StepEnded, "00:11", step=0, outcome="stopped")
    assert slot.asks("00:11") == EndSlot(outcome="stopped", reason="step 1 (a) stopped")


def test_the_same_slot_has_the_same_runs_whoever_does_it() -> None:
    assert Slot().begin("00:10") == Slot().begin("00:10:30")


def test_a_retry_goes_on_with_its_run_after_waits_that_double_up_to_a_most() -> None:
    slot = Slot(retries={"times": 4, "wait": "1m", "at_most": "3m"})
    first = slot.begin("00:10")
    waits = []
    for attempt, now in enumerate(["00:11", "00:13", "00:16", "00:20"], start=1):
        event = slot.fails(now)
        assert isinstance(event, StepRetry)
        waits.append((event.next_try_at - at(now)) / minutes(1))
        assert slot.asks(now) == WaitUntil(at=event.next_try_at, reason="another attempt")
        again = slot.asks(event.next_try_at.strftime("%H:%M"))
        assert again == BeginStep(step=0, attempt=attempt + 1, run=first.run)
        slot.begin(event.next_try_at.strftime("%H:%M"))
    assert waits == [1, 2, 3, 3]
    assert slot.fails("00:30").event == "step_ended"


@pytest.mark.parametrize(
    ("wait", "at_most", "last"),
    [
        ("1d", "1d", "1d"),
        ("36500d", "36500d", "36500d"),
        ("1s", "36500d", "36500d"),
        ("2h", "1h", "1h"),
        ("1s", "3m", "180s"),
    ],
)
def test_a_wait_that_doubled_a_hundred_times_is_the_longest(wait: str, at_most: str, last: str) -> None:
    slot = Slot(retries={"times": 100, "wait": wait, "at_most": at_most})
    slot.begin("00:10")
    waits = []
    for attempt in range(1, 101):
        step = replace(slot.slot.steps[0], attempt=attempt)
        failed = replace(slot.slot, steps=(step, *slot.slot.steps[1:]))
        event = after_attempt(failed, step=0, error="no disk", may_pass=True, now=at("00:11"), by="script")
        assert isinstance(event, StepRetry)
        waits.append(event.next_try_at - at("00:11"))
    assert waits[-1] == parse_duration(last)
    assert waits == sorted(waits)
    assert waits[0] == min(parse_duration(wait), parse_duration(at_most))


def test_a_run_that_can_not_be_resumed_is_followed_by_another() -> None:
    slot = Slot(retries={"times": 2})
    first = slot.begin("00:10")
    slot.fails("00:11", anew=True)
    second = slot.begin("00:12")
    assert second.run != first.run
    slot.fails("00:13")
    assert slot.begin("00:15").run == second.run


def test_what_can_not_pass_is_not_tried_again() -> None:
    slot = Slot(retries={"times": 2})
    slot.begin("00:10")
    assert slot.fails("00:11", may_pass=False).event == "step_ended"


def test_no_retry_comes_after_the_deadline_or_when_the_slot_is_being_stopped() -> None:
    slot = Slot(retries={"times": 9, "wait": "10m"}, deadline="5m")
    slot.begin("00:10")
    assert slot.fails("00:11").event == "step_ended"
    other = Slot(retries={"times": 9})
    other.begin("00:10")
    other.append(Stopping, "00:11", reason="r")
    assert other.fails("00:11").event == "step_ended"


def test_a_wait_is_over_when_the_clock_went_back_behind_its_beginning() -> None:
    slot = Slot(retries={"times": 2, "wait": "30m"}, jitter="30m")
    early = at("00:10") + (slot.slot.not_before - at("00:10")) / 2
    assert next_step(slot.slot, now=early) == WaitUntil(at=slot.slot.not_before, reason="jitter")
    assert isinstance(slot.asks("00:09"), BeginStep)
    slot.begin("00:50")
    slot.fails("00:51")
    assert isinstance(slot.asks("00:52"), WaitUntil)
    assert isinstance(slot.asks("00:30"), BeginStep)


def test_jitter_holds_the_first_step_back_and_no_other() -> None:
    slot = Slot(jitter="30m")
    assert isinstance(slot.asks("00:10"), WaitUntil)
    slot.append(StepEnded, "00:10", step=0, outcome="skipped")
    assert isinstance(slot.asks("00:10"), BeginStep)


def test_a_slot_that_began_nothing_by_its_deadline_is_missed() -> None:
    slot = Slot(deadline="20m")
    assert isinstance(slot.asks("00:30"), BeginStep)
    assert slot.asks("00:30:01") == EndSlot(outcome="missed", reason="its deadline of 20m passed")


def test_a_slot_that_runs_beyond_its_deadline_is_stopped_and_failed() -> None:
    slot = Slot(deadline="20m")
    slot.begin("00:10")
    assert slot.asks("00:31") == StopSlot(reason="its deadline of 20m passed", outcome="failed")
    slot.append(Stopping, "00:31", reason="its deadline of 20m passed", outcome="failed")
    assert slot.asks("00:31") == StopStep(step=0, reason="its deadline of 20m passed")
    slot.append(StepEnded, "00:32", step=0, outcome="stopped")
    assert slot.asks("00:32") == EndSlot(outcome="failed", reason="its deadline of 20m passed")


def test_between_two_steps_the_deadline_fails_the_slot_at_once() -> None:
    slot = Slot(deadline="20m")
    slot.begin("00:10")
    slot.append(StepEnded, "00:20", step=0, outcome="done")
    assert slot.asks("00:31") == EndSlot(outcome="failed", reason="its deadline of 20m passed")


def test_a_slot_whose_last_step_ended_is_done_also_after_its_deadline() -> None:
    slot = Slot(deadline="20m")
    for number in (0, 1):
        slot.append(StepEnded, "00:20", step=number, outcome="skipped")
    assert slot.asks("05:00") == EndSlot(outcome="done", reason="")


def test_what_people_ask_for_has_no_deadline() -> None:
    script = Script("05 00:05", steps=STEPS, deadline="20m")
    script.append(Wanted(at=script.now, by="ana", slots=(WantedSlot(key="k", nominal=at("00:10")),)))
    script.look("05 00:06")
    assert isinstance(next_step(script.slot, now=script.now), BeginStep)


@pytest.mark.parametrize("begun", [False, True])
def test_a_slot_that_is_stopped_ends_with_the_reason(begun: bool) -> None:
    slot = Slot()
    if begun:
        slot.begin("00:10")
        slot.append(StepEnded, "00:11", step=0, outcome="done")
    slot.append(Stopping, "00:12", reason="ana said so")
    assert slot.asks("00:12") == EndSlot(outcome="stopped", reason="ana said so")
    slot.append(Ended, "00:12", outcome="stopped", reason="ana said so")
    assert slot.script.last.reason == "ana said so"
