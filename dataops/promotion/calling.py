"""Calling: a version is loaded and predicts its golden rows in a process of its own, which may die of it.

1. The process gets the bytes that were verified, no path and no secret of this one, and answers in JSON.
2. It may take so much memory and so many seconds beside what the libraries take that read it; whatever goes beyond
   ends the process, and the answer says so. What it prints is thrown away.
3. A version without golden rows can't be called: nobody knows what it should answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

from dataops.declarations.promotion import CallableLimits
from dataops.models.package import Package
from dataops.promotion.findings import Called
from dataops.records import canonical_bytes
from dataops.registry.versions import LoadedVersion

COMMAND = (sys.executable, "-P", "-m", "dataops.promotion.caller")  # -P: no module out of the folder it is called in
LENGTH_BYTES = 8  # in front of what a caller is told
START_SECONDS = 60.0  # for Python and the libraries, whatever the rule allows
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR")
_SINGLE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve more addresses than they use, and those are what is limited
}
_NO_GOLDEN = "it has no golden rows, since an earlier release registered it: train it anew"


def call_version(candidate: LoadedVersion, limits: CallableLimits) -> Called:
    """What becomes of calling `candidate` under `limits`."""
    if candidate.package.golden is None:
        return Called(failed=_NO_GOLDEN)
    try:
        done = subprocess.run(  # noqa: S603  # this very interpreter, with a module of ours
            COMMAND,
            input=_told(candidate.package, limits),
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=START_SECONDS + limits.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Called(failed=_too_slow(limits))
    return _answer(done, limits)


def _answer(done: subprocess.CompletedProcess[bytes], limits: CallableLimits) -> Called:
    if done.returncode in (-signal.SIGALRM, -signal.SIGXCPU):
        return Called(failed=_too_slow(limits))
    if done.returncode < 0:
        return Called(failed=f"it killed the process that loaded it: {signal.Signals(-done.returncode).name}")
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
        return Called(**answer)
    except (ValueError, TypeError):
        return Called(failed=f"the process that loaded it ended without an answer (exit {done.returncode})")


def _too_slow(limits: CallableLimits) -> str:
    return f"it hadn't predicted its golden rows after {limits.seconds:g} seconds"


def _told(package: Package, limits: CallableLimits) -> bytes:
    """What the caller needs to know: the length of a JSON object, the object, and the model's own bytes."""
    head = canonical_bytes(
        {
            "program": package.program.record(),
            "golden": package.golden.record() if package.golden else None,
            "model_format": package.model_format,
            "seconds": limits.seconds,
            "memory_mb": limits.memory_mb,
            "timed": limits.ms_per_row is not None,
        }
    )
    return len(head).to_bytes(LENGTH_BYTES, "big") + head + package.model


def _environment() -> dict[str, str]:
    """Single-threaded, with the places where this process finds its modules; nothing else that this one knows."""
    paths = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path]
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, **_SINGLE, "PYTHONPATH": os.pathsep.join(path for path in dict.fromkeys(paths) if path)}
