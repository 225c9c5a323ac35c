"""The script as people start it, with real jobs in real processes: what fails says why, and the others go on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataops.errors import InvalidInput
from dataops.runs.ledger import State
from dataops.runs.log import read_log
from dataops.runs.workspace import open_workspace, take_signing_key
from dataops.scheduling import script
from dataops.scheduling.beats import read_beats
from dataops.scheduling.book import Book
from dataops.scheduling.floor import Limits, SystemClock
from dataops.scheduling.loop import PassResult, Scheduler
from dataops.scheduling.working import PROGRAM, SubprocessStarter
from tests.faults.driver import COMMAND, ROOT, wait_for
from tests.line.people import JOBS, make_workspace
from tests.scheduling.stage import HOURLY, make_stage

JOB = """
name: {name}
job: prepare
input: {dataset}
output: {name}
"""
SCORES = """
name: unread
job: rescore
model: wealth@champion
input: people_old
keep: [person_id]
output: unread
"""
REVOKED = """
format: dataops/policy/1
name: since-today
rules:
  - {id: none, effect: deny, datasets: [people_new], columns: {classifications: [work, outcome, pii.quasi, pii.direct]},
     reason: the contract with the town ended yesterday}
"""
SCHEDULE = "name: {name}\nwhen: {{every: 1h}}\nstart: 2026-01-01\nsteps: [{{job: {name}, file: jobs/{name}.yaml}}]\n"
NAMES = ("fine", "revoked", "broken", "unread", "full")


@pytest.fixture
def town(tmp_path: Path) -> Path:
    """A workspace with five jobs, of which four can't be done, and a schedule for each."""
    folder = make_workspace(tmp_path / "town", files=1)
    datasets = {"fine": "people_old", "revoked": "people_new", "full": "people_old"}
    for name, dataset in datasets.items():
        (folder / f"jobs/{name}.yaml").write_text(JOB.format(name=name, dataset=dataset))
    (folder / "jobs/broken.yaml").write_text("name: broken\njob: [prepare\n")
    (folder / "jobs/unread.yaml").write_text(SCORES)
    (folder / "schedules").mkdir(exist_ok=True)
    for name in NAMES:
        (folder / f"schedules/{name}.yaml").write_text(SCHEDULE.format(name=name))
    (folder / "policies/since-today.yaml").write_text(REVOKED)
    (folder / "registry").mkdir()
    (folder / "registry/wealth").write_text("no folder of versions")
    return folder


def program(folder: Path) -> tuple[str, ...]:
    """What starts steps: for the job `full` no file can grow beyond a few hundred bytes, as on a disk that is full."""
    script = folder.parent / "step.sh"
    words = " ".join(PROGRAM)
    script.write_text(f'#!/bin/sh\ncase "$*" in *jobs/full.yaml*) ulimit -f 1;; esac\nexec {words} "$@"\n')
    script.chmod(0o700)
    return (str(script),)


def run_once(folder: Path) -> PassResult:
    def start(store: object, at: Path) -> SubprocessStarter:
        return SubprocessStarter(store, at, program=program(folder))  # type: ignore[arg-type]

    limits = Limits(at_once=2, per_user=2)
    with Scheduler(folder, clock=SystemClock(), start=start, log=lambda _: None, limits=limits) as script:
        return script.once()


def test_what_cannot_be_done_fails_with_its_reason_and_the_others_go_on(town: Path) -> None:
    done = run_once(town)
    assert (done.failed, done.exit_code) == (4, 1)
    workspace = open_workspace(str(town), {})
    states = {name: Book(workspace.store, name).head().state for name in NAMES}
    last = {name: state.last for name, state in states.items() if state is not None and state.last is not None}
    assert {name: slot.outcome for name, slot in last.items()} == {
        "fine": "done",
        **dict.fromkeys(("revoked", "broken", "unread", "full"), "failed"),
    }
    says = {
        "revoked": "AccessDenied: .*the contract with the town ended yesterday",
        "broken": "InvalidInput: .*jobs/broken.yaml",
        "unread": "(Storage|NotFound|Integrity): ",
        "full": "Storage: ",
    }
    audited = {
        body["schedule"]: body["reason"]
        for entry in workspace.audit.entries()
        if (body := entry.body)["event"] == "schedule_ended"
    }
    for name, reason in says.items():
        assert re.search(reason, last[name].reason, re.DOTALL), last[name].reason
        assert audited[name][:100] == " ".join(last[name].reason.split())[:100]
    run = next(run for run in workspace.ledger.ids() if run.startswith("fine-"))
    assert workspace.ledger.state(run).state is State.DONE
    assert any("fine" in line for logged in read_log(workspace.store, run) for line in logged.lines)


def dataops(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words, "-w", str(folder)], capture_output=True, text=True, timeout=120, check=False
    )


class TestTheVerb:
    @pytest.fixture
    def quiet(self, tmp_path: Path) -> Path:
        folder = make_workspace(tmp_path / "town", files=1)
        (folder / "jobs/people.yaml").write_text(JOBS)
        return folder

    def test_ends_with_what_happened(self, quiet: Path) -> None:
        (quiet / "schedules").mkdir(exist_ok=True)
        (quiet / "schedules/broken.yaml").write_text("name: broken\nwhen: soon\n")
        done = dataops(quiet, "schedule", "run", "--once", "--json")
        assert done.returncode == 2
        told = json.loads(done.stdout)
        assert list(told["broken"]) == ["schedules/broken.yaml"]
        assert "schedules/broken.yaml can't be read" in done.stderr

    def test_ends_in_order_when_it_is_told_to(self, quiet: Path) -> None:
        words = [sys.executable, str(ROOT / "jobs/scheduler.py"), "--poll", "0.2", "-w", str(quiet)]
        script = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert script.stderr is not None
        assert "looks every 0.2 s at" in script.stderr.readline()
        store = open_workspace(str(quiet), {}).store
        wait_for(lambda: any(beat.polled_at for beat in read_beats(store)), "it looked", poll_seconds=0.05)
        script.send_signal(signal.SIGTERM)
        _, said = script.communicate(timeout=60)
        assert script.returncode == 0
        assert "was told to end" in said
        (beat,) = read_beats(store)
        assert beat.ended

    @pytest.mark.parametrize("opened", [False, True])
    def test_takes_the_signing_key_out_of_its_environment_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: bool
    ) -> None:
        """Whether or not it is one, and before the workspace is opened; its steps get it, as it was given."""
        folder = make_stage(tmp_path / "w", HOURLY.replace("2026-03-01T01:00:00Z", "2100-01-01"))
        take_signing_key.cache_clear()
        monkeypatch.setenv("DATAOPS_SIGNING_KEY", "no key")
        given: list[object] = []
        monkeypatch.setattr(script, "SubprocessStarter", lambda *_, environ: given.append(environ))
        try:
            if opened:
                with pytest.raises(InvalidInput, match="DATAOPS_SIGNING_KEY"):
                    open_workspace(str(folder))
            script.run_script(folder, once=True, log=lambda _: None)
            assert "DATAOPS_SIGNING_KEY" not in os.environ
            assert given == [{"DATAOPS_SIGNING_KEY": "no key"}]
        finally:
            take_signing_key.cache_clear()

    def test_needs_a_workspace(self, tmp_path: Path) -> None:
        done = dataops(tmp_path, "schedule", "run", "--once")
        assert done.returncode == 3
        assert "no dataops.yaml in" in done.stderr
