"""Batches: every unit once, small ones together, large ones alone, none held up by another's pause."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.snapshot import RowGroup
from dataops.datasets.units import Unit
from dataops.engine.batches import BATCH_COST, UNIT_COST, Backlog
from tests.datasets.examples import make_unit

SIZES = st.lists(st.integers(0, 2 * BATCH_COST), max_size=60)


def sized(number: int, size_bytes: int) -> Unit:
    unit = make_unit(number, 1)
    return replace(unit, fragment=replace(unit.fragment, row_groups=(RowGroup(rows=1, size_bytes=size_bytes),)))


def drained(backlog: Backlog, *, threads: int, now: float = 0.0) -> list[tuple[Unit, ...]]:
    batches = []
    while batch := backlog.take(now, threads=threads):
        batches.append(batch)
    return batches


@given(sizes=SIZES, threads=st.integers(1, 64))
def test_each_unit_is_handed_out_once_in_order_whatever_the_threads(sizes: list[int], threads: int) -> None:
    units = [sized(number, size) for number, size in enumerate(sizes)]
    batches = drained(Backlog(units), threads=threads)
    assert [unit for batch in batches for unit in batch] == units


@given(sizes=SIZES, threads=st.integers(1, 64))
def test_a_batch_is_a_single_unit_or_worth_no_more_than_a_batch(sizes: list[int], threads: int) -> None:
    for batch in drained(Backlog(sized(*one) for one in enumerate(sizes)), threads=threads):
        assert len(batch) == 1 or sum(UNIT_COST + unit.size_bytes for unit in batch) <= BATCH_COST


@given(sizes=SIZES, threads=st.integers(1, 16))
def test_no_batch_is_more_than_its_share_of_what_is_left(sizes: list[int], threads: int) -> None:
    left = len(sizes)
    for batch in drained(Backlog(make_unit(number, 1) for number in range(left)), threads=threads):
        assert len(batch) == 1 or len(batch) <= left / threads
        left -= len(batch)


def test_a_hundred_thousand_tiny_units_are_few_tasks_and_end_with_single_ones() -> None:
    sizes = [len(batch) for batch in drained(Backlog([make_unit(0, 1)] * 100_000), threads=2)]
    assert len(sizes) < 2000
    assert sizes[-8:] == [1] * 8


def test_a_unit_of_the_planned_size_goes_alone() -> None:
    batches = drained(Backlog(sized(number, BATCH_COST) for number in range(500)), threads=2)
    assert {len(batch) for batch in batches} == {1}


def test_a_unit_that_pauses_waits_for_its_time_and_goes_alone() -> None:
    first, *others = [make_unit(number, 1) for number in range(5)]
    backlog = Backlog(others)
    backlog.pause(first, until=10.0)
    assert (len(backlog), backlog.next_due) == (5, 10.0)
    assert [unit for batch in drained(backlog, threads=1, now=9.9) for unit in batch] == others
    assert (len(backlog), drained(backlog, threads=1, now=10.0)) == (1, [(first,)])
    assert (len(backlog), backlog.next_due) == (0, None)


def test_units_that_may_be_the_end_of_a_worker_go_next_and_alone() -> None:
    units = [make_unit(number, 1) for number in range(100)]
    backlog = Backlog(units)
    suspects = backlog.take(0.0, threads=1)
    assert len(suspects) > 1
    backlog.put_alone(suspects)
    assert [backlog.take(0.0, threads=1) for _ in suspects] == [(unit,) for unit in suspects]
