"""Linear models over encoded parts: a loss, an L2 and an absolute penalty, found by few passes over the rows.

1. The least ``sum_i weight_i * loss_i + l2 / 2 * |coefficients|^2 + l1 * sum |coefficients|``, the intercept not
   penalised: what scikit-learn finds on the same rows with every code of every category one-hot (none dropped, the
   unknown code included).
2. Bit-equal coefficients for any number of workers of one kind of processor, any placement and order of units: see
   `linear_passes`. No BLAS on the workers, for its sums depend on its number of threads.
3. With few coefficients the search has the exact curvature. It starts on a sample of the rows, which stays where they
   are: what is found there is near enough for a few passes over all of them to do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dataops.models.linear import LinearModel
from dataops.training.fitting import Fitting
from dataops.training.linear_layout import Coordinates, Layout, Vector
from dataops.training.linear_look import Look, look_at, merge_looks
from dataops.training.linear_losses import Loss
from dataops.training.linear_passes import (
    Adding,
    Moments,
    Passes,
    grid_of,
    moments_of,
    product_grid_of,
    rows_beyond,
)
from dataops.training.linear_regressions import SQUARED, Outcome, Regression, require_within
from dataops.training.linear_search import Evaluation, Found, Problem, limited_memory, newton, with_diagonal
from dataops.training.parts import PartsOnCluster, map_groups, merge_parts, plan_groups, sample_parts
from dataops.training.targets import require_numbers
from dataops.training.trainable import PartFacts, class_factors, merge_facts, raise_untrainable

# Curvature costs half the columns squared a row, and memory of the coefficients squared.
MOST_COLUMNS, MOST_COEFFICIENTS = 64, 2000
SAMPLE_ROWS, SAMPLE_ROWS_A_COEFFICIENT, SAMPLE_ROWS_OF_A_CLASS = 100_000, 50, 2000
_LEAST_STRIDE = 4  # a sample of more than a quarter of the rows saves little
_SAMPLE_TOL, _SAMPLE_MAX_ITER, _SAMPLE_RIDGE = 1e-3, 30, 4.0  # it is a start, no more
_CONSTANT = 1e-14  # of the mean square: less variance is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be fitted.

    Attributes
    ----------
    l2, l1 : penalties.
    tol : the largest slope at the end, in coordinates of curvature about 1, per unit of weight.
    balanced : whether both classes weigh the same together.
    regression : how the targets of a regression are taken; None where they are classes.
    """

    loss: Loss
    l2: float
    l1: float
    tol: float
    max_iter: int
    balanced: bool = False
    regression: Regression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearFit:
    """A fitted model, and how the search ended.

    Attributes
    ----------
    loss : the objective of rule 1 at the end.
    iterations : steps over all rows.
    evaluations : passes over all rows, but for the two that look at them.
    """

    model: LinearModel
    loss: float
    iterations: int
    evaluations: int
    converged: bool


def fit_linear(parts: PartsOnCluster, wanted: Wanted) -> LinearFit:
    """The fitted model.

    Raises
    ------
    InvalidInput : rows that can't be trained on.
    Compute : a task failed, or the loss is not finite.
    """
    rows = _Rows.of(parts, wanted)
    start = rows.start()
    sample = rows.sample(parts)
    if sample is not None:
        start = rows.search(Passes(parts=sample, adding=rows.adding, layout=rows.layout), start, sampled=True).point
    passes = Passes(parts=parts, adding=rows.adding, layout=rows.layout)
    found = rows.search(passes, start, sampled=False)
    model, loss = rows.result(passes, found)
    return LinearFit(
        model=model,
        loss=loss * rows.weight,
        iterations=found.iterations,
        evaluations=passes.count,
        converged=found.converged,
    )


def tell_fit(trainer: str, fitting: Fitting, fitted: LinearFit) -> None:
    """The run knows how the search ended."""
    fitting.facts.update({"passes": fitted.evaluations, "converged": fitted.converged})
    if not fitted.converged:
        fitting.say(f"  {trainer}: not converged after {fitted.iterations} iterations; raise max_iter or tol")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """What was found out about the rows, and made of it.

    Attributes
    ----------
    weight : of all rows, factors included.
    mean_target : weighted, of targets as they are taken.
    outcome : how those of a regression are taken.
    roots : by coordinate, the root of the curvature at the start; what is constant has 1.
    """

    wanted: Wanted
    layout: Layout
    facts: PartFacts
    adding: Adding
    coordinates: Coordinates
    weight: float
    mean_target: float
    roots: Vector
    outcome: Outcome | None

    @classmethod
    def of(cls, parts: PartsOnCluster, wanted: Wanted) -> _Rows:
        """Two passes over all parts."""
        layout = Layout.of(parts.encoder)
        look = _look(parts)
        bounds, targets = look.bounds(layout), _targets(parts, look, wanted)
        weight, factors, mean_target, outcome = targets
        mean, variance = _moments(parts, layout, factors, weight, bounds)
        penalty = np.full(layout.length, _penalties(wanted, outcome)[0] / weight)
        penalty[0] = 0
        _, bend = wanted.loss.start(mean_target)
        curvature = bend * variance + penalty
        roots = np.sqrt(np.where(curvature > 0, curvature, 1))
        numeric = layout.numeric
        coordinates = _coordinates(mean, np.sqrt(variance), roots, layout)
        within = (bounds + np.abs(coordinates.mean)) * coordinates.scale
        adding = Adding(
            loss=wanted.loss.name,
            first=layout.first,
            factors=factors,
            grid=grid_of(bounds * weight * wanted.loss.largest_slope),
            mean=coordinates.mean[numeric].copy(),
            scale=coordinates.scale[numeric].copy(),
            product_grid=product_grid_of(within, weight, wanted.loss.largest_curvature),
            centre=0.0 if outcome is None else outcome.centre,
            target_scale=1.0 if outcome is None else outcome.scale,
        )
        return cls(
            wanted=wanted,
            layout=layout,
            facts=look.facts,
            adding=adding,
            coordinates=coordinates,
            weight=weight,
            mean_target=mean_target,
            roots=roots * coordinates.scale,
            outcome=outcome,
        )

    def start(self) -> Vector:
        """Where the search starts: at the mean of the targets, without any feature."""
        start = np.zeros(self.layout.length)
        start[0] = self.wanted.loss.start(self.mean_target)[0]
        return start / self.coordinates.scale

    def sample(self, parts: PartsOnCluster) -> PartsOnCluster | None:
        """Rows of `parts` that are enough for a start; None where that would be most of them."""
        rows, smaller = self.facts.rows, min(self.facts.positives, self.facts.negatives)
        if self.wanted.regression is not None:
            smaller = rows
            if self.wanted.regression is SQUARED and is_few(self.layout):
                return None  # one step leads from anywhere to the least
        enough = max(SAMPLE_ROWS, SAMPLE_ROWS_A_COEFFICIENT * self.layout.length)
        stride = min(rows // enough, smaller // SAMPLE_ROWS_OF_A_CLASS)
        if stride < _LEAST_STRIDE or 2 * sum(unit // stride for unit in parts.rows) < rows // stride:
            return None
        return sample_parts(parts, stride)

    def search(self, passes: Passes, start: Vector, *, sampled: bool) -> Found:
        """The least over the rows of `passes`."""
        scale = self.coordinates.scale
        squares, sizes = _penalties(self.wanted, self.outcome)
        l2 = squares / self.weight * scale**2
        if sampled:  # a code of few sampled rows is better started from nothing than from what they happen to be
            l2 += _SAMPLE_RIDGE / sum(passes.parts.rows)
        absolute = sizes / self.weight * scale
        l2[0] = absolute[0] = 0

        def evaluate(point: Vector, curved: bool) -> Evaluation:  # noqa: FBT001 - see `Evaluate`
            found = passes.over(self.coordinates.coefficients(point), curved=curved)
            return Evaluation(
                value=found.loss + float(np.dot(l2, point * point)) / 2,
                gradient=self.coordinates.gradient(found.gradient) + l2 * point,
                curvature=None if found.curvature is None else with_diagonal(found.curvature, l2),
            )

        problem = Problem(
            evaluate=evaluate,
            absolute=absolute,
            roots=self.roots,
            tol=max(self.wanted.tol, _SAMPLE_TOL) if sampled else self.wanted.tol,
            max_iter=min(self.wanted.max_iter, _SAMPLE_MAX_ITER) if sampled else self.wanted.max_iter,
        )
        return newton(problem, start) if is_few(self.layout) else limited_memory(problem, start)

    def result(self, passes: Passes, found: Found) -> tuple[LinearModel, float]:
        """The model, and its objective per unit of weight.

        Raises
        ------
        InvalidInput : a regression predicts some row so far away that it isn't fitted to its loss.
        """
        coefficients, outcome = self.coordinates.coefficients(found.point), self.outcome
        if outcome is None:
            return self.layout.model(coefficients), found.value
        asked = (self.adding, coefficients, outcome.link)
        require_within(sum(map_groups(passes.parts, passes.groups, rows_beyond, asked)), self.facts.rows)
        model = replace(self.layout.model(outcome.coefficients(coefficients)), link=outcome.link)
        return model, outcome.loss(found.value, self.mean_target * outcome.scale)


def _targets(
    parts: PartsOnCluster, look: Look, wanted: Wanted
) -> tuple[float, tuple[float, float], float, Outcome | None]:
    """The weight of all rows, what that of a class is multiplied by, the mean of the targets as they are taken, and how
    those of a regression are.
    """
    if wanted.regression is not None:
        facts = require_numbers(parts)
        outcome = wanted.regression.taken(facts)
        return facts.weight, (1.0, 1.0), (facts.mean - outcome.centre) / outcome.scale, outcome
    by_class = look.by_class
    factors = class_factors(by_class, balanced=wanted.balanced)
    return sum(by_class), factors, 0.5 if wanted.balanced else by_class[1] / sum(by_class), None


def _penalties(wanted: Wanted, outcome: Outcome | None) -> tuple[float, float]:
    return (wanted.l2, wanted.l1) if outcome is None else outcome.penalties(wanted.l2, wanted.l1)


def _coordinates(mean: Vector, spread: Vector, roots: Vector, layout: Layout) -> Coordinates:
    """Numbers less their mean, over their spread; without the curvature everything that way, to a curvature of 1."""
    if not is_few(layout):
        return Coordinates(mean=mean, scale=1 / roots)
    numbers = np.arange(layout.length) < layout.numeric.stop
    scale = np.where(numbers & (spread > 0), 1 / np.where(spread > 0, spread, 1), 1)
    return Coordinates(mean=np.where(numbers, mean, 0), scale=scale)


def is_few(layout: Layout) -> bool:
    """Whether the curvature is worth what it costs."""
    return layout.length <= MOST_COEFFICIENTS and layout.n_columns <= MOST_COLUMNS


def _look(parts: PartsOnCluster) -> Look:
    if not parts.futures:
        raise_untrainable(merge_facts(()), parts.encoder, parts.task)
    look = merge_parts(parts, look_at, merge_looks)
    raise_untrainable(look.facts, parts.encoder, parts.task)
    return look


def _moments(
    parts: PartsOnCluster, layout: Layout, factors: tuple[float, float], weight: float, bounds: Vector
) -> tuple[Vector, Vector]:
    """Mean and variance of each feature; 0 and 1 of the intercept."""
    asked = Moments(
        layout=layout,
        factors=factors,
        grid=grid_of(np.concatenate([bounds, bounds[layout.numeric] ** 2]) * weight),
    )
    found = map_groups(parts, plan_groups(parts), moments_of, asked)
    moments = np.sum(found, axis=0) / weight
    mean, squares = moments[: layout.length], moments[: layout.length].copy()
    squares[layout.numeric] = moments[layout.length :]
    variance = squares - mean**2
    variance[variance < _CONSTANT * squares] = 0
    mean[0], variance[0] = 0, 1
    return mean, variance
