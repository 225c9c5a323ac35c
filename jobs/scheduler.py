# ruff: noqa: INP001 - a script beside job files
"""The scheduler script: put it under cron (`--once`), systemd or a CronJob, or leave it running.

``python jobs/scheduler.py`` is ``dataops schedule run``; ``--help`` says what it takes.
"""

import sys

from dataops.cli.main import main

if __name__ == "__main__":
    main(["schedule", "run", *sys.argv[1:]])
