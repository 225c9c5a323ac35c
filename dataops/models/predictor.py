"""The seam of predictors: a model's bytes as a function from encoded rows to predictions, and the formats there are.

1. A predictor gives one float32 per row, and a row's depends on that row alone: the probability of the positive class,
   the number that a regression predicts, or that of the nearest centre of a clustering, as its `task` says. It is the
   same to the bit whatever rows are beside it, but for scikit-learn's linear models, whose last bit may be rounded by
   these (`sklearn`).
2. Formats are data, never code. Each is named with its version, and has one loader, which is imported when used.
3. Bytes come here verified (size and digest, `registry`): what still can't be parsed is a Format error.
4. Threads are the caller's choice; one unless told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Task
from dataops.errors import Compute, Format, InvalidInput, near_match
from dataops.features.encoder import Encoded

Predictions = npt.NDArray[np.float32]
Probabilities = Predictions
Margins = npt.NDArray[np.float32]

Kernel: TypeAlias = Literal["xgboost", "onedal"]
"""What scores XGBoost's trees."""

LINEAR, BOOSTED, LIGHTGBM, SKLEARN = "linear-json/1", "xgboost-ubj/1", "lightgbm-text/1", "sklearn-skops/1"
LINKED = "linear-json/2"
"""Linear models that say their link; those of `LINEAR` are logistic."""
CENTRES = "clusters-json/1"
"""Centres of a clustering."""


class Predictor(Protocol):
    """A model, ready to score."""

    @property
    def format(self) -> str:
        """The name of the format that it was read from."""
        ...

    @property
    def task(self) -> Task:
        """What it predicts, by its own bytes."""
        ...

    def predict(self, encoded: Encoded) -> Predictions:
        """``(n_rows,)`` float32: the probability of the positive class; the number that a regression predicts; that of
        a row's cluster.
        """
        ...

    def margins(self, encoded: Encoded) -> Margins:
        """``(n_rows,)`` float32: the log odds of the positive class; of a regression, before its link; of a clustering
        the distance to the nearest centre.
        """
        ...


class Loader(Protocol):
    """What the module of a format offers as ``load``."""

    def __call__(self, data: bytes, threads: int, /) -> Predictor:
        """The predictor in `data`; Format where it isn't what the format says."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFormat:
    """A format of models.

    Attributes
    ----------
    file : the name of the model's file in a version's folder.
    module : the module whose ``load`` reads it.
    extra : the extra of this package without which it can't be read; None where none is needed.
    """

    file: str
    module: str
    extra: str | None = None


FORMATS: Mapping[str, ModelFormat] = {
    LINEAR: ModelFormat(file="model.json", module="dataops.models.linear"),
    LINKED: ModelFormat(file="model.json", module="dataops.models.linear"),
    CENTRES: ModelFormat(file="model.json", module="dataops.models.centres"),
    BOOSTED: ModelFormat(file="model.ubj", module="dataops.models.boosted"),
    LIGHTGBM: ModelFormat(file="model.txt", module="dataops.models.lightgbm", extra="lightgbm"),
    SKLEARN: ModelFormat(file="model.skops", module="dataops.models.sklearn", extra="skops"),
}


def load_predictor(format: str, data: bytes, threads: int = 1) -> Predictor:  # noqa: A002 - the manifest's word
    """The predictor in verified `data` of `format`, using `threads` native threads where it uses any.

    Raises
    ------
    Format : no loader for the format, or not what the format says.
    Compute : the library that reads the format isn't installed here.
    """
    if format not in FORMATS:
        raise Format(f"no loader for models of format {format!r}.{near_match(format, FORMATS)}")
    found = FORMATS[format]
    load: Loader = import_module(found.module).load
    try:
        return load(data, threads)
    except ModuleNotFoundError as error:
        raise Compute(
            f"models of format {format} are read by {error.name}, which isn't installed here: install "
            f"dataops[{found.extra}], on the workers too"
        ) from None


def require_columns(encoded: Encoded, expected: int) -> npt.NDArray[np.float32]:
    """The rows of `encoded` as float32 (n_rows, `expected`), codes as floats; refuses another number of columns."""
    found = encoded.values.shape[1]
    if found != expected:
        raise InvalidInput(f"the model takes {expected} columns, the encoder gives {found}: they don't belong together")
    return encoded.values
