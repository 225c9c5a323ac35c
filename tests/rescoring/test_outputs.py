"""Score columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dataops.rescoring.outputs import deciles, is_positive

PROBABILITIES = arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(0, 1, width=32))


@given(PROBABILITIES, st.lists(st.floats(0, 1, width=32), min_size=9, max_size=9).map(sorted))
def test_a_decile_is_one_more_than_the_edges_reached(probability: np.ndarray, edges: list[float]) -> None:
    expected = [1 + sum(value >= edge for edge in edges) for value in probability.tolist()]
    assert deciles(probability, edges).tolist() == expected


@given(PROBABILITIES, st.integers(0, 49))
def test_a_probability_that_is_the_threshold_reaches_it(probability: np.ndarray, place: int) -> None:
    if place < len(probability):
        assert is_positive(probability, float(probability[place]))[place]


@pytest.mark.parametrize("threshold", [0.1, 0.7, 1 / 3])
def test_a_threshold_that_float32_rounds_is_compared_as_scores_are_stored(threshold: float) -> None:
    assert is_positive(np.array([threshold], np.float32), threshold).all()
