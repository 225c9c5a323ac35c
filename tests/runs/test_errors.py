"""Rows that came to no score: told to who may read the scores, under the policies of today, and to nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataops.datasets.verify import verify_dataset
from dataops.errors import ContractViolation, InvalidInput, NotFound
from dataops.runs.errors import ErrorRows, error_rows_of
from tests.line.people import ROWS_PER_FILE, give_roles, make_people
from tests.rescoring.poison import fail_here, poison_rows
from tests.runs.offline import SCORES, Offline

ASIDE = ROWS_PER_FILE // 20
FAILING = {7: "raises", 33: "raises", 391: "raises"}
SECOND = "part-001.parquet"
POLICY, JOBS = "policies/people.yaml", "jobs/people.yaml"
RULE = "  - {{id: more, effect: {effect}, purposes: [score], zones: [production], datasets: [{dataset}], {what}}}\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """A town of two files, three of whose rows no model can score."""
    made = Offline.make(tmp_path_factory.mktemp("errors") / "town", files=2)
    made.change(JOBS, "keep: [person_id]", "keep: [person_id, trade]")
    poison_rows(made.folder / "data" / "people_new" / SECOND, FAILING)
    with pytest.MonkeyPatch.context() as monkeypatch:
        fail_here(monkeypatch)
        made.run()
    return made


@pytest.fixture
def town(home: Offline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offline:
    """A copy of it, whose files are as old."""
    fail_here(monkeypatch)
    return home.copied(tmp_path)


def look(town: Offline, run: str | None = None, limit: int = 1000) -> ErrorRows:
    """The error rows of `run`, or of the first one."""
    return error_rows_of(town.workspace, run or town.runs()[0], limit=limit)


def failed(rows: ErrorRows) -> list[Mapping[str, Any]]:
    return [row for row in rows.rows if row["reason"] == "TypeError"]


def restrict(town: Offline, effect: str, what: str, dataset: str = SCORES) -> None:
    """One more rule in the policy."""
    path = town.folder / POLICY
    path.write_text(path.read_text() + RULE.format(effect=effect, what=what, dataset=dataset))


def fails_its_budget(town: Offline) -> str:
    """The id of a run that set more aside than it may."""
    town.change(JOBS, "max_rate: 0.1", "max_rate: 0.01")
    with pytest.raises(ContractViolation, match=r"set aside|quarantined"):
        town.run()
    return town.runs()[-1]


class TestOfAPublishedRun:
    def test_are_told_by_file_row_reason_and_key(self, town: Offline) -> None:
        found = look(town)
        assert found.told == sum(found.reasons.values()) == len(found.rows)
        assert found.reasons["TypeError"] == len(FAILING)
        assert {(row["file"], row["row"]) for row in failed(found)} == {(SECOND, row) for row in FAILING}
        assert all(list(row) == ["file", "unit", "row", "reason", "person_id", "trade"] for row in found.rows)
        keys = {row["person_id"] for row in found.rows}
        assert len(keys) == len(found.rows)
        assert not keys & {row["person_id"] for row in town.rows()}
        assert "secret" not in str(found.rows)

    def test_are_as_many_as_are_asked_for(self, town: Offline) -> None:
        found = look(town, limit=5)
        assert len(found.rows) == 5
        assert found.told == sum(found.reasons.values())

    def test_are_accounted_for_in_the_dataset(self, town: Offline) -> None:
        verified = verify_dataset(town.workspace.settings, town.workspace.store, SCORES)
        assert verified.findings == ()
        assert verified.checks["rows failed"] == len(FAILING)
        (run,) = verified.runs
        assert run["failed"] == len(FAILING)

    def test_that_were_tampered_with_are_found_out(self, town: Offline) -> None:
        file = next(town.storage.rglob("errors-*.parquet"))
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        findings = verify_dataset(town.workspace.settings, town.workspace.store, SCORES).findings
        assert any("its bytes are not the recorded ones" in finding for finding in findings)

    def test_are_looked_at_with_the_audits_knowledge(self, town: Offline) -> None:
        look(town)
        intent, result = [entry.body for entry in town.workspace.audit.entries()][-2:]
        assert intent["run"] == result["run"]
        assert intent["dataset"] == SCORES
        assert result["outcome"] == "done"
        assert result["counts"]["read"] > 0

    def test_are_counted_in_the_runs_result(self, town: Offline) -> None:
        result = town.workspace.ledger.state(town.runs()[0]).result
        assert result["errors"] == look(town).reasons


class TestUnderThePoliciesOfToday:
    def test_a_key_that_is_denied_is_not_read(self, town: Offline) -> None:
        restrict(town, "deny", "columns: {names: [person_id]}, reason: none of your business")
        assert all(list(row) == ["file", "unit", "row", "reason", "trade"] for row in look(town).rows)

    def test_a_key_that_is_masked_is_masked(self, town: Offline) -> None:
        before = {row["person_id"] for row in look(town).rows}
        restrict(town, "mask", "columns: {names: [person_id]}, mask: redact")
        after = {row["person_id"] for row in look(town).rows}
        assert len(after) == 1
        assert not after & before

    def test_who_may_see_some_rows_by_what_error_rows_lack_sees_none(
        self, town: Offline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dataops.runs.errors._keys", lambda *_: ["person_id"])
        restrict(town, "filter", "where: \"trade = 'smith'\"")
        records = len(list(town.workspace.audit.entries()))
        found = look(town)
        assert (found.rows, "by their column 'trade'" in str(found.hidden)) == ((), True)
        assert len(list(town.workspace.audit.entries())) == records

    def test_a_filter_on_the_key_holds_for_error_rows(self, town: Offline) -> None:
        smiths = [row for row in look(town).rows if row["trade"] == "smith"]
        restrict(town, "filter", "where: \"trade = 'smith'\"")
        assert list(look(town).rows) == smiths != []

    def test_who_may_read_nothing_sees_nothing(self, town: Offline) -> None:
        before = look(town)
        records = len(list(town.workspace.audit.entries()))
        give_roles(town.folder, "visitor")
        found = look(town)
        assert (found.rows, found.reasons, found.told) == ((), before.reasons, before.told)
        assert "visitor" in str(found.hidden)
        assert before.hidden is None
        assert len(list(town.workspace.audit.entries())) == records  # nothing was read


class TestOfARunThatIsNoPartOfItsOutput:
    def test_are_told_to_who_may_read_its_input_as_it_did(self, town: Offline) -> None:
        run = fails_its_budget(town)
        found = look(town, run)
        assert found.told == sum(found.reasons.values()) > 0
        assert all("secret" not in row["person_id"] for row in found.rows)
        intent = [entry.body for entry in town.workspace.audit.entries()][-2]
        assert intent["dataset"] == "people_new"

    @pytest.mark.parametrize(
        ("effect", "what"),
        [("mask", "columns: {names: [hours]}, mask: redact"), ("filter", 'where: "hours > 1"')],
    )
    def test_are_refused_once_anything_is_granted_otherwise(self, town: Offline, effect: str, what: str) -> None:
        run = fails_its_budget(town)
        restrict(town, effect, what.replace("redact", "null"), dataset="people_new")
        found = look(town, run)
        assert found.rows == ()
        assert "was granted otherwise than it is to you today" in str(found.hidden)

    def test_are_told_of_a_run_whose_place_a_newer_one_took(self, town: Offline) -> None:
        before = look(town)
        town.run(again=True)
        after = look(town, town.runs()[0])
        assert after.rows == before.rows


class TestOfLinkedUnits:
    def test_have_the_place_that_they_have_now(self, town: Offline) -> None:
        table = make_people(np.random.default_rng(5), 9000, ROWS_PER_FILE, "secret")
        pq.write_table(table, town.folder / "data" / "people_new" / "part-000-first.parquet")
        outcome = town.run()
        linked = [one for one in town.line.records(SCORES, outcome.state.run.id).values() if one.linked]
        assert linked
        found = look(town, outcome.state.run.id)
        assert {(row["file"], row["row"]) for row in failed(found)} == {(SECOND, row) for row in FAILING}
        units = {unit.id: unit.fragment.path for unit in town.workspace.ledger.plan(outcome.state.run.id, "input")}
        assert all(units[row["unit"]] == row["file"] for row in found.rows)
        assert found.told == 3 * ASIDE + len(FAILING)


class TestOfNoRescore:
    def test_there_are_none(self, town: Offline) -> None:
        outcome = town.run("people_ready")
        with pytest.raises(InvalidInput, match="is a prepare: only a rescore"):
            look(town, outcome.state.run.id)

    def test_of_a_jobs_name_the_newest_run_is_named(self, town: Offline) -> None:
        newest = town.runs()[-1]
        name = newest.rsplit("-", 2)[0]
        with pytest.raises(NotFound, match=f"That is a job; its newest run is '{newest}'"):
            error_rows_of(town.workspace, name, limit=1)

    def test_of_an_unknown_run_the_near_match_is_named(self, town: Offline) -> None:
        with pytest.raises(NotFound, match="Did you mean"):
            look(town, town.runs()[0] + "0")
