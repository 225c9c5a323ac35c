"""A model version as a fitted scikit-learn ``Pipeline``: the program's transformer, then the library's own classifier.

1. ``predict_proba(frame)[:, 1]`` is what the version's predictor gives for the same rows, within `golden.TOLERANCE`:
   scikit-learn's sums run in another order, and it tells probabilities of linear models, forests and LightGBM in
   float64.
2. Nothing of ours stands between: XGBoost's and LightGBM's classifiers hold the registered trees, and a model of
   scikit-learn is the registered one. A linear model is a ``LogisticRegression`` over one-hot columns.
3. A pipeline that answers the golden rows otherwise than the version isn't handed out.
4. The formats are read by their own modules: what those refuse is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dataops.errors import Integrity, InvalidInput
from dataops.features.encoder import Encoder
from dataops.models.golden import TOLERANCE, Golden
from dataops.models.predictor import BOOSTED, LIGHTGBM, LINEAR, SKLEARN, load_predictor

if TYPE_CHECKING:
    from dataops.models.package import Package

Steps = list[tuple[str, Any]]


def pipeline_of(package: Package, *, filtered: bool = False, threads: int = 1) -> Any:
    """The fitted ``Pipeline`` of `package`; see `Package.to_sklearn`."""
    load_predictor(package.model_format, package.model)  # refuses what is no such model
    features = package.program.to_sklearn(filtered=filtered)
    steps = _CLASSIFIERS[package.model_format](package.model, package.program.encoder, threads)
    from sklearn.pipeline import Pipeline

    pipeline = Pipeline([("features", features), *steps])
    if package.golden is not None:
        _require_golden(pipeline, package, package.golden)
    return pipeline


def _linear(data: bytes, encoder: Encoder, threads: int) -> Steps:  # noqa: ARG001  # one product of matrices
    """A weight for each column, once there is a column for each code."""
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import OneHotEncoder

    from dataops.models.linear import LinearModel

    model = LinearModel.from_bytes(data)
    sizes, n_numeric = [len(weights) for weights in model.categorical], len(model.numeric)
    if (n_numeric, tuple(sizes)) != (len(encoder.numeric), encoder.code_counts()):
        raise InvalidInput("the model's weights aren't those of the encoder's columns: they don't belong together")
    classifier = LogisticRegression()
    weights = np.concatenate([model.numeric, *model.categorical])
    classifier.coef_, classifier.intercept_ = weights[None], np.array([model.intercept])
    classifier.classes_, classifier.n_features_in_ = np.array([0, 1]), len(weights)
    classifier.n_iter_ = np.zeros(1, np.int32)
    if not sizes:
        return [("model", classifier)]
    one_hot = OneHotEncoder(categories=[np.arange(size, dtype=np.float32) for size in sizes], dtype=np.float32)
    places = list(range(n_numeric + len(sizes)))
    columns = ColumnTransformer(
        [("numbers", "passthrough", places[:n_numeric]), ("codes", one_hot, places[n_numeric:])], sparse_threshold=1.0
    ).fit(np.zeros((1, len(places)), np.float32))
    return [("one_hot", columns), ("model", classifier)]


def _boosted(data: bytes, encoder: Encoder, threads: int) -> Steps:  # noqa: ARG001  # the trees know their columns
    import xgboost

    classifier = xgboost.XGBClassifier(n_jobs=threads)
    classifier.load_model(bytearray(data))
    classifier.set_params(n_estimators=classifier.get_booster().num_boosted_rounds())
    return [("model", classifier)]


def _lightgbm(data: bytes, encoder: Encoder, threads: int) -> Steps:
    """LightGBM's classifier takes no trees from elsewhere, so one that was fitted to nothing has its trees changed."""
    import lightgbm

    from dataops.models.lightgbm import LightGbmModel

    booster = LightGbmModel(data, threads).booster
    nothing = np.zeros((2, len(encoder.numeric) + len(encoder.categorical)), np.float32)
    classifier = lightgbm.LGBMClassifier(n_estimators=1, n_jobs=threads, verbosity=-1).fit(nothing, [0, 1])
    classifier.set_params(n_estimators=booster.num_trees())
    classifier._Booster = booster  # noqa: SLF001  # there is no other way in; the golden rows tell if it was one
    return [("model", classifier)]


def _sklearn(data: bytes, encoder: Encoder, threads: int) -> Steps:  # noqa: ARG001  # it knows its columns
    from dataops.models.sklearn import load

    return [("model", load(data, threads).estimator)]


_CLASSIFIERS: Mapping[str, Callable[[bytes, Encoder, int], Steps]] = {
    LINEAR: _linear,
    BOOSTED: _boosted,
    LIGHTGBM: _lightgbm,
    SKLEARN: _sklearn,
}


def _require_golden(pipeline: Any, package: Package, golden: Golden) -> None:
    """Nothing, where `pipeline` gives the golden rows the probabilities that the version gave."""
    answered = np.array([one is not None for one in golden.probabilities], bool)
    if not answered.any():
        return
    frame = golden.table(package.program).to_pandas()
    promised = np.array([one for one in golden.probabilities if one is not None])
    found = pipeline.predict_proba(frame[answered])[:, 1]
    apart = float(np.abs(found - promised).max())
    if not apart <= TOLERANCE:
        raise Integrity(
            f"as a pipeline of scikit-learn the model answers its golden rows otherwise, by up to {apart:.2g}: a "
            "library's release that isn't known here; score by the registry's own predictor instead"
        )
