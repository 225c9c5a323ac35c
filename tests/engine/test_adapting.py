"""Clusters grow while tasks wait, shrink when nothing is done or held, and stay within their bounds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.clusters import Adapt
from dataops.engine.adapting import GROW_SECONDS, Adapting, Change, Load, adapting
from dataops.engine.keeping import Beating, Place, kept
from dataops.engine.remote import Agent

PLACES = tuple(f"node{number}" for number in range(1, 9))
NOTHING = Change()


def state(*, minimum: int = 1, spare_seconds: float = 60.0, places: Sequence[str] = PLACES) -> Adapting:
    bounds = Adapt(minimum=minimum, spare_seconds=spare_seconds)
    return Adapting(bounds=bounds, places=places, taken=set(places[:minimum]))


def load(waiting: int = 0, *used: str, come: Sequence[str] = PLACES) -> Load:
    return Load(waiting=waiting, used=frozenset(used), come=frozenset(come))


class TestGrowing:
    def test_twice_as_many_while_tasks_wait(self) -> None:
        cluster = state()
        took = [len(cluster.look(load(9), place * GROW_SECONDS).take) for place in range(5)]
        assert took == [1, 2, 4, 0, 0]
        assert cluster.taken == set(PLACES)

    def test_not_before_those_had_time_to_come(self) -> None:
        cluster = state()
        assert cluster.look(load(9), 0.0).take == ("node2",)
        assert cluster.look(load(9), GROW_SECONDS - 1) == NOTHING
        assert cluster.look(load(9), GROW_SECONDS).take == ("node3", "node4")

    def test_not_by_more_than_tasks_wait_while_none_of_them_has_come(self) -> None:
        cluster = state()
        took = [len(cluster.look(load(2, come=("node1",)), place * GROW_SECONDS).take) for place in range(9)]
        assert took == [1, 1, *[0] * 7]
        assert cluster.look(load(9, come=PLACES[:3]), 9 * GROW_SECONDS).take == ("node4", "node5", "node6")

    def test_not_while_the_first_are_still_to_come_for_the_tasks_that_wait(self) -> None:
        cluster = state(minimum=2)
        assert all(cluster.look(load(2, come=()), float(now)) == NOTHING for now in range(600))
        assert cluster.look(load(3, come=()), 600.0).take == ("node3",)

    def test_not_where_every_task_is_in_hand(self) -> None:
        cluster = state(minimum=2)
        assert all(cluster.look(load(0, "node1", "node2"), float(now)) == NOTHING for now in range(600))

    def test_another_place_for_one_that_does_not_answer(self) -> None:
        cluster = state(minimum=2)
        ailing = frozenset({"node1"})
        assert cluster.look(load(), 0.0, ailing=ailing).take == ("node3",)
        assert cluster.look(load(), 1.0, ailing=ailing) == NOTHING
        assert cluster.look(load(), 2.0, ailing=ailing | {"node3"}).take == ("node4",)

    def test_what_came_back_is_one_too_many(self) -> None:
        cluster = state()
        assert cluster.look(load(), 0.0, ailing=frozenset({"node1"})).take == ("node2",)
        looks = [cluster.look(load(), float(now)) for now in range(1, 80)]
        assert [look.rest for look in looks if look.rest] == [("node2",)]
        assert cluster.taken == {"node1"}


class TestShrinking:
    def test_by_what_neither_does_nor_holds_anything_for_long(self) -> None:
        cluster = state(spare_seconds=30.0, places=PLACES[:3])
        cluster.taken = set(PLACES[:3])
        assert cluster.look(load(0, "node1", "node2"), 0.0) == NOTHING
        assert cluster.look(load(0, "node1", "node2"), 29.0) == NOTHING
        assert cluster.look(load(0, "node1", "node2"), 30.0).rest == ("node3",)
        assert cluster.look(load(), 59.0) == NOTHING
        assert cluster.look(load(), 60.0).rest == ("node2",)
        assert cluster.look(load(), 1000.0) == NOTHING

    def test_not_while_tasks_wait(self) -> None:
        cluster = state(places=PLACES[:2])
        cluster.look(load(1), 0.0)
        assert cluster.look(load(1), 500.0) == NOTHING

    def test_what_was_given_back_is_taken_again(self) -> None:
        cluster = state(places=PLACES[:2])
        cluster.look(load(1), 0.0)
        assert cluster.look(load(), 60.0).rest == ("node2",)
        assert cluster.look(load(1), 61.0).take == ("node2",)
        assert cluster.look(load(0, "node1"), 120.0) == NOTHING  # its time begins anew


@settings(deadline=None)
@given(
    minimum=st.integers(1, 8),
    looks=st.lists(
        st.tuples(
            st.floats(0.1, 40.0), st.integers(0, 3), st.sets(st.sampled_from(PLACES)), st.sets(st.sampled_from(PLACES))
        ),
        max_size=60,
    ),
)
def test_whatever_happens_it_stays_within_its_bounds(
    minimum: int, looks: list[tuple[float, int, set[str], set[str]]]
) -> None:
    cluster, now = state(minimum=minimum), 0.0
    for seconds, waiting, used, ails in looks:
        now += seconds
        before = set(cluster.taken)
        ailing = frozenset(ails & before)
        change = cluster.look(load(waiting, *(used & before)), now, ailing=ailing)
        assert cluster.taken == (before | set(change.take)) - set(change.rest)
        assert not before & set(change.take)
        assert not change.rest or not (change.take or waiting)
        assert not set(change.rest) & (used | ailing)
        answering = cluster.taken - ailing
        assert len(answering) >= min(minimum, len(PLACES) - len(ailing))


@dataclass
class Cluster:
    """Places of this machine, as hosts would be, and their Dask scheduler."""

    places: Sequence[Place]
    client: Client
    seen: list[int] = field(default_factory=list)


AGENT = (sys.executable, "-m", "dataops.engine.agent")


@contextmanager
def adapting_cluster(commands: Mapping[str, Sequence[str]]) -> Iterator[Cluster]:
    """One that has the first of its places at the beginning."""
    common = {"config": {}, "environment": {}, "abandoned_seconds": 60.0, "certs": {}}
    with Beating(60.0) as beating:
        scheduling = Agent(AGENT, {**common, "role": "scheduler", "dashboard": "127.0.0.1:0"})
        beating.add(scheduling)
        address = (scheduling.hear(60.0) or {})["scheduler"]
        order = {
            **common,
            "role": "worker",
            "scheduler": address,
            "workers": 1,
            "shape": {"workers": 1, "threads": 1},
            "keep": True,
            "memory_limit": "auto",
            "local_directory": None,
        }
        with (
            kept(commands, order, beating, taken=1) as places,
            Client(address, set_as_default=False) as client,
            adapting(client, places, Adapt(minimum=1, spare_seconds=2.0)),
        ):
            yield Cluster(places=places, client=client)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with adapting_cluster({"node1": AGENT, "node2": AGENT}) as started:
        yield started


def workers_become(client: Client, count: int) -> None:
    ends = time.monotonic() + 120.0
    while len(client.nthreads()) != count:
        assert time.monotonic() < ends, client.nthreads()
        time.sleep(0.05)


def wait_for(gate: Path, number: int) -> int:
    """`number`, once the gate is there: a place takes as long to come as the machine is slow, and there is work."""
    while not gate.exists():
        time.sleep(0.02)
    return number


def test_places_come_with_work_and_go_without(cluster: Cluster, tmp_path: Path) -> None:
    client = cluster.client
    client.wait_for_workers(1, timeout=120)
    assert [place.rests for place in cluster.places] == [False, True]
    first, second = tmp_path / "first", tmp_path / "second"
    done = client.map(wait_for, [first] * 20, range(20), pure=False)
    workers_become(client, 2)
    held = client.submit(wait_for, first, 7, workers=[list(client.nthreads())[-1]], pure=False)
    first.touch()
    assert client.gather(done) == list(range(20))
    del done
    assert held.result() == 7
    time.sleep(4.0)
    kept_for_what_it_holds = next(iter(client.who_has([held]).values()))
    assert set(kept_for_what_it_holds) <= set(client.nthreads())
    del held
    workers_become(client, 1)
    assert sum(place.rests for place in cluster.places) == 1
    again = client.map(wait_for, [second] * 20, range(20), pure=False)
    workers_become(client, 2)
    second.touch()
    assert client.gather(again) == list(range(20))


@pytest.mark.parametrize(
    "told", ['{"workers": 0, "trouble": "none starts"}', '{"workers": 1, "trouble": "none starts"}']
)
def test_a_host_on_which_no_worker_starts_is_replaced(told: str) -> None:
    told_and_alive = ("sh", "-c", f"echo '{told}'; while read line; do :; done")
    with adapting_cluster({"node1": told_and_alive, "node2": AGENT}) as cluster:
        cluster.client.wait_for_workers(1, timeout=120)
        assert [place.rests for place in cluster.places] == [False, False]
        assert cluster.client.submit(abs, -3).result() == 3


@dataclass
class Silent:
    """A client whose scheduler answers when it is told to, and with a lot to do; `unheard` once nobody told it to."""

    asked: threading.Event = field(default_factory=threading.Event)
    answers: threading.Event = field(default_factory=threading.Event)
    unheard: bool = False
    _run_on_scheduler: object = None

    def sync(self, *_: object, **__: object) -> tuple[int, list[str], list[str]]:
        self.asked.set()
        self.unheard = not self.answers.wait(30.0)
        return 9, [], []


def test_a_cluster_ends_without_the_answer_of_a_scheduler_that_is_lost() -> None:
    client, before = Silent(), set(threading.enumerate())
    with (
        Beating(60.0) as beating,
        kept({"node1": ("cat",)}, {}, beating, taken=0) as places,
    ):
        with adapting(cast("Client", client), places, Adapt(minimum=1, spare_seconds=2.0)):
            assert client.asked.wait(60.0)
            (asking,) = [one for one in set(threading.enumerate()) - before if one.name == "adapting"]
        client.answers.set()  # as a connection does that is closed
        asking.join()
        assert not client.unheard
        assert places[0].rests
