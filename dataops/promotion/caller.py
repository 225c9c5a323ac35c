"""The process that loads a candidate and lets it predict: told on standard input, answering on standard output.

1. Libraries are imported first. From then on memory and time are limited, so that the limits are about the version.
2. Out of time it dies (SIGPROF or SIGXCPU of a processor's, SIGALRM of the clock's), out of memory it says so or dies
   of it. Seconds of a processor count for all of its threads together.
3. Without golden rows it predicts rows made up likewise: that shows that it can be called, not what it should answer.
4. Of an error of ours the message is told, which holds no value of a row; of any other its class.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa

from dataops.errors import DataopsError
from dataops.features.program import FeatureProgram
from dataops.models.calibration import Calibration, calibrated
from dataops.models.golden import Golden, check_golden, make_golden
from dataops.models.predictor import FORMATS, Predictor, load_predictor
from dataops.models.scoring import score_table
from dataops.promotion.calling import LENGTH_BYTES
from dataops.promotion.findings import Called

_MB = 1 << 20
_TIMED_CALLS, _TIMED_SECONDS = 100, 1.0
_LIBRARIES = {"xgboost": "xgboost", "lightgbm": "lightgbm", "sklearn": "skops.io"}


def main() -> None:
    """Answer whoever started this process; nothing else is printed anywhere."""
    answers, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    told, model = _told()
    os.write(answers, json.dumps(asdict(_called(told, model))).encode())


def _told() -> tuple[dict[str, Any], bytes]:
    data = sys.stdin.buffer.read()
    start = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "big")
    return json.loads(data[LENGTH_BYTES:start]), data[start:]


def _called(told: dict[str, Any], model: bytes) -> Called:
    _import_libraries(told["model_format"])
    before = _held_mb()
    _limit(told["seconds"], told["clock_seconds"], told["memory_mb"])
    try:
        return _predict(told, model, before)
    except MemoryError:
        return Called(missed=f"it takes more than the {told['memory_mb']} MB that it may")
    except DataopsError as error:
        return Called(failed=str(error))
    except Exception as error:  # noqa: BLE001  # whatever a library raises, it can't be called
        return Called(failed=f"{type(error).__name__} while it was loaded or predicted")


def _predict(told: dict[str, Any], model: bytes, before: float) -> Called:
    start = time.process_time()
    program = FeatureProgram.from_record(told["program"])
    given = None if told["golden"] is None else Golden.from_record(told["golden"])
    calibration = None if told["calibration"] is None else Calibration.from_record(told["calibration"])
    predictor = calibrated(load_predictor(told["model_format"], model), calibration)
    golden = given or make_golden(program, predictor)
    if given is not None:
        check_golden(given, program, predictor)
    seconds = time.process_time() - start
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    rows = golden.table(program)
    return Called(
        compared=given is not None,
        rows=rows.num_rows,
        seconds=seconds,
        memory_mb=max(0.0, _memory_mb("VmHWM") - before),
        ms_per_row=_time_rows(program, predictor, rows) if told["timed"] else None,
    )


def _time_rows(program: FeatureProgram, predictor: Predictor, rows: pa.Table) -> float | None:
    """Milliseconds of a call with one row, the median of many."""
    taken: list[float] = []
    end = time.perf_counter() + _TIMED_SECONDS
    while rows.num_rows and len(taken) < _TIMED_CALLS and time.perf_counter() < end:
        row = rows.slice(len(taken) % rows.num_rows, 1)
        start = time.perf_counter()
        score_table(program, predictor, row)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000 if taken else None


def _import_libraries(model_format: str) -> None:
    """Import what reads the format, so that nobody takes its time and memory for the version's."""
    with suppress(ImportError):  # told when it is loaded
        import_module(FORMATS[model_format].module)
        if library := _LIBRARIES.get(model_format.partition("-")[0]):
            import_module(library)


def _limit(seconds: float, clock_seconds: float, memory_mb: int) -> None:
    """From here on no more than so many seconds of a processor and by the clock, and so much more memory."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, clock_seconds)
    used = resource.getrusage(resource.RUSAGE_SELF)
    # whole seconds, but nothing switches it off; timing rows comes on top, and has its own end
    _lower(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds + 2 * _TIMED_SECONDS))
    with suppress(OSError, ValueError):
        _lower(resource.RLIMIT_AS, int((_memory_mb("VmSize") + memory_mb) * _MB))


def _lower(limit: int, wanted: int) -> None:
    _, most = resource.getrlimit(limit)
    resource.setrlimit(limit, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def _held_mb() -> float:
    """Memory of this process now. Where Linux's list has no peak, the most that it ever had: that may be what its
    parent had, and a peak is compared with its own kind.
    """
    return _memory_mb("VmHWM" if _told_mb("VmHWM") is None else "VmRSS")


def _memory_mb(name: str) -> float:
    """Memory of this process by its name in Linux's own list; elsewhere the most that it ever had."""
    told = _told_mb(name)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 if told is None else told


def _told_mb(name: str) -> float | None:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
    return None


if __name__ == "__main__":
    main()
