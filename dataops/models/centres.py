"""Centres of a clustering, as canonical JSON: each row belongs to the one that is nearest.

1. A centre has a coordinate for each number, and a share for each code: it lies among rows whose categories are columns
   of zeros and ones, one for each code. No such column is ever made: a code's part of the distance is looked up.
2. Squared distances are summed in float64, column after column: to the bit the same for any batch that a row is in.
3. Of equally near centres the one of the lowest number is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Task
from dataops.errors import Format, Integrity, InvalidInput
from dataops.features.encoder import Encoded
from dataops.models.predictor import CENTRES, Margins, Predictions
from dataops.records import decode_record, encode_record

Floats = npt.NDArray[np.float64]
NEAREST = np.dtype([("cluster", np.int32), ("distance", np.float32), ("next", np.float32)])
"""Of a row: the number of the nearest centre, the distance to it, and that to the nearest of the others."""
Nearest: TypeAlias = npt.NDArray[np.void]

MOST_CENTRES = 1000
_BLOCK_VALUES = 1 << 17  # a block stays in a core's cache while its columns are gone over for each centre
_LEAST_ROWS = 1 << 9
_CERTAIN = 1e-4  # of the distance to the second centre


@dataclass(frozen=True, slots=True, kw_only=True)
class CentresModel:
    """Two centres or more; a row's prediction is the number of the nearest, from 0.

    Parameters
    ----------
    numeric : by centre, a coordinate per numeric column.
    categorical : by centre, per categorical column a share per code, that of code 0 (unknown) first.
    """

    numeric: tuple[tuple[float, ...], ...]
    categorical: tuple[tuple[tuple[float, ...], ...], ...]

    @property
    def format(self) -> str:
        """``clusters-json/1``."""
        return CENTRES

    @property
    def task(self) -> Task:
        """A clustering."""
        return Task.CLUSTERS

    @property
    def clusters(self) -> int:
        """How many centres there are."""
        return len(self.numeric)

    def predict(self, encoded: Encoded) -> Predictions:
        """``(n_rows,)`` float32, the number of the nearest centre; not a number where it is beyond float32's range."""
        return numbers(self.nearest(encoded))

    def margins(self, encoded: Encoded) -> Margins:
        """``(n_rows,)`` float32, the distance to the nearest centre."""
        distances: Margins = self.nearest(encoded)["distance"].copy()
        return distances

    def nearest(self, encoded: Encoded) -> Nearest:
        """`NEAREST` ``(n_rows,)``; distances beyond float32 are infinite."""
        self._require_shape(encoded)
        tables = [code_parts(np.array(column, np.float64)) for column in zip(*self.categorical, strict=True)]
        result = np.empty(encoded.rows, NEAREST)
        n_rows = max(_LEAST_ROWS, _BLOCK_VALUES // max(1, encoded.values.shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):  # what isn't finite is said to be so
            for start in range(0, encoded.rows, n_rows):
                block = slice(start, start + n_rows)
                self._put(encoded.values[block], tables, result[block])
        return result

    def _put(self, values: npt.NDArray[np.float32], tables: Sequence[Floats], result: Nearest) -> None:
        """`result` is that of the rows of `values`."""
        n_numeric = len(self.numeric[0])
        columns = np.ascontiguousarray(values[:, :n_numeric].T, np.float64)
        places = [_places(codes, table) for codes, table in zip(values[:, n_numeric:].T, tables, strict=True)]
        best, second = np.full(len(values), np.inf), np.full(len(values), np.inf)
        cluster = np.zeros(len(values), np.int32)
        for number, squared in enumerate(self._squared(columns, places, tables, len(values))):
            nearer = squared < best
            np.minimum(second, np.where(nearer, best, squared), out=second)
            np.copyto(best, squared, where=nearer)
            cluster[nearer] = number
        result["cluster"], result["distance"], result["next"] = cluster, np.sqrt(best), np.sqrt(second)

    def _squared(
        self, columns: Floats, places: Sequence[npt.NDArray[np.intp]], tables: Sequence[Floats], n_rows: int
    ) -> Iterator[Floats]:
        """The squared distance of each row to one centre after another; each is gone with the next."""
        squared, term = np.empty(n_rows), np.empty(n_rows)
        for number, centre in enumerate(self.numeric):
            squared[:] = 0.0
            for values, coordinate in zip(columns, centre, strict=True):
                np.subtract(values, np.float64(coordinate), out=term)
                np.multiply(term, term, out=term)
                np.add(squared, term, out=squared)
            for codes, table in zip(places, tables, strict=True):
                np.add(squared, np.take(table[number], codes, out=term), out=squared)
            yield squared

    def _require_shape(self, encoded: Encoded) -> None:
        expected = (len(self.numeric[0]), len(self.categorical[0]))
        found = (encoded.n_numeric, encoded.values.shape[1] - encoded.n_numeric)
        if found != expected:
            raise InvalidInput(
                f"the model takes {expected[0]} numeric and {expected[1]} categorical columns, "
                f"the encoder gives {found[0]} and {found[1]}: they don't belong together"
            )

    def to_bytes(self) -> bytes:
        """The model as canonical JSON; floats keep every bit."""
        return encode_record("cluster-centres", 1, {"numeric": self.numeric, "categorical": self.categorical})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The model that `to_bytes` wrote.

        Raises
        ------
        Format : it didn't, or a coordinate isn't a finite number.
        """
        record = decode_record(data, "cluster-centres", 1)
        try:
            numeric = tuple(_coordinates(one) for one in record["numeric"])
            categorical = tuple(tuple(_coordinates(codes) for codes in one) for one in record["categorical"])
            _require_alike(numeric, categorical)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            told = f"{type(error).__name__} while reading its {len(data)} bytes"
            raise Format(f"not the centres of a clustering: {told}") from None
        return cls(numeric=numeric, categorical=categorical)


def load(data: bytes, threads: int) -> CentresModel:  # noqa: ARG001  # distances are summed on the caller's thread
    """The model in `data`."""
    return CentresModel.from_bytes(data)


def numbers(nearest: Nearest) -> Predictions:
    """The clusters of `nearest`, float32 ``(n_rows,)``: not a number where the distance isn't finite."""
    found: Predictions = np.where(np.isfinite(nearest["distance"]), nearest["cluster"], np.nan).astype(np.float32)
    return found


def certain(nearest: Nearest) -> npt.NDArray[np.bool_]:
    """Which rows of `nearest`, bool (n_rows,), lie so much nearer to their centre that no rounding decides."""
    apart: npt.NDArray[np.bool_] = nearest["next"] - nearest["distance"] > _CERTAIN * nearest["next"]
    return apart


def code_parts(shares: Floats) -> Floats:
    """What each code of one column adds to the squared distance to centres, not negative.

    Parameters
    ----------
    shares : float64 (n_centres, n_codes), of each centre its shares of the codes; the result has the same shape.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squares = shares * shares
        parts: Floats = np.maximum(squares.sum(axis=1, keepdims=True) - squares + (1.0 - shares) ** 2, 0.0)
    return parts


def _places(codes: npt.NDArray[np.float32], table: Floats) -> npt.NDArray[np.intp]:
    places = codes.astype(np.intp)
    if len(places) and not 0 <= places.min() <= places.max() < table.shape[1]:
        # no row's fault, so no row is set aside for it
        raise Integrity("a code is beyond the shares of its column: model and encoder don't belong together")
    return places


def _require_alike(
    numeric: tuple[tuple[float, ...], ...], categorical: tuple[tuple[tuple[float, ...], ...], ...]
) -> None:
    """Nothing, if there are two centres or more, and all of one shape."""
    if not 2 <= len(numeric) <= MOST_CENTRES or len(categorical) != len(numeric):
        raise ValueError("centres")
    shapes = {(len(one), *map(len, codes)) for one, codes in zip(numeric, categorical, strict=True)}
    if len(shapes) > 1 or not any(next(iter(shapes))):
        raise ValueError("coordinates")


def _coordinates(values: list[Any]) -> tuple[float, ...]:
    found = tuple(float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool))
    if len(found) != len(values) or not all(map(math.isfinite, found)):
        raise ValueError("coordinates")
    return found
