"""Gradient-boosted trees of XGBoost, as UBJ, scored in place by XGBoost or, where chosen, by oneDAL.

1. Rows that the trees can't tell apart are scored once (`cell_scores`).
2. Nothing that XGBoost says of bytes it can't read is passed on: it quotes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Task
from dataops.errors import Format
from dataops.features.encoder import Encoded
from dataops.models.cell_scores import CellScores
from dataops.models.grid import Grid, find_grid
from dataops.models.native import failed, load_native
from dataops.models.predictor import BOOSTED, Margins, Predictions, require_columns
from dataops.models.ubj import require_sound


class _Booster(Protocol):
    """XGBoost, asked for scores: by its library alone (`native`), or by its package where that isn't found."""

    @property
    def columns(self) -> int: ...

    @property
    def rounds(self) -> int: ...

    def of_rows(self, matrix: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.float32]: ...

    def to_json(self) -> bytes: ...


class BoostedModel:
    """Gradient-boosted trees for two classes or a number, scored by XGBoost over `Encoded.values`."""

    __slots__ = ("_booster", "_cells", "_data", "_grid", "_task", "_threads", "_thresholds")

    def __init__(self, booster: _Booster, data: bytes, threads: int, task: Task) -> None:
        self._booster, self._data, self._threads, self._task = booster, data, threads, task
        found = thresholds_of(booster.to_json())
        self._thresholds = found or {}
        self._grid = grid = None if found is None else find_grid(found, trees=booster.rounds)
        self._cells = {} if grid is None else {kind: CellScores(grid) for kind in ("value", "margin")}

    @classmethod
    def from_bytes(cls, data: bytes, threads: int = 1) -> BoostedModel:
        """The model in `data`, XGBoost's UBJ.

        Raises
        ------
        Format : XGBoost can't read it, or its objective isn't one of `ubj.OBJECTIVES`.
        """
        native = load_native(data, threads)
        if native is not None:
            return cls(native, data, threads, native.task)
        task = require_sound(data)
        return cls(_Packaged(load_booster(data, threads)), data, threads, task)

    @property
    def format(self) -> str:
        """``xgboost-ubj/1``."""
        return BOOSTED

    @property
    def task(self) -> Task:
        """By its objective."""
        return self._task

    @property
    def booster(self) -> Any:
        """The model as XGBoost's package has it, read anew."""
        return load_booster(self._data, self._threads)

    @property
    def columns(self) -> int:
        """How many columns it takes."""
        return self._booster.columns

    @property
    def thresholds(self) -> Mapping[int, Sequence[float]]:
        """What its trees compare each column with, by the column's place; empty where they ask otherwise."""
        return self._thresholds

    @property
    def grid(self) -> Grid | None:
        """The grid of the cells of the model's trees; None where it is of no use."""
        return self._grid

    def predict(self, encoded: Encoded) -> Predictions:
        """``(n_rows,)`` float32, the probability of the positive class, or the number that is predicted."""
        return self._scores(encoded, "value")

    def margins(self, encoded: Encoded) -> Margins:
        """``(n_rows,)`` float32, the sum of the trees: log odds, of a regression before its link."""
        return self._scores(encoded, "margin")

    def _scores(self, encoded: Encoded, kind: str) -> npt.NDArray[np.float32]:
        matrix = require_columns(encoded, self.columns)
        if not len(matrix):
            return np.empty(0, np.float32)
        cells = self._cells.get(kind)
        if cells is None:
            return self.of_rows(matrix, kind)
        return cells.predict(matrix, lambda rows: self.of_rows(rows, kind))

    def of_rows(self, matrix: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.float32]:
        """The scores of all rows of `matrix` by XGBoost: `kind` is ``value`` or ``margin``."""
        return self._booster.of_rows(matrix, kind)

    def __reduce__(self) -> tuple[Callable[..., BoostedModel], tuple[bytes, int]]:
        return type(self).from_bytes, (self._data, self._threads)


class _Packaged:
    """XGBoost by its package."""

    __slots__ = ("_booster",)

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    @property
    def columns(self) -> int:
        return int(self._booster.num_features())

    @property
    def rounds(self) -> int:
        return int(self._booster.num_boosted_rounds())

    def of_rows(self, matrix: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.float32]:
        from xgboost.core import XGBoostError

        try:
            # the rows are finite, and of as many columns as the model asks for: it need not look
            found = self._booster.inplace_predict(matrix, predict_type=kind, validate_features=False)
        except XGBoostError as error:
            # as `native` says it: a model that fails is no fault of its rows, which would be tried one by one
            raise failed("XGBoosterPredictFromDense", str(error)) from None
        return np.asarray(found, np.float32)

    def to_json(self) -> bytes:
        return bytes(self._booster.save_raw("json"))


def load_booster(data: bytes, threads: int) -> Any:
    """The model in `data`, which is sound, as XGBoost's package has it.

    Raises
    ------
    Format : XGBoost can't read it.
    """
    import xgboost

    try:
        booster = xgboost.Booster({"nthread": threads})
        booster.load_model(bytearray(data))
    except xgboost.core.XGBoostError:
        # the library's message isn't passed on: it quotes bytes of the model
        raise Format(f"not an XGBoost model in UBJ that this release reads ({len(data)} bytes)") from None
    return booster


def load(data: bytes, threads: int) -> BoostedModel:
    """The model in `data`."""
    return BoostedModel.from_bytes(data, threads)


def thresholds_of(model: bytes) -> dict[int, list[float]] | None:
    """What the trees of XGBoost's JSON compare each column with; None for splits by sets of categories."""
    found: dict[int, list[float]] = {}
    for tree in json.loads(model)["learner"]["gradient_booster"]["model"]["trees"]:
        if any(tree["split_type"]):
            return None
        for left, place, value in zip(
            tree["left_children"], tree["split_indices"], tree["split_conditions"], strict=True
        ):
            if left >= 0:
                found.setdefault(place, []).append(value)
    return found
