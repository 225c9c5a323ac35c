"""A rescore that ends at any of its puts, at any moment of it: the next one finishes it, and nothing is done twice.

In this process and without a cluster: `test_schedules` does it with real processes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dataops.errors import Conflict
from dataops.runs.ledger import State
from tests.datasets.examples import open_one
from tests.faults.dying import OF_A_RUN, OF_A_UNIT, Death, Deed, Died, Moment, Step, begun, mortal, taken
from tests.faults.oracle import only_run, published, records
from tests.runs.offline import SCORES, Offline

FILES = 3
PUTS = 12  # of one kind in a run, and one more
# what comes before one put mostly comes after another
MOMENTS = [
    pytest.param(*one, marks=[pytest.mark.faults] if one[1] is Moment.BEFORE else [], id="-".join(one))
    for one in (*OF_A_UNIT, *OF_A_RUN)
]
UNTIL_VISIBLE = (Step.READ, Step.SCORE, Step.PART, Step.RECORD, Step.MANIFEST)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """A town that nobody scored yet."""
    made = Offline.make(tmp_path_factory.mktemp("sweep") / "town", files=FILES)
    open_one(made.workspace, "people_new", "score")  # which is recorded: all other puts are the run's
    return made


@pytest.fixture(scope="module")
def parts(town: Offline, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of a run without a fault."""
    whole = copied(town, tmp_path_factory.mktemp("whole") / "town")
    return whole.line.parts(SCORES, whole.run().state.run.id)


def copied(town: Offline, folder: Path) -> Offline:
    shutil.copytree(town.folder, folder)
    return Offline(folder=folder)


@pytest.mark.parametrize(("step", "moment"), MOMENTS)
def test_a_run_that_dies_anywhere_is_finished_by_the_next(
    town: Offline, parts: dict[str, bytes], tmp_path: Path, step: Step, moment: Moment
) -> None:
    died = 0
    for nth in range(1, PUTS) if (step, moment) in OF_A_RUN else (1, FILES):
        one, marks = copied(town, tmp_path / f"town-{nth}"), tmp_path / f"marks-{nth}"
        marks.mkdir()
        try:
            with mortal([Death(step=step, moment=moment, nth=nth, deed=Deed.RAISE)], marks):
                one.run()
            break  # so many there aren't
        except Died:
            died += 1
        _require_finished(one, parts, tmp_path / f"resumed-{nth}", died_at=step)
    assert died
    assert taken(tmp_path / "marks-1") == [0]


def _require_finished(town: Offline, parts: dict[str, bytes], marks: Path, *, died_at: Step) -> None:
    run = only_run(town)
    before = records(town, run)
    if died_at in UNTIL_VISIBLE:
        assert published(town) is None
    marks.mkdir()
    with mortal([], marks):
        if town.workspace.ledger.state(run).state is State.DONE:
            with pytest.raises(Conflict):
                town.resume(run)
        else:
            town.resume(run)
    assert len(begun(marks)) == FILES - len(before)
    assert before.items() <= records(town, run).items()
    manifest = published(town)
    assert manifest is not None
    assert manifest.run == run
    assert town.line.parts(SCORES, run) == parts
    assert sum(part.rows for part in manifest.fragments) == manifest.counts["passed"] == len(town.rows())
