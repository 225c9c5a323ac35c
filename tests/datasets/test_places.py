"""Where rows stand in their file: whatever is taken of what was taken."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.places import Places


@given(data=st.data(), first=st.integers(0, 5), rows=st.integers(0, 12), times=st.integers(0, 3))
def test_the_places_are_those_of_an_array_of_all_of_them(data: st.DataObject, first: int, rows: int, times: int):
    places, expected = Places(first=first, rows=rows), np.arange(first, first + rows)
    for _ in range(times):
        chosen = data.draw(
            st.lists(st.sampled_from(range(len(expected))), unique=True) if len(expected) else st.just([])
        )
        places, expected = places.take(np.array(chosen, np.int64)), expected[np.array(chosen, np.int64)]
    assert len(places) == len(expected)
    assert places.in_file().tolist() == expected.tolist()
    assert places.in_file().dtype == np.int64
