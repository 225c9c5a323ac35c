from __future__ import annotations

import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given

from dataops.features.summary import merge, summarise
from dataops.features.whole import WIDEST, count_whole

ROWS = st.lists(st.one_of(st.none(), st.integers(-9000, 7000)), max_size=60)


def record(column):
    return summarise(pa.table({"n": column}), ["n"], []).record()


@given(rows=ROWS, type_name=st.sampled_from(["int16", "int32", "int64"]), cut=st.integers(0, 60))
def test_whole_numbers_are_summarised_as_the_same_numbers_in_float(rows, type_name, cut):
    whole = pa.chunked_array([pa.array(rows[:cut], type_name), pa.array(rows[cut:], type_name)])
    assert record(whole) == record(whole.cast(pa.float64()))


@given(rows=st.lists(st.integers(2**40 - 5, 2**40 + 5), min_size=1, max_size=30), cut=st.integers(0, 30))
def test_it_merges_with_what_was_summarised_otherwise(rows, cut):
    whole = pa.chunked_array([pa.array(rows)])
    parts = [pa.table({"n": one}) for one in (whole.slice(0, cut), whole.slice(cut).cast(pa.float64()))]
    assert merge([summarise(part, ["n"], []) for part in parts]).record() == record(whole)


@pytest.mark.parametrize("column", [[0, WIDEST], [2**60, 2**60 + 1], [None, None], [0.5], [True]], ids=str)
def test_others_are_not_counted(column):
    data_type = None if column != [None, None] else pa.int64()
    assert count_whole(pa.chunked_array([pa.array(column, data_type)])) is None


def test_the_widest_range_is_counted_and_unsigned_values_too():
    values, counts = count_whole(pa.chunked_array([pa.array([5, 5, WIDEST + 4], pa.uint64())]))
    assert values.tolist() == [5.0, WIDEST + 4.0]
    assert counts.tolist() == [2, 1]
    assert pc.sum(pa.array(counts)).as_py() == 3
