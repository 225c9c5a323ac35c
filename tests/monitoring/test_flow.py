"""What workers did by time: nothing is lost, whatever the order, the span and the number of workers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.monitoring.flow import BINS_IN_THE_END, MOST_BINS, MOST_WORKERS, OTHERS, Done, Flow, add, thinned

DONE = Done(worker="tcp://a:1", start=100.0, stop=104.0, rows=8.0, size_bytes=400.0)
TASKS = st.builds(
    Done,
    worker=st.sampled_from([f"tcp://w:{number}" for number in range(40)]),
    start=st.floats(0, 5000),
    stop=st.floats(5000, 20_000),
    rows=st.floats(0, 1e6),
    size_bytes=st.floats(0, 1e9),
)


def totals(flow: Flow) -> tuple[float, float]:
    cells = [cell for by_worker in flow.bins.values() for cell in by_worker.values()]
    return sum(rows for rows, _ in cells), sum(size for _, size in cells)


def test_a_task_is_spread_over_the_time_that_it_took() -> None:
    starts, rates = add(Flow(), [DONE]).by_worker()
    assert starts[:4] == [100.0, 101.0, 102.0, 103.0]
    assert rates["tcp://a:1"][0][:4] == [2.0] * 4
    assert rates["tcp://a:1"][1][:4] == [100.0] * 4


def test_a_moment_between_two_tasks_is_shown_as_idle() -> None:
    later = replace(DONE, start=107.5, stop=107.5)
    starts, rates = add(Flow(), [DONE, later]).by_worker()
    assert starts == [float(second) for second in range(100, 108)]
    assert rates["tcp://a:1"][0] == [2.0, 2.0, 2.0, 2.0, 0.0, 0.0, 0.0, 8.0]


@given(st.lists(TASKS, max_size=30))
def test_no_row_is_lost_and_no_bound_is_passed(tasks: list[Done]) -> None:
    flow = add(Flow(), tasks)
    rows, size = totals(flow)
    assert rows == pytest.approx(sum(task.rows for task in tasks), rel=1e-6, abs=1e-3)
    assert size == pytest.approx(sum(task.size_bytes for task in tasks), rel=1e-6, abs=1e-3)
    first, stop = flow.span()
    assert stop - first <= MOST_BINS
    assert len(flow.workers) <= MOST_WORKERS


@given(st.lists(TASKS, max_size=8), st.randoms())
def test_the_order_in_which_tasks_end_makes_no_difference(tasks: list[Done], random: object) -> None:
    shuffled = sorted(tasks, key=lambda _: random.random())  # type: ignore[attr-defined]
    one, other = add(Flow(), tasks), add(Flow(), shuffled)
    assert one.width == other.width
    assert set(one.bins) == set(other.bins)
    assert totals(one) == pytest.approx(totals(other))


@given(st.lists(TASKS, max_size=8))
def test_what_is_kept_of_a_run_that_ended_is_smaller_and_loses_no_row(tasks: list[Done]) -> None:
    flow = add(Flow(), tasks)
    kept = thinned(flow)
    first, stop = kept.span()
    assert stop - first <= BINS_IN_THE_END
    assert totals(kept) == pytest.approx(totals(flow))


def test_workers_beyond_the_bound_count_as_one() -> None:
    tasks = [replace(DONE, worker=f"tcp://w:{number}") for number in range(MOST_WORKERS + 20)]
    flow = add(Flow(), tasks)
    assert len(flow.workers) == MOST_WORKERS
    assert flow.workers[-1] == OTHERS
    assert totals(flow)[0] == pytest.approx(8.0 * len(tasks))


@pytest.mark.parametrize("bad", [(5.0, 4.0), (float("nan"), 4.0), (0.0, float("inf"))], ids=str)
def test_times_that_make_no_sense_change_nothing(bad: tuple[float, float]) -> None:
    flow = add(Flow(), [DONE])
    assert add(flow, [replace(DONE, start=bad[0], stop=bad[1])]) == flow
