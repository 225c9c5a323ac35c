"""What stands beside a model does right with every kind of feature: golden rows, and scoring alike rows once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xgboost

from dataops.declarations.features import FeatureSpec
from dataops.features.encoder import encode
from dataops.features.fitting import asked_of, fit_encoder
from dataops.features.making import with_made
from dataops.features.program import FeatureProgram, compose_program
from dataops.features.steps import RowSteps
from dataops.features.summary import summarise
from dataops.features.target import FOLDS, Outcomes
from dataops.models.boosted import BoostedModel
from dataops.models.golden import Golden, check_golden, make_golden
from dataops.models.grid import LEAST_TREES
from dataops.records import canonical_bytes

FEATURES = {
    "numeric": [
        {"columns": ["x"], "indicator": True, "clip": {"quantiles": [0.02, 0.98]}, "log": True, "scale": "robust"},
        {"columns": ["n"], "bins": 5},
    ],
    "categorical": [
        {"columns": ["c"], "encode": "target"},
        {"columns": ["c"], "encode": "frequency"},
        {"columns": ["d"], "encode": "hash", "buckets": 7},
    ],
    "dates": [
        {"columns": ["at"], "parts": ["hour"], "encode": "cyclical", "zone": "America/New_York"},
        {"columns": ["at"], "parts": ["weekday"], "encode": "category"},
    ],
    "crosses": {"columns": ["d", "n"], "min_count": 5},
}


def rows(number: int) -> pa.Table:
    random = np.random.default_rng(number)
    return pa.table(
        {
            "x": pa.array(random.lognormal(1, 1, number).round(1), mask=random.random(number) < 0.1),
            "n": pa.array(random.integers(0, 9, number), pa.int16()),
            "c": random.choice(list("abcde"), number),
            "d": pa.array(random.choice(["p", "q", None], number), pa.string()),
            "at": pa.array(random.integers(0, 10**9, number), pa.timestamp("s", "UTC")),
        }
    )


@pytest.fixture(scope="module")
def program() -> FeatureProgram:
    spec = FeatureSpec.model_validate_json(json.dumps(FEATURES), strict=True)
    asked, table = asked_of(spec), rows(2000)
    random = np.random.default_rng(5)
    outcomes = Outcomes(target=random.integers(0, 2, 2000), folds=random.integers(0, FOLDS, 2000))
    summary = summarise(with_made(table, asked.made), asked.numeric, asked.categorical, asked.targets, outcomes)
    return compose_program(table.schema, RowSteps(), fit_encoder(summary, spec))


@pytest.fixture(scope="module")
def model(program: FeatureProgram) -> BoostedModel:
    encoded = encode(program.encoder, rows(5000))
    target = (encoded.values @ np.linspace(-1, 1, encoded.values.shape[1]) > 0).astype(np.float32)
    params = {"objective": "binary:logistic", "nthread": 1, "max_depth": 4}
    booster = xgboost.train(params, xgboost.DMatrix(encoded.values, label=target), LEAST_TREES)
    return BoostedModel.from_bytes(bytes(booster.save_raw("ubj")))


def test_golden_rows_reach_codes_of_every_feature(program: FeatureProgram, model: BoostedModel) -> None:
    golden = make_golden(program, model)
    again = Golden.from_record(json.loads(canonical_bytes(golden.record())))
    assert again == golden == make_golden(FeatureProgram.from_record(program.record()), model)
    check_golden(again, program, model)
    _, encoded = program.run(golden.table(program))
    told: dict[str, Any] = {
        column.name: len(set(values))
        for column, values in zip(program.encoder.columns, encoded.values.T.tolist(), strict=True)
    }
    assert min(told.values()) > 1, told
    codes = encoded.values[:, encoded.n_numeric :]
    assert (codes[:, [column.name for column in program.encoder.categorical].index("cross(d, n)")] > 0).any()


def test_rows_that_trees_can_t_tell_apart_are_scored_once_and_alike(
    program: FeatureProgram, model: BoostedModel
) -> None:
    _, encoded = program.run(rows(20_000))
    assert model.grid is not None
    keys = model.grid.keys(encoded.values)
    scores = model.of_rows(encoded.values, "value")
    _, first, places = np.unique(keys, return_index=True, return_inverse=True)
    assert scores[first][places].tobytes() == scores.tobytes()
    assert model.predict(encoded).tobytes() == scores.tobytes()
