"""What models are for, figures of their quality, and the rows that these are of, as declarations and metrics name them.

A metric belongs to one task, and knows itself which direction is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

HOLDOUT = "holdout"
"""What metrics call the rows of its input that training held back."""
REALISED = "realised"
"""What metrics on outcomes that came later are reported under."""


class Task(StrEnum):
    """What a model gives for a row: how likely it is of the positive class, a number, or the cluster that it is in."""

    BINARY = "binary"
    REGRESSION = "regression"
    CLUSTERS = "clusters"


class Metric(StrEnum):
    """A figure of a model's quality: on labelled rows, but for those of a clustering."""

    ROC_AUC = "roc_auc"
    LOG_LOSS = "log_loss"
    BRIER = "brier"
    AVERAGE_PRECISION = "average_precision"
    ACCURACY = "accuracy"
    F1 = "f1"
    PRECISION = "precision"
    RECALL = "recall"
    LIFT = "lift"
    CALIBRATION_ERROR = "calibration_error"
    RMSE = "rmse"
    MAE = "mae"
    R2 = "r2"
    QUANTILE_LOSS = "quantile_loss"
    INERTIA = "inertia"
    SILHOUETTE = "silhouette"

    @property
    def task(self) -> Task:
        """The task that it is a figure of."""
        if self in _OF_CLUSTERS:
            return Task.CLUSTERS
        return Task.REGRESSION if self in _OF_NUMBERS else Task.BINARY

    @property
    def higher_is_better(self) -> bool:
        """Which of two values is better; a loss or an error is better when it is low."""
        return self not in _LOSSES

    @property
    def has_replicates(self) -> bool:
        """Whether an evaluation counts what tells how sure a difference of two values is."""
        return self is not Metric.CALIBRATION_ERROR

    @property
    def point(self) -> str | None:
        """What of `Points` it is taken at; None where it needs no such number."""
        return _POINTS.get(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The numbers that some metrics are taken at: figures at two of them say nothing of each other.

    Attributes
    ----------
    quantile : that of the quantile loss, between 0 and 1.
    threshold : the score from which on a row counts as positive, 0 to 1; compared as float32, as scores are.
    top_share : the share of the rows, those of the highest scores, that the lift looks at, above 0, up to 1.
    """

    quantile: float = 0.5
    threshold: float = 0.5
    top_share: float = 0.1

    def told(self, metrics: Iterable[str]) -> dict[str, float]:
        """The points of those of `metrics` that have one; not that of an accuracy at a half, which older releases
        didn't tell.
        """
        named = {metric: point for metric in metrics if (point := Metric(metric).point)}
        return {
            point: getattr(self, point)
            for metric, point in named.items()
            if metric != Metric.ACCURACY or self.threshold != _HALF
        }


def point_of(metric: str, report: Mapping[str, Any]) -> tuple[str, float] | None:
    """The name of the point of `metric`, and where a report of figures says that it was taken; None without one."""
    name = Metric(metric).point if metric in set(Metric) else None
    return None if name is None else (name, report.get(name, getattr(USUAL_POINTS, name)))


USUAL_POINTS = Points()
"""Where a job says none."""
_HALF = 0.5
_ADDED = ("threshold", "top_share")


def without_usual(record: Mapping[str, Any]) -> dict[str, Any]:
    """A declaration of points as JSON, without those that earlier releases didn't know, where they are the usual ones:
    it is the record that these wrote.
    """
    usual = {name: getattr(USUAL_POINTS, name) for name in _ADDED}
    return {key: value for key, value in record.items() if key not in usual or value != usual[key]}


_POINTS = {
    Metric.QUANTILE_LOSS: "quantile",
    **dict.fromkeys((Metric.ACCURACY, Metric.F1, Metric.PRECISION, Metric.RECALL), "threshold"),
    Metric.LIFT: "top_share",
}

_OF_NUMBERS = frozenset({Metric.RMSE, Metric.MAE, Metric.R2, Metric.QUANTILE_LOSS})
_OF_CLUSTERS = frozenset({Metric.INERTIA, Metric.SILHOUETTE})
_LOSSES = frozenset(
    {
        *(Metric.LOG_LOSS, Metric.BRIER, Metric.CALIBRATION_ERROR),
        *(Metric.RMSE, Metric.MAE, Metric.QUANTILE_LOSS),
        Metric.INERTIA,
    }
)
DEFAULT_METRICS: Mapping[Task, tuple[Metric, ...]] = {
    Task.BINARY: (Metric.ROC_AUC, Metric.LOG_LOSS),
    Task.REGRESSION: (Metric.RMSE, Metric.MAE),
    Task.CLUSTERS: (Metric.SILHOUETTE, Metric.INERTIA),
}
"""What is measured where a job doesn't say it."""
