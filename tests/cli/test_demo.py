"""``dataops demo --watch``: the cluster stays up until Enter, and where there is none it says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from dataops.cli.main import main
from dataops.declarations.jobs import find_job
from dataops.demo.line import Step, Story
from dataops.engine.progress import Progress
from dataops.runs.execute import Options, run_job
from dataops.runs.ledger import State
from dataops.runs.workspace import open_workspace
from tests.line.running import no_reports


def test_the_dashboard_answers_while_a_finished_run_is_held(workspace):
    seen = []

    def look(dashboard: str) -> None:
        with urlopen(dashboard, timeout=60) as page:  # noqa: S310  # on this machine
            run = opened.ledger.ids()[-1]
            seen.append((page.status, opened.ledger.state(run).state, dashboard.endswith("/dataops")))

    opened = open_workspace(str(workspace))
    job = find_job(workspace / "jobs" / "people.yaml", "people_ready").job
    options = Options(cluster=opened.cluster(None), workers=1, hold=look)
    with Progress(sys.stderr, quiet=True) as progress, no_reports():
        run_job(opened, job, source="jobs/people.yaml", options=options, progress=progress)
    assert seen == [(200, State.DONE, True)]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A demo that has run: `told` says whether its last job was skipped, and keeps the folder."""
    told: dict[str, Any] = {"skipped": False}

    def run_demo(folder: Path, *, progress: Progress, hold: Any) -> tuple[Any, Story]:
        told["folder"] = folder
        if hold is not None and not told["skipped"]:
            hold("http://127.0.0.1:8787/dataops")
        names = ("census_training", "income", "income_scores")
        run = SimpleNamespace(run=SimpleNamespace(id="run-1"))
        outcomes = {name: SimpleNamespace(state=run, skipped=told["skipped"], report="report.html") for name in names}
        steps = [Step(name="prepare", what="census_training", outcome="done", seconds=1.0)]
        return SimpleNamespace(settings=SimpleNamespace(workspace=folder)), Story(steps=steps, outcomes=outcomes)

    monkeypatch.setattr("dataops.demo.line.run_demo", run_demo)
    return told


def test_watching_waits_for_enter(told):
    called = CliRunner().invoke(main, ["demo", "--watch"], input="\nleft over")
    assert called.exit_code == 0, called.output
    assert (
        "The cluster is still up, and shows the run: http://127.0.0.1:8787/dataops  Press Enter to end it."
        in called.stderr
    )
    assert "Look around:" in called.stdout


def test_without_watching_nobody_waits(told, dataops):
    assert "Press Enter" not in dataops("demo").err


def test_watching_where_nothing_was_left_to_do_says_so(told, dataops):
    told["skipped"] = True
    called = dataops("demo", "--watch")
    assert "There is no cluster to watch" in called.err
    assert "Nothing was left to do." in called.out


def test_the_story_as_json(told, dataops):
    called = dataops("demo", "elsewhere", "--json", "--quiet")
    assert called.json["steps"] == [{"step": "prepare", "what": "census_training", "outcome": "done", "seconds": 1.0}]
    assert set(called.json["runs"]) == {"census_training", "income", "income_scores"}
    assert told["folder"] == Path("elsewhere")


def test_printed_commands_quote_the_folder(told, dataops):
    assert "dataops job list -w 'my demo'" in dataops("demo", "my demo").out


def test_json_stays_one_document_when_the_demo_fails(monkeypatch, dataops):
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dataops.demo.line.run_demo", fail)
    called = dataops("demo", "--json")
    assert called.code == 130
    assert json.loads(called.out)["error"]["family"] == "Interrupted"
