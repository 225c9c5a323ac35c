"""A small workspace with made-up people, copied for each test, and the command line called in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from distributed import Client

from dataops.cli.main import main
from dataops.engine.connect import Connection
from tests.line.people import make_workspace
from tests.line.running import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What a call of the command line gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Call = Callable[..., Called]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("template") / "people", files=1)


@pytest.fixture
def workspace(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace of this test's own, and the folder that the test stands in."""
    folder = tmp_path / "people"
    shutil.copytree(template, folder)
    monkeypatch.delenv("DATAOPS_WORKSPACE", raising=False)
    monkeypatch.chdir(folder)
    yield folder
    folder.chmod(0o700)


@pytest.fixture
def dataops(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls the command line in this process; no test may see a traceback."""
    monkeypatch.delenv("DATAOPS_WORKSPACE", raising=False)

    def call(*arguments: str) -> Called:
        result: Result = CliRunner().invoke(main, list(arguments), prog_name="dataops")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return Called(code=result.exit_code, out=result.stdout, err=result.stderr)

    return call


@pytest.fixture
def on_the_session_s_cluster(workspace: Path, cluster: Client) -> Iterator[None]:
    """Jobs of the workspace run on a cluster that stands already, and draw no page."""
    line = Line(folder=workspace, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))
    with line._standing():
        yield


@pytest.fixture
def left_behind() -> Callable[[Path], list[str]]:
    """What a workspace holds of runs, made datasets, versions, audit records and catalog entries."""

    def look(folder: Path) -> list[str]:
        kept = [folder / "storage" / name for name in ("runs", "audit", "quarantine")]
        kept += [*(folder / "storage" / "datasets").glob("people_[rs]*"), folder / "registry"]
        found = [path for root in kept if root.is_dir() for path in root.rglob("*") if path.is_file()]
        entries = [path for path in (folder / "catalog").iterdir() if path.stem not in ("people_old", "people_new")]
        return sorted(str(path.relative_to(folder)) for path in [*found, *entries] if "probe" not in path.name)

    return look
