"""Linear regressions: what scikit-learn fits, whatever the workers, and targets that can't be fitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, LinearRegression, PoissonRegressor, Ridge

from dataops.declarations.metrics import Task
from dataops.errors import InvalidInput
from dataops.models.predictor import LINKED, load_predictor
from dataops.training import linear
from dataops.training.boosting import BoostingTrainer
from dataops.training.lightgbm import LightGbmTrainer
from dataops.training.linear_layout import Layout
from dataops.training.linear_regressions import POISSON, REACH, SQUARED, poisson_loss, squared_error
from dataops.training.parts import PartsOnCluster
from dataops.training.regressors import LinearTrainer, PoissonTrainer, fit_regression
from dataops.training.trainers import load_trainer
from tests.training.test_logistic import one_hot, stack, vector

PARTS = range(3)


@pytest.fixture
def units(make_part):
    """Parts whose targets are numbers of at least 0 that follow the features."""

    def with_numbers(seed: int, *, weighted: bool = False):
        part = make_part(seed, 500, weighted=weighted)
        random = np.random.default_rng(seed)
        numeric, codes = part.encoded.numeric, part.encoded.codes
        mean = np.exp((numeric[:, 0] - 40) / 20 + (codes[:, 0] == 1) + 0.5 * (codes[:, 1] % 3 == 0))
        return replace(part, target=random.poisson(mean).astype(np.float32))

    def make(*, weighted: bool = False):
        return [with_numbers(seed, weighted=weighted) for seed in PARTS]

    return make


@pytest.fixture
def regression(cluster, place):
    """Parts on a cluster, as the rows of a regression."""

    def make(parts, client=None) -> PartsOnCluster:
        return replace(place(client or cluster, parts), task=Task.REGRESSION)

    return make


def spread_of(dense: np.ndarray) -> np.ndarray:
    return np.r_[dense[:, :3].std(axis=0), np.ones(dense.shape[1] - 3)]


@pytest.mark.parametrize(("l2", "weighted"), [(1.0, False), (30.0, True)])
def test_linear_is_ridge_of_scikit_learn_on_one_hot_columns(units, regression, encoder, l2, weighted):
    parts = units(weighted=weighted)
    rows, layout = stack(parts), Layout.of(encoder)
    fitted = fit_regression("linear", SQUARED, regression(parts), {"l2": l2})
    dense = one_hot(rows, layout)
    theirs = Ridge(alpha=l2, solver="cholesky").fit(dense, rows.target.astype(np.float64), sample_weight=rows.weight)
    assert fitted.converged
    assert fitted.iterations <= 2
    assert fitted.model.intercept == pytest.approx(theirs.intercept_, abs=1e-7)
    assert np.abs((vector(fitted.model)[1:] - theirs.coef_) * spread_of(dense)).max() < 1e-7
    residuals = theirs.predict(dense) - rows.target
    weight = np.ones(rows.rows) if rows.weight is None else rows.weight
    assert fitted.loss == pytest.approx((weight @ residuals**2 + l2 * theirs.coef_ @ theirs.coef_) / 2, rel=1e-9)


def test_without_a_penalty_linear_predicts_what_least_squares_do(units, regression, encoder):
    parts = units()
    rows, layout = stack(parts), Layout.of(encoder)
    model_format, model = LinearTrainer().fit(regression(parts), {"l2": 0}, seed=0)
    dense = one_hot(rows, layout)
    theirs = LinearRegression().fit(dense, rows.target.astype(np.float64)).predict(dense)
    assert model_format == LINKED
    np.testing.assert_allclose(load_predictor(model_format, model).predict(rows.encoded), theirs, atol=1e-4)


@pytest.mark.parametrize(("l2", "weighted"), [(1.0, False), (30.0, True)])
def test_poisson_is_that_of_scikit_learn_on_one_hot_columns(units, regression, encoder, l2, weighted):
    parts = units(weighted=weighted)
    rows, layout = stack(parts), Layout.of(encoder)
    fitted = fit_regression("poisson", POISSON, regression(parts), {"l2": l2, "tol": 1e-8})
    dense, weight = one_hot(rows, layout), np.ones(rows.rows) if rows.weight is None else rows.weight.astype(np.float64)
    theirs = PoissonRegressor(alpha=l2 / weight.sum(), solver="newton-cholesky", tol=1e-12, max_iter=1000)
    theirs.fit(dense, rows.target.astype(np.float64), sample_weight=weight)
    assert fitted.converged
    assert fitted.model.link == "log"
    assert np.abs((vector(fitted.model)[1:] - theirs.coef_) * spread_of(dense)).max() < 1e-6
    margins = theirs.intercept_ + dense @ theirs.coef_
    expected = weight @ (np.exp(margins) - rows.target * margins) + l2 / 2 * theirs.coef_ @ theirs.coef_
    assert fitted.loss == pytest.approx(expected, rel=1e-8)


def test_an_absolute_penalty_is_that_of_scikit_learns_elastic_net(units, regression, encoder):
    parts = units()
    rows, layout = stack(parts), Layout.of(encoder)
    fitted = fit_regression("linear", SQUARED, regression(parts), {"l1": 50.0, "l2": 10.0, "tol": 1e-9})
    dense = one_hot(rows, layout)
    theirs = ElasticNet(alpha=60 / rows.rows, l1_ratio=50 / 60, tol=1e-10, max_iter=100_000)
    theirs.fit(dense, rows.target.astype(np.float64))
    assert ((vector(fitted.model)[1:] == 0) == (theirs.coef_ == 0)).mean() > 0.95
    assert np.abs((vector(fitted.model)[1:] - theirs.coef_) * spread_of(dense)).max() < 1e-3


@pytest.mark.parametrize("regressor", [LinearTrainer, PoissonTrainer])
@pytest.mark.parametrize("few", [True, False])
def test_other_workers_and_another_order_give_the_same_bytes(
    units, regression, second_cluster, monkeypatch, regressor, few
):
    if not few:
        monkeypatch.setattr(linear, "MOST_COEFFICIENTS", 0)
    parts = units(weighted=True)
    first = regressor().fit(regression(parts), {}, seed=0)
    assert regressor().fit(regression(parts[::-1], second_cluster), {}, seed=0) == first


@pytest.mark.parametrize("at", [squared_error, poisson_loss])
def test_losses_are_smooth_convex_and_bounded_in_slope_far_beyond_their_reach(at):
    margins = np.concatenate([np.linspace(-20, 20, 4001), np.linspace(20.1, 3 * REACH, 2000)])
    losses, slopes, curvatures = at(margins, np.full(len(margins), 0.5))
    assert np.isfinite(losses).all()
    assert (np.diff(slopes) >= 0).all()
    assert (np.abs(slopes) <= REACH).all()
    assert (curvatures > 0).all()
    assert (curvatures <= REACH).all()
    steps = np.diff(margins)
    between = np.diff(losses) / steps
    assert (between >= slopes[:-1] - 1e-6).all()
    assert (between <= slopes[1:] + 1e-6).all()


@pytest.mark.parametrize(
    ("change", "name", "loss", "finding"),
    [
        (lambda target: np.full_like(target, 7), "linear", SQUARED, "the target is one number in all 1500 rows"),
        (lambda target: np.where(target > 1, np.nan, target), "linear", SQUARED, "infinite or not a number in"),
        (lambda target: target - 1, "poisson", POISSON, "some targets are below 0"),
    ],
)
def test_targets_that_cant_be_fitted_are_refused(units, regression, change, name, loss, finding):
    parts = [replace(part, target=change(part.target)) for part in units()]
    with pytest.raises(InvalidInput, match=finding):
        fit_regression(name, loss, regression(parts), {})


def test_unknown_parameters_are_refused_by_name():
    with pytest.raises(InvalidInput, match=r"trainer poisson: unknown parameter 'l3'"):
        PoissonTrainer().require_params({"l3": 1})


BOOSTERS = [BoostingTrainer, LightGbmTrainer]


@pytest.mark.parametrize("objective", ["squared_error", "poisson", "absolute_error"])
@pytest.mark.parametrize("booster", BOOSTERS)
def test_boosting_fits_each_objective_better_than_the_mean(units, regression, booster, objective):
    parts = units(weighted=True)
    rows = stack(parts)
    params = {"rounds": 20, "max_depth": 3, "learning_rate": 0.3, "objective": objective}
    model_format, model = booster(Task.REGRESSION).fit(regression(parts), params, seed=0)
    predictor = load_predictor(model_format, model)
    assert predictor.task is Task.REGRESSION
    found = predictor.predict(rows.encoded)
    errors = np.abs(found - rows.target)
    assert np.average(errors, weights=rows.weight) < 0.8 * np.average(
        np.abs(rows.target - np.average(rows.target, weights=rows.weight)), weights=rows.weight
    )
    assert (found > 0).all() or objective != "poisson"


@pytest.mark.parametrize("booster", BOOSTERS)
def test_boosting_of_numbers_stops_early_on_rows_held_out(units, regression, booster):
    given = regression([replace(part, groups=np.arange(part.rows).astype(np.uint8) % 32) for part in units()])
    params = {"rounds": 300, "early_stopping": 5, "learning_rate": 0.9, "max_depth": 6}
    booster(Task.REGRESSION).fit(given, params, seed=0)
    facts = given.fitting.facts
    assert facts["rounds"] < facts["rounds_trained"] < 300
    assert facts["held_out_rows"] > 0


@pytest.mark.parametrize("booster", BOOSTERS)
def test_parameters_of_the_other_task_are_unknown(units, regression, booster):
    with pytest.raises(InvalidInput, match="unknown parameter 'class_weight'"):
        booster(Task.REGRESSION).require_params({"class_weight": "balanced"})
    with pytest.raises(InvalidInput, match="unknown parameter 'objective'"):
        booster().require_params({"objective": "poisson"})
    with pytest.raises(InvalidInput, match="objective: expected one of squared_error, poisson, absolute_error"):
        booster(Task.REGRESSION).require_params({"objective": "tweedie"})
    below = [replace(part, target=part.target - 1) for part in units()]
    with pytest.raises(InvalidInput, match="some targets are below 0, which the objective poisson"):
        booster(Task.REGRESSION).fit(regression(below), {"objective": "poisson", "rounds": 2}, seed=0)


def test_a_trainer_of_another_task_is_refused_with_those_that_there_are():
    with pytest.raises(InvalidInput, match="trainer logistic makes no models of task regression; lightgbm, linear, po"):
        load_trainer("logistic", Task.REGRESSION)
    with pytest.raises(InvalidInput, match="trainer poisson makes no models of task binary"):
        load_trainer("poisson")
