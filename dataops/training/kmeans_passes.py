"""Passes of k-means over its rows: what workers add up, and what the driver makes of it.

1. Values are taken on a grid, by column as fine as whole numbers of 64 bits allow for the sum of all rows. Sums of
   whole numbers are exact: the same to the bit for any number of workers, any order and any cut of the rows.
2. Squared distances are added up without rounding, too.
3. Tasks are planned once for all passes. A worker that is lost meanwhile costs its parts' recomputation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce

import numpy as np
import numpy.typing as npt

from dataops.features.exactsum import exact_moments
from dataops.models.centres import CentresModel, code_parts
from dataops.training.linear_layout import Layout
from dataops.training.parts import EncodedPart, Group, PartsOnCluster, map_groups

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SUM_BITS = 61  # of a sum of all rows, and one to spare for what rounding adds
_FINEST = 512  # the exponent of grid steps; finer ones tell nothing apart
_NO_WEIGHTS = np.empty(0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Centres:
    """Centres of a fit.

    Attributes
    ----------
    numeric : float64 (n_numeric, n_centres), coordinates.
    shares : float64 (n_codes, n_centres), shares of codes, column after column.
    """

    numeric: Floats
    shares: Floats

    def tables(self, layout: Layout) -> Floats:
        """``(n_codes, n_centres)``: what a code adds to the squared distance."""
        parts = [code_parts(self.shares[codes].T).T for codes in codes_of(layout)]
        return np.ascontiguousarray(np.concatenate([np.zeros((0, self.shares.shape[1])), *parts]))

    def moved(self, other: Centres) -> float:
        """The sum of the squared distances of each centre to that of `other`."""
        apart = (self.numeric - other.numeric, self.shares - other.shares)
        return math.fsum(value for one in apart for value in (one * one).ravel().tolist())

    def model(self, layout: Layout) -> CentresModel:
        """The centres as a model."""
        return CentresModel(
            numeric=tuple(map(tuple, self.numeric.T.tolist())),
            categorical=tuple(
                tuple(tuple(centre[codes].tolist()) for codes in codes_of(layout)) for centre in self.shares.T
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """How values become whole numbers: grid steps of a value of 1, powers of two.

    Attributes
    ----------
    units : by numeric column, float64 (n_numeric,).
    weight_unit : of weights.
    nothing : a squared distance up to which a row lies at a centre, as far as sums on this grid can tell.
    """

    units: Floats
    weight_unit: float
    nothing: float

    @classmethod
    def of(cls, bounds: Floats, weight: float) -> Grid:
        """The grid of rows of that weight in all, above 0, whose values are `bounds` at most by numeric column."""
        units = np.array([_unit(bound * weight) for bound in bounds.tolist()])
        near = (1.0 / units + np.ldexp(bounds, -48)) ** 2
        return cls(units=units, weight_unit=_unit(weight), nothing=float(near.sum()) + 2.0**-80)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adding:
    """What workers need to know to add up."""

    layout: Layout
    grid: Grid
    centres: Centres


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """What some rows add up to, by their nearest centre.

    Attributes
    ----------
    rows : int64 (n_centres,), those of weight above 0.
    total, numeric, codes : int64 (n_centres,), (n_numeric, n_centres) and (n_codes, n_centres), in steps of the grid.
    squared : squared distances times weights.
    """

    rows: Ints
    total: Ints
    numeric: Ints
    codes: Ints
    squared: Fraction

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            rows=self.rows + other.rows,
            total=self.total + other.total,
            numeric=self.numeric + other.numeric,
            codes=self.codes + other.codes,
            squared=self.squared + other.squared,
        )

    def means(self, grid: Grid, before: Centres) -> Centres:
        """The mean of the rows of each centre; of none: the centre as it was."""
        empty = self.total == 0
        total = np.where(empty, 1, self.total).astype(np.float64)
        numeric = (self.numeric / grid.units[:, None]) / (total / grid.weight_unit)
        return Centres(
            numeric=np.where(empty, before.numeric, numeric), shares=np.where(empty, before.shares, self.codes / total)
        )

    def loss(self, grid: Grid) -> float:
        """The mean squared distance."""
        return float(self.squared * Fraction(grid.weight_unit) / int(self.total.sum()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Far:
    """Rows that lie far from their centres.

    Attributes
    ----------
    values : float32 (n_rows, n_columns), as they are encoded.
    squared : float64 (n_rows,), the squared distances.
    """

    values: npt.NDArray[np.float32]
    squared: Floats

    def most(self, n_rows: int) -> Far:
        """The farthest, all different; of equally far ones those whose values come first."""
        values, places = np.unique(self.values, axis=0, return_index=True)
        order = np.argsort(-self.squared[places], kind="stable")[:n_rows]
        return Far(values=values[order], squared=self.squared[places[order]])


def add_up(parts: PartsOnCluster, groups: Sequence[Group], adding: Adding) -> Sums:
    """What all rows add up to; `groups` are those of `parts`.

    Raises
    ------
    Compute : a task failed.
    """
    return reduce(Sums.__add__, map_groups(parts, groups, _add_parts, adding))


def farthest(parts: PartsOnCluster, groups: Sequence[Group], adding: Adding, n_rows: int) -> Far:
    """The `n_rows` rows that lie farthest from their centres, all different; fewer, where others lie at a centre.

    Raises
    ------
    Compute : a task failed.
    """
    return _together(map_groups(parts, groups, _far_parts, (adding, n_rows)), n_rows)


def codes_of(layout: Layout) -> list[slice]:
    """Where each column's codes lie among all codes."""
    begin = 1 + layout.n_numeric
    return [slice(codes.start - begin, codes.stop - begin) for codes in layout.categorical]


def points(values: npt.NDArray[np.float32], layout: Layout) -> Centres:
    """Rows, as they are encoded, as centres."""
    shares = np.zeros((sum(layout.sizes), len(values)))
    for codes, column in zip(codes_of(layout), values[:, layout.n_numeric :].T, strict=True):
        shares[codes.start + column.astype(np.intp), np.arange(len(values))] = 1.0
    return Centres(numeric=values[:, : layout.n_numeric].T.astype(np.float64), shares=shares)


def _unit(bound: float) -> float:
    """The finest power of two of which as many as `bound` comes to fit a sum."""
    return math.ldexp(1.0, min(_SUM_BITS - math.frexp(bound)[1], _FINEST)) if bound else 1.0


def _add_parts(parts: Iterable[EncodedPart], adding: Adding) -> Sums:
    return reduce(Sums.__add__, (_add_part(part, adding) for part in parts))


def _far_parts(parts: Iterable[EncodedPart], argument: tuple[Adding, int]) -> Far:
    adding, n_rows = argument
    return _together([_far_part(part, adding, n_rows) for part in parts], n_rows)


def _together(many: Sequence[Far], n_rows: int) -> Far:
    values, squared = np.concatenate([one.values for one in many]), np.concatenate([one.squared for one in many])
    return Far(values=values, squared=squared).most(n_rows)


def _add_part(part: EncodedPart, adding: Adding) -> Sums:
    from dataops.training import kmeans_kernels as kernels

    layout, grid, n_centres = adding.layout, adding.grid, adding.centres.numeric.shape[1]
    nearest, squared = _nearest(part, adding)
    numeric, codes, total = (
        np.zeros((layout.n_numeric, n_centres), np.int64),
        np.zeros((sum(layout.sizes), n_centres), np.int64),
        np.zeros(n_centres, np.int64),
    )
    weights = _NO_WEIGHTS if part.weight is None else part.weight.astype(np.float64)
    values, first = np.ascontiguousarray(part.encoded.values), _first(layout)
    kernels.add_rows(values, first, nearest, weights, grid.units, grid.weight_unit, numeric, codes, total)
    counted = nearest if part.weight is None else nearest[weights > 0]
    return Sums(
        rows=np.bincount(counted, minlength=n_centres),
        total=total,
        numeric=numeric,
        codes=codes,
        squared=exact_moments(squared if part.weight is None else squared * weights)[0],
    )


def _far_part(part: EncodedPart, adding: Adding, n_rows: int) -> Far:
    _, squared = _nearest(part, adding)
    far = squared > adding.grid.nothing
    if part.weight is not None:
        far &= part.weight > 0
    far &= squared >= _edge(squared[far], n_rows)
    return Far(values=part.encoded.values[far], squared=squared[far]).most(n_rows)


def _edge(squared: Floats, n_rows: int) -> float:
    """The least of the `n_rows` largest different distances: so many different rows lie as far or farther, ties among
    them. Comparing rows value by value costs far more than distances, so it is done for those alone.
    """
    largest = np.unique(squared)[-n_rows:]
    return float(largest[0]) if len(largest) else 0.0


def _nearest(part: EncodedPart, adding: Adding) -> tuple[npt.NDArray[np.int32], Floats]:
    """The number of each row's nearest centre, and the squared distance to it."""
    from dataops.training import kmeans_kernels as kernels

    layout, nearest, squared = adding.layout, np.empty(part.rows, np.int32), np.empty(part.rows)
    values, numeric = np.ascontiguousarray(part.encoded.values), np.ascontiguousarray(adding.centres.numeric)
    kernels.put_nearest(values, _first(layout), numeric, adding.centres.tables(layout), nearest, squared)
    return nearest, squared


def _first(layout: Layout) -> Ints:
    first: Ints = layout.first - (1 + layout.n_numeric)
    return first
