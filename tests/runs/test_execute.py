"""A job's journey: refused before a run exists, else ended with a state; audited as whoever reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest

from dataops.datasets.snapshot import read_snapshot, snapshot_journal
from dataops.declarations.jobs import find_job
from dataops.errors import AccessDenied, Conflict, ContractViolation, DataopsError, Integrity, InvalidInput, Storage
from dataops.governance.audit import verify_audit
from dataops.runs import execute
from dataops.runs.explain import explain_job
from dataops.runs.ledger import Ledger, State
from dataops.runs.report import report_figures, report_path
from dataops.runs.workspace import open_workspace
from tests.line.people import CONTRACT, JOBS
from tests.line.running import Line


class Died(BaseException):
    """The driver is gone: nothing after this runs."""


def _audited(town: Line) -> list[dict[str, Any]]:
    return [dict(entry.body) for entry in town.workspace.audit.entries()]


def _only_run(town: Line) -> str:
    (run_id,) = town.workspace.ledger.ids()
    return run_id


def _change_jobs(town: Line, change: Callable[[str], str]) -> None:
    (town.folder / "jobs/people.yaml").write_text(change(JOBS))


def _parts(town: Line) -> list[Path]:
    return list((town.storage / "datasets").rglob("*.parquet"))


class TestRefusal:
    @pytest.mark.parametrize(
        ("old", "new", "family", "says"),
        [
            ("output: people_ready", "output: people_new", InvalidInput, "a job never writes to a source"),
            ('"hours > 40"', '"diagnosis is null"', AccessDenied, "health is nobody's business"),
            ('"hours > 40"', '"hour > 40"', InvalidInput, "Did you mean 'hours'"),
            ('"rich is not null"', '"hours"', InvalidInput, "expected a condition"),
        ],
    )
    def test_comes_before_a_run_exists(
        self, town: Line, old: str, new: str, family: type[DataopsError], says: str
    ) -> None:
        _change_jobs(town, lambda text: text.replace(old, new, 1))
        with pytest.raises(family, match=says):
            town.run("people_ready")
        assert town.workspace.ledger.ids() == []
        assert _audited(town) == []
        assert _parts(town) == []
        explained = explain_job(
            town.workspace, find_job(town.folder / "jobs/people.yaml", "people_ready").job, source="j"
        )
        assert says in explained["refused"]

    def test_of_the_audit_means_that_nothing_is_read(self, town: Line) -> None:
        with (
            patch("dataops.runs.audit.record_intent", side_effect=Storage("the audit's disk is full")),
            patch("dataops.preparation.prepare_unit.read_unit", side_effect=AssertionError),
            pytest.raises(Storage, match="the audit's disk is full"),
        ):
            town.run("people_ready")
        state = town.workspace.ledger.state(_only_run(town))
        assert (state.state, state.error) == (State.FAILED, "Storage: the audit's disk is full")
        assert _parts(town) == []
        assert _audited(town) == []
        assert verify_audit(town.workspace.audit) == []


class TestFailure:
    def test_of_the_contract_publishes_nothing_and_keeps_its_record(self, town: Line) -> None:
        strict = CONTRACT.replace(
            "logicalTypeOptions: {minimum: 0, maximum: 120}}",
            "quality: [{metric: invalidValues, arguments: {validValues: [1]}, mustBe: 0, unit: rows}]}",
        )
        (town.folder / "contracts/people.yaml").write_text(strict)
        with pytest.raises(ContractViolation, match="nothing was published"):
            replace(town, reports=True).run("people_ready")
        state = town.workspace.ledger.state(_only_run(town))
        assert state.state is State.FAILED
        assert read_snapshot(town.workspace.store, "people_ready") is None
        assert [entry.get("outcome") for entry in _audited(town)] == [None, "failed"]
        assert report_path(town.workspace, state.run.id).is_file()

    def test_of_the_contract_stops_training_on_raw_data_too(self, town: Line) -> None:
        jobs = town.folder / "jobs" / "people.yaml"
        raw = jobs.read_text().replace("input: people_ready\ntarget", "input: people_old\ntarget")
        jobs.write_text(raw.replace("[trade, long_hours]", "[trade]"))
        contract = town.folder / "contracts" / "people.yaml"
        column = "classification: work}"
        fails = "customProperties: [{property: action, value: fail}]"
        rule = f"classification: work, logicalTypeOptions: {{maximum: 20}}, {fails}}}"
        assert column in contract.read_text()
        contract.write_text(contract.read_text().replace(column, rule, 1))
        with pytest.raises(ContractViolation, match=r"rule 'hours.maximum': \d+ of \d+ rows break it, none may"):
            town.run("wealth")
        assert list((town.folder / "registry").iterdir()) == []

    def test_that_nobody_foresaw_leaves_no_text_of_its_own(self, town: Line) -> None:
        with (
            patch.object(execute, "run_prepare", side_effect=ValueError("CANARY")),
            pytest.raises(ValueError, match="CANARY"),
        ):
            town.run("people_ready")
        state = town.workspace.ledger.state(_only_run(town))
        assert state.error is not None
        assert state.error.startswith("ValueError: unexpected")
        assert not [path for path in town.storage.rglob("*") if path.is_file() and b"CANARY" in path.read_bytes()]

    def test_by_interruption_says_so_and_can_be_resumed(self, town: Line) -> None:
        with patch.object(execute, "run_prepare", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            town.run("people_ready")
        run_id = _only_run(town)
        assert town.workspace.ledger.state(run_id).error == "KeyboardInterrupt: interrupted"
        assert town.resume(run_id).state.state is State.DONE

    def test_of_the_store_itself_shows_the_first_error(self, town: Line) -> None:
        with (
            patch.object(execute, "run_prepare", side_effect=Integrity("what went wrong")),
            patch.object(execute, "record_result", side_effect=Storage("and the audit too")),
            pytest.raises(Integrity, match="what went wrong"),
        ):
            town.run("people_ready")


class TestDriverThatDies:
    @pytest.mark.parametrize("place", ["before its work", "before the audit's result", "before it is done"])
    def test_is_followed_by_one_that_finishes_and_publishes_once(self, town: Line, place: str) -> None:
        died = {
            "before its work": patch.object(execute, "run_prepare", side_effect=Died),
            "before the audit's result": patch.object(execute, "record_result", side_effect=Died),
            "before it is done": patch.object(Ledger, "finish", side_effect=Died),
        }[place]
        with died, patch.object(execute, "_record_failure"), pytest.raises(Died):
            town.run("people_ready")
        run_id = _only_run(town)
        assert town.workspace.ledger.state(run_id).state is State.RUNNING
        outcome = town.resume(run_id)
        assert outcome.state.state is State.DONE
        assert len(list(snapshot_journal(town.workspace.store, "people_ready").entries())) == 1
        assert len(_parts(town)) == len(town.records("people_ready", run_id))
        assert verify_audit(town.workspace.audit) == []
        with pytest.raises(Conflict):
            town.resume(run_id)

    def test_does_not_take_a_newer_output_back_when_it_is_resumed(self, town: Line) -> None:
        with (
            patch.object(Ledger, "finish", side_effect=Died),
            patch.object(execute, "_record_failure"),
            pytest.raises(Died),
        ):
            town.run("people_ready")
        old = _only_run(town)
        newer = town.run("people_ready", again=True)
        town.resume(old)
        snapshot = read_snapshot(town.workspace.store, "people_ready")
        assert snapshot is not None
        assert snapshot.manifests[-1].run == newer.state.run.id


class TestAudit:
    def test_names_who_reads_also_when_somebody_else_began(self, town: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        with patch.object(execute, "run_prepare", side_effect=Storage("gone")), pytest.raises(Storage):
            town.run("people_ready")
        began = town.workspace.ledger.read(_only_run(town)).principal
        monkeypatch.setattr("dataops.runs.workspace.os_user", lambda: "second-person")
        (town.folder / "principals.yaml").write_text("principals:\n  second-person: {roles: [data_science, other]}\n")
        town.resume(_only_run(town))
        intents = [entry for entry in _audited(town) if "principal" in entry]
        assert [entry["principal"] for entry in intents] == [began, "second-person"]
        assert intents[1]["roles"] == ["data_science", "other"]

    def test_refuses_who_has_no_role(self, town: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dataops.runs.workspace.os_user", lambda: "nobody-at-all")
        with pytest.raises(AccessDenied, match="nobody-at-all"):
            town.run("people_ready")
        assert town.workspace.ledger.ids() == []


def test_a_job_never_writes_over_what_another_job_makes(town: Line) -> None:
    made = town.run("people_ready").state.run.id
    _change_jobs(town, lambda text: text.replace("name: people_ready", "name: people_again", 1))
    with pytest.raises(InvalidInput, match="is what job 'people_ready' makes"):
        town.run("people_again")
    assert town.workspace.ledger.ids() == [made]
    snapshot = read_snapshot(town.workspace.store, "people_ready")
    assert snapshot is not None
    assert snapshot.manifests[-1].run == made


class TestSameWork:
    def test_is_skipped_only_while_its_output_is_still_there(self, town: Line) -> None:
        first = town.run("people_ready")
        assert town.run("people_ready").skipped
        _change_jobs(town, lambda text: text.replace("hours > 40", "hours > 41"))
        assert not town.run("people_ready").skipped
        _change_jobs(town, lambda text: text)
        back = town.run("people_ready")
        assert not back.skipped
        assert list(town.parts("people_ready", back.state.run.id).values()) == list(
            town.parts("people_ready", first.state.run.id).values()
        )

    def test_of_training_is_skipped_only_while_its_versions_are_registered(self, town: Line) -> None:
        town.run("people_ready")
        town.run("wealth")
        assert town.run("wealth").skipped
        (town.folder / "registry").rename(town.folder / "elsewhere")
        assert not town.run("wealth").skipped
        assert [version.version for version in town.workspace.registry.versions("wealth")] == [1, 2]

    def test_is_done_anew_when_data_or_policy_changed(self, town: Line) -> None:
        town.run("people_ready")
        path = town.folder / "data/people_old/part-000.parquet"
        pq.write_table(pq.read_table(path).slice(0, 100), path)
        assert not town.run("people_ready").skipped
        policy = town.folder / "policies/people.yaml"
        policy.write_text(policy.read_text().replace("age >= 18", "age >= 21"))
        assert not town.run("people_ready").skipped


def test_figures_say_what_was_read_under_which_rules_and_no_value(town: Line) -> None:
    figures = report_figures(town.run("people_ready").state)
    (read,) = figures["inputs"]
    assert (read["denied"], read["filters"], read["rows"]) == (["diagnosis"], ["age >= 18"], 800)
    assert {mask["column"]: mask["mask"].split()[0] for mask in read["masked"]} == {
        "age": "generalise", "person_id": "pseudonym",
    }  # fmt: skip
    assert [phase["phase"] for phase in figures["phases"]] == ["prepare", "publish"]
    assert figures["reads"]["input"]["counts"]["read"] == 800
    assert "secret-" not in str(figures)


def test_explaining_reads_no_row_and_starts_no_run(town: Line) -> None:
    job = find_job(town.folder / "jobs/people.yaml", "people_ready").job
    with patch("pyarrow.parquet.ParquetFile.read_row_groups", side_effect=AssertionError):
        explained = explain_job(town.workspace, job, source="j")
    verdicts = {column["column"]: column["verdict"] for column in explained["inputs"][0]["columns"]}
    assert (verdicts["diagnosis"], verdicts["age"], verdicts["hours"]) == ("denied", "masked", "visible")
    assert explained["refused"] is None
    assert town.workspace.ledger.ids() == []


def test_a_report_lies_in_the_storage_also_where_that_is_named_by_a_url(town: Line, tmp_path: Path) -> None:
    workspace = open_workspace(str(town.folder), {"DATAOPS_STORAGE": (tmp_path / "elsewhere").as_uri()})
    assert report_path(workspace, "r1") == tmp_path / "elsewhere/runs/r1/report.html"
