"""``job explain``: what a job would read, check and make, in words, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dataops.runs import explain
from tests.cli.conftest import Call

JOBS = "jobs/people.yaml"


def test_says_what_rules_ask_and_why_columns_are_denied_once(workspace: Path, dataops: Call) -> None:
    called = dataops("job", "explain", JOBS, "people_ready")
    assert called.code == 0, called.err
    lines = [" ".join(line.split()) for line in called.out.splitlines()]
    assert "rule asks if broken" in lines
    assert "age.maximum age <= 120 quarantine" in lines
    assert lines.count("people/no-health: health is nobody's business") == 1
    assert "diagnosis no denied sensitive.health people/no-health" in lines
    assert (lines[0], lines[-1]) == ("this job may run", "this job may run")


def test_a_refusal_is_the_first_and_the_last_that_is_said(workspace: Path, dataops: Call) -> None:
    jobs = workspace / JOBS
    jobs.write_text(jobs.read_text().replace("hours", "diagnosis"))
    called = dataops("job", "explain", JOBS, "people_ready")
    assert called.code == 7
    lines = called.out.splitlines()
    assert lines[0].startswith("refused: ")
    assert lines[0] in lines[2:]


def test_says_what_a_prepare_job_makes_of_what(workspace: Path, dataops: Call) -> None:
    made = dataops("job", "explain", JOBS, "people_ready", "--json").json["output"]
    assert made["dataset"] == "people_ready"
    columns = {one["column"]: one for one in made["columns"]}
    assert columns["long_hours"] == {
        "column": "long_hours",
        "made_of": ["hours"],
        "classification": "work",
        "masked": False,
    }
    assert (columns["split"]["made_of"], columns["age"]["masked"]) == (["person_id"], True)
    assert "long_hours  hours" in dataops("job", "explain", JOBS, "people_ready").out


def test_a_limit_is_a_column_where_a_rule_has_one(workspace: Path, dataops: Call) -> None:
    contract = workspace / "contracts/people.yaml"
    check = 'quality: [{id: sane, type: sql, query: "hours < 100", mustBeLessThan: 6, unit: percent}]'
    contract.write_text(
        contract.read_text().replace(
            "{name: hours, logicalType: number, physicalType: float64, classification: work}",
            f"{{name: hours, logicalType: number, physicalType: float64, classification: work, {check}}}",
        )
    )
    out = dataops("job", "explain", JOBS, "people_ready").out
    (line,) = (line for line in out.splitlines() if line.startswith("sane"))
    assert line.split("  ")[-1] == "6 percent"
    assert "tolerated" in out


@pytest.mark.parametrize(
    ("past", "says"),
    [
        ([], None),
        ([(400, 7.2), (400, 6.8), (390, 7.0)], "earlier runs of this job took about 7 s (3 runs)"),
        ([(20, 5.0)], None),  # what so few rows take says nothing
        ([(40_000, 100.0), (20, 5.0)], "about 1 s, by the time that earlier runs of this job took for a row (1 run)"),
    ],
)
def test_an_estimate_is_what_like_runs_took(
    workspace: Path, dataops: Call, monkeypatch: pytest.MonkeyPatch, past: Sequence[tuple[int, float]], says: str | None
) -> None:
    monkeypatch.setattr(explain, "_past", lambda *_: iter(past))
    out = dataops("job", "explain", JOBS, "people_ready").out
    assert says in out.splitlines() if says else "earlier" not in out
