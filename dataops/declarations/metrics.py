"""What models are for, figures of their quality, and the rows that these are of, as declarations and metrics name them.

A metric belongs to one task, and knows itself which direction is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

HOLDOUT = "holdout"
"""What metrics call the rows of its input that training held back."""


class Task(StrEnum):
    """What a model gives for a row: how likely it is of the positive class, or a number."""

    BINARY = "binary"
    REGRESSION = "regression"


class Metric(StrEnum):
    """A figure of a model's quality on labelled rows."""

    ROC_AUC = "roc_auc"
    LOG_LOSS = "log_loss"
    BRIER = "brier"
    AVERAGE_PRECISION = "average_precision"
    ACCURACY = "accuracy"
    CALIBRATION_ERROR = "calibration_error"
    RMSE = "rmse"
    MAE = "mae"
    R2 = "r2"
    QUANTILE_LOSS = "quantile_loss"

    @property
    def task(self) -> Task:
        """The task that it is a figure of."""
        return Task.REGRESSION if self in _OF_NUMBERS else Task.BINARY

    @property
    def higher_is_better(self) -> bool:
        """Which of two values is better; a loss or an error is better when it is low."""
        return self not in _LOSSES

    @property
    def has_replicates(self) -> bool:
        """Whether an evaluation counts what tells how sure a difference of two values is."""
        return self is not Metric.CALIBRATION_ERROR


_OF_NUMBERS = frozenset({Metric.RMSE, Metric.MAE, Metric.R2, Metric.QUANTILE_LOSS})
_LOSSES = frozenset(
    {
        *(Metric.LOG_LOSS, Metric.BRIER, Metric.CALIBRATION_ERROR),
        *(Metric.RMSE, Metric.MAE, Metric.QUANTILE_LOSS),
    }
)
DEFAULT_METRICS: Mapping[Task, tuple[Metric, ...]] = {
    Task.BINARY: (Metric.ROC_AUC, Metric.LOG_LOSS),
    Task.REGRESSION: (Metric.RMSE, Metric.MAE),
}
"""What is measured where a job doesn't say it."""
