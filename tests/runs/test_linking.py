"""Linking: what was scored before is taken over, whatever died, was replaced, deleted or damaged in between."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataops.datasets.snapshot import read_snapshot
from dataops.declarations.jobs import find_job
from dataops.errors import Conflict
from dataops.models.onedal import Choice
from dataops.models.predictor import BOOSTED, Kernel
from dataops.records import now_utc
from dataops.rescoring import kernels, score
from dataops.runs.execute import Outcome
from dataops.runs.explain import explain_job
from dataops.runs.quarantine import HeldState, held_rows
from dataops.runs.replay import replay_quarantine
from dataops.runs.retention import collect_garbage
from tests.line.people import ROWS_PER_FILE, give_roles, make_people
from tests.rescoring.examples import register
from tests.runs.input_files import add_file
from tests.runs.offline import JOBS, SCORES, Offline, dying
from tests.storage.faulty import Crash

FILES = 3
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """A workspace whose scores were made once."""
    made = Offline.make(tmp_path_factory.mktemp("home") / "town", files=FILES)
    made.run()
    give_roles(made.folder, "data_science", "steward")
    return made


@pytest.fixture
def town(home: Offline, tmp_path: Path) -> Offline:
    """A copy of it: times of files stay as they were."""
    return home.copied(tmp_path)


def told(outcome: Outcome) -> dict[str, int]:
    """Units by reason, as the run's event says."""
    (event,) = [one for one in outcome.state.events if one["event"] == "units_linked"]
    return dict(event["reasons"])


def written(town: Offline, run: str) -> list[str]:
    """What lies in a run's folders of parts and error files."""
    folder = town.storage / "datasets" / SCORES / "runs" / run
    return sorted(path.name for path in folder.rglob("*.parquet"))


def first_run(town: Offline) -> str:
    return town.runs()[0]


def parts(town: Offline) -> list[Path]:
    """The parts that readers see."""
    snapshot = read_snapshot(town.workspace.store, SCORES)
    assert snapshot is not None
    return [town.storage / "datasets" / SCORES / part.path for part in snapshot.fragments]


def collect(town: Offline, days: float) -> tuple[int, int]:
    """Files marked and deleted by a gc so many days from now, with a grace of a day."""
    done = collect_garbage(town.workspace, dataset=None, grace=DAY, at=now_utc() + days * DAY, do=True)
    return sum(len(one.files) for one in done.marked), sum(len(one.files) for one in done.deleted)


class TestWhatIsTakenOver:
    def test_is_all_but_new_rows_and_the_rows_are_those_of_a_whole_run(self, town: Offline) -> None:
        before = town.rows()
        add_file(town)
        outcome = town.run()
        assert told(outcome) == {"scored before": FILES, "new rows": 1}
        assert len([name for name in written(town, outcome.state.run.id) if name.startswith("part")]) == 1
        linked = town.rows()
        assert linked[: len(before)] == before
        figures = {name: outcome.state.result[name] for name in ("scores", "unknown_categories", "reads")}
        assert town.findings() == ()
        again = town.run(again=True)
        assert town.rows() == linked
        assert {name: again.state.result[name] for name in figures} == figures

    def test_keeps_its_place_when_units_get_other_numbers(self, town: Offline) -> None:
        (town.folder / "data/people_new/part-000.parquet").unlink()
        add_file(town)
        outcome = town.run()
        assert told(outcome) == {"scored before": FILES - 1, "new rows": 1}
        linked = town.rows()
        assert town.findings() == ()
        town.run(again=True)
        assert town.rows() == linked

    def test_is_everything_where_nothing_that_decides_a_record_changed(self, town: Offline) -> None:
        town.change(JOBS, "max_rate: 0.1", "max_rate: 0.2")
        before = town.rows()
        outcome = town.run()
        assert told(outcome) == {"scored before": FILES}
        assert written(town, outcome.state.run.id) == []
        assert town.rows() == before
        assert f"{FILES} of {FILES} units were scored before" in town.said.getvalue()

    def test_goes_over_several_runs_to_the_one_that_scored_it(self, town: Offline) -> None:
        for number in (9, 8):
            add_file(town, number)
            outcome = town.run()
        records = town.line.records(SCORES, outcome.state.run.id)
        first, second, third = town.runs()
        assert sorted(one.linked or third for one in records.values()) == sorted([first] * FILES + [second, third])
        assert town.findings() == ()

    def test_is_what_an_older_snapshot_names(self, town: Offline) -> None:
        before = town.rows()
        town.change(JOBS, "keep: [person_id]", "keep: [person_id]\nthreshold: 0.7")
        assert told(town.run()) == {"new columns": FILES}
        town.change(JOBS, "threshold: 0.7", "threshold: 0.5")
        assert told(town.run()) == {"scored before": FILES}
        assert town.rows() == before


class TestWhatIsScored:
    def test_is_all_of_a_first_run(self, home: Offline) -> None:
        state = home.workspace.ledger.state(first_run(home))
        assert told(Outcome(state=state)) == {"new rows": FILES}

    def test_is_all_where_asked_again(self, town: Offline) -> None:
        outcome = town.run(again=True)
        assert told(outcome) == {"asked again": FILES}
        assert [name for name in written(town, outcome.state.run.id) if name.startswith("part")] != []
        assert all(one.linked is None for one in town.line.records(SCORES, outcome.state.run.id).values())

    def test_is_all_where_asked_again_and_resumed(self, town: Offline) -> None:
        with dying(at=2), pytest.raises(Crash):
            town.run(again=True)
        outcome = town.resume(town.runs()[-1])
        assert [one["reasons"] for one in outcome.state.events if one["event"] == "units_linked"] == [
            {"asked again": FILES}
        ] * 2
        assert all(one.linked is None for one in town.line.records(SCORES, town.runs()[-1]).values())

    def test_says_why(self, town: Offline) -> None:
        register(town.workspace, BOOSTED)
        town.change(JOBS, "wealth@1", "wealth@2")
        town.change("policies/people.yaml", "age >= 18", "age >= 21")
        assert told(town.run()) == {"new model, new policy": FILES}
        with patch("dataops.runs.linking.code_identity", lambda: {"digest": "sha256:other"}):
            town.change(JOBS, "max_rate: 0.1", "max_rate: 0.2")
            assert told(town.run()) == {"new code": FILES}

    def test_is_what_another_library_scored_and_all_rows_decide_which_does(self, tmp_path: Path) -> None:
        town = Offline.make(tmp_path / "town", files=FILES)
        register(town.workspace, BOOSTED)
        town.change(JOBS, "wealth@1", "wealth@2")
        with faster("onedal"):
            assert town.run().state.result["predictors"] == {"": "onedal"}
            add_file(town)
            outcome = town.run()
            assert told(outcome) == {"scored before": FILES, "new rows": 1}
            assert outcome.state.result["predictors"] == {"": "onedal"}
            add_file(town, 8)
            with patch.object(kernels, "LEAST_ROWS", 10**9):
                outcome = town.run()
        assert told(outcome) == {"new predictor": FILES + 1, "new rows": 1}
        assert outcome.state.result["predictors"] == {"": "xgboost"}

    def test_is_a_file_that_changed(self, town: Offline) -> None:
        path = town.folder / "data/people_new/part-001.parquet"
        pq.write_table(make_people(np.random.default_rng(5), 400, ROWS_PER_FILE, "secret"), path)
        assert told(town.run()) == {"scored before": FILES - 1, "new rows": 1}

    @pytest.mark.parametrize("folder", [f"datasets/{SCORES}/runs/*/data", "quarantine/people_new/*"])
    @pytest.mark.parametrize("harm", ["gone", "cut short"])
    def test_is_what_is_not_all_there(self, town: Offline, folder: str, harm: str) -> None:
        before = town.rows()
        path = sorted(town.storage.glob(f"{folder}/*.parquet"))[1]
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1])
        town.change(JOBS, "max_rate: 0.1", "max_rate: 0.2")
        assert told(town.run()) == {"scored before": FILES - 1, "missing": 1}
        assert town.findings() == ()
        assert town.rows() == before

    def test_is_a_unit_whose_record_is_not_the_one_that_was_published(self, town: Offline) -> None:
        path = min((town.storage / "datasets" / SCORES / "runs" / first_run(town) / "units").iterdir())
        path.write_bytes(path.read_bytes().replace(b'"attempt"', b'"attempt" ', 1))
        town.change(JOBS, "max_rate: 0.1", "max_rate: 0.2")
        assert told(town.run()) == {"scored before": FILES - 1, "missing": 1}

    def test_is_not_a_part_whose_bytes_alone_are_wrong_which_verifying_finds(self, town: Offline) -> None:
        path = parts(town)[0]
        path.write_bytes(path.read_bytes()[:-100] + bytes(100))
        town.change(JOBS, "max_rate: 0.1", "max_rate: 0.2")
        assert told(town.run()) == {"scored before": FILES}
        assert "bytes are not the recorded ones" in town.findings()[0]


@contextmanager
def faster(kernel: Kernel) -> Iterator[None]:
    """While it holds, this is chosen for as many rows as there are in `FILES` files and more."""
    with (
        patch.object(kernels, "choose", lambda *_: Choice(kernel=kernel, reason="faster", row_seconds=1.0)),
        patch.object(kernels, "is_installed", lambda: True),
        patch.object(kernels, "LEAST_ROWS", FILES * ROWS_PER_FILE),
        patch.object(score, "with_kernel", lambda model, *_, **__: model),
    ):
        yield


class TestARunThatDies:
    @pytest.mark.parametrize("after", [False, True])
    def test_at_any_of_its_records_links_and_scores_the_rest(self, town: Offline, tmp_path: Path, after: bool) -> None:
        add_file(town)
        whole = town.copied(tmp_path / "whole")
        whole.run()
        seen: list[Any] = []
        for at in count(1):
            one = town.copied(tmp_path / str(at))
            try:
                with dying(at=at, after=after):
                    one.run()
                break
            except Crash:
                assert len(one.rows()) in (len(town.rows()), len(whole.rows()))  # nothing in between is seen
                one.resume(one.runs()[-1])
            assert one.rows() == whole.rows()
            assert one.findings() == ()
            records = one.line.records(SCORES, one.runs()[-1])
            assert [unit.linked for unit in records.values()] == [first_run(one)] * FILES + [None]
            seen.append(at)
        assert len(seen) == 1 + FILES + 1 + 2  # links, units taken over, a unit scored, manifest and snapshot

    @pytest.mark.parametrize("back", [False, True])
    def test_and_is_resumed_by_other_code_is_taken_over_by_none_and_done_for_none(
        self, tmp_path: Path, back: bool
    ) -> None:
        town = Offline.make(tmp_path / "town", files=FILES)
        with dying(at=4), pytest.raises(Crash):
            town.run()
        dead = town.runs()[-1]
        assert len(town.line.records(SCORES, dead)) == 2  # by the code that it began with
        with other_code():
            if back:
                with dying(at=2), pytest.raises(Crash):
                    town.resume(dead)
                assert len(town.line.records(SCORES, dead)) == FILES
            else:
                town.resume(dead)
        if back:
            town.resume(dead)
        snapshot = read_snapshot(town.workspace.store, SCORES)
        assert snapshot is not None
        (manifest,) = snapshot.manifests
        assert "basis" not in manifest.lineage
        assert not manifest.identities
        for code in (nullcontext(), other_code()):
            with code:
                outcome = town.run()
            assert not outcome.skipped
            assert told(outcome) == {"new code": FILES}
        assert town.findings() == ()

    def test_goes_on_with_what_it_decided_though_the_output_was_replaced_since(self, town: Offline) -> None:
        add_file(town)
        with dying(at=3), pytest.raises(Crash):
            town.run()
        dead = town.runs()[-1]
        town.run(again=True)
        whole = town.rows()
        town.resume(dead)
        assert town.rows() == whole
        records = town.line.records(SCORES, dead)
        assert [unit.linked for unit in records.values()] == [first_run(town)] * FILES + [None]

    def test_keeps_what_it_links_from_gc_while_it_shows_signs_of_life(self, town: Offline) -> None:
        add_file(town)
        town.run(again=True)  # what is linked next stands in an older snapshot only
        (town.folder / "data/people_new/part-009.parquet").unlink()
        with patch("dataops.runs.linking.newest_listed", without_newest()), dying(at=4), pytest.raises(Crash):
            town.run()
        dead, second = town.runs()[-1], town.runs()[1]
        assert collect(town, 0.5) == (0, 0)
        town.resume(dead)
        kept = parts(town)
        assert {path.parts[-3] for path in kept} == {first_run(town)}
        collect(town, 3)
        collect(town, 5)
        assert all(path.is_file() for path in kept)
        assert town.findings() == ()
        assert written(town, second) == []

    def test_is_refused_once_gc_gave_up_what_it_had_linked(self, town: Offline) -> None:
        town.run(again=True)
        before = town.rows()
        add_file(town)
        with patch("dataops.runs.linking.newest_listed", without_newest()), dying(at=4), pytest.raises(Crash):
            town.run()
        dead = town.runs()[-1]
        marked, _ = collect(town, 3)
        assert marked
        with pytest.raises(Conflict, match="gave up meanwhile"):
            town.resume(dead)
        assert town.rows() == before
        assert told(town.run()) == {"scored before": FILES, "new rows": 1}

    def test_is_refused_once_what_it_had_linked_is_gone(self, town: Offline) -> None:
        before = town.rows()
        add_file(town)
        with dying(at=4), pytest.raises(Crash):
            town.run()
        parts(town)[0].rename(town.folder / "aside.parquet")
        with pytest.raises(Conflict, match="gone or cut short"):
            town.resume(town.runs()[-1])
        (town.folder / "aside.parquet").rename(parts(town)[0])
        assert town.rows() == before


@contextmanager
def other_code() -> Iterator[None]:
    """While it holds, drivers have other code."""
    other = {"version": "2", "digest": "sha256:other"}
    with ExitStack() as stack:
        for module in ("linking", "execute", "planning"):
            stack.enter_context(patch(f"dataops.runs.{module}.code_identity", lambda: other))
        yield


def without_newest() -> Any:
    """The manifests that snapshots name, but for the newest: as if its run had been published while we looked."""
    from dataops.runs.linking import newest_listed  # what is patched while it holds

    return lambda *args: newest_listed(*args)[1:]


class TestExplaining:
    def explained(self, town: Offline) -> dict[str, Any]:
        declared = find_job(town.folder / JOBS, SCORES)
        return explain_job(town.workspace, declared.job, source=declared.document.source)

    def test_says_of_each_unit_what_a_run_will_do(self, town: Offline) -> None:
        add_file(town)
        first = first_run(town)
        units = self.explained(town)["units"]
        assert [(one["reason"], one["units"], one["rows"]) for one in units["reasons"]] == [
            ("scored before", FILES, FILES * ROWS_PER_FILE),
            ("new rows", 1, ROWS_PER_FILE),
        ]
        assert [(one["file"], one["reasons"], one["run"]) for one in units["units"]] == [
            *((f"part-00{number}.parquet", ["scored before"], first) for number in range(FILES)),
            ("part-009.parquet", ["new rows"], None),
        ]
        assert told(town.run()) == {one["reason"]: one["units"] for one in units["reasons"]}

    def test_writes_nothing(self, town: Offline) -> None:
        self.explained(town)
        before = sorted(town.storage.rglob("*"))
        self.explained(town)
        assert sorted(town.storage.rglob("*")) == before

    def test_says_nothing_of_units_where_the_job_is_refused(self, town: Offline) -> None:
        town.change(JOBS, "keep: [person_id]", "keep: [diagnosis]")
        explained = self.explained(town)
        assert explained["units"] is None
        assert "diagnosis" in explained["refused"]


class TestRowsThatRepeatAKey:
    """A survey's answer is part of what decides a unit: of the files whose rows are as unique as they were."""

    @pytest.fixture
    def town(self, home: Offline, tmp_path: Path) -> Offline:
        town = home.copied(tmp_path)
        town.change("contracts/people.yaml", "name: person_id,", "name: person_id, unique: true,")
        town.change(JOBS, "max_rate: 0.1", "max_rate: 0.9")
        town.run()
        return town

    def test_are_as_before_where_only_new_keys_came(self, town: Offline) -> None:
        add_file(town)
        assert told(town.run()) == {"scored before": FILES, "new rows": 1}

    def test_are_scored_again_where_an_earlier_file_took_their_keys(self, town: Offline) -> None:
        data = town.folder / "data" / "people_new"
        shutil.copy(data / "part-002.parquet", data / "part-001b.parquet")
        outcome = town.run()
        assert told(outcome) == {"scored before": 2, "new rows": 1, "new survey": 1}
        linked = town.rows()
        town.run(again=True)
        assert town.rows() == linked


class TestGc:
    def test_does_not_take_over_what_is_marked(self, town: Offline) -> None:
        town.change(JOBS, "keep: [person_id]", "keep: [person_id]\nthreshold: 0.7")
        town.run()
        collect(town, 0)
        town.change(JOBS, "threshold: 0.7", "threshold: 0.5")
        assert told(town.run()) == {"missing": FILES}
        assert town.findings() == ()

    def test_deletes_of_a_run_what_nobody_took_over_and_the_rest_with_the_last_who_did(self, town: Offline) -> None:
        gone = parts(town)[1]
        (town.folder / "data/people_new/part-001.parquet").unlink()
        town.run()
        kept = parts(town)
        for days in (0, 2):
            collect(town, days)
        assert not gone.exists()
        assert all(path.is_file() for path in kept)
        assert town.findings() == ()
        town.run(again=True)
        for days in (4, 6):
            collect(town, days)
        assert not any(path.exists() for path in kept)
        assert all(path.is_file() for path in parts(town))


class TestQuarantineOfUnitsThatWereTakenOver:
    def test_waits_under_the_run_that_took_them_over_and_is_replayed_from_there(self, town: Offline) -> None:
        town.change(JOBS, "max_rate: 0.1", "max_rate: 0.2")
        linking = town.run().state.run.id
        waiting = [one for one in held_rows(town.workspace) if one.state is HeldState.WAITING]
        assert [(one.run, one.dataset) for one in waiting] == [(linking, "people_new")]
        before = town.rows()
        town.change("contracts/people.yaml", "maximum: 120", "maximum: 200")
        with town.working() as given:
            replayed = replay_quarantine(town.workspace, "people_new", **given())
        assert replayed is not None
        assert replayed.state.run.replay_of == linking
        counts = replayed.state.result["reads"]["input"]["counts"]
        assert counts["read"] == waiting[0].rows
        assert len(town.rows()) == len(before) + counts["passed"] > len(before)
        assert town.findings() == ()

    def test_replays_are_replaced_by_a_run_over_whole_data_and_never_taken_over(self, town: Offline) -> None:
        before = town.rows()
        town.change("contracts/people.yaml", "maximum: 120", "maximum: 200")
        with town.working() as given:
            replay_quarantine(town.workspace, "people_new", **given())
        assert len(town.rows()) > len(before)
        outcome = town.run()
        assert told(outcome) == {"new policy": FILES}
        town.change("contracts/people.yaml", "maximum: 200", "maximum: 120")
        outcome = town.run()
        assert told(outcome) == {"scored before": FILES}
        assert town.rows() == before
        assert town.findings() == ()
