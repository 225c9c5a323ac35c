"""What several rooms' tests share: one cluster of two worker processes per session, started when first asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, settings

# Machines differ in speed, and a slow example is no wrong one: speed is measured in benchmarks/.
# HYPOTHESIS_PROFILE=long looks much harder.
settings.register_profile("short", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("short"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


# Tests that share what is costly to make: where two processes share the tests (``make test``), one of them gets all of
# a group. A file is a group of its own unless it stands here. The longest come first, so that none is left for the end.
GROUPS = {
    "line/test_demo.py": "census",
    "line/test_parity.py": "census",
    "faults/": "faults",
    "training/": "training",
    "line/": "line",
    "attacks/test_bypasses.py": "bypasses",
    "attacks/test_canary.py": "canary",
    "cli/test_processes.py": "processes",
    "runs/": "runs",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return
    order = list(dict.fromkeys(GROUPS.values()))
    groups = {item: _group(item) for item in items}
    items.sort(key=lambda item: order.index(groups[item]) if groups[item] in order else len(order))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item]))


def _group(item: pytest.Item) -> str:
    file = item.path.relative_to(Path(__file__).parent).as_posix()
    return next((group for start, group in GROUPS.items() if file.startswith(start)), file)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as started,
        Client(started, set_as_default=False) as client,
    ):
        yield client
