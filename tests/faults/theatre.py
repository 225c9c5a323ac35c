# ruff: noqa: T201 - it talks on stdout, and draws what it does
"""Scheduler scripts as processes of their own that begin in no time: one process imports everything, and forks them.

It reads lines from its stdin: each asks for another script, whose process id it prints. Scripts differ from those that
people start in what they call an hour: they look and beat many times a second, their steps are played (`tiny_step`),
and the clock is as far off as a file says.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

from dataops.records import now_utc
from dataops.scheduling.beats import Watch
from dataops.scheduling.floor import Limits, SystemClock
from dataops.scheduling.loop import Scheduler
from dataops.scheduling.working import SubprocessStarter

OFFSET = "clock-offset"
LOG = "scripts.log"
CLOCK = "THEATRE_CLOCK"  # set where the machine's own clock is set wrong
STEP = Path(__file__).with_name("tiny_step.py")
DEAD_AFTER_SECONDS = 1.0


class OffsetClock:
    """The machine's clock, set wrong by as many seconds as a file says."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return now_utc() + timedelta(seconds=float(self._file.read_text() or 0))


def script(folder: Path, at_once: int) -> None:
    """A scheduler script, until it is killed."""
    log = os.open(folder / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def say(line: str) -> None:
        os.write(log, f"{os.getpid()} {line}\n".encode())

    program = (sys.executable, "-I", "-S", str(STEP))  # by the machine's clock: Python can't sleep by another
    scheduler = Scheduler(
        folder,
        clock=SystemClock() if CLOCK in os.environ else OffsetClock(folder / OFFSET),
        start=lambda store, at: SubprocessStarter(store, at, program=program, environ={"LD_PRELOAD": ""}),
        log=say,
        limits=Limits(at_once=at_once, per_user=at_once),
        poll_seconds=0.1,
        beat_seconds=0.2,
        watch=Watch(dead_after_seconds=DEAD_AFTER_SECONDS),
        accept_clock=True,
    )
    with scheduler:
        scheduler.run(threading.Event())


def main() -> None:
    """Forks scripts until nobody asks any more."""
    folder, at_once = Path(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            try:
                script(folder, at_once)
            finally:
                os._exit(1)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
