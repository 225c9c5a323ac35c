"""Scores of cells: the library's own to the bit, each asked for once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dataops.features.encoder import Encoded
from dataops.models import cell_scores as module
from dataops.models import grid
from dataops.models.boosted import BoostedModel
from dataops.models.cell_scores import CellScores
from dataops.models.grid import LEAST_TREES


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


@pytest.mark.parametrize("table", [True, False], ids=["a table", "hashes"])
def test_scores_are_the_librarys_own_to_the_bit_with_far_fewer_rows_asked(
    table: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not table:
        monkeypatch.setattr(module, "_TABLE", 0)
    monkeypatch.setattr(module, "BLOCK", 3_000)  # two of seven blocks tell whether it pays
    monkeypatch.setattr(grid, "BLOCK", 3_000)
    matrix = repeating(20_000)
    model = boosted(matrix)
    asked = []
    assert model.grid is not None

    def plain(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return np.asarray(model.booster.inplace_predict(rows), np.float32)

    found = CellScores(model.grid).predict(matrix, plain)
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
    CellScores(model.grid).predict(matrix, lambda rows: asked.append(len(rows)) or np.zeros(len(rows), np.float32))
    assert asked == [len(matrix)]


def test_a_row_scores_the_same_to_the_bit_in_any_batch() -> None:
    matrix = repeating(20_000)
    model = boosted(matrix)
    whole = model.predict(rows_of(matrix))
    for rows in (slice(0, 1), slice(5, 5_000), slice(4_096, 20_000)):
        assert model.predict(rows_of(matrix[rows])).tobytes() == whole[rows].tobytes()


class Counting:
    """The library's scores of a model, and how many rows it was asked for."""

    def __init__(self, model: BoostedModel) -> None:
        self._booster, self.asked = model.booster, []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.asked.append(len(rows))
        return np.asarray(self._booster.inplace_predict(rows), np.float32)


@pytest.mark.parametrize("table", [True, False], ids=["a table", "hashes"])
def test_a_cell_is_asked_for_once_in_all_batches(table: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not table:
        monkeypatch.setattr(module, "_TABLE", 0)
    matrix = repeating(40_000)
    model = boosted(matrix)
    assert model.grid is not None
    scores, plain = CellScores(model.grid), Counting(model)
    expected = np.asarray(model.booster.inplace_predict(matrix), np.float32)
    for start in range(0, len(matrix), 5_000):
        batch = slice(start, start + 5_000)
        assert scores.predict(matrix[batch], plain).tobytes() == expected[batch].tobytes()
    assert sum(plain.asked) == len(np.unique(model.grid.keys(matrix)))
    known = len(plain.asked)
    assert scores.predict(matrix, plain).tobytes() == expected.tobytes()
    assert len(plain.asked) == known


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 100)
    matrix = repeating(20_000)
    model = boosted(matrix)
    assert model.grid is not None
    scores, plain = CellScores(model.grid), Counting(model)
    cells = len(np.unique(model.grid.keys(matrix)))
    expected = np.asarray(model.booster.inplace_predict(matrix), np.float32)
    for _ in range(3):
        assert scores.predict(matrix, plain).tobytes() == expected.tobytes()
    assert plain.asked == [cells, cells - 100, cells - 100]


def test_rows_that_seldom_repeat_are_learnt_while_there_is_room_and_then_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrix = np.column_stack([np.arange(8_000) % 6_800, np.zeros(8_000)]).astype(np.float32)
    model = boosted(np.random.default_rng(4).normal(4_000, 2_000, (4_000, 2)).astype(np.float32))
    assert model.grid is not None
    monkeypatch.setattr(
        type(model.grid), "fill", lambda _grid, keys, rows, _blocks: np.copyto(keys, rows[:, 0], casting="unsafe")
    )
    scores, plain = CellScores(model.grid), Counting(model)
    monkeypatch.setattr(module, "_TABLE", 0)
    assert len(scores.predict(matrix, plain)) == len(scores.predict(matrix, plain)) == len(matrix)
    assert plain.asked == [6_800]
    monkeypatch.setattr(module, "MOST_KEPT", 10)
    full, plain = CellScores(model.grid), Counting(model)
    full.predict(matrix, plain)
    full.predict(matrix, plain)
    assert plain.asked == [6_800, 8_000]


def test_threads_that_score_at_the_same_time_give_the_same_scores() -> None:
    matrix = repeating(60_000)
    model = boosted(matrix)
    expected = np.asarray(model.booster.inplace_predict(matrix), np.float32)
    batches = [slice(start, start + 5_000) for start in range(0, 60_000, 5_000)] * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda batch: model.predict(rows_of(matrix[batch])), batches))
    for batch, scores in zip(batches, found, strict=True):
        assert scores.tobytes() == expected[batch].tobytes()
