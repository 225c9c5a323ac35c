"""Whether the clock goes as time does: one that was set far forward or back is not believed while a script runs."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from dataops.scheduling.floor import Floor
from dataops.scheduling.wording import spell_age

MAX_JUMP = timedelta(hours=24)


class Pace:
    """Compares the clock of a script with seconds that only ever grow.

    Parameters
    ----------
    believe : the clock is right, however it jumps.
    """

    def __init__(self, floor: Floor, *, believe: bool = False) -> None:
        self._floor, self._believe = floor, believe
        self._before: tuple[datetime, float] | None = None

    def check(self) -> None:
        """From a jump on of more than `MAX_JUMP` no slot is claimed, until the clock jumps back."""
        now, ticks = self._floor.now(), _ticks()
        if self._before is None or self._believe:
            self._before = (now, ticks)
            return
        then, before = self._before
        jump = (now - then) - timedelta(seconds=ticks - before)
        if abs(jump) <= MAX_JUMP:
            if not self._floor.claims:
                self._floor.say("the clock is back; slots are claimed again")
            self._floor.claims, self._before = True, (now, ticks)
        elif self._floor.claims:
            self._floor.claims = False
            direction = "forward" if jump > timedelta(0) else "back"
            self._floor.say(
                f"the clock jumped {direction} by {spell_age(abs(jump))}: no slot is claimed by it. If it is right, "
                "start this script again, or with --accept-clock"
            )


def _ticks() -> float:
    """Seconds that only ever grow, those of a suspended machine included where it counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
