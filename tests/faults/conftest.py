"""A line of many small units, done once without a fault: what every run that was killed has to come to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.line.people import make_workspace
from tests.line.running import Line, standing_cluster

FILES = 48


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """The line without a fault."""
    folder = make_workspace(tmp_path_factory.mktemp("faults") / "whole", files=FILES)
    with standing_cluster(2) as connection:
        line = Line(folder=folder, connection=connection)
        line.run_all()
        yield line


@pytest.fixture
def copied(whole: Line, tmp_path: Path) -> Callable[[Line], Line]:
    """Makes a copy of a line, to go on with."""

    def copy(line: Line) -> Line:
        folder = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(line.folder, folder)
        return Line(folder=folder, connection=whole.connection)

    return copy
