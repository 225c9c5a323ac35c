"""The search for the coefficients of a linear model: a penalised convex loss, few evaluations of which are asked for.

1. Few coefficients: steps of Newton's method. The curvature is evaluated with the gradient, or kept up to date by
   gradients alone (BFGS); an absolute penalty (`l1`) is part of the step's own problem, solved by coordinate descent,
   as in glmnet (Friedman, Hastie and Tibshirani, 2010) and in proximal Newton methods (Lee, Sun and Saunders, 2014).
2. Many coefficients: L-BFGS-B. With `l1`, each is a difference of two that aren't negative: the penalty is linear then.
3. Every step is checked: the objective falls, or the step is halved. The last step, so small that it needs no check, is
   taken without an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataops.errors import Compute
from dataops.training.failures import lasting
from dataops.training.linear_layout import Square, Vector

_NOISE = 64 * np.finfo(np.float64).eps  # of a value: less can't be told from rounding; scikit-learn's, too
_DAMPING = 1e-9  # of a curvature, where directions have none (every code of a category has a coefficient)
_DECREASE = 1e-4  # of what the slope promises: Armijo's condition
_SLOW = 0.3  # of a slope: a step that leaves more wants a new curvature
_MOST_HALVINGS = 40
_MEMORY = 30  # steps of L-BFGS: they cost microseconds, a pass over the rows far more


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """The smooth part of an objective at one point: value, gradient (n,), curvature (n, n) or None."""

    value: float
    gradient: Vector
    curvature: Square | None = None


Evaluate = Callable[[Vector, bool], Evaluation]
"""An `Evaluation` at a point; with curvature, where the second argument says so."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """What is searched for: the least of ``smooth(point) + sum(absolute * |point|)``.

    Attributes
    ----------
    absolute : the absolute penalty by coordinate; zeros for none.
    roots : by coordinate, the root of about the curvature there: a slope over it has no unit.
    tol : slopes, so measured, that end the search.
    """

    evaluate: Evaluate
    absolute: Vector
    roots: Vector
    tol: float
    max_iter: int

    def value(self, point: Vector, smooth: float) -> float:
        """The objective."""
        return smooth + float(np.dot(self.absolute, np.abs(point)))

    def steepest(self, point: Vector, gradient: Vector) -> float:
        """The largest slope by coordinate, with no unit; where a kink holds a coordinate at zero there is none."""
        held = np.maximum(np.abs(gradient) - self.absolute, 0)
        slope = np.where(point == 0, held, gradient + self.absolute * np.sign(point))
        return float(np.abs(slope / self.roots).max())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Where a search ended, with the objective there."""

    point: Vector
    value: float
    iterations: int
    converged: bool


def newton(problem: Problem, start: Vector) -> Found:
    """The least, by steps of Newton's method. The curvature is evaluated where the step to come needs it.

    Near the least, a step with the curvature of where it starts squares the slope, about. So where that will do, and
    steps go on making slopes smaller, the curvature of before serves.

    Raises
    ------
    Compute : the objective isn't finite at the start.
    """
    point, here = start, problem.evaluate(start, True)  # noqa: FBT003 - an `Evaluate` takes it so
    curvature = _required(here.curvature)
    value = problem.value(point, here.value)
    if not np.isfinite(value):
        raise lasting(Compute("the loss is not finite; scale the numeric features or raise l2"))
    steepest = before = problem.steepest(point, here.gradient)
    for iteration in range(problem.max_iter + 1):
        step = _step(curvature, here.gradient, point, problem.absolute)
        slope = float(here.gradient @ step) + problem.value(point + step, 0) - problem.value(point, 0)
        if steepest <= problem.tol or slope > -_NOISE * abs(value):
            promised = min(slope + float(step @ curvature @ step) / 2, 0.0)
            return Found(
                point=point + step,
                value=value + promised,
                iterations=iteration,
                converged=True,
            )
        if iteration == problem.max_iter:
            break
        fresh = steepest**2 > problem.tol or (iteration > 0 and steepest > _SLOW * before)
        taken = _walk(problem, point, value, step, slope, fresh=fresh)
        if taken is None:
            break
        moved, there = taken
        if there.curvature is None:
            curvature = _updated(curvature, moved - point, there.gradient - here.gradient)
        else:
            curvature = there.curvature
        point, here, value = moved, there, problem.value(moved, there.value)
        before, steepest = steepest, problem.steepest(point, here.gradient)
    return Found(point=point, value=value, iterations=iteration, converged=steepest <= 100 * problem.tol)


def _required(curvature: Square | None) -> Square:
    if curvature is None:
        raise AssertionError("an evaluation gave no curvature")
    return curvature


def _walk(
    problem: Problem, point: Vector, value: float, step: Vector, slope: float, *, fresh: bool
) -> tuple[Vector, Evaluation] | None:
    """The first of the step, its half, its quarter ... where the objective fell enough; None where it doesn't."""
    part = 1.0
    for _ in range(_MOST_HALVINGS):
        moved = point + part * step
        there = problem.evaluate(moved, fresh)
        found = problem.value(moved, there.value)
        if found <= value + _DECREASE * part * slope and np.isfinite(there.gradient).all():
            return moved, there
        part /= 2
    return None


def _step(curvature: Square, gradient: Vector, point: Vector, absolute: Vector) -> Vector:
    """The step to the least of the quadratic model with the absolute penalty."""
    if absolute.any():
        from dataops.training.linear_descent import descend

        step = np.zeros_like(point)
        descend(_damped(curvature, _DAMPING), gradient, point, absolute, step)
        return step
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    damping = _DAMPING
    while True:
        try:
            solved: Vector = cho_solve(cho_factor(_damped(curvature, damping), lower=True), -gradient)
        except LinAlgError:
            damping *= 100
        else:
            return solved


def _damped(curvature: Square, damping: float) -> Square:
    diagonal = curvature.diagonal()
    return with_diagonal(curvature, np.where(diagonal > 0, diagonal * damping, 1.0))


def with_diagonal(square: Square, more: Vector) -> Square:
    """`square` with `more` added to its diagonal."""
    found = square.copy()
    found.flat[:: len(square) + 1] += more
    return found


def _updated(curvature: Square, moved: Vector, turned: Vector) -> Square:
    """The curvature after a move by which the gradient turned (BFGS)."""
    bend, seen = float(moved @ turned), curvature @ moved
    expected = float(moved @ seen)
    if not (bend > 1e-10 * expected > 0):
        return curvature
    updated: Square = curvature + np.outer(turned, turned / bend) - np.outer(seen, seen / expected)
    return updated


def limited_memory(problem: Problem, start: Vector) -> Found:
    """The least, by L-BFGS-B. Coordinates should be scaled: `Problem.roots` are taken to be 1.

    Raises
    ------
    Compute : the objective isn't finite.
    """
    from scipy.optimize import minimize

    held = np.flatnonzero(problem.absolute)  # the negative part of each comes behind all coordinates

    def joined(parts: Vector) -> Vector:
        point = parts[: len(start)].copy()
        point[held] -= parts[len(start) :]
        return point

    def objective(parts: Vector) -> tuple[float, Vector]:
        found = problem.evaluate(joined(parts), False)  # noqa: FBT003 - an `Evaluate` takes it so
        gradient = np.concatenate([found.gradient + problem.absolute, problem.absolute[held] - found.gradient[held]])
        value = found.value + float(problem.absolute[held] @ (parts[held] + parts[len(start) :]))
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            raise lasting(Compute("the loss is not finite; scale the numeric features or raise l2"))
        return value, gradient

    bounds: Any = np.full((len(start) + len(held), 2), (-np.inf, np.inf))
    bounds[held, 0] = bounds[len(start) :, 0] = 0.0
    first = np.concatenate([start, np.maximum(-start[held], 0)])
    first[held] = np.maximum(start[held], 0)
    options = {"maxiter": problem.max_iter, "gtol": problem.tol, "ftol": _NOISE, "maxcor": _MEMORY}
    options["maxfun"] = 20 * problem.max_iter + 20
    found = minimize(
        objective, first, jac=True, method="L-BFGS-B", bounds=bounds if len(held) else None, options=options
    )
    point = joined(found.x)
    near = found.success or problem.steepest(point, found.jac[: len(start)] - problem.absolute) <= 100 * problem.tol
    return Found(point=point, value=float(found.fun), iterations=int(found.nit), converged=bool(near))
