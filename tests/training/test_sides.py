from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from dataops.errors import InvalidInput
from dataops.features.encoder import Encoded
from dataops.training.calibrating import HELD_OUT as TO_CALIBRATE
from dataops.training.calibrating import calibration_sides
from dataops.training.grouping import Grouping, count_hours, groups_by, hours_of, with_times
from dataops.training.groups import GROUPS
from dataops.training.parts import EncodedPart, PartsOnCluster, map_parts
from dataops.training.search import HELD_OUT
from dataops.training.sides import _of_side, numbered_anew, side_of


def part_of(rows: int = 640) -> EncodedPart:
    places = np.arange(rows)
    return EncodedPart(
        encoded=Encoded(values=places.astype(np.float32).reshape(-1, 1), n_numeric=1, unknown={}),
        target=(places % 2).astype(np.float32),
        weight=places.astype(np.float32),
        slices={"half": places.astype(str)},
        groups=(places % GROUPS).astype(np.uint8),
        ranks=places.astype(np.uint32),
    )


@pytest.mark.parametrize("groups", [4, 6])
def test_each_row_is_on_one_side_with_all_that_belongs_to_it(groups):
    part = part_of()
    sides = [_of_side(part, groups, held_out, None) for held_out in (True, False)]
    places = [side.encoded.values[:, 0].astype(int) for side in sides]
    assert sorted(np.concatenate(places).tolist()) == list(range(640))
    assert [one.tolist() for one in places] == [
        [place for place in range(640) if (place % GROUPS < groups) == held_out] for held_out in (True, False)
    ]
    for side, mine in zip(sides, places, strict=True):
        assert side.target.tolist() == (mine % 2).tolist()
        assert side.weight.tolist() == side.ranks.tolist() == mine.tolist()
        assert side.groups.tolist() == (mine % GROUPS).tolist()
        assert side.slices == {}


def test_groups_that_are_left_are_counted_anew_so_that_more_can_be_held_out_of_them():
    numbers = numbered_anew([0] * 4 + [20] * 28)
    left = _of_side(part_of(), 4, False, numbers)
    assert left.groups[left.encoded.values[:, 0].astype(int) == 4].tolist() == [0]  # by time the next newest
    assert sorted(set(left.groups.tolist())) == sorted(set(numbers[4:].tolist()))
    assert (np.diff(numbers[4:].astype(int)) > 0).all()  # none of two became one
    assert numbers.max() == 30
    assert (numbered_anew(np.zeros(GROUPS, int)) == 0).all()


def at_times(rows: dict[int, int], cut: int = 1) -> list[EncodedPart]:
    """Parts of rows at so many days after the first of a year, in groups by their time; the value is the day."""
    days = np.repeat(list(rows), list(rows.values()))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    table = pa.table({"at": pa.array([start + timedelta(days=int(day)) for day in days], pa.timestamp("us", tz="UTC"))})
    grouping = with_times(Grouping(time="at"), [count_hours(hours_of(table.column("at")))])
    groups = groups_by(grouping, table)
    edges = np.linspace(0, len(days), cut + 1).astype(int)
    return [
        EncodedPart(
            encoded=Encoded(values=days[some].astype(np.float32).reshape(-1, 1), n_numeric=1, unknown={}),
            target=(np.arange(len(days))[some] % 2).astype(np.float32),
            groups=groups[some],
        )
        for some in (slice(*pair) for pair in pairwise(edges))
    ]


def days_of(parts: PartsOnCluster) -> set[int]:
    return {int(day) for found in map_parts(parts, _days) for day in found}


def _days(part: EncodedPart, _argument: None) -> list[float]:
    return np.unique(part.encoded.values).tolist()


@pytest.mark.parametrize(
    ("rows", "calibrated", "judged"),
    [
        ({0: 200, 1: 200, 2: 200}, {2}, {1}),
        ({0: 200, 1: 200, 2: 200, 3: 200}, {3}, {2}),
        ({day: 400 if day == 86 else 10 for day in range(90)}, {86, 87, 88, 89}, {*range(68, 86)}),
    ],
    ids=["three days", "four days", "one heavy day"],
)
def test_of_few_or_heavy_days_some_are_left_to_be_held_out_next_and_some_to_learn_from(
    cluster, place, rows, calibrated, judged
):
    found = []
    for cut in (1, 3):
        parts = place(cluster, at_times(rows, cut))
        to_fit, to_calibrate = calibration_sides(parts)
        to_judge, to_learn = (side_of(to_fit, HELD_OUT, held_out=held_out) for held_out in (True, False))
        assert sum(to_fit.rows) + sum(to_calibrate.rows) == sum(rows.values())
        found.append([days_of(one) for one in (to_calibrate, to_judge, to_learn)])
    assert found[0] == found[1] == [calibrated, judged, {*rows} - calibrated - judged]


def test_rows_of_one_time_leave_none_to_calibrate_apart_from_those_to_learn_from(cluster, place):
    parts = place(cluster, at_times({3: 100}))
    with pytest.raises(
        InvalidInput, match=r"of 100 rows to learn from 100 are held out for it\. Rows of one key, or of"
    ):
        calibration_sides(parts)
    assert TO_CALIBRATE < HELD_OUT
