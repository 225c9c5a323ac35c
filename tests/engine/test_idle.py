"""A cluster that does nothing for long enough is idle."""

from __future__ import annotations

from dataops.engine.idle import Activity, Idle


def found(*, changes: int, busy: int = 0) -> Activity:
    return Activity(changes=changes, busy=busy, workers=1, threads=1)


def test_one_that_never_did_anything_is_idle_from_its_start_on() -> None:
    idle = Idle(limit_seconds=10.0, since=100.0)
    assert not idle.is_over(found(changes=0), 109.0)
    assert idle.is_over(found(changes=0), 110.0)


def test_work_between_two_looks_counts() -> None:
    idle = Idle(limit_seconds=10.0, since=100.0)
    assert not idle.is_over(found(changes=7), 111.0)
    assert not idle.is_over(found(changes=7), 120.0)
    assert idle.is_over(found(changes=7), 121.0)


def test_a_task_that_takes_long_is_work() -> None:
    idle = Idle(limit_seconds=10.0, since=100.0)
    assert not any(idle.is_over(found(changes=3, busy=1), now) for now in (105.0, 120.0, 500.0))
    assert not idle.is_over(found(changes=3), 509.0)
    assert idle.is_over(found(changes=3), 510.0)
