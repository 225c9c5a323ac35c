"""Figures of a rescore."""

from __future__ import annotations

import numpy as np
from hypothesis import given as given_values
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dataops.features.profile import SCORE_BINS, score_histogram
from dataops.rescoring.figures import score_figures


@given_values(arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(0, 1, width=32)))
def test_the_histogram_counts_every_score_once(probability: np.ndarray) -> None:
    counts = score_histogram(probability)
    assert len(counts) == SCORE_BINS
    assert sum(counts) == len(probability)


def test_figures_of_no_unit_are_zeros() -> None:
    assert score_figures([]) == {"errors": {}, "scores": [0] * SCORE_BINS, "unknown_categories": {}}
