"""A job's work without a cluster: what the steps of a job come to can be looked at in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Here:
    """Does the units of a job one after the other in this process, the last one first."""

    run: str = "run-1"
    events: list[dict[str, Any]] = field(default_factory=list)
    tasks: int = 0

    def emit(self, event: str, /, **fields: Any) -> None:
        self.events.append({"event": event, **fields})

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        yield

    def map_units(
        self, phase: str, function: Callable[..., Any], context: Any, units: Sequence[Any], *, done: Mapping[str, Any]
    ) -> list[Any]:
        found = dict(done)
        for unit in reversed(units):
            if unit.id not in found:
                self.tasks += 1
                found[unit.id] = function(context, unit)
        return [found[unit.id] for unit in units]
