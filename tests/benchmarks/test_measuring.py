"""Processes that are watched keep their names to the end."""

from __future__ import annotations

import os
from types import SimpleNamespace

from tests.benchmarks.scripts import loaded

measuring = loaded("measuring")


class Ending:
    """A process whose command line is gone once it is about to end."""

    pid = os.getpid()

    def __init__(self) -> None:
        self.lines = [["python", "-c", "from multiprocessing.spawn import main"], []]

    def create_time(self) -> float:
        return 1.0

    def cpu_times(self) -> SimpleNamespace:
        return SimpleNamespace(user=1.0, system=0.5)

    def cmdline(self) -> list[str]:
        return self.lines.pop(0)

    def name(self) -> str:
        return "python"


def test_a_process_that_is_about_to_end_keeps_the_name_that_it_had() -> None:
    process = Ending()
    tree = measuring._Tree(root=process)
    for _ in range(2):
        tree._look_at(process)
    [(name, held)] = tree.peaks.values()
    assert "multiprocessing.spawn" in name
    assert held > 0


def watched(work: float, **told: object) -> object:
    phases = {
        name: measuring.Phase(seconds=of, cpu_seconds=2 * of) for name, of in {"start": 1.0, "work": work}.items()
    }
    return measuring.Watched(phases=phases, peaks=(("python", 3 * 2**20), ("java", 2**20)), told=told)


def test_costs_are_medians_and_what_was_imported_late_is_start() -> None:
    imported = {"imported": {"seconds": 0.5, "cpu_seconds": 0.25}, "versions": {"ray": "2"}}
    runs = {"ours": [watched(one) for one in (4.0, 2.0, 9.0)], "peer": [watched(2.5, **imported)], "none": []}
    found = measuring.costs_of(runs, rows=8, size=4 * 2**20)
    ours = {"work s": 4.0, "start s": 1.0, "CPU s": 8.0, "peak MB": 3.0, "rows/s": 2.0, "MB/s": 1.0}
    assert found["ours"] == ours
    assert found["peer"] | {"rows/s": 0, "MB/s": 0} == {
        "work s": 2.0,
        "start s": 1.5,
        "CPU s": 4.75,
        "peak MB": 3.0,
        "rows/s": 0,
        "MB/s": 0,
        "versions": {"ray": "2"},
    }
    assert set(found) == {"ours", "peer"}
    assert "rows/s" not in measuring.costs_of(runs)["ours"]
