"""A driver in a process of its own, that a test may kill at a moment which it sees on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.faults.dying import MODULE, Death, told

COMMAND = (sys.executable, "-c", "from dataops.cli.main import main; main()")
MORTAL = (sys.executable, "-c", f"from {MODULE} import drive; drive()")
ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 240.0
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


def mortal_environment(deaths: Sequence[Death], marks: Path) -> dict[str, str]:
    """What makes a process, and the workers that it or Dask's command line starts, die of `deaths`."""
    marks.mkdir(exist_ok=True)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "DASK_DISTRIBUTED__WORKER__PRELOAD": f"['{MODULE}']", **told(deaths, marks)}


def spill_folders(folder: Path) -> list[Path]:
    """What clusters left in the temporary folder of the workspace at `folder`."""
    return sorted((folder / "tmp").glob("dataops-spill-*"))


_started: list[Driver] = []


def end_all() -> None:
    """Whatever a test that failed left running ends."""
    while _started:
        driver = _started.pop()
        if driver.process.poll() is None:
            driver.kill()


def wait_for(true: Callable[[], bool], what: str, *, poll_seconds: float = POLL_SECONDS) -> None:
    """Return as soon as `true()`; fail where that takes longer than the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"waited {DEADLINE_SECONDS:.0f} s in vain until {what}"
        time.sleep(poll_seconds)


@dataclass(slots=True, kw_only=True)
class Driver:
    """A running ``dataops job run JOB --again`` and what it leaves on disk."""

    process: subprocess.Popen[str]
    runs: Path
    earlier: frozenset[str]
    family: set[psutil.Process] = field(default_factory=set)

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
        """Its exit code; negative if it was killed."""
        wait_for(self._ended, "the driver ended", poll_seconds=0.05)  # looking at its family takes long
        return self.process.wait()

    def answer(self) -> dict[str, Any]:
        """What it printed."""
        assert self.process.stdout is not None
        with self.process.stdout as printed:
            return dict(json.loads(printed.read()))

    def _ended(self) -> bool:
        if self.process.poll() is not None:
            return True
        with suppress(psutil.NoSuchProcess):
            self.family |= set(psutil.Process(self.process.pid).children(recursive=True))
        return False

    def wait_for_family(self) -> None:
        """Return when all that it started has ended, by itself."""
        wait_for(lambda: not any(alive(one) for one in self.family), "the processes of a dead driver ended")


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


def start(
    folder: Path,
    job: str,
    *,
    resume: str = "",
    workers: int = 2,
    cluster: str | None = None,
    deaths: Sequence[Death] = (),
    marks: Path | None = None,
) -> Driver:
    """A driver that does `job` (whose output has its name) in the workspace at `folder`.

    Parameters
    ----------
    resume : the run to take up again; "": a new one.
    cluster : file of the cluster.
    deaths, marks : what its processes die of, see `dying`.
    """
    runs = folder / "storage" / "datasets" / job / "runs"
    earlier = frozenset(path.name for path in runs.glob("*")) - {resume}
    arguments = ["job", "resume", resume] if resume else ["job", "run", "jobs/people.yaml", job, "--again"]
    arguments += ["--cluster", cluster] if cluster else []
    process = subprocess.Popen(
        [*(MORTAL if marks else COMMAND), *arguments, "--workers", str(workers), "--json", "-w", str(folder)],
        env=environment(folder) | (mortal_environment(deaths, marks) if marks else {}),
        stdout=subprocess.PIPE if marks else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    driver = Driver(process=process, runs=runs, earlier=earlier)
    _started.append(driver)
    return driver
