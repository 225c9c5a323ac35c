"""Mean and spread of encoded columns, found where the rows lie, and taken off again in front of a model.

1. Each part is added up by itself and parts are merged in unit order: nothing depends on workers.
2. A column that is constant, but for rounding, keeps its size: it is divided by 1.
3. What a model carries of it is a `StandardScaler` of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from dataops.training.parts import EncodedPart, PartsOnCluster, map_parts

Vector = np.ndarray[Any, np.dtype[np.float64]]
Matrix = np.ndarray[Any, np.dtype[np.floating[Any]]]

BLOCK_ROWS = 8192
_CONSTANT = 1e-14  # of the mean square: less variance is rounding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spread:
    """What some rows add up to.

    Attributes
    ----------
    rows : how many there are.
    mean, squares : by column, float64 (n_columns,): the mean, and the sum of squared distances to it.
    """

    rows: int
    mean: Vector
    squares: Vector

    def __add__(self, other: Self) -> Spread:
        # Chan, Golub, LeVeque 1979
        rows = self.rows + other.rows
        if not self.rows or not other.rows:
            return self if self.rows else other
        apart = other.mean - self.mean
        return Spread(
            rows=rows,
            mean=self.mean + apart * (other.rows / rows),
            squares=self.squares + other.squares + apart**2 * (self.rows * other.rows / rows),
        )

    @property
    def scale(self) -> Vector:
        """The standard deviation of each column, 1 where it is constant."""
        variance = self.squares / max(self.rows, 1)
        constant = variance <= _CONSTANT * (variance + self.mean**2)
        scale: Vector = np.sqrt(np.where(constant, 1.0, variance))
        return scale

    def scaler(self) -> Any:
        """The `StandardScaler`."""
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        scaler.mean_, scaler.scale_, scaler.var_ = self.mean, self.scale, self.squares / max(self.rows, 1)
        scaler.n_samples_seen_, scaler.n_features_in_ = self.rows, len(self.mean)
        return scaler


def spread_of(values: Matrix) -> Spread:
    """What rows `values`, (n_rows, n_columns), add up to."""
    return _sum(_block_spread(values[start : start + BLOCK_ROWS]) for start in range(0, len(values), BLOCK_ROWS))


def spread_of_parts(parts: PartsOnCluster) -> Spread:
    """What all rows of `parts` add up to; there is one row at least."""
    return _sum(map_parts(parts, _part_spread))


def scale_rows(values: Matrix, spread: Spread) -> None:
    """Take mean and deviation off `values` where they stand."""
    for start in range(0, len(values), BLOCK_ROWS):
        block = values[start : start + BLOCK_ROWS]
        np.subtract(block, spread.mean, out=block, casting="same_kind")
        np.divide(block, spread.scale, out=block, casting="same_kind")


def _part_spread(part: EncodedPart, _argument: object = None) -> Spread:
    return spread_of(part.encoded.values)


def _block_spread(values: Matrix) -> Spread:
    rows = values.astype(np.float64)
    mean = rows.mean(axis=0)
    rows -= mean
    return Spread(rows=len(rows), mean=mean, squares=np.einsum("ij,ij->j", rows, rows))


def _sum(many: Iterable[Spread]) -> Spread:
    found = Spread(rows=0, mean=np.zeros(0), squares=np.zeros(0))
    for one in many:
        found = found + one
    return found
