"""What a board is made of: runs as people watch them, with their phases.

Pure values; `dataops.monitoring.board` makes them. Times are seconds since 1970, by the clock of the Dask scheduler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dataops.monitoring.flow import Flow

RUNNING, DONE, FAILED, LOST = "running", "done", "failed", "lost"
KINDS = ("prepare", "join", "train", "rescore", "evaluate")
OTHER_KIND = "other"
TROUBLES: Mapping[str, str] = {
    "unit_retried": "units tried again",
    "units_killed_workers": "workers killed by units",
    "units_stalled": "stalls",
    "dataset_rule_broken": "rules of whole datasets broken",
    "drifted": "drift beyond a limit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPhase:
    """A phase of a run.

    Attributes
    ----------
    units, rows : that it has to do; 0: unknown. Rows are those of the units that weren't done before.
    units_before : of `units_done`, those that an attempt before this one did.
    counts : what became of the rows of units so far, as a receipt says it.
    said, done, of : of a phase that goes by something else, in words and how much of how many.
    seconds, outcome : how long it took and how it ended (done, failed, lost); None while it goes on.
    """

    name: str
    began: float
    units: int = 0
    rows: int = 0
    units_done: int = 0
    units_before: int = 0
    rows_done: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    said: str = ""
    done: int = 0
    of: int = 0
    seconds: float | None = None
    outcome: str | None = None

    @property
    def share(self) -> float | None:
        """How much of it is done, 0 to 1; None where that isn't known."""
        if self.outcome == DONE:
            return 1.0
        for done, of in ((self.done, self.of), (self.rows_done, self.rows), (self.units_done, self.units)):
            if of:
                return min(1.0, done / of)
        return None

    @property
    def ended(self) -> float | None:
        """When it ended; None while it goes on."""
        return None if self.seconds is None else self.began + self.seconds

    def elapsed(self, now: float) -> float:
        """Seconds that it took, or takes by now."""
        return max(0.0, now - self.began) if self.seconds is None else self.seconds

    def rate(self, now: float) -> float | None:
        """Rows a second; None where it has none."""
        seconds = self.elapsed(now)
        return self.rows_done / seconds if self.rows_done and seconds else None

    def left(self, now: float) -> float | None:
        """Seconds that are left, if it goes on as it did; None where that isn't known."""
        share = self.share
        if self.outcome is not None or not share or share == 1.0:
            return None
        return self.elapsed(now) * (1 - share) / share


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRun:
    """A run.

    Attributes
    ----------
    client : the Dask client of its driver.
    since : when the newest attempt at it began, or its driver came back.
    figures : as `dataops.runs.showing` makes them: at first what was asked, in the end what came of it.
    notes : when and what, newest last.
    troubles : how often what is in `TROUBLES` happened.
    searches : candidate -> number -> a trial's record.
    metrics : candidate -> the metric that its search goes by.
    curves : candidate -> rounds and loss of its fit.
    """

    run: str
    job: str
    kind: str
    client: str
    began: float
    since: float
    ended: float | None = None
    state: str = RUNNING
    error: str | None = None
    workers: int = 0
    threads: int = 0
    phases: tuple[ShownPhase, ...] = ()
    notes: tuple[tuple[float, str], ...] = ()
    troubles: Mapping[str, int] = field(default_factory=dict)
    searches: Mapping[str, Mapping[int, Mapping[str, Any]]] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    flow: Flow = field(default_factory=Flow)
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def phase(self) -> ShownPhase | None:
        """The phase that goes on, else the last one."""
        return self.phases[-1] if self.phases else None

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of rows, of the newest phase that counted any."""
        return next((one.counts for one in reversed(self.phases) if one.counts), {})

    @property
    def units_done(self) -> int:
        """Units that were done here, in all phases."""
        return sum(max(0, one.units_done - one.units_before) for one in self.phases)

    @property
    def rows_done(self) -> int:
        """Their rows."""
        return sum(one.rows_done for one in self.phases)

    def ended_phases(self, outcome: str, at: float) -> ShownRun:
        """Itself with no phase that goes on: those that did end so, at that time."""
        phases = tuple(
            replace(one, outcome=outcome, seconds=max(0.0, at - one.began)) if one.outcome is None else one
            for one in self.phases
        )
        return replace(self, phases=phases)

    def elapsed(self, now: float) -> float:
        """Seconds since it began, or that it took."""
        return max(0.0, (now if self.ended is None else self.ended) - self.began)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """The runs, oldest first, and sums over all that ever were."""

    runs: Mapping[str, ShownRun] = field(default_factory=dict)
    totals: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def newest_first(self) -> tuple[ShownRun, ...]:
        """The runs, those that go on first."""
        newest = tuple(self.runs.values())[::-1]
        return tuple(sorted(newest, key=lambda one: one.state != RUNNING))
