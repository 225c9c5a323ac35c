"""What Prometheus gets of the runs on a Dask scheduler, where ``prometheus_client`` is installed.

1. The scheduler's ``/metrics`` serves the registry of its process; ours are read off the boards when somebody asks.
2. No label names a run, a person or a dataset: kinds, states and events are few.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any, Protocol
from weakref import WeakSet

from dataops.monitoring.shown import RUNNING, Board

COUNTERS = {
    "runs": ("dataops_runs", "Runs that ended on this cluster", "state"),
    "run_seconds": ("dataops_run_seconds", "Seconds that runs took that ended on this cluster", "state"),
    "units": ("dataops_units", "Units that were done, in all phases", "kind"),
    "rows": ("dataops_rows", "Rows of units that were done, in all phases", "kind"),
    "troubles": ("dataops_troubles", "What went wrong and was seen to", "event"),
}
GAUGE = ("dataops_runs_running", "Runs that go on now", "kind")


class Watched(Protocol):
    """Who keeps a board."""

    board: Board


_watched: WeakSet[Any] = WeakSet()


def watch(plugin: Watched) -> None:
    """From now on count what is on the board of `plugin`; nothing without ``prometheus_client``."""
    _watched.add(plugin)
    _register()


def forget(plugin: Watched) -> None:
    """Count its board no more."""
    _watched.discard(plugin)


@cache
def _register() -> None:
    """Once a process, which may have one scheduler after the other."""
    try:
        from prometheus_client import REGISTRY
    except ImportError:
        return
    REGISTRY.register(_Boards())


class _Boards:
    """Collects when asked, as ``prometheus_client`` wants it."""

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        boards = [one.board for one in list(_watched)]
        for key, (name, what, label) in COUNTERS.items():
            family = CounterMetricFamily(name, what, labels=[label])
            sums: dict[str, float] = defaultdict(float)
            for board in boards:
                for (counted, value), number in board.totals.items():
                    if counted == key:
                        sums[value] += number
            for value, total in sums.items():
                family.add_metric([value], total)
            yield family
        name, what, label = GAUGE
        gauge = GaugeMetricFamily(name, what, labels=[label])
        running = Counter(run.kind for board in boards for run in board.runs.values() if run.state == RUNNING)
        for kind, number in running.items():
            gauge.add_metric([kind], number)
        yield gauge
