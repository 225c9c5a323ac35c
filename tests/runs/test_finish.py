"""The end of a run that published and died, written by the next: it says what the run itself would have said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.rescoring.examples import PROGRAM
from tests.rescoring.test_monitor import judge, version_with
from tests.runs.input_files import arrive, follow, people
from tests.runs.offline import JOBS, Offline, dying
from tests.storage.faulty import Crash

MONITORED = "\nchallengers: {next: wealth@1}\nmonitor: {drift: true, slices: [region]}"


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """A workspace whose last run published the scores of a file, and died before it said so."""
    made = Offline.make(tmp_path_factory.mktemp("home") / "town", files=1)
    version_with(made.workspace, judge(PROGRAM.run(people(7))[0]))
    made.change(JOBS, "wealth@1", "wealth@2")
    follow(made, MONITORED)
    arrive(made, "a", 1)
    with dying(at=3, after=True), pytest.raises(Crash):
        made.run()
    return made


@pytest.fixture
def town(dead: Offline, tmp_path: Path) -> Offline:
    return dead.copied(tmp_path)


def ended_by_the_next(town: Offline) -> dict[str, Any]:
    outcome = town.run()
    assert outcome.skipped
    return dict(outcome.state.result)


def test_an_end_written_by_the_next_says_as_much_as_one_taken_up(town: Offline, tmp_path: Path) -> None:
    other = town.copied(tmp_path / "other")
    resumed = other.resume(other.runs()[-1]).state.result
    ended = ended_by_the_next(town)
    assert ended == resumed
    assert "columns" in ended["drift"]
    assert ended["challengers"]["next"]["impact"]["slices"]["region"]


def test_an_end_without_the_version_says_that_drift_is_unknown(town: Offline) -> None:
    for path in (town.folder / "registry").rglob("versions/2/reference.json"):
        path.unlink()
    town.change(JOBS, "wealth@2", "wealth@1")
    town.change(JOBS, ", slices: [region]", "")
    ended = ended_by_the_next(town)
    assert "couldn't be read" in ended["drift"]["unknown"]
    assert ended["scores"]
