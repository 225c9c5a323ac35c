"""A workspace of people, opened once for all tests of rescoring."""

from __future__ import annotations

import pytest

from dataops.datasets.access import GovernedInput
from dataops.models.predictor import BOOSTED, LINEAR
from dataops.registry.versions import LoadedVersion
from dataops.runs.workspace import Workspace, open_workspace
from tests.datasets.examples import open_one
from tests.line.people import make_workspace
from tests.rescoring.examples import register


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = make_workspace(tmp_path_factory.mktemp("rescoring") / "town", files=2)
    return open_workspace(str(folder), {})


@pytest.fixture(scope="module")
def given(workspace: Workspace) -> GovernedInput:
    return open_one(workspace, "people_new", "score")


@pytest.fixture(scope="module", params=[LINEAR, BOOSTED])
def version(request: pytest.FixtureRequest, workspace: Workspace) -> LoadedVersion:
    return register(workspace, request.param)
