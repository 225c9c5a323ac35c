"""A job is left with a scheduler script on a Dask cluster that stands; then whoever has a hand in it is killed with -9:
who submitted it, the script, the process that runs it, the Dask scheduler. It is finished, once.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from dataops.scheduling.inbox import open_inbox
from dataops.scheduling.submissions import Submission
from tests.faults.driver import COMMAND, ROOT, environment, mortal_environment, wait_for
from tests.faults.dying import Death, Step, taken
from tests.faults.oracle import Undisturbed, only_run, require_made
from tests.runs.offline import SCORES, Offline

WHEN = ((2, "run"), (14, "script"), (24, "dask"))
"""With which record of a worker, and who. Of 64 units one of two workers does 32; what is in hand goes on meanwhile."""
DEATHS = [Death(step=Step.RECORD, nth=nth, victim=victim) for nth, victim in WHEN]


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """What a machine's own supervisor does: whatever of its services ended is started again.

    Attributes
    ----------
    services : what is started, by name; the process ids of each, one after the other.
    marks : folder where the id of whoever may be killed stands under its name.
    """

    folder: Path
    marks: Path
    commands: dict[str, Sequence[str]]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ended: dict[str, list[int]] = field(default_factory=dict)
    runs: set[int] = field(default_factory=set)

    def look(self) -> None:
        """Start what isn't there, and note who is."""
        for name, command in self.commands.items():
            process = self.running.get(name)
            if process is None or process.poll() is not None:
                if process is not None:
                    self.ended.setdefault(name, []).append(process.returncode)
                self.running[name] = self._start(name, command)
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.running["script"].pid).children():
                if "--submission" in child.cmdline():
                    self.runs.add(child.pid)
                    self._note("run", child.pid)

    def _start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        environ = environment(self.folder) | mortal_environment(DEATHS, self.marks)
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
        self._note(name, process.pid)
        return process

    def _note(self, name: str, pid: int) -> None:
        passing = self.marks / f"{name}.new"
        passing.write_text(str(pid))
        passing.replace(self.marks / name)

    def end(self) -> None:
        """Nothing is left."""
        for process in self.running.values():
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            for one in (process, *family):
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def supervised(town: Offline, folder: Path) -> Iterator[Supervisor]:
    """A Dask cluster at an address, and a scheduler script, which are started again when they end."""
    address, dask = f"tcp://127.0.0.1:{free_port()}", str(Path(sys.executable).parent / "dask")
    worker = (dask, "worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard", "--death-timeout", "20")
    (town.folder / "cluster").mkdir(exist_ok=True)
    (town.folder / "cluster" / "standing.yaml").write_text(f"kind: address\naddress: {address}\ninsecure: true\n")
    commands = {
        "dask": (dask, "scheduler", "--host", address, "--no-show", "--no-dashboard"),
        "worker-1": (*worker, "--local-directory", str(folder)),
        "worker-2": (*worker, "--local-directory", str(folder)),
        "script": (*COMMAND, "schedule", "run", "--poll", "0.2", "-w", str(town.folder)),
    }
    supervisor = Supervisor(folder=town.folder, marks=folder / "marks", commands=commands)
    try:
        yield supervisor
    finally:
        supervisor.end()


def submitted(town: Offline) -> Submission | None:
    """The submission, once there is one."""
    inbox = open_inbox(town.workspace, read_only=True)
    ids = inbox.ids()
    return inbox.state(ids[0]) if ids else None


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_job_is_finished_once_whoever_of_those_at_it_dies(
    unscored: Callable[[], Offline], tmp_path: Path, undisturbed: Undisturbed
) -> None:
    town = unscored()
    words = ("job", "submit", "jobs/people.yaml", SCORES, "--cluster", "standing.yaml", "--wait")
    with supervised(town, tmp_path) as supervisor:
        supervisor.marks.mkdir()
        person = subprocess.Popen(
            [*COMMAND, *words, "-w", str(town.folder)], env=environment(town.folder), stderr=subprocess.PIPE
        )
        wait_for(lambda: submitted(town) is not None or person.poll() is not None, "it is submitted", poll_seconds=0.1)
        assert person.poll() is None, person.communicate()
        os.kill(person.pid, signal.SIGKILL)
        assert person.wait() == -signal.SIGKILL
        deadline = time.monotonic() + 400
        while (found := submitted(town)) is None or not found.has_ended:
            assert time.monotonic() < deadline, found
            supervisor.look()
            time.sleep(0.05)
    assert (found.state.value, found.retries) == ("done", 1), found
    assert taken(supervisor.marks) == [0, 1, 2]
    assert supervisor.ended["script"] == [-signal.SIGKILL]
    assert supervisor.ended["dask"] == [-signal.SIGKILL]
    assert len(supervisor.runs) == 3  # the first, the retry after that was killed, and the next script's
    assert only_run(town) == found.id
    require_made(town, found.id, undisturbed)
