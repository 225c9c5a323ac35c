"""Calibration: what makes of a model's log odds those that rows held out bear out, as a line or a rising curve.

1. It maps the log odds that the model gives to others, and rises: rows keep the order of their scores. Where it rises
   slowly float32 may round scores that differ to one; beyond a curve's outer knots, which fits put where probabilities
   are 0 and 1 to float32, all rows are one.
2. Whoever scores by a version scores through it: `calibrated` is a predictor like any other.
3. It is JSON in a file of the version's own. Releases that don't know it refuse the version, and never score without.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Task
from dataops.errors import Format
from dataops.features.encoder import Encoded
from dataops.models.linear import logistic
from dataops.models.predictor import Margins, Predictions, Predictor
from dataops.records import Record

Floats: TypeAlias = npt.NDArray[np.float64]
Method: TypeAlias = Literal["sigmoid", "isotonic"]

MOST_KNOTS = 1_000
"""More than any fit gives: a file of more isn't one of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A rising function of log odds.

    Attributes
    ----------
    method : ``sigmoid``, ``slope * m + intercept``; or ``isotonic``, straight between the knots, flat beyond the outer.
    slope, intercept : of the line, the slope above 0; 1 and 0 where it is a curve.
    given, made : of each knot the log odds of the model, and those that become of them, rising both; () of a line.
    """

    method: Method
    slope: float = 1.0
    intercept: float = 0.0
    given: tuple[float, ...] = ()
    made: tuple[float, ...] = ()

    def of(self, margins: npt.NDArray[np.floating[Any]]) -> Floats:
        """The log odds that become of `margins`, float64 ``(n_rows,)``."""
        known = np.asarray(margins, np.float64)
        if self.method == "sigmoid":
            line: Floats = known * self.slope + self.intercept
            return line
        curve: Floats = np.interp(known, self.given, self.made)
        return curve

    def record(self) -> Record:
        """The calibration as JSON; floats keep every bit."""
        if self.method == "sigmoid":
            return {"method": self.method, "slope": self.slope, "intercept": self.intercept}
        return {"method": self.method, "given": list(self.given), "made": list(self.made)}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The calibration that `record()` wrote.

        Raises
        ------
        Format : it didn't; a number isn't finite, or the function doesn't rise.
        """
        try:
            return cls(**_read(record))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Format(f"not a calibration: {type(error).__name__} while reading it") from None


def _read(record: Record) -> dict[str, Any]:
    """What `record` says; ValueError where it is none."""
    method = record["method"]
    if method == "sigmoid":
        slope, intercept = _numbers([record["slope"], record["intercept"]])
        if slope > 0:
            return {"method": method, "slope": slope, "intercept": intercept}
    if method == "isotonic":
        given, made = _rising(record["given"]), _rising(record["made"])
        if 2 <= len(given) == len(made) <= MOST_KNOTS:
            return {"method": method, "given": given, "made": made}
    raise ValueError("method, slope or knots")


def _numbers(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise ValueError("numbers")
    numbers = tuple(float(value) for value in values)
    if not all(map(math.isfinite, numbers)):
        raise ValueError("numbers")
    return numbers


def _rising(values: Any) -> tuple[float, ...]:
    numbers = _numbers(values)
    if any(one >= other for one, other in pairwise(numbers)):
        raise ValueError("order")
    return numbers


@dataclass(frozen=True, slots=True)
class CalibratedModel:
    """A classifier whose log odds go through a calibration."""

    model: Predictor
    calibration: Calibration

    @property
    def format(self) -> str:
        """That of the model."""
        return self.model.format

    @property
    def task(self) -> Task:
        """``binary``."""
        return self.model.task

    def predict(self, encoded: Encoded) -> Predictions:
        """``(n_rows,)`` float32, the calibrated probability of the positive class."""
        return logistic(self.calibration.of(self.model.margins(encoded))).astype(np.float32)

    def margins(self, encoded: Encoded) -> Margins:
        """``(n_rows,)`` float32, the calibrated log odds."""
        return self.calibration.of(self.model.margins(encoded)).astype(np.float32)


def calibrated(model: Predictor, calibration: Calibration | None) -> Predictor:
    """`model` through `calibration`; itself, without one.

    Raises
    ------
    Format : it gives no probabilities.
    """
    if calibration is None:
        return model
    if model.task is not Task.BINARY:
        raise Format(f"a model of task {model.task} has a calibration, which only probabilities have")
    return CalibratedModel(model, calibration)
