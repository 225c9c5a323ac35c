"""A model version as a fitted scikit-learn ``Pipeline``: the program's transformer, then the library's own model.

1. ``predict_proba(frame)[:, 1]`` is what the version's predictor gives for the same rows, within `golden.TOLERANCE`:
   scikit-learn's sums run in another order, and it tells probabilities of linear models, forests and LightGBM in
   float64.
   Of a regression ``predict(frame)`` is, as near; of a clustering it is the same cluster, but for rows that lie equally
   near to two centres.
2. Nothing of ours stands between: XGBoost's and LightGBM's classifiers and regressors hold the registered trees, and a
   model of scikit-learn is the registered one. A linear model is a ``LogisticRegression``, a ``LinearRegression`` or a
   ``PoissonRegressor`` over one-hot columns, a clustering a ``KMeans``.
3. A pipeline that answers the golden rows otherwise than the version isn't handed out.
4. A calibrated model is the estimator of a ``StackingClassifier``, whose last step makes probabilities of its log odds:
   a ``LogisticRegression`` of one column, behind NumPy's interpolation where the calibration is a curve.
5. The formats are read by their own modules: what those refuse is refused here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dataops.declarations.metrics import Task
from dataops.errors import Integrity, InvalidInput
from dataops.features.encoder import Encoder
from dataops.models.golden import Golden
from dataops.models.predictor import BOOSTED, CENTRES, LIGHTGBM, LINEAR, LINKED, SKLEARN, load_predictor

if TYPE_CHECKING:
    from dataops.models.calibration import Calibration
    from dataops.models.linear import LinearModel
    from dataops.models.package import Package

Steps = list[tuple[str, Any]]
Ending: TypeAlias = tuple[Any, str, Steps]


def pipeline_of(package: Package, *, filtered: bool = False, threads: int = 1) -> Any:
    """The fitted ``Pipeline`` of `package`; see `Package.to_sklearn`."""
    task = load_predictor(package.model_format, package.model).task  # refuses what is no such model
    features = package.program.to_sklearn(filtered=filtered)
    steps = _MODELS[package.model_format](package.model, package.program.encoder, task, threads)
    if package.calibration is not None:
        steps = [*steps[:-1], _calibrated(steps[-1][1], package.model_format, package.calibration)]
    from sklearn.pipeline import Pipeline

    pipeline = Pipeline([("features", features), *steps])
    if package.golden is not None:
        _require_golden(pipeline, package, package.golden)
    return pipeline


def _linear(data: bytes, encoder: Encoder, task: Task, threads: int) -> Steps:  # noqa: ARG001  # its link says all
    """A weight for each column, once there is a column for each code."""
    from dataops.models.linear import LinearModel

    model = LinearModel.from_bytes(data)
    sizes, n_numeric = [len(weights) for weights in model.categorical], len(model.numeric)
    _require_columns(encoder, n_numeric, sizes)
    return [*_one_hot(n_numeric, sizes), ("model", _of_weights(model))]


def _centres(data: bytes, encoder: Encoder, task: Task, threads: int) -> Steps:  # noqa: ARG001  # there is one task
    """A ``KMeans`` of these centres, over a column for each number and each code."""
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import FunctionTransformer

    from dataops.models.centres import CentresModel

    model = CentresModel.from_bytes(data)
    sizes, n_numeric = [len(shares) for shares in model.categorical[0]], len(model.numeric[0])
    _require_columns(encoder, n_numeric, sizes)
    centres = np.array(
        [np.concatenate([one, *codes]) for one, codes in zip(model.numeric, model.categorical, strict=True)], np.float64
    )
    made = KMeans(n_clusters=len(centres), init=centres, n_init=1, max_iter=1).fit(centres)
    made.cluster_centers_ = centres
    # its loops take rows and centres of one type
    double = FunctionTransformer(_as_double, accept_sparse=True)
    return [*_one_hot(n_numeric, sizes), ("double", double), ("model", made)]


def _as_double(rows: Any) -> Any:
    return rows.astype(np.float64)


def _require_columns(encoder: Encoder, n_numeric: int, sizes: Sequence[int]) -> None:
    if (n_numeric, tuple(sizes)) != (len(encoder.numeric), encoder.code_counts()):
        raise InvalidInput("the model's weights aren't those of the encoder's columns: they don't belong together")


def _one_hot(n_numeric: int, sizes: Sequence[int]) -> Steps:
    """A column for each code, behind the numbers; no step where there are no codes."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder

    if not sizes:
        return []
    one_hot = OneHotEncoder(categories=[np.arange(size, dtype=np.float32) for size in sizes], dtype=np.float32)
    places = list(range(n_numeric + len(sizes)))
    columns = ColumnTransformer(
        [("numbers", "passthrough", places[:n_numeric]), ("codes", one_hot, places[n_numeric:])], sparse_threshold=1.0
    ).fit(np.zeros((1, len(places)), np.float32))
    return [("one_hot", columns)]


def _calibrated(model: Any, model_format: str, calibration: Calibration) -> tuple[str, Any]:
    """The classifier `model`, its log odds calibrated, as a fitted step."""
    from sklearn.ensemble import StackingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, LabelEncoder

    model, method, odds = _log_odds(model, model_format)
    if calibration.method == "isotonic":
        knots = {"xp": list(calibration.given), "fp": list(calibration.made)}
        odds = [*odds, ("curve", FunctionTransformer(np.interp, kw_args=knots))]
    line = _logistic(np.array([calibration.slope]), calibration.intercept)
    last = Pipeline([*odds, ("line", line)]) if odds else line
    made = StackingClassifier([("model", model)], final_estimator=last, cv="prefit")
    made.estimators_, made.stack_method_, made.final_estimator_ = [model], [method], last
    made.classes_, made._label_encoder = np.array([0, 1]), LabelEncoder().fit([0, 1])  # noqa: SLF001  # as `fit` would
    return "model", made


def _log_odds(model: Any, model_format: str) -> Ending:
    """The estimator to ask for log odds, by which method, and what makes them of its answer."""
    from scipy.special import logit
    from sklearn.preprocessing import FunctionTransformer

    from dataops.models.sklearn import NEAREST

    if model_format == BOOSTED:  # its probabilities are float32, which near 1 tells log odds badly
        return _raw(model), "predict", []
    if model_format == LINEAR:
        return model, "decision_function", []
    nearest = NEAREST if model_format == SKLEARN else 2.0**-53
    inside = {"a_min": nearest, "a_max": 1 - nearest}
    steps = [("inside", FunctionTransformer(np.clip, kw_args=inside)), ("log_odds", FunctionTransformer(logit))]
    return model, "predict_proba", steps


def _raw(model: Any) -> Any:
    """The trees of XGBoost's classifier `model` as a regressor, which gives their sums."""
    import xgboost
    from scipy.special import logit

    made = xgboost.XGBRegressor(n_jobs=model.n_jobs)
    made.load_model(bytearray(model.get_booster().save_raw("ubj")))
    made.set_params(n_estimators=model.n_estimators)
    booster = made.get_booster()
    base = json.loads(json.loads(booster.save_config())["learner"]["learner_model_param"]["base_score"])
    # it is kept as a probability, which this objective has none of
    booster.set_param({"objective": "binary:logitraw", "base_score": float(logit(np.ravel(base)[0]))})
    return made


def _logistic(weights: np.ndarray[Any, Any], intercept: float) -> Any:
    """scikit-learn's logistic regression of these weights."""
    from sklearn.linear_model import LogisticRegression

    made = LogisticRegression()
    made.coef_, made.intercept_ = weights[None], np.array([intercept])
    made.classes_, made.n_iter_, made.n_features_in_ = np.array([0, 1]), np.zeros(1, np.int32), len(weights)
    return made


def _of_weights(model: LinearModel) -> Any:
    """scikit-learn's model of these weights over one-hot columns."""
    from sklearn.linear_model import LinearRegression, PoissonRegressor

    weights = np.concatenate([model.numeric, *model.categorical])
    if model.link == "logit":
        return _logistic(weights, model.intercept)
    made: Any = LinearRegression() if model.link == "identity" else PoissonRegressor()
    made.fit(np.zeros((2, len(weights))), np.ones(2))  # it knows its link only once it was fitted
    made.coef_, made.intercept_, made.n_features_in_ = weights, model.intercept, len(weights)
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
    CENTRES: _centres,
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
