"""``dataops status`` and ``dataops schedule``, as they are typed; slots are played, and the clock is the test's."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dataops.runs.workspace import open_workspace
from dataops.scheduling.status import look
from tests.cli.conftest import Call
from tests.scheduling.figures import run_of
from tests.scheduling.stage import HOUR, HOURLY, START, Stage, declare, failing, make_stage

JOB = "name: scores\njob: prepare\ninput: people\noutput: scores\n"
NIGHTLY = """\
name: nightly
owner: flights team
when: {cron: "30 2 * * *", time_zone: America/New_York}
catch_up: {all: 3}
overlap: queue
deadline: 6h
jitter: 5m
steps:
  - {job: scores, file: jobs/a.yaml}
  - {promote: income, rules: jobs/promotion.yaml, if: {changed: scores}}
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage(make_stage(tmp_path / "flights", HOURLY))
    (made.folder / "jobs").mkdir()
    (made.folder / "jobs" / "a.yaml").write_text(JOB)
    (made.folder / "jobs" / "promotion.yaml").write_text("model: income\nrules: [{metric: roc_auc, minimum: 0.5}]\n")
    monkeypatch.setattr("dataops.records.now_utc", lambda: made.clock.at)
    monkeypatch.chdir(made.folder)
    return made


# status


def test_all_is_fine_and_a_monitor_is_told_so(stage: Stage, dataops: Call) -> None:
    stage.once(later=HOUR)
    page = dataops("status")
    assert page.code == 0
    assert page.out.startswith("flights, 2026-03-01 01:00 UTC: all is fine\n")
    assert "2026-03-01 02:00 UTC, in 1 h" in page.out
    quiet = dataops("status", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert dataops("status", "--json").json["needs_a_person"] is False


def test_what_needs_a_person_stands_first_with_the_command_that_says_more(stage: Stage, dataops: Call) -> None:
    stage.company.answers["scores"] = lambda _: failing("AccessDenied", "no policy allows 'age'", 7)
    stage.once(later=HOUR)
    stage.clock.at += timedelta(minutes=4)
    page = dataops("status")
    assert page.code == 1
    first, _, second, third, *_ = page.out.splitlines()
    assert first.endswith("1 thing needs a person")
    assert second.startswith("! schedule hourly: slot 2026-03-01 01:00 UTC failed 4 min ago: ")
    assert "no policy allows 'age'" in second
    assert third == "    dataops schedule why hourly 20260301t010000z"
    why = dataops(*third.split()[1:])
    assert why.code == 0
    assert "no policy allows 'age'" in why.out
    assert dataops("status", "--quiet").out == page.out
    assert dataops("status", "--json").json["concerns"][0]["do"] == third.strip()


def test_of_hundreds_of_schedules_only_what_matters_is_shown(stage: Stage, dataops: Call) -> None:
    text = "\n---".join(HOURLY.replace("hourly", f"s{number:03d}") for number in range(120))
    declare(stage.folder, text, 1)
    stage.company.answers["scores"] = lambda _: None
    stage.clock.at += HOUR
    with stage.script() as script:
        script._come_round()
        short = dataops("status")
        assert short.code == 0
        assert "schedules: 10 running, 111 waiting (109 not shown: --all)" in short.out
        everything = dataops("status", "--all")
    assert sum(line.startswith("s") for line in everything.out.splitlines()) > 120
    assert len(short.out.splitlines()) < 30


def test_an_empty_workspace_is_fine(tmp_path: Path, dataops: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dataops("init", str(tmp_path / "new")).code == 0
    monkeypatch.chdir(tmp_path / "new")
    page = dataops("status")
    assert (page.code, page.out.splitlines()[-1]) == (0, "no schedules")
    assert dataops("schedule", "list").out.startswith("no schedules: write one into schedules/")


# plan


def test_a_plan_tells_ten_slots_in_both_zones_and_what_becomes_of_late_ones(stage: Stage, dataops: Call) -> None:
    (stage.folder / "draft.yaml").write_text(NIGHTLY)
    page = dataops("schedule", "plan", "draft.yaml", "--after", "2026-03-05")
    assert page.code == 0, page.err
    for told in (
        "30 2 * * *, by the clock of America/New_York",
        "the newest 3 run, the oldest first; others are missed",
        "waits until that ends",
        "hasn't begun 6h after its time is missed",
        "each slot waits up to 5m",
        "2. promote:income by jobs/promotion.yaml, if changed scores",
        "2026-03-08 03:00 EDT  2026-03-08 07:00 UTC",
        "the clock was moved since the slot before",
    ):
        assert told in page.out
    assert sum(" EDT " in line or " EST " in line for line in page.out.splitlines()) == 10
    record = dataops(
        "schedule", "plan", "draft.yaml", "nightly", "--after", "2026-03-05", "--count", "2", "--json"
    ).json
    assert [one["nominal"][:16] for one in record[0]["slots"]] == ["2026-03-05T07:30", "2026-03-06T07:30"]
    assert not stage.store.list("schedules")


def test_a_plan_finds_what_a_slot_would_fail_by(stage: Stage, dataops: Call) -> None:
    text = NIGHTLY.replace("job: scores,", "job: scroes,").replace("{changed: scores}", "{changed: scroes}")
    (stage.folder / "draft.yaml").write_text(text.replace("promotion.yaml", "promotions.yaml"))
    page = dataops("schedule", "plan", "draft.yaml")
    assert page.code == 2
    assert "draft.yaml:9: scroes:" in page.err
    assert "Did you mean 'scores'" in page.err
    assert "draft.yaml:10: promote:income:" in page.err
    assert dataops("schedule", "plan", "draft.yaml", "nightlie").code == 3
    assert dataops("schedule", "plan", "nowhere.yaml").code == 3


def test_a_schedule_of_occasions_has_no_next_slots_and_says_so(stage: Stage, dataops: Call) -> None:
    text = "name: follow\nwhen: {snapshot: people}\nsteps: [{job: scores, file: jobs/a.yaml}]\n"
    (stage.folder / "draft.yaml").write_text(text)
    page = dataops("schedule", "plan", "draft.yaml")
    assert page.code == 0
    assert "when dataset people has a new snapshot" in page.out
    assert page.out.endswith("It goes by occasions: when the next slot comes, no clock says.\n")


# list, pause, resume, why


def test_a_list_tells_how_each_schedule_is(stage: Stage, dataops: Call) -> None:
    declare(stage.folder, "name: broken\nwhen: {evry: 1h}\n", 1)
    stage.once(later=HOUR)
    page = dataops("schedule", "list")
    assert page.code == 0
    assert [line.split()[1] for line in page.out.splitlines()[1:]] == ["broken", "fine"]
    assert {one["mood"] for one in dataops("schedule", "list", "--json").json} == {"broken", "fine"}


def test_a_schedule_is_paused_with_a_reason_and_resumed(stage: Stage, dataops: Call) -> None:
    stage.once(later=HOUR)
    assert dataops("schedule", "pause", "hourly").code == 2  # no reason
    page = dataops("schedule", "pause", "hourly", "--reason", "moving")
    assert page.code == 0, page.err
    assert "moving" in page.out
    again = dataops("schedule", "pause", "hourly", "--reason", "moving")
    assert (again.code, "paused already" in again.err) == (5, True)
    stage.once(later=3 * HOUR)
    assert len(stage.company.started) == 1
    assert "moving" in dataops("status").out
    assert dataops("schedule", "resume", "hourly", "--json").json == {"schedule": "hourly", "paused": False, "open": []}
    stage.once(later=HOUR)
    assert len(stage.company.started) == 2
    assert dataops("schedule", "resume", "hourly").code == 5
    assert dataops("schedule", "pause", "houry", "--reason", "x").code == 3


@pytest.mark.parametrize("slot", [(), ("20260301t010000z",), ("2026-03-01T01:00",), ("2026-03-01T02:00+01:00",)])
def test_a_slot_is_asked_for_by_key_by_time_or_not_at_all(stage: Stage, dataops: Call, slot: tuple[str, ...]) -> None:
    stage.once(later=HOUR)
    page = dataops("schedule", "why", "hourly", *slot)
    assert page.code == 0, page.err
    assert "outcome  done" in page.out
    assert page.out.count("step 1 of 1, scores") == 2
    record = dataops("schedule", "why", "hourly", *slot, "--json").json
    assert [one["event"] for one in record["events"]] == ["claimed", "step_begun", "step_ended", "ended"]


def test_a_slot_that_nothing_is_on_record_about_is_told_why(stage: Stage, dataops: Call) -> None:
    assert "no slot of it was ever begun" in dataops("schedule", "why", "hourly").err
    stage.once(later=HOUR)
    for slot, told in (
        ("2026-03-01T02:00", "it comes due in 1 h"),
        ("2026-03-01T02:30", "its clock has no slot at that time"),
        ("2026-02-01T02:00", "`dataops schedule backfill` asks for earlier ones"),
        ("snapshot-17", "nothing on record is about slot snapshot-17"),
    ):
        page = dataops("schedule", "why", "hourly", slot)
        assert (page.code, told in page.err) == (3, True), page.err
    many = dataops("schedule", "why", "hourly", "2026-03-01")
    assert (many.code, "has several slots: 20260301t010000z" in many.err) == (2, True)
    assert dataops("schedule", "why", "hourli").code == 3


def test_slots_that_were_missed_say_so(stage: Stage, dataops: Call) -> None:
    declare(stage.folder, HOURLY.replace("catch_up: all", "catch_up: last"))
    stage.once(later=5 * HOUR)
    page = dataops("schedule", "why", "hourly", "2026-03-01T02:00")
    assert "outcome  missed" in page.out
    assert "catch_up is last" in page.out


# backfill


def test_a_backfill_is_planned_asked_for_and_done(stage: Stage, dataops: Call) -> None:
    declare(stage.folder, HOURLY.replace("start: 2026-03-01T01:00:00Z\n", ""))
    stage.once()
    words = ("schedule", "backfill", "hourly", "--from", "2026-02-28T22:00", "--to", "2026-02-28")
    dry = dataops(*words, "--plan")
    assert dry.code == 0, dry.err
    assert dry.out.endswith("Dry run: without --plan 2 slots would be asked for.\n")
    assert stage.state().wanted == ()
    done = dataops(*words, "--reason", "files came late")
    assert done.out.count("asked for") == 3
    assert "2 slots asked for. No scheduler script runs: `dataops schedule run --once` does them." in done.out
    assert [one.key for one in stage.state().wanted] == ["20260228t220000z", "20260228t230000z"]
    stage.once()
    again = dataops(*words, "--json").json
    assert (again["asked"], [one["reason"] for one in again["slots"]]) == (0, ["done", "done"])


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("nobody", "--from", "2026-02-28"), 3, "no schedule 'nobody'"),
        (("hourly", "--from", "yesterday"), 2, "is no slot: expected a date"),
        (("hourly",), 2, "Missing option '--from'"),
        (("hourly", "--from", "2000-01-01"), 2, "choose a shorter stretch"),
    ],
)
def test_a_backfill_that_can_t_be_meant_is_refused(
    stage: Stage, dataops: Call, words: tuple[str, ...], code: int, told: str
) -> None:
    declare(stage.folder, HOURLY.replace("start: 2026-03-01T01:00:00Z\n", ""))
    page = dataops("schedule", "backfill", *words)
    assert (page.code, told in page.err) == (code, True), page.err
    assert not stage.store.list("schedules") or stage.state().wanted == ()


def test_a_page_is_json_all_through(stage: Stage) -> None:
    stage.once(later=HOUR)
    record = look(open_workspace(str(stage.folder), {}), now=START + HOUR).record()
    assert json.loads(json.dumps(record)) == record
    assert datetime.fromisoformat(record["at"]) == START + HOUR


# stop, and what was asked for taken back


def test_a_slot_that_is_stopped_says_who_ends_it(stage: Stage, dataops: Call) -> None:
    assert dataops("schedule", "stop", "hourly", "--reason", "it hangs").code == 3
    stage.company.answers["scores"] = lambda _: None
    stage.clock.at += HOUR
    with stage.script() as script:
        script._come_round()
        page = dataops("schedule", "stop", "hourly", "--reason", "it hangs")
        assert page.code == 0, page.err
        assert "slot      20260301t010000z" in page.out
        script.once()
    assert stage.ended() == {"20260301t010000z": "stopped"}
    assert "to be stopped: it hangs" in dataops("schedule", "why", "hourly").out
    assert dataops("schedule", "stop", "hourly", "20260301t010000z", "--reason", "x").code == 3


def test_what_was_asked_for_is_taken_back(stage: Stage, dataops: Call) -> None:
    declare(stage.folder, HOURLY.replace("start: 2026-03-01T01:00:00Z\n", ""))
    stage.once()
    times = ("--from", "2026-02-28T20:00", "--to", "2026-02-28T22:00")
    assert dataops("schedule", "backfill", "hourly", *times, "--json").json["asked"] == 3
    page = dataops("schedule", "backfill", "hourly", "--cancel", "--from", "2026-02-28T21:00", "--reason", "too many")
    assert page.code == 0, page.err
    assert page.out.splitlines()[-1] == "2 slots taken back; 1 slot asked for still."
    (told,) = stage.audited("schedule_unwanted")
    assert (told["count"], told["reason"]) == (2, "too many")
    record = dataops("schedule", "backfill", "hourly", "--cancel", "--json").json
    assert (record["cancelled"], record["wait"]) == (["20260228t200000z"], [])
    before = len(stage.company.started)
    stage.once()
    assert len(stage.company.started) == before
    assert dataops("schedule", "backfill", "hourly").code == 2
    assert dataops("schedule", "backfill", "hourly", "--cancel", "--stale").code == 2


def test_a_run_in_hindsight_shows_its_label(stage: Stage, dataops: Call) -> None:
    ledger = open_workspace(str(stage.folder), {}).ledger
    run = run_of("scores", 1, START)
    ledger.start(run, {})
    assert "hindsight" not in dataops("job", "show", run.id).out
    ledger.emit(run.id, "run_started", code="sha256:0", principal="ana", hindsight="what today's model says")
    assert "hindsight  what today's model says" in dataops("job", "show", run.id).out
    assert dataops("job", "show", run.id, "--json").json["hindsight"] == "what today's model says"
