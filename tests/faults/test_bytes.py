"""One model version over the same units: the same bytes for any workers and order, done twice, and after a resume."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dataops.models.predictor import BOOSTED, LINEAR
from tests.faults.dying import Death, Deed, Died, Step, mortal
from tests.faults.oracle import Undisturbed, only_run, require_same
from tests.line.running import Line, standing_cluster
from tests.rescoring.examples import register
from tests.runs.offline import SCORES, Offline

FILES = 6


@pytest.fixture(scope="module", params=[LINEAR, BOOSTED])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Offline, dict[str, bytes]]:
    """A town that nobody scored yet, with a version of this kind, and what comes of it."""
    home = tmp_path_factory.mktemp("bytes")
    town = Offline.make(home / "town", files=FILES)
    if request.param != LINEAR:
        register(town.workspace, request.param)
        town.change("jobs/people.yaml", "wealth@1", "wealth@2")
    shutil.copytree(town.folder, home / "whole")
    scored = Offline(folder=home / "whole")
    return town, scored.line.parts(SCORES, scored.run().state.run.id)


@pytest.mark.parametrize(("seed", "twice"), [(1, False), (2, True)])
def test_in_any_order_also_twice_and_after_a_resume(
    whole: tuple[Offline, dict[str, bytes]], tmp_path: Path, seed: int, *, twice: bool
) -> None:
    town, parts = whole
    shutil.copytree(town.folder, tmp_path / "town")
    again = Offline(folder=tmp_path / "town", seed=seed, twice=twice)
    with mortal([Death(step=Step.RECORD, nth=seed + 1, deed=Deed.RAISE)], tmp_path), pytest.raises(Died):
        again.run()
    again.resume(only_run(again))
    assert again.line.parts(SCORES, only_run(again)) == parts


@pytest.mark.faults
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_with_workers(
    undisturbed: Undisturbed, unscored: Callable[[], Offline], whole: tuple[Offline, dict[str, bytes]], workers: int
) -> None:
    town = unscored()
    with standing_cluster(workers) as connection:
        run = Line(folder=town.folder, connection=connection).run(SCORES).state.run.id
        require_same(town, run, undisturbed)
        again = Line(folder=whole[0].folder, connection=connection).run(SCORES, again=True).state.run.id
    assert whole[0].line.parts(SCORES, again) == whole[1]
