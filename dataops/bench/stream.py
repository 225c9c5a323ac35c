"""A stream of the benchmark: a process of the command line that notes when it was ready to be asked for its run.

Starting Python is start-up; from then on planning counts, which leaves no event in the run's journal when it begins.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

import dataops.runs.execute  # noqa: F401 -- what a run needs is loaded before the clock starts


def main() -> None:
    """Notes the time in the file that the first argument names, and runs ``dataops`` with the others."""
    _, noted, *arguments = sys.argv
    Path(noted).write_text(repr(time.time()), encoding="utf-8")
    sys.argv = ["dataops", *arguments]
    runpy.run_module("dataops.cli.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
