"""Fitted models of scikit-learn as the bytes of a skops file: the same model gives the same bytes.

1. What fitting alone needs isn't written: states of optimisers and generators, losses, scores along the way. A file is
   made of nothing but what `sklearn.TRUSTED` lists, and is read back before anybody gets it.
2. skops names nodes and files by where they lay in memory, and notes the time: both are numbered anew here, and bytes
   between the fields of a tree's nodes, which nobody set, become 0.
"""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np

from dataops.errors import Compute
from dataops.models.sklearn import load

_FOR_FITTING = (
    *("_best_coefs", "_best_intercepts", "_label_binarizer", "_no_improvement_count", "_optimizer", "_random_state"),
    *("loss_curve_", "best_loss_", "best_validation_score_", "validation_scores_"),
    *("_average_coef", "_average_intercept", "_standard_coef", "_standard_intercept", "_expanded_class_weight"),
    *("_loss_function_", "_feature_subsample_rng", "_label_encoder", "_random_seed", "_scorer", "train_score_"),
    *("validation_score_", "_is_categorical_remapped"),
)
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say
_SCHEMA = "schema.json"


def to_bytes(model: Any) -> bytes:
    """The skops file of a fitted classifier, or of a pipeline that ends with one; `model` stays as it is.

    Raises
    ------
    Compute : skops isn't installed here.
    Format : the model isn't one that `sklearn.load` reads.
    """
    try:
        import skops.io
    except ModuleNotFoundError:
        raise Compute(
            "models of scikit-learn are written by skops, which isn't installed here: install dataops[skops]"
        ) from None
    data = _numbered_anew(bytes(skops.io.dumps(_for_scoring(model))))
    load(data, 1)
    return data


def _for_scoring(model: Any) -> Any:
    """A copy of `model` without what scoring doesn't need."""
    slim = copy.copy(model)
    if hasattr(slim, "steps"):
        slim.steps = [(name, _for_scoring(step)) for name, step in slim.steps]
        return slim
    for name in _FOR_FITTING:
        if name in vars(slim):
            delattr(slim, name)
    if hasattr(slim, "n_jobs"):
        slim.n_jobs = None  # threads are whoever scores' own
    if hasattr(slim, "_bin_mapper"):
        slim._bin_mapper = copy.copy(slim._bin_mapper)  # noqa: SLF001 - scikit-learn offers no other way
        slim._bin_mapper.n_threads = slim._bin_mapper.random_state = None  # noqa: SLF001
    return slim


def _numbered_anew(data: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        schema = json.loads(old.read(_SCHEMA))
        for number, node in enumerate(_nodes(schema)):
            node["__id__"] = number
            if "file" in node:
                content = old.read(node["file"])
                node["file"] = f"{number}.npy"
                new.writestr(zipfile.ZipInfo(node["file"], _MOMENT), _without_gaps(content))
        new.writestr(zipfile.ZipInfo(_SCHEMA, _MOMENT), json.dumps(schema))
    return out.getvalue()


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every node that has a number, a parent before what it holds, in the order of the file."""
    if isinstance(schema, dict):
        if "__id__" in schema:
            yield schema
        for value in list(schema.values()):
            yield from _nodes(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _nodes(value)


def _without_gaps(content: bytes) -> bytes:
    """The array of an ``.npy`` file with 0 in the bytes that belong to no field."""
    array = np.load(BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    out = BytesIO()
    np.save(out, clean, allow_pickle=False)
    return out.getvalue()
