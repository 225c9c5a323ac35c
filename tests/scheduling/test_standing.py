"""Where a schedule stands, in words: from states that a loop of played steps left."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dataops.declarations.schedules import Schedule, read_schedules
from dataops.runs.workspace import open_workspace
from dataops.scheduling.book import Book
from dataops.scheduling.events import Wanted, WantedSlot
from dataops.scheduling.floor import VirtualClock
from dataops.scheduling.keeping import pause
from dataops.scheduling.slots import key_of
from dataops.scheduling.standing import LATE_AFTER, Mood, Standing, due_since, stand
from dataops.scheduling.wording import ago, spell_age, spell_slot
from tests.scheduling.stage import DONE, HOUR, HOURLY, START, Stage, declare, failing, make_stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(make_stage(tmp_path / "flights", HOURLY))


def schedule_of(stage: Stage) -> Schedule:
    return read_schedules(stage.folder).schedules["hourly"].schedule


def standing(stage: Stage, *, later: timedelta = timedelta(0)) -> Standing:
    return stand(schedule_of(stage), stage.state(), now=stage.clock.at + later)


def test_a_schedule_that_no_script_has_seen_is_new(stage: Stage) -> None:
    found = stand(schedule_of(stage), None, now=START)
    assert (found.mood, found.needs_a_person) == (Mood.NEW, False)
    assert found.next == START + HOUR


def test_one_whose_slot_is_done_is_fine_until_the_next_is_due(stage: Stage) -> None:
    stage.once(later=HOUR)
    found = standing(stage)
    assert (found.mood, found.needs_a_person) == (Mood.FINE, False)
    assert found.says == "slot 2026-03-01 01:00 UTC done 0 s ago"
    assert found.next == START + 2 * HOUR
    assert found.record()["last"]["outcome"] == "done"
    assert standing(stage, later=HOUR + LATE_AFTER).mood is Mood.FINE  # cron may look every ten minutes


def test_one_whose_slot_nobody_begins_is_late(stage: Stage) -> None:
    stage.once(later=HOUR)
    found = standing(stage, later=3 * HOUR)
    assert (found.mood, found.needs_a_person) == (Mood.LATE, True)
    assert found.says == "slot 2026-03-01 02:00 UTC is due for 2 h, and nobody began it"


def test_one_whose_newest_slot_failed_needs_a_person_and_says_what_to_type(stage: Stage) -> None:
    stage.company.answers["scores"] = lambda _: failing("AccessDenied", "no policy allows it", 7)
    stage.once(later=2 * HOUR)
    found = standing(stage, later=timedelta(minutes=5))
    assert (found.mood, found.needs_a_person, found.failures_in_a_row) == (Mood.FAILED, True, 2)
    assert "2 in a row" in found.says
    assert "no policy allows it" in found.says
    assert found.do == "dataops schedule why hourly 20260301t020000z"
    del stage.company.answers["scores"]
    stage.once(later=HOUR)
    assert standing(stage).mood is Mood.FINE


def ask_for(stage: Stage, nominal: datetime) -> None:
    book = Book(stage.store, "hourly")
    slot = WantedSlot(key=key_of(nominal), nominal=nominal)
    assert book.append(Wanted(at=stage.clock.at, by="ana", slots=(slot,)), after=book.head()) is not None


def test_an_old_slot_that_somebody_asked_for_hides_no_failure_and_is_none(stage: Stage) -> None:
    stage.once()
    stage.company.answers["scores"] = lambda turn: failing("ContractViolation", "bad", 6) if turn < 3 else DONE
    stage.once(later=HOUR)
    ask_for(stage, START - 24 * HOUR)
    stage.once()  # it fails as well
    assert (standing(stage).mood, standing(stage).failures_in_a_row) == (Mood.FAILED, 1)
    ask_for(stage, START - 24 * HOUR)
    stage.once()
    assert (stage.state().counts["done"], standing(stage).failures_in_a_row) == (1, 1)
    assert standing(stage).mood is Mood.FAILED
    ask_for(stage, START + HOUR)  # the very slot that failed
    stage.once()
    assert (standing(stage).mood, standing(stage).failures_in_a_row) == (Mood.FINE, 0)


def test_slots_that_nobody_was_there_for_need_a_person_until_one_is_done(stage: Stage) -> None:
    declare(stage.folder, HOURLY.replace("catch_up: all", "catch_up: none"))
    stage.once(later=HOUR)
    assert standing(stage).mood is Mood.FINE
    stage.once(later=48.5 * HOUR)
    found = standing(stage)
    assert (found.mood, found.needs_a_person) == (Mood.FAILED, True)
    assert "slot 2026-03-03 01:00 UTC missed 0 s ago: 48 slots were, up to this one: it came due" in found.says
    assert found.do == "dataops schedule why hourly 20260303t010000z"
    stage.once(later=0.5 * HOUR)
    assert standing(stage).mood is Mood.FINE


def test_one_that_works_says_at_what_and_since_when(stage: Stage) -> None:
    stage.company.answers["scores"] = lambda _: None
    stage.clock.at += HOUR
    with stage.script() as script:
        script._come_round()
        found = standing(stage, later=timedelta(minutes=12))
    assert (found.mood, found.needs_a_person) == (Mood.RUNNING, False)
    assert found.says == "runs scores since 12 min"
    (opened,) = found.open
    assert opened.runs == (stage.company.started[0].command.run,)
    assert opened.record()["waits"] is False


def test_one_that_waits_for_another_attempt_says_when_and_why(stage: Stage) -> None:
    declare(stage.folder, HOURLY + "retries: {times: 3, wait: 30m}\n")
    stage.company.answers["scores"] = lambda _: failing("Storage", "the disk is full", 10)
    stage.clock.at += HOUR
    with stage.script() as script:
        for _ in range(3):
            script._come_round()
        found = standing(stage, later=timedelta(minutes=10))
    assert (found.mood, found.needs_a_person) == (Mood.WAITING, False)
    assert found.says == "tries scores again in 20 min, attempt 2; the last one: Storage: the disk is full"


def test_a_pause_is_an_answer_whatever_failed_before(stage: Stage) -> None:
    stage.company.answers["scores"] = lambda _: failing("AccessDenied", "no", 7)
    stage.once(later=HOUR)
    pause(open_workspace(str(stage.folder), {}), "hourly", reason="we know", at=stage.clock.at)
    found = standing(stage, later=3 * HOUR)
    assert (found.mood, found.needs_a_person, found.next) == (Mood.PAUSED, False, None)
    assert "we know" in found.says
    assert found.do == "dataops schedule resume hourly"


def test_one_that_is_over_or_that_no_file_has_needs_nobody(stage: Stage) -> None:
    declare(stage.folder, HOURLY + "end: 2026-03-01T01:30:00Z\n")
    stage.once(later=HOUR)
    over = standing(stage, later=HOUR)
    assert (over.mood, over.needs_a_person, over.next) == (Mood.OVER, False, None)
    gone = stand(None, stage.state(), now=stage.clock.at)
    assert (gone.mood, gone.name, gone.needs_a_person) == (Mood.GONE, "hourly", False)


def test_what_waits_behind_an_open_slot_is_not_late(stage: Stage) -> None:
    declare(stage.folder, HOURLY + "overlap: queue\n")
    stage.company.answers["scores"] = lambda _: None
    stage.clock.at += HOUR
    with stage.script() as script:
        script._come_round()
        stage.clock.at += 2 * HOUR
        script._come_round()
        assert due_since(schedule_of(stage), stage.state(), stage.clock.at) is None
        assert standing(stage).mood is Mood.RUNNING


def test_a_schedule_that_was_changed_is_not_late_before_a_script_has_seen_that(stage: Stage) -> None:
    stage.once(later=HOUR)
    declare(stage.folder, HOURLY.replace("1h", "10m"))
    assert standing(stage, later=5 * HOUR).mood is Mood.FINE


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(minutes=90), "1 h"),
        (timedelta(hours=31), "31 h"),
        (timedelta(days=2), "2 days"),
        (timedelta(days=4000), "4,000 days"),
        (timedelta(seconds=-5), "0 s"),
    ],
)
def test_ages_are_told_by_their_largest_unit(age: timedelta, words: str) -> None:
    assert spell_age(age) == words


def test_times_are_told_by_the_clock_of_the_schedule() -> None:
    assert spell_slot(START, "America/New_York") == "2026-02-28 19:00 EST"
    assert spell_slot(START, "Asia/Kathmandu") == "2026-03-01 05:45 +0545"
    assert ago(START + HOUR, START) == "in 1 h"
    assert ago(START - HOUR, START) == "1 h ago"
    assert VirtualClock(START).now() == START
