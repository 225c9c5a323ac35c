"""Steps that hang: an operator is told, and may stop them; what is usual is told by the slots before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.errors import Conflict, InvalidInput, NotFound
from dataops.runs.log import Lines
from dataops.runs.workspace import Workspace, open_workspace
from dataops.scheduling.asking import open_slot
from dataops.scheduling.concerns import Concern
from dataops.scheduling.keeping import backfill, stop
from dataops.scheduling.status import look
from dataops.scheduling.stuck import SILENT_AFTER, SILENT_AT_FIRST, TIMES_AS_LONG
from tests.scheduling.stage import DONE, HOUR, HOURLY, START, Stage, declare, make_stage, only

MINUTE = timedelta(minutes=1)
FIRST = "20260301t010000z"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(make_stage(tmp_path / "flights", HOURLY))


def opened(stage: Stage) -> Workspace:
    return open_workspace(str(stage.folder), {})


def told(stage: Stage, *, later: timedelta) -> list[Concern]:
    """What is said of the schedule's slots; no script is alive for this store's clock, which is another matter."""
    found = look(opened(stage), now=stage.clock.at + later)
    return [one for one in found.concerns if one.about == "schedule hourly" and "slot 20260301t" in one.says]


def test_a_step_that_says_nothing_for_long_needs_a_person_and_one_that_speaks_does_not(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.company.answers["scores"] = lambda _: None
    with stage.script() as script:
        stage.clock.at += HOUR
        script._come_round()
        run = only(stage.company.runs())
        assert told(stage, later=SILENT_AT_FIRST) == []
        (hangs,) = told(stage, later=SILENT_AT_FIRST + MINUTE)
        assert hangs.says.startswith(f"slot {FIRST} runs scores, which has said nothing for 31 min; ")
        assert f"`dataops schedule stop hourly {FIRST} --reason WHY` ends it" in hangs.says
        assert hangs.do == f"dataops job logs {run}"
        monkeypatch.setattr("dataops.storage.journal.now_utc", lambda: stage.clock.at + timedelta(minutes=20))
        lines = Lines(stage.store, run)
        lines.add("fold 3 of 10")
        lines.write()
        assert told(stage, later=timedelta(minutes=50)) == []
        assert told(stage, later=timedelta(minutes=51)) != []


def test_slots_before_say_how_long_is_usual(stage: Stage) -> None:
    for took in (5 * MINUTE, 20 * MINUTE, timedelta(0)):
        hang(stage, took)
    assert stage.state().took == (300.0, 1200.0, 0.0)
    stage.company.answers["scores"] = lambda _: None
    with stage.script() as script:
        stage.clock.at = stage.clock.at.replace(minute=0) + HOUR
        script._come_round()
        assert told(stage, later=20 * MINUTE + SILENT_AFTER) == []
        (late,) = told(stage, later=20 * MINUTE + SILENT_AFTER + MINUTE)
        assert "none of the last 3 slots that were done took longer than 20 min" in late.says


def test_a_slot_that_speaks_and_takes_far_longer_than_others_needs_a_person_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang(stage, 20 * MINUTE)
    stage.company.answers["scores"] = lambda _: None
    with stage.script() as script:
        stage.clock.at = stage.clock.at.replace(minute=0) + HOUR
        script._come_round()
        limit = TIMES_AS_LONG * 20 * MINUTE + SILENT_AFTER
        monkeypatch.setattr("dataops.storage.journal.now_utc", lambda: stage.clock.at + limit)
        lines = Lines(stage.store, stage.company.runs()[-1])
        lines.add("step 1,000,000")
        lines.write()
        assert told(stage, later=limit) == []
        (long,) = told(stage, later=limit + MINUTE)
        assert "is open since 1 h, at scores; the last slot that was done took 20 min" in long.says


def hang(stage: Stage, took: timedelta) -> None:
    """The next slot takes so long, and is done."""
    stage.company.answers["scores"] = lambda _: None
    with stage.script() as script:
        stage.clock.at = stage.clock.at.replace(minute=0) + HOUR
        script._come_round()
        stage.clock.at += took
        stage.company.started[-1].result = DONE
        script._come_round()


def test_a_person_stops_a_slot_that_hangs_and_the_next_one_comes(stage: Stage) -> None:
    stage.company.answers["scores"] = lambda turn: None if turn == 1 else DONE
    with stage.script() as script:
        stage.clock.at += HOUR
        script._come_round()
        workspace = opened(stage)
        assert open_slot(workspace, "hourly", None) == open_slot(workspace, "hourly", "2026-03-01T01:00") == FIRST
        stop(workspace, "hourly", FIRST, reason="it hangs", at=stage.clock.at)
        with pytest.raises(Conflict, match="being stopped already"):
            stop(workspace, "hourly", FIRST, reason="it hangs", at=stage.clock.at)
        script.once()
        assert only(stage.company.started).stops == 1
        assert stage.ended() == {FIRST: "stopped"}
        stage.clock.at += HOUR
        script.once()
    assert list(stage.ended().values()) == ["stopped", "done"]
    (told_,) = stage.audited("schedule_stopping")
    assert (told_["slot"], told_["reason"]) == (FIRST, "it hangs")
    with pytest.raises(NotFound, match="isn't open: none is"):
        stop(workspace, "hourly", FIRST, reason="again", at=stage.clock.at)
    assert not [one for one in look(workspace, now=stage.clock.at).concerns if one.about == "schedule hourly"]


def test_a_slot_whose_script_is_dead_is_stopped_by_the_next_one_without_a_process(stage: Stage) -> None:
    stage.company.answers["scores"] = lambda _: None
    with stage.script() as script:
        stage.clock.at += HOUR
        script._come_round()
    stop(opened(stage), "hourly", FIRST, reason="nobody needs it", at=stage.clock.at)
    stage.once(dead_after=0)
    assert len(stage.company.started) == 1
    assert stage.ended() == {FIRST: "stopped"}
    stage.company.answers.clear()
    (jobs := stage.folder / "jobs").mkdir()
    (jobs / "a.yaml").write_text("name: scores\njob: prepare\ninput: people\noutput: scores\n")
    at = datetime(2026, 3, 1, 1, tzinfo=UTC)
    assert backfill(opened(stage), "hourly", first=at, last=at, at=stage.clock.at).asked == 1


def test_which_slot_is_meant_has_to_be_clear(stage: Stage) -> None:
    with pytest.raises(NotFound, match="no open slot"):
        open_slot(opened(stage), "hourly", None)
    with pytest.raises(NotFound, match="Did you mean 'hourly'"):
        open_slot(opened(stage), "hurly", None)
    declare(stage.folder, HOURLY.replace("start: 2026-03-01T01:00:00Z\n", ""))
    (jobs := stage.folder / "jobs").mkdir()
    (jobs / "a.yaml").write_text("name: scores\njob: prepare\ninput: people\noutput: scores\n")
    stage.once()
    earlier = START - 5 * HOUR
    backfill(opened(stage), "hourly", first=earlier, last=earlier + HOUR, at=stage.clock.at)
    stage.company.answers["scores"] = lambda _: None
    with stage.script() as script:
        script._come_round()
        with pytest.raises(InvalidInput, match="several open slots, name one: 20260228t190000z, 20260228t200000z"):
            open_slot(opened(stage), "hourly", None)
