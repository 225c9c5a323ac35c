"""Promotion files: what a model version must show before it becomes the champion.

1. Every rule must hold. A rule sets an absolute bound, a bound on the loss against the present champion, or both.
2. A file without rules gates nothing, and what isn't gated isn't promoted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dataops.declarations.declaration import DatasetName, Declaration, ModelName
from dataops.declarations.loader import Finding, read_document, validate
from dataops.declarations.metrics import Metric


class PromotionRule(Declaration):
    """Bounds on one metric."""

    metric: Metric
    """`roc_auc`, `log_loss`, `brier`, `average_precision` or `accuracy`."""
    dataset: DatasetName | None = None
    """The dataset or split on which it is measured, as in the version's metrics. Default: the test rows of training."""
    minimum: float | None = None
    """The least value that passes, in the metric's unit. Default: no bound."""
    maximum: float | None = None
    """The greatest value that passes, in the metric's unit. Default: no bound."""
    max_loss: Annotated[float, Field(ge=0)] | None = None
    """How much worse than the champion's the value may be, in the metric's unit, whichever direction is worse.
    Default: not compared."""

    def check(self) -> Iterator[Finding]:
        """A rule that bounds nothing, or that nothing can pass."""
        if self.minimum is None and self.maximum is None and self.max_loss is None:
            yield Finding(place=(), message="bounds nothing: set minimum, maximum or max_loss")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            message = f"minimum {self.minimum} is above maximum {self.maximum}: nothing can pass"
            yield Finding(place=("minimum",), message=message)


class Promotion(Declaration):
    """The gate of one model."""

    model: ModelName
    """The model's name."""
    rules: tuple[PromotionRule, ...]
    """What a version must show, each rule in turn; all must hold."""


def read_promotion(path: Path) -> Promotion:
    """The promotion file at `path`.

    Raises
    ------
    InvalidInput : all findings, each with file, line and path.
    """
    return validate(read_document(path), Promotion)
