"""The driver's end of an agent (`engine.agent`): a process, mostly an ``ssh``, whose stdin is the agent's life line."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

_LINES = 5
_LENGTH = 300
_END_SECONDS = 10.0
_NOTE_SECONDS = 2.0
_ENDED: Mapping[str, Any] = {}


class Agent:
    """An agent that was given an order; it ends when this one is closed, or when its driver dies.

    Attributes
    ----------
    closed : whether it was told to end: that it ends then is no trouble.
    """

    def __init__(self, command: Sequence[str], order: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # words that our files were checked for, and no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C is for the driver, which ends its agents in order
        )
        self._said: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self._errors: deque[str] = deque(maxlen=_LINES)
        self._writing = threading.Lock()
        self._answered = self.closed = False
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._stdin, self._stdout, self._stderr = (pipe for pipe in pipes if pipe is not None)
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._noting = threading.Thread(target=self._note, daemon=True)
        self._noting.start()
        self._listening.start()
        self._write(json.dumps(order).encode() + b"\n")

    def hear(self, seconds: float) -> Mapping[str, Any] | None:
        """What it says next; None if it says nothing for so long, and an empty mapping once it has ended."""
        try:
            return self._said.get(timeout=seconds)
        except Empty:
            return None

    def beat(self) -> None:
        """Tells it that its driver is still there."""
        self._write(b"\n")

    @property
    def trouble(self) -> str:
        """The last that it, or the ``ssh`` before it, complained of."""
        return "; ".join(self._errors)

    def close(self) -> None:
        """Ends it, and with it what it started."""
        self.closed = True
        with suppress(OSError), self._writing:
            self._stdin.close()

    def wait(self) -> None:
        """Back when it has ended; one that doesn't, since nobody hears it, is let go: it ends by itself.

        What was never heard of is told to end at once: it may wait for its turn, somewhere.
        """
        if not self._answered:
            self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._listening.join(_END_SECONDS)
        self._noting.join(_END_SECONDS)
        self._stdout.close()
        self._stderr.close()

    def _write(self, line: bytes) -> None:
        with suppress(OSError, ValueError), self._writing:  # it has ended, or is closed
            self._stdin.write(line)
            self._stdin.flush()

    def _listen(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._stdout:
                with suppress(ValueError):  # what a login prints is no answer
                    said = json.loads(line)
                    if isinstance(said, dict) and said:  # an empty one says that it has ended
                        self._answered = True
                        self._said.put(said)
        self._noting.join(_NOTE_SECONDS)  # why it ended is known when that it ended is told
        self._said.put(_ENDED)

    def _note(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._stderr:
                if text := line.decode("utf-8", "replace").strip():
                    self._errors.append(text[:_LENGTH])
