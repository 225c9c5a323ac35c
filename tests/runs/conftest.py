"""A town whose jobs run on the session's cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from distributed import Client

from dataops.engine.connect import Connection
from tests.line.people import make_workspace
from tests.line.running import Line


@pytest.fixture
def town(tmp_path: Path, cluster: Client) -> Line:
    connection = Connection(client=cluster, dashboard="http://127.0.0.1", workers=2, threads=1)
    return Line(folder=make_workspace(tmp_path / "town", files=2), connection=connection)
