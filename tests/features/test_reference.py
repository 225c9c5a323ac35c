from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import Format
from dataops.features.cells import folded
from dataops.features.reference import Reference
from tests.features.profiles import Row, refer

ROWS: st.SearchStrategy[list[Row]] = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(0, 8).map(float)),
        st.sampled_from(["a", "b", "c", "rare", None]),
        st.floats(0, 1, width=32),
        st.sampled_from(["east", "west"]),
    ),
    min_size=30,
    max_size=120,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(2, 15))
def test_no_count_of_a_reference_is_about_fewer_rows_than_asked_nor_can_be_had_by_difference(
    rows: Any, least: int
) -> None:
    reference = refer(rows, least)
    for one in reference.overall:
        assert ((one.counts == 0) | (one.counts >= least)).all()
    assert all(n == 0 or n >= least for n in reference.histogram)
    for by_value in reference.slices[0]:
        assert ((by_value.counts == 0) | (by_value.counts >= least)).all()
    # all slices are of the same cells, so what all rows have less those of some values is what the others have
    coarse = [folded(one.counts, part) for one, part in zip(reference.overall, _coarse(reference), strict=True)]
    for whole, by_value in zip(coarse, reference.slices[0], strict=True):
        assert np.array_equal(folded(whole, by_value.fold), by_value.counts.sum(axis=0))


def _coarse(reference: Reference) -> list[Any]:
    """The coarse cell of each shown cell."""
    parts = []
    for cells, one in zip(reference.spec.all_cells, reference.overall, strict=True):
        part = np.zeros(len(one.counts), np.int64)
        part[one.fold] = cells.coarse
        parts.append(part)
    return parts


@settings(max_examples=20, deadline=None)
@given(ROWS, st.sampled_from([1, 7]))
def test_a_reference_is_read_as_it_was_written(rows: Any, least: int) -> None:
    record = refer(rows, least).record()
    assert Reference.from_record(json.loads(json.dumps(record))).record() == record


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("rows"),
        lambda record: record.update(decile_edges=[0.5]),
        lambda record: record.update(decile_edges=[0.9, *[0.1] * 8]),
        lambda record: record["overall"].pop(),
        lambda record: record["overall"][0]["fold"].pop(),
        lambda record: record["overall"][1].update(counts=[1]),
        lambda record: record["slices"][0].pop(),
        lambda record: record["slices"][0][0].update(counts=[[1]]),
        lambda record: record["spec"].pop("columns"),
    ],
)
def test_what_is_no_reference_is_refused(damage: Any) -> None:
    record = json.loads(json.dumps(refer([(1.0, "a", 0.5, "east"), (2.0, "b", 0.2, "west")] * 20).record()))
    damage(record)
    with pytest.raises(Format):
        Reference.from_record(record)
