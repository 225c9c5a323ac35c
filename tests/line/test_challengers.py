"""A challenger beside the champion: scored in the same pass, and shown with what it would change."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from dataops.cli.main import main
from dataops.runs.execute import Outcome
from tests.line.running import Line

JOB = """\
name: compared
job: rescore
model: wealth@1
challengers: {next: wealth@2}
input: people_new
keep: [person_id]
outputs: [probability]
monitor: {slices: [region]}
errors: {max_rate: 0.1}
output: people_compared
"""


@pytest.fixture(scope="module")
def compared(line: Line, outcomes: dict[str, Outcome]) -> Outcome:
    assert outcomes["wealth"].state.result["versions"]
    (line.folder / "jobs" / "compared.yaml").write_text(JOB)
    return line.run("compared", file="jobs/compared.yaml")


def _type(line: Line, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--workspace", str(line.folder)])


def test_both_are_pinned_by_the_run(compared: Outcome) -> None:
    run = compared.state.run
    assert run.model is not None
    assert (run.model["version"], run.challengers["next"]["version"]) == (1, 2)


def test_the_impact_is_what_the_rows_say(line: Line, compared: Outcome) -> None:
    rows = line.rows("people_compared")
    up = sum(row["probability"] < 0.5 <= row["probability_next"] for row in rows)
    typed = _type(line, "model", "impact", compared.state.run.id, "--json")
    assert typed.exit_code == 0, typed.output
    figures = json.loads(typed.output)["figures"]
    assert figures["rows"] == len(rows)
    assert figures["flipped_up"] == pytest.approx(up / len(rows))
    assert 0.5 < figures["rank_correlation"] < 1
    by_region = figures["slices"]["region"]
    assert sum(one["rows"] for one in by_region.values()) == len(rows)
    flipped = sum(one["rows"] * one["flipped_up"] for one in by_region.values())
    assert flipped == pytest.approx(up)


def test_the_movers_are_the_rows_that_differ_most(line: Line, compared: Outcome) -> None:
    run = compared.state.run.id
    movers = json.loads(_type(line, "model", "impact", run, "--movers", "3", "--json").output)["movers"]
    rows = line.rows("people_compared")
    changes = sorted((abs(row["probability_next"] - row["probability"]) for row in rows), reverse=True)
    assert [abs(row["change"]) for row in movers] == pytest.approx(changes[:3])
    shown = json.loads(_type(line, "audit", "show", "--json").output)
    assert [one["counts"]["passed"] for one in shown if one.get("dataset") == "people_compared" and "counts" in one]
    assert movers[0]["person_id"] in _type(line, "model", "impact", run, "--movers", "3").output


def test_a_run_without_challengers_says_how_to_name_one(line: Line, outcomes: dict[str, Outcome]) -> None:
    typed = _type(line, "model", "impact", outcomes["people_scores"].state.run.id)
    assert typed.exit_code == 2
    assert "challengers: {next: wealth@challenger}" in typed.output


def test_a_challenger_of_another_name_is_refused(line: Line, compared: Outcome) -> None:
    typed = _type(line, "model", "impact", compared.state.run.id, "--challenger", "nxt")
    assert typed.exit_code == 3
    assert "Did you mean 'next'" in typed.output


def test_lineage_names_both_models(line: Line, compared: Outcome) -> None:
    typed = _type(line, "lineage", "show", "people_compared", "--json")
    assert typed.exit_code == 0, typed.output
    assert "probability_next" in typed.output
