"""Work whose cluster was lost as a whole is done on another one: started anew, or found again where it was.

1. A cluster is lost when its Dask scheduler is: Dask keeps nothing of it. What units wrote stays, and isn't done again.
2. Three times at most, with growing pauses, so that a cut of a minute or two is outlasted. A cluster that can't be
   started is a loss only where there was one before: else a wrong cluster file would be tried for minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dataops.errors import Compute

T = TypeVar("T")

PAUSES_SECONDS = (1.0, 20.0, 60.0)


@dataclass(slots=True)
class Attempts:
    """How it went so far.

    Attributes
    ----------
    losses : how many clusters were lost.
    met : whether the present one was there.
    """

    losses: int = 0
    met: bool = False

    def pause(self, error: Compute) -> float | None:
        """Seconds after which another cluster is tried; None where `error` has to be told instead."""
        lost = error.cluster_lost if self.met else self.losses > 0
        if not lost or self.losses == len(PAUSES_SECONDS):
            return None
        self.losses += 1
        self.met = False
        return PAUSES_SECONDS[self.losses - 1]


def on_clusters(
    do: Callable[[Attempts], T], lost: Callable[[Compute, float], None], *, sleep: Callable[[float], None] = time.sleep
) -> T:
    """What `do` returns, on the first cluster that lasts.

    Parameters
    ----------
    do : sets `Attempts.met` once its cluster is there.
    lost : called with the error of each loss and the seconds until the next try.

    Raises
    ------
    Compute : too many clusters were lost; or what else `do` raises.
    """
    attempts = Attempts()
    while True:
        try:
            return do(attempts)
        except Compute as error:
            pause = attempts.pause(error)
            if pause is None:
                if attempts.losses:
                    error.add_note(f"{attempts.losses} clusters were tried after the first one was lost.")
                raise
            lost(error, pause)
        sleep(pause)
