"""The join of scores with outcomes, over arrays: pure, in any order, exact.

1. Rows are joined by two hashes of 64 bits each of their keys.
2. A key that stands twice among the outcomes fails the join; one of several scored rows judges each of them.
3. What has no outcome yet is counted, and judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.datasets.receipt import Receipt
from dataops.errors import ContractViolation
from dataops.training.evaluate import Evaluation, evaluate_scores

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Keyed:
    """Rows of one side.

    Parameters
    ----------
    keys : uint64 (2, n_rows), both hashes of each row's key.
    values : float32 (n_columns, n_rows): outcomes, or a model's probabilities each.
    slices : of outcomes, a column each, of n_rows.
    receipts : of the readings that they are from.
    """

    keys: Words
    values: npt.NDArray[np.float32]
    slices: Mapping[str, pa.Array]
    receipts: tuple[Receipt, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.keys.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What the join came to so far.

    Attributes
    ----------
    scored, outcomes, judged : rows with a score, with a known outcome, with both.
    models : evaluations by model.
    """

    scored: int = 0
    outcomes: int = 0
    judged: int = 0
    models: Mapping[str, tuple[Evaluation, ...]] = field(default_factory=dict)

    def with_share(self, other: Joined) -> Joined:
        """Both together."""
        return Joined(
            scored=self.scored + other.scored,
            outcomes=self.outcomes + other.outcomes,
            judged=self.judged + other.judged,
            models={name: (*self.models.get(name, ()), *found) for name, found in other.models.items()},
        )


def join(outcomes: Sequence[Keyed], scored: Sequence[Keyed], *, models: Sequence[str]) -> Joined:
    """One share of both sides, joined.

    Raises
    ------
    ContractViolation : a key stands twice among the outcomes.
    """
    known = _concatenated(outcomes)
    order = np.lexsort((known.keys[1], known.keys[0]))
    keys = known.keys[:, order]
    _require_unique(keys)
    judged, found_of = 0, dict[str, tuple[Evaluation, ...]]()
    for part in scored:
        places, found = _find(keys, part.keys)
        at = order[places[found]]
        judged += int(found.sum())
        target = known.values[0, at]
        slices = {name: values.take(pa.array(at)) for name, values in known.slices.items()}
        for number, name in enumerate(models):
            one = evaluate_scores(part.values[number, found], target, slices)
            found_of[name] = (*found_of.get(name, ()), one)
    return Joined(scored=sum(part.rows for part in scored), outcomes=known.rows, judged=judged, models=found_of)


def _concatenated(parts: Sequence[Keyed]) -> Keyed:
    names = dict.fromkeys(name for part in parts for name in part.slices)
    return Keyed(
        keys=np.concatenate([np.empty((2, 0), np.uint64), *(part.keys for part in parts)], axis=1),
        values=np.concatenate([np.empty((1, 0), np.float32), *(part.values for part in parts)], axis=1),
        slices={name: pa.concat_arrays([part.slices[name] for part in parts]) for name in names},
        receipts=(),
    )


def _require_unique(keys: Words) -> None:
    """Nothing, if no two of the sorted `keys` are equal."""
    twice = int(np.count_nonzero((keys[:, 1:] == keys[:, :-1]).all(axis=0)))
    if twice:
        raise ContractViolation(
            f"{twice} outcomes have a key that another one has too; whose outcome it is can't be told. Name more "
            "columns under key, or keep one outcome for each"
        )


def _find(keys: Words, wanted: Words) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Where each of `wanted` would stand among the sorted `keys`, and whether it does."""
    places = np.searchsorted(keys[0], wanted[0])
    inside = np.minimum(places, max(keys.shape[1] - 1, 0))
    if not keys.shape[1]:
        return inside, np.zeros(len(places), np.bool_)
    found: npt.NDArray[np.bool_] = (keys[:, inside] == wanted).all(axis=0)
    return inside, found
