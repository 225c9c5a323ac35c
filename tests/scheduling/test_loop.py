"""The loop: what is due is done once, whoever dies where; what goes wrong with one schedule stops no other."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dataops.errors import Storage
from dataops.scheduling.beats import read_beats
from dataops.scheduling.book import told_facts
from dataops.scheduling.floor import Limits
from dataops.scheduling.loop import Scheduler
from dataops.scheduling.working import Result, StepCommand
from dataops.storage.objects import MemoryStore
from tests.scheduling.stage import DONE, HOUR, HOURLY, START, Stage, abandon, declare, failing, keys, make_stage, only
from tests.storage.faulty import Crash, FaultyStore, Mode, crash_points

FIRST = START + HOUR
CHAIN = """
name: chain
when: {every: 1h}
start: 2026-03-01T01:00:00Z
catch_up: all
steps:
  - {job: ready, file: jobs/a.yaml}
  - {job: scores, file: jobs/a.yaml, if: {changed: ready}}
  - {job: report, file: jobs/a.yaml, if: {drift: {job: scores, psi: 0.2}}}
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(make_stage(tmp_path / "w", HOURLY))


def other(text: str, **changes: str) -> str:
    """`text` with lines of these keys in place of its own."""
    lines = [line for line in text.strip().splitlines() if line.partition(":")[0] not in changes]
    return "\n".join([lines[0], *(f"{key}: {value}" for key, value in changes.items()), *lines[1:]]) + "\n"


class TestOnce:
    def test_does_nothing_before_anything_is_due(self, stage: Stage) -> None:
        assert stage.once().exit_code == 0
        assert stage.company.started == []
        assert [event.event for event in stage.events()] == ["begun", "told"]

    def test_does_what_is_due_and_ends(self, stage: Stage) -> None:
        done = stage.once(later=HOUR)
        assert (done.begun, done.failed, done.exit_code) == (1, 0, 0)
        assert stage.ended() == {keys(FIRST, 1)[0]: "done"}
        words = only(stage.company.started).command.arguments
        assert words[:4] == ("job", "run", "jobs/a.yaml", "scores")
        assert words[words.index("--slot") + 1] == "2026-03-01T01:00:00+00:00"
        assert words[words.index("--run") + 1].startswith("scores-20260301t010000-")
        assert words[-3:] == ("--json", "--workspace", str(stage.folder))

    def test_done_twice_does_it_once(self, stage: Stage) -> None:
        stage.once(later=HOUR)
        again = stage.once()
        assert (again.decisions, again.begun) == (0, 0)

    def test_catches_up_on_every_slot_in_order(self, stage: Stage) -> None:
        stage.once()
        stage.once(later=5 * HOUR)
        assert list(stage.ended()) == keys(FIRST, 5)
        assert stage.company.runs() == sorted(stage.company.runs())

    def test_a_chain_skips_what_no_condition_asks_for(self, tmp_path: Path) -> None:
        stage = Stage(make_stage(tmp_path / "w", CHAIN))
        stage.company.answers["ready"] = lambda turn: Result(exit_code=0, answer={"run": "a", "skipped": turn > 1})
        stage.once(later=HOUR)
        assert [one.command.arguments[3] for one in stage.company.started] == ["ready", "scores"]
        stage.once(later=HOUR)
        assert [one.command.arguments[3] for one in stage.company.started] == ["ready", "scores", "ready"]
        outcomes = [event.outcome for event in stage.events("chain", "step_ended")]  # type: ignore[union-attr]
        assert outcomes == ["done", "done", "skipped", "unchanged", "skipped", "skipped"]

    def test_a_failed_step_ends_its_slot_and_the_exit_code_says_so(self, stage: Stage) -> None:
        stage.company.answers["scores"] = lambda _: failing("ContractViolation", "too many rows fail", 6)
        done = stage.once(later=HOUR)
        assert (done.failed, done.exit_code) == (1, 1)
        assert stage.state().last is not None
        assert stage.state().last.reason == "step 1 (scores) failed: ContractViolation: too many rows fail"  # type: ignore[union-attr]
        told = only(stage.audited("schedule_ended"))
        assert (told["slot"], told["outcome"]) == (keys(FIRST, 1)[0], "failed")
        assert "too many rows fail" in told["reason"]

    def test_what_may_pass_is_tried_again_under_the_same_run(self, tmp_path: Path) -> None:
        stage = Stage(make_stage(tmp_path / "w", other(HOURLY, retries="{times: 2, wait: 1m}")))
        stage.company.answers["scores"] = lambda turn: failing("Storage", "no answer", 10) if turn == 1 else DONE
        stage.once(later=HOUR)
        assert stage.state().open  # it waits, and --once doesn't
        stage.once(later=timedelta(seconds=59))
        assert len(stage.company.started) == 1
        stage.once(later=timedelta(seconds=1))
        first, second = stage.company.runs()
        assert first == second
        assert list(stage.ended().values()) == ["done"]

    def test_a_run_that_cannot_go_on_is_tried_again_as_a_new_one(self, tmp_path: Path) -> None:
        stage = Stage(make_stage(tmp_path / "w", other(HOURLY, retries="{times: 1, wait: 1s}")))
        moved = failing("Conflict", "its data changed", 5, may_pass=True)
        stage.company.answers["scores"] = lambda turn: moved if turn == 1 else DONE
        stage.once(later=HOUR)
        stage.once(later=timedelta(seconds=1))
        first, second = stage.company.runs()
        assert first != second
        assert list(stage.ended().values()) == ["done"]

    def test_a_broken_file_fails_its_own_schedules_alone(self, stage: Stage) -> None:
        declare(stage.folder, "name: other\nwhen: {every: soon}\nsteps: [{job: a, file: b}]\n", 1)
        done = stage.once(later=HOUR)
        assert done.exit_code == 2
        assert list(done.broken) == ["schedules/1.yaml"]
        assert stage.ended() == {keys(FIRST, 1)[0]: "done"}
        assert "schedules/1.yaml can't be read, and its schedules wait" in stage.said()

    def test_slots_of_a_schedule_that_was_taken_away_come_to_their_end(self, stage: Stage) -> None:
        stage.company.answers["scores"] = lambda turn: None if turn == 1 else DONE
        script = stage.script().__enter__()
        stage.clock.at += HOUR
        script._come_round()
        abandon(script)
        (stage.folder / "schedules/0.yaml").unlink()
        stage.once(later=HOUR, dead_after=0)
        assert list(stage.ended()) == keys(FIRST, 1)

    def test_limits_hold_for_all_schedules_together(self, tmp_path: Path) -> None:
        names = [f"s{number}" for number in range(5)]
        stage = Stage(make_stage(tmp_path / "w", *(other(HOURLY, name=name) for name in names)))
        stage.limits = Limits(at_once=2, per_user=2)
        stage.company.answers["scores"] = lambda _: None
        with stage.script() as script:
            stage.clock.at += HOUR
            for ended in range(5):
                script._come_round()
                running = [one for one in stage.company.started if one.result is None]
                assert len(running) == min(2, 5 - ended)
                running[0].result = DONE
            script._come_round()
        assert all(stage.ended(name) == {keys(FIRST, 1)[0]: "done"} for name in names)


class TestTwoScripts:
    def test_do_a_slot_once(self, stage: Stage) -> None:
        with stage.script() as one, stage.script() as two:
            stage.clock.at += HOUR
            for script in (one, two, one, two):
                script._come_round()
        assert len(stage.company.started) == 1
        assert len(stage.events("hourly", "claimed")) == 1

    def test_one_that_is_slow_to_append_is_told_that_the_other_was_first(self, stage: Stage) -> None:
        """It decides, stands still, and comes back when the slot is done."""
        slow, quick = stage.script().__enter__(), stage.script().__enter__()
        stage.clock.at += HOUR
        create, looked = MemoryStore._create, []

        def create_late(store: MemoryStore, key: str, data: bytes) -> bool:
            if key.startswith("schedules/") and not looked:
                looked.append(key)
                assert quick.once().begun == 1
            return create(store, key, data)

        with patch.object(MemoryStore, "_create", create_late):
            assert slow.once().begun == 0
        assert stage.ended() == {keys(FIRST, 1)[0]: "done"}
        assert len(stage.company.started) == 1
        for script in (slow, quick):
            script.__exit__()

    def test_a_script_that_was_stopped_between_append_and_start_starts_a_run_that_is_done(self, stage: Stage) -> None:
        stopped = stage.script().__enter__()
        stage.clock.at += HOUR

        def stand_still(_: StepCommand) -> None:
            stage.company.before_start = lambda _: None
            with stage.script(dead_after=0) as other_one:
                assert other_one.once().begun == 1

        stage.company.before_start = stand_still
        stopped.once()
        assert stage.ended() == {keys(FIRST, 1)[0]: "done"}
        assert len(stage.company.started) == 2
        assert len(stage.company.committed) == 1  # the same run, which is taken the second time
        assert only(stage.events("hourly", "taken_over"))
        stopped.__exit__()

    def test_a_script_that_comes_back_stops_what_another_took_over(self, stage: Stage) -> None:
        """SIGSTOP for a minute: its process went on, and it believes that it still holds the slot."""
        stage.company.answers["scores"] = lambda turn: None if turn == 1 else DONE
        stopped = stage.script().__enter__()
        stage.clock.at += HOUR
        stopped._come_round()
        stage.once(dead_after=0)
        stopped._come_round()
        mine, theirs = stage.company.started
        assert (mine.stops, theirs.stops) == (1, 0)
        assert mine.command.run == theirs.command.run
        assert stage.ended() == {keys(FIRST, 1)[0]: "done"}
        assert "another script goes on with it" in stage.said()
        stopped.__exit__()

    def test_what_its_process_came_to_meanwhile_counts_once(self, stage: Stage) -> None:
        stage.company.answers["scores"] = lambda _: None
        stopped = stage.script().__enter__()
        stage.clock.at += HOUR
        stopped._come_round()
        second = stage.script(dead_after=0).__enter__()
        second._come_round()
        mine, theirs = stage.company.started
        mine.result = theirs.result = DONE
        stopped._come_round()
        assert stage.ended() == {}  # it holds nothing any more
        second._come_round()
        stopped._come_round()
        assert stage.ended() == {keys(FIRST, 1)[0]: "done"}
        for script in (stopped, second):
            script.__exit__()

    def test_a_script_that_ended_in_order_leaves_its_slot_to_the_next_at_once(self, stage: Stage) -> None:
        stage.company.answers["scores"] = lambda turn: None if turn == 1 else DONE
        with stage.script() as script:
            stage.clock.at += HOUR
            script._come_round()
        interrupted = only(stage.company.started)
        assert interrupted.stops == 1
        assert stage.state().open  # being stopped by us is no failure
        assert only(read_beats(stage.store)).ended
        stage.once()  # with a script that thinks nobody dead for an hour
        assert stage.company.runs() == [interrupted.command.run] * 2
        assert stage.ended() == {keys(FIRST, 1)[0]: "done"}

    @pytest.mark.parametrize("works", [True, False])
    def test_one_that_is_told_to_end_before_its_step_did_says_that_not_all_is_done(
        self, stage: Stage, works: bool
    ) -> None:
        stop = threading.Event()

        def told_to_end(_: StepCommand) -> None:
            stop.set()

        stage.company.before_start = told_to_end
        stage.company.answers["scores"] = lambda _: None if works else DONE
        stage.clock.at += HOUR
        with stage.script() as script:
            done = script.once(stop)
        assert (done.begun, done.exit_code) == (1, 1 if works else 0)
        assert list(done.troubled) == (["told to end"] if works else [])

    def test_a_run_that_cannot_go_on_after_a_takeover_is_begun_anew(self, stage: Stage) -> None:
        """Nobody's attempt failed: the slot has no retries, and is done all the same."""
        moved = failing("Conflict", "its data changed", 5, may_pass=True)
        stage.company.answers["scores"] = lambda turn: {1: None, 2: moved}.get(turn, DONE)
        script = stage.script().__enter__()
        stage.clock.at += HOUR
        script._come_round()
        abandon(script)
        stage.once(dead_after=0)
        first, again, anew = stage.company.runs()
        assert first == again != anew
        assert stage.ended() == {keys(FIRST, 1)[0]: "done"}

    def test_a_script_that_takes_its_slot_back_goes_on_with_the_run_that_another_began(self, stage: Stage) -> None:
        """The process that it still has at hand is of the run before: what that comes to is nobody's."""
        stage.company.answers["scores"] = lambda turn: DONE if turn == 4 else None
        stood_still = stage.script().__enter__()
        stage.clock.at += HOUR
        stood_still._come_round()
        with stage.script(dead_after=0) as second:
            second._come_round()
            moved = failing("Conflict", "its data changed", 5, may_pass=True)
            stage.company.started[1].result = moved
            second._come_round()
        assert len(stage.company.started) == 3  # the last is a run of its own, and was stopped with its script
        stage.company.started[0].result = DONE
        for _ in range(3):
            stood_still._come_round()
        first, again, anew, taken = stage.company.runs()
        assert first == again
        assert anew == taken != first
        assert stage.ended() == {keys(FIRST, 1)[0]: "done"}
        stood_still.__exit__()

    def test_a_script_that_is_alive_keeps_its_slot(self, stage: Stage) -> None:
        stage.company.answers["scores"] = lambda _: None
        with stage.script() as script:
            stage.clock.at += HOUR
            script._come_round()
            script._heart._put(ended=False)
            with stage.script() as second:
                second._come_round()
                script._heart._put(ended=False)
                second.once()
            assert stage.events("hourly", "taken_over") == []


class TestAKilledScript:
    """It dies at each operation on the storage, one after the other; the next script brings everything to its end."""

    @pytest.mark.parametrize("mode", ["before", "after"])
    def test_leaves_a_slot_that_is_done_exactly_once(self, tmp_path: Path, mode: Mode) -> None:
        crash_points(lambda fail_at: self._dies(tmp_path / str(fail_at), fail_at, mode, ["hourly"], 1), at_least=30)

    @pytest.mark.faults
    @pytest.mark.parametrize("mode", ["before", "after"])
    def test_leaves_slots_of_several_schedules_that_are_done_exactly_once(self, tmp_path: Path, mode: Mode) -> None:
        names = ["hourly", "second"]
        crash_points(lambda fail_at: self._dies(tmp_path / str(fail_at), fail_at, mode, names, 2), at_least=90)

    def _dies(self, folder: Path, fail_at: int, mode: Mode, names: list[str], slots: int) -> bool:
        """Whether a script died at that operation; another one was there after it."""
        stage = Stage(make_stage(folder, *(other(HOURLY, name=name) for name in names)))
        stage.clock.at += slots * HOUR
        died = self._run_until_it_dies(stage, FaultyStore(stage.store, fail_at, mode))
        stage.once(dead_after=0)
        for name in names:
            assert stage.ended(name) == dict.fromkeys(keys(FIRST, slots), "done"), fail_at
            assert len(stage.events(name, "claimed")) == slots
        assert len(stage.company.committed) == slots * len(names), fail_at
        told = {(body["schedule"], body["entry"]) for body in stage.audited()}
        happened = [(name, number, event) for name in names for number, event in enumerate(stage.events(name), 1)]
        assert told == {(name, number) for name, number, event in happened if told_facts(event) is not None}, fail_at
        return died

    @staticmethod
    def _run_until_it_dies(stage: Stage, store: FaultyStore) -> bool:
        script: Scheduler | None = None
        try:
            script = stage.script(store=store)
            script.__enter__()
            script.once()
            script.__exit__()
        except Crash:
            return True
        finally:
            if script is not None:
                abandon(script)
        return False


class TestTrouble:
    """A full disk, a registry that can't be read, a bug: the others go on, and it is told once."""

    @pytest.fixture
    def two(self, tmp_path: Path) -> Stage:
        return Stage(make_stage(tmp_path / "w", HOURLY, other(HOURLY, name="second")))

    def test_a_disk_that_is_full_for_one_schedule_stops_no_other(self, two: Stage) -> None:
        create = MemoryStore._create
        full = [True]

        def fill(store: MemoryStore, key: str, data: bytes) -> bool:
            if key.startswith("schedules/hourly/") and full[0]:
                raise Storage("no space left on the disk")
            return create(store, key, data)

        with patch.object(MemoryStore, "_create", fill):
            done = two.once(later=HOUR)
            assert done.exit_code == 1
            assert "no space left on the disk" in done.troubled["hourly"]
            assert two.ended("second") == {keys(FIRST, 1)[0]: "done"}
            assert sum("no space left on the disk" in line for line in two.lines) == 1
            full[0] = False
            assert two.once().exit_code == 0
        assert two.ended() == {keys(FIRST, 1)[0]: "done"}

    def test_a_result_that_cannot_be_written_is_written_later(self, two: Stage) -> None:
        create, full = MemoryStore._create, [False]

        def fill(store: MemoryStore, key: str, data: bytes) -> bool:
            if key.startswith("schedules/hourly/") and full[0]:
                raise Storage("no space left on the disk")
            return create(store, key, data)

        two.company.answers["scores"] = lambda _: None
        with patch.object(MemoryStore, "_create", fill), two.script() as script:
            two.clock.at += HOUR
            script._come_round()
            full[0] = True
            for played in two.company.started:
                played.result = DONE
            script._come_round()
            assert two.ended() == {}
            assert two.ended("second") == {keys(FIRST, 1)[0]: "done"}
            full[0] = False
            script._come_round()
        assert two.ended() == {keys(FIRST, 1)[0]: "done"}
        assert len(two.company.started) == 2

    def test_an_audit_that_cannot_be_written_keeps_steps_from_being_begun(self, two: Stage) -> None:
        create = MemoryStore._create

        def fill(store: MemoryStore, key: str, data: bytes) -> bool:
            if key.startswith("audit/"):
                raise Storage("no space left on the disk")
            return create(store, key, data)

        with patch.object(MemoryStore, "_create", fill):
            assert two.once(later=HOUR).exit_code == 1
        assert two.company.started == []
        assert two.once().exit_code == 0
        assert two.ended() == two.ended("second") == {keys(FIRST, 1)[0]: "done"}
        assert len(two.audited("schedule_begun")) == 2

    def test_a_registry_that_cannot_be_read_fails_what_asks_it_and_nothing_else(self, tmp_path: Path) -> None:
        needs = other(CHAIN, name="needs").replace("if: {changed: ready}", "if: {drift: {job: scores, psi: 0.2}}")
        promoted = "name: promoted\nwhen: {promoted: late}\nsteps: [{job: scores, file: jobs/a.yaml}]\n"
        stage = Stage(make_stage(tmp_path / "w", HOURLY, needs, promoted))
        (stage.folder / "registry").write_text("not a folder")
        done = stage.once(later=HOUR)
        assert stage.ended() == {keys(FIRST, 1)[0]: "done"}
        assert list(stage.ended("needs").values()) == ["failed"]
        assert "registry" in stage.state("needs").last.reason  # type: ignore[union-attr]
        assert "registry" in only(stage.audited("schedule_ended"))["reason"]
        assert done.exit_code == 1
        assert "registry" in done.troubled["promoted: what it fires on"]

    def test_a_journal_that_was_altered_stops_its_own_schedule(self, two: Stage) -> None:
        two.once()
        records = two.store._records
        first, *later = sorted(key for key in records if key.startswith("schedules/hourly/"))
        records[first] = records[first].replace(b"2026-03-01T00", b"2026-03-01T02", 1)
        for key in later:
            del records[key]
        done = two.once(later=HOUR)
        assert "altered" in done.troubled["hourly"]
        assert two.ended("second") == {keys(FIRST, 1)[0]: "done"}

    def test_a_bug_is_told_without_its_text(self, two: Stage) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise ValueError("a value of a row")

        with patch("dataops.scheduling.turns.decide", fail):
            done = two.once(later=HOUR)
        assert set(done.troubled) == {"hourly", "second"}
        assert "a bug in dataops, please report it: ValueError at " in done.troubled["hourly"]
        assert "a value of a row" not in two.said()
        assert two.once().exit_code == 0


class TestClock:
    def test_one_that_goes_back_fires_nothing_again(self, stage: Stage) -> None:
        stage.once(later=3 * HOUR)
        stage.once(later=-2 * HOUR)
        stage.once(later=2 * HOUR)
        assert list(stage.ended()) == keys(FIRST, 3)
        assert len(stage.company.committed) == 3

    def test_one_that_jumps_by_more_than_a_day_is_not_believed_until_somebody_says_so(self, stage: Stage) -> None:
        with stage.script() as script:
            script._come_round()
            stage.clock.at += timedelta(hours=25)
            for _ in range(2):
                script._come_round()
            assert stage.events("hourly", "claimed") == []
            assert sum("the clock jumped forward by 24 h" in line for line in stage.lines) == 1
            stage.clock.at -= timedelta(hours=23)
            script._come_round()
            assert "the clock is back" in stage.said()
        stage.once()
        assert list(stage.ended()) == keys(FIRST, 2)

    def test_by_one_that_jumped_no_deadline_passes_and_once_does_not_believe_it_either(self, tmp_path: Path) -> None:
        stage = Stage(make_stage(tmp_path / "due", HOURLY + "deadline: 6h\n"))
        stage.company.answers["scores"] = lambda turn: None if turn == 1 else DONE
        stage.clock.at += HOUR
        with stage.script() as script:
            script._come_round()
            stage.clock.at += timedelta(days=30)
            script._come_round()
            assert only(stage.company.started).stops == 0
            only(stage.company.started).result = DONE
            script.once()
            assert stage.ended() == {keys(FIRST, 1)[0]: "done"}
            assert len(stage.company.started) == 1
            assert "the clock jumped forward by " in stage.said()

    def test_one_that_jumps_by_a_day_is_caught_up_with(self, stage: Stage) -> None:
        with stage.script() as script:
            script._come_round()
            stage.clock.at += timedelta(hours=23)
            script.once()
        assert list(stage.ended()) == keys(FIRST, 23)


class TestTheAudit:
    def test_is_told_of_each_entry_once_by_scripts_that_end_in_order(self, stage: Stage) -> None:
        for _ in range(3):
            stage.once(later=2 * HOUR)
        told = [body["entry"] for body in stage.audited()]
        assert len(told) == len(set(told))
        assert {body["event"] for body in stage.audited()} == {"schedule_begun", "schedule_claimed", "schedule_queued"}

    def test_is_told_by_the_script_that_did_it_and_by_no_other_that_is_there(self, stage: Stage) -> None:
        with stage.script() as one, stage.script() as two:
            for script in (one, two, one, two):
                script._come_round()
        assert len(stage.audited("schedule_begun")) == 1

    def test_is_told_again_of_what_a_dead_script_may_not_have_told(self, stage: Stage) -> None:
        script = stage.script().__enter__()
        script._come_round()
        abandon(script)
        stage.once(dead_after=0)
        assert [body["entry"] for body in stage.audited("schedule_begun")] == [1, 1]
        stage.once(dead_after=0)
        assert len(stage.audited("schedule_begun")) == 2


def test_whoever_starts_the_script_reads_what_it_decided(stage: Stage) -> None:
    stage.company.answers["scores"] = lambda _: failing("AccessDenied", "no role lets\nyou read 'people'", 7)
    stage.once(later=2 * HOUR)
    lines = [line.split("  ") for line in stage.lines]
    assert all(len(line) == 4 for line in lines)
    assert {line[0] for line in lines} == {"2026-03-01 02:00:00Z"}
    assert {line[1] for line in lines} == {"hourly"}
    said = [line[3] for line in lines]
    assert said[0] == "seen for the first time; its slots count from 2026-03-01 01:00 UTC on"
    assert "claimed: due at 2026-03-01 01:00 UTC, 1 h late: catching up" in said
    assert "claimed: due at 2026-03-01 02:00 UTC: catching up" in said
    assert "step 1 of 1, scores: failed in 0 s: AccessDenied: no role lets you read 'people'" in said
