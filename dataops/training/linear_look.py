"""What is found out about rows before a linear model adds anything up: whether they can be trained on, and how large
sums can get.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataops.errors import Integrity
from dataops.training.linear_layout import Layout
from dataops.training.parts import EncodedPart
from dataops.training.trainable import PartFacts, facts_of, merge_facts

Vector = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What is found out.

    Attributes
    ----------
    weights : by part, the weight of rows of target 0 and of target 1, float64 (n_parts, 2).
    least, largest : by encoded column, its least and its largest finite value or 0, float64 (n_columns,).
    """

    facts: PartFacts
    weights: Vector
    least: Vector
    largest: Vector

    @property
    def by_class(self) -> tuple[float, float]:
        """The weight of rows of target 0 and of target 1, added exactly."""
        negative, positive = (math.fsum(one) for one in self.weights.T)
        return negative, positive

    def bounds(self, layout: Layout) -> Vector:
        """By coefficient, the largest absolute value that its feature has; 1 for codes and the intercept.

        Raises
        ------
        Integrity : a code has no coefficient.
        """
        n_numeric = layout.n_numeric
        if len(self.least) != layout.n_columns:
            raise Integrity(f"parts of {len(self.least)} columns don't belong to an encoder of {layout.n_columns}")
        if (self.least[n_numeric:] < 0).any() or (self.largest[n_numeric:] >= layout.sizes).any():
            raise Integrity("a code is beyond those of its column: parts and encoder don't belong together")
        bounds = np.ones(layout.length)
        bounds[layout.numeric] = np.maximum(-self.least, self.largest)[:n_numeric]
        return bounds


def look_at(part: EncodedPart, _argument: object = None) -> Look:
    """What is found out about one part."""
    from dataops.training import linear_kernels as kernels

    n_columns = part.encoded.values.shape[1]
    least, largest, nonfinite = (
        np.empty(n_columns, np.float32),
        np.empty(n_columns, np.float32),
        np.empty(n_columns, int),
    )
    kernels.put_extents(np.ascontiguousarray(part.encoded.values), least, largest, nonfinite)
    facts = facts_of(part, nonfinite[: part.encoded.n_numeric])
    by_class: tuple[float, ...] = (facts.negatives, facts.positives)
    if part.weight is not None:
        by_class = tuple(part.weight[part.target == target].sum(dtype=np.float64) for target in (0, 1))
    return Look(
        facts=facts,
        weights=np.array([by_class], np.float64),
        least=least.astype(np.float64),
        largest=largest.astype(np.float64),
    )


def merge_looks(looks: Sequence[Look]) -> Look:
    """What is found out about all of them together; of none: an error of `numpy`, so ask for one at least."""
    return Look(
        facts=merge_facts([one.facts for one in looks]),
        weights=np.concatenate([one.weights for one in looks]),
        least=np.min([one.least for one in looks], axis=0),
        largest=np.max([one.largest for one in looks], axis=0),
    )
