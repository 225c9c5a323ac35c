"""Files that arrive are scored once each: whatever dies, runs twice, is still being written, comes again or late."""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dataops.cli.job import run as run_command
from dataops.datasets.verify import verify_dataset
from dataops.engine.tasks import Failure
from dataops.errors import Compute, Conflict, ContractViolation, DataopsError, Integrity, InvalidInput, passing
from dataops.records import now_utc
from dataops.runs.execute import Outcome
from dataops.runs.following import Polling, poll
from dataops.runs.ledger import State
from dataops.runs.retention import expire_dataset
from tests.line.people import give_roles
from tests.runs.input_files import FOLLOW, ROWS, arrive, follow, grow_old, people
from tests.runs.offline import JOBS, SCORES, Offline, dying
from tests.storage.faulty import Crash


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """A workspace whose job follows; two files arrived, none was scored yet."""
    made = Offline.make(tmp_path_factory.mktemp("home") / "town", files=1)
    follow(made)
    arrive(made, "a", 1)
    arrive(made, "b", 2)
    return made


@pytest.fixture
def town(home: Offline, tmp_path: Path) -> Offline:
    return home.copied(tmp_path)


def grown(*seeds: int) -> int:
    """People of these files who are scored: adults of a possible age, and the model's 25 hours or more."""
    rows = [row for seed in seeds for row in people(seed).to_pylist()]
    return sum(18 <= row["age"] <= 120 and (row["hours"] or 0) > 25 for row in rows)


def scored(town: Offline) -> int:
    rows = town.rows()
    assert len({row["person_id"] for row in rows}) == len(rows), "somebody was scored twice"
    return len(rows)


def arrivals(outcome: Outcome) -> dict[str, int]:
    return {what: n for what, n in outcome.state.result["arrivals"].items() if n}


class TestEachFile:
    def test_is_scored_once_and_added_to_what_there_is(self, town: Offline) -> None:
        assert arrivals(town.run()) == {"files": 2, "rows": 2 * ROWS}
        before = town.rows()
        arrive(town, "c", 3)
        outcome = town.run()
        assert arrivals(outcome) == {"files": 1, "rows": ROWS, "before": 2}
        assert town.rows()[: len(before)] == before
        assert scored(town) == grown(1, 2, 3)
        assert town.findings() == ()
        assert [event["event"] for event in outcome.state.events].count("files_taken") == 1

    def test_is_not_scored_again_where_nothing_arrived(self, town: Offline) -> None:
        first = town.run()
        second = town.run()
        assert (second.skipped, second.state.run.id) == (True, first.state.run.id)
        assert town.runs() == [first.state.run.id]
        assert "nothing to score since run" in town.said.getvalue()

    def test_waits_while_it_may_still_be_written(self, town: Offline) -> None:
        arrive(town, "young", 3, age=0)
        path = arrive(town, "torn", 4)
        whole = path.read_bytes()
        path.write_bytes(whole[:-20])
        grow_old(path)
        assert arrivals(town.run()) == {"files": 2, "rows": 2 * ROWS, "waiting": 2}
        assert "torn.parquet: not a whole Parquet file yet" in town.said.getvalue()
        path.write_bytes(whole)
        for name in ("torn", "young"):
            grow_old(path.with_name(f"{name}.parquet"))
        town.run()
        assert scored(town) == grown(1, 2, 3, 4)

    def test_that_comes_again_under_another_name_is_skipped_and_counted(self, town: Offline) -> None:
        town.run()
        path = arrive(town, "c", 1)
        outcome = town.run()
        assert outcome.skipped
        assert "1 repeated" in town.said.getvalue()
        assert scored(town) == grown(1, 2)
        path.with_name("a.parquet").unlink()  # it was moved: footer and size are all that is left to go by
        assert town.run().skipped

    def test_whose_name_can_not_be_printed_waits_while_others_are_scored(self, town: Offline) -> None:
        path = arrive(town, "c", 3)
        path.rename(path.with_name("odd\x1b[31m.parquet"))
        assert arrivals(town.run()) == {"files": 2, "rows": 2 * ROWS, "waiting": 1}
        assert r"odd\x1b[31m.parquet: its name" in town.said.getvalue()
        assert scored(town) == grown(1, 2)

    @pytest.mark.parametrize("later", [False, True])
    def test_that_was_replaced_at_the_same_size_is_not_taken_for_its_original(self, town: Offline, later: bool) -> None:
        """What lies under the old name now says nothing of what was scored: the original is known by its footer."""
        town.run()
        taken = town.folder / "data/people_new/a.parquet"
        original, then = taken.read_bytes(), taken.stat().st_mtime_ns
        changed = bytearray(original)
        changed[40] ^= 1  # a byte of a page: size and footer stay
        taken.write_bytes(changed)
        os.utime(taken, ns=(then, then + 1_000_000_000))
        assert town.run().skipped
        assert "1 changed" in town.said.getvalue()
        if later:
            taken.unlink()
        again = taken.with_name("original.parquet")
        again.write_bytes(original)
        grow_old(again)
        assert town.run().skipped
        assert "1 repeated" in town.said.getvalue()
        assert scored(town) == grown(1, 2)

    def test_that_changes_after_it_was_scored_keeps_its_scores_and_is_named(self, town: Offline) -> None:
        town.run()
        before = town.rows()
        arrive(town, "a", 5)
        assert town.run().skipped
        assert "a.parquet: changed after it was scored" in town.said.getvalue()
        assert town.rows() == before
        arrive(town, "a2", 5)
        assert arrivals(town.run())["files"] == 1
        assert scored(town) == grown(1, 2, 5)

    def test_none_yet_makes_an_empty_output_that_readers_find(self, town: Offline) -> None:
        for path in (town.folder / "data/people_new").glob("*.parquet"):
            path.unlink()
        town.run()
        assert town.rows() == []
        assert town.run().skipped
        arrive(town, "c", 3)
        town.run()
        assert scored(town) == grown(3)

    def test_that_can_not_be_read_under_the_contract_stops_it_by_name(self, town: Offline) -> None:
        town.run()
        before = town.rows()
        path = arrive(town, "c", 3)
        pq.write_table(people(3).drop_columns(["hours"]), path)
        grow_old(path)
        with pytest.raises(ContractViolation, match=r"c\.parquet lacks the column 'hours'"):
            town.run()
        assert town.rows() == before


class TestLateFiles:
    def town(self, town: Offline, rule: str) -> Offline:
        follow = f"{{dataset: people_new, follow: true, watermark: day, {rule}}}"
        town.change(JOBS, f"input: {FOLLOW}", f"input: {follow}")
        column = "      - {name: day, logicalType: date, partitioned: true, classification: work}\n"
        town.change("contracts/people.yaml", "      - {name: rich", f"{column}      - {{name: rich")
        for name in ("a", "b"):
            (town.folder / f"data/people_new/{name}.parquet").unlink()
        arrive(town, "day=2024-01-10/a", 1)
        town.run()
        arrive(town, "day=2024-01-11/b", 2)
        arrive(town, "day=2024-01-02/c", 3)
        return town

    @pytest.mark.parametrize(("rule", "seeds"), [("late: score", (1, 2, 3)), ("late: skip", (1, 2))])
    def test_are_scored_or_skipped_and_counted(self, town: Offline, rule: str, seeds: tuple[int, ...]) -> None:
        town = self.town(town, rule)
        assert arrivals(town.run())["late"] == 1
        assert scored(town) == grown(*seeds)
        assert "day=.../c.parquet: below the watermark" in town.said.getvalue()

    def test_that_were_skipped_are_scored_once_the_rule_says_so(self, town: Offline) -> None:
        town = self.town(town, "late: skip")
        town.run()
        town.change(JOBS, "late: skip", "late: score")
        town.run()
        assert scored(town) == grown(1, 2, 3)

    def test_stop_the_job_before_anything_is_read_without_saying_their_day(self, town: Offline) -> None:
        town = self.town(town, "late: stop")
        runs = town.runs()
        with pytest.raises(ContractViolation, match="1 files arrived late") as refusal:
            town.run()
        assert "2024" not in str(refusal.value)
        assert town.runs() == runs

    def test_may_be_late_by_as_much_as_is_allowed(self, town: Offline) -> None:
        town = self.town(town, "late: skip, lateness_seconds: 864000")
        assert "late" not in arrivals(town.run())
        assert scored(town) == grown(1, 2, 3)


class TestARunThatDies:
    @pytest.mark.parametrize("after", [False, True])
    def test_at_any_of_its_records_loses_and_doubles_nothing(self, town: Offline, tmp_path: Path, after: bool) -> None:
        town.run()
        arrive(town, "c", 3)
        for at in count(1):
            one = town.copied(tmp_path / str(at))
            try:
                with dying(at=at, after=after):
                    one.run()
                break
            except Crash:
                assert scored(one) in (grown(1, 2), grown(1, 2, 3))  # nothing in between is seen
            arrive(one, "d", 4)
            again = one.run()
            assert not again.skipped
            assert scored(one) == grown(1, 2, 3, 4)
            assert one.findings() == ()
        assert at > 1 + 2  # a unit, manifest, snapshot

    def test_after_it_published_is_brought_to_its_end_by_the_next(self, town: Offline) -> None:
        town.run()
        arrive(town, "c", 3)
        with dying(at=3, after=True), pytest.raises(Crash):
            town.run()
        dead = town.runs()[-1]
        assert scored(town) == grown(1, 2, 3)
        outcome = town.run()
        assert (outcome.skipped, outcome.state.run.id, outcome.state.state) == (True, dead, State.DONE)
        assert arrivals(outcome)["files"] == 1

    def test_goes_on_with_the_files_it_took_though_more_arrived(self, town: Offline) -> None:
        with dying(at=1), pytest.raises(Crash):
            town.run()
        arrive(town, "c", 3)
        outcome = town.resume(town.runs()[-1])
        assert arrivals(outcome)["files"] == 2
        assert scored(town) == grown(1, 2)
        town.run()
        assert scored(town) == grown(1, 2, 3)

    def test_publishes_nothing_once_another_took_its_files(self, town: Offline) -> None:
        with dying(at=1), pytest.raises(Crash):
            town.run()
        dead = town.runs()[-1]
        town.run()
        with pytest.raises(Conflict, match="took files into 'people_scores'"):
            town.resume(dead)
        assert scored(town) == grown(1, 2)

    def test_without_the_record_of_what_was_taken_nothing_is_guessed(self, town: Offline) -> None:
        run = town.run().state.run.id
        (town.storage / "plans" / run / "followed.json").unlink()
        arrive(town, "c", 3)
        with pytest.raises(Integrity, match="is gone"):
            town.run()
        assert scored(town) == grown(1, 2)
        (finding,) = verify_dataset(town.workspace.settings, town.workspace.store, SCORES).findings
        assert f"the record of the files that run {run} took is gone" in finding


class TestTwoAtOnce:
    def test_one_is_published_and_the_other_says_so(self, town: Offline) -> None:
        """The second begins and ends while the first is about to publish."""
        from dataops.rescoring.run import publish as real

        begun: list[Offline] = []

        def late(*args: Any, **options: Any) -> Any:
            if not begun:
                begun.append(Offline(folder=town.folder))
                begun[0].run()
            return real(*args, **options)

        with patch("dataops.rescoring.run.publish", late), pytest.raises(Conflict, match="Run the job again"):
            town.run()
        assert scored(town) == grown(1, 2)
        assert town.run().skipped


class TestWhatIsRefused:
    @pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "-1", "0", "86401", "soon"])
    def test_a_time_between_looks_that_nobody_can_wait_for(self, town: Offline, seconds: str) -> None:
        given = [JOBS, "scores", "--poll", seconds, "--workspace", str(town.folder)]
        found = CliRunner().invoke(run_command, given)
        assert found.exit_code == 2
        assert "--poll" in found.output
        assert "float" not in found.output
        assert town.runs() == []

    def test_again(self, town: Offline) -> None:
        with pytest.raises(InvalidInput, match="scored once"):
            town.run(again=True)
        assert town.runs() == []

    def test_an_output_that_was_made_of_whole_data(self, town: Offline) -> None:
        town.change(JOBS, f"input: {FOLLOW}", "input: people_new")
        town.run()
        town.change(JOBS, "input: people_new", f"input: {FOLLOW}")
        with pytest.raises(Conflict, match="made all of 'people_scores'"):
            town.run()

    def test_scores_that_are_derived_from_other_features_by_that_reason(self, town: Offline) -> None:
        town.run()
        before = town.rows()
        arrive(town, "c", 3)
        with (
            patch("dataops.rescoring.plan.derived_origins", lambda _: ("age",)),
            pytest.raises(Conflict, match="the model has other features"),
        ):
            town.run()
        assert town.rows() == before

    def test_scores_of_another_kind_than_those_there_are(self, town: Offline) -> None:
        town.run()
        before = town.rows()
        arrive(town, "c", 3)
        town.change(JOBS, "keep: [person_id]", "keep: [person_id, trade]")
        with pytest.raises(Conflict, match="trade would be otherwise"):
            town.run()
        assert town.rows() == before

    @pytest.mark.parametrize(
        ("file", "old", "new", "what"),
        [
            (JOBS, "keep: [person_id]", "keep: [person_id]\nthreshold: 0.9", "threshold"),
            (JOBS, "keep: [person_id]", "keep: [person_id]\nsort_by: [person_id]", "sort_by"),
            ("policies/people.yaml", "age >= 18", "age >= 60", "row filters"),
            ("contracts/people.yaml", "maximum: 120", "maximum: 90", "the contract's rules"),
        ],
    )
    def test_scores_that_are_made_otherwise_in_columns_of_the_same_kind(
        self, town: Offline, file: str, old: str, new: str, what: str
    ) -> None:
        town.run()
        before, runs = town.rows(), town.runs()
        arrive(town, "c", 3)
        town.change(file, old, new)
        with pytest.raises(Conflict, match=f"{what} would be otherwise"):
            town.run()
        assert (town.rows(), town.runs()) == (before, runs)

    def test_but_not_for_what_is_only_counted(self, town: Offline) -> None:
        town.run()
        arrive(town, "c", 3)
        town.change(JOBS, "keep: [person_id]", "keep: [person_id]\nmonitor: {drift: false}")
        town.run()
        assert scored(town) == grown(1, 2, 3)

    @pytest.mark.parametrize(
        ("follow", "expected"),
        [
            ("{dataset: people_new, follow: true, watermark: hours}", "is no partition column"),
            ("{dataset: people_ready, follow: true}", "no dataset 'people_ready'"),
        ],
    )
    def test_what_can_not_be_followed(self, town: Offline, follow: str, expected: str) -> None:
        town.change(JOBS, f"input: {FOLLOW}", f"input: {follow}")
        with pytest.raises(DataopsError, match=expected):
            town.run()
        assert town.runs() == []


class TestPolling:
    def test_looks_as_often_as_it_is_told_and_waits_between(self, town: Offline) -> None:
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            arrive(town, f"more-{len(slept)}", 2 + len(slept))

        with town.working() as given:
            poll(town.run, Polling(seconds=300, times=3), progress=given()["progress"], sleep=sleep)
        assert slept == [300, 300]
        assert scored(town) == grown(1, 2, 3, 4)

    def test_goes_on_after_what_may_pass_and_ends_at_what_does_not(self, town: Offline) -> None:
        failures: list[DataopsError] = [
            Compute("the cluster is gone"),
            passing(Conflict("another was first")),
            Failure(family="Integrity", message="changed after the run was planned", may_pass=True).error(),
            InvalidInput("a slip"),
        ]
        looks = []

        def run() -> Outcome:
            looks.append(1)
            raise failures[len(looks) - 1]

        with town.working() as given, pytest.raises(InvalidInput, match="a slip"):
            poll(run, Polling(seconds=0), progress=given()["progress"], sleep=lambda _: None)
        assert len(looks) == 4

    @pytest.mark.parametrize("broken", ["record", "output"])
    def test_ends_at_what_a_person_has_to_mend(self, town: Offline, broken: str) -> None:
        run = town.run().state.run.id
        if broken == "record":
            (town.storage / "plans" / run / "followed.json").unlink()
        else:
            town.change(JOBS, "keep: [person_id]", "keep: [person_id, trade]")
        slept: list[float] = []
        with town.working() as given, pytest.raises((Integrity, Conflict), match=r"Put it back|give the job another"):
            poll(town.run, Polling(seconds=1, times=3), progress=given()["progress"], sleep=slept.append)
        assert slept == []

    def test_goes_on_after_a_race_that_was_lost_and_a_file_that_went_away(self, town: Offline) -> None:
        from dataops.rescoring.run import publish as real
        from dataops.rescoring.run import run_rescore as score

        looks: list[str] = []

        def once() -> Outcome:
            looks.append("")
            return town.run()

        def late(*args: Any, **options: Any) -> Any:
            if len(looks) == 1:
                looks.append("raced")
                Offline(folder=town.folder).run()
            return real(*args, **options)

        def gone(*args: Any, **options: Any) -> Any:
            path = town.folder / "data/people_new/c.parquet"
            if path.exists():
                path.unlink()
            return score(*args, **options)

        with town.working() as given, patch("dataops.rescoring.run.publish", late):
            polling = Polling(seconds=1, times=2)
            poll(once, polling, progress=given()["progress"], sleep=lambda _: None)
            assert "note: Conflict" in town.said.getvalue()
            arrive(town, "c", 3)
            with patch("dataops.runs.execute.run_rescore", gone):
                poll(once, polling, progress=given()["progress"], sleep=lambda _: None)
        assert "note: Integrity" in town.said.getvalue()
        assert scored(town) == grown(1, 2)

    def test_the_last_look_says_what_went_wrong(self, town: Offline) -> None:
        def run() -> Outcome:
            raise Compute("the cluster is gone")

        with town.working() as given, pytest.raises(Compute):
            poll(run, Polling(seconds=0, times=2), progress=given()["progress"], sleep=lambda _: None)


def test_what_expired_is_not_scored_again(town: Offline) -> None:
    """The record of what was taken outlives the rows."""
    town.run()
    give_roles(town.folder, "data_science", "steward")
    later = now_utc() + timedelta(days=2)
    expire_dataset(town.workspace, SCORES, older_than=timedelta(days=1), at=later, do=True)
    assert town.rows() == []
    assert town.run().skipped
    arrive(town, "c", 3)
    town.run()
    assert scored(town) == grown(3)
