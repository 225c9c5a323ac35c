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


# Rooms whose tests share something that takes long to make: they stay on one process when the suite runs on several.
TOGETHER = ("cli", "line", "training")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in a hook of the same name
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module's tests, or those of a room in `TOGETHER`, go to one process (pytest-xdist, ``--dist loadgroup``)."""
    for item in items:
        room = item.path.relative_to(Path(__file__).parent).parts[0]
        item.add_marker(pytest.mark.xdist_group(room if room in TOGETHER else str(item.path)))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as started,
        Client(started, set_as_default=False) as client,
    ):
        yield client
