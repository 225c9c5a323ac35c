"""Whether a cluster does nothing: asked of its Dask scheduler, counted here. The counting is pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataops.engine.standing import ANSWER_SECONDS
from dataops.errors import Compute

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a Dask scheduler does now.

    Attributes
    ----------
    changes : how often a task changed its state since it was started.
    busy : tasks that workers have in hand.
    """

    changes: int
    busy: int
    workers: int
    threads: int


@dataclass(slots=True, kw_only=True)
class Idle:
    """Since when a cluster did nothing, by a clock that never goes back.

    Attributes
    ----------
    limit_seconds : after so many it has been idle for too long.
    since : when it last did something.
    """

    limit_seconds: float
    since: float
    changes: int = 0

    def is_over(self, found: Activity | None, now: float) -> bool:
        """Whether it was idle for too long, with what was `found` at `now`; None: it is too busy to say."""
        if found is None:
            self.since = now
        elif found.busy or found.changes != self.changes:
            self.since, self.changes = now, found.changes
        return now - self.since >= self.limit_seconds


def activity(client: Client) -> Activity:
    """What the cluster of `client` does now.

    Raises
    ------
    Compute : its Dask scheduler doesn't answer.
    """
    try:
        changes, busy, threads = client.sync(
            client._run_on_scheduler,  # noqa: SLF001  # without `_` it waits for an answer as long as it takes
            _look,
            callback_timeout=ANSWER_SECONDS,
        )
    except Exception as error:  # noqa: BLE001  # whatever it is, nobody answers
        raise Compute(f"the Dask scheduler doesn't answer ({type(error).__name__})") from None
    return Activity(changes=changes, busy=busy, workers=len(threads), threads=sum(threads))


def _look(dask_scheduler: Any) -> tuple[int, int, list[int]]:
    workers = list(dask_scheduler.workers.values())
    busy = sum(len(worker.processing) for worker in workers)
    return dask_scheduler.transition_counter, busy, [worker.nthreads for worker in workers]
