"""The watchdog: when a run is over, when nothing came for too long, how long one may wait in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataops.engine.watchdog import LOOK_SECONDS, Watchdog

TIMES = st.floats(0, 1000)


def test_without_limits_nothing_is_ever_over() -> None:
    watchdog = Watchdog(heard=0.0)
    assert not watchdog.is_over(1e9)
    assert not watchdog.is_stalled(1e9)
    assert watchdog.patience(1e9, next_due=None) == LOOK_SECONDS


def test_a_run_is_over_when_its_time_is_used_up_whatever_came_in() -> None:
    watchdog = Watchdog(heard=0.0, run_ends=10.0)
    watchdog.hear(9.0)
    assert [watchdog.is_over(now) for now in (9.9, 10.0)] == [False, True]


def test_a_stall_is_counted_from_what_came_in_last() -> None:
    watchdog = Watchdog(heard=0.0, stalled_seconds=5.0)
    watchdog.hear(3.0)
    assert [watchdog.is_stalled(now) for now in (7.9, 8.0)] == [False, True]


@given(now=TIMES, heard=TIMES, run_ends=TIMES | st.none(), stalled=TIMES | st.none(), due=TIMES | st.none())
def test_nobody_waits_beyond_what_is_next(
    now: float, heard: float, run_ends: float | None, stalled: float | None, due: float | None
) -> None:
    watchdog = Watchdog(heard=heard, run_ends=run_ends, stalled_seconds=stalled)
    patience = watchdog.patience(now, next_due=due)
    assert 0 <= patience <= LOOK_SECONDS
    for at in (run_ends, None if stalled is None else heard + stalled, due):
        assert at is None or patience == 0 or now + patience <= at + 1e-9
