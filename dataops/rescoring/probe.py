"""A unit that kills its workers, done all the same: the rows that kill are found in processes that may die.

1. The worker starts one fresh process per such unit (`prober`), which reads the unit once and lets processes of its own
   score ranges of its rows: these die instead of the worker. A fresh process has one thread, so it may fork.
2. What the worker scores itself afterwards has been scored as a whole by a process that lived.
3. Nothing comes back but offsets of rows and the names of signals or exceptions. What processes that die print is
   thrown away: it may quote a row.
4. Rows that kill only together, and a model that kills without any row, are no rows' fault: the unit fails.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dataops.datasets.commit import UnitRecord
from dataops.datasets.units import Unit
from dataops.engine.tasks import Failure
from dataops.errors import Compute
from dataops.rescoring.row_errors import Reasons
from dataops.rescoring.score import ScoreContext, score_unit

CAN_PROBE = hasattr(os, "fork")
COMMAND = (sys.executable, "-P", "-m", "dataops.rescoring.prober")  # -P: no module out of the folder of a worker
LENGTH_BYTES = 8  # in front of what a prober is told
_SINGLE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve more addresses than they use, and those are what is limited
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a prober needs to know.

    Attributes
    ----------
    memory_bytes : what a worker may use; None: no limit.
    """

    context: ScoreContext
    unit: Unit
    memory_bytes: int | None


def probe_unit(context: ScoreContext, unit: Unit) -> UnitRecord:
    """The record of `unit`, without the rows that kill the process that scores them.

    Raises
    ------
    Compute : it kills whoever reads it, loads its models, or scores its other rows together.
    """
    told = Told(context=context, unit=unit, memory_bytes=_memory_limit())
    return score_unit(context, unit, killers=_killers(told))


def _memory_limit() -> int | None:
    """What the Dask worker that this runs on may use, in bytes."""
    from distributed import get_worker

    try:
        limit = get_worker().memory_manager.memory_limit
    except (ValueError, AttributeError):  # no worker, or of another kind
        return None
    return int(limit) if limit else None


def _killers(told: Told) -> Reasons:
    """The rows of the unit that kill, by their offset among those that are read, with the reason."""
    answer = _ask(told)
    if "family" in answer:
        raise Failure(**answer).error()
    unit = told.unit
    if answer.get("died"):
        raise Compute(
            f"unit {unit.id} ({unit.fragment.shown}) kills its workers: {answer['died']} {answer['when']}; no row of "
            f"it does so alone. Is memory_limit too small for {unit.size_bytes} bytes of columns?"
        )
    return {int(row): reason for row, reason in answer["killers"].items()}


def _environment() -> dict[str, str]:
    """Ours, single-threaded, with all places where this process finds its modules."""
    paths = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path]
    return {**os.environ, **_SINGLE, "PYTHONPATH": os.pathsep.join(path for path in dict.fromkeys(paths) if path)}


def _ask(told: Told) -> Mapping[str, Any]:
    payload = pickle.dumps(told)
    with subprocess.Popen(  # noqa: S603  # this very interpreter, with a module of ours
        COMMAND,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None  # noqa: S101  # asked for above
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(len(payload).to_bytes(LENGTH_BYTES, "big") + payload)
            process.stdin.flush()  # and left open: its end tells the prober that this worker has died
            data = process.stdout.read()
        except BrokenPipeError:
            data = b""
        finally:
            process.kill()
        code = process.wait()
    try:
        answer: Mapping[str, Any] = json.loads(data)
    except ValueError:
        return {"died": f"a process that reads it ended ({code})", "when": "before any row was scored"}
    return answer
