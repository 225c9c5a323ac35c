"""The scheduler script, as people start it: from cron, from systemd, in a CronJob, or left running in a terminal."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataops.runs.workspace import take_signing_key
from dataops.scheduling.loop import POLL_SECONDS, PassResult, Scheduler, SystemClock
from dataops.scheduling.working import SubprocessStarter
from dataops.settings import SIGNING_KEY_VARIABLE
from dataops.storage.objects import Store


def run_script(
    folder: Path,
    *,
    once: bool,
    poll_seconds: float = POLL_SECONDS,
    accept_clock: bool = False,
    log: Callable[[str], None] | None = None,
) -> PassResult:
    """What came of a scheduler script of the workspace at `folder`.

    Parameters
    ----------
    once : do what is due, wait for it, and end; else until somebody stops it (SIGTERM, Ctrl-C).
    poll_seconds : how long it rests between two rounds.
    accept_clock : believe the clock, however it jumps.
    log : takes the lines that say what was decided; None: they go to stderr.

    Raises
    ------
    InvalidInput : the settings are wrong.
    Storage : the storage can't be written.
    """
    key = take_signing_key()  # before anything is started that could inherit it

    def start(store: Store, at: Path) -> SubprocessStarter:
        return SubprocessStarter(store, at, environ={} if key is None else {SIGNING_KEY_VARIABLE: key})

    scheduler = Scheduler(
        folder,
        clock=SystemClock(),
        start=start,
        log=log or print_line,
        poll_seconds=poll_seconds,
        accept_clock=accept_clock,
    )
    with _until_told() as stop, scheduler:
        return scheduler.once(stop) if once else scheduler.run(stop)


def print_line(line: str) -> None:
    """`line` on stderr; nobody has to read it."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """Set as soon as somebody tells this process to end; who says so twice doesn't want to wait for its steps."""
    stop = threading.Event()

    def tell(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else nobody hears how a step ended
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not Python's
