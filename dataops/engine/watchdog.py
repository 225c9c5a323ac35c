"""How long a run may take, and how long nothing may come of it. Pure: the time is an argument."""

from __future__ import annotations

from dataclasses import dataclass

LOOK_SECONDS = 1.0  # how often it is looked whether the Dask scheduler is still there


@dataclass(slots=True, kw_only=True)
class Watchdog:
    """Times of one phase, in seconds of a clock that never goes back.

    Attributes
    ----------
    run_ends : when the whole run must be done; None: whenever it is.
    stalled_seconds : how long nothing may come in; None: as long as it takes.
    heard : when something came in last.
    """

    heard: float
    run_ends: float | None = None
    stalled_seconds: float | None = None

    def hear(self, now: float) -> None:
        """Something came in, or was handed out again, at `now`."""
        self.heard = now

    def is_over(self, now: float) -> bool:
        """Whether the run took longer than it may."""
        return self.run_ends is not None and now >= self.run_ends

    def is_stalled(self, now: float) -> bool:
        """Whether nothing came in for too long."""
        return self.stalled_seconds is not None and now >= self.heard + self.stalled_seconds

    def patience(self, now: float, *, next_due: float | None) -> float:
        """Seconds to wait at most until something has to be looked at, if nothing comes in.

        Parameters
        ----------
        next_due : when a pause ends; None without one.
        """
        stalled = None if self.stalled_seconds is None else self.heard + self.stalled_seconds
        times = [at for at in (self.run_ends, stalled, next_due) if at is not None]
        return max(0.0, min([now + LOOK_SECONDS, *times]) - now)
