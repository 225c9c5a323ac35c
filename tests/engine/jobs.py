"""Tasks for the tests of the engine: importable, so that workers find them."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataops.datasets.units import Unit
from dataops.engine.tasks import Later
from dataops.errors import ContractViolation, Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A folder where tasks note that they ran."""

    folder: Path
    bad: str = "u000001"
    slow: str = ""
    last: str = ""


def _note(context: Context, unit: Unit) -> int:
    """How many times `unit` was tried, this time included."""
    for tries in range(1, 100):
        try:
            (context.folder / f"{unit.id}-{tries}").open("x").close()
        except FileExistsError:
            continue
        return tries
    raise AssertionError


def rows_of(context: Context, unit: Unit) -> int:
    _note(context, unit)
    return unit.rows


def takes_a_processor(context: Context, unit: Unit) -> int:
    """Long enough for clocks that count a processor in steps of 10 ms."""
    _note(context, unit)
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    return unit.rows


def breaks_its_contract(context: Context, unit: Unit) -> int:
    _note(context, unit)
    if unit.id == context.bad:
        raise ContractViolation(f"unit {unit.id} is bad")
    return unit.rows


def quotes_a_value(context: Context, unit: Unit) -> int:
    _note(context, unit)
    values: dict[str, Any] = {"row": "CANARY"}
    raise ValueError(f"could not convert {values}")


def storage_fails_twice(context: Context, unit: Unit) -> int:
    tries = _note(context, unit)
    if unit.id == context.bad and tries <= 2:
        raise Storage(f"unit {unit.id}: no answer")
    return tries


def disk_never_works(context: Context, unit: Unit) -> int:
    _note(context, unit)
    raise OSError(28, "No space left on device", "/CANARY/path")


def kills_its_worker_once(context: Context, unit: Unit) -> int:
    if _note(context, unit) == 1 and unit.id == context.bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return unit.rows


def kills_its_worker(context: Context, unit: Unit) -> int:
    _note(context, unit)
    if unit.id == context.bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return unit.rows


def is_out_of_memory(context: Context, unit: Unit) -> int:
    _note(context, unit)
    raise MemoryError


def at_its_start(prefix: str) -> dict[str, str]:
    """What this process was told when it began: what is set later is nothing to a native library."""
    told = Path("/proc/self/environ").read_text().split("\0")
    return dict(one.split("=", 1) for one in told if one.startswith(prefix))


def where_it_runs(context: Context, unit: Unit) -> dict[str, Any]:
    _note(context, unit)
    return {
        "pid": os.getpid(),
        "omp": os.environ.get("OMP_NUM_THREADS"),
        "waiting": os.environ.get("OMP_WAIT_POLICY"),
        "malloc": at_its_start("MALLOC_"),
        "threads": threading.active_count(),
        "folder": os.getcwd(),  # noqa: PTH109
    }


def kills_its_worker_unless_it_goes_another_way(context: Context, unit: Unit) -> str:
    kills_its_worker(context, unit)
    return "the usual way"


def goes_another_way(context: Context, unit: Unit) -> str:
    _note(context, unit)
    return "another way"


def hangs(context: Context, unit: Unit) -> int:
    """The bad unit hangs whenever it is tried, the one after it the first time, until somebody lets them go."""
    tries = _note(context, unit)
    if unit.id == context.bad or (unit.id == context.slow and tries == 1):
        wait_for(context.folder / "let-go")
    return tries


def writes_later(context: Context, unit: Unit) -> Later:
    """A result that isn't written before the next unit is read, if there is one."""
    _note(context, unit)
    following = context.folder / f"u{int(unit.id[1:]) + 1:06d}-1"
    reader = threading.get_ident()

    def finish() -> tuple[str, bool]:
        if context.last != unit.id:
            wait_for(following)
        (context.folder / f"{unit.id}-written").touch()
        return unit.id, threading.get_ident() != reader

    return Later(finish)


def fails_to_write(context: Context, unit: Unit) -> Later:
    tries = _note(context, unit)

    def finish() -> int:
        if unit.id == context.bad and tries == 1:
            raise OSError(5, "CANARY")
        return unit.rows

    return Later(finish)


def wait_for(path: Path) -> None:
    """Nothing, once `path` is there; a test that waits in vain ends all the same."""
    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path.name} never came")
