"""Handing out without a cluster: whatever comes back in whatever order, each unit counts once or the phase says why."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.units import Unit
from dataops.engine import handing_out as engine
from dataops.engine.batches import Backlog
from dataops.engine.flights import Answer, Flights
from dataops.engine.handing_out import LIVES, RETRIES, HandingOut, OnKilled
from dataops.engine.tasks import Failure, Task
from dataops.engine.watchdog import Watchdog
from dataops.errors import Compute, Storage
from tests.datasets.examples import make_unit

Fate = Callable[[Task, tuple[Unit, ...]], Answer | None]


def usual(context: Any, unit: Unit) -> str:
    return "usual"


def other(context: Any, unit: Unit) -> str:
    return "other"


def landed(function: Task, units: tuple[Unit, ...]) -> Answer:
    return Answer(units=units, outcomes=[function(None, unit) for unit in units])


def killed(units: tuple[Unit, ...]) -> Answer:
    return Answer(units=units, refused="KilledWorker")


@dataclass(slots=True)
class Cluster:
    """Flights whose `fate` a test decides; None: the batch goes on flying, and time goes by.

    `others` are the batches that were flying when each of `started` began.
    """

    fate: Fate
    pick: Callable[[int], int] = lambda _: 0
    flying: list[tuple[Task, tuple[Unit, ...]]] = field(default_factory=list)
    started: list[tuple[Task, tuple[Unit, ...]]] = field(default_factory=list)
    doing: set[str] = field(default_factory=set)
    others: list[int] = field(default_factory=list)
    now: float = 0.0

    @property
    def units(self) -> tuple[Unit, ...]:
        return tuple(unit for _, units in self.flying for unit in units)

    def __len__(self) -> int:
        return len(self.flying)

    def threads(self) -> int:
        return 2

    def start(self, function: Task, units: tuple[Unit, ...], *, avoid: Collection[str] = ()) -> None:
        self.others.append(len(self.flying))
        self.flying.append((function, units))
        self.started.append((function, units))

    def next(self, seconds: float) -> Answer | None:
        assert seconds >= 0
        place = self.pick(len(self.flying)) if self.flying else 0
        answer = self.fate(*self.flying[place]) if self.flying else None
        if answer is None:
            self.now += max(seconds, 1.0)
        else:
            self.flying.pop(place)
        return answer

    def busy_workers(self) -> set[str]:
        return set()

    def in_hand(self) -> set[str]:
        return self.doing


def hand_out(
    cluster: Cluster,
    units: list[Unit],
    *,
    on_killed: OnKilled | None = None,
    run_ends: float | None = None,
    stalled_seconds: float | None = None,
    patch: pytest.MonkeyPatch,
) -> list[tuple[str, Any]]:
    """What landed, in its order."""
    heard: list[tuple[str, Any]] = []
    patch.setattr(engine, "time", SimpleNamespace(monotonic=lambda: cluster.now))
    HandingOut(
        phase="score",
        function=usual,
        flights=cast("Flights", cluster),
        backlog=Backlog(units),
        watchdog=Watchdog(heard=0.0, run_ends=run_ends, stalled_seconds=stalled_seconds),
        emit=lambda *_, **__: None,
        landed=lambda unit, result: heard.append((unit.id, result)),
        on_killed=on_killed,
        missing={unit.id: unit for unit in units},
    ).run()
    return heard


def make_units(count: int) -> list[Unit]:
    return [make_unit(number, 1) for number in range(count)]


@given(count=st.integers(0, 60), seed=st.integers(0, 10_000))
def test_whatever_fails_and_comes_back_in_any_order_each_unit_lands_once(count: int, seed: int) -> None:
    chance, faults, deaths = random.Random(seed), {}, {}  # noqa: S311  # no secret

    def outcome(unit: Unit) -> Any:
        if chance.random() < 0.3 and faults.get(unit.id, 0) < RETRIES:
            faults[unit.id] = faults.get(unit.id, 0) + 1
            return Failure(family="Storage", message="no answer")
        return "usual"

    def fate(function: Task, units: tuple[Unit, ...]) -> Answer | None:
        if chance.random() < 0.2:
            return None
        if chance.random() < 0.2 and (len(units) > 1 or deaths.get(units[0].id, 0) < LIVES - 1):
            if len(units) == 1:
                deaths[units[0].id] = deaths.get(units[0].id, 0) + 1
            return killed(units)
        return Answer(units=units, outcomes=[outcome(unit) for unit in units])

    with pytest.MonkeyPatch.context() as patch:
        cluster = Cluster(fate, pick=chance.randrange)
        heard = hand_out(cluster, make_units(count), patch=patch)
    assert sorted(unit for unit, _ in heard) == [unit.id for unit in make_units(count)]


def test_only_the_unit_that_is_given_up_alone_goes_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def fate(function: Task, units: tuple[Unit, ...]) -> Answer | None:
        poisoned = any(unit.id == "u000001" for unit in units)
        return killed(units) if poisoned and function is usual else landed(function, units)

    asked: list[str] = []

    def on_killed(unit: Unit) -> Task:
        asked.append(unit.id)
        return other

    heard = hand_out(Cluster(fate), make_units(100), on_killed=on_killed, patch=monkeypatch)
    assert asked == ["u000001"]
    assert [unit for unit, result in heard if result == "other"] == ["u000001"]
    assert len(heard) == 100


@pytest.mark.parametrize(
    ("ways", "alone"),
    [(None, LIVES), (lambda _: None, LIVES), (lambda _: other, 3)],  # where it goes another way it may have company
    ids=["no way", "no way for it", "killed there"],
)
def test_a_unit_that_is_given_up_again_ends_the_phase_by_name(
    monkeypatch: pytest.MonkeyPatch, ways: Any, alone: int
) -> None:
    def fate(function: Task, units: tuple[Unit, ...]) -> Answer | None:
        return killed(units) if any(unit.id == "u000001" for unit in units) else landed(function, units)

    cluster = Cluster(fate)
    with pytest.raises(Compute, match=r"died several times over unit u000001 \(part-1\.parquet\)"):
        hand_out(cluster, make_units(30), on_killed=ways, patch=monkeypatch)
    assert sum(units[0].id == "u000001" and len(units) == 1 for _, units in cluster.started) == alone


def test_suspects_fly_with_nothing_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(lambda function, units: killed(units) if len(units) > 1 else landed(function, units))
    hand_out(cluster, make_units(16), patch=monkeypatch)
    assert [unit.id for unit in cluster.started[0][1]] == ["u000000", "u000001"]
    alone = [flying for (_, units), flying in zip(cluster.started[1:], cluster.others[1:], strict=True)
             if units[0].id in ("u000000", "u000001")]  # fmt: skip
    assert alone == [0, 0]
    assert max(cluster.others) > 0


@pytest.mark.parametrize("count", [2, 3, 5, 40])
def test_what_is_beside_a_unit_that_kills_is_never_blamed(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Dask gives up all that workers had in hand which died: here that is all that flies with the unit that kills."""

    def fate(function: Task, units: tuple[Unit, ...]) -> Answer | None:
        kills = any(unit.id == "u000001" and function is usual for function, flown in cluster.flying for unit in flown)
        doomed.update(id(flown) for _, flown in cluster.flying if kills)
        return killed(units) if id(units) in doomed else landed(function, units)

    def on_killed(unit: Unit) -> Task:
        asked.append(unit.id)
        return other

    asked: list[str] = []
    doomed: set[int] = set()
    cluster = Cluster(fate)
    heard = hand_out(cluster, make_units(count), on_killed=on_killed, patch=monkeypatch)
    assert asked == ["u000001"]
    assert sorted(unit for unit, _ in heard) == [unit.id for unit in make_units(count)]
    assert [unit for unit, result in heard if result == "other"] == ["u000001"]


def test_what_stalls_is_handed_out_again_and_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fate(function: Task, units: tuple[Unit, ...]) -> Answer | None:
        return landed(function, units) if cluster.now >= 10 else None

    cluster = Cluster(fate)
    heard = hand_out(cluster, make_units(20), stalled_seconds=10.0, patch=monkeypatch)
    assert sorted(unit for unit, _ in heard) == [unit.id for unit in make_units(20)]
    handed = [unit.id for _, units in cluster.started for unit in units]
    assert len(handed) > len(set(handed))


def test_what_is_being_done_when_it_stalls_is_handed_out_last_and_named_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(lambda *_: None, doing={"u000001"})
    with pytest.raises(Compute, match=r"^nothing came of unit u000001 \(part-1\.parquet\) for 10 seconds"):
        hand_out(cluster, make_units(4), stalled_seconds=10.0, patch=monkeypatch)
    assert [unit.id for _, units in cluster.started[-4:] for unit in units][-1] == "u000001"


def test_where_nobody_says_what_is_being_done_all_that_is_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Compute, match=r"units u000000 .*, u000004 \(part-4\.parquet\) and 1 more for 10 seconds"):
        hand_out(Cluster(lambda *_: None), make_units(6), stalled_seconds=10.0, patch=monkeypatch)


def test_a_run_that_is_over_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Compute, match=r"timeouts\.run_seconds allows; 6 units of 'score' are missing"):
        hand_out(Cluster(lambda *_: None), make_units(6), run_ends=5.0, patch=monkeypatch)


def test_a_storage_fault_pauses_longer_each_time_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def fate(function: Task, units: tuple[Unit, ...]) -> Answer | None:
        tried.append(cluster.now)
        return Answer(units=units, outcomes=[Failure(family="Storage", message="no answer") for _ in units])

    tried: list[float] = []
    cluster = Cluster(fate)
    monkeypatch.setattr(engine, "PAUSE_SECONDS", 10.0)
    with pytest.raises(Storage, match="no answer"):
        hand_out(cluster, make_units(1), patch=monkeypatch)
    pauses = [after - before for before, after in pairwise(tried)]
    assert pauses == [10.0, 20.0, 40.0]


def test_another_answer_of_the_cluster_ends_the_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(lambda _, units: Answer(units=units, refused="CancelledError"))
    with pytest.raises(Compute, match=r"unit u000000 \(part-0\.parquet\): the cluster answered 'CancelledError'"):
        hand_out(cluster, make_units(1), patch=monkeypatch)
