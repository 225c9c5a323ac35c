"""Whatever happens, and whenever a script looks: each occasion is decided once, in turn, and the newest is not lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.declarations.schedules import CatchUpAll
from dataops.errors import Conflict
from dataops.scheduling.applying import apply
from dataops.scheduling.decided import MAX_NOTED, seen
from dataops.scheduling.events import Claimed, Missed, Paused, Resumed, Skipped, Stopping
from dataops.scheduling.slots import Occasion, number_at
from tests.scheduling.scheduled import Script, at

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("happens"), st.integers(-300, 5)),
        st.tuples(st.just("time"), st.sampled_from([0, 10, 700, 4000, -3600])),
        st.tuples(st.just("look"), st.just(0)),
        st.tuples(st.just("end"), st.just(0)),
        st.tuples(st.just("pause"), st.just(0)),
        st.tuples(st.just("resume"), st.just(0)),
    ),
    max_size=40,
)


@given(
    actions=ACTIONS,
    catch_up=st.sampled_from(["last", "all", {"all": 2}]),
    overlap=st.sampled_from([None, "skip", "replace"]),
    deadline=st.sampled_from([None, "10m"]),
)
def test_each_occasion_is_decided_once_and_in_turn(
    actions: list[tuple[str, int]], catch_up: Any, overlap: str | None, deadline: str | None
) -> None:
    keys = {"overlap": overlap, "deadline": deadline}
    if overlap == "replace":
        catch_up = "last"
    set_keys = {key: value for key, value in keys.items() if value is not None}
    script = Script("05 00:00", when={"snapshot": "flights"}, catch_up=catch_up, **set_keys)
    became: dict[int, str] = {}
    for what, number in [*actions, ("resume", 0), ("look", 0), ("end", 0), ("look", 0)]:
        act(script, what, number, became)
    newest = max((one.number for one in fireable(script)), default=0)
    undecided = [one.number for one in fireable(script) if one.number not in became]
    assert undecided == [] or (catch_up != "last" and script.own is not None)
    assert sorted(became) == list(became)
    if newest and became[max(became)] == "missed":
        assert deadline is not None


def fireable(script: Script) -> list[Occasion]:
    return [one for one in script.occasions if one.at >= at("05 00:00")]


def act(script: Script, what: str, number: int, became: dict[int, str]) -> None:
    assert script.state is not None
    match what:
        case "happens":
            moment = script.now + timedelta(seconds=number)
            following = len(script.occasions) + 1
            script.occasions.append(Occasion(key=f"snapshot-{following}", at=moment, number=following))
        case "time":
            script.now += timedelta(seconds=number)
        case "end" if script.state.own is not None:
            script.end()
        case "pause" if script.state.paused is None:
            script.append(Paused(at=script.now, by="ana"))
        case "resume" if script.state.paused is not None:
            script.append(Resumed(at=script.now, by="ana"))
        case "look":
            look(script, became)


def look(script: Script, became: dict[int, str]) -> None:
    while (event := script.decide()) is not None:
        before = script.state
        assert before is not None
        match event:
            case Claimed():
                assert event.number is not None
                assert event.number not in became
                assert before.own is None
                assert before.paused is None
                assert event.key == f"snapshot-{event.number}"
                became[event.number] = "claimed"
            case Skipped() | Missed():
                assert event.number is not None
                passed = [one for one in fireable(script) if (before.seen or 0) < one.number <= event.number]
                assert event.count == len(passed)
                newer = [one for one in fireable(script) if one.number > event.number]
                check_left_out(script, event, passed, newer)
                became.update({one.number: event.event for one in passed})
            case _:
                assert isinstance(event, Stopping)
        script.state = apply(before, event)


def check_left_out(script: Script, event: Skipped | Missed, passed: list[Occasion], newer: list[Occasion]) -> None:
    """Only what a rule says is left out."""
    limit = script.schedule.catch_up
    if event.reason == "it was paused":
        assert all(one.at <= script.resumed_at for one in passed)
    elif "deadline" in event.reason:
        assert all(one.at + timedelta(minutes=10) < script.now for one in passed)
    elif isinstance(event, Missed):
        assert isinstance(limit, CatchUpAll)
        assert len(newer) >= limit.all
    elif "is open" in event.reason:
        assert script.schedule.overlapping == "skip"
        assert script.own is not None
    else:
        assert newer


# Occasions that are numbered by times


CLAIM: dict[str, Any] = {
    "at": at("04 00:00"),
    "by": "script",
    "key": "drift-x",
    "nominal": at("00:10"),
    "cause": "occasion",
    "digest": "sha256:1",
    "declaration": {"name": "s", "steps": [{}]},
    "not_before": at("00:10"),
}


def drift(time: str) -> Occasion:
    """A run that drifted, done at that time by the clock of its machine."""
    return Occasion(key=f"drift-{time}", at=at(time), number=number_at(at(time)), by_time=True)


def drifting(**keys: Any) -> Script:
    return Script("00:00", when={"drift": {"job": "scores", "psi": 0.2}}, **keys)


def test_drift_that_a_slower_clock_dates_earlier_is_seen_though_it_is_recorded_later() -> None:
    script = drifting(catch_up="all")
    script.occasions = [drift("00:12")]  # of a machine whose clock is two minutes ahead
    assert script.look("00:10") == ["claimed drift-00:12 occasion"]
    script.occasions.append(drift("00:11"))
    assert script.look("00:11") == []
    script.end()
    assert script.look("00:11") == ["claimed drift-00:11 occasion"]
    script.end()
    assert script.look("00:30") == []
    assert script.state is not None
    assert script.state.beyond == (number_at(at("00:11")), number_at(at("00:12")))


def test_drift_that_was_passed_over_does_not_come_again() -> None:
    script = drifting()
    script.occasions = [drift("00:12"), drift("00:11"), drift("00:13")]
    assert script.look("00:20") == [f"skipped up to {number_at(at('00:12'))} (2)", "claimed drift-00:13 occasion"]
    script.end()
    assert script.look("00:21") == []
    with pytest.raises(Conflict, match="decided already"):
        script.append(Claimed(**CLAIM, number=number_at(at("00:11")), numbers=(number_at(at("00:11")),)))


def test_what_is_older_than_a_day_is_decided_all_together_and_no_clock_that_is_ahead_moves_that() -> None:
    script = drifting(catch_up="all")
    for time in ("00:12", "03 00:20", "31 00:00"):
        script.occasions.append(drift(time))
        script.look("03 00:30")
        script.end()
    assert script.state is not None
    assert script.state.seen == number_at(at("02 00:30"))
    assert script.state.beyond == (number_at(at("03 00:20")), number_at(at("31 00:00")))
    script.occasions.append(drift("02 00:29"))
    assert script.look("03 00:31") == []
    script.occasions.append(drift("02 00:31"))
    assert script.look("03 00:31") == ["claimed drift-02 00:31 occasion"]


def test_no_more_than_some_are_noted_by_themselves() -> None:
    state = drifting().state
    assert state is not None
    for place in range(MAX_NOTED + 2):
        number = number_at(at("00:10")) + place
        state = seen(state, Claimed(**CLAIM, number=number, numbers=(number,)))
    assert len(state.beyond) == MAX_NOTED
    assert state.seen == number_at(at("00:10")) + 1
