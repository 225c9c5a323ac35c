# ruff: noqa: T201, S311 - it talks on stdout, and draws what it does
"""A step that takes a moment and commits once: what ``dataops job run --run ID`` is in earnest, in a few milliseconds.

It ends with the script that started it, fails now and then as a store does, and puts its result if that is absent.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

SECONDS = 0.15


def main() -> int:
    words = sys.argv[1:]
    run = words[words.index("--submission" if "--submission" in words else "--run") + 1]
    folder = Path(words[words.index("--workspace") + 1])
    parent, attempt = os.environ["DATAOPS_PARENT_PID"], f"{run}.{os.getpid()}"
    (folder / "attempts" / attempt).touch()
    print(f"working at {run}", file=sys.stderr, flush=True)
    until = time.monotonic() + random.uniform(0, SECONDS)
    while time.monotonic() < until:
        if os.getppid() != int(parent):
            return 130
        time.sleep(0.01)
    if "--submission" not in words and random.random() < 0.1:
        print(json.dumps({"error": {"family": "Storage", "message": "the store had a moment", "may_pass": True}}))
        return 10
    mine = folder / "attempts" / f"{attempt}.result"
    mine.write_text(run)
    try:
        os.link(mine, folder / "commits" / run)
    except FileExistsError:
        print("somebody else was first", file=sys.stderr)
    print(json.dumps({"run": run, "result": {}}))
    return 0


sys.exit(main())
