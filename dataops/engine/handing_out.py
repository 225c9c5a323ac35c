"""The units of one phase: handed out in a window, each counted once, tried again where that may help.

1. A unit's first result counts; what comes of it later, from a copy or a zombie, is let go.
2. What may pass (storage faults) is tried again with a growing pause, which holds up no other unit. What can't pass
   stops the phase, once the other units of its batch are counted.
3. Dask gives a task up whose workers died several times, and with it all that these workers had in hand: what lay
   beside it is innocent. So each unit of what was given up is handed out again while nothing else is out, and only what
   is given up then is the end of workers: it goes another way if there is one, else the same way once more.
4. When nothing comes in for too long, all that is out is handed out once more, one by one, to workers that aren't busy
   with it; what workers are doing at that moment last, for it may hang again. What is out the second time ends the
   phase, which names the units that workers are doing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dataops.datasets.units import Unit
from dataops.engine.batches import Backlog
from dataops.engine.flights import Answer, Flights
from dataops.engine.tasks import Failure, Task
from dataops.engine.watchdog import Watchdog
from dataops.errors import Compute, Storage

RETRIES = 3
PAUSE_SECONDS = 0.5
WINDOW_PER_THREAD = 4  # enough to hide the round trip, few enough to stop early
LIVES = 2  # of a unit that is given up with nothing beside it, where there is no other way
NAMED = 5  # units in a message

Landed = Callable[[Unit, Any], None]
OnKilled = Callable[[Unit], Task | None]


class Emit(Protocol):
    """Where events of a run go."""

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Record `event` with JSON `fields`."""


@dataclass(slots=True, kw_only=True)
class HandingOut:
    """A function over units, under way.

    Attributes
    ----------
    landed : called with each unit's first result.
    on_killed : see `Work.map_units`.
    missing : units without a result.
    tries, deaths : of each unit: failures that may pass, and how often it was given up with nothing beside it.
    others : the function for units that go another way.
    suspects : units that may be the end of a worker.
    alone : the unit that is out with nothing beside it, if one is.
    copied : units that were handed out once more.
    """

    phase: str
    function: Task
    flights: Flights
    backlog: Backlog
    watchdog: Watchdog
    emit: Emit
    landed: Landed
    on_killed: OnKilled | None
    missing: dict[str, Unit]
    tries: Counter[str] = field(default_factory=Counter)
    deaths: Counter[str] = field(default_factory=Counter)
    others: dict[str, Task] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)
    alone: str | None = None
    copied: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Nothing, once every unit has landed.

        Raises
        ------
        DataopsError : what stopped the phase.
        """
        while self.missing:
            self._hand_out()
            now = time.monotonic()
            answer = self.flights.next(self.watchdog.patience(now, next_due=self.backlog.next_due))
            if answer is not None:
                self._count(answer)
            self._watch(time.monotonic())

    def _hand_out(self) -> None:
        threads = self.flights.threads()
        window = 1 if self.suspects else WINDOW_PER_THREAD * threads
        while len(self.flights) < window:
            units = self.backlog.take(time.monotonic(), threads=threads)
            if not units:
                return
            self.alone = units[0].id if self.suspects and len(units) == 1 else None
            self.flights.start(self.others.get(units[0].id, self.function), units)

    def _count(self, answer: Answer) -> None:
        """Count what came of a batch; raise what stops the phase when all of the batch is counted."""
        self.watchdog.hear(time.monotonic())
        units = [unit for unit in answer.units if unit.id in self.missing]
        if answer.refused is not None:
            self._refused(units, answer.refused)
            return
        fatal: Failure | None = None
        for unit, outcome in zip(answer.units, answer.outcomes, strict=True):
            if unit.id not in self.missing:
                continue
            if not isinstance(outcome, Failure):
                del self.missing[unit.id]
                self.suspects.discard(unit.id)
                self.landed(unit, outcome)
            elif not self._again(unit, outcome):
                fatal = fatal or outcome
        if fatal is not None:
            raise fatal.error()

    def _again(self, unit: Unit, failure: Failure) -> bool:
        """Whether `unit` is tried again after `failure`."""
        tries = self.tries[unit.id]
        if failure.family != Storage.__name__ or tries >= RETRIES:
            return False
        self.tries[unit.id] += 1
        self.emit("unit_retried", phase=self.phase, unit=unit.id, reason=failure.message, tries=tries + 1)
        self.backlog.pause(unit, until=time.monotonic() + PAUSE_SECONDS * 2**tries)
        return True

    def _refused(self, units: Sequence[Unit], reason: str) -> None:
        if not units:
            return
        if reason != "KilledWorker":
            raise Compute(f"{_named(units)}: the cluster answered '{reason}'")
        self.suspects.update(unit.id for unit in units)
        if self.alone == units[0].id:
            self._given_up(units[0])
        self.alone = None
        self.emit("units_killed_workers", phase=self.phase, units=[unit.id for unit in units])
        self.backlog.put_alone(units)

    def _given_up(self, unit: Unit) -> None:
        """Nothing, if `unit`, which had nothing beside it, goes another way from now on, or the same once more."""
        self.deaths[unit.id] += 1
        other = None if self.on_killed is None or unit.id in self.others else self.on_killed(unit)
        if other is not None:
            self.others[unit.id] = other
            self.suspects.discard(unit.id)  # where it goes now, others needn't wait for it
        elif unit.id in self.others or self.deaths[unit.id] >= LIVES:
            raise Compute(
                f"workers died several times over unit {unit.id} ({unit.fragment.shown}), and nothing else was handed "
                f"out then; is memory_limit too small for {unit.size_bytes} bytes of columns?"
            )

    def _watch(self, now: float) -> None:
        if self.missing and self.watchdog.is_over(now):
            raise Compute(
                f"the run took longer than timeouts.run_seconds allows; {len(self.missing)} units of '{self.phase}' "
                "are missing, the others stay done"
            )
        if self.watchdog.is_stalled(now):
            self._hand_out_again(now)

    def _hand_out_again(self, now: float) -> None:
        """Hand all that is out out once more.

        Raises
        ------
        Compute : for a unit it would be the second time.
        """
        in_hand = self.flights.in_hand()
        out = [
            self.missing[one] for one in dict.fromkeys(unit.id for unit in self.flights.units) if one in self.missing
        ]
        out.sort(key=lambda unit: unit.id in in_hand)
        seconds = self.watchdog.stalled_seconds
        twice = [unit for unit in out if unit.id in self.copied]
        if twice:
            hanging = [unit for unit in twice if unit.id in in_hand] or twice
            raise Compute(
                f"nothing came of {_named(hanging)} for {seconds:g} seconds (timeouts.stalled_seconds), although "
                "handed out twice; what is done stays done"
            )
        busy = self.flights.busy_workers()
        self.alone = None
        for unit in out:
            self.flights.start(self.others.get(unit.id, self.function), (unit,), avoid=busy)
        self.copied.update(unit.id for unit in out)
        self.emit("units_stalled", phase=self.phase, units=[unit.id for unit in out], seconds=seconds)
        self.watchdog.hear(now)


def _named(units: Sequence[Unit]) -> str:
    """The first few of `units` with their files, and how many more there are."""
    names = ", ".join(f"{unit.id} ({unit.fragment.shown})" for unit in units[:NAMED])
    more = f" and {len(units) - NAMED} more" if len(units) > NAMED else ""
    return f"unit{'s' * (len(units) > 1)} {names}{more}"
