"""Replaying quarantine: what passes today comes in once, whoever replays and dies; what doesn't stays; nothing is
guessed.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from distributed import Client

from dataops.datasets.snapshot import Snapshot, read_snapshot
from dataops.datasets.verify import verify_dataset
from dataops.engine.connect import Connection
from dataops.engine.progress import Progress
from dataops.errors import AccessDenied, Conflict, NotFound
from dataops.governance.audit import verify_audit
from dataops.governance.audit_chain import Kind
from dataops.runs import execute
from dataops.runs.execute import Options, Outcome, start_run
from dataops.runs.ledger import Ledger, Run, State
from dataops.runs.lineage import read_events_of
from dataops.runs.promotion import promote_version
from dataops.runs.quarantine import HeldState, held_rows
from dataops.runs.replay import plan_replay, replay_quarantine
from dataops.runs.report import report_path
from dataops.storage.journal import Journal
from tests.line.people import CONTRACT, make_workspace
from tests.line.running import CLUSTER, Line

ASIDE = 40  # two files of 400 people, every twentieth with an impossible age
OPTIONS = Options(cluster=CLUSTER)
KEYED = CONTRACT.replace(
    "physicalType: string, required: true, classification: pii.direct}",
    "physicalType: string, required: true, classification: pii.direct, primaryKey: true, primaryKeyPosition: 1}",
)
AGE_RULE = "logicalTypeOptions: {minimum: 0, maximum: 120}}"


class Died(BaseException):
    """The driver is gone: nothing after this runs."""


def _prepared(folder: Path, cluster: Client, contract: str) -> Line:
    """A town whose training set is made: forty rows of it wait in quarantine."""
    connection = Connection(client=cluster, dashboard="http://127.0.0.1", workers=2, threads=1)
    town = Line(folder=make_workspace(folder, files=2), connection=connection, reports=True)
    _contract(town, contract)
    town.run("people_ready")
    return town


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cluster: Client) -> Line:
    return _prepared(tmp_path_factory.mktemp("made") / "town", cluster, CONTRACT)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, cluster: Client) -> Line:
    return _prepared(tmp_path_factory.mktemp("keyed") / "town", cluster, KEYED)


def _copy(town: Line, folder: Path) -> Line:
    shutil.copytree(town.folder, folder)  # with the times of files, which plans know
    return replace(town, folder=folder, said=io.StringIO())


@pytest.fixture
def town(made: Line, tmp_path: Path) -> Line:
    return _copy(made, tmp_path / "town")


@pytest.fixture
def keyed_town(keyed: Line, tmp_path: Path) -> Line:
    """As `town`, under a contract with a primary key."""
    return _copy(keyed, tmp_path / "keyed")


def _contract(town: Line, text: str) -> None:
    (town.folder / "contracts/people.yaml").write_text(text)


def _loosened(text: str = CONTRACT, *, but_for: str = "") -> str:
    """The contract without its limit of age; with `but_for`, with the limit for people of that region."""
    rule = f"""
         quality: [{{type: sql, query: "age <= 120 or region <> '{but_for}'", mustBe: 0, name: sane}}]}}"""
    return text.replace(AGE_RULE, rule if but_for else "logicalTypeOptions: {minimum: 0}}")


@contextmanager
def _standing(town: Line) -> Iterator[Progress]:
    with town._standing(), Progress(town.said) as progress:
        yield progress


def _replay(town: Line, *, dataset: str = "people_old", run: str | None = None) -> Outcome | None:
    with _standing(town) as progress:
        return replay_quarantine(town.workspace, dataset, run=run, options=OPTIONS, progress=progress)


def _replayed(town: Line, **asked: str) -> Outcome:
    outcome = _replay(town, **asked)
    assert outcome is not None
    return outcome


def _counts(outcome: Outcome) -> dict[str, int]:
    counts = outcome.state.result["reads"]["input"]["counts"]
    return {name: counts[name] for name in ("read", "passed", "quarantined")}


def _snapshot(town: Line, dataset: str = "people_ready") -> Snapshot:
    snapshot = read_snapshot(town.workspace.store, dataset)
    assert snapshot is not None
    return snapshot


def _waiting(town: Line) -> dict[str, int]:
    """Rows that wait, by run."""
    return {one.run: one.rows for one in held_rows(town.workspace) if one.state is HeldState.WAITING}


def _first(town: Line) -> str:
    """The run that read the whole data."""
    return _snapshot(town).manifests[0].run


def _died_before_it_published(town: Line) -> str:
    """The id of a replay whose driver died with all its units done."""
    with (
        patch("dataops.preparation.prepare.publish", side_effect=Died),
        patch.object(execute, "_record_failure"),
        pytest.raises(Died),
    ):
        _replay(town)
    return _replay_begun(town)


def _replay_begun(town: Line) -> str:
    ledger = town.workspace.ledger
    (run,) = (run for run in ledger.ids() if ledger.read(run).replay_of)
    return run


def _died_before_its_end(town: Line, *, dataset: str = "people_old", before: str = "finish") -> str:
    """A replay that published, and whose driver was gone `before` it wrote that."""
    at = patch.object(Ledger, "finish", side_effect=Died)
    if before != "finish":
        at = patch.object(execute, before, side_effect=Died)
    with at, patch.object(execute, "_record_failure"), pytest.raises(Died):
        _replay(town, dataset=dataset)
    return _replay_begun(town)


def _of_run(audit: Journal, run: str) -> list[dict[str, Any]]:
    return [dict(entry.body) for entry in audit.entries() if entry.body.get("run") == run]


def _last_word(town: Line, run: str) -> dict[str, Any]:
    return dict(list(read_events_of(town.workspace.store, run))[-1])


def _without(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def _verify(town: Line, dataset: str = "people_ready") -> dict[str, object]:
    verified = verify_dataset(town.workspace.settings, town.workspace.store, dataset)
    assert verified.findings == ()
    return dict(verified.checks)


def _mend(town: Line, number: int = 0, *, delete: int = 0) -> None:
    """Every impossible age of a file made 60, in another order of rows; the first `delete` of them deleted instead."""
    path = town.folder / f"data/people_old/part-{number:03d}.parquet"
    table = pq.read_table(path)
    bad = np.flatnonzero(np.asarray(table.column("age")) == 150)
    ages = pa.array(np.where(np.asarray(table.column("age")) == 150, 60, np.asarray(table.column("age"))), pa.int32())
    table = table.set_column(table.column_names.index("age"), "age", ages)
    keep = np.setdiff1d(np.arange(table.num_rows), bad[:delete])[::-1]
    pq.write_table(table.take(pa.array(keep)), path, row_group_size=150)


class TestAfterTheContractWasMended:
    def test_rows_that_pass_now_come_in_as_one_more_manifest(self, town: Line) -> None:
        first = _first(town)
        before = town.rows("people_ready")
        _contract(town, _loosened())
        outcome = _replayed(town)
        run = outcome.state.run
        assert _counts(outcome) == {"read": ASIDE, "passed": ASIDE, "quarantined": 0}
        assert [manifest.run for manifest in _snapshot(town).manifests] == [first, run.id]
        rows = town.rows("people_ready")
        assert rows[: len(before)] == before
        assert len(rows) == len(before) + ASIDE
        assert {row["age"] for row in rows[len(before) :]} == {150}  # bands of five
        assert len({row["person_id"] for row in rows}) == len(rows)

    def test_it_is_a_run_like_any_other(self, town: Line) -> None:
        first = _first(town)
        _contract(town, _loosened())
        run = _replayed(replace(town, reports=True)).state.run
        assert (run.kind, run.job, run.replay_of) == ("prepare", "people_ready", first)
        assert run.inputs["input"]["rows"] == ASIDE
        assert report_path(town.workspace, run.id).is_file()
        audited = [dict(entry.body) for entry in town.workspace.audit.entries() if entry.body.get("run") == run.id]
        assert [entry["event"] for entry in audited] == ["intent", "result"]
        assert audited[1]["counts"]["read"] == ASIDE
        assert [one for one in verify_audit(town.workspace.audit) if not str(one).startswith("unsigned")] == []

    def test_the_same_rows_would_have_come_of_a_whole_run(self, town: Line) -> None:
        _contract(town, _loosened())
        _replayed(town)
        replayed = town.rows("people_ready")
        town.run("people_ready")
        whole = town.rows("people_ready")
        assert sorted(replayed, key=str) == sorted(whole, key=str)
        assert len(_snapshot(town).manifests) == 1
        assert _waiting(town) == {}

    def test_every_manifest_is_verified_and_rows_add_up_over_all(self, town: Line) -> None:
        _contract(town, _loosened(but_for="south"))
        outcome = _replayed(town)
        left = _counts(outcome)["quarantined"]
        checks = _verify(town)
        assert 0 < left < ASIDE
        assert checks["rows in the parts (passed)"] == len(town.rows("people_ready"))
        assert f"{left} quarantined" in str(checks["accounted for"])
        assert str(checks["accounted for"]).startswith("800 read")
        assert len(str(checks["by run"]).split("\n")) == 2

    def test_a_second_replay_takes_what_the_first_left(self, town: Line) -> None:
        first = _first(town)
        assert _waiting(town) == {first: ASIDE}
        _contract(town, _loosened(but_for="south"))
        second = _replayed(town)
        left = _counts(second)["quarantined"]
        assert _waiting(town) == {second.state.run.id: left}
        _contract(town, _loosened())
        third = _replayed(town, run=first)
        assert third.state.run.replay_of == second.state.run.id
        assert _counts(third) == {"read": left, "passed": left, "quarantined": 0}
        assert _waiting(town) == {}
        assert len(_snapshot(town).manifests) == 3
        _verify(town)
        assert _replay(town) is None
        assert _replay(town, run=first) is None

    def test_without_a_change_nothing_is_published_and_the_rows_go_on_waiting(self, town: Line) -> None:
        first = _first(town)
        before = _snapshot(town)
        for _ in range(2):
            assert _counts(_replayed(town)) == {"read": ASIDE, "passed": 0, "quarantined": ASIDE}
        assert _snapshot(town) == before
        assert _waiting(town) == {first: ASIDE}
        assert [one.run for one in held_rows(town.workspace)] == [first]

    def test_a_finished_replay_is_no_reason_to_skip_the_job(self, town: Line) -> None:
        _contract(town, _loosened())
        _replayed(town)
        assert not town.run("people_ready").skipped

    def test_no_plan_and_no_record_of_the_ledger_holds_a_row_that_is_set_aside(self, town: Line) -> None:
        _contract(town, _loosened())
        run = _replayed(town).state.run
        plan = json.loads((town.storage / f"plans/{run.id}/input.json").read_text())
        assert all(unit["aside"]["path"].startswith("people_old/") for unit in plan["units"])
        ledger = [path for folder in ("plans", "runs") for path in (town.storage / folder).rglob("*.json")]
        assert not [path for path in ledger if "secret-id" in path.read_text()]


class TestOfRescoring:
    def test_uses_the_version_that_scored_the_rest_whatever_is_champion_now(self, town: Line) -> None:
        outcomes = town.run_all()
        scored = outcomes["people_scores"].state.run
        before = len(town.rows("people_scores"))
        _contract(town, _loosened())
        promote_version(town.workspace, "wealth", 2, reason="test")
        outcome = _replayed(town, dataset="people_new")
        assert outcome.state.run.model == scored.model
        assert _counts(outcome) == {"read": ASIDE, "passed": ASIDE, "quarantined": 0}
        assert len(town.rows("people_scores")) == before + ASIDE
        _verify(town, "people_scores")


class TestAfterTheDataWasMended:
    def test_rows_of_a_changed_file_are_found_by_the_primary_key(self, keyed_town: Line) -> None:
        town = keyed_town
        before = town.rows("people_ready")
        _mend(town)
        outcome = _replayed(town)
        assert _counts(outcome) == {"read": ASIDE, "passed": ASIDE // 2, "quarantined": ASIDE // 2}
        added = town.rows("people_ready")[len(before) :]
        assert {row["age"] for row in added} == {60}
        assert not {row["person_id"] for row in added} & {row["person_id"] for row in before}
        _verify(town)
        _mend(town, 1)
        assert _counts(_replayed(town)) == {"read": ASIDE // 2, "passed": ASIDE // 2, "quarantined": 0}
        assert len(town.rows("people_ready")) == len(before) + ASIDE
        _verify(town)

    def test_rows_that_are_gone_stay_in_quarantine_as_they_were(self, keyed_town: Line) -> None:
        town = keyed_town
        _mend(town, delete=3)
        outcome = _replayed(town)
        assert _counts(outcome) == {"read": ASIDE, "passed": ASIDE // 2 - 3, "quarantined": ASIDE // 2 + 3}
        files = [pq.read_table(path) for path in (town.storage / "quarantine").rglob(f"*{outcome.state.run.id}/*")]
        carried = pa.concat_tables(files).filter(pc.is_null(pa.concat_tables(files).column("quarantine_row")))
        assert carried.column("age").to_pylist() == [150] * 3
        assert _counts(_replayed(town)) == {"read": ASIDE // 2 + 3, "passed": 0, "quarantined": ASIDE // 2 + 3}
        _verify(town)

    @pytest.mark.parametrize("fault", ["changed", "gone"])
    def test_without_a_key_or_a_file_nothing_is_guessed(self, fault: str, request: pytest.FixtureRequest) -> None:
        town: Line = request.getfixturevalue("town" if fault == "changed" else "keyed_town")
        before, ids = _snapshot(town), town.workspace.ledger.ids()
        if fault == "changed":
            _mend(town)
        else:
            (town.folder / "data/people_old/part-000.parquet").unlink()
        with pytest.raises(Conflict, match=r"part-000.parquet changed or went away .*dataops job run"):
            _replay(town)
        assert _snapshot(town) == before
        assert town.workspace.ledger.ids() == ids

    def test_a_key_that_two_rows_had_names_none(self, keyed_town: Line) -> None:
        town = keyed_town
        path = town.folder / "data/people_old/part-000.parquet"
        table = pq.read_table(path)
        ids = table.column("person_id").to_pylist()
        ids[20] = ids[1]  # a row with an impossible age has the key of one that passes
        pq.write_table(table.set_column(0, "person_id", pa.array(ids)), path, row_group_size=200)
        town.run("people_ready")
        before = _snapshot(town)
        _mend(town)
        with pytest.raises(Conflict, match="had a key that another row had"):
            _replay(town)
        assert _snapshot(town) == before


class TestRepeatedKeys:
    def test_stay_in_quarantine_until_the_contract_lets_keys_repeat(self, keyed_town: Line) -> None:
        town = keyed_town
        path = town.folder / "data/people_old/part-001.parquet"
        table = pq.read_table(path)
        ids = table.column("person_id").to_pylist()
        adult = next(i for i, age in enumerate(table.column("age").to_pylist()) if i > 1 and 18 <= age < 150)
        ids[adult] = pq.read_table(path.with_name("part-000.parquet")).column("person_id")[0].as_py()
        pq.write_table(table.set_column(0, "person_id", pa.array(ids)), path, row_group_size=200)
        run = town.run("people_ready").state.run.id
        assert _waiting(town) == {run: ASIDE + 1}
        assert _counts(_replayed(town)) == {"read": ASIDE + 1, "passed": 0, "quarantined": ASIDE + 1}
        _contract(town, CONTRACT)
        assert _counts(_replayed(town)) == {"read": ASIDE + 1, "passed": 1, "quarantined": ASIDE}
        assert len(_snapshot(town).manifests) == 2
        _verify(town)


class TestExactlyOnce:
    def test_of_two_that_were_planned_at_once_one_wins_and_the_other_says_so(self, town: Line) -> None:
        _contract(town, _loosened())
        (held,) = held_rows(town.workspace)
        plans = [plan_replay(town.workspace, held) for _ in range(2)]
        with _standing(town) as progress:
            won = start_run(town.workspace, plans[0], options=OPTIONS, progress=progress)
            with pytest.raises(Conflict, match=f"replayed already, by run {won.state.run.id}"):
                start_run(town.workspace, plans[1], options=OPTIONS, progress=progress)
        assert len(_snapshot(town).manifests) == 2
        assert _waiting(town) == {}
        _verify(town)

    @pytest.mark.parametrize("again", ["replay", "resume"])
    def test_one_that_died_after_it_published_is_brought_to_its_end(self, town: Line, again: str) -> None:
        _contract(town, _loosened())
        with (
            patch.object(Ledger, "finish", side_effect=Died),
            patch.object(execute, "_record_failure"),
            pytest.raises(Died),
        ):
            _replay(town)
        died = _replay_begun(town)
        snapshot = _snapshot(town)
        outcome = _replay(town) if again == "replay" else town.resume(died)
        assert outcome is not None
        assert (outcome.state.run.id, outcome.state.state) == (died, State.DONE)
        assert _snapshot(town) == snapshot
        assert _replay(town) is None
        _verify(town)

    @pytest.mark.parametrize("since", ["contract", "policy", "data"])
    def test_one_that_died_after_it_published_is_ended_as_it_was_whatever_changed_since(
        self, town: Line, since: str
    ) -> None:
        _contract(town, _loosened(but_for="south"))
        died = _died_before_its_end(town)
        left = _waiting(town)[died]
        snapshot = _snapshot(town)
        if since == "contract":
            _contract(town, _loosened())
            outcome = _replayed(town)  # goes on with what the dead one left
            assert outcome.state.run.replay_of == died
            assert _counts(outcome) == {"read": left, "passed": left, "quarantined": 0}
            assert _replay(town) is None
        else:
            if since == "policy":
                policy = town.folder / "policies/people.yaml"
                policy.write_text(policy.read_text().replace("width: 5", "width: 10"))
            else:
                _mend(town)
            with pytest.raises(Conflict, match=r"made otherwise today|changed or went away"):
                _replay(town)  # of what the dead one left, as without it
            assert _snapshot(town) == snapshot
        state = town.workspace.ledger.state(died)
        assert state.state is State.DONE
        assert _counts(Outcome(state=state)) == {"read": ASIDE, "passed": ASIDE - left, "quarantined": left}
        assert state.result["snapshot"] == snapshot.number
        assert f"run {died} had published its rows and not ended; it is done now" in town.said.getvalue()

    def test_the_end_that_is_written_for_it_says_what_its_own_would_have(self, town: Line, tmp_path: Path) -> None:
        town.run_all()
        _contract(town, _loosened())
        alive = _copy(town, tmp_path / "alive")
        own = _replayed(alive, dataset="people_new").state
        died = _died_before_its_end(town, dataset="people_new", before="_record_results")
        assert [one.kind for one in verify_audit(town.workspace.audit) if one.kind is Kind.OPEN] == [Kind.OPEN]
        outcome = _replayed(replace(town, reports=True), dataset="people_new")
        assert outcome.state.run.id == died
        assert report_path(town.workspace, died).is_file()
        result, expected = dict(outcome.state.result), dict(own.result)
        roots = [one.pop("reads")["input"].pop("receipts_root") for one in (result, expected)]
        assert result == expected
        assert all(roots)
        assert [one for one in verify_audit(town.workspace.audit) if not str(one).startswith("unsigned")] == []
        audited, of_own = (_of_run(one.workspace.audit, run) for one, run in ((town, died), (alive, own.run.id)))
        assert [one["event"] for one in audited] == ["intent", "result"]
        assert _without(audited[1], "run", "receipts_root") == _without(of_own[1], "run", "receipts_root")
        said, of_own = (_last_word(one, run) for one, run in ((town, died), (alive, own.run.id)))
        assert said["eventType"] == "COMPLETE"
        for side, kind in (("inputs", "input"), ("outputs", "output")):
            mine, its = said[side][0], of_own[side][0]
            assert mine["facets"].keys() == its["facets"].keys()
            statistics = [one[f"{kind}Facets"][f"{kind}Statistics"] for one in (mine, its)]
            assert _without(statistics[0], "size") == _without(statistics[1], "size")  # bytes aren't always the same
        assert said["outputs"][0]["facets"]["dataops_dataset"]["snapshot"] == outcome.state.result["snapshot"]

    def test_one_whose_records_were_cleared_away_keeps_nobody_from_replaying(self, town: Line) -> None:
        _contract(town, _loosened(but_for="south"))
        died = _died_before_its_end(town)
        shutil.rmtree(town.storage / "runs" / died)
        _contract(town, _loosened())
        assert _replay(town) is None  # what it left can't be told any more

    def test_one_whose_end_cannot_be_told_any_more_keeps_nobody_from_replaying(self, town: Line) -> None:
        town.run_all()
        _contract(town, _loosened(but_for="south"))
        died = _died_before_its_end(town, dataset="people_new")
        left = _waiting(town)[died]
        _contract(town, _loosened())
        with patch("dataops.runs.finish.committed_units", return_value={}):
            assert _counts(_replayed(town, dataset="people_new"))["read"] == left
        assert "its end can't be recorded" in town.said.getvalue()
        assert town.workspace.ledger.state(died).state is State.RUNNING

    def test_while_its_driver_is_only_slow_both_say_the_same(self, town: Line) -> None:
        _contract(town, _loosened())
        finish = Ledger.finish

        def overtaken(ledger: Ledger, run: Run, result: Mapping[str, object]) -> None:
            with patch.object(Ledger, "finish", finish):
                other = replay_quarantine(town.workspace, "people_old", options=OPTIONS, progress=Progress(town.said))
                assert other is not None
                assert (other.state.run, other.state.result) == (run, result)
            finish(ledger, run, result)

        with patch.object(Ledger, "finish", overtaken):
            outcome = _replayed(town)
        assert outcome.state.state is State.DONE
        assert len(_snapshot(town).manifests) == 2
        assert [one for one in verify_audit(town.workspace.audit) if not str(one).startswith("unsigned")] == []
        _verify(town)

    def test_one_that_died_before_it_published_is_resumed(self, town: Line) -> None:
        _contract(town, _loosened())
        died = _died_before_it_published(town)
        assert len(_snapshot(town).manifests) == 1
        assert town.resume(died).state.state is State.DONE
        assert _counts(Outcome(state=town.workspace.ledger.state(died))) == {
            "read": ASIDE, "passed": ASIDE, "quarantined": 0,
        }  # fmt: skip
        assert len(_snapshot(town).manifests) == 2
        _verify(town)

    def test_one_that_died_and_was_overtaken_takes_nothing(self, town: Line) -> None:
        _contract(town, _loosened())
        died = _died_before_it_published(town)
        _replayed(town)
        assert f"run {died} began to replay these rows and published nothing (running)" in town.said.getvalue()
        snapshot = _snapshot(town)
        with pytest.raises(Conflict, match="replayed already"):
            town.resume(died)
        assert _snapshot(town) == snapshot

    def test_of_a_run_that_a_newer_one_replaced_is_refused(self, town: Line) -> None:
        old = _first(town)
        new = town.run("people_ready", again=True).state.run.id
        with pytest.raises(Conflict, match="a newer run made 'people_ready' anew, or it expired"):
            _replay(town, run=old)
        assert _waiting(town) == {new: ASIDE}


class TestRefusal:
    def test_when_the_policy_masks_otherwise_by_now(self, town: Line) -> None:
        before, ids = _snapshot(town), town.workspace.ledger.ids()
        policy = town.folder / "policies/people.yaml"
        policy.write_text(policy.read_text().replace("width: 5", "width: 10"))
        with pytest.raises(Conflict, match="made of age would be made otherwise today"):
            _replay(town)
        assert (_snapshot(town), town.workspace.ledger.ids()) == (before, ids)

    def test_when_the_policy_allows_nothing_by_now(self, town: Line) -> None:
        ids = town.workspace.ledger.ids()
        policy = town.folder / "policies/people.yaml"
        policy.write_text(policy.read_text().replace("purposes: [train, evaluate, score]", "purposes: [score]"))
        with pytest.raises(AccessDenied):
            _replay(town)
        assert town.workspace.ledger.ids() == ids

    def test_of_names_that_are_not_there(self, town: Line) -> None:
        run = _first(town)
        with pytest.raises(NotFound, match="Did you mean 'people_old'"):
            _replay(town, dataset="people_odl")
        with pytest.raises(NotFound, match="has no rows in quarantine"):
            _replay(town, run=run + "0")


def test_a_declared_job_file_may_be_gone_by_then(town: Line) -> None:
    (town.folder / "jobs/people.yaml").unlink()
    _contract(town, _loosened())
    assert _counts(_replayed(town))["passed"] == ASIDE
