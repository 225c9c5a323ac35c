"""Lines that are run once, for every test of the room that only looks at them: one of made-up people on two workers,
and the demo on the real census.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from distributed import Client

from dataops.demo.census import ARCHIVE
from dataops.demo.fetch import cache_folder, fetch
from dataops.engine.connect import Connection
from dataops.errors import NotFound, Storage
from dataops.runs.execute import Outcome
from tests.line.people import make_workspace
from tests.line.running import Line


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory, cluster: Client) -> Line:
    folder = make_workspace(tmp_path_factory.mktemp("line") / "first")
    return Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))


@pytest.fixture(scope="session")
def outcomes(line: Line) -> dict[str, Outcome]:
    made = line.run_all()
    shutil.copytree(line.folder, line.folder.with_name("as_run"))
    return made


@pytest.fixture(scope="session")
def as_run(line: Line, outcomes: dict[str, Outcome]) -> Path:
    """The line's folder as it was right after it was run: tests before this one may have gone on with the line."""
    return line.folder.with_name("as_run")


@dataclass(frozen=True, slots=True, kw_only=True)
class CensusDemo:
    """``dataops demo``, run in `here`: what it printed, and how long it took."""

    here: Path
    said: str
    seconds: float

    @property
    def folder(self) -> Path:
        """Its workspace."""
        return self.here / "demo"

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """Types `command` where the demo was run, as a person would in a shell with dataops on the path."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environ = {name: value for name, value in os.environ.items() if name != "DATAOPS_WORKSPACE"}
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.here,
            env={**environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )


@pytest.fixture(scope="session")
def census_demo(tmp_path_factory: pytest.TempPathFactory) -> CensusDemo:
    """The demo, run once for the session; needs the network once, for an archive that is kept in the user's cache."""
    try:
        fetch(ARCHIVE, cache_folder(os.environ))
    except (NotFound, Storage) as error:
        pytest.skip(f"the census can't be fetched: {error}")
    here = tmp_path_factory.mktemp("census")
    started = time.monotonic()
    done = CensusDemo(here=here, said="", seconds=0.0).type("dataops demo")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return CensusDemo(here=here, said=done.stdout, seconds=time.monotonic() - started)
