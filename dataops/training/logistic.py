"""Logistic regression: log loss with the penalties of an elastic net, as `linear` fits it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataops.models.predictor import LINEAR
from dataops.training.linear import LinearFit, Wanted, fit_linear, tell_fit
from dataops.training.linear_losses import LOGISTIC
from dataops.training.parts import PartsOnCluster
from dataops.training.trainers import Parameter, number, one_of, parse_params, whole

PARAMETERS = {
    "l2": Parameter(default=1.0, parse=number(0, 1e12)),
    "l1": Parameter(default=0.0, parse=number(0, 1e12)),
    "class_weight": Parameter(default=None, parse=one_of("balanced", None)),
    "max_iter": Parameter(default=200, parse=whole(1, 100_000)),
    "tol": Parameter(default=1e-5, parse=number(0, 1, above=True)),
}


class LogisticTrainer:
    """Trainer ``logistic``.

    Parameters: `l2` and `l1` (penalties), `class_weight` (``balanced``, or null), `max_iter`, `tol` (largest scaled
    gradient at the end).
    """

    streams = True

    def require_params(self, params: Mapping[str, Any]) -> None:
        """Nothing, or InvalidInput with every finding."""
        parse_params("logistic", params, PARAMETERS)

    def fit(self, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> tuple[str, bytes]:  # noqa: ARG002 - nothing here is drawn
        """The format ``linear-json/1`` and the model's bytes."""
        fitted = fit_logistic(parts, params)
        tell_fit("logistic", parts.fitting, fitted)
        return LINEAR, fitted.model.to_bytes()


def fit_logistic(parts: PartsOnCluster, params: Mapping[str, Any]) -> LinearFit:
    """The fitted model.

    Raises
    ------
    InvalidInput : wrong parameters, or rows that can't be trained on.
    Compute : a task failed, or the loss is not finite.
    """
    values = parse_params("logistic", params, PARAMETERS)
    wanted = Wanted(
        loss=LOGISTIC,
        l2=values["l2"],
        l1=values["l1"],
        tol=values["tol"],
        max_iter=values["max_iter"],
        balanced=values["class_weight"] == "balanced",
    )
    return fit_linear(parts, wanted)
