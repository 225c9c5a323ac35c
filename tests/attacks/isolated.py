"""Each case in a process of its own, under a limit of memory and time, so that one which dies is seen as what it is.

``python -m tests.attacks.isolated tests.attacks.damage FOLDER`` runs `CASES` of that module, each with a folder of its
own below FOLDER, and prints what came of them as JSON. The process forks before any thread runs in it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dataops.errors import DataopsError

MEMORY_BYTES = 3 * 2**30  # of address space, of which Arrow and threads take most without touching it
SECONDS = 30
DIED, LEAKED = "died", "leaked"

Case = Callable[[Path], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of a case: `verdict` is what it returned, the family of its error, `DIED`, or `LEAKED` for an error
    that is none of ours; `peak_bytes` the most memory that its process held.
    """

    verdict: str
    said: str
    peak_bytes: int


def run_isolated(module: str, folder: Path) -> dict[str, Seen]:
    """What came of each of the `CASES` of `module`."""
    command = [sys.executable, "-m", "tests.attacks.isolated", module, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: Seen(**seen) for name, seen in json.loads(done.stdout).items()}


def in_child(case: Case, folder: Path) -> Seen:
    """What came of `case` in a child of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            os.write(writing, json.dumps(_run(case, folder)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status, used = os.wait4(child, 0)
    verdict, words = json.loads(said) if said else (DIED, f"signal {os.WTERMSIG(status)}, exit {status >> 8}")
    return Seen(verdict=verdict, said=words, peak_bytes=used.ru_maxrss * 1024)


def _run(case: Case, folder: Path) -> tuple[str, str]:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)  # a hang is a death, too
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    folder.mkdir(parents=True)
    try:
        return case(folder), ""
    except DataopsError as error:
        return type(error).__name__, str(error)
    except BaseException as error:  # noqa: BLE001  # what gets out is what is looked for
        return LEAKED, "".join(traceback.format_exception(error))[-3000:]


def main(module: str, folder: str) -> None:
    """Run the cases of `module` and print what came of them."""
    cases: Mapping[str, Case] = importlib.import_module(module).CASES
    root = Path(folder)
    seen = {name: asdict(in_child(case, root / str(place))) for place, (name, case) in enumerate(cases.items())}
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
