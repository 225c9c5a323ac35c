"""A driver in a process of its own, that a test may kill at a moment which it sees on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

COMMAND = (sys.executable, "-c", "from dataops.cli.main import main; main()")
DEADLINE_SECONDS = 90.0
POLL_SECONDS = 0.002


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The result of ``dataops ARGUMENTS`` in the workspace at `folder`."""
    return subprocess.run(
        [*COMMAND, *arguments, "-w", str(folder)],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def environment(folder: Path) -> dict[str, str]:
    """The environment of a command: temporary files lie where the test can look for leftovers."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(temporary)}


def spill_folders(folder: Path) -> list[Path]:
    """What clusters left in the temporary folder of the workspace at `folder`."""
    return sorted((folder / "tmp").glob("dataops-spill-*"))


def wait_for(true: Callable[[], bool], what: str) -> None:
    """Return as soon as `true()`; fail where that takes longer than the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"waited {DEADLINE_SECONDS:.0f} s in vain until {what}"
        time.sleep(POLL_SECONDS)


@dataclass(slots=True, kw_only=True)
class Driver:
    """A running ``dataops job run JOB --again`` and what it leaves on disk."""

    process: subprocess.Popen[bytes]
    runs: Path
    earlier: frozenset[str]

    @property
    def run(self) -> str | None:
        """The id of its run, once a unit of it was written."""
        ids = {path.name for path in self.runs.glob("*")} - self.earlier
        return min(ids, default=None)

    def records(self) -> dict[str, bytes]:
        """The bytes of the unit records that are on disk."""
        if self.run is None:
            return {}
        return {path.stem: path.read_bytes() for path in (self.runs / self.run / "units").glob("u*.json")}

    def parts(self) -> set[str]:
        """The names of all parts on disk, also of those that no record names."""
        return {path.name for path in self.runs.glob(f"{self.run}/data/*.parquet")}

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(_command_line(child))]

    def wait_for_records(self, at_least: int) -> None:
        """Return as soon as that many units have a record."""
        wait_for(lambda: len(self._names()) >= at_least or self.process.poll() is not None, f"{at_least} records")
        assert self.process.poll() is None, "the driver came to its end before it could be killed"

    def _names(self) -> list[Path]:
        return [] if self.run is None else list((self.runs / self.run / "units").glob("u*.json"))

    def kill(self) -> None:
        """``kill -9`` of the driver alone; back when all that it started has ended by itself."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        wait_for(lambda: not any(alive(one) for one in family), "the processes of a killed driver ended")

    def finish(self) -> int:
        """Its exit code."""
        return self.process.wait(DEADLINE_SECONDS)


def alive(process: psutil.Process) -> bool:
    """Whether it runs: one that has ended and waits for nobody to ask is not alive."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _command_line(process: psutil.Process) -> Sequence[str]:
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def start(folder: Path, job: str, *, workers: int = 2) -> Driver:
    """A driver that does `job` (whose output has its name) in the workspace at `folder`."""
    runs = folder / "storage" / "datasets" / job / "runs"
    earlier = frozenset(path.name for path in runs.glob("*"))
    arguments = ("job", "run", "jobs/people.yaml", job, "--again", "--workers", str(workers), "--json")
    process = subprocess.Popen(
        [*COMMAND, *arguments, "-w", str(folder)],
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return Driver(process=process, runs=runs, earlier=earlier)
