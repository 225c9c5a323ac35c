"""The targets of a regression, looked at before a fit: whether there can be one, how large they are, their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataops.errors import InvalidInput
from dataops.training.parts import EncodedPart, PartsOnCluster, merge_parts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TargetFacts:
    """What is known of the targets of some rows.

    Parameters
    ----------
    unknown : targets that are infinite or NaN.
    least, largest : of the others, in rows with a weight above 0; infinities the other way where there are none.
    totals : by part, the weight of all rows, and the sum of weighted targets, float64 (n_parts, 2).
    """

    rows: int
    unknown: int
    least: float
    largest: float
    totals: np.ndarray[Any, np.dtype[np.float64]]

    @property
    def weight(self) -> float:
        """That of all rows, added exactly."""
        return math.fsum(self.totals[:, 0])

    @property
    def mean(self) -> float:
        """The weighted mean of the targets."""
        return math.fsum(self.totals[:, 1]) / self.weight


def target_facts(part: EncodedPart, _argument: None = None) -> TargetFacts:
    """The facts of one part."""
    known, target = np.isfinite(part.target), part.target.astype(np.float64)
    weight = np.ones(part.rows) if part.weight is None else part.weight.astype(np.float64)
    counting = target[known & (weight > 0)]
    return TargetFacts(
        rows=part.rows,
        unknown=int(np.count_nonzero(~known)),
        least=float(counting.min(initial=math.inf)),
        largest=float(counting.max(initial=-math.inf)),
        totals=np.array([[weight.sum(), (weight * target).sum()]]),
    )


def merge_target_facts(facts: Sequence[TargetFacts]) -> TargetFacts:
    """The facts of all of them together."""
    return TargetFacts(
        rows=sum(one.rows for one in facts),
        unknown=sum(one.unknown for one in facts),
        least=min((one.least for one in facts), default=math.inf),
        largest=max((one.largest for one in facts), default=-math.inf),
        totals=np.concatenate([np.empty((0, 2)), *(one.totals for one in facts)]),
    )


def require_numbers(parts: PartsOnCluster) -> TargetFacts:
    """The facts of all parts.

    Raises
    ------
    InvalidInput : targets that aren't finite, that are all the same, or that no row of weight above 0 has.
    """
    facts = merge_parts(parts, target_facts, merge_target_facts)
    if problem := _problem(facts):
        raise InvalidInput(f"can't train: {problem}")
    return facts


def _problem(facts: TargetFacts) -> str:
    if facts.unknown:
        return f"the target is infinite or not a number in {facts.unknown} of {facts.rows} rows"
    if facts.least > facts.largest:
        return f"none of {facts.rows} rows has a weight above 0"
    if facts.least == facts.largest:
        return f"the target is one number in all {facts.rows} rows: there is nothing to tell apart"
    return ""
