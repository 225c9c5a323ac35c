"""What a job may take is told by what it would read, not by what earlier runs had done already."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.declarations.jobs import find_job
from dataops.runs import explain
from dataops.runs.explain import explain_job
from dataops.runs.ledger import RunState
from tests.line.people import ROWS_PER_FILE
from tests.runs.input_files import add_file
from tests.runs.offline import SCORES, Offline

SECONDS_A_ROW = 0.5


def estimated(town: Offline) -> tuple[float | None, bool]:
    declared = find_job(town.folder / "jobs/people.yaml", SCORES)
    told = explain_job(town.workspace, declared.job, source=declared.document.source)
    return told["estimated_seconds"], told["is_scaled"]


def test_an_estimate_counts_the_rows_that_are_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files were scored, then a fourth: a run that reads it alone says how long a fifth takes."""

    def seconds(state: RunState) -> dict[str, float]:
        linked = [event["rows"] for event in state.events if event["event"] == "units_linked"]
        return {"score": SECONDS_A_ROW * (state.run.inputs["input"]["rows"] - max(linked, default=0))}

    monkeypatch.setattr(RunState, "phase_seconds", seconds)
    monkeypatch.setattr(explain, "LEAST_ROWS", 1)
    town = Offline.make(tmp_path / "town", files=3)
    town.run()
    add_file(town)
    one_file = pytest.approx(SECONDS_A_ROW * ROWS_PER_FILE)
    assert estimated(town) == (one_file, True)  # by the time for a row of the first run
    town.run()
    add_file(town, 8)
    assert estimated(town) == (one_file, False)  # by the run that read one file as well
