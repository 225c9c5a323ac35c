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
