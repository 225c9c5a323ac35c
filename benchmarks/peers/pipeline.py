"""The registered version's preprocessing and model as a scikit-learn pipeline: what pandas, Dask, Spark and Ray apply.

The transformers are fitted on two rows and then given the very values of the version, so all that score give the same.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, StandardScaler


@lru_cache(maxsize=1)
def load_pipeline(spec_path: str, threads: int) -> Pipeline:
    """The pipeline that the file describes, once per process."""
    import json

    spec = json.loads(Path(spec_path).read_text())
    steps = [("times", FunctionTransformer(_with_times, kw_args={"times": spec["times"]}))] if spec["times"] else []
    model = _boosted(spec["model"]["path"], threads) if spec["model"]["kind"] == "boosted" else _linear(spec["model"])
    return Pipeline([*steps, ("features", _features(spec)), ("model", model)])


def score(pipeline: Pipeline, frame: pd.DataFrame, keep: list[str]) -> pd.DataFrame:
    """The kept columns of `frame` with the probability of the positive class."""
    probability = pipeline.predict_proba(frame)[:, 1]
    return frame[keep].assign(probability=probability.astype(np.float32))


def _with_times(frame: pd.DataFrame, times: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """`frame` with the parts of times that the model was trained on; Sunday is day 0."""
    parts = {"hour": lambda one: one.dt.hour, "day": lambda one: _from_sunday(one.dt.dayofweek)}
    return frame.assign(**{name: parts[part](frame[column]) for name, (column, part) in times.items()})


def _from_sunday(day: pd.Series) -> pd.Series:
    return (day + 1).where(day < 6, 0)  # columns of Arrow, as Ray gives them, know no remainder


def _features(spec: dict[str, Any]) -> ColumnTransformer:
    numeric, categorical = spec["numeric"], spec["categorical"]
    names = [one["name"] for one in numeric], [one["name"] for one in categorical]
    scaler, imputer = StandardScaler(), SimpleImputer()
    codes = OrdinalEncoder(
        categories=[np.array(one["categories"], dtype=object) for one in categorical],
        handle_unknown="use_encoded_value",
        unknown_value=-1,
        dtype=np.float32,
    )
    parts = [("numeric", make_pipeline(imputer, scaler), names[0])] if numeric else []
    parts += [("categorical", make_pipeline(codes, FunctionTransformer(_from_one)), names[1])] if categorical else []
    two_rows = {one["name"]: [0.0, 1.0] for one in numeric}
    two_rows |= {one["name"]: pd.Series([one["categories"][0]] * 2, dtype=object) for one in categorical}
    features = ColumnTransformer(parts).fit(pd.DataFrame(two_rows))
    if numeric:
        imputer, scaler = (step for _, step in features.named_transformers_["numeric"].steps)
        imputer.statistics_ = np.array([one["fill"] for one in numeric])
        scaler.mean_, scaler.scale_ = (np.array([one[key] for one in numeric]) for key in ("mean", "scale"))
    return features


def _from_one(codes: np.ndarray) -> np.ndarray:
    """Codes from 1 on; 0 is what is unknown or missing."""
    codes += 1
    return codes


def _boosted(path: str, threads: int) -> xgboost.XGBClassifier:
    model = xgboost.XGBClassifier(n_jobs=threads)
    model.load_model(path)
    model.set_params(n_jobs=threads)
    model.get_booster().set_param({"nthread": threads})
    return model


def _linear(weights: dict[str, Any]) -> LogisticRegression:
    model = LogisticRegression()
    model.coef_, model.intercept_ = np.array([weights["weights"]]), np.array([weights["intercept"]])
    model.classes_ = np.array([0, 1])
    return model
