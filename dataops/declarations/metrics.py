"""Figures of a model's quality, and the rows that they are of, as declarations and metrics name them."""

from __future__ import annotations

from enum import StrEnum

HOLDOUT = "holdout"
"""What metrics call the rows of its input that training held back."""


class Metric(StrEnum):
    """A figure of a model's quality on labelled rows."""

    ROC_AUC = "roc_auc"
    LOG_LOSS = "log_loss"
    BRIER = "brier"
    AVERAGE_PRECISION = "average_precision"
    ACCURACY = "accuracy"
    CALIBRATION_ERROR = "calibration_error"

    @property
    def higher_is_better(self) -> bool:
        """Which of two values is better; a loss or an error is better when it is low."""
        return self not in (Metric.LOG_LOSS, Metric.BRIER, Metric.CALIBRATION_ERROR)

    @property
    def has_replicates(self) -> bool:
        """Whether an evaluation counts what tells how sure a difference of two values is."""
        return self is not Metric.CALIBRATION_ERROR
