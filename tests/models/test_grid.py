import numpy as np
import pytest

from dataops.features.encoder import Encoded
from dataops.models import grid as module
from dataops.models.boosted import BoostedModel, thresholds_of
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


def boosted(matrix: np.ndarray) -> BoostedModel:
    import xgboost

    target = (np.nan_to_num(matrix).sum(axis=1) > np.median(matrix.sum(axis=1))).astype(np.float32)
    params = {"objective": "binary:logistic", "nthread": 1, "max_depth": 4}
    booster = xgboost.train(params, xgboost.DMatrix(matrix, label=target), LEAST_TREES)
    return BoostedModel.from_bytes(bytes(booster.save_raw("ubj")))


def rows_of(matrix: np.ndarray) -> Encoded:
    return Encoded.of(matrix, np.empty((len(matrix), 0), np.int32))


def repeating(rows: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return np.column_stack(
        [random.integers(0, 40, rows) / 7, random.integers(0, 24, rows), random.integers(0, 3, rows)]
    ).astype(np.float32)


@pytest.mark.parametrize("table", [True, False], ids=["a table of scores", "looked up"])
def test_scores_are_the_librarys_own_to_the_bit_with_far_fewer_rows_asked(
    table: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not table:
        monkeypatch.setattr(module, "_TABLE", 0)
    monkeypatch.setattr(module, "_BLOCK", 3_000)  # two of seven blocks tell whether it pays
    matrix = repeating(20_000)
    model = boosted(matrix)
    asked = []
    assert model.grid is not None

    def plain(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return np.asarray(model.booster.inplace_predict(rows), np.float32)

    found = model.grid.predict(matrix, plain)
    assert asked == [len(np.unique(model.grid.keys(matrix)))]
    assert asked[0] < len(matrix) / 4
    expected = np.asarray(model.booster.inplace_predict(matrix), np.float32)
    assert found.tobytes() == model.predict(rows_of(matrix)).tobytes() == expected.tobytes()
    margins = np.asarray(model.booster.inplace_predict(matrix, predict_type="margin"), np.float32)
    assert model.margins(rows_of(matrix)).tobytes() == margins.tobytes()


def test_rows_that_hardly_repeat_are_asked_as_they_are() -> None:
    matrix = np.random.default_rng(2).normal(size=(8_000, 3)).astype(np.float32)
    model = boosted(matrix)
    asked = []
    assert model.grid is not None
    model.grid.predict(matrix, lambda rows: asked.append(len(rows)) or np.zeros(len(rows), np.float32))
    assert asked == [len(matrix)]


def test_a_row_scores_the_same_to_the_bit_in_any_batch() -> None:
    matrix = repeating(20_000)
    model = boosted(matrix)
    whole = model.predict(rows_of(matrix))
    for rows in (slice(0, 1), slice(5, 5_000), slice(4_096, 20_000)):
        assert model.predict(rows_of(matrix[rows])).tobytes() == whole[rows].tobytes()


def test_splits_by_sets_of_categories_have_no_cells() -> None:
    import pandas as pd
    import xgboost

    codes = np.random.default_rng(3).integers(0, 8, 500)
    frame = pd.DataFrame({"c": pd.Categorical(codes)})
    data = xgboost.DMatrix(frame, label=codes % 2, enable_categorical=True)
    params = {"objective": "binary:logistic", "nthread": 1, "max_cat_to_onehot": 1}
    assert thresholds_of(bytes(xgboost.train(params, data, LEAST_TREES).save_raw("json"))) is None
