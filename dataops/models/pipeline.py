"""A model version as a fitted scikit-learn ``Pipeline``: the program's transformer, then the library's own model.

1. ``predict_proba(frame)[:, 1]`` is what the version's predictor gives for the same rows, within `golden.TOLERANCE`:
   scikit-learn's sums run in another order, and it tells probabilities of linear models, forests and LightGBM in
   float64.
   Of a regression ``predict(frame)`` is, as near.
2. Nothing of ours stands between: XGBoost's and LightGBM's classifiers and regressors hold the registered trees, and a
   model of scikit-learn is the registered one. A linear model is a ``LogisticRegression``, a ``LinearRegression`` or a
   ``PoissonRegressor`` over one-hot columns.
3. A pipeline that answers the golden rows otherwise than the version isn't handed out.
4. The formats are read by their own modules: what those refuse is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dataops.declarations.metrics import Task
from dataops.errors import Integrity, InvalidInput
from dataops.features.encoder import Encoder
from dataops.models.golden import Golden
from dataops.models.predictor import BOOSTED, LIGHTGBM, LINEAR, LINKED, SKLEARN, load_predictor

if TYPE_CHECKING:
    from dataops.models.linear import LinearModel
    from dataops.models.package import Package

Steps = list[tuple[str, Any]]


def pipeline_of(package: Package, *, filtered: bool = False, threads: int = 1) -> Any:
    """The fitted ``Pipeline`` of `package`; see `Package.to_sklearn`."""
    task = load_predictor(package.model_format, package.model).task  # refuses what is no such model
    features = package.program.to_sklearn(filtered=filtered)
    steps = _MODELS[package.model_format](package.model, package.program.encoder, task, threads)
    from sklearn.pipeline import Pipeline

    pipeline = Pipeline([("features", features), *steps])
    if package.golden is not None:
        _require_golden(pipeline, package, package.golden)
    return pipeline


def _linear(data: bytes, encoder: Encoder, task: Task, threads: int) -> Steps:  # noqa: ARG001  # its link says all
    """A weight for each column, once there is a column for each code."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder

    from dataops.models.linear import LinearModel

    model = LinearModel.from_bytes(data)
    sizes, n_numeric = [len(weights) for weights in model.categorical], len(model.numeric)
    if (n_numeric, tuple(sizes)) != (len(encoder.numeric), encoder.code_counts()):
        raise InvalidInput("the model's weights aren't those of the encoder's columns: they don't belong together")
    last = _of_weights(model)
    if not sizes:
        return [("model", last)]
    one_hot = OneHotEncoder(categories=[np.arange(size, dtype=np.float32) for size in sizes], dtype=np.float32)
    places = list(range(n_numeric + len(sizes)))
    columns = ColumnTransformer(
        [("numbers", "passthrough", places[:n_numeric]), ("codes", one_hot, places[n_numeric:])], sparse_threshold=1.0
    ).fit(np.zeros((1, len(places)), np.float32))
    return [("one_hot", columns), ("model", last)]


def _of_weights(model: LinearModel) -> Any:
    """scikit-learn's model of these weights over one-hot columns."""
    from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor

    weights = np.concatenate([model.numeric, *model.categorical])
    if model.link == "logit":
        made: Any = LogisticRegression()
        made.coef_, made.intercept_ = weights[None], np.array([model.intercept])
        made.classes_, made.n_iter_ = np.array([0, 1]), np.zeros(1, np.int32)
    else:
        made = LinearRegression() if model.link == "identity" else PoissonRegressor()
        made.fit(np.zeros((2, len(weights))), np.ones(2))  # it knows its link only once it was fitted
        made.coef_, made.intercept_ = weights, model.intercept
    made.n_features_in_ = len(weights)
    return made


def _boosted(data: bytes, encoder: Encoder, task: Task, threads: int) -> Steps:  # noqa: ARG001  # the trees know their columns
    import xgboost

    made = (xgboost.XGBClassifier if task is Task.BINARY else xgboost.XGBRegressor)(n_jobs=threads)
    made.load_model(bytearray(data))
    made.set_params(n_estimators=made.get_booster().num_boosted_rounds())
    return [("model", made)]


def _lightgbm(data: bytes, encoder: Encoder, task: Task, threads: int) -> Steps:
    """LightGBM's models take no trees from elsewhere, so one that was fitted to nothing has its trees changed."""
    import lightgbm

    from dataops.models.lightgbm import LightGbmModel

    booster = LightGbmModel(data, threads).booster
    nothing = np.zeros((2, len(encoder.numeric) + len(encoder.categorical)), np.float32)
    kind = lightgbm.LGBMClassifier if task is Task.BINARY else lightgbm.LGBMRegressor
    made = kind(n_estimators=1, n_jobs=threads, verbosity=-1).fit(nothing, [0, 1])
    made.set_params(n_estimators=booster.num_trees())
    made._Booster = booster  # noqa: SLF001  # there is no other way in; the golden rows tell if it was one
    return [("model", made)]


def _sklearn(data: bytes, encoder: Encoder, task: Task, threads: int) -> Steps:  # noqa: ARG001  # it knows its columns
    from dataops.models.sklearn import load

    return [("model", load(data, threads).estimator)]


_MODELS: Mapping[str, Callable[[bytes, Encoder, Task, int], Steps]] = {
    LINEAR: _linear,
    LINKED: _linear,
    BOOSTED: _boosted,
    LIGHTGBM: _lightgbm,
    SKLEARN: _sklearn,
}


def _require_golden(pipeline: Any, package: Package, golden: Golden) -> None:
    """Nothing, where `pipeline` gives the golden rows the predictions that the version gave."""
    answered = np.array([one is not None for one in golden.predictions], bool)
    if not answered.any():
        return
    frame = golden.table(package.program).to_pandas()
    promised = np.array([one for one in golden.predictions if one is not None])
    rows = frame[answered]
    found = pipeline.predict_proba(rows)[:, 1] if golden.task is Task.BINARY else pipeline.predict(rows)
    apart = float(np.abs(found - promised).max())
    if not apart <= golden.tolerance:
        raise Integrity(
            f"as a pipeline of scikit-learn the model answers its golden rows otherwise, by up to {apart:.2g}: a "
            "library's release that isn't known here; score by the registry's own predictor instead"
        )
