from __future__ import annotations

import numpy as np
import pytest

from dataops.errors import Compute
from dataops.training.linear_search import Evaluation, Problem, limited_memory, newton


def quadratic(curvature: np.ndarray, least: np.ndarray, **more) -> Problem:
    def evaluate(point, curved):
        away = point - least
        return Evaluation(
            value=1.0 + away @ curvature @ away / 2,
            gradient=curvature @ away,
            curvature=curvature if curved else None,
        )

    size = len(least)
    given = {"absolute": np.zeros(size), "roots": np.ones(size), "tol": 1e-10, "max_iter": 500}
    return Problem(evaluate=evaluate, **(given | more))


def bent(seed: int, size: int) -> np.ndarray:
    root = np.random.default_rng(seed).standard_normal((size, size))
    return root @ root.T / size + np.eye(size) / 10


def logistic_problem(seed: int, *, absolute: float, l2: float = 1e-3, counted: list | None = None, **more) -> Problem:
    random = np.random.default_rng(seed)
    rows, size = 400, 12
    dense = random.standard_normal((rows, size)) @ bent(seed, size)
    target = (random.random(rows) < 1 / (1 + np.exp(-dense[:, :3].sum(axis=1)))).astype(float)

    def evaluate(point, curved):
        if counted is not None:
            counted.append(curved)
        margin = dense @ point
        chance = 1 / (1 + np.exp(-margin))
        curvature = dense.T @ (dense * (chance * (1 - chance))[:, None]) / rows + l2 * np.eye(size)
        return Evaluation(
            value=float((np.logaddexp(0, margin) - target * margin).mean() + l2 / 2 * point @ point),
            gradient=dense.T @ (chance - target) / rows + l2 * point,
            curvature=curvature if curved else None,
        )

    given = {"absolute": np.full(size, absolute), "roots": np.ones(size), "tol": 1e-9, "max_iter": 500}
    return Problem(evaluate=evaluate, **(given | more))


def test_the_least_of_a_quadratic_is_one_step_away():
    least = np.arange(5.0)
    found = newton(quadratic(bent(0, 5), least), np.zeros(5))
    assert found.converged
    assert found.iterations <= 2
    assert found.point == pytest.approx(least, abs=1e-7)


def test_an_absolute_penalty_over_a_diagonal_is_a_soft_threshold():
    least = np.array([3.0, -0.2, 0.4, -5.0])
    problem = quadratic(np.diag([1.0, 2.0, 1.0, 4.0]), least, absolute=np.array([1.0, 1.0, 0.0, 2.0]))
    for search in (newton, limited_memory):
        found = search(problem, np.zeros(4))
        assert found.point == pytest.approx([2.0, 0.0, 0.4, -4.5], abs=1e-6)
        assert found.point[1] == 0.0


@pytest.mark.parametrize("absolute", [0.0, 0.003, 0.03])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_searches_find_the_same_least(seed, absolute):
    problem = logistic_problem(seed, absolute=absolute)
    steps, memory = newton(problem, np.zeros(12)), limited_memory(problem, np.zeros(12))
    assert steps.converged
    assert memory.converged
    assert steps.value == pytest.approx(memory.value, rel=1e-8)
    assert steps.point == pytest.approx(memory.point, abs=1e-4)
    assert (np.abs(memory.point[steps.point == 0]) < 1e-6).all()


@pytest.mark.parametrize("absolute", [0.0, 0.01])
def test_no_slope_is_left_where_newton_ends(absolute):
    problem = logistic_problem(5, absolute=absolute)
    found = newton(problem, np.zeros(12))
    end = problem.evaluate(found.point, False)
    assert problem.steepest(found.point, end.gradient) < 1e-12
    assert found.value == pytest.approx(problem.value(found.point, end.value), rel=1e-12)


def test_the_curvature_is_asked_for_where_a_step_needs_it_only():
    counted: list[bool] = []
    newton(logistic_problem(1, absolute=0.0, counted=counted, tol=1e-5), np.zeros(12))
    assert counted[0] is True
    assert counted[-1] is False
    assert len(counted) <= 7


def test_a_start_far_away_is_walked_back_from_by_halves():
    found = newton(logistic_problem(2, absolute=0.0), np.full(12, 20.0))
    expected = newton(logistic_problem(2, absolute=0.0), np.zeros(12))
    assert found.converged
    assert found.value == pytest.approx(expected.value, rel=1e-10)


def test_directions_without_any_curvature_stay_where_they_are():
    curvature = np.diag([1.0, 0.0, 2.0])
    found = newton(quadratic(curvature, np.array([1.0, 7.0, -1.0])), np.array([0.0, 3.0, 0.0]))
    assert found.point == pytest.approx([1.0, 3.0, -1.0], abs=1e-6)


def test_a_search_that_is_cut_short_says_so():
    problem = logistic_problem(1, absolute=0.0, max_iter=1)
    found = newton(problem, np.full(12, 3.0))
    assert found.iterations == 1
    assert not found.converged
    assert not limited_memory(problem, np.full(12, 3.0)).converged


@pytest.mark.parametrize("search", [newton, limited_memory])
def test_a_loss_that_is_not_finite_is_an_error(search):
    def evaluate(point, curved):
        return Evaluation(value=np.nan, gradient=np.zeros(2), curvature=np.eye(2))

    problem = Problem(evaluate=evaluate, absolute=np.zeros(2), roots=np.ones(2), tol=1e-6, max_iter=10)
    with pytest.raises(Compute, match="the loss is not finite"):
        search(problem, np.zeros(2))
