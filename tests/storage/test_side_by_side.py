"""Side by side: every operation once, in order; an error ends it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import NotFound
from dataops.storage.side_by_side import side_by_side


@given(st.integers(0, 2000), st.integers(1, 16))
def test_each_is_done_once_and_comes_in_its_place(items: int, threads: int) -> None:
    done: list[int] = []

    def double(item: int) -> int:
        done.append(item)
        return item * 2

    assert side_by_side(double, range(items), threads=threads) == [item * 2 for item in range(items)]
    assert sorted(done) == list(range(items))


def test_an_error_is_raised_and_what_has_not_begun_does_not_begin() -> None:
    begun: list[int] = []

    def fail(item: int) -> None:
        begun.append(item)
        raise NotFound(f"no {item}")

    with pytest.raises(NotFound):
        side_by_side(fail, range(100_000))
    assert len(begun) < 1000
