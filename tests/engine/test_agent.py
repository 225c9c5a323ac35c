"""Agents: they start what they are told to, start workers again, and end with whoever is at the other end."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psutil
import pytest
from distributed import Client

from dataops.engine.agent import address_towards, reached_at
from dataops.engine.certs import Certificates, new_certificates, only, security
from dataops.engine.embedded import worker_variables
from dataops.engine.keeping import Beating, Place
from dataops.engine.remote import Agent
from dataops.records import now_utc
from tests.engine.jobs import at_its_start

COMMAND = (sys.executable, "-m", "dataops.engine.agent")
DEADLINE_SECONDS = 120.0
ALWAYS = {"config": {"distributed.worker.multiprocessing-method": "spawn"}, "abandoned_seconds": 60.0}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture
def started() -> Iterator[Callable[[Mapping[str, Any]], Agent]]:
    agents: list[Agent] = []
    before = children()

    def start(order: Mapping[str, Any]) -> Agent:
        agents.append(Agent(COMMAND, {**ALWAYS, "environment": {}, **order}))
        return agents[-1]

    yield start
    for agent in agents:
        agent.close()
    for agent in agents:
        agent.wait()
    wait_until(lambda: children() <= before)  # nothing is left behind


def outward() -> str:
    """An address of this machine that others reach, if it has one: nothing is sent there."""
    try:
        return address_towards("tls://192.0.2.1:9")
    except OSError:
        return "127.0.0.1"


def schedule(certs: Certificates) -> dict[str, Any]:
    return {"role": "scheduler", "dashboard": "127.0.0.1:0", "certs": only(certs, "scheduler")}


def where_pages_are(dask_worker: Any) -> str:
    return str(dask_worker.http_server.address)


@pytest.mark.cluster
def test_a_worker_that_ended_is_started_again(started: Callable[[Mapping[str, Any]], Agent]) -> None:
    certs = new_certificates(at=now_utc(), days=1)
    secret = {"DATAOPS_TEST_TOLD": "a value that no command line shows"}
    host = outward()
    scheduler = (started({**schedule(certs), "host": host}).hear(DEADLINE_SECONDS) or {})["scheduler"]
    assert scheduler.startswith(f"tls://{host}:")
    work = {
        "role": "worker",
        "scheduler": scheduler,
        "place": "here",
        "shape": {"workers": 1, "threads": 2},
        "keep": True,
        "workers": None,
    }
    rest = {"memory_limit": "auto", "local_directory": None, "environment": secret, "certs": only(certs, "worker")}
    assert started({**work, **rest}).hear(DEADLINE_SECONDS) == {"workers": 1}
    with Client(scheduler, security=security(only(certs, "client")), set_as_default=False) as client:
        client.wait_for_workers(1, timeout=DEADLINE_SECONDS)
        (first,) = client.run(os.getpid).values()
        (memory,) = client.run(at_its_start, "MALLOC_").values()
        told = worker_variables(2, keep=True)
        assert memory == {name: told[name] for name in told if name.startswith("MALLOC_")}
        assert client.run(os.getenv, "DATAOPS_TEST_TOLD") == dict.fromkeys(
            client.nthreads(), secret["DATAOPS_TEST_TOLD"]
        )
        assert list(client.nthreads().values()) == [2]
        assert set(client.run(where_pages_are).values()) == {"127.0.0.1"}  # wherever the worker itself is reached
        shown = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
        assert not [line for line in shown if "PRIVATE" in line or secret["DATAOPS_TEST_TOLD"] in line]
        nanny = next(iter(client.scheduler_info()["workers"].values()))["nanny"]
        client.retire_workers(list(client.nthreads()), close_workers=True)  # ends with 0, and its nanny with it
        wait_until(lambda: nanny not in {one["nanny"] for one in client.scheduler_info()["workers"].values()})
        client.wait_for_workers(1, timeout=DEADLINE_SECONDS)
        assert client.run(os.getpid).popitem()[1] != first


def test_an_agent_that_hears_nothing_ends(started: Callable[[Mapping[str, Any]], Agent]) -> None:
    agent = started({**schedule(new_certificates(at=now_utc(), days=1)), "abandoned_seconds": 1.0})
    assert "scheduler" in (agent.hear(DEADLINE_SECONDS) or {})
    assert agent.hear(DEADLINE_SECONDS) == {}


def test_an_agent_that_hears_something_goes_on(started: Callable[[Mapping[str, Any]], Agent]) -> None:
    agent = started({**schedule({}), "abandoned_seconds": 8.0})

    def said() -> Mapping[str, Any] | None:
        agent.beat()
        return agent.hear(0.2)

    wait_until(lambda: "scheduler" in (said() or {}))
    until = time.monotonic() + 9.0
    while time.monotonic() < until:
        assert said() is None


def test_what_cannot_be_started_is_told() -> None:
    agent = Agent(("sh", "-c", "echo Permission denied >&2; exit 255"), {"role": "scheduler"})
    assert agent.hear(DEADLINE_SECONDS) == {}
    agent.wait()
    assert agent.trouble == "Permission denied"


def test_workers_that_do_not_start_are_not_among_those_that_will_be_there(
    started: Callable[[Mapping[str, Any]], Agent],
) -> None:
    shape = {"shape": {"workers": 2, "threads": 1}, "keep": False}
    words = {"scheduler": "tcp://127.0.0.1:9", "place": "here", "workers": None, **shape}
    agent = started({**words, "role": "worker", "memory_limit": "no size", "local_directory": None, "certs": {}})
    told = {"trouble": "a worker didn't start (ValueError)"}
    said = [agent.hear(DEADLINE_SECONDS) for _ in range(3)]
    assert said == [{"workers": 2}, {"workers": 1, **told}, {"workers": 0, **told}]


def test_what_a_login_prints_is_no_answer() -> None:
    agent = Agent(("sh", "-c", """echo '{}'; echo '[1]'; echo welcome; echo '{"workers": 3}'"""), {"role": "worker"})
    assert agent.hear(DEADLINE_SECONDS) == {"workers": 3}
    assert agent.hear(DEADLINE_SECONDS) == {}
    agent.wait()


def test_a_place_where_nothing_can_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    may_start = threading.Event()

    def make(*words: Any) -> Agent:
        if may_start.is_set():
            return Agent(*words)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("dataops.engine.keeping.AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("dataops.engine.keeping.Agent", make)
    with Beating(60.0) as beating:
        place = Place("node1", ("sh", "-c", """echo '{"workers": 2}'; exec cat"""), {}, beating)
        wait_until(lambda: place.trouble == "nothing can be started here (Resource temporarily unavailable)")
        assert place.wanted == 0
        may_start.set()
        wait_until(lambda: place.wanted == 2)
        wait_until(lambda: not place.trouble)
        place.stop()
        place.join()


def test_a_place_that_is_taken_back_at_once_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Agent] = []

    def make(*words: Any) -> Agent:
        made.append(Agent(*words))
        return made[-1]

    monkeypatch.setattr("dataops.engine.keeping.AGAIN_SECONDS", 2 * DEADLINE_SECONDS)  # more than is waited for here
    monkeypatch.setattr("dataops.engine.keeping.Agent", make)
    with Beating(60.0) as beating:
        place = Place("node1", ("sh", "-c", """echo '{"workers": 2}'; cat"""), {}, beating)
        wait_until(lambda: place.wanted == 2)
        place.rest()
        place.take()
        wait_until(lambda: bool(place.trouble) or (len(made) == 2 and place.wanted == 2))
        assert not place.trouble
        place.stop()
        place.rest()  # by somebody who doesn't know yet
        place.join()


def test_a_host_listens_where_it_was_reached() -> None:
    assert reached_at({"SSH_CONNECTION": "10.0.0.9 50000 10.0.0.2 22"}) == "10.0.0.2"
    assert reached_at({}) == "127.0.0.1"
    assert address_towards("tls://127.0.0.1:8786") == "127.0.0.1"
