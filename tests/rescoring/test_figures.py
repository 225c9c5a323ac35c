"""Figures of a rescore."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given as given_values
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dataops.declarations.outputs import OWN
from dataops.features.profile import SCORE_BINS, score_histogram
from dataops.rescoring.figures import score_figures


@given_values(arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(0, 1, width=32)))
def test_the_histogram_counts_every_score_once(probability: np.ndarray) -> None:
    counts = score_histogram(probability)
    assert len(counts) == SCORE_BINS
    assert sum(counts) == len(probability)


def test_figures_of_no_unit_are_zeros() -> None:
    assert score_figures([]) == {"errors": {}, "scores": [0] * SCORE_BINS, "unknown_categories": {}}


def test_of_no_unit_a_challenger_changes_nothing() -> None:
    impact = score_figures([], challengers=["next"])["challengers"]["next"]["impact"]
    assert (impact["rows"], impact["flipped_up"]) == (0, None)


def _record(scores: list[int], unknown: dict[str, int]) -> Any:
    return SimpleNamespace(summary={"scores": {OWN: scores}, "unknown": {OWN: unknown}}, reasons=dict)


def test_bins_of_few_rows_are_put_together_and_columns_of_few_are_not_told() -> None:
    records = [_record([40, 2, 3] + [0] * 16 + [60], {"job": 3, "town": 0, "work": 70, "street": 104})]
    figures = score_figures(records, min_group_size=10)
    assert sum(figures["scores"]) == 105
    assert all(rows == 0 or rows >= 10 for rows in figures["scores"])
    assert figures["unknown_categories"] == {"job": None, "town": 0, "work": 70, "street": None}


def test_of_too_few_rows_nothing_is_told() -> None:
    figures = score_figures([_record([1, 0] + [0] * 18, {"job": 1, "town": 0})], min_group_size=10)
    assert figures == {"errors": {}, "scores": None, "unknown_categories": {"job": None, "town": None}}
