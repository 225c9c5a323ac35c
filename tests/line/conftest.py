"""One line, run once on two workers, for every test of the room that only looks at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataops.runs.execute import Outcome
from tests.line.people import make_workspace
from tests.line.running import Line, standing_cluster


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = make_workspace(tmp_path_factory.mktemp("line") / "first")
    with standing_cluster(2) as connection:
        yield Line(folder=folder, connection=connection)


@pytest.fixture(scope="session")
def outcomes(line: Line) -> dict[str, Outcome]:
    return line.run_all()
