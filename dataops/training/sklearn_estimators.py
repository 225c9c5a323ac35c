"""The estimators of scikit-learn that a job may ask for, each with a closed list of parameters.

1. Names and defaults of parameters are scikit-learn's, and what differs says so; what a job can't set is fixed here. An
   estimator's name doesn't say its task: the class does.
2. All of them can be written as skops files that `models.sklearn` reads. That is tried on a few made-up rows when
   parameters are checked: before any data is read.
3. Class weights are factors of sample weights, and chance comes from the job's seed alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from dataops.errors import Compute, DataopsError, InvalidInput, near_match
from dataops.features.encoder import Encoder
from dataops.models.skops_writing import to_bytes
from dataops.training.boosting_library import SHARED, signs
from dataops.training.failures import lasting
from dataops.training.trainers import Parameter, number, one_of, parse_params, whole

ESTIMATOR, SCALE, CLASS_WEIGHT, MONOTONE = "estimator", "scale", "class_weight", "monotone_constraints"
_CHEAP = {"n_estimators": 1, "max_iter": 1}
MOST_LAYERS, MOST_UNITS = 8, 4096


_DIVERGED = ("infinity", "infinite", "non-finite", "overflow", "nan", "too large")
"""What scikit-learn's words hold where numbers left their range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """One of the estimators.

    Attributes
    ----------
    kind : its class, with the module.
    parameters : what a job may set.
    fixed : what it may not.
    seeded : whether chance is involved.
    scaled : whether columns are brought to mean 0 and deviation 1 in front of it, unless the job says otherwise; None
        where that changes nothing.
    double : whether it takes rows in float64, else float32.
    """

    kind: str
    parameters: Mapping[str, Parameter]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    seeded: bool = True
    scaled: bool | None = None
    double: bool = True

    def known(self) -> dict[str, Parameter]:
        """All parameters that a job may set of the estimator and of how rows come to it."""
        ours = {CLASS_WEIGHT: Parameter(default=None, parse=one_of("balanced", None))}
        if self.scaled is not None:
            ours[SCALE] = Parameter(default=self.scaled, parse=yes_or_no)
        return {**ours, **self.parameters}

    def make(self, values: Mapping[str, Any], seed: int, encoder: Encoder | None = None, **more: Any) -> Any:
        """An estimator that isn't fitted.

        Parameters
        ----------
        values : of every parameter.
        encoder : by which monotone constraints name columns.
        more : what is set besides.
        """
        module, _, name = self.kind.rpartition(".")
        given = {key: values[key] for key in self.parameters if key != MONOTONE}
        if values.get(MONOTONE) and encoder is not None:
            given["monotonic_cst"] = list(signs("sklearn", values[MONOTONE], encoder))
        seeds = {"random_state": seed} if self.seeded else {}
        return getattr(import_module(module), name)(**given, **self.fixed, **seeds, **more)


def yes_or_no(value: Any) -> bool:
    """A parser of true and false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 - what parsers raise
    return value


def layers(value: Any) -> list[int]:
    """A parser of the units of each hidden layer."""
    right = isinstance(value, (list, tuple)) and 1 <= len(value) <= MOST_LAYERS
    if not right or not all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= MOST_UNITS for n in value):
        raise ValueError(f"a list of 1 to {MOST_LAYERS} whole numbers from 1 to {MOST_UNITS}")
    return [int(n) for n in value]


def or_null(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A parser of what `parse` takes, and of null."""

    def parsed(value: Any) -> Any:
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            raise ValueError(f"{error}, or null") from None

    return parsed


def share_or(*words: str | None) -> Callable[[Any], Any]:
    """A parser of shares above 0 to 1, and of some words."""
    share, word = number(0, 1, above=True), one_of(*words)

    def parse(value: Any) -> Any:
        try:
            return word(value) if value is None or isinstance(value, str) else share(value)
        except ValueError:
            names = ", ".join("null" if one is None else one for one in words)
            raise ValueError(f"a number above 0 to 1, or one of {names}") from None

    return parse


_LEAVES = {
    "max_depth": Parameter(default=None, parse=or_null(whole(1, 64))),
    "max_leaf_nodes": Parameter(default=None, parse=or_null(whole(2, 1_000_000))),
    # scikit-learn's own is 1: trees that large hold the target of single rows
    "min_samples_leaf": Parameter(default=5, parse=whole(1, 1_000_000)),
}
_TREE = {
    **_LEAVES,
    "criterion": Parameter(default="gini", parse=one_of("gini", "entropy", "log_loss")),
    "min_impurity_decrease": Parameter(default=0.0, parse=number(0, 1e6)),
    "ccp_alpha": Parameter(default=0.0, parse=number(0, 1e6)),
}
_FOREST = {
    **_TREE,
    "n_estimators": Parameter(default=100, parse=whole(1, 1000)),
    "max_features": Parameter(default="sqrt", parse=share_or("sqrt", "log2", None)),
}
_DESCENT = {
    "loss": Parameter(default="log_loss", parse=one_of("log_loss", "modified_huber")),
    "penalty": Parameter(default="l2", parse=one_of("l2", "l1", "elasticnet", None)),
    "alpha": Parameter(default=1e-4, parse=number(0, 1e6, above=True)),
    "l1_ratio": Parameter(default=0.15, parse=number(0, 1)),
    "learning_rate": Parameter(default="optimal", parse=one_of("optimal", "invscaling", "constant")),
    "eta0": Parameter(default=0.01, parse=number(0, 1e6, above=True)),
    "power_t": Parameter(default=0.5, parse=number(0, 10)),
    "average": Parameter(default=False, parse=yes_or_no),
}
_NETWORK = {
    "hidden_layer_sizes": Parameter(default=[100], parse=layers),
    "activation": Parameter(default="relu", parse=one_of("relu", "tanh", "logistic")),
    "solver": Parameter(default="adam", parse=one_of("adam", "sgd")),
    "alpha": Parameter(default=1e-4, parse=number(0, 1e6)),
    "batch_size": Parameter(default=200, parse=whole(1, 1_000_000)),
    "learning_rate_init": Parameter(default=1e-3, parse=number(0, 1e6, above=True)),
    "momentum": Parameter(default=0.9, parse=number(0, 1)),
}
_UNTIL = {
    "max_iter": Parameter(default=200, parse=whole(1, 100_000)),
    "tol": Parameter(default=1e-4, parse=number(0, 1, above=True)),
}

BY_PARTS: Mapping[str, Estimator] = {
    "sgd": Estimator(
        kind="sklearn.linear_model.SGDClassifier", parameters=_DESCENT, fixed={"shuffle": False}, scaled=True
    ),
    "mlp": Estimator(
        kind="sklearn.neural_network.MLPClassifier", parameters=_NETWORK, fixed={"shuffle": False}, scaled=True
    ),
}
"""Those that learn from a part of the rows after another, by their names in jobs."""

ON_A_SAMPLE: Mapping[str, Estimator] = {
    "decision_tree": Estimator(
        kind="sklearn.tree.DecisionTreeClassifier",
        parameters={**_TREE, "max_features": Parameter(default=None, parse=share_or("sqrt", "log2", None))},
        double=False,
    ),
    "extra_trees": Estimator(kind="sklearn.ensemble.ExtraTreesClassifier", parameters=_FOREST, double=False),
    "hist_gradient_boosting": Estimator(
        kind="sklearn.ensemble.HistGradientBoostingClassifier",
        parameters={
            **_LEAVES,
            "learning_rate": Parameter(default=0.1, parse=number(0, 1, above=True)),
            "max_iter": Parameter(default=100, parse=whole(1, 2000)),
            "max_leaf_nodes": Parameter(default=31, parse=or_null(whole(2, 1_000_000))),
            "min_samples_leaf": Parameter(default=20, parse=whole(1, 1_000_000)),
            "l2_regularization": Parameter(default=0.0, parse=number(0, 1e12)),
            "max_features": Parameter(default=1.0, parse=number(0, 1, above=True)),
            "max_bins": Parameter(default=255, parse=whole(2, 255)),
            MONOTONE: SHARED[MONOTONE],
        },
        fixed={"early_stopping": False},  # it would hold rows out of the sample by chance
    ),
    "logistic_regression": Estimator(
        kind="sklearn.linear_model.LogisticRegression",
        parameters={
            **_UNTIL,
            "C": Parameter(default=1.0, parse=number(0, 1e12, above=True)),
            "l1_ratio": Parameter(default=0.0, parse=number(0, 1)),
            "solver": Parameter(default="lbfgs", parse=one_of("lbfgs", "newton-cholesky", "saga")),
        },
        scaled=True,
    ),
    "mlp": Estimator(kind="sklearn.neural_network.MLPClassifier", parameters={**_NETWORK, **_UNTIL}, scaled=True),
    "random_forest": Estimator(
        kind="sklearn.ensemble.RandomForestClassifier",
        parameters={
            **_FOREST,
            "max_samples": Parameter(default=None, parse=or_null(number(0, 1, above=True))),
        },
        double=False,
    ),
    "sgd": Estimator(kind="sklearn.linear_model.SGDClassifier", parameters={**_DESCENT, **_UNTIL}, scaled=True),
}
"""Those that take all of a sample's rows at once, by their names in jobs."""


def parse_estimator(
    trainer: str, params: Mapping[str, Any], allowed: Mapping[str, Estimator], ours: Mapping[str, Parameter]
) -> tuple[Estimator, dict[str, Any]]:
    """The estimator that `params` name, and a value of every parameter, of `ours` too.

    Raises
    ------
    InvalidInput : an unknown estimator, or every finding on the parameters.
    """
    name = params.get(ESTIMATOR)
    if not isinstance(name, str):
        raise InvalidInput(f"trainer {trainer}: estimator: expected one of {', '.join(allowed)}, found {name!r}")
    if name not in allowed:
        raise InvalidInput(f"trainer {trainer}: there is no estimator '{name}'.{near_match(name, allowed)}")
    estimator = allowed[name]
    known = {**ours, **estimator.known(), ESTIMATOR: Parameter(default=name, parse=one_of(*allowed))}
    return estimator, parse_params(trainer, params, known)


def require_writable(trainer: str, estimator: Estimator, values: Mapping[str, Any]) -> None:
    """Nothing, if a model of these values can be fitted and written, as tried on a few made-up rows.

    Raises
    ------
    InvalidInput : values that don't go together.
    Compute : skops isn't installed.
    """
    rows = np.linspace(0, 1, 64).reshape(32, 2)
    target = np.arange(32) % 2
    cheap = {name: value for name, value in _CHEAP.items() if name in values}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = estimator.make({**values, **cheap}, 0).fit(rows, target)
        except ValueError as error:  # scikit-learn's own words: there is no value of a row in them
            raise InvalidInput(f"trainer {trainer}: these parameters don't go together: {error}") from None
    to_bytes(model)


def refused(trainer: str, error: ValueError) -> DataopsError:
    """What is raised for what scikit-learn raised while it fitted: by what its words are about, since they may quote
    values of rows.
    """
    if isinstance(error, DataopsError):
        return error
    said = str(error).lower()
    if any(word in said for word in _DIVERGED):
        return diverged(trainer)
    if "class" in said:
        why = f"{trainer}: scikit-learn found too few rows of a class; take more rows, or leave `early_stopping` out"
        return InvalidInput(why)
    why = (
        f"{trainer}: scikit-learn refused to fit these rows with these parameters; no number left its range. "
        "Try the estimator's defaults, and then its parameters one by one"
    )
    return lasting(Compute(why))


def diverged(trainer: str) -> Compute:
    """What is raised where a fit leaves the range of numbers."""
    why = f"{trainer}: the fit left the range of numbers; lower the learning rate, or keep `scale: true`"
    return lasting(Compute(why))
