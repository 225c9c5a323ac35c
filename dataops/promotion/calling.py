"""Calling: a version is loaded and predicts its golden rows in a process of its own, which may die of it.

1. The process gets the bytes that were verified, no path and no secret of this one, and answers in JSON.
2. It may take so much memory and so many seconds of a processor beside what the libraries take that read it; whatever
   goes beyond ends the process, and the answer says so. Seconds of a processor are the version's own: other work on the
   machine doesn't add to them. What hangs takes none, and ends after `CLOCK_FACTOR` times as many seconds by the clock,
   at least a minute. What it prints is thrown away.
3. An answer counts if the process ended well and the answer is short and of the types that one has.
4. Without golden rows nobody knows what a version should answer: whether it can be called is seen all the same.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from dataops.declarations.promotion import CallableLimits
from dataops.models.package import Package
from dataops.promotion.findings import Called
from dataops.records import canonical_bytes
from dataops.registry.versions import LoadedVersion

COMMAND = (sys.executable, "-P", "-m", "dataops.promotion.caller")  # -P: no module out of the folder it is called in
LENGTH_BYTES = 8  # in front of what a caller is told
START_SECONDS = 300.0  # by the clock, for Python and the libraries, whatever the rule allows
CLOCK_FACTOR = 10.0  # seconds by the clock for one that the rule allows
CLOCK_LEAST_SECONDS = 60.0
LONGEST_ANSWER = 1 << 16  # bytes; an answer has a few hundred
_NOT_YET = "it hadn't predicted its golden rows"
_CHUNK = 1 << 16
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR")
_SINGLE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve more addresses than they use, and those are what is limited
}


def call_version(candidate: LoadedVersion, limits: CallableLimits) -> Called:
    """What becomes of calling `candidate` under `limits`."""
    try:
        code, answer = _run(_told(candidate.package, limits), START_SECONDS + _clock_seconds(limits))
    except subprocess.TimeoutExpired:
        return Called(missed=_hung(limits))
    if len(answer) > LONGEST_ANSWER:
        return Called(failed=f"the process that loaded it answered with more than {LONGEST_ANSWER} bytes")
    if missed := _overstayed(code, limits):
        return Called(missed=missed)
    if code < 0:
        return Called(failed=f"it killed the process that loaded it: {_signal(-code)}")
    if code > 0 or (called := _parse(answer)) is None:
        return Called(failed=f"the process that loaded it ended without an answer (exit {code})")
    return called


def _run(told: bytes, seconds: float) -> tuple[int, bytes]:
    """The exit code of a caller and its answer, cut behind `LONGEST_ANSWER`; the process is gone afterwards.

    Raises
    ------
    subprocess.TimeoutExpired : it took longer than that.
    """
    end = time.monotonic() + seconds
    with subprocess.Popen(  # noqa: S603  # this very interpreter, with a module of ours
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,  # what it starts ends with it
    ) as process:
        try:
            answer = _exchange(process, told, end)
            if len(answer) > LONGEST_ANSWER:
                return 0, answer
            return process.wait(max(0.0, end - time.monotonic())), answer
        finally:
            with suppress(ProcessLookupError, PermissionError):  # also what it started and left behind
                os.killpg(process.pid, signal.SIGKILL)


def _exchange(process: subprocess.Popen[bytes], told: bytes, end: float) -> bytes:
    """What the process answers until it closes its output, or a little more than `LONGEST_ANSWER`; it is told
    meanwhile.
    """
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise AssertionError("both are pipes")
    os.set_blocking(stdin.fileno(), False)
    left, answer = memoryview(told), bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(stdin, selectors.EVENT_WRITE)
        ready.register(stdout, selectors.EVENT_READ)
        while len(answer) <= LONGEST_ANSWER:
            events = ready.select(max(0.0, end - time.monotonic()))
            if time.monotonic() >= end:
                raise subprocess.TimeoutExpired(COMMAND, 0.0)
            for key, _ in events:
                if key.fileobj is stdin:
                    left = _fed(stdin.fileno(), left)
                    if not left:
                        ready.unregister(stdin)
                        stdin.close()
                elif data := os.read(stdout.fileno(), _CHUNK):
                    answer += data
                else:
                    return bytes(answer)
    return bytes(answer)


def _fed(pipe: int, left: memoryview) -> memoryview:
    """What is left to tell once the pipe has taken what it can; nothing where nobody listens any more."""
    try:
        return left[os.write(pipe, left[:_CHUNK]) :]
    except BrokenPipeError:
        return left[:0]


def _parse(answer: bytes) -> Called | None:
    """The answer; None where it isn't one."""
    try:
        called = Called(**json.loads(answer))
    except (ValueError, TypeError, RecursionError):
        return None
    words = isinstance(called.failed, str) and isinstance(called.missed, str)
    counted = isinstance(called.compared, bool) and type(called.rows) is int and called.rows >= 0
    figures = (called.seconds, called.memory_mb, called.ms_per_row)
    return called if words and counted and all(one is None or _is_figure(one) for one in figures) else None


def _is_figure(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= sys.float_info.max  # no NaN, and no whole number that no float holds


def _signal(number: int) -> str:
    """The name of a signal; of one without a name, its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _clock_seconds(limits: CallableLimits) -> float:
    return max(CLOCK_LEAST_SECONDS, CLOCK_FACTOR * limits.seconds)


def _overstayed(code: int, limits: CallableLimits) -> str:
    """Which time was up for a process that ended with `code`; "" for none."""
    if code == -signal.SIGALRM:
        return _hung(limits)
    if code in (-signal.SIGPROF, -signal.SIGXCPU):
        return f"{_NOT_YET} after {limits.seconds:g} seconds of a processor"
    return ""


def _hung(limits: CallableLimits) -> str:
    clock = f"{_NOT_YET} after {_clock_seconds(limits):g} seconds by the clock"
    return (
        f"{clock}, and had used less than {limits.seconds:g} of a processor: it hangs, or the machine is far too busy"
    )


def _told(package: Package, limits: CallableLimits) -> bytes:
    """What the caller needs to know: the length of a JSON object, the object, and the model's own bytes."""
    head = canonical_bytes(
        {
            "program": package.program.record(),
            "golden": package.golden.record() if package.golden else None,
            "model_format": package.model_format,
            "calibration": package.calibration.record() if package.calibration else None,
            "seconds": limits.seconds,
            "clock_seconds": _clock_seconds(limits),
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
