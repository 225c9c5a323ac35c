"""What an operator is told: what needs a person, and nothing that doesn't; without reading all there is."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.declarations.schedules import read_schedules
from dataops.governance.odcs_service import promised_ages
from dataops.runs.ledger import State
from dataops.runs.workspace import Workspace, open_workspace
from dataops.scheduling.concerns import SUBMISSION_LATE, silent_runs
from dataops.scheduling.keeping import pause
from dataops.scheduling.promises import dataset_promises, schedule_promise
from dataops.scheduling.recent import newest_runs, recent_drift, recent_runs
from dataops.scheduling.standing import Mood
from dataops.scheduling.status import Status, look
from dataops.storage.objects import open_store
from tests.scheduling.counting import Counting
from tests.scheduling.figures import make_workspace, moved, on_record, run_of
from tests.scheduling.stage import HOUR, HOURLY, START, Stage, abandon, declare, failing, make_stage

NOW = datetime(2026, 3, 10, 6, tzinfo=UTC)
CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: people
version: 1.0.0
status: active
slaProperties:
  - {property: freshness, value: 2, unit: d}
  - {property: frequency, value: 36, unit: h}
schema:
  - name: people
    properties: [{name: age, logicalType: integer, classification: a}]
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(make_stage(tmp_path / "flights", HOURLY))


def told(stage: Stage, *, later: timedelta = timedelta(0)) -> Status:
    return look(open_workspace(str(stage.folder), {}, read_only=True), now=stage.clock.at + later)


def concerns(status: Status) -> list[str]:
    return [f"{one.about}: {one.says}" for one in status.concerns]


def test_an_empty_workspace_is_fine_and_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "dataops.yaml").write_text("{}\n")
    (tmp_path / "principals.yaml").write_text("principals:\n  ana: {roles: [analyst]}\n")
    found = look(open_workspace(str(tmp_path), {}, read_only=True), now=NOW)
    assert (found.concerns, found.schedules, found.scripts) == ((), (), ())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataops.yaml", "principals.yaml"]
    assert json.dumps(found.record())


def test_a_schedule_that_nothing_runs_needs_a_person(stage: Stage) -> None:
    assert concerns(told(stage)) == ["scheduler script: none has ever looked at the schedules"]
    assert told(stage).concerns[0].do == "dataops schedule run"


def test_a_workspace_whose_slots_are_done_is_fine(stage: Stage) -> None:
    stage.once(later=2 * HOUR)
    found = told(stage)
    assert found.concerns == ()
    assert [one.mood for one in found.schedules] == [Mood.FINE]
    assert found.polled is not None
    assert json.loads(json.dumps(found.record()))["needs_a_person"] is False


def test_a_failed_slot_a_broken_file_and_a_late_one_each_need_a_person(stage: Stage) -> None:
    declare(stage.folder, HOURLY.replace("hourly", "late"), 1)
    stage.company.answers["scores"] = lambda turn: failing("Compute", "out of memory", 7) if turn == 1 else None
    declare(stage.folder, HOURLY.replace("hourly", "torn").replace("every", "evry"), 2)
    del stage.company.answers["scores"]
    stage.once(later=HOUR)
    found = told(stage, later=3 * HOUR)
    assert len(found.concerns) == 4
    about = {one.about: one for one in found.concerns}
    assert "Did you mean 'every'" in about["schedule file schedules/2.yaml"].says
    assert "2.yaml:3" in about["schedule file schedules/2.yaml"].says
    assert "is due for 2 h" in about["schedule hourly"].says
    assert about["scheduler script"].do == "dataops schedule run"


def test_a_slot_that_failed_is_told_with_its_reason_and_the_command_that_says_more(stage: Stage) -> None:
    stage.company.answers["scores"] = lambda _: failing("AccessDenied", "no policy allows 'age'", 7)
    stage.once(later=HOUR)
    (one,) = told(stage).concerns
    assert "no policy allows 'age'" in one.says
    assert one.do == "dataops schedule why hourly 20260301t010000z"


def test_a_script_that_was_killed_needs_a_person_until_another_one_looked(stage: Stage) -> None:
    stage.company.answers["scores"] = lambda _: None
    stage.clock.at += HOUR
    script = stage.script()
    script.__enter__()
    script._come_round()
    abandon(script)
    real = datetime.now(UTC)  # beats go by the machine's own clock
    found = look(open_workspace(str(stage.folder), {}, read_only=True), now=real + timedelta(minutes=5))
    assert any("is silent since 5 min, and no other one runs" in text for text in concerns(found))
    assert any(one.open for one in found.schedules)
    del stage.company.answers["scores"]
    stage.once(dead_after=0.0)
    after = look(open_workspace(str(stage.folder), {}, read_only=True), now=real + timedelta(minutes=5))
    assert not [text for text in concerns(after) if "silent" in text]


def test_one_unreadable_schedule_hides_no_other(stage: Stage) -> None:
    stage.once(later=HOUR)
    declare(stage.folder, HOURLY.replace("hourly", "other"), 1)
    last = max(key for key in stage.store.list("schedules/hourly"))
    stage.store.delete(last)
    stage.store.put_if_absent(last, b"torn")
    found = told(stage)
    assert {one.name for one in found.schedules} == {"hourly", "other"}
    assert any(one.about == "schedule hourly" and "can't be read" in one.says for one in found.concerns)


def test_a_champion_comes_with_since_when_and_one_that_is_not_trusted_needs_a_person(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "people")
    moved(workspace, 2, reason="better")
    look_ = look(workspace, now=NOW)
    (champion,) = look_.champions
    assert (champion.model, champion.version, champion.actor, champion.reason) == ("income", 2, "ana", "better")
    assert look_.concerns == ()
    store = open_store(workspace.settings.registry)
    (key,) = store.list("income/aliases/champion")
    store.delete(key)
    store.put_if_absent(key, b"{}")
    (one,) = look(workspace, now=NOW).concerns
    assert (one.about, one.do) == ("model income", "dataops model verify income")


def test_a_dataset_older_than_its_contract_promises_needs_a_person(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "people", versions=0)
    root = workspace.settings.workspace
    (root / "contracts" / "people.yaml").write_text(CONTRACT)
    data = root / "data"
    data.mkdir()
    (root / "catalog" / "people.yaml").write_text(
        f"name: people\nurl: {data}\nzone: historical\ncontract: contracts/people.yaml\n"
    )
    file = data / "a.parquet"
    file.write_bytes(b"x")
    os.utime(file, (NOW.timestamp() - 3600, NOW.timestamp() - 3600))
    (fresh,) = dataset_promises(workspace.settings, workspace.store)
    assert (fresh.is_stale(NOW), fresh.allowed_seconds) == (False, 36 * 3600)  # the strictest of the two
    assert fresh.says(NOW) == "1 h old, promised 36 h at most (frequency of its contract)"
    (one,) = look(workspace, now=NOW + timedelta(days=2)).concerns
    assert (one.about, one.do) == ("dataset people", "dataops dataset show people")
    file.unlink()
    (none,) = dataset_promises(workspace.settings, workspace.store)
    assert none.is_stale(NOW)
    assert none.says(NOW).startswith("nothing yet")


def test_promises_that_are_not_said_as_the_standard_has_it_are_left_out() -> None:
    said = [
        {"property": "latency", "value": 4, "unit": "h"},
        {"property": "freshness", "value": -1, "unit": "h"},
        {"property": "frequency", "value": 1, "unit": "m"},  # minutes to some, months to others
        {"property": "retention", "value": 1, "unit": "y"},
        {"property": "frequency"},
        "freshness",
    ]
    assert promised_ages(said) == [("latency", 4 * 3600)]
    assert promised_ages(None) == promised_ages({}) == []


def test_what_a_schedule_makes_is_as_new_as_its_newest_slot_that_is_done(stage: Stage) -> None:
    declare(stage.folder, HOURLY + "promise: 90m\n")
    (stage.folder / "jobs").mkdir()
    (stage.folder / "jobs" / "a.yaml").write_text(
        "name: scores\njob: prepare\ninput: people\nwhere: \"day = '${date}'\"\noutput: scores_${date}\n"
    )
    declared = read_schedules(stage.folder).schedules["hourly"]
    never = schedule_promise(declared, None, workspace=stage.folder)
    assert never is not None
    assert (never.is_stale(START), never.makes) == (True, ("scores_${date}",))
    stage.once(later=HOUR)
    assert told(stage, later=timedelta(minutes=5)).concerns == ()
    (fresh,) = told(stage, later=2 * HOUR).freshness
    assert fresh.is_stale(START + 3 * HOUR)
    assert fresh.says(START + 3 * HOUR) == "2 h old, promised 90 min at most (schedules/0.yaml)"


def test_a_broken_promise_is_told_once_and_not_of_what_was_paused_or_has_only_begun(stage: Stage) -> None:
    text = HOURLY.replace("every: 1h", "every: 12h").replace("hourly", "daily")
    declare(stage.folder, text + "promise: 90m\n")
    stage.once()
    assert concerns(told(stage, later=HOUR)) == []  # it has just begun
    stage.once(later=12 * HOUR)
    late = concerns(told(stage, later=2 * HOUR))
    assert late == ["schedule daily: 2 h old, promised 90 min at most (schedules/0.yaml)"]
    stage.company.answers["scores"] = lambda _: failing("AccessDenied", "no", 7)
    stage.once(later=12 * HOUR)
    (failed,) = concerns(told(stage, later=2 * HOUR))
    assert "failed 2 h ago" in failed
    pause(open_workspace(str(stage.folder), {}), "daily", reason="we know", at=stage.clock.at)
    assert concerns(told(stage, later=2 * HOUR)) == []


def test_a_submission_that_waits_for_long_needs_a_person(stage: Stage) -> None:
    from dataops.scheduling.inbox import open_inbox
    from dataops.scheduling.requests import Request

    stage.once(later=HOUR)
    folder = stage.folder / "elsewhere"
    (stage.folder / "dataops.yaml").write_text(f"storage: {folder}\n")
    workspace = open_workspace(str(stage.folder), {})
    inbox = open_inbox(workspace)
    inbox.submit(
        Request(
            id="scores-20260301t010000-s1a2b3c",
            inbox=inbox.place(),
            job="scores",
            text="name: scores\n",
            source="jobs/a.yaml",
            cluster=None,
            again=False,
            principal=inbox._account,
            submitted_at=START,
        )
    )
    early = look(workspace, now=START + timedelta(minutes=5))
    assert [one.id for one in early.submissions] == ["scores-20260301t010000-s1a2b3c"]
    assert not [text for text in concerns(early) if text.startswith("submissions")]
    late = concerns(look(workspace, now=START + 2 * SUBMISSION_LATE))
    assert "submissions: 1 job waiting, the oldest for 2 h; no script ever looked" in late


def test_of_hundreds_of_runs_a_few_records_are_read(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "people", versions=0)
    for number in range(60):
        on_record(workspace, "scores", "rescore", {"drift": {"raised": [], "columns": []}}, at=NOW + number * HOUR)
    store = Counting(workspace.store)
    by_job = newest_runs(store)  # type: ignore[arg-type]
    assert [len(runs) for runs in by_job.values()] == [60]
    (run,) = recent_runs(store, by_job)  # type: ignore[arg-type]
    assert (run.job, run.state, run.created_at) == ("scores", State.DONE, NOW + 59 * HOUR)
    (drift,) = recent_drift(store, by_job)  # type: ignore[arg-type]
    assert drift.run == run.run
    assert store.gets < 20


def test_a_run_that_failed_or_is_at_work_says_so(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "people", versions=0)
    failed, working = run_of("a", 1, NOW), run_of("b", 2, NOW + HOUR)
    for run in (failed, working):
        workspace.ledger.start(run, {})
        workspace.ledger.emit(run.id, "run_started", code="sha256:0", principal="ana")
    workspace.ledger.emit(failed.id, "run_failed", family="Compute", message="a worker died")
    status = look(workspace, now=NOW)
    found = {one.job: (one.state, one.error) for one in status.runs}
    assert not silent_runs(status)
    later = look(workspace, now=datetime.now(UTC) + HOUR)
    assert [one.job for one in silent_runs(later)] == ["b"]
    assert found == {"a": (State.FAILED, "Compute: a worker died"), "b": (State.RUNNING, None)}


def test_a_slice_s_value_is_not_told(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "people", versions=0)
    raised = [
        {"metric": "psi", "column": "age", "figure": 0.3, "limit": 0.2, "level": "warn"},
        {
            "metric": "psi",
            "column": "age",
            "figure": 0.9,
            "limit": 0.2,
            "level": "warn",
            "slice": "town",
            "value": "Ulm",
        },
    ]
    on_record(workspace, "scores", "rescore", {"drift": {"raised": raised, "columns": [{"column": "age", "psi": 0.3}]}})
    (one,) = look(workspace, now=NOW).drift
    assert "Ulm" not in json.dumps(one.record())
    assert (one.record()["raised_in_slices"], one.record()["highest"]) == (1, {"column": "age", "psi": 0.3})


def test_a_read_only_look_writes_nothing(tmp_path: Path) -> None:
    workspace: Workspace = make_workspace(tmp_path / "people")
    declare_in = workspace.settings.workspace / "schedules"
    (declare_in / "a.yaml").write_text(HOURLY)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    opened = open_workspace(str(workspace.settings.workspace), {}, read_only=True)
    look(opened, now=NOW)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_an_attempt_that_came_to_no_run_hides_no_run(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "people", versions=0)
    on_record(workspace, "scores", "rescore", {}, at=NOW)
    workspace.store.put_if_absent("runs/scores-20991231t000000-s0a1b2c/log/1.json", b"{}")
    (found,) = look(workspace, now=NOW).runs
    assert (found.job, found.created_at) == ("scores", NOW)


def test_what_a_script_cannot_look_at_needs_a_person_until_it_can(stage: Stage) -> None:
    """Occasions that nobody can read would never come, and nobody would know."""
    declare(stage.folder, "name: follow\nwhen: {snapshot: pepole}\nsteps: [{job: scores, file: jobs/a.yaml}]\n", 1)
    store = stage.store
    store.put_if_absent("datasets/pepole/snapshots/0000000001.json", b"torn")
    stage.once(later=HOUR)
    stage.once(later=HOUR)
    (one,) = told(stage).concerns
    assert one.about == "scheduler script, follow: what it fires on"
    assert "4 bytes that are not JSON" in one.says
    assert told(stage).record()["scripts"][0]["troubles"] == {"follow: what it fires on": one.says}
    store.delete("datasets/pepole/snapshots/0000000001.json")
    stage.once()
    assert told(stage).concerns == ()
