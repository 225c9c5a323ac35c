"""``dataops cluster start``, ``status``, ``stop``: clusters that stand, that runs find, and that end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataops.runs.ledger import State
from tests.cluster.conftest import Done, Town
from tests.cluster.parts import SshServers, wait_until
from tests.faults.driver import command

pytestmark = pytest.mark.cluster

Copied = Callable[[], Town]
JOB = "people_scores"
FOUND = {"kind": "address", "scheduler_file": "clusters/mine.json", "certs": "clusters/mine-certs"}


@pytest.fixture
def town(copied: Copied) -> Iterator[Town]:
    made = copied()
    yield made
    for name in [path.stem for path in (made.folder / "clusters").glob("*.json")]:
        command(made.folder, "cluster", "stop", name)


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def start(town: Town, keys: dict[str, object]) -> dict[str, Any]:
    (town.folder / "cluster" / "mine.yaml").write_text(json.dumps(keys))
    return answer(command(town.folder, "cluster", "start", "cluster/mine.yaml", "--detach", "--json"))


def require_gone(town: Town, process: int) -> None:
    wait_until(lambda: not psutil.pid_exists(process), "its process ended")
    assert {path.name for path in (town.folder / "clusters").iterdir()} == {"mine.lock", "mine.log"}


def test_a_standing_cluster_on_this_machine(town: Town, done: Done) -> None:
    started = start(town, {"kind": "local", "score": {"workers": 2, "threads": 1}})
    assert started["address"].startswith("tls://127.0.0.1:")
    assert started["cluster_file"] == FOUND
    assert (town.folder / "clusters" / "mine-certs").stat().st_mode & 0o077 == 0
    made = town.run(JOB, town.cluster(FOUND))
    assert made.state.state is State.DONE
    assert town.parts(JOB, made.state.run.id) == done.parts[JOB]
    twice = command(town.folder, "cluster", "start", "cluster/mine.yaml", "--detach")
    assert twice.returncode == 4
    assert "stands already" in twice.stderr
    (told,) = answer(command(town.folder, "cluster", "status", "--json"))["clusters"]
    assert told["answers"]
    assert told["now"] == {"workers": 2, "threads": 2, "tasks": 0}
    assert answer(command(town.folder, "cluster", "stop", "mine", "--json"))["stopped"]
    require_gone(town, started["process"])


def test_a_standing_cluster_on_hosts_ends_when_it_is_idle(town: Town, done: Done, ssh: SshServers) -> None:
    started = start(town, ssh.cluster(score={"workers": 1, "threads": 1}, idle_seconds=15))
    made = town.run(JOB, town.cluster(FOUND))
    assert town.parts(JOB, made.state.run.id) == done.parts[JOB]
    require_gone(town, started["process"])
    assert "ended: idle" in (town.folder / "clusters" / "mine.log").read_text()


def test_what_a_killed_process_left_is_taken_away(town: Town) -> None:
    started = start(town, {"kind": "local", "score": {"workers": 1, "threads": 1}})
    psutil.Process(started["process"]).kill()
    wait_until(lambda: not psutil.pid_exists(started["process"]), "its process ended")
    (told,) = answer(command(town.folder, "cluster", "status", "--json"))["clusters"]
    assert not told["answers"]
    assert command(town.folder, "cluster", "stop", "mine").returncode == 0
    require_gone(town, started["process"])
    unknown = command(town.folder, "cluster", "stop", "mine")
    assert unknown.returncode == 3


def test_one_that_cannot_be_started_says_why(town: Town, tmp_path: Path) -> None:
    (town.folder / "cluster" / "mine.yaml").write_text(
        json.dumps({"kind": "ssh", "hosts": ["127.0.0.1"], "port": 1, "known_hosts": str(tmp_path / "none")})
    )
    failed = command(town.folder, "cluster", "start", "cluster/mine.yaml", "--detach")
    assert failed.returncode == 11
    assert "127.0.0.1: ssh: connect to host 127.0.0.1 port 1: Connection refused" in failed.stderr
