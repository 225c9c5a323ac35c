"""Tasks that may run on any worker do, also where the workers that they were to run on are gone.

Dask (2026.8) lets a task with ``allow_other_workers`` run elsewhere when it decides on it. One that finds no worker at
all waits for those that it named, and a worker that is started again has another address: with one worker, or all of
them lost at once, the task would wait for ever.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from distributed.diagnostics.plugin import SchedulerPlugin

if TYPE_CHECKING:
    from distributed import Client
    from distributed.scheduler import Scheduler

_log = logging.getLogger(__name__)


class Loosening(SchedulerPlugin):  # type: ignore[misc]  # Dask has no types
    """Takes the names of workers off such tasks when a worker comes, right before Dask looks for what it could run."""

    name = "dataops-loosening"
    idempotent = True

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:  # noqa: ARG002  # Dask's names
        """Let waiting tasks go to whoever comes."""
        for task in scheduler.unrunnable:
            if task.loose_restrictions and not scheduler.valid_workers(task):
                task.worker_restrictions = set()


def loosen(client: Client) -> None:
    """No task of this cluster waits for a worker that is gone, unless it must run there."""
    try:
        client.register_plugin(Loosening())
    except Exception as error:  # noqa: BLE001 - a Dask scheduler of somebody else's, without this package
        name = type(error).__name__
        _log.warning("the Dask scheduler can't be told what to do about workers that were lost (%s)", name)
