"""Telling the Dask scheduler: in order, few, never waiting, and never the reason that a run fails."""

from __future__ import annotations

import asyncio
import io
import time
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster

from dataops.datasets.receipt import Receipt
from dataops.engine import telling, work
from dataops.engine.progress import Progress
from dataops.engine.telling import PROGRESS, TOPIC, Pace, Teller, plain
from dataops.engine.work import Work
from tests.datasets.examples import make_unit
from tests.engine import jobs
from tests.engine.jobs import Context


class Heard:
    """A teller that keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def tell(self, event: str, /, **fields: Any) -> None:
        self.messages.append({"event": event, **fields})


def emit(event: str, /, **fields: Any) -> None:
    """No ledger here."""


def heard_by(cluster: Client, run: str) -> list[dict[str, Any]]:
    return [message for _, message in cluster.get_events(TOPIC) if message["run"] == run]


def test_messages_come_in_the_order_in_which_they_were_told(cluster: Client) -> None:
    teller = Teller(cluster, "in-order")
    for number in range(50):
        teller.tell("phase_started", phase=f"p{number}", shape=(1, 2))
    teller.close()
    heard = heard_by(cluster, "in-order")
    assert [message["phase"] for message in heard] == [f"p{number}" for number in range(50)]
    assert heard[0]["shape"] == [1, 2] or heard[0]["shape"] == (1, 2)


def test_of_progress_that_waits_only_the_newest_is_sent(cluster: Client) -> None:
    teller = Teller(cluster, "coalesced")
    for units in range(1000):
        teller.tell(PROGRESS, phase="score", units=units)
    teller.tell("phase_ended", phase="score")
    teller.close()
    heard = heard_by(cluster, "coalesced")
    assert len(heard) < 300
    assert [message["event"] for message in heard[-2:]] == [PROGRESS, "phase_ended"]
    assert heard[-2]["units"] == 999


def test_a_scheduler_that_is_gone_is_told_nothing_and_holds_nobody_up() -> None:
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as started:
        client = Client(started, set_as_default=False)
        teller = Teller(client, "gone")
        teller.tell("phase_started", phase="a")
        teller.close()
        client.close()
    began = time.monotonic()
    for _ in range(100):
        teller.tell("phase_started", phase="b")
    teller.close()
    assert time.monotonic() - began < telling.SECONDS_TO_LAND + 5  # a wait for each would be far longer


def test_what_can_not_travel_goes_as_text() -> None:
    assert plain({1: (2, {"a"}), "b": SimpleNamespace}) == {"1": [2, ["a"]], "b": str(SimpleNamespace)}


def test_a_phase_speaks_four_times_a_second_and_less_often_the_longer_it_takes() -> None:
    pace = Pace(0.0)
    spoken = [step / 64 for step in range(1, 64 * 3600) if pace.is_due(step / 64)]  # an hour
    assert spoken[:3] == [0.25, 0.5, 0.75]
    assert 3 < len([at for at in spoken if at < 1.01]) <= 4
    assert len(spoken) < 2700
    assert spoken[-1] - spoken[-2] == pytest.approx(telling.SLOWEST, abs=0.02)


def test_a_hundred_thousand_units_are_not_a_hundred_thousand_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    now, heard = [0.0], Heard()
    monkeypatch.setattr(work, "time", SimpleNamespace(monotonic=lambda: now[0]))
    running = Work(client=None, run="r", emit=emit, progress=Progress(io.StringIO(), quiet=True), teller=heard)  # type: ignore[arg-type]
    receipt = Receipt(unit="u", read=10, passed=9, quarantined=1, broken={"stated": 1})
    with running.phase("score", total=100_000, rows=1_000_000) as shown:
        for _ in range(100_000):
            now[0] += 0.001  # a hundred seconds in all
            shown.count(receipt)
            shown.advance(1, 10)
    assert len(heard.messages) <= 4 * 100 + 1
    last = heard.messages[-1]
    assert (last["event"], last["units"], last["rows"]) == (PROGRESS, 100_000, 1_000_000)
    assert last["counts"]["quarantined"] == last["counts"]["broken:stated"] == 100_000


def test_units_tell_how_far_they_are_whatever_else_is_done_with_them(cluster: Client, tmp_path: Any) -> None:
    heard = Heard()
    progress = Progress(io.StringIO())
    running = Work(client=cluster, run=f"told-{tmp_path.name}", emit=emit, progress=progress, teller=heard)  # type: ignore[arg-type]
    units = tuple(make_unit(number, number + 1) for number in range(20))
    running.map_units("count", jobs.rows_of, Context(folder=tmp_path), units)
    assert heard.messages[-1] == {
        "event": PROGRESS,
        "phase": "count",
        "units": 20,
        "before": 0,
        "rows": 210,
        "counts": {},
    }


def test_units_that_were_done_before_are_told_as_such(cluster: Client, tmp_path: Any) -> None:
    heard = Heard()
    running = Work(
        client=cluster, run=f"before-{tmp_path.name}", emit=emit, progress=Progress(io.StringIO()), teller=heard
    )  # type: ignore[arg-type]
    units = tuple(make_unit(number, number + 1) for number in range(4))
    running.map_units("count", jobs.rows_of, Context(folder=tmp_path), units, done={units[0].id: 1, units[1].id: 2})
    last = heard.messages[-1]
    assert (last["units"], last["before"]) == (4, 2)


class Held:
    """A client whose loop hands nothing on: what is told waits."""

    status = "running"

    def __init__(self) -> None:
        self.loop = SimpleNamespace(add_callback=lambda put, message: put(message))
        self.scheduler = SimpleNamespace(log_event=self._never)

    async def _never(self, **_: Any) -> None:
        await asyncio.Event().wait()


def test_of_too_many_that_wait_the_run_and_its_events_stay_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "MOST_WAITING", 10)

    async def told() -> list[str]:
        teller = Teller(Held(), "crowded")  # type: ignore[arg-type]
        teller.tell("run_shown")
        for number in range(100):
            teller.tell("trial_reached", trial=number, rounds=1)
            teller.tell("rounds_done", rounds=number)
        for number in range(5):
            teller.tell("trial_ended", trial=number)
        first = [message["event"] for message in teller._waiting]
        for number in range(100):
            teller.tell("unit_retried", unit=str(number))
        teller.tell("run_ended", state="done")
        assert teller._waiting[-2]["unit"] == "99"
        assert len(teller._waiting) == 10
        return [*first, "then", *(message["event"] for message in teller._waiting)]

    first, _, later = " ".join(asyncio.run(told())).partition(" then ")
    assert first.split() == ["run_shown", *["trial_reached", "rounds_done"] * 2, *["trial_ended"] * 5]
    assert later.split() == ["run_shown", *["unit_retried"] * 8, "run_ended"]
