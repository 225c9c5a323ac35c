"""The inbox's turn: a submission comes to one end, whoever dies; it waits for nobody's schedules."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from dataops.errors import Storage
from dataops.records import now_utc
from dataops.runs.workspace import open_workspace, os_user
from dataops.scheduling.floor import Limits
from dataops.scheduling.inbox import Inbox, open_inbox
from dataops.scheduling.lying import LOOKED_AT
from dataops.scheduling.requests import Request, new_submission_id
from dataops.scheduling.submissions import Submission
from dataops.scheduling.working import Result
from dataops.storage.objects import MemoryStore
from tests.scheduling.stage import DONE, HOUR, HOURLY, Stage, abandon, failing, make_stage, only
from tests.storage.faulty import Crash, FaultyStore, Mode, crash_points


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(make_stage(tmp_path / "w"))


def inbox(stage: Stage) -> Inbox:
    return open_inbox(open_workspace(str(stage.folder), {}))


def submit(stage: Stage) -> str:
    place, name = inbox(stage), new_submission_id("income", now_utc())
    place.submit(
        Request(
            id=name,
            inbox=place.place(),
            job="income",
            text="{}",
            source="jobs/income.yaml",
            cluster=None,
            again=False,
            principal=os_user(),
            submitted_at=now_utc(),
        )
    )
    return name


def found(stage: Stage, name: str) -> Submission:
    return inbox(stage).state(name)


def ends(stage: Stage, name: str) -> int:
    """How many entries end it."""
    records = stage.store._records
    return sum(b'"event":"ended"' in data for key, data in records.items() if key.startswith(f"submissions/{name}/"))


def test_is_run_under_its_own_id(stage: Stage) -> None:
    name = submit(stage)
    done = stage.once()
    assert (done.begun, done.exit_code) == (1, 0)
    assert only(stage.company.started).command.arguments[:4] == ("job", "run", "--submission", name)
    assert (found(stage, name).state.value, ends(stage, name)) == ("done", 1)
    assert stage.once().decisions == 0
    assert f"inbox  {name}  taken: {os_user()} asks for it" in stage.said()
    assert f"inbox  {name}  done" in stage.said()


def test_that_fails_says_why_and_the_exit_code_too(stage: Stage) -> None:
    name = submit(stage)
    stage.company.answers[name] = lambda _: failing("ContractViolation", "too many rows", 6)
    assert stage.once().exit_code == 1
    told = found(stage, name)
    assert (told.state.value, told.exit_code, ends(stage, name)) == ("failed", 6, 1)
    assert told.error == {"family": "ContractViolation", "message": "too many rows"}


def killed(_: object) -> Result:
    return Result(exit_code=-9, may_pass=True)


def test_that_was_killed_is_begun_again_after_a_wait_under_its_own_id(stage: Stage) -> None:
    name = submit(stage)
    stage.company.answers[name] = killed
    assert stage.once().exit_code == 0
    told = found(stage, name)
    assert (told.state.value, told.retries, told.exit_code) == ("taken", 1, -9)
    assert told.error == {"family": "Compute", "message": "its process ended with signal 9 and said nothing"}
    assert f"inbox  {name}  tried again later: its process ended with signal 9" in stage.said()
    del stage.company.answers[name]
    assert stage.once(later=timedelta(seconds=59)).begun == 0
    assert stage.once(later=timedelta(seconds=1)).begun == 1
    assert [one.command.run for one in stage.company.started] == [name, name]
    assert (found(stage, name).state.value, ends(stage, name)) == ("done", 1)
    assert found(stage, name).error is None


def test_that_is_killed_each_time_fails_at_the_third(stage: Stage) -> None:
    name = submit(stage)
    stage.company.answers[name] = killed
    begun = [stage.once(later=timedelta(seconds=later)).begun for later in (0, 60, 119, 1, 3600)]
    assert begun == [1, 1, 0, 1, 0]
    told = found(stage, name)
    assert (told.state.value, told.exit_code, told.retries, ends(stage, name)) == ("failed", -9, 2, 1)


def test_that_waits_to_be_begun_again_is_cancelled_at_once(stage: Stage) -> None:
    name = submit(stage)
    stage.company.answers[name] = killed
    stage.once()
    inbox(stage).ask_to_stop(name, now=now_utc())
    assert stage.once().begun == 0
    assert (found(stage, name).state.value, len(stage.company.started)) == ("cancelled", 1)


def test_that_waits_by_a_clock_that_went_back_waits_no_longer(stage: Stage) -> None:
    name = submit(stage)
    stage.company.answers[name] = killed
    stage.once()
    del stage.company.answers[name]
    assert stage.once(later=-HOUR).begun == 1
    assert found(stage, name).state.value == "done"


def test_that_is_to_stop_before_it_began_is_never_begun(stage: Stage) -> None:
    name = submit(stage)
    inbox(stage).ask_to_stop(name, now=now_utc())
    stage.once()
    assert (found(stage, name).state.value, stage.company.started) == ("cancelled", [])


def test_that_is_to_stop_while_it_runs_is_stopped(stage: Stage) -> None:
    name = submit(stage)
    stage.company.answers[name] = lambda _: None
    with stage.script() as script:
        script._come_round()
        inbox(stage).ask_to_stop(name, now=now_utc())
        script.once()
    assert only(stage.company.started).stops >= 1
    assert (found(stage, name).state.value, ends(stage, name)) == ("cancelled", 1)


def test_behind_many_that_are_none_is_run_by_one_script_that_does_what_is_due(stage: Stage) -> None:
    place = inbox(stage)
    for number in range(LOOKED_AT + 5):
        place._requests.put_if_absent(f"income-20200131t120000-s{number:06x}.json", b"{}")
    name = submit(stage)
    stage.once()
    assert found(stage, name).state.value == "done"
    assert place._requests.names() == []
    assert f"more than {LOOKED_AT} submissions of {os_user()}: those that wait longest" in stage.said()


@pytest.mark.parametrize("has_ended", [False, True])
def test_whose_journal_can_not_be_read_once_keeps_its_process(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, has_ended: bool
) -> None:
    name = submit(stage)
    stage.company.answers[name] = lambda _: None
    with stage.script() as script:
        script._come_round()
        (process,) = stage.company.started
        if has_ended:
            process.result = DONE
        with monkeypatch.context() as for_once:
            read = MemoryStore.get_at_most

            def get(store: MemoryStore, key: str, most: int) -> bytes:
                if key.startswith(f"submissions/{name}/"):
                    raise Storage("Input/output error")
                return read(store, key, most)

            for_once.setattr(MemoryStore, "get_at_most", get)
            script._come_round()
        assert "Input/output error: can't be read" in stage.said()
        assert process.stops == 0
        process.result = DONE
        script.once()
    assert len(stage.company.started) == 1
    assert (found(stage, name).state.value, ends(stage, name)) == ("done", 1)


def test_that_was_done_before_it_could_stop_is_done(stage: Stage) -> None:
    name = submit(stage)
    stage.company.answers[name] = lambda _: None
    with stage.script() as script:
        script._come_round()
        inbox(stage).ask_to_stop(name, now=now_utc())
        only(stage.company.started).result = DONE
        script.once()
    assert found(stage, name).state.value == "done"


def test_of_a_script_that_ended_goes_on_with_the_next(stage: Stage) -> None:
    name = submit(stage)
    stage.company.answers[name] = lambda turn: None if turn == 1 else DONE
    with stage.script() as script:
        script._come_round()
    assert found(stage, name).state.value == "running"
    stage.once()
    assert stage.company.runs() == [name, name]
    assert (found(stage, name).state.value, ends(stage, name)) == ("done", 1)


def test_of_two_scripts_ends_once(stage: Stage) -> None:
    """The first one stood still; both have a process that came to its end."""
    name = submit(stage)
    stage.company.answers[name] = lambda _: None
    stopped, second = stage.script().__enter__(), stage.script(dead_after=0).__enter__()
    stopped._come_round()
    second._come_round()
    for played in stage.company.started:
        played.result = Result(exit_code=0, answer={"run": name})
    stopped._come_round()
    assert ends(stage, name) == 0
    second._come_round()
    stopped._come_round()
    assert (found(stage, name).state.value, ends(stage, name)) == ("done", 1)
    for script in (stopped, second):
        script.__exit__()


@pytest.mark.parametrize("mode", ["before", "after"])
def test_of_a_killed_script_comes_to_one_end(tmp_path: Path, mode: Mode) -> None:
    def attempt(fail_at: int) -> bool:
        stage = Stage(make_stage(tmp_path / str(fail_at)))
        name = submit(stage)
        store, died, script = FaultyStore(stage.store, fail_at, mode), False, None
        try:
            script = stage.script(store=store).__enter__()
            script.once()
            script.__exit__()
        except Crash:
            died = True
        finally:
            if script is not None:
                abandon(script)
        stage.once(dead_after=0)
        assert (found(stage, name).state.value, ends(stage, name)) == ("done", 1), fail_at
        assert stage.company.committed == {name: 1}
        return died

    crash_points(attempt, at_least=15)


def test_waits_for_room_beside_schedules_and_gets_its_turn(tmp_path: Path) -> None:
    stage = Stage(make_stage(tmp_path / "w", HOURLY), limits=Limits(at_once=1, per_user=1))
    stage.company.answers["scores"] = lambda _: None
    with stage.script() as script:
        stage.clock.at += 3 * HOUR
        script._come_round()
        name = submit(stage)
        script._come_round()
        assert len(stage.company.started) == 1
        only(stage.company.started).result = DONE
        script._come_round()
        assert stage.company.runs()[1] == name  # and not the schedule's next slot: that user was served last
        for _ in range(3):
            stage.company.started[-1].result = DONE
            script._come_round()


def test_that_cannot_be_looked_at_stops_no_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(make_stage(tmp_path / "w", HOURLY))
    listed = MemoryStore.list

    def fail(store: MemoryStore, prefix: str) -> list[str]:
        if prefix.startswith("submissions"):
            raise ValueError("a value of a row")
        return listed(store, prefix)

    monkeypatch.setattr(MemoryStore, "list", fail)
    done = stage.once(later=HOUR)
    assert list(done.troubled) == ["inbox"]
    assert "a value of a row" not in stage.said()
    assert list(stage.ended().values()) == ["done"]
