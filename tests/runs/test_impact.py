"""The rows that a challenger would move most: those of the run that is asked about, and of no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dataops.errors import Conflict
from dataops.models.predictor import BOOSTED
from dataops.runs.impact import show_impact
from tests.rescoring.examples import register
from tests.runs.input_files import arrive, follow
from tests.runs.offline import JOBS, Offline

MOST = 10_000
Scores = tuple[float, float]


def _compared(folder: Path) -> Offline:
    made = Offline.make(folder / "town", files=1)
    register(made.workspace, BOOSTED)
    made.change(JOBS, "model: wealth@1", "model: wealth@1\nchallengers: {next: wealth@2}")
    return made


def _movers(town: Offline, run: str) -> Counter[Scores]:
    rows = show_impact(town.workspace, run, movers=MOST).movers
    assert rows is not None
    return _counted(rows)


def _counted(rows: Iterable[Mapping[str, Any]]) -> Counter[Scores]:
    """Rows by both their scores: keys are masked for who evaluates."""
    return Counter((row["probability"], row["probability_next"]) for row in rows)


def test_are_those_of_one_run_of_a_job_that_follows(tmp_path: Path) -> None:
    town = _compared(tmp_path)
    follow(town)
    arrive(town, "a", 1)
    first = town.run().state.run.id
    before = _counted(town.rows())
    arrive(town, "b", 2)
    second = town.run().state.run.id
    assert _movers(town, first) == before
    assert _movers(town, second) == _counted(town.rows()) - before


def test_of_a_run_that_was_replaced_are_refused(tmp_path: Path) -> None:
    town = _compared(tmp_path)
    first = town.run().state.run.id
    second = town.run(again=True).state.run.id
    with pytest.raises(Conflict, match=f"{first} are no longer part .* {second}"):
        show_impact(town.workspace, first, movers=3)
    assert _movers(town, second) == _counted(town.rows())
