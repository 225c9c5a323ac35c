"""Losses of regressions for `linear`: squared error, and Poisson's with a logarithmic link.

1. Targets are taken less a centre over a scale, so that slopes have a bound and sums are exact (`linear_passes`): the
   squared error is fitted about the mean, Poisson's over the largest target, of which it only shifts the intercept.
2. Beyond `REACH`, a loss goes on as its tangent: convex still, and with a bounded slope. Its least is that of the loss
   itself, unless a row ends there; `require_within` finds that out.
3. Penalties are those of the loss of the targets as they are: ``scikit-learn``'s ``Ridge(alpha=l2)`` and
   ``PoissonRegressor(alpha=l2 / weight of all rows)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dataops.errors import InvalidInput
from dataops.training.linear_losses import LOGISTIC, Loss, Vector

if TYPE_CHECKING:
    from dataops.models.linear import Link
    from dataops.training.targets import TargetFacts

REACH = 2.0**12
"""How far a prediction may be from the centre, in scales: so much larger than any target of the training rows."""
_LOG_REACH = math.log(REACH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How targets become those that are fitted, ``(target - centre) / scale``, and coefficients those of the targets.

    Attributes
    ----------
    degree : by which power of the scale the loss grows with its targets.
    """

    centre: float
    scale: float
    degree: int
    link: Link

    def penalties(self, l2: float, l1: float) -> tuple[float, float]:
        """The penalties of the coefficients that are fitted, which are those of the targets over the scale or, with a
        logarithmic link, the very same.
        """
        of_coefficients = self.scale if self.link == "identity" else 1.0
        by = self.scale**self.degree
        return l2 * of_coefficients**2 / by, l1 * of_coefficients / by

    def loss(self, fitted: float, mean: float) -> float:
        """The loss of targets as they are, per unit of weight; `mean` is theirs."""
        by_scale = fitted * self.scale**self.degree
        return by_scale - mean * math.log(self.scale) if self.link == "log" else by_scale

    def coefficients(self, fitted: Vector) -> Vector:
        """The coefficients of targets as they are."""
        if self.link == "log":
            found = fitted.copy()
            found[0] += math.log(self.scale)
            return found
        found = fitted * self.scale
        found[0] += self.centre
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """A loss and how targets are taken for it.

    Attributes
    ----------
    outcome : the mean of the targets and their least and largest to how they are taken.
    problem : why such targets can't be fitted, by their least and largest; "" where they can.
    """

    loss: Loss
    outcome: Callable[[float, float, float], Outcome]
    problem: Callable[[float, float], str]

    def taken(self, facts: TargetFacts) -> Outcome:
        """How targets of which these are the facts are taken.

        Raises
        ------
        InvalidInput : the loss doesn't take them.
        """
        if found := self.problem(facts.least, facts.largest):
            raise InvalidInput(f"can't train: {found}")
        return self.outcome(facts.mean, facts.least, facts.largest)


def squared_error(margins: Vector, targets: Vector) -> tuple[Vector, Vector, Vector]:
    """``(margin - target)**2 / 2``, beyond `REACH` a line."""
    residual = margins - targets
    slope = np.clip(residual, -REACH, REACH)
    return slope * (residual - slope / 2), slope, np.ones_like(residual)


def poisson_loss(margins: Vector, targets: Vector) -> tuple[Vector, Vector, Vector]:
    """``exp(margin) - target * margin``, beyond an ``exp`` of `REACH` a line.

    Half of Poisson's deviance, but for what depends on targets alone (McCullagh and Nelder 1989, 2.3).
    """
    within = np.minimum(margins, _LOG_REACH)
    mean = np.exp(within)
    return mean * (1 + (margins - within)) - targets * margins, mean - targets, mean


SQUARED = Regression(
    loss=Loss(
        name="squared",
        start=lambda mean: (mean, 1.0),
        at=squared_error,
        largest_slope=REACH,
        largest_curvature=1.0,
    ),
    outcome=lambda mean, least, largest: Outcome(
        centre=mean, scale=max(largest - mean, mean - least) or 1.0, degree=2, link="identity"
    ),
    problem=lambda _least, _largest: "",
)
POISSON = Regression(
    loss=Loss(
        name="poisson",
        start=lambda mean: (math.log(mean), mean),
        at=poisson_loss,
        largest_slope=REACH,
        largest_curvature=REACH,
    ),
    outcome=lambda _mean, _least, largest: Outcome(centre=0.0, scale=largest, degree=1, link="log"),
    problem=lambda least, largest: (
        "some targets are below 0, which poisson doesn't take: fit another trainer, or leave these rows out"
        if least < 0
        else ("all targets are 0: there is nothing to fit" if largest <= 0 else "")
    ),
)


LOSSES: Mapping[str, Loss] = {one.name: one for one in (LOGISTIC, SQUARED.loss, POISSON.loss)}
"""By name, as workers find them."""


def beyond(margins: Vector, link: Link) -> int:
    """How many rows are predicted so far away that a loss goes on as its tangent, or about so."""
    most = _LOG_REACH if link == "log" else REACH - 1  # targets are 1 at most
    return int(np.count_nonzero((margins if link == "log" else np.abs(margins)) > most))


def require_within(rows_beyond: int, rows: int) -> None:
    """Nothing, unless predictions of the fit lie beyond `REACH`.

    Raises
    ------
    InvalidInput : some do, so it isn't a fit of the loss.
    """
    if rows_beyond:
        raise InvalidInput(
            f"can't train: {rows_beyond} of {rows} rows are predicted more than {REACH:g} times as large as any "
            "target: clip features that lie far out (`clip`), or raise l2"
        )
