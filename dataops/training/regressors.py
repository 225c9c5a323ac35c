"""Linear regressions: the squared error, and Poisson's deviance with a logarithmic link, as `linear` fits them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dataops.declarations.metrics import Task
from dataops.models.predictor import LINKED
from dataops.training.linear import LinearFit, Wanted, fit_linear, tell_fit
from dataops.training.linear_regressions import POISSON, SQUARED, Regression
from dataops.training.parts import PartsOnCluster
from dataops.training.trainers import Parameter, number, parse_params, whole

PARAMETERS = {
    "l2": Parameter(default=1.0, parse=number(0, 1e12)),
    "l1": Parameter(default=0.0, parse=number(0, 1e12)),
    "max_iter": Parameter(default=200, parse=whole(1, 100_000)),
    "tol": Parameter(default=1e-5, parse=number(0, 1, above=True)),
}


class _LinearTrainer:
    """Parameters: `l2` and `l1` (penalties), `max_iter`, `tol` (largest scaled gradient at the end)."""

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.REGRESSION})
    streams = True
    name: ClassVar[str]
    regression: ClassVar[Regression]

    def require_params(self, params: Mapping[str, Any]) -> None:
        """Nothing, or InvalidInput with every finding."""
        parse_params(self.name, params, PARAMETERS)

    def fit(self, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> tuple[str, bytes]:  # noqa: ARG002 - nothing here is drawn
        """The format ``linear-json/2`` and the model's bytes."""
        fitted = fit_regression(self.name, self.regression, parts, params)
        tell_fit(self.name, parts.fitting, fitted)
        return LINKED, fitted.model.to_bytes()


class LinearTrainer(_LinearTrainer):
    """Trainer ``linear``: least squares, the prediction a sum."""

    name = "linear"
    regression = SQUARED


class PoissonTrainer(_LinearTrainer):
    """Trainer ``poisson``: of counts and other targets of at least 0, the prediction an ``exp`` of a sum."""

    name = "poisson"
    regression = POISSON


def fit_regression(name: str, regression: Regression, parts: PartsOnCluster, params: Mapping[str, Any]) -> LinearFit:
    """The fitted model.

    Raises
    ------
    InvalidInput : wrong parameters, or rows that can't be trained on.
    Compute : a task failed, or the loss is not finite.
    """
    values = parse_params(name, params, PARAMETERS)
    wanted = Wanted(
        loss=regression.loss,
        l2=values["l2"],
        l1=values["l1"],
        tol=values["tol"],
        max_iter=values["max_iter"],
        regression=regression,
    )
    return fit_linear(parts, wanted)
