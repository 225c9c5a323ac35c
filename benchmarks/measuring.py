"""What every benchmark measures with: spreads, turns, and processes that are watched from outside (`history` keeps it).

1. A ratio is of two measurements that follow each other (A B A B ...), so what else the machine does touches both.
2. A process tells its phases by lines on its standard output (`peers/telling.py`): ``start`` (importing, a cluster, a
   JVM), ``work``, ``end``. Times are the process's own, of the clock that all processes of a machine share.
3. CPU seconds and peak memory are those of the process and all below it, read from the operating system while it runs:
   what a process used in its last tenth of a second may be missing.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread, Timer
from types import FrameType
from typing import Any, NoReturn

import psutil

TOLD = "@@"  # what a line begins with that a peer tells us
SAMPLE_SECONDS = 0.1
GRACE_SECONDS = 10.0  # for processes that outlive the one that started them
_PEAK = "VmHWM:"  # in /proc/<pid>/status: the most that the process ever held, in KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, least and greatest of some measurements."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of `values`."""
        return cls(median=statistics.median(values), min=min(values), max=max(values))


def seconds(step: Callable[[], object]) -> float:
    """Seconds that `step` takes, without a collection of garbage in it."""
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter()
        step()
        return time.perf_counter() - started
    finally:
        gc.enable()


def in_turns(first: Callable[[], float], second: Callable[[], float], repeats: int) -> tuple[list[float], list[float]]:
    """What both give, A B A B ..."""
    pairs = [(first(), second()) for _ in range(repeats)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def require(true: bool, what: str) -> None:  # noqa: FBT001 - a finding, not a switch
    """Nothing, if it is `true`."""
    if not true:
        raise AssertionError(f"wrong result: {what}")


def plain_spreads(spreads: Mapping[str, Spread]) -> dict[str, Any]:
    """Spreads as JSON, to four digits."""
    return {name: {key: float(f"{value:.4g}") for key, value in asdict(one).items()} for name, one in spreads.items()}


@dataclass(slots=True, kw_only=True)
class Phase:
    """What one phase of a process and all below it took."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A process that ended well.

    Attributes
    ----------
    phases : by name, ``start``, ``work`` and ``end``.
    peaks : name and peak memory in bytes of every process that was seen, the largest first. Memory that processes share
        is in each.
    told : what the process told besides its phases.
    """

    phases: Mapping[str, Phase]
    peaks: tuple[tuple[str, int], ...]
    told: Mapping[str, Any]

    @property
    def peak(self) -> int:
        """Bytes that the largest process held."""
        return self.peaks[0][1] if self.peaks else 0

    def peak_of(self, name: str) -> int:
        """Bytes that the largest process whose name holds `name` held."""
        return max((held for found, held in self.peaks if name in found), default=0)


@dataclass(slots=True, kw_only=True)
class _Tree:
    """CPU seconds and peaks of a process and all below it, also of those that are gone."""

    root: psutil.Process
    cpu: dict[tuple[int, float], float] = field(default_factory=dict)
    peaks: dict[tuple[int, float], tuple[str, int]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def sample(self) -> float:
        """CPU seconds until now."""
        with self.lock:
            try:
                found = [self.root, *self.root.children(recursive=True)]
            except psutil.Error:
                found = []
            for process in found:
                self._look_at(process)
            return sum(self.cpu.values())

    def _look_at(self, process: psutil.Process) -> None:
        try:
            key = (process.pid, process.create_time())
            used = process.cpu_times()
            self.cpu[key] = used.user + used.system
            name, held = self.peaks.get(key, ("", 0))
            # one that ended and wasn't waited for yet has no command line any more
            self.peaks[key] = (_name_of(process) or name or str(process.name()), max(_peak_bytes(process), held))
        except (psutil.Error, OSError):
            return  # it ended meanwhile


def _peak_bytes(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return int(process.memory_info().rss)
    found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith(_PEAK)]
    return int(found[0]) * 1024 if found else 0


def _name_of(process: psutil.Process) -> str:
    """The program, and the script or module of an interpreter; empty for one that is only waited for."""
    line = process.cmdline()
    if not line:
        return ""
    words = [word for word in line[1:] if not word.startswith("-")]
    return " ".join([Path(line[0]).name, *[Path(word).name[:40] for word in words[:1]]])


def watch(command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 3600.0) -> Watched:
    """What `command` took, once it ended.

    Raises
    ------
    RuntimeError : it failed, or took longer than `timeout` seconds; with the last lines that it wrote.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            list(command),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})},
            start_new_session=True,
        )
        tree, stop = _Tree(root=psutil.Process(process.pid)), Event()
        threads = (Thread(target=_sample, args=(tree, stop), daemon=True), Timer(timeout, _kill, args=(tree,)))
        for thread in threads:
            thread.start()
        try:
            phases, told, said = _listen(process, tree, started)
            code = process.wait()
        except BaseException:
            _kill(tree)
            raise
        finally:
            stop.set()
            threads[1].cancel()
            for thread in threads:
                thread.join()
            _end(tree)
        if code:
            errors.seek(0)
            last = [*said[-10:], *errors.read().decode(errors="replace").splitlines()[-40:]]
            raise RuntimeError(f"{Path(command[-1]).name} ended with {code}:\n" + "\n".join(last))
    peaks = sorted(tree.peaks.values(), key=lambda one: -one[1])
    return Watched(phases=phases, peaks=tuple(peaks), told=told)


def _sample(tree: _Tree, stop: Event) -> None:
    while not stop.wait(SAMPLE_SECONDS):
        tree.sample()


def _listen(
    process: subprocess.Popen[str], tree: _Tree, started: float
) -> tuple[dict[str, Phase], dict[str, Any], list[str]]:
    """Phases, what was told, and the last of what else was said."""
    phases: dict[str, Phase] = {name: Phase() for name in ("start", "work", "end")}
    told: dict[str, Any] = {}
    said: list[str] = []
    current, since, used = "start", started, 0.0
    for line in process.stdout or ():
        if not line.startswith(TOLD):
            said = [*said[-50:], line.rstrip()]
            continue
        message = json.loads(line[len(TOLD) :])
        if (phase := message.pop("phase", None)) is not None:
            at, cpu = message.pop("at"), tree.sample()
            phases[current].seconds += at - since
            phases[current].cpu_seconds += cpu - used
            current, since, used = phase, at, cpu
        told |= message
    phases[current].seconds += time.monotonic() - since
    phases[current].cpu_seconds += tree.sample() - used
    return phases, told, said


def _end(tree: _Tree) -> None:
    """Nothing of what was started is left: a driver that was killed leaves its workers."""
    _, alive = psutil.wait_procs(_alive(tree), timeout=GRACE_SECONDS)
    if alive:
        _kill(tree)


def _kill(tree: _Tree) -> None:
    tree.sample()  # what began since is known too
    for process in _alive(tree):
        with suppress(psutil.Error):
            process.kill()


def _alive(tree: _Tree) -> list[psutil.Process]:
    """The processes of the tree that are still there; a number may be another's by now."""
    found = []
    for pid, created in list(tree.cpu):
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_on_signal() -> None:
    """From now on a SIGTERM ends this process as an interrupt does: what it started ends with it."""

    def stop(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)


def costs_of(
    runs: Mapping[str, Sequence[Watched]], rows: int | None = None, size: int | None = None
) -> dict[str, dict[str, Any]]:
    """What each contestant took of the machine, in few numbers: medians of its runs, of its memory the most.

    What a peer imported once its work had begun (`told` as ``imported``) counts to its start.

    Parameters
    ----------
    rows, size : of what was worked on, `size` in bytes: how much of it a second is told too.

    Returns
    -------
    By contestant ``work s``, ``start s``, ``CPU s`` (of the work), ``peak MB`` (of the largest process); ``rows/s``,
    ``MB/s``; ``versions`` of its libraries, where it told them.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, some in runs.items():
        if not some:
            continue
        imported = [run.told.get("imported", {}) for run in some]
        late = [float(one.get("seconds", 0.0)) for one in imported]
        late_cpu = [float(one.get("cpu_seconds", 0.0)) for one in imported]
        work = statistics.median(run.phases["work"].seconds - one for run, one in zip(some, late, strict=True))
        start = statistics.median(run.phases["start"].seconds + one for run, one in zip(some, late, strict=True))
        cpu = statistics.median(run.phases["work"].cpu_seconds - one for run, one in zip(some, late_cpu, strict=True))
        told = {"work s": work, "start s": start, "CPU s": cpu, "peak MB": max(run.peak for run in some) / 2**20}
        told |= {} if rows is None else {"rows/s": rows / work}
        told |= {} if size is None else {"MB/s": size / 2**20 / work}
        found[name] = {what: float(f"{value:.4g}") for what, value in told.items()}
        if versions := some[-1].told.get("versions"):
            found[name]["versions"] = versions
    return found


def phases_of(runs: Sequence[Watched], what: str = "") -> dict[str, list[float]]:
    """Seconds by phase, a figure for each run: ``start``, ``work``, and below it each phase of the job (`told` as
    ``phases``).
    """
    found = {f"{what}{name}": [run.phases[name].seconds for run in runs] for name in ("start", "work")}
    named = dict.fromkeys(phase for run in runs for phase in run.told.get("phases", {}))
    for phase in named:
        found[f"{what}work: {phase}"] = [float(run.told.get("phases", {}).get(phase, 0.0)) for run in runs]
    return found
