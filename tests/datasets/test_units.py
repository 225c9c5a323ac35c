"""Units: every row group with rows is in exactly one, whatever the target."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.snapshot import Fragment, RowGroup
from dataops.datasets.units import plan_from_record, plan_record, plan_units

row_groups = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 500)).map(lambda pair: RowGroup(rows=pair[0], size_bytes=pair[1])),
    max_size=8,
).map(tuple)


@st.composite
def fragments(draw: st.DrawFn) -> tuple[Fragment, ...]:
    many = draw(st.lists(row_groups, max_size=6))
    return tuple(
        Fragment(
            path=f"a b/ü={number}.parquet", size_bytes=1, digest="sha256:1", row_groups=groups, partition=(("ü", "1"),)
        )
        for number, groups in enumerate(many)
    )


@given(fragments(), st.integers(1, 1000))
def test_every_row_group_with_rows_is_planned_exactly_once(planned: tuple[Fragment, ...], target: int) -> None:
    units = plan_units(planned, target)
    covered = [(unit.fragment.path, group) for unit in units for group in range(unit.start_group, unit.stop_group)]
    filled = {
        (fragment.path, index) for fragment in planned for index, group in enumerate(fragment.row_groups) if group.rows
    }
    assert len(covered) == len(set(covered))
    assert filled <= set(covered)
    assert sum(unit.rows for unit in units) == sum(fragment.rows for fragment in planned)
    assert all(unit.rows for unit in units)


@given(fragments(), st.integers(1, 1000))
def test_ids_are_in_order_and_first_row_is_the_place_in_the_file(planned: tuple[Fragment, ...], target: int) -> None:
    units = plan_units(planned, target)
    assert [unit.id for unit in units] == sorted({unit.id for unit in units})
    whole = {fragment.path: fragment.row_groups for fragment in planned}
    for unit in units:
        assert unit.first_row == sum(group.rows for group in whole[unit.fragment.path][: unit.start_group])
        assert unit.groups == whole[unit.fragment.path][unit.start_group : unit.stop_group]


@given(fragments(), st.integers(1, 1000))
def test_a_unit_is_no_larger_than_the_target_but_for_a_single_row_group(
    planned: tuple[Fragment, ...], target: int
) -> None:
    for unit in plan_units(planned, target):
        assert unit.size_bytes <= target or unit.stop_group - unit.start_group == 1


@given(fragments(), st.integers(1, 1000))
def test_a_frozen_plan_comes_back_as_it_was(planned: tuple[Fragment, ...], target: int) -> None:
    units = plan_units(planned, target)
    assert plan_from_record(json.loads(json.dumps(plan_record(units)))) == units


def test_files_without_rows_need_no_unit() -> None:
    empty = Fragment(path="a.parquet", size_bytes=1, digest="", row_groups=(RowGroup(rows=0, size_bytes=0),))
    none = Fragment(path="b.parquet", size_bytes=1, digest="", row_groups=())
    assert plan_units([empty, none]) == ()
