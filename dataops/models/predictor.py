"""Predictors: a model's bytes as a function from encoded rows to probabilities.

1. A predictor gives one float32 per row, the probability of the positive class, and a row's depends on that row alone.
2. Formats are data, never code: canonical JSON for linear models, XGBoost's UBJ. Each is named with its version.
3. Bytes come here verified (size and digest, `registry`): what still can't be parsed is a Format error.
4. Threads are the caller's choice; one unless told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from dataops.errors import Format, InvalidInput, near_match
from dataops.features.encoder import Encoded
from dataops.records import decode_record, encode_record

Probabilities = npt.NDArray[np.float32]

LINEAR, BOOSTED = "linear-json/1", "xgboost-ubj/1"

_OBJECTIVE = "binary:logistic"
_UBJ_START = b"{L"  # an object whose first key has a 64-bit length; XGBoost aborts the process for no bytes at all
_BLOCK = 1 << 14  # rows: a block's sums stay in a core's cache while columns are added


class Predictor(Protocol):
    """A model, ready to score."""

    @property
    def format(self) -> str:
        """The name of the format that it was read from."""
        ...

    def predict(self, encoded: Encoded) -> Probabilities:
        """``(n_rows,)`` float32, the probability of the positive class."""
        ...

    def margins(self, encoded: Encoded) -> npt.NDArray[np.float32]:
        """``(n_rows,)`` float32, the log odds of the positive class."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel:
    """Logistic model: ``1 / (1 + exp(-(intercept + numeric . x + sum of the weights of the codes)))``.

    Parameters
    ----------
    intercept : added for every row.
    numeric : a weight per numeric column.
    categorical : per categorical column, a weight per code, that of code 0 (unknown) first.
    """

    intercept: float
    numeric: tuple[float, ...]
    categorical: tuple[tuple[float, ...], ...]

    @property
    def format(self) -> str:
        """``linear-json/1``."""
        return LINEAR

    def predict(self, encoded: Encoded) -> Probabilities:
        """``(n_rows,)`` float32, the probability of the positive class.

        Summed in float64, column after column: to the bit the same for any batch that a row is in, as BLAS isn't.
        """
        return self._by_block(encoded, _logistic)

    def margins(self, encoded: Encoded) -> npt.NDArray[np.float32]:
        """``(n_rows,)`` float32, the log odds of the positive class, summed as for `predict`."""
        return self._by_block(encoded, lambda margins: margins)

    def _by_block(
        self, encoded: Encoded, finish: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
    ) -> npt.NDArray[np.float32]:
        _require_shape(encoded, len(self.numeric), len(self.categorical))
        tables = [np.array(weights) for weights in self.categorical]
        result = np.empty(encoded.rows, np.float32)
        for start in range(0, encoded.rows, _BLOCK):
            block = slice(start, start + _BLOCK)
            result[block] = finish(self._margins(encoded.numeric[block], encoded.codes[block], tables))
        return result

    def _margins(
        self, numeric: npt.NDArray[np.float32], codes: npt.NDArray[np.int32], tables: list[npt.NDArray[np.float64]]
    ) -> npt.NDArray[np.float64]:
        margins = np.full(len(numeric), self.intercept)
        for place, weight in enumerate(self.numeric):
            margins += numeric[:, place] * np.float64(weight)
        try:
            for place, table in enumerate(tables):
                margins += table[codes[:, place]]
        except IndexError:
            raise InvalidInput(
                "a code is beyond the weights of its column: model and encoder don't belong together"
            ) from None
        return margins

    def to_bytes(self) -> bytes:
        """The model as canonical JSON; floats keep every bit."""
        body = {"intercept": self.intercept, "numeric": self.numeric, "categorical": self.categorical}
        return encode_record("linear-model", 1, body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The model that `to_bytes` wrote.

        Raises
        ------
        Format : it didn't, or a weight isn't a finite number.
        """
        record = decode_record(data, "linear-model", 1)
        try:
            categorical = tuple(_weights(weights) for weights in record["categorical"])
            (intercept,) = _weights([record["intercept"]])
            return cls(intercept=intercept, numeric=_weights(record["numeric"]), categorical=categorical)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Format(f"not a linear model: {type(error).__name__} while reading its {len(data)} bytes") from None


class BoostedModel:
    """Gradient-boosted trees for two classes, scored by XGBoost over `Encoded.matrix`."""

    __slots__ = ("_booster", "_data", "_threads")

    def __init__(self, booster: Any, data: bytes, threads: int) -> None:
        self._booster, self._data, self._threads = booster, data, threads

    @classmethod
    def from_bytes(cls, data: bytes, threads: int = 1) -> Self:
        """The model in `data`, XGBoost's UBJ.

        Raises
        ------
        Format : XGBoost can't read it, or its objective isn't ``binary:logistic``.
        """
        import xgboost

        unreadable = f"not an XGBoost model in UBJ that this release reads ({len(data)} bytes)"
        if not data.startswith(_UBJ_START):
            raise Format(unreadable)
        try:
            booster = xgboost.Booster({"nthread": threads})
            booster.load_model(bytearray(data))
            objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
        except (xgboost.core.XGBoostError, ValueError, KeyError):
            # the library's message isn't passed on: it quotes bytes of the model
            raise Format(unreadable) from None
        if objective != _OBJECTIVE:
            raise Format(
                f"the XGBoost model has objective {objective!r}; {_OBJECTIVE} gives a probability and is expected"
            )
        return cls(booster, data, threads)

    @property
    def format(self) -> str:
        """``xgboost-ubj/1``."""
        return BOOSTED

    def predict(self, encoded: Encoded) -> Probabilities:
        """``(n_rows,)`` float32, the probability of the positive class."""
        return self._predict(encoded, "value")

    def margins(self, encoded: Encoded) -> npt.NDArray[np.float32]:
        """``(n_rows,)`` float32, the log odds of the positive class."""
        return self._predict(encoded, "margin")

    def _predict(self, encoded: Encoded, kind: str) -> npt.NDArray[np.float32]:
        matrix = encoded.matrix()
        columns = self._booster.num_features()
        if matrix.shape[1] != columns:
            raise InvalidInput(
                f"the model takes {columns} columns, the encoder gives {matrix.shape[1]}: they don't belong together"
            )
        if not len(matrix):
            return np.empty(0, np.float32)
        return np.asarray(self._booster.inplace_predict(matrix, predict_type=kind), np.float32)

    def __reduce__(self) -> tuple[Callable[..., BoostedModel], tuple[bytes, int]]:
        return type(self).from_bytes, (self._data, self._threads)


def load_predictor(format: str, data: bytes, threads: int = 1) -> Predictor:  # noqa: A002 - the manifest's word
    """The predictor in verified `data` of `format`, using `threads` native threads where it uses any.

    Raises
    ------
    Format : no loader for the format, or not what the format says.
    """
    loaders: Mapping[str, Callable[[], Predictor]] = {
        LINEAR: lambda: LinearModel.from_bytes(data),
        BOOSTED: lambda: BoostedModel.from_bytes(data, threads),
    }
    if format not in loaders:
        raise Format(f"no loader for models of format {format!r}.{near_match(format, loaders)}")
    return loaders[format]()


def _require_shape(encoded: Encoded, numeric: int, categorical: int) -> None:
    found = (encoded.numeric.shape[1], encoded.codes.shape[1])
    if found != (numeric, categorical):
        raise InvalidInput(
            f"the model takes {numeric} numeric and {categorical} categorical columns, "
            f"the encoder gives {found[0]} and {found[1]}: they don't belong together"
        )


def _logistic(margins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(over="ignore"):  # exp overflows to infinity, and 1 / infinity is the right answer
        probabilities: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-margins))
        return probabilities


def _weights(values: list[Any]) -> tuple[float, ...]:
    weights = tuple(float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool))
    if len(weights) != len(values) or not all(map(math.isfinite, weights)):
        raise ValueError("weights")
    return weights
