"""Logistic regression: L-BFGS on the driver, loss and gradient in tasks beside the data.

1. The least ``sum_i weight_i * loss_i + l2 / 2 * |coefficients|^2``, the intercept unpenalised: what scikit-learn's
   ``LogisticRegression(C=1 / l2)`` finds on the same rows with every code of every category one-hot (none dropped,
   the unknown code included). Categories stay integer codes: a gather and a bincount instead of a wide matrix.
2. One loss and one gradient for each unit, in float64, summed by the driver in unit order: bit-equal coefficients for
   any number of workers of one kind of processor and any placement.
3. No BLAS on the workers, for its sums depend on its number of threads; numpy's einsum loops do not.
4. The driver searches in centred, scaled coordinates, in which the curvature at the start is about 1 in each
   direction: rare categories and unscaled columns don't slow it down, and the tolerance has no unit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataops.errors import Compute
from dataops.features.encoder import Encoder
from dataops.models.linear import LinearModel
from dataops.models.predictor import LINEAR
from dataops.training.parts import EncodedPart, PartsOnCluster, map_parts
from dataops.training.trainable import require_trainable
from dataops.training.trainers import Parameter, number, parse_params, whole

Vector = np.ndarray[Any, np.dtype[np.float64]]

# Temporaries of 32 kB stay in the cache, and below the size that malloc, as Dask sets it, gives back at once.
BLOCK_ROWS = 4096
PARAMETERS = {
    "l2": Parameter(default=1.0, parse=number(0, 1e12)),
    "max_iter": Parameter(default=200, parse=whole(1, 100_000)),
    # In scaled coordinates: on the census the loss is then within 3e-7 of the least one, in half the passes of 1e-7.
    "tol": Parameter(default=1e-5, parse=number(0, 1, above=True)),
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticFit:
    """A fitted model, and how the search ended.

    `loss` is the objective of rule 1 at the end, `evaluations` the number of passes over the data.
    """

    model: LinearModel
    loss: float
    iterations: int
    evaluations: int
    converged: bool


class LogisticTrainer:
    """Trainer ``logistic``: parameters `l2`, `max_iter`, `tol` (largest scaled gradient at the end)."""

    def require_params(self, params: Mapping[str, Any]) -> None:
        """Nothing, or InvalidInput with every finding."""
        parse_params("logistic", params, PARAMETERS)

    def fit(self, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> tuple[str, bytes]:  # noqa: ARG002 - nothing here is drawn
        """The format ``linear-json/1`` and the model's bytes."""
        fitted = fit_logistic(parts, params)
        if not fitted.converged:
            _log.warning("logistic: not converged after %d iterations; raise max_iter or tol", fitted.iterations)
        return LINEAR, fitted.model.to_bytes()


def fit_logistic(parts: PartsOnCluster, params: Mapping[str, Any]) -> LogisticFit:
    """The fitted model.

    Raises
    ------
    InvalidInput : wrong parameters, or rows that can't be trained on.
    Compute : a task failed, or the loss is not finite.
    """
    values = parse_params("logistic", params, PARAMETERS)
    require_trainable(parts)
    layout = Layout.of(parts.encoder)
    moments = _sum_in_order(map_parts(parts, moments_of, layout))
    return _search(
        lambda coefficients: _total(map_parts(parts, loss_and_gradient, (layout, coefficients))),
        Coordinates.of(moments, layout, l2=values["l2"]),
        layout,
        values,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where each coefficient lies in the flat vector: intercept, numeric columns, then each category's codes."""

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
    def numeric(self) -> slice:
        """Where the numeric columns' coefficients are."""
        return slice(1, 1 + self.n_numeric)

    @property
    def categorical(self) -> tuple[slice, ...]:
        """Where each category's coefficients are, by code."""
        ends = 1 + self.n_numeric + np.cumsum(self.sizes, dtype=int)
        return tuple(slice(int(end) - size, int(end)) for end, size in zip(ends, self.sizes, strict=True))

    def model(self, coefficients: Vector) -> LinearModel:
        """The coefficients as a model."""
        return LinearModel(
            intercept=float(coefficients[0]),
            numeric=tuple(coefficients[self.numeric].tolist()),
            categorical=tuple(tuple(coefficients[codes].tolist()) for codes in self.categorical),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coordinates:
    """The centred, scaled coordinates of the search: ``coefficient = coordinate / scale``, features minus their mean.

    A feature's scale is the root of its curvature at the base rate q, ``q * (1 - q) * variance + l2 / total_weight``.
    """

    mean: Vector
    scale: Vector
    start: Vector
    total_weight: float
    l2: float

    @classmethod
    def of(cls, moments: Vector, layout: Layout, *, l2: float) -> Coordinates:
        """The coordinates for the summed `moments` (see `moments_of`)."""
        total, positive = moments[0, 0], moments[1, 0]
        rate = positive / total
        mean = moments[0] / total
        variance = np.maximum(moments[1] / total - mean**2, 0)
        mean[0], variance[0] = 0, 1  # the intercept
        penalty = np.full(layout.length, l2 / total)
        penalty[0] = 0
        curvature = rate * (1 - rate) * variance + penalty
        start = np.zeros(layout.length)
        scale = np.sqrt(np.where(curvature > 0, curvature, 1))
        start[0] = np.log(rate / (1 - rate)) * scale[0]
        return cls(mean=mean, scale=scale, start=start, total_weight=float(total), l2=l2)

    def coefficients(self, point: Vector) -> Vector:
        """The coefficients at a point of the search."""
        coefficients = point / self.scale
        coefficients[0] -= np.dot(coefficients[1:], self.mean[1:])
        return coefficients

    def objective(self, point: Vector, loss: float, gradient: Vector) -> tuple[float, Vector]:
        """Objective per unit of weight and its gradient at `point`, from loss and gradient by coefficient."""
        inner = point / self.scale
        inner[0] = 0
        penalised = gradient - self.mean * gradient[0] + self.l2 * inner
        value = loss + self.l2 / 2 * np.dot(inner, inner)
        return value / self.total_weight, penalised / self.scale / self.total_weight


def _search(
    evaluate: Callable[[Vector], tuple[float, Vector]],
    coordinates: Coordinates,
    layout: Layout,
    values: Mapping[str, Any],
) -> LogisticFit:
    from scipy.optimize import minimize

    def objective(point: Vector) -> tuple[float, Vector]:
        loss, gradient = evaluate(coordinates.coefficients(point))
        value, slope = coordinates.objective(point, loss, gradient)
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            raise Compute("logistic: the loss is not finite; scale the numeric features or raise l2")
        return value, slope

    # ftol: scikit-learn's, the noise of a float64 sum; a stop there is convergence as well
    options = {
        "maxiter": values["max_iter"],
        "gtol": values["tol"],
        "ftol": 64 * np.finfo(np.float64).eps,
        "maxcor": 30,  # remembered steps cost the driver microseconds, a pass over the data costs far more
    }
    found = minimize(objective, coordinates.start, jac=True, method="L-BFGS-B", options=options)
    return LogisticFit(
        model=layout.model(coordinates.coefficients(found.x)),
        loss=float(found.fun) * coordinates.total_weight,
        iterations=int(found.nit),
        evaluations=int(found.nfev),
        converged=bool(found.success) or float(np.abs(found.jac).max()) <= 100 * values["tol"],
    )


def moments_of(part: EncodedPart, layout: Layout) -> Vector:
    """Weighted sums (row 0) and sums of squares (row 1) of every feature, float64 (2, n_coefficients).

    The intercept's place holds the sum of weights (row 0) and that of positive rows (row 1).
    """
    moments = np.zeros((2, layout.length))
    for numeric, codes, target, weight in _blocks(part):
        moments[0, 0] += weight.sum()
        moments[1, 0] += (weight * target).sum()
        moments[0, layout.numeric] += np.einsum("ij,i->j", numeric, weight)
        moments[1, layout.numeric] += np.einsum("ij,i->j", numeric * numeric, weight)
        for place, size, column in zip(layout.categorical, layout.sizes, codes, strict=True):
            moments[:, place] += np.bincount(column, weights=weight, minlength=size)
    return moments


def loss_and_gradient(part: EncodedPart, argument: tuple[Layout, Vector]) -> tuple[float, Vector]:
    """Unpenalised weighted log loss of the part's rows and its gradient by coefficient, float64 (n_coefficients,)."""
    layout, coefficients = argument
    loss, gradient = 0.0, np.zeros(layout.length)
    for numeric, codes, target, weight in _blocks(part):
        margin = coefficients[0] + np.einsum("ij,j->i", numeric, coefficients[layout.numeric])
        for place, column in zip(layout.categorical, codes, strict=True):
            margin += coefficients[place].take(column)
        # log(1 + exp(margin)) and the logistic function, of -|margin| so that nothing overflows
        small = np.exp(-np.abs(margin))
        loss += float((weight * (np.log1p(small) + np.maximum(margin, 0) - target * margin)).sum())
        residual = weight * (np.where(margin >= 0, 1, small) / (1 + small) - target)
        gradient[0] += residual.sum()
        gradient[layout.numeric] += np.einsum("ij,i->j", numeric, residual)
        for place, size, column in zip(layout.categorical, layout.sizes, codes, strict=True):
            gradient[place] += np.bincount(column, weights=residual, minlength=size)
    return loss, gradient


def _blocks(part: EncodedPart) -> Iterator[tuple[Vector, list[np.ndarray[Any, np.dtype[np.intp]]], Vector, Vector]]:
    """Numeric values, codes by column, targets and weights of successive rows."""
    for start in range(0, part.rows, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        target = part.target[rows].astype(np.float64)
        weight = np.ones(len(target)) if part.weight is None else part.weight[rows].astype(np.float64)
        encoded = part.encoded.of_rows(rows)
        codes = [np.ascontiguousarray(column, dtype=np.intp) for column in encoded.codes.T]
        yield encoded.numeric.astype(np.float64), codes, target, weight


def _total(results: Sequence[tuple[float, Vector]]) -> tuple[float, Vector]:
    return float(sum(loss for loss, _ in results)), _sum_in_order([gradient for _, gradient in results])


def _sum_in_order(vectors: Sequence[Vector]) -> Vector:
    total = vectors[0].copy()
    for vector in vectors[1:]:
        total += vector
    return total
