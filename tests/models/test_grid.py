import numpy as np
import pytest

from dataops.models.boosted import thresholds_of
from dataops.models.grid import LEAST_TREES, find_grid


def test_rows_are_in_one_cell_if_they_reach_the_same_thresholds() -> None:
    found = find_grid({0: [1.0, 3.0, 1.0], 2: [0.5]}, trees=LEAST_TREES)
    assert found is not None
    rows = [(x, 9.0, y) for x in (0.0, 1.0, 2.0, 3.0) for y in (0.0, 0.5)]
    assert found.keys(np.array(rows, np.float32)).tolist() == [0, 1, 2, 3, 2, 3, 4, 5]
    assert found.size == 6


@pytest.mark.parametrize(
    ("thresholds", "trees"),
    [
        ({0: [1.0]}, LEAST_TREES - 1),
        ({place: list(range(255)) for place in range(8)}, LEAST_TREES),
        ({0: [float("nan")]}, LEAST_TREES),
        ({0: [float("inf")]}, LEAST_TREES),
        ({0: np.arange(40_000).tolist()}, LEAST_TREES),
    ],
    ids=["few trees", "more cells than a number can name", "NaN", "infinity", "more thresholds than a table holds"],
)
def test_there_are_no_cells_where_they_are_of_no_use(thresholds: dict[int, list[float]], trees: int) -> None:
    assert find_grid(thresholds, trees=trees) is None


def test_splits_by_sets_of_categories_have_no_cells() -> None:
    import pandas as pd
    import xgboost

    codes = np.random.default_rng(3).integers(0, 8, 500)
    frame = pd.DataFrame({"c": pd.Categorical(codes)})
    data = xgboost.DMatrix(frame, label=codes % 2, enable_categorical=True)
    params = {"objective": "binary:logistic", "nthread": 1, "max_cat_to_onehot": 1}
    assert thresholds_of(bytes(xgboost.train(params, data, LEAST_TREES).save_raw("json"))) is None
