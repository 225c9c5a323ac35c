"""What is found out about rows before a linear model adds anything up: whether they can be trained on, and how large
sums can get.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from dataops.errors import Integrity
from dataops.features.exactsum import exact_moments
from dataops.training.linear_layout import Layout
from dataops.training.parts import EncodedPart
from dataops.training.trainable import PartFacts, facts_of, merge_facts

Vector = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What is found out.

    Attributes
    ----------
    weights : the weight of rows of target 0 and of target 1, added exactly: the same for any cut of the rows.
    least, largest : by encoded column, its least and its largest finite value or 0, float64 (n_columns,).
    """

    facts: PartFacts
    weights: tuple[Fraction, Fraction]
    least: Vector
    largest: Vector

    @property
    def by_class(self) -> tuple[float, float]:
        """The weight of rows of target 0 and of target 1, each rounded once."""
        negative, positive = self.weights
        return float(negative), float(positive)

    @property
    def weight(self) -> float:
        """The weight of all rows, rounded once."""
        return float(sum(self.weights))

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
    return Look(
        facts=facts,
        weights=_weights(part, facts),
        least=least.astype(np.float64),
        largest=largest.astype(np.float64),
    )


def _weights(part: EncodedPart, facts: PartFacts) -> tuple[Fraction, Fraction]:
    """The weight of rows of target 0 and of target 1; of weights that aren't finite, which facts tell of, nothing."""
    if part.weight is None:
        return Fraction(facts.negatives), Fraction(facts.positives)
    weight = np.where(np.isfinite(part.weight), part.weight, 0).astype(np.float64)
    negative, positive = (exact_moments(weight[part.target == target])[0] for target in (0, 1))
    return negative, positive


def merge_looks(looks: Sequence[Look]) -> Look:
    """What is found out about all of them together; of none: an error of `numpy`, so ask for one at least."""
    return Look(
        facts=merge_facts([one.facts for one in looks]),
        weights=(
            sum((one.weights[0] for one in looks), Fraction()),
            sum((one.weights[1] for one in looks), Fraction()),
        ),
        least=np.min([one.least for one in looks], axis=0),
        largest=np.max([one.largest for one in looks], axis=0),
    )
