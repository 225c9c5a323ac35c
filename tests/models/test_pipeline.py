"""A version as a pipeline of scikit-learn gives the version's probabilities, whatever library its model is of."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from dataops.errors import Format, Integrity, InvalidInput
from dataops.features.encoder import CategoricalColumn, Encoder, NumericColumn
from dataops.features.program import FeatureProgram, compose_program
from dataops.features.steps import RowSteps
from dataops.governance.expressions import parse_expression
from dataops.models.calibration import Calibration
from dataops.models.golden import make_golden
from dataops.models.linear import LinearModel
from dataops.models.package import Package
from dataops.models.predictor import BOOSTED, LIGHTGBM, LINEAR, SKLEARN, load_predictor
from dataops.models.scoring import score_table
from tests.registry.examples import make_package

SCHEMA = pa.schema([("age", pa.int64()), ("wage", pa.float64()), ("job", pa.string()), ("member", pa.bool_())])
ENCODER = Encoder(
    numeric=(
        NumericColumn(name="age", fill=40.0, mean=41.5, scale=12.0),
        NumericColumn(name="high", fill=0.0, mean=0.0, scale=1.0),
        NumericColumn(name="wage", fill=9.5, mean=10.0, scale=4.0),
    ),
    categorical=(
        CategoricalColumn(name="job", categories=("clerk", "nurse")),
        CategoricalColumn(name="member", categories=("false", "true")),
        CategoricalColumn(name="wage", categories=()),
    ),
)
DERIVE = (("high", parse_expression("wage > 12", where="test")),)
PROGRAM = compose_program(SCHEMA, RowSteps(derive=DERIVE), ENCODER)
ROWS = 2_000


@cache
def people() -> pa.Table:
    random = np.random.default_rng(11)
    columns = [
        pa.array(random.integers(18, 90, ROWS), mask=random.random(ROWS) < 0.1),
        pa.array(
            np.where(random.random(ROWS) < 0.02, np.inf, random.normal(10, 4, ROWS)), mask=random.random(ROWS) < 0.1
        ),
        pa.array(random.choice(["clerk", "nurse", "pilot"], ROWS), mask=random.random(ROWS) < 0.1),
        pa.array(random.random(ROWS) < 0.5, mask=random.random(ROWS) < 0.1),
    ]
    return pa.table(columns, SCHEMA)


def model_of(model_format: str) -> bytes:
    encoded = PROGRAM.run(people())[1].values
    labels = (encoded[:, 0] + encoded[:, 3] + np.random.default_rng(1).normal(size=ROWS) > 1).astype(int)
    if model_format == LINEAR:
        categorical = ((0.0, 0.75, -0.75), (0.1, -0.3, 0.6), (0.5,))
        return LinearModel(intercept=0.5, numeric=(0.25, -1.5, 1 / 3), categorical=categorical).to_bytes()
    if model_format == BOOSTED:
        import xgboost

        data = xgboost.DMatrix(encoded, label=labels)
        return bytes(xgboost.train({"objective": "binary:logistic", "max_depth": 4}, data, 20).save_raw("ubj"))
    if model_format == LIGHTGBM:
        lightgbm = pytest.importorskip("lightgbm", reason="the extra lightgbm isn't installed")
        data = lightgbm.Dataset(encoded, label=labels)
        settings = {"objective": "binary", "num_leaves": 15, "verbosity": -1, "num_threads": 1}
        return str(lightgbm.train(settings, data, 20).model_to_string()).encode()
    skops = pytest.importorskip("skops.io", reason="the extra skops isn't installed")
    kinds = {"forest": RandomForestClassifier(8, max_depth=5, random_state=0), "logistic": LogisticRegression()}
    return bytes(skops.dumps(kinds[model_format.partition(" ")[2]].fit(encoded, labels)))


def package_of(kind: str, program: FeatureProgram = PROGRAM) -> Package:
    model_format, model = kind.split(" ", maxsplit=1)[0], model_of(kind)
    golden = make_golden(program, load_predictor(model_format, model))
    return replace(make_package(), program=program, model_format=model_format, model=model, golden=golden)


@pytest.mark.parametrize("kind", [LINEAR, BOOSTED, LIGHTGBM, f"{SKLEARN} forest", f"{SKLEARN} logistic"])
def test_a_pipeline_gives_the_versions_probabilities(kind: str) -> None:
    package = package_of(kind)
    frame = people().to_pandas()
    expected = score_table(package.program, load_predictor(package.model_format, package.model), people())
    assert np.ptp(expected) > 0.3
    pipeline = package.to_sklearn()
    assert type(pipeline) is Pipeline
    for one in (pipeline, pickle.loads(pickle.dumps(pipeline))):
        found = one.predict_proba(frame)
        assert found.shape == (ROWS, 2)
        np.testing.assert_allclose(found[:, 1], expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=0, atol=1e-6)
        assert (one.predict(frame) == one.classes_[(found[:, 1] > 0.5).astype(int)]).all()
    np.testing.assert_allclose(pipeline.predict_proba(frame[7:8])[:, 1], expected[7:8], rtol=0, atol=1e-6)


SHARP = Calibration(method="sigmoid", slope=0.45, intercept=-1.25)
CURVE = Calibration(method="isotonic", given=(-70.0, -1.5, -0.25, 0.5, 70.0), made=(-40.0, -2.0, -1.75, 0.75, 30.0))


@pytest.mark.parametrize("kind", [LINEAR, BOOSTED, LIGHTGBM, f"{SKLEARN} forest", f"{SKLEARN} logistic"])
@pytest.mark.parametrize("calibration", [SHARP, CURVE], ids=lambda one: one.method)
def test_a_pipeline_gives_calibrated_probabilities_too(kind: str, calibration: Calibration) -> None:
    plain = package_of(kind)
    package = replace(plain, calibration=calibration)
    package = replace(package, golden=make_golden(package.program, package.predictor()))
    expected = score_table(package.program, package.predictor(), people())
    assert np.abs(expected - score_table(package.program, plain.predictor(), people())).max() > 0.1
    pipeline = package.to_sklearn()
    for one in (pipeline, pickle.loads(pickle.dumps(pipeline))):
        found = one.predict_proba(people().to_pandas())
        np.testing.assert_allclose(found[:, 1], expected, rtol=0, atol=1e-6)
        assert (one.predict(people().to_pandas()) == (found[:, 1] > 0.5)).all()
    with pytest.raises(Integrity, match="golden rows otherwise"):
        replace(package, golden=plain.golden).to_sklearn()


def test_a_sure_boosted_model_is_calibrated_alike_where_float32_probabilities_end() -> None:
    import xgboost

    encoded = PROGRAM.run(people())[1].values
    sure = {"objective": "binary:logistic", "eta": 3.0, "lambda": 0.0, "min_child_weight": 0.0}
    data = xgboost.DMatrix(encoded, label=encoded[:, 3] > 0)
    model = bytes(xgboost.train(sure, data, 12).save_raw("ubj"))
    package = replace(make_package(), program=PROGRAM, model_format=BOOSTED, model=model, calibration=SHARP)
    margins = package.predictor().model.margins(PROGRAM.run(people())[1])
    assert np.abs(margins).max() > 12
    expected = score_table(PROGRAM, package.predictor(), people())
    found = package.to_sklearn().predict_proba(people().to_pandas())
    np.testing.assert_allclose(found[:, 1], expected, rtol=0, atol=1e-6)


def test_a_linear_model_without_categories_needs_no_one_hot_columns() -> None:
    program = compose_program(SCHEMA, RowSteps(derive=DERIVE), replace(ENCODER, categorical=()))
    model = LinearModel(intercept=-1.0, numeric=(0.5, 0.25, -0.125), categorical=())
    package = replace(make_package(), program=program, model=model.to_bytes())
    pipeline = package.to_sklearn()
    assert [name for name, _ in pipeline.steps] == ["features", "model"]
    expected = score_table(program, model, people())
    np.testing.assert_allclose(pipeline.predict_proba(people().to_pandas())[:, 1], expected, rtol=0, atol=1e-6)


def test_a_model_of_another_encoder_is_refused() -> None:
    with pytest.raises(InvalidInput, match="don't belong together"):
        replace(make_package(), program=PROGRAM).to_sklearn()


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(Format, match="not an XGBoost model"):
        replace(make_package(), program=PROGRAM, model_format=BOOSTED, model=b"{L").to_sklearn()


def test_a_pipeline_that_answers_otherwise_than_the_version_is_not_handed_out() -> None:
    package = package_of(LINEAR)
    assert package.golden is not None
    moved = tuple(None if one is None else one / 2 for one in package.golden.predictions)
    with pytest.raises(Integrity, match="golden rows otherwise, by up to"):
        replace(package, golden=replace(package.golden, predictions=moved)).to_sklearn()


def test_rows_that_a_model_says_nothing_about_are_the_callers_to_leave_out() -> None:
    where = parse_expression("age is not null", where="test")
    package = package_of(LINEAR, compose_program(SCHEMA, RowSteps(derive=DERIVE, where=where), ENCODER))
    with pytest.raises(InvalidInput, match="filtered=True"):
        package.to_sklearn()
    expected = score_table(package.program, load_predictor(LINEAR, package.model), people())
    kept = people().to_pandas()[~np.isnan(expected)]
    assert 0 < len(kept) < ROWS
    found = package.to_sklearn(filtered=True).predict_proba(kept)[:, 1]
    np.testing.assert_allclose(found, expected[~np.isnan(expected)], rtol=0, atol=1e-6)


def test_a_package_is_read_without_scikit_learn() -> None:
    code = "import sys, dataops.models.package; print(sorted({'sklearn', 'pandas', 'xgboost'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
