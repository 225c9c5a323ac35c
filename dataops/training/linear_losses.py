"""What a linear model is fitted to: loss, slope and curvature of each row by its margin.

1. A loss knows rows and margins alone: passes, search and penalties are the same for all of them.
2. Its slope and curvature are bounded, so that sums over units can be made without rounding (see `linear_passes`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Vector = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One kind of loss.

    Attributes
    ----------
    name : by which workers find it.
    start : the mean target to the margin that fits it best, and the curvature there.
    at : margins and targets, float64 (n_rows,), to losses, slopes and curvatures by row, float64 (n_rows,).
    largest_slope, largest_curvature : bounds of their absolute values.
    """

    name: str
    start: Callable[[float], tuple[float, float]]
    at: Callable[[Vector, Vector], tuple[Vector, Vector, Vector]]
    largest_slope: float
    largest_curvature: float


def log_loss(margins: Vector, targets: Vector) -> tuple[Vector, Vector, Vector]:
    """``log(1 + exp(margin)) - target * margin`` with slope ``p - target`` and curvature ``p * (1 - p)``.

    All of it of ``exp(-|margin|)``, so that nothing overflows.
    """
    small = np.exp(-np.abs(margins))
    losses = np.log1p(small)
    losses += np.maximum(margins, 0)
    losses -= targets * margins
    inverse = 1 / (1 + small)
    probability = np.where(margins >= 0, inverse, small * inverse)
    return losses, probability - targets, small * inverse * inverse


def log_odds(mean_target: float) -> tuple[float, float]:
    """The margin at which ``p`` is `mean_target`, above 0 and below 1, and the curvature there."""
    return math.log(mean_target / (1 - mean_target)), mean_target * (1 - mean_target)


LOGISTIC = Loss(name="logistic", start=log_odds, at=log_loss, largest_slope=1.0, largest_curvature=0.25)
