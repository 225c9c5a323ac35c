"""Passes of a linear model over its rows: what workers add up, and what the driver makes of it.

1. No sum depends on how many workers there are, on where a part lies or on the order of units, to the bit. What a unit
   adds up to is rounded to a grid of powers of two, so coarse that float64 adds its multiples without rounding, and
   about as fine as float64 is for sums of that size; losses and weights of units are added exactly.
2. So units that lie together come home as one sum: a pass costs the driver a few vectors, however many units there are.
3. Tasks are planned once for all passes. A worker that is lost meanwhile costs its parts' recomputation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from dataops.models.linear import Link
from dataops.training.linear_layout import Layout, Square, Vector
from dataops.training.linear_regressions import LOSSES, beyond
from dataops.training.parts import EncodedPart, Group, PartsOnCluster, map_groups, plan_groups

BLOCK_ROWS = 4096  # temporaries of 32 kB stay in a core's cache
_EXACT_BITS = 52  # of a sum of multiples of a grid that float64 holds without rounding, and one to spare
_LEAST_GRID = -500  # powers of two; finer ones would leave the range of float64 when two of them are multiplied


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adding:
    """What workers need to know to add up, but for coefficients.

    Attributes
    ----------
    loss : its name.
    first : int64 (n_categorical,), where the coefficients of a column's codes begin.
    factors : what the weight of a row of target 0 and of target 1 is multiplied by.
    grid : the grid of sums, by coefficient.
    mean, scale : float64 (n_numeric,), by which numbers enter products.
    product_grid : by coefficient; the grid of a product is that of one times that of the other.
    centre, target_scale : targets are taken less the one, over the other.
    """

    loss: str
    first: np.ndarray[tuple[int], np.dtype[np.int64]]
    factors: tuple[float, float]
    grid: Vector
    mean: Vector
    scale: Vector
    product_grid: Vector
    centre: float = 0.0
    target_scale: float = 1.0

    @property
    def length(self) -> int:
        """The number of coefficients."""
        return len(self.grid)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """What one task adds up to.

    Attributes
    ----------
    losses, weights : by unit.
    gradient : by coefficient.
    products : lower triangle of the curvature, by coordinate of `Adding.mean` and `Adding.scale`; None: not asked for.
    """

    losses: list[float]
    weights: list[float]
    gradient: Vector
    products: Square | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """What all rows add up to, per unit of their weight.

    Attributes
    ----------
    loss : mean loss.
    gradient : by coefficient.
    curvature : by coordinate, symmetric; None unless asked for.
    """

    loss: float
    weight: float
    gradient: Vector
    curvature: Square | None


def grid_of(bounds: Vector) -> Vector:
    """The finest powers of two of which sums that stay within `bounds` are exact multiples in float64."""
    exponents = np.frexp(np.maximum(bounds, np.finfo(np.float64).tiny))[1]
    grid: Vector = np.ldexp(1.0, np.maximum(exponents - _EXACT_BITS, _LEAST_GRID))
    return grid


def product_grid_of(bounds: Vector, weight: float, largest_curvature: float) -> Vector:
    """Of each two of these the product is a grid for a product of features within `bounds`."""
    return grid_of(bounds) * 2.0 ** math.ceil((math.frexp(weight * largest_curvature)[1] + _EXACT_BITS) / 2)


@dataclass(slots=True, kw_only=True)
class Passes:
    """Passes over parts on a cluster; `count` tells how many there were."""

    parts: PartsOnCluster
    adding: Adding
    layout: Layout
    groups: list[Group] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.groups = plan_groups(self.parts)

    def over(self, coefficients: Vector, *, curved: bool = False) -> Pass:
        """One pass.

        Raises
        ------
        Compute : a task failed with an error that isn't ours.
        """
        self.count += 1
        return merge_sums(map_groups(self.parts, self.groups, sum_up, (self.adding, coefficients, curved)), self.layout)


def sum_up(group: Iterable[EncodedPart], argument: tuple[Adding, Vector, bool]) -> Sums:
    """What the parts of `group` add up to at the given coefficients; with products where the last says so."""
    from dataops.training import linear_kernels as kernels

    adding, coefficients, curved = argument
    total, unit = np.zeros(adding.length), np.zeros(adding.length)
    products, of_unit = (np.zeros((adding.length, adding.length)) if curved else None for _ in range(2))
    sums = Sums(losses=[], weights=[], gradient=total, products=products)
    for part in group:
        losses, weights = [0.0], [0.0]
        for values, target, weight in blocks_of(part, adding.factors):
            margins = np.empty(len(values))
            kernels.put_margins(values, adding.first, coefficients, margins)
            lost, slope, curvature = LOSSES[adding.loss].at(margins, (target - adding.centre) / adding.target_scale)
            losses.append(float((weight * lost).sum()))
            weights.append(float(weight.sum()))
            kernels.add_sums(values, adding.first, weight * slope, unit)
            if of_unit is not None:
                kernels.add_products(values, adding.first, weight * curvature, adding.mean, adding.scale, of_unit)
        kernels.add_rounded(unit, adding.grid, total)
        if products is not None:
            kernels.add_rounded_products(of_unit, adding.product_grid, products)
        sums.losses.append(math.fsum(losses))
        sums.weights.append(math.fsum(weights))
    return sums


def rows_beyond(group: Iterable[EncodedPart], argument: tuple[Adding, Vector, Link]) -> int:
    """Rows that those coefficients predict too far away; see `linear_regressions.beyond`."""
    from dataops.training import linear_kernels as kernels

    (adding, coefficients, link), found = argument, 0
    for part in group:
        for values, _, _ in blocks_of(part, adding.factors):
            margins = np.empty(len(values))
            kernels.put_margins(values, adding.first, coefficients, margins)
            found += beyond(margins, link)
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """What workers need to know to add up features and squares; `grid` is that of sums, then that of squares."""

    layout: Layout
    factors: tuple[float, float]
    grid: Vector


def moments_of(group: Iterable[EncodedPart], asked: Moments) -> Vector:
    """Weighted sums of every feature, then those of the squares of numbers, (n_coefficients + n_numeric,)."""
    from dataops.training import linear_kernels as kernels

    length, n_numeric, first = asked.layout.length, asked.layout.n_numeric, asked.layout.first
    total, unit = np.zeros(len(asked.grid)), np.zeros(len(asked.grid))
    for part in group:
        for values, _, weight in blocks_of(part, asked.factors):
            kernels.add_sums(values, first, weight, unit[:length])
            numbers = values[:, :n_numeric].astype(np.float64)
            unit[length:] += np.einsum("ij,ij,i->j", numbers, numbers, weight)
        kernels.add_rounded(unit, asked.grid, total)
    return total


def blocks_of(part: EncodedPart, factors: tuple[float, float]) -> Iterator[tuple[np.ndarray, Vector, Vector]]:
    """Values, targets and weights of successive rows."""
    values = np.ascontiguousarray(part.encoded.values)
    for start in range(0, part.rows, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        target = part.target[rows].astype(np.float64)
        weight = np.ones(len(target)) if part.weight is None else part.weight[rows].astype(np.float64)
        if factors != (1.0, 1.0):
            weight *= np.where(target == 1, factors[1], factors[0])
        yield values[rows], target, weight


def merge_sums(sums: list[Sums], layout: Layout) -> Pass:
    """What the sums of all tasks make."""
    weight = math.fsum(one for each in sums for one in each.weights)
    products = [each.products for each in sums if each.products is not None]
    return Pass(
        loss=math.fsum(one for each in sums for one in each.losses) / weight,
        weight=weight,
        gradient=np.sum([each.gradient for each in sums], axis=0) / weight,
        curvature=whole_square(sum(products[1:], products[0]) / weight, layout) if products else None,
    )


def whole_square(lower: Square, layout: Layout) -> Square:
    """The symmetric matrix of which `add_products` made the lower triangle."""
    square: Square = lower + lower.T  # above the diagonal there is nothing yet
    codes = np.arange(1 + layout.n_numeric, layout.length)
    diagonal = lower.diagonal().copy()
    diagonal[codes] = lower[codes, 0]
    np.fill_diagonal(square, diagonal)
    return square
