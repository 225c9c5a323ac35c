"""Scores for other systems: a Delta table of what the exporter may see, taken in the audit's sight."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from deltalake import DeltaTable

from dataops.cli.main import main
from dataops.runs.execute import Outcome
from tests.line.running import Line

ANSWER = "held this snapshot already"


def _export(line: Line, name: str, folder: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["dataset", "export", name, str(folder), *more, "--workspace", str(line.folder)])


def test_holds_the_scores_and_repeats_nothing(line: Line, outcomes: dict[str, Outcome], tmp_path: Path) -> None:
    typed = _export(line, "people_scores", tmp_path / "scores", "--json")
    assert typed.exit_code == 0, typed.output
    rows = line.rows("people_scores")
    assert (
        json.loads(typed.output)["rows"]
        == len(rows)
        == outcomes["people_scores"].state.result["reads"]["input"]["counts"]["passed"]
    )
    found = DeltaTable(str(tmp_path / "scores")).to_pyarrow_table().to_pylist()
    assert sorted(row["probability"] for row in found) == sorted(row["probability"] for row in rows)
    assert f"\nstate     {ANSWER}\n" in _export(line, "people_scores", tmp_path / "scores").output


def test_shows_no_more_than_the_policies(line: Line, tmp_path: Path) -> None:
    typed = _export(line, "people_new", tmp_path / "people", "--partition-by", "trade")
    assert typed.exit_code == 0, typed.output
    found = DeltaTable(str(tmp_path / "people")).to_pyarrow_table()
    assert "diagnosis" not in found.column_names
    assert all(age % 5 == 0 and age >= 15 for age in found.column("age").to_pylist())
    assert not any(b"secret" in file.read_bytes() for file in (tmp_path / "people").rglob("*") if file.is_file())
    audit = CliRunner().invoke(main, ["audit", "show", "--json", "--workspace", str(line.folder)])
    assert any(one["run"].startswith("export-") for one in json.loads(audit.output) if one.get("run"))


@pytest.mark.parametrize("purpose", ["benchmark"])
def test_for_a_purpose_without_a_grant_writes_nothing(line: Line, tmp_path: Path, purpose: str) -> None:
    typed = _export(line, "people_new", tmp_path / "none", "--purpose", purpose)
    assert typed.exit_code == 7
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("place", ["storage/audit", "storage", ".", "data/people_new", "registry/x", "keys"])
def test_among_what_the_workspace_reads_is_refused(line: Line, outcomes: dict[str, Outcome], place: str) -> None:
    folder = line.folder / place
    before = sorted(folder.rglob("*")) if folder.is_dir() else None
    typed = _export(line, "people_scores", folder)
    assert typed.exit_code == 2
    assert "choose a folder of the table's own" in typed.output
    assert (sorted(folder.rglob("*")) if folder.is_dir() else None) == before


def test_among_other_files_is_refused(line: Line, outcomes: dict[str, Outcome], tmp_path: Path) -> None:
    (tmp_path / "mine.parquet").write_bytes(b"mine")
    typed = _export(line, "people_scores", tmp_path)
    assert typed.exit_code == 2
    assert "holds other files" in typed.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.parquet"]
