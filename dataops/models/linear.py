"""Linear models: a weight per number, a weight per code, as canonical JSON.

1. Sums are made in float64, column after column: to the bit the same for any batch that a row is in, as BLAS isn't.
2. A code's weight is looked up; no one-hot column is ever made.
3. Version 1 of the format is logistic; version 2 is a regression, and says its link.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Task
from dataops.errors import Format, Integrity, InvalidInput
from dataops.features.encoder import Encoded
from dataops.models.predictor import LINEAR, LINKED, Margins, Predictions
from dataops.records import decode_record, encode_record

Floats = npt.NDArray[np.float64]
Link: TypeAlias = Literal["logit", "identity", "log"]
"""What makes a sum of a prediction: of a probability, of a number, of a positive number."""

_BLOCK_VALUES = 1 << 18  # a block stays in a core's cache while its columns are added: a megabyte of float32
_LEAST_ROWS = 1 << 10  # fewer cost more calls than they save


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel:
    """Linear model of ``m = intercept + numeric . x + sum of the weights of the codes``.

    It predicts ``1 / (1 + exp(-m))``, ``m`` itself or ``exp(m)``, by its link.

    Parameters
    ----------
    intercept : added for every row.
    numeric : a weight per numeric column.
    categorical : per categorical column, a weight per code, that of code 0 (unknown) first.
    """

    intercept: float
    numeric: tuple[float, ...]
    categorical: tuple[tuple[float, ...], ...]
    link: Link = "logit"

    @property
    def format(self) -> str:
        """``linear-json/1`` where it is logistic, else ``linear-json/2``."""
        return LINEAR if self.link == "logit" else LINKED

    @property
    def task(self) -> Task:
        """By the link."""
        return Task.BINARY if self.link == "logit" else Task.REGRESSION

    def predict(self, encoded: Encoded) -> Predictions:
        """``(n_rows,)`` float32, the probability of the positive class, or the number that is predicted.

        Infinite where an ``exp`` is beyond float32.
        """
        return self._by_block(encoded, _FINISH[self.link])

    def margins(self, encoded: Encoded) -> Margins:
        """``(n_rows,)`` float32, ``m``: log odds, where it is logistic; summed as for `predict`."""
        return self._by_block(encoded, _same)

    def _by_block(self, encoded: Encoded, finish: Callable[[Floats], Floats]) -> npt.NDArray[np.float32]:
        _require_shape(encoded, len(self.numeric), len(self.categorical))
        tables = [np.array(weights) for weights in self.categorical]
        result = np.empty(encoded.rows, np.float32)
        n_rows = max(_LEAST_ROWS, _BLOCK_VALUES // max(1, encoded.values.shape[1]))
        for start in range(0, encoded.rows, n_rows):
            block = slice(start, start + n_rows)
            # a row's values lie side by side: turned over, each column is read at one go
            with np.errstate(over="ignore"):  # to float32
                result[block] = finish(self._margins(np.ascontiguousarray(encoded.values[block].T), tables))
        return result

    def _margins(self, columns: npt.NDArray[np.float32], tables: list[Floats]) -> Floats:
        margins = np.full(columns.shape[1], self.intercept)
        term = np.empty_like(margins)
        for values, weight in zip(columns, self.numeric, strict=False):
            margins += np.multiply(values, np.float64(weight), out=term)
        for codes, table in zip(columns[len(self.numeric) :], tables, strict=True):
            places = codes.astype(np.intp)
            if len(places) and not 0 <= places.min() <= places.max() < len(table):
                # no row's fault, so no row is set aside for it
                raise Integrity("a code is beyond the weights of its column: model and encoder don't belong together")
            margins += np.take(table, places, out=term)
        return margins

    def to_bytes(self) -> bytes:
        """The model as canonical JSON; floats keep every bit."""
        body = {"intercept": self.intercept, "numeric": self.numeric, "categorical": self.categorical}
        if self.link == "logit":
            return encode_record("linear-model", 1, body)
        return encode_record("linear-model", 2, {**body, "link": self.link})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The model that `to_bytes` wrote.

        Raises
        ------
        Format : it didn't, or a weight isn't a finite number.
        """
        version = 2 if b'"format":"dataops/linear-model/2"' in data else 1
        record = decode_record(data, "linear-model", version)
        try:
            link = _link(record["link"]) if version > 1 else "logit"
            categorical = tuple(_weights(weights) for weights in record["categorical"])
            (intercept,) = _weights([record["intercept"]])
            return cls(intercept=intercept, numeric=_weights(record["numeric"]), categorical=categorical, link=link)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Format(f"not a linear model: {type(error).__name__} while reading its {len(data)} bytes") from None


def load(data: bytes, threads: int) -> LinearModel:  # noqa: ARG001  # sums are made on the caller's thread
    """The model in `data`."""
    return LinearModel.from_bytes(data)


def logistic(margins: Floats) -> Floats:
    """Probabilities of log odds."""
    with np.errstate(over="ignore"):  # exp overflows to infinity, and 1 / infinity is the right answer
        probabilities: Floats = 1.0 / (1.0 + np.exp(-margins))
        return probabilities


def _exponential(margins: Floats) -> Floats:
    with np.errstate(over="ignore"):
        numbers: Floats = np.exp(margins)
        return numbers


def _same(margins: Floats) -> Floats:
    return margins


_FINISH: Mapping[Link, Callable[[Floats], Floats]] = {"logit": logistic, "identity": _same, "log": _exponential}


def _link(value: Any) -> Link:
    if value not in ("identity", "log"):  # a logistic model has version 1
        raise ValueError("link")
    return "identity" if value == "identity" else "log"


def _require_shape(encoded: Encoded, numeric: int, categorical: int) -> None:
    found = (encoded.n_numeric, encoded.values.shape[1] - encoded.n_numeric)
    if found != (numeric, categorical):
        raise InvalidInput(
            f"the model takes {numeric} numeric and {categorical} categorical columns, "
            f"the encoder gives {found[0]} and {found[1]}: they don't belong together"
        )


def _weights(values: list[Any]) -> tuple[float, ...]:
    weights = tuple(float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool))
    if len(weights) != len(values) or not all(map(math.isfinite, weights)):
        raise ValueError("weights")
    return weights
