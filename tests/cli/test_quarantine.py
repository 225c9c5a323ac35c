"""``dataops quarantine``: anybody counts, a steward sees, a replay says what came of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from dataops.engine.connect import Connection
from dataops.governance.audit import verify_audit
from tests.cli.conftest import Call
from tests.line.people import CONTRACT, give_roles, make_workspace
from tests.line.running import Line

ASIDE = 20  # one file of 400 people, every twentieth with an impossible age
LOOSENED = CONTRACT.replace("logicalTypeOptions: {minimum: 0, maximum: 120}}", "logicalTypeOptions: {minimum: 0}}")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, cluster: Client) -> Line:
    """A workspace with a training set, whose quarantine holds a row of every twentieth person."""
    connection = Connection(client=cluster, dashboard="http://127.0.0.1", workers=2, threads=1)
    line = Line(folder=make_workspace(tmp_path_factory.mktemp("prepared") / "people", files=1), connection=connection)
    line.run("people_ready")
    return line


@pytest.fixture
def line(prepared: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A copy of it, in which the test stands, and whose jobs run on the session's cluster."""
    folder = tmp_path / "people"
    shutil.copytree(prepared.folder, folder)
    monkeypatch.chdir(folder)
    line = Line(folder=folder, connection=prepared.connection)
    with line._standing():
        yield line


def _run(line: Line) -> str:
    (run,) = line.workspace.ledger.ids()
    return run


def _be(line: Line, *roles: str) -> None:
    give_roles(line.folder, *roles)


def _audited(line: Line) -> list[dict[str, object]]:
    return [dict(entry.body) for entry in line.workspace.audit.entries()]


class TestList:
    def test_of_an_empty_workspace_says_so(self, workspace: Path, dataops: Call) -> None:
        assert dataops("quarantine", "list").out == "nothing waits in quarantine\n"
        assert dataops("quarantine", "list", "--all").out == "nothing in quarantine\n"
        assert dataops("quarantine", "list", "--json").json == []

    def test_counts_by_dataset_run_and_rule_without_a_value(self, line: Line, dataops: Call) -> None:
        (one,) = dataops("quarantine", "list", "people_old", "--json").json
        assert (one["dataset"], one["output"], one["run"]) == ("people_old", "people_ready", _run(line))
        assert (one["state"], one["rows"], one["rules"]) == ("waiting", ASIDE, {"age.maximum": ASIDE})
        text = dataops("quarantine", "list").out
        assert "age.maximum" in text
        assert "secret" not in text

    def test_of_a_dataset_that_is_not_there_names_the_near_match(self, line: Line, dataops: Call) -> None:
        called = dataops("quarantine", "list", "people_odl")
        assert called.code == 3
        assert "Did you mean 'people_old'" in called.err

    def test_needs_no_role_of_a_steward_and_opens_no_file(self, line: Line, dataops: Call) -> None:
        for path in (line.storage / "quarantine").rglob("*.parquet"):
            path.write_bytes(b"")
        assert dataops("quarantine", "list", "--json").json[0]["rows"] == ASIDE

    def test_a_run_says_how_many_rows_it_set_aside(self, line: Line, dataops: Call) -> None:
        called = dataops("job", "run", "jobs/people.yaml", "people_ready", "--quiet")
        assert called.code == 0, called.err
        assert called.out.endswith(f"\n{ASIDE} rows set aside: dataops quarantine list\n")


class TestShow:
    def test_is_for_stewards_and_reads_nothing_for_others(self, line: Line, dataops: Call) -> None:
        before = _audited(line)
        called = dataops("quarantine", "show", "people_old")
        assert called.code == 7
        assert "for the role 'steward' alone" in called.err
        assert "150" not in called.out
        assert _audited(line) == before

    def test_gives_a_steward_the_rows_and_tells_the_audit(self, line: Line, dataops: Call) -> None:
        _be(line, "steward")
        shown = dataops("quarantine", "show", "people_old", "--limit", "3", "--json").json
        assert (shown["total"], len(shown["rows"])) == (ASIDE, 3)
        assert {row["age"] for row in shown["rows"]} == {150}
        assert [row["quarantine_row"] for row in shown["rows"]] == [0, 20, 40]
        assert shown["rows"][0]["run"] == _run(line)
        intent, result = _audited(line)[-2:]
        assert (intent["event"], intent["purpose"], intent["dataset"]) == ("intent", "steward", "people_old")
        assert (result["purpose"], result["outcome"], result["counts"]) == ("steward", "done", {"read": 3})
        assert not [one for one in verify_audit(line.workspace.audit) if "intent" in str(one)]

    def test_says_what_was_not_signed(self, line: Line, dataops: Call) -> None:
        _be(line, "steward")
        shutil.rmtree(line.folder / "keys")
        called = dataops("quarantine", "show", "people_old", "--json")
        assert called.json["total"] == ASIDE
        assert called.err.startswith("note: no checkpoint of the audit was signed")

    def test_as_text_says_how_many_there_are(self, line: Line, dataops: Call) -> None:
        _be(line, "data_science", "steward")
        called = dataops("quarantine", "show", "people_old", "--rule", "age.maximum", "--run", _run(line))
        assert called.code == 0
        facts, table = called.out.split("\n\n")
        said = dict(line.split(maxsplit=1) for line in facts.splitlines())
        assert said["reason"] == "age <= 120"
        assert (said["rule"], said["run"]) == ("age.maximum", _run(line))
        assert table.split()[:2] == ["row", "age"]
        assert len(table.splitlines()) == ASIDE + 1
        assert "5 of 20 rows" in dataops("quarantine", "show", "people_old", "--limit", "5").out

    def test_of_nothing_says_so_and_of_unknown_names_the_near_match(self, line: Line, dataops: Call) -> None:
        _be(line, "steward")
        assert "no row of 'people_new' waits" in dataops("quarantine", "show", "people_new").out
        called = dataops("quarantine", "show", "people_old", "--rule", "age.maximun")
        assert called.code == 3
        assert "Did you mean 'age.maximum'" in called.err
        assert dataops("quarantine", "show", "people_old", "--run", "nothing").code == 3

    def test_of_a_file_that_was_altered_is_refused_and_on_record(self, line: Line, dataops: Call) -> None:
        _be(line, "steward")
        (path,) = (line.storage / "quarantine").rglob("*.parquet")
        path.write_bytes(path.read_bytes()[:-1] + b"2")
        called = dataops("quarantine", "show", "people_old")
        assert called.code == 8
        assert _audited(line)[-1]["outcome"] == "failed"


class TestReplay:
    def test_says_what_came_in_and_what_stays(self, line: Line, dataops: Call) -> None:
        first = _run(line)
        (line.folder / "contracts/people.yaml").write_text(LOOSENED)
        called = dataops("quarantine", "replay", "people_old", "--quiet", "--json")
        assert called.code == 0, called.err
        assert called.json["replay_of"] == first
        assert (called.json["made"], called.json["snapshot"]) == ("people_ready", 2)
        assert (called.json["counts"]["read"], called.json["counts"]["passed"]) == (ASIDE, ASIDE)
        assert dataops("quarantine", "list").out == "nothing waits in quarantine\n"
        (taken,) = dataops("quarantine", "list", "--all", "--json").json
        assert (taken["state"], taken["replayed_by"]) == ("replayed", called.json["run"])
        verified = dataops("dataset", "verify", "people_ready", "--json")
        assert verified.code == 0, verified.err
        again = dataops("quarantine", "replay", "people_old")
        assert (again.code, again.out) == (0, "nothing waits in quarantine\n")
        assert dataops("quarantine", "replay", "people_old", "--json").json == {"dataset": "people_old", "run": None}

    def test_that_frees_nothing_says_so(self, line: Line, dataops: Call) -> None:
        (run,) = line.workspace.ledger.ids()
        called = dataops("quarantine", "replay", "people_old", "--quiet")
        assert called.code == 0, called.err
        assert "still in quarantine" in called.out
        assert dataops("quarantine", "list", "--json").json[0]["run"] == run

    def test_of_a_changed_file_without_a_key_ends_with_a_conflict(self, line: Line, dataops: Call) -> None:
        path = line.folder / "data/people_old/part-000.parquet"
        path.touch()
        called = dataops("quarantine", "replay", "people_old", "--quiet")
        assert called.code == 5
        assert "has none" in called.err
        assert len(line.workspace.ledger.ids()) == 1
