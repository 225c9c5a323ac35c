"""The split: a key's side depends on the key and the share alone, a time's side on the time."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dataops.declarations.prepare import Split, parse_moment
from dataops.errors import InvalidInput
from dataops.preparation.split import TEST, TRAIN, assign_split, assign_split_by_time, split_start

keys = st.lists(st.one_of(st.none(), st.text(max_size=6)), max_size=40)
shares = st.floats(0.01, 0.99)


def _sides(*columns: list[str | None], test: float = 0.3) -> list[str]:
    return assign_split(
        [pa.chunked_array([pa.array(column, pa.string())]) for column in columns], test=test
    ).to_pylist()


@given(keys, keys, shares)
def test_a_row_keeps_its_side_as_data_grows(old: list[str | None], new: list[str | None], test: float) -> None:
    assert _sides(old + new, test=test)[: len(old)] == _sides(old, test=test)


@given(keys, shares, st.randoms(use_true_random=False))
def test_equal_keys_are_on_one_side_in_whatever_order(values: list[str | None], test: float, random: object) -> None:
    sides = dict(zip(values, _sides(values, test=test), strict=True))
    shuffled = sorted(values, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert _sides(shuffled, test=test) == [sides[value] for value in shuffled]


@given(keys, st.integers(1, 7))
def test_units_and_chunks_make_no_difference(values: list[str | None], size: int) -> None:
    pieces = [values[start : start + size] for start in range(0, len(values), size)]
    assert [side for piece in pieces for side in _sides(piece)] == _sides(values)
    chunked = pa.chunked_array([pa.array(piece, pa.string()) for piece in pieces], pa.string())
    assert assign_split([chunked], test=0.3).to_pylist() == _sides(values)


@given(keys, shares, shares)
def test_a_larger_share_only_adds_to_the_test_side(values: list[str | None], one: float, other: float) -> None:
    small, large = (_sides(values, test=share) for share in sorted((one, other)))
    assert all(b == TEST for a, b in zip(small, large, strict=True) if a == TEST)


def test_the_share_is_about_what_was_asked_for() -> None:
    sides = _sides([f"person-{number}" for number in range(20_000)], test=0.2)
    assert set(sides) == {TRAIN, TEST}
    assert 0.19 < sides.count(TEST) / len(sides) < 0.21


def test_several_keys_are_taken_together() -> None:
    many = [[str(number % 50) for number in range(2000)], [str(number // 50) for number in range(2000)]]
    sides = _sides(*many)
    assert len({side for key, side in zip(many[0], sides, strict=True) if key == "7"}) == 2
    moved = _sides([f"{a}{b}" for a, b in zip(*many, strict=True)], [""] * 2000)
    assert moved != sides


def test_null_is_a_key_of_its_own() -> None:
    assert len(set(_sides([None] * 5))) == 1
    assert len({tuple(_sides([value], ["x"], test=share / 50)) for value in (None, "") for share in range(50)}) == 2


@pytest.mark.parametrize(
    "values",
    [[1, 2, None], [1.5, float("nan"), None], [True, False, None], [date(2026, 1, 31), None]],
    ids=["integers", "floats", "booleans", "dates"],
)
def test_keys_of_any_kind_have_a_side(values: list[object]) -> None:
    sides = assign_split([pa.chunked_array([pa.array(values)])], test=0.5).to_pylist()
    assert set(sides) <= {TRAIN, TEST}
    assert len(sides) == len(values)


def test_the_rule_is_fixed_for_good() -> None:
    """Sides as they were when the first data sets were split: a change would move rows between training and test."""
    sides = _sides([f"p{number}" for number in range(12)], test=0.5)
    assert [number for number, side in enumerate(sides) if side == TEST] == [2, 6, 7, 8, 10, 11]


class TestByTime:
    DAYS = (None, date(2013, 9, 30), date(2013, 10, 1), date(2014, 1, 1))

    @pytest.mark.parametrize(
        ("type_", "moment"),
        [
            (pa.date32(), "2013-10-01"),
            (pa.timestamp("s"), "2013-10-01"),
            (pa.timestamp("us"), "2013-10-01T00:00"),
            (pa.timestamp("us", "UTC"), "2013-10-01"),
            (pa.timestamp("ms", "America/New_York"), "2013-10-01T02:00+02:00"),
        ],
        ids=str,
    )
    def test_rows_from_the_moment_on_are_for_testing(self, type_: pa.DataType, moment: str) -> None:
        times = pa.chunked_array([pa.array(self.DAYS[:2], pa.date32()), pa.array(self.DAYS[2:], pa.date32())])
        if pa.types.is_timestamp(type_):
            times = times.cast(pa.timestamp(type_.unit)).cast(pa.timestamp(type_.unit, type_.tz and "UTC")).cast(type_)
        sides = assign_split_by_time(times, start=split_start(parse_moment(moment), type_))
        assert sides.to_pylist() == [TEST, TRAIN, TEST, TEST]

    @pytest.mark.parametrize(
        ("type_", "moment"),
        [
            (pa.date32(), "2013-10-01T12:00"),
            (pa.timestamp("s"), "2013-10-01T12:00Z"),
            (pa.int64(), "2013-10-01"),
            (pa.string(), "2013-10-01"),
        ],
        ids=str,
    )
    def test_moment_that_nothing_can_be_compared_with_is_refused(self, type_: pa.DataType, moment: str) -> None:
        with pytest.raises(InvalidInput):
            split_start(parse_moment(moment), type_)

    @pytest.mark.parametrize(
        "declared",
        [
            {},
            {"by": "hash(a)"},
            {"time": "t"},
            {"test_from": "2013-10-01"},
            {"by": "hash(a)", "test": 0.2, "time": "t"},
            {"by": "hash(a)", "test": 0.2, "time": "t", "test_from": "2013-10-01"},
            {"time": "t", "test_from": "october"},
        ],
        ids=str,
    )
    def test_is_by_key_or_by_time_and_whole(self, declared: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Split.model_validate(declared)
