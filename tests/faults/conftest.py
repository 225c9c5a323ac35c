"""People in many small units, scored once without a fault: what every run that was killed has to come to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataops.models.predictor import BOOSTED
from dataops.runs.promotion import promote_version
from tests.datasets.examples import open_one
from tests.faults.driver import end_all
from tests.faults.oracle import UNITS, Undisturbed, published
from tests.rescoring.examples import register
from tests.runs.offline import SCORES, Offline


@pytest.fixture(autouse=True)
def _no_driver_stays() -> Iterator[None]:
    yield
    end_all()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What comes of the people without a fault; they are scored by the first of two versions, which is champion."""
    home = tmp_path_factory.mktemp("faults")
    made = Offline.make(home / "unscored", files=UNITS)
    register(made.workspace, BOOSTED)
    promote_version(made.workspace, "wealth", 1, reason="test")
    made.change("jobs/people.yaml", "wealth@1", "wealth@champion")
    open_one(made.workspace, "people_new", "score")  # which is recorded: all other puts are the run's
    shutil.copytree(made.folder, home / "whole")
    whole = Offline(folder=home / "whole")
    run = whole.run().state.run.id
    manifest = published(whole)
    assert manifest is not None
    return Undisturbed(
        folder=made.folder,
        whole=whole.folder,
        parts=whole.line.parts(SCORES, run),
        rows=whole.rows(),
        counts=manifest.counts,
    )


@pytest.fixture
def unscored(undisturbed: Undisturbed, tmp_path: Path) -> Callable[[], Offline]:
    """Makes a workspace of the same people, which nobody scored yet."""

    def make() -> Offline:
        shutil.copytree(undisturbed.folder, tmp_path / "town")
        return Offline(folder=tmp_path / "town")

    return make
