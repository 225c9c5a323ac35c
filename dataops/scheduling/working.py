"""Steps at work: each in a process of its own, that a person could have started with the same words.

1. A crash, a leak or a kill hits one step. Its process leads a group of its own: what it started ends with it.
2. A step's process ends with its script (`parent`), however that ended.
3. What it prints on stderr becomes the log of its run, a record a second at most; what it prints on stdout is its
   answer, one JSON document.
4. A step that is to stop is asked to (SIGTERM), and killed `GRACE_SECONDS` later.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess  # nosec
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from dataops.errors import Compute, Storage
from dataops.runs.log import Lines, plain_line
from dataops.scheduling.parent import GRACE_SECONDS, PARENT_VARIABLE
from dataops.storage.objects import Store

PROGRAM = (sys.executable, "-P", "-m", "dataops.cli.main")
INTERRUPTED = 130
MAX_ANSWER_BYTES = 16 * 1024 * 1024
_READ_SECONDS = 5.0  # to read what an ended process printed last
_MAY_PASS = frozenset({Storage.exit_code, Compute.exit_code})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCommand:
    """What a step's process is to do.

    Attributes
    ----------
    run : the id under which it is logged, that of its run where it is one.
    arguments : of ``dataops``, as a person would type them.
    environ : variables beside those of the script.
    """

    run: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a step's process ended.

    Attributes
    ----------
    exit_code : 0 done, else that of a family of errors; negative: the number of the signal that killed it.
    answer : what it printed as JSON; {} for nothing of that kind.
    error : what went wrong, in words; None where nothing did.
    may_pass : whether the same may go well later, though nobody mends anything.
    """

    exit_code: int
    answer: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    may_pass: bool = False

    @property
    def family(self) -> str:
        """The family of the error that it ended with; "" for none that it named."""
        return str(self.answer.get("error", {}).get("family", "")) if self.exit_code else ""


class Child(Protocol):
    """A step at work."""

    def poll(self) -> Result | None:
        """How it ended; None while it is at work. Never waits."""

    def stop(self) -> None:
        """It ends soon. Saying it twice is saying it once."""


class Starter(Protocol):
    """Whoever starts steps."""

    def start(self, command: StepCommand) -> Child:
        """The step, at work from now on.

        Raises
        ------
        Compute : it couldn't be started.
        """


class SubprocessStarter:
    """Starts each step as a process on this machine.

    Parameters
    ----------
    store : where the logs are kept.
    folder : the workspace: where the process is started.
    program : what the arguments are given to.
    environ : variables beside those of this process.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        *,
        program: Sequence[str] = PROGRAM,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._store, self._folder, self._program, self._environ = store, folder, tuple(program), dict(environ or {})

    def start(self, command: StepCommand) -> SubprocessChild:  # noqa: D102 - the seam says it
        environ = {**os.environ, **self._environ, **command.environ, PARENT_VARIABLE: str(os.getpid())}
        try:
            process = subprocess.Popen(  # noqa: S603  # the words of a schedule, given to this project's own program
                [*self._program, *command.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env=environ,
                start_new_session=True,
            )
        except OSError as error:
            raise Compute(f"{command.run}: its process could not be started: {error.strerror}") from None
        try:
            return SubprocessChild(process, Lines(self._store, command.run))
        except RuntimeError as error:  # no thread is left to read it: it would work on with nobody to count it
            _end(process)
            raise Compute(f"{command.run}: its process could not be followed: {error}") from None


class SubprocessChild:
    """A process that leads its own group."""

    def __init__(self, process: subprocess.Popen[bytes], lines: Lines) -> None:
        self._process, self._lines = process, lines
        self._answer, self._last = b"", ""
        self._kill_at: float | None = None
        self._ended: Result | None = None
        self._threads = [
            threading.Thread(target=read, args=(stream,), daemon=True)
            for read, stream in ((self._read_answer, process.stdout), (self._read_log, process.stderr))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def poll(self) -> Result | None:  # noqa: D102 - the seam says it
        if self._ended is None and self._has_ended():
            self._kill_group()  # workers that outlived it; the group's number is ours until it is waited for
            self._process.wait()
            for thread in self._threads:
                thread.join(_READ_SECONDS)
            self._ended = self._result()
        elif self._ended is None and self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_group()
        return self._ended

    def stop(self) -> None:  # noqa: D102
        if self._ended is None and self._kill_at is None:
            self._kill_at = time.monotonic() + GRACE_SECONDS
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _result(self) -> Result:
        code, answer = self._process.returncode, parse_answer(self._answer)
        if code == 0:
            return Result(exit_code=0, answer=answer)
        told = answer.get("error")
        told = told if isinstance(told, Mapping) else {}
        message = str(told.get("message") or self._last or "it said nothing")
        if code < 0:
            message = f"killed by {_signal_name(-code)}"
        return Result(
            exit_code=code,
            answer=answer,
            error=message,
            may_pass=code < 0 or code in _MAY_PASS or told.get("may_pass") is True,
        )

    def _read_answer(self, stream: IO[bytes]) -> None:
        with stream:
            while data := stream.read1(65536):  # type: ignore[attr-defined]
                self._answer = (self._answer + data)[:MAX_ANSWER_BYTES]

    def _read_log(self, stream: IO[bytes]) -> None:
        writer = _Writer(self._lines)
        with stream, writer:
            for line in stream:
                text = line.decode("utf-8", errors="replace")
                self._last = plain_line(text) or self._last
                writer.add(text)


class _Writer:
    """Writes lines to a log once a second at most, and at the end: lines wait until then, and no line for another."""

    def __init__(self, lines: Lines) -> None:
        self._lines, self._lock, self._end = lines, threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def add(self, line: str) -> None:
        with self._lock:
            self._lines.add(line)

    def __enter__(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # no thread is left: all is written at the end
            self._end.set()

    def __exit__(self, *_: object) -> None:
        if self._end.is_set():
            self._write()
            return
        self._end.set()
        self._thread.join()

    def _write(self) -> None:
        ended = False
        while not ended:
            ended = self._end.wait(1.0)
            with self._lock:
                self._lines.write()


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process, and what it started, is gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def parse_answer(printed: bytes) -> Mapping[str, Any]:
    """The JSON object that was printed, all of it or as the last line; {} where there is none."""
    text = printed.decode("utf-8", errors="replace").strip()
    for candidate in (text, text.rsplit("\n", 1)[-1]):
        with suppress(ValueError, RecursionError):
            answer = json.loads(candidate)
            if isinstance(answer, dict):
                return answer
    return {}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
