"""Each rule of deciding by an example: what a script says of a schedule at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from dataops.errors import Conflict
from dataops.scheduling.applying import apply
from dataops.scheduling.cron import clock_slots
from dataops.scheduling.deciding import decide
from dataops.scheduling.events import Claimed, Ended, Missed, Paused, Resumed, Skipped, Wanted, WantedSlot
from dataops.scheduling.slots import jitter_seconds, key_of
from tests.scheduling.scheduled import Script, at, minutes, schedule

# The clock


def test_a_slot_in_time_is_claimed_and_nothing_else_is_said() -> None:
    script = Script("00:05")
    assert script.look("00:09:59") == []
    assert script.look("00:10") == ["claimed 00:10 due"]
    assert (script.slot.key, script.slot.holder, len(script.slot.steps)) == ("20260101t001000z", "script", 1)
    assert script.look("00:10:30") == []


def test_a_schedule_counts_from_when_it_was_first_seen_or_from_its_start() -> None:
    assert Script("00:30").look("00:35") == []
    past = Script("00:35", start="2026-01-01T00:00:00Z", catch_up="all")
    assert past.look("00:35") == []
    assert past.slot.key == "20260101t000000z"
    later = Script("00:05", start="2026-01-01T00:30:00Z", end="2026-01-01T00:40:00Z")
    assert later.look("00:20") == []
    assert later.look("00:30") == ["claimed 00:30 due"]
    later.end()
    assert later.look("00:40") == ["claimed 00:40 due"]
    later.end()
    assert later.look("00:50") == []


@pytest.mark.parametrize(
    ("catch_up", "said"),
    [
        ("none", ["missed 00:10-00:50 (5)", "claimed 01:00 due"]),
        ("last", ["missed 00:10-00:50 (5)", "claimed 01:00 due"]),
        ("all", ["queued 00:10-01:00 (6) catch_up", "claimed 00:10 catch_up"]),
        ({"all": 2}, ["missed 00:10-00:40 (4)", "queued 00:50-01:00 (2) catch_up", "claimed 00:50 catch_up"]),
        ({"all": 10}, ["queued 00:10-01:00 (6) catch_up", "claimed 00:10 catch_up"]),
    ],
)
def test_what_becomes_of_slots_after_an_outage(catch_up: Any, said: list[str]) -> None:
    assert Script("00:05", catch_up=catch_up).look("01:00:30") == said


@pytest.mark.parametrize(
    ("catch_up", "said"),
    [("none", ["missed 00:10-01:00 (6)"]), ("last", ["missed 00:10-00:50 (5)", "claimed 01:00 catch_up"])],
)
def test_the_newest_slot_may_be_late_as_well(catch_up: str, said: list[str]) -> None:
    assert Script("00:05", catch_up=catch_up).look("01:05") == said


def test_all_are_caught_up_on_one_after_another_and_what_comes_due_meanwhile_waits_behind_them() -> None:
    script = Script("00:05", catch_up="all")
    assert script.look("00:35") == ["queued 00:10-00:30 (3) catch_up", "claimed 00:10 catch_up"]
    assert script.look("00:40") == ["queued 00:40-00:40 (1) queue"]
    causes = []
    for _ in range(3):
        script.end()
        causes += script.look("00:41")
    assert causes == ["claimed 00:20 catch_up", "claimed 00:30 catch_up", "claimed 00:40 queue"]
    script.end()
    assert (script.look("00:42"), script.waiting_until) == ([], None)


def test_the_first_of_many_slots_that_wait_is_found_without_a_look_at_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script("2026-01-01T00:00:30", when={"cron": "* * * * *"}, overlap="queue", catch_up="all")
    script.look("2026-01-08T00:00")
    assert (script.slot.key, script.waiting_until) == ("20260101t000100z", at("08 00:00"))
    script.end()
    looked_at: list[datetime] = []

    def spied(*args: Any, **options: Any) -> Iterator[datetime]:
        for slot in clock_slots(*args, **options):
            looked_at.append(slot)
            yield slot

    monkeypatch.setattr("dataops.scheduling.asked.clock_slots", spied)
    script.now = at("08 00:00:10")
    claim = script.decide()
    assert isinstance(claim, Claimed)
    assert claim.key == "20260101t000200z"
    assert len(looked_at) == 1


def test_a_script_that_looks_seldom_is_late_later() -> None:
    assert Script("00:05", catch_up="none").look("00:13", grace=minutes(5)) == ["claimed 00:10 due"]
    assert Script("00:05", catch_up="none").look("00:13") == ["missed 00:10-00:10 (1)"]


@pytest.mark.parametrize(
    ("overlap", "said"),
    [("skip", ["skipped 00:20-00:20 (1)"]), ("queue", ["queued 00:20-00:20 (1) queue"])],
)
def test_a_slot_in_time_that_finds_another_open(overlap: str, said: list[str]) -> None:
    script = Script("00:05", overlap=overlap)
    script.look("00:10")
    assert script.look("00:20") == said
    script.end()
    after = script.look("00:20:30")
    assert after == ([] if overlap == "skip" else ["claimed 00:20 queue"])


def test_a_late_slot_that_finds_another_open_waits_also_where_overlap_is_skip() -> None:
    script = Script("00:05")
    script.look("00:10")
    assert script.look("00:45") == ["missed 00:20-00:30 (2)", "queued 00:40-00:40 (1) catch_up"]
    script.end()
    assert script.look("00:46") == ["claimed 00:40 catch_up"]


def test_replace_stops_the_open_slot_and_takes_the_newest() -> None:
    script = Script("00:05", overlap="replace")
    script.look("00:10")
    assert script.look("00:20") == ["queued 00:20-00:20 (1) queue", "stopping"]
    assert script.slot.stopping is not None
    assert script.look("00:30") == ["skipped 00:20-00:20 (1)", "queued 00:30-00:30 (1) queue"]
    script.end()
    assert script.look("00:31") == ["claimed 00:30 queue"]


def test_beyond_its_deadline_no_slot_is_claimed() -> None:
    script = Script("00:05", deadline="25m", catch_up="all")
    assert script.look("01:00")[:2] == ["missed 00:10-00:30 (3)", "queued 00:40-01:00 (3) catch_up"]
    script.look("01:06")
    script.end()
    assert script.look("01:16") == [
        "missed 00:50-00:50 (1)",
        "claimed 01:00 catch_up",
        "queued 01:10-01:10 (1) catch_up",
    ]


def test_a_clock_that_is_put_back_brings_nothing_again() -> None:
    script = Script("05 12:05")
    script.look("05 12:10")
    script.end()
    for back in ("05 11:10", "04 12:10", "05 12:00", "05 12:10"):
        assert script.look(back) == []
    assert script.look("05 12:20") == ["claimed 12:20 due"]


def test_a_clock_that_is_put_forward_makes_slots_late_and_back_again_brings_none_of_them() -> None:
    script = Script("05 12:05")
    assert script.look("06 12:05") == ["missed 12:10-11:50 (143)", "claimed 12:00 catch_up"]
    script.end()
    assert script.look("05 12:20") == []
    assert script.look("06 11:50") == []
    assert script.look("06 12:10") == ["claimed 12:10 due"]


def test_every_claim_says_what_its_slot_does() -> None:
    script = Script("00:05", jitter="5m")
    script.now = at("00:10:20")
    claim = script.decide()
    assert isinstance(claim, Claimed)
    assert claim.declaration["steps"][0]["job"] == "a"
    assert claim.digest == script.digest
    assert claim.not_before == at("00:10") + minutes(jitter_seconds(script.schedule, claim.key) / 60)


def test_slots_are_skipped_and_missed_with_a_reason() -> None:
    script = Script("00:05")
    script.now = at("00:35")
    missed = script.decide()
    assert isinstance(missed, Missed)
    assert missed.reason == "it came due with nobody there; catch_up is last"
    script.look("00:35")
    script.now = at("00:40")
    skipped = script.decide()
    assert isinstance(skipped, Skipped)
    assert skipped.reason == "slot 20260101t003000z is open"


# Pauses


def test_what_comes_due_in_a_pause_or_waited_then_never_comes() -> None:
    script = Script("00:05", catch_up="all")
    script.look("00:35")
    script.append(Paused(at=script.now, by="ana", reason="the disk is full"))
    script.end()
    assert script.look("01:05") == []
    assert (script.paused.by, script.paused.reason) == ("ana", "the disk is full")
    script.append(Resumed(at=script.now, by="ana"))
    assert script.look("01:05") == ["skipped 00:20-01:00 (5)"]
    assert script.look("01:10") == ["claimed 01:10 due"]


def test_a_file_that_says_paused_pauses_until_it_no_longer_does() -> None:
    script = Script("00:05")
    script.schedule = schedule(paused=True)
    assert script.look("00:06") == ["paused"]
    assert script.paused.declared
    assert script.look("00:30") == []
    script.schedule = schedule()
    assert script.look("00:35") == ["resumed", "skipped 00:10-00:30 (3)"]


def test_a_file_does_not_resume_what_a_person_paused() -> None:
    script = Script("00:05")
    script.append(Paused(at=script.now, by="ana"))
    assert script.look("00:30") == []
    assert script.paused.by == "ana"


def test_a_paused_schedule_goes_on_with_its_open_slot_and_claims_no_wish() -> None:
    script = Script("00:05")
    script.look("00:10")
    script.append(Paused(at=script.now, by="ana"))
    script.append(Wanted(at=script.now, by="ana", slots=(WantedSlot(key="k", nominal=at("00:00")),)))
    assert script.look("00:20") == []
    assert list(script.open) == ["20260101t001000z"]
    script.append(Resumed(at=script.now, by="ana"))
    assert script.look("00:21") == ["skipped 00:20-00:20 (1)", "claimed 00:00 backfill"]


# Declared anew


def test_other_steps_leave_the_times_as_they_are() -> None:
    script = Script("00:05")
    script.look("00:10")
    before = script.slot.declaration
    script.schedule = schedule(steps=[{"job": "b", "file": "jobs/b.yaml"}])
    assert script.look("00:11") == ["changed"]
    assert script.slot.declaration == before
    script.end()
    assert script.look("00:20") == ["claimed 00:20 due"]
    assert script.slot.declaration["steps"][0]["job"] == "b"


EVERY_3 = {"every": "3m"}


def test_other_times_count_from_when_they_were_seen_and_what_waited_is_left_out() -> None:
    script = Script("00:05", overlap="queue")
    script.look("00:10")
    assert script.look("00:20") == ["queued 00:20-00:20 (1) queue"]
    script.schedule = schedule(when=EVERY_3, overlap="queue")
    assert script.look("00:25") == ["skipped 00:20-00:20 (1)", "changed"]
    assert (script.waiting_until, script.counts["skipped"]) == (None, 1)
    script.end()
    assert script.look("00:27") == ["claimed 00:27 due"]


def test_slots_that_came_due_with_nobody_there_before_their_times_were_declared_anew_are_missed_on_record() -> None:
    script = Script("00:05", catch_up="all")
    script.schedule = schedule(when=EVERY_3, catch_up="all")
    script.now = at("00:40:10")
    missed = script.decide()
    assert isinstance(missed, Missed)
    assert (missed.count, missed.first, missed.last) == (3, at("00:10"), at("00:30"))
    assert missed.reason == "it came due with nobody there, and its times were declared anew since"
    assert script.look("00:40:10") == ["missed 00:10-00:30 (3)", "skipped 00:40-00:40 (1)", "changed"]
    assert script.last.outcome == "missed"
    assert script.look("00:42") == ["claimed 00:42 due"]


def test_what_came_due_in_a_pause_before_its_times_were_declared_anew_was_paused() -> None:
    script = Script("00:05")
    script.append(Paused(at=at("00:06"), by="ana"))
    script.schedule = schedule(when={"snapshot": "flights"})
    script.now = at("00:25")
    skipped = script.decide()
    assert isinstance(skipped, Skipped)
    assert (skipped.count, skipped.reason) == (2, "it was paused")
    assert script.look("00:25") == ["skipped 00:10-00:20 (2)", "changed"]


def test_times_of_the_state_are_those_of_the_last_declaration() -> None:
    script = Script("00:05", end="2026-01-01T00:10:00Z")
    script.schedule = schedule(end="2026-01-01T00:20:00Z")
    assert script.look("00:06") == ["changed"]
    script.schedule = schedule(when=EVERY_3, end="2026-01-01T00:20:00Z")
    assert script.look("00:45") == ["missed 00:10-00:20 (2)", "changed"]
    assert script.look("00:50") == []


def test_a_state_of_an_older_release_knows_its_times_by_its_open_slot_or_not_at_all() -> None:
    script = Script("00:05", overlap="queue")
    script.look("00:10")
    script.look("00:20")
    script.state = replace(script.state, times=None)
    script.schedule = schedule(when=EVERY_3, overlap="queue")
    assert script.look("00:25") == ["skipped 00:20-00:20 (1)", "changed"]
    lost = Script("00:05")
    lost.state = replace(lost.state, times=None)
    lost.schedule = schedule(when=EVERY_3)
    assert lost.look("00:25") == ["changed"]


def test_occasions_that_waited_are_left_out_on_record_when_another_is_declared() -> None:
    script = Script("00:00", when={"snapshot": "flights"}, catch_up="all")
    script.happens(1, "00:10")
    script.look("00:11")
    script.happens(2, "00:12")
    script.happens(3, "00:13")
    assert script.look("00:14") == []
    script.schedule = schedule(when={"snapshot": "letters"}, catch_up="all")
    assert script.look("00:20") == ["skipped up to 3 (2)", "changed"]


def test_who_owns_a_schedule_and_whom_its_failures_are_told_is_no_change() -> None:
    script = Script("00:05")
    script.schedule = schedule(
        owner="ana", promise="1d", on_failure={"webhook": "https://example.org/x"}, catch_up="last"
    )
    assert script.look("00:06") == []


# Occasions


def occasions(begin: str = "00:00", **keys: Any) -> Script:
    return Script(begin, when={"snapshot": "flights"}, **keys)


def test_an_occasion_is_claimed_with_its_facts_however_late() -> None:
    script = occasions()
    script.happens(17, "00:05")
    assert script.look("09:00") == ["claimed snapshot-17 occasion"]
    assert (script.slot.key, script.slot.number, script.slot.facts) == ("snapshot-17", 17, {"n": 17})
    assert script.slot.nominal == at("00:05")
    script.end()
    assert script.look("09:01") == []


def test_what_happened_before_a_schedule_was_seen_asks_for_nothing() -> None:
    script = occasions("06:00")
    script.happens(1, "05:00")
    assert script.look("06:01") == []
    script.happens(2, "06:02")
    assert script.look("06:03") == ["claimed snapshot-2 occasion"]
    started = Script("06:00", when={"snapshot": "flights"}, start="2026-01-01T04:00:00Z")
    started.happens(1, "03:00")
    started.happens(2, "05:00")
    assert started.look("06:00") == ["claimed snapshot-2 occasion"]


def test_of_occasions_that_wait_the_newest_stands_for_all() -> None:
    script = occasions()
    for number in (1, 2, 3):
        script.happens(number, f"00:0{number}")
    assert script.look("00:05") == ["skipped up to 2 (2)", "claimed snapshot-3 occasion"]


def test_or_each_is_claimed_in_turn() -> None:
    script = occasions(catch_up={"all": 2})
    for number in (1, 2, 3):
        script.happens(number, f"00:0{number}")
    assert script.look("00:05") == ["missed up to 1 (1)", "claimed snapshot-2 occasion"]
    assert script.look("00:06") == []
    script.end()
    assert script.look("00:07") == ["claimed snapshot-3 occasion"]


def test_an_occasion_waits_for_the_open_slot_unless_it_is_told_not_to() -> None:
    waiting, skipping, replacing = occasions(), occasions(overlap="skip"), occasions(overlap="replace")
    for script in (waiting, skipping, replacing):
        script.happens(1, "00:01")
        script.look("00:01")
        script.happens(2, "00:02")
        script.happens(3, "00:03")
    assert waiting.look("00:04") == []
    assert skipping.look("00:04") == ["skipped up to 3 (2)"]
    assert replacing.look("00:04") == ["skipped up to 2 (1)", "stopping"]
    for script in (waiting, replacing):
        script.end()
    assert waiting.look("00:05") == ["skipped up to 2 (1)", "claimed snapshot-3 occasion"]
    assert replacing.look("00:05") == ["claimed snapshot-3 occasion"]


def test_occasions_know_pauses_deadlines_and_ends() -> None:
    script = occasions(deadline="10m", end="2026-01-01T02:00:00Z")
    script.append(Paused(at=at("00:01"), by="ana"))
    script.happens(1, "00:02")
    assert script.look("00:03") == []
    script.append(Resumed(at=at("00:04"), by="ana"))
    assert script.look("00:05") == ["skipped up to 1 (1)"]
    script.happens(2, "00:06")
    assert script.look("00:17") == ["missed up to 2 (1)"]
    script.happens(3, "02:01")
    assert script.look("02:02") == []


def test_an_occasion_of_another_machine_s_clock_may_lie_ahead() -> None:
    script = occasions()
    script.happens(1, "00:10")
    assert script.look("00:05") == ["claimed snapshot-1 occasion"]
    assert script.slot.not_before == at("00:05")


# What people ask for


def want(script: Script, *times: str, **more: Any) -> None:
    slots = tuple(WantedSlot(key=key_of(at(time)), nominal=at(time), **more) for time in times)
    script.append(Wanted(at=script.now, by="ana", slots=slots))


def test_wishes_come_beside_the_schedule_s_own_slot_so_many_side_by_side() -> None:
    script = Script("05 00:05", deadline="1h")
    want(script, "00:00", "00:10", "00:20", hindsight="model of May", again=2)
    assert script.look("05 00:10", side_by_side=2) == [
        "claimed 00:10 due",
        "claimed 00:00 backfill",
        "claimed 00:10 backfill",
    ]
    assert script.look("05 00:11", side_by_side=2) == []
    slot = script.open["20260101t000000z"]
    assert (slot.hindsight, slot.again, slot.cause) == ("model of May", 2, "backfill")
    assert script.own.nominal == at("05 00:10")
    script.append(Ended(at=script.now, by="script", key="20260101t000000z", outcome="stopped"))
    assert script.look("05 00:12", side_by_side=2) == ["claimed 00:20 backfill"]


def test_a_wish_leaves_the_times_of_the_schedule_alone() -> None:
    script = Script("05 00:05")
    want(script, "00:00")
    script.look("05 00:06")
    assert script.through is None
    script.look("05 00:10")
    assert script.through == at("05 00:10")


def test_slots_that_come_by_themselves_can_not_be_asked_for() -> None:
    script = Script("00:05")
    with pytest.raises(Conflict, match="comes due by itself"):
        want(script, "00:10")
    script.look("00:10")
    with pytest.raises(Conflict, match="is open"):
        want(script, "00:10")
    script.end()
    want(script, "00:10")
    want(script, "00:10")
    assert [slot.key for slot in script.wanted] == ["20260101t001000z"]


# Two scripts


def test_of_two_scripts_that_decide_at_once_the_second_finds_that_it_is_too_late() -> None:
    script = Script("00:05")
    script.now = at("00:10")
    mine = script.decide()
    theirs = decide(script.schedule, script.state, [], now=script.now, script="other")
    assert isinstance(mine, Claimed)
    assert isinstance(theirs, Claimed)
    after = apply(script.state, theirs)
    with pytest.raises(Conflict):
        apply(after, mine)
    assert decide(script.schedule, after, [], now=script.now, script="script") is None
