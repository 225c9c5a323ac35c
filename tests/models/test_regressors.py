"""Models of numbers: each format says its task by its own bytes, and reads no objective that it doesn't know."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from dataops.declarations.metrics import Task
from dataops.errors import Format, Integrity
from dataops.features.encoder import Encoded
from dataops.models.boosted import BoostedModel
from dataops.models.golden import Golden, check_golden, make_golden
from dataops.models.linear import LinearModel
from dataops.models.native import load_native
from dataops.models.package import files_of, manifest_of, parse_manifest, unpack
from dataops.models.predictor import BOOSTED, LIGHTGBM, LINEAR, LINKED, load_predictor
from dataops.models.scoring import score_table
from tests.models.test_pipeline import PROGRAM, people
from tests.registry.examples import make_package

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


def numbers_of(kind: str) -> tuple[str, bytes]:
    """A model of a number over the rows of `tests.models.test_pipeline`."""
    encoded = PROGRAM.run(people())[1].values
    target = np.exp(0.3 * encoded[:, 0] + 0.2 * encoded[:, 3])
    if kind in ("identity", "log"):
        categorical = ((0.0, 0.75, -0.75), (0.1, -0.3, 0.6), (0.5,))
        model = LinearModel(intercept=2.5, numeric=(0.25, -0.5, 1 / 3), categorical=categorical, link=kind)
        return LINKED, model.to_bytes()
    if kind.startswith(("reg:", "count:")):
        import xgboost

        data = xgboost.DMatrix(encoded, label=target)
        return BOOSTED, bytes(xgboost.train({"objective": kind, "max_depth": 4}, data, 20).save_raw("ubj"))
    import lightgbm

    settings = {"objective": kind, "num_leaves": 15, "verbosity": -1, "num_threads": 1}
    return LIGHTGBM, lightgbm.train(settings, lightgbm.Dataset(encoded, label=target), 20).model_to_string().encode()


KINDS = ["identity", "log", "reg:squarederror", "reg:absoluteerror", "count:poisson", "regression", "poisson"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_predicts_the_versions_numbers(kind):
    model_format, model = numbers_of(kind)
    predictor = load_predictor(model_format, model)
    golden = make_golden(PROGRAM, predictor)
    package = replace(make_package(), program=PROGRAM, model_format=model_format, model=model, golden=golden)
    expected = score_table(PROGRAM, predictor, people())
    assert np.ptp(expected) > 1
    found = package.to_sklearn().predict(people().to_pandas())
    np.testing.assert_allclose(found, expected, rtol=0, atol=golden.tolerance)
    moved = tuple(None if one is None else one * 1.01 + 1 for one in golden.predictions)
    with pytest.raises(Integrity, match="golden rows otherwise"):
        replace(package, golden=replace(golden, predictions=moved)).to_sklearn()


def test_golden_rows_of_a_regression_are_version_2_and_hold_any_number():
    predictor = load_predictor(*numbers_of("identity"))
    golden = make_golden(PROGRAM, predictor)
    assert golden.task is Task.REGRESSION
    assert any(one is not None and one > 1 for one in golden.predictions)
    assert set(golden.record()) == {"columns", "rows", "predictions"}
    assert Golden.from_record(golden.record()) == golden
    check_golden(golden, PROGRAM, predictor)
    moved = replace(golden, predictions=tuple(one and one * (1 + 1e-4) for one in golden.predictions))
    with pytest.raises(Integrity, match="answers otherwise"):
        check_golden(moved, PROGRAM, predictor)
    with pytest.raises(Integrity, match="golden rows are those of a binary one"):
        check_golden(replace(golden, task=Task.BINARY), PROGRAM, predictor)
    with pytest.raises(Format):
        Golden.from_record({**golden.record(), "predictions": [float("inf")] * len(golden.rows)})


def test_the_folder_of_a_regression_says_its_task():
    model_format, model = numbers_of("log")
    golden = make_golden(PROGRAM, load_predictor(model_format, model))
    package = replace(make_package(), program=PROGRAM, model_format=model_format, model=model, golden=golden)
    package = replace(package, lineage={**package.lineage, "task": "regression"})
    assert package.task is Task.REGRESSION
    files = files_of(package)
    assert b'"format":"dataops/golden/2"' in files["golden.json"]
    assert json.loads(files["MLmodel"])["metadata"] == {"task": "regression"}
    manifest = manifest_of(package, files, model="delay", version=1, at=datetime(2026, 1, 31, tzinfo=UTC))
    again = unpack(parse_manifest(manifest, model="delay", version=1), files)
    assert (again.golden, again.task) == (golden, Task.REGRESSION)
    assert "metadata" not in json.loads(files_of(make_golden_package())["MLmodel"])
    with pytest.raises(Format, match="of a task that isn't known here: 'ranking'"):
        _ = replace(package, lineage={"task": "ranking"}).task


def make_golden_package():
    package = make_package()
    return replace(package, golden=make_golden(package.program, load_predictor(package.model_format, package.model)))
