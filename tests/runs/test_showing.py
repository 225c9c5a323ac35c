"""A run on a cluster that can't show it does its work as well, and what it shows holds nobody's name."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from dataops.engine.connect import Connection
from dataops.engine.progress import Progress
from dataops.engine.work import Work
from dataops.errors import Compute
from dataops.runs.showing import shown, spell_error
from tests.datasets.examples import make_unit
from tests.engine import jobs
from tests.engine.jobs import Context

SCHEDULER = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == "dataops.monitoring.page":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
from distributed.cli.dask_scheduler import main
main(sys.argv[1:], standalone_mode=False)
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Client]:
    """A cluster whose scheduler has a dataops that knows no page, as older releases."""
    address = tmp_path / "scheduler.json"
    where = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    commands = [
        [sys.executable, "-c", SCHEDULER, *where, "--scheduler-file", str(address)],
        [
            sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny", "--nthreads", "1", "--no-dashboard",
            "--scheduler-file", str(address), "--local-directory", str(tmp_path),
        ],
    ]  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": "."}
    started = [subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environ) for command in commands]
    try:
        with Client(scheduler_file=str(address), set_as_default=False) as client:
            client.wait_for_workers(1, timeout=120)
            yield client
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_scheduler_that_knows_no_page_shows_none_and_stops_no_run(
    foreign: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = io.StringIO()
    connection = Connection(client=foreign, dashboard=str(foreign.dashboard_link), workers=1, threads=1)
    units = tuple(make_unit(number, 3) for number in range(5))
    (tmp_path / "work").mkdir()
    with (
        Progress(said) as progress,
        shown(connection, "run-1-2", job="j", kind="prepare", figures={}, progress=progress) as (teller, page),
    ):
        work = Work(client=foreign, run="run-1-2", emit=_unheard, progress=progress, teller=teller)
        assert work.map_units("count", jobs.rows_of, Context(folder=tmp_path / "work"), units) == [3] * 5
    assert page == foreign.dashboard_link
    assert "no page of this run" in said.getvalue()
    assert "ModuleNotFoundError" in said.getvalue()


def _unheard(event: str, /, **fields: Any) -> None:
    """No ledger here."""


def test_why_a_run_failed_is_told_by_family_and_never_with_a_value() -> None:
    assert spell_error(Compute("a worker died")) == "Compute: a worker died"
    assert "CANARY" not in spell_error(ValueError("CANARY"))
    assert spell_error(KeyboardInterrupt()) == "KeyboardInterrupt: interrupted"
