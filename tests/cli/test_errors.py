"""``dataops job errors``: rows that came to no score, for people and for programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.errors import InvalidInput
from tests.cli.conftest import Call
from tests.line.people import give_roles
from tests.rescoring.poison import fail_here, poison_rows
from tests.runs.offline import Offline


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """A town of one file, one of whose rows no model can score."""
    made = Offline.make(tmp_path_factory.mktemp("errors") / "town", files=1)
    poison_rows(made.folder / "data" / "people_new" / "part-000.parquet", {33: "raises"})
    with pytest.MonkeyPatch.context() as monkeypatch:
        fail_here(monkeypatch)
        made.run()
    return made


def test_are_counted_by_reason_and_shown_by_place(town: Offline, dataops: Call) -> None:
    (run,) = town.runs()
    shown = dataops("job", "errors", run, "--limit", "1000", "-w", str(town.folder))
    assert shown.code == 0
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["TypeError", "1"] in lines
    assert any(line[:4] == ["part-000.parquet", "u000000", "33", "TypeError"] for line in lines)
    few = dataops("job", "errors", run, "--limit", "2", "-w", str(town.folder))
    assert "2 of 21 rows; --limit shows more" in few.out
    assert not {"CANARY", "secret"} & set((shown.out + few.out).replace("-", " ").split())


def test_are_one_document_for_programs(town: Offline, dataops: Call) -> None:
    (run,) = town.runs()
    found = dataops("job", "errors", run, "--limit", "1000", "--json", "-w", str(town.folder)).json
    assert found["total"] == sum(found["reasons"].values()) == len(found["rows"]) == 21
    assert found["rows"][0].keys() == {"file", "unit", "row", "reason", "person_id"}


def test_who_may_not_see_the_rows_is_told_their_reasons_and_that(town: Offline, dataops: Call) -> None:
    (run,) = town.runs()
    seen = dataops("job", "errors", run, "--json", "-w", str(town.folder)).json
    give_roles(town.folder, "visitor")
    try:
        told = dataops("job", "errors", run, "--json", "-w", str(town.folder))
        text = dataops("job", "errors", run, "-w", str(town.folder))
    finally:
        give_roles(town.folder, "data_science")
    assert (told.code, text.code) == (0, 0)
    assert (told.json["rows"], told.json["reasons"], told.json["total"]) == ([], seen["reasons"], seen["total"])
    assert ["TypeError", "1"] in [line.split() for line in text.out.splitlines()]
    assert "which rows they are isn't yours to see: " in text.out
    assert "part-000" not in told.out + text.out


def test_a_run_whose_rows_were_all_scored_says_so(tmp_path: Path, dataops: Call) -> None:
    made = Offline.make(tmp_path / "town", files=1)
    contract = "contracts/people.yaml"
    made.change(contract, "minimum: 0, maximum: 120", "minimum: 0, maximum: 200")
    made.run()
    (run,) = made.runs()
    assert dataops("job", "errors", run, "-w", str(made.folder)).out.startswith(f"every row of {run}")
    made.run("people_ready")
    prepared = dataops("job", "errors", made.runs()[-1], "-w", str(made.folder))
    assert prepared.code == InvalidInput.exit_code
