"""Backfill: every slot with its reason, and the asking for those that are missing."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.declarations.schedules import Schedule, read_schedules
from dataops.errors import InvalidInput, NotFound
from dataops.runs.workspace import Workspace, open_workspace
from dataops.scheduling.backfill import MAX_SLOTS, Reason, UsedVersion, plan_backfill, used_versions
from dataops.scheduling.book import Book, event_of
from dataops.scheduling.keeping import backfill, pause, resume
from dataops.scheduling.slot_history import SlotHistory, slot_history
from dataops.scheduling.state import Moved
from tests.scheduling.figures import MODEL, NOW, make_schedule, make_workspace, moved
from tests.scheduling.stage import HOUR, HOURLY, START, Stage, declare, failing, make_stage

EARLIER = START - timedelta(days=1)
JOBS = """\
name: scores
job: rescore
model: income@champion
input: people
output: scores
"""
PREPARED = "name: scores\njob: prepare\ninput: people\noutput: scores\n"
TRAINING = """\
name: income
job: train
input: people
target: over
features: {numeric: {columns: [age]}}
candidates: [{trainer: logistic}]
evaluate: {metrics: [roc_auc]}
---
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    text = HOURLY.replace("start: 2026-03-01T01:00:00Z\n", "")
    made = Stage(make_stage(tmp_path / "flights", text))
    (made.folder / "jobs").mkdir()
    (made.folder / "jobs" / "a.yaml").write_text(PREPARED)
    return made


def opened(stage: Stage) -> Workspace:
    return open_workspace(str(stage.folder), {})


def asked(stage: Stage, first: datetime, last: datetime, **how: object) -> list[tuple[str, Reason, bool]]:
    found = backfill(opened(stage), "hourly", first=first, last=last, at=stage.clock.at, **how)  # type: ignore[arg-type]
    return [(f"{one.nominal:%H}", one.reason, one.runs_now) for one in found.slots]


def reasons(stage: Stage, first: datetime, last: datetime) -> Counter[Reason]:
    return Counter(reason for _, reason, _ in asked(stage, first, last, do=False))


def test_each_slot_has_its_reason_and_only_what_is_missing_is_asked_for_and_done(stage: Stage) -> None:
    stage.once()  # the schedule's slots count from here on
    stage.once(later=HOUR)
    stage.company.answers["scores"] = lambda _: failing("AccessDenied", "no", 7)
    stage.once(later=HOUR)
    del stage.company.answers["scores"]
    before = len(stage.company.started)
    told = asked(stage, START - HOUR, stage.clock.at)
    assert told == [
        ("23", Reason.MISSING, True),
        ("00", Reason.DONE, False),
        ("01", Reason.DONE, False),
        ("02", Reason.FAILED, True),
    ]
    assert reasons(stage, START - HOUR, stage.clock.at)[Reason.WANTED] == 2
    stage.once()
    assert len(stage.company.started) == before + 2
    assert reasons(stage, START - HOUR, stage.clock.at) == {Reason.DONE: 4}
    stage.once()
    assert len(stage.company.started) == before + 2


def test_a_slot_that_is_done_again_has_runs_of_its_own(stage: Stage) -> None:
    stage.once()
    stage.company.answers["scores"] = lambda _: failing("AccessDenied", "no", 7)
    stage.once(later=HOUR)
    del stage.company.answers["scores"]
    asked(stage, stage.clock.at, stage.clock.at)
    stage.once()
    first, second = stage.company.runs()[-2:]
    assert first != second
    assert first.rsplit("-", 1)[0] == second.rsplit("-", 1)[0]


def test_what_was_left_out_while_it_was_paused_can_be_asked_for(stage: Stage) -> None:
    stage.once()
    pause(opened(stage), "hourly", reason="moving", at=stage.clock.at)
    stage.once(later=2 * HOUR)
    resume(opened(stage), "hourly", reason="moved", at=stage.clock.at)
    stage.once()
    told = asked(stage, START + HOUR, stage.clock.at)
    assert told == [("01", Reason.SKIPPED, True), ("02", Reason.SKIPPED, True)]


def test_what_was_done_under_another_declaration_is_stale_and_done_again_only_where_asked(stage: Stage) -> None:
    stage.once()
    stage.once(later=HOUR)
    text = HOURLY.replace("start: 2026-03-01T01:00:00Z\n", "") + "  - {job: more, file: jobs/a.yaml}\n"
    declare(stage.folder, text)
    (stage.folder / "jobs" / "a.yaml").write_text(PREPARED + "---\n" + PREPARED.replace("scores", "more"))
    stage.once()
    assert asked(stage, START + HOUR, START + HOUR) == [("01", Reason.STALE, False)]
    assert asked(stage, START + HOUR, START + HOUR, stale=True) == [("01", Reason.STALE, True)]


def test_a_plan_writes_nothing(stage: Stage) -> None:
    assert asked(stage, EARLIER, START, do=False)[0] == ("00", Reason.MISSING, True)
    assert Book(stage.store, "hourly").head().state is None


def test_slots_outside_the_schedule_s_start_and_end_and_of_the_future_are_none_of_its() -> None:
    schedule = make_schedule(
        {"job": "a", "file": "a.yaml"}, when={"every": "1h"}, start="2026-03-01T01:00:00Z", end="2026-03-01T03:00:00Z"
    )
    state = _seen(schedule)
    told = plan_backfill(schedule, state, SlotHistory(), first=EARLIER, last=START + 9 * HOUR, now=START + 2 * HOUR)
    assert [one.nominal.hour for one in told] == [1, 2]


def _seen(schedule: Schedule):  # type: ignore[no-untyped-def]
    from dataops.scheduling.applying import apply
    from dataops.scheduling.deciding import decide

    event = decide(schedule, None, (), now=START, script="a")
    assert event is not None
    return apply(None, event)


def test_a_slot_for_a_time_before_its_model_was_there_is_refused_without_a_label(tmp_path: Path) -> None:
    stage = Stage(make_stage(tmp_path / "flights", HOURLY.replace("start: 2026-03-01T01:00:00Z\n", "")))
    workspace = make_workspace(tmp_path / "people")
    moved(workspace, 2)
    root = workspace.settings.workspace
    (root / "jobs" / "a.yaml").write_text(JOBS)
    declare(root, HOURLY.replace("start: 2026-03-01T01:00:00Z\n", ""))
    at = NOW + 2 * HOUR
    before, since = NOW - HOUR, NOW + HOUR

    def ask(first: datetime, label: str | None = None) -> list[bool]:
        found = backfill(workspace, "hourly", first=first, last=at, at=at, hindsight=label)
        return [bool(one.younger) for one in found.slots]

    with pytest.raises(
        InvalidInput, match=r"1 of 3 slots .* would be hindsight: income@2 is there since 2026-03-10 06:00"
    ):
        ask(before)
    assert Book(workspace.store, "hourly").head().state is not None  # begun, and nothing asked for
    assert Book(workspace.store, "hourly").head().state.wanted == ()  # type: ignore[union-attr]
    assert ask(since) == [False, False]
    ask(before, "what today's model would have said")
    wanted = Book(workspace.store, "hourly").head().state.wanted  # type: ignore[union-attr]
    assert {one.key: one.hindsight for one in wanted} == {
        "20260310t070000z": None,
        "20260310t050000z": "what today's model would have said",
        "20260310t060000z": None,
    }  # that of 8 comes by itself
    assert stage.folder.is_dir()


def test_the_label_stays_with_what_came_of_the_slot(stage: Stage) -> None:
    workspace = opened(stage)
    younger = (UsedVersion(reference="late@champion", version=3, since=START),)
    schedule = read_schedules(stage.folder).schedules["hourly"].schedule
    stage.once()
    from dataops.scheduling.backfill import ask_for

    slots = plan_backfill(schedule, stage.state(), SlotHistory(), first=EARLIER, last=EARLIER, now=START, used=younger)
    event = ask_for(slots, at=START, by="ana", hindsight="for the report")
    assert event is not None
    book = Book(workspace.store, "hourly")
    assert book.append(event, after=book.head()) is not None
    stage.once()
    told = slot_history(event_of(entry) for entry in book.entries(newest_first=False)).slots["20260228t000000z"]
    assert (told.outcome, told.hindsight, told.cause) == ("done", "for the report", "backfill")


def test_a_champion_is_as_old_as_the_slot_that_made_it_one(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "people")
    moved(workspace, 2)
    root = workspace.settings.workspace
    (root / "jobs" / "a.yaml").write_text(JOBS)
    schedule = make_schedule({"job": "scores", "file": "jobs/a.yaml"})
    (plain,) = used_versions(schedule, workspace.registry, {}, workspace=root, now=NOW)
    assert (plain.named, plain.since) == ("income@2", NOW)
    at = datetime(2013, 12, 1, tzinfo=UTC)
    promoted = {MODEL: Moved(version=2, at=at, outcome="promoted")}
    (virtual,) = used_versions(schedule, workspace.registry, promoted, workspace=root, now=NOW)
    assert virtual.since == at
    other = {MODEL: Moved(version=1, at=at, outcome="promoted")}
    assert used_versions(schedule, workspace.registry, other, workspace=root, now=NOW)[0].since == NOW


def test_a_model_that_the_slot_itself_trains_is_younger_than_any_slot_of_the_past(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "people")
    root = workspace.settings.workspace
    (root / "jobs" / "a.yaml").write_text(TRAINING + JOBS)
    steps = [{"job": "income", "file": "jobs/a.yaml"}, {"job": "scores", "file": "jobs/a.yaml"}]
    (used,) = used_versions(make_schedule(*steps), workspace.registry, {}, workspace=root, now=NOW)
    assert (used.version, used.since) == (None, NOW)
    assert used_versions(make_schedule(steps[1]), workspace.registry, {}, workspace=root, now=NOW) == ()  # no champion


def test_more_than_can_wait_is_refused_with_where_to_stop(stage: Stage) -> None:
    with pytest.raises(InvalidInput, match=rf"and {MAX_SLOTS} at once are the most: move --to before 2026-02-"):
        asked(stage, START - timedelta(days=20), START - HOUR)


def test_a_schedule_of_occasions_and_an_unknown_one_are_refused(stage: Stage) -> None:
    declare(
        stage.folder,
        HOURLY.replace("hourly", "moved")
        .replace("every: 1h", "snapshot: people")
        .replace("start: 2026-03-01T01:00:00Z\n", ""),
        1,
    )
    with pytest.raises(InvalidInput, match="goes by occasions"):
        backfill(opened(stage), "moved", first=EARLIER, last=START, at=START)
    with pytest.raises(NotFound, match="Did you mean 'hourly'"):
        backfill(opened(stage), "hurly", first=EARLIER, last=START, at=START)


def test_asking_and_pausing_are_on_the_audit_at_once_with_who_and_why_and_only_once(stage: Stage) -> None:
    stage.once()
    asked(stage, EARLIER, EARLIER, reason="files came late")
    pause(opened(stage), "hourly", reason="moving", at=stage.clock.at)
    names = ("schedule_wanted", "schedule_paused")
    told = stage.audited(*names)
    assert [(one["event"], one["reason"]) for one in told] == [
        ("schedule_wanted", "files came late"),
        ("schedule_paused", "moving"),
    ]
    stage.once()
    assert len(stage.audited(*names)) == 2


def test_a_pause_in_the_file_is_taken_back_there(stage: Stage) -> None:
    declare(stage.folder, HOURLY + "paused: true\n")
    with pytest.raises(InvalidInput, match=r"paused by its own file \(.*0.yaml:8\)"):
        resume(opened(stage), "hourly", reason="", at=START)
