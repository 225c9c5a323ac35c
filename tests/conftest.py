"""What several rooms' tests share: one cluster of two worker processes per session, started when first asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, settings

from tests.storage.s3_server import S3Server, environment

# Machines differ in speed, and a slow example is no wrong one: speed is measured in benchmarks/.
# HYPOTHESIS_PROFILE=long looks much harder.
settings.register_profile("short", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("short"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

# Threads that wait for each other sleep, as in our workers: several processes of tests share the cores. Read when a
# native library is loaded, so none may be before this.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# What asks S3 without a server of its own finds nobody, and no credentials of who runs the tests: never Amazon.
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
os.environ |= {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing",
}  # fmt: skip

# Rooms whose tests share something that takes long to make: they stay on one process when the suite runs on several.
TOGETHER = ("training", "line", "cli")


def scope_of(nodeid: str) -> str:
    """What goes to one process: a room in `TOGETHER`, else a module."""
    module = nodeid.split("::", maxsplit=1)[0]
    room = module.split("/")[1]
    return room if room in TOGETHER else module


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The rooms in `TOGETHER` come first: begun last, one of them would keep all other processes waiting."""
    items.sort(key=lambda item: scope_of(item.nodeid) not in TOGETHER)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one scope go to one process. (``--dist loadgroup`` does nothing with pytest 9.2: xdist 3.8 names groups
    where pytest doesn't look any more.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByScope(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # by our order, not by the number of tests
    return ByScope(config, log)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as started,
        Client(started, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3Server]:
    """An S3 on this machine that the environment points to."""
    with environment(s3_server.endpoint):
        yield s3_server
