"""Metrics of a clustering: exact for any split of the rows, and what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import InvalidInput
from dataops.models.centres import NEAREST
from dataops.training.distances import (
    changes_of_distances,
    count_distances,
    distance_metrics,
    merge_distances,
)
from dataops.training.groups import GROUPS

METRICS = ("inertia", "silhouette")


def nearest_of(cluster, distance, other) -> np.ndarray:
    rows = np.empty(len(cluster), NEAREST)
    rows["cluster"], rows["distance"], rows["next"] = cluster, distance, other
    return rows


def some_rows(seed: int, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    distance = random.gamma(2, 3, n_rows) * 10.0 ** random.integers(-6, 7, n_rows)
    rows = nearest_of(random.integers(0, 5, n_rows), distance, distance * random.uniform(1, 3, n_rows))
    return rows, random.integers(0, GROUPS, n_rows).astype(np.uint8)


@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_any_split_in_any_order_gives_the_same_figures(seed, cuts):
    rows, groups = some_rows(seed, 300)
    whole = count_distances(rows, groups)
    places = np.split(np.arange(300), sorted(cuts))
    merged = merge_distances([count_distances(rows[place], groups[place]) for place in places[::-1]])
    assert distance_metrics(merged, METRICS) == distance_metrics(whole, METRICS)
    assert changes_of_distances(merged, METRICS) == changes_of_distances(whole, METRICS)
    assert merged.by_bucket.tolist() == whole.by_bucket.tolist() == np.bincount(rows["cluster"]).tolist()


def test_inertia_is_the_mean_square_and_silhouette_the_simplified_one():
    rows, groups = some_rows(1, 4000)
    own, other = rows["distance"].astype(np.float64), rows["next"].astype(np.float64)
    found = distance_metrics(count_distances(rows, groups), METRICS)
    assert found["inertia"] == pytest.approx((own**2).mean(), rel=1e-14)
    assert found["silhouette"] == pytest.approx(((other - own) / np.maximum(own, other)).mean(), abs=1e-11)
    changes = changes_of_distances(count_distances(rows, groups), METRICS)
    without = own[groups != 3]
    assert changes["inertia"][3] == pytest.approx((without**2).mean() - (own**2).mean(), rel=1e-6)
    assert changes_of_distances(count_distances(rows, groups), METRICS, min_group_size=4000) == {}


def test_a_row_at_two_centres_has_a_silhouette_of_0():
    found = distance_metrics(count_distances(nearest_of([0, 1], [0, 0], [0, 5])), METRICS)
    assert found == {"inertia": 0.0, "silhouette": 0.5}


def test_no_rows_have_no_figures_and_rows_without_a_distance_are_refused():
    assert distance_metrics(merge_distances([]), METRICS) == {}
    with pytest.raises(InvalidInput, match="of 2 rows, 1 lie farther from each centre than float32 says"):
        count_distances(nearest_of([0, 0], [np.inf, 1], [np.inf, 2]))
