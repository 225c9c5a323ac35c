"""Work without a cluster: tasks run in this process, in any order, some of them twice, as Dask may do it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from dataops.datasets.units import Unit
from dataops.engine.handing_out import Landed, OnKilled
from dataops.engine.progress import Progress
from dataops.engine.tasks import Later, Task
from dataops.engine.work import Work


@dataclass(slots=True, kw_only=True)
class InlineWork:
    """What jobs need of a `Work`; `phases` and `events` are what it was asked for. Nothing kills a worker here."""

    run: str = "run-1"
    seed: int = 0
    twice: bool = False
    said: io.StringIO = field(default_factory=io.StringIO)
    phases: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def progress(self) -> Progress:
        """Lines go to `said`."""
        return Progress(self.said)

    @property
    def work(self) -> Work:
        """Itself, as what the type checker expects."""
        return cast("Work", self)

    def emit(self, event: str, /, **fields: Any) -> None:
        self.events.append({"event": event, **fields})

    def map_units(
        self,
        phase: str,
        function: Task,
        context: Any,
        units: Sequence[Unit],
        *,
        done: Mapping[str, Any] | None = None,
        landed: Landed | None = None,
        kept: Callable[[Any], Any] | None = None,
        on_killed: OnKilled | None = None,
    ) -> list[Any]:
        self.phases.append(phase)
        self.seconds[phase] = 0.0
        results = dict(done or {})
        waiting = [unit for unit in units if unit.id not in results]
        for place in np.random.default_rng(self.seed).permutation(len(waiting)):
            unit = waiting[place]
            for _ in range(2 if self.twice else 1):
                result = function(context, unit)
                results[unit.id] = result.finish() if isinstance(result, Later) else result
            if landed is not None:
                landed(unit, results[unit.id])
            if kept is not None:
                results[unit.id] = kept(results[unit.id])
        return [results[unit.id] for unit in units]
