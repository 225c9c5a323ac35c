"""Models of numbers: each format says its task by its own bytes, and reads no objective that it doesn't know."""

from __future__ import annotations

import numpy as np
import pytest

from dataops.declarations.metrics import Task
from dataops.errors import Format
from dataops.features.encoder import Encoded
from dataops.models.boosted import BoostedModel
from dataops.models.linear import LinearModel
from dataops.models.native import load_native
from dataops.models.predictor import BOOSTED, LIGHTGBM, LINEAR, LINKED, load_predictor

WEIGHTS = {"intercept": 0.5, "numeric": (0.25, -2.0), "categorical": ((0.0, 1.0, 3.0),)}


def rows(n: int = 200) -> Encoded:
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.normal(size=(n, 2)), rng.integers(0, 3, n)]).astype(np.float32)
    return Encoded(values=values, n_numeric=2, unknown={})


def sums(encoded: Encoded) -> np.ndarray:
    weights = np.array(WEIGHTS["categorical"][0])
    return 0.5 + encoded.values[:, :2].astype(np.float64) @ [0.25, -2.0] + weights[encoded.values[:, 2].astype(int)]


@pytest.mark.parametrize(("link", "of"), [("identity", lambda m: m), ("log", np.exp)])
def test_a_linear_model_with_a_link_is_version_2_and_predicts_numbers(link, of):
    model = LinearModel(**WEIGHTS, link=link)
    again = load_predictor(LINKED, model.to_bytes())
    assert (model.format, again.format, again.task) == (LINKED, LINKED, Task.REGRESSION)
    assert again == model
    np.testing.assert_allclose(again.predict(rows()), of(sums(rows())), rtol=1e-6)
    np.testing.assert_allclose(again.margins(rows()), sums(rows()), rtol=1e-6)


def test_a_logistic_model_stays_version_1():
    model = LinearModel(**WEIGHTS)
    assert (model.format, model.task) == (LINEAR, Task.BINARY)
    assert b"linear-model/1" in model.to_bytes()
    assert b"link" not in model.to_bytes()


@pytest.mark.parametrize("link", ["logit", "cubic"])
def test_a_link_that_isnt_known_is_refused(link):
    data = LinearModel(**WEIGHTS, link="log").to_bytes().replace(b'"log"', f'"{link}"'.encode())
    with pytest.raises(Format, match="ValueError"):
        load_predictor(LINKED, data)


def test_an_exponential_beyond_float32_is_infinite_and_no_warning():
    model = LinearModel(intercept=100.0, numeric=(0.0, 0.0), categorical=((0.0, 0.0, 0.0),), link="log")
    assert np.isinf(model.predict(rows(2))).all()


@pytest.mark.parametrize("objective", ["reg:squarederror", "reg:absoluteerror", "count:poisson"])
def test_xgboosts_regressions_are_read_and_say_so(objective):
    import xgboost

    encoded = rows()
    matrix = xgboost.DMatrix(encoded.values, np.abs(sums(encoded)))
    booster = xgboost.train({"objective": objective, "nthread": 1, "max_depth": 3}, matrix, 5)
    data = bytes(booster.save_raw("ubj"))
    model = load_predictor(BOOSTED, data)
    assert model.task is Task.REGRESSION
    expected = booster.inplace_predict(encoded.values)
    assert model.predict(encoded).tobytes() == expected.tobytes()
    native = load_native(data)
    assert native is not None
    assert native.task is Task.REGRESSION
    assert native.predict(encoded).tobytes() == expected.tobytes()


def test_other_objectives_of_xgboost_are_refused():
    import xgboost

    matrix = xgboost.DMatrix(rows().values, np.abs(sums(rows())))
    booster = xgboost.train({"objective": "reg:gamma", "nthread": 1}, matrix, 2)
    with pytest.raises(Format, match="objective 'reg:gamma'; expected one of binary:logistic"):
        BoostedModel.from_bytes(bytes(booster.save_raw("ubj")))


@pytest.mark.parametrize("objective", ["regression", "regression_l1", "poisson"])
def test_lightgbms_regressions_are_read_and_say_so(objective):
    import lightgbm

    from dataops.training.lightgbm import cut_trees

    encoded = rows()
    data = lightgbm.Dataset(encoded.values, np.abs(sums(encoded)))
    booster = lightgbm.train({"objective": objective, "num_threads": 1, "verbosity": -1}, data, 5)
    text = booster.model_to_string()
    end = "\nend of trees\n"
    model = load_predictor(LIGHTGBM, cut_trees(f"{text[: text.index(end)]}{end}".encode(), 5))
    assert model.task is Task.REGRESSION
    np.testing.assert_allclose(model.predict(encoded), booster.predict(encoded.values), rtol=1e-6)
