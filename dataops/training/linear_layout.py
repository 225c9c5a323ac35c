"""Where the coefficients of a linear model lie, and the coordinates in which they are searched for.

1. The flat vector: intercept, numeric columns, then each category's codes, code 0 (unknown) included.
2. The search goes in coordinates in which a feature is taken less its mean, over a scale: unscaled columns and rare
   categories don't slow it down, and a tolerance has no unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dataops.features.encoder import Encoder
from dataops.models.linear import LinearModel

Vector = np.ndarray[Any, np.dtype[np.float64]]
Square = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where each coefficient lies in the flat vector."""

    n_numeric: int
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, encoder: Encoder) -> Layout:
        """The layout for what `encoder` makes."""
        return cls(n_numeric=len(encoder.numeric), sizes=encoder.code_counts())

    @property
    def length(self) -> int:
        """The number of coefficients."""
        return 1 + self.n_numeric + sum(self.sizes)

    @property
    def n_columns(self) -> int:
        """The number of encoded columns."""
        return self.n_numeric + len(self.sizes)

    @property
    def numeric(self) -> slice:
        """Where the numeric columns' coefficients are."""
        return slice(1, 1 + self.n_numeric)

    @property
    def first(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Where each category's coefficients begin, int64 (n_categorical,)."""
        ends = 1 + self.n_numeric + np.cumsum(self.sizes, dtype=np.int64)
        return ends - np.array(self.sizes, np.int64)

    @property
    def categorical(self) -> tuple[slice, ...]:
        """Where each category's coefficients are, by code."""
        return tuple(slice(int(at), int(at) + size) for at, size in zip(self.first, self.sizes, strict=True))

    def model(self, coefficients: Vector) -> LinearModel:
        """The coefficients as a model."""
        return LinearModel(
            intercept=float(coefficients[0]),
            numeric=tuple(coefficients[self.numeric].tolist()),
            categorical=tuple(tuple(coefficients[codes].tolist()) for codes in self.categorical),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coordinates:
    """The coordinates of a search: ``coefficient = coordinate * scale``, features less their mean.

    Attributes
    ----------
    mean, scale : by coefficient; the intercept's mean is 0.
    """

    mean: Vector
    scale: Vector

    def coefficients(self, point: Vector) -> Vector:
        """The coefficients at a point of the search."""
        coefficients = point * self.scale
        coefficients[0] -= np.dot(coefficients[1:], self.mean[1:])
        return coefficients

    def gradient(self, by_coefficient: Vector) -> Vector:
        """The gradient by coordinate, of that by coefficient."""
        gradient: Vector = (by_coefficient - self.mean * by_coefficient[0]) * self.scale
        return gradient
