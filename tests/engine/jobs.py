"""Tasks for the tests of the engine: importable, so that workers find them."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataops.datasets.units import Unit
from dataops.errors import ContractViolation, Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A folder where tasks note that they ran."""

    folder: Path
    bad: str = "u000001"


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


def where_it_runs(context: Context, unit: Unit) -> dict[str, Any]:
    _note(context, unit)
    return {
        "pid": os.getpid(),
        "omp": os.environ.get("OMP_NUM_THREADS"),
        "threads": threading.active_count(),
        "folder": os.getcwd(),  # noqa: PTH109
    }
