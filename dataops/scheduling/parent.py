"""A process that a scheduler script started ends with it: nobody would hear what came of its work.

1. The script says who it is in the environment. The variable is taken out of it: what this process starts belongs to
   this process.
2. Whoever asks this process to end (SIGTERM) interrupts it, as Ctrl-C would: the run is recorded as interrupted and its
   workers are closed. What hasn't ended `GRACE_SECONDS` after its parent is killed, with all that it started.
"""

from __future__ import annotations

import os
import signal
import threading
import time

PARENT_VARIABLE = "DATAOPS_PARENT_PID"
GRACE_SECONDS = 20.0
_POLL_SECONDS = 0.5


def end_with_parent() -> None:
    """From now on this process ends with the one that the environment names; nothing, where it names none."""
    named = os.environ.pop(PARENT_VARIABLE, "")
    if not named.isdecimal():
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_watch, args=(int(named),), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    time.sleep(_POLL_SECONDS)  # whoever called is back by then
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    if os.getpgid(0) == os.getpid():  # a group of its own: nobody else is in it
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
