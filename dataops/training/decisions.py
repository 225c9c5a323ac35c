"""Figures of decisions: of rows whose score reaches a threshold, and of the share of rows with the highest scores.

1. Rows that reach the threshold are counted as such, so figures at it are exact at any threshold, whatever ties.
2. Of rows that tie at the edge of the highest share, each counts for the part of them that the share still takes: the
   lift doesn't depend on their order, and is the mean over all orders.
3. Where the policies ask for groups of a least size, a figure is told only where no part of the rows that it parts them
   into is smaller: rows that reach the threshold and those that don't, the highest share and the rest (`hidden`).
4. Counts are numbers, or arrays of one entry for each way to leave rows out (`replicates`). What isn't defined is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ratio: TypeAlias = Callable[[Any, Any, Any, Any], Any]


def accuracy(found: Any, wrong: Any, positives: Any, negatives: Any) -> Any:
    """The share of rows whose class is told.

    Parameters
    ----------
    found, wrong : positives, and negatives, that reach the threshold; of all figures here.
    positives, negatives : all of either class.
    """
    return _ratio(found + negatives - wrong, positives + negatives)


def precision(found: Any, wrong: Any, positives: Any, negatives: Any) -> Any:  # noqa: ARG001  # figures are called alike
    """The share of positives among rows that reach the threshold."""
    return _ratio(found, found + wrong)


def recall(found: Any, wrong: Any, positives: Any, negatives: Any) -> Any:  # noqa: ARG001
    """The share of positives that reach the threshold."""
    return _ratio(found, positives)


def f1(found: Any, wrong: Any, positives: Any, negatives: Any) -> Any:  # noqa: ARG001
    """The harmonic mean of precision and recall: ``2 tp / (2 tp + fp + fn)``; 0 where no positive is found."""
    return _ratio(2 * found, found + wrong + positives)


AT_THRESHOLD: Mapping[str, Ratio] = {one.__name__: one for one in (accuracy, f1, precision, recall)}


LIFT = "lift"
_DIGITS = 6  # of rows that a share takes, which a product of floats may miss by a hair


def hidden(*, reached: Any, taken: Any, rows: Any, least: int) -> frozenset[str]:
    """The figures of decisions that would tell of fewer than `least` rows.

    Parameters
    ----------
    reached, taken, rows : rows that reach the threshold, those that the highest share takes, and all; numbers, or
        arrays of one entry for each of some sets of rows.
    """
    at_threshold = () if _may_part(reached, rows, least) else tuple(AT_THRESHOLD)
    return frozenset(at_threshold) | (frozenset() if _may_part(taken, rows, least) else {LIFT})


def _may_part(part: Any, rows: Any, least: int) -> bool:
    """Whether `part` of `rows` and what is left of them are each none, or `least` rows at least."""
    both = np.stack(np.broadcast_arrays(np.asarray(part, np.float64), np.subtract(rows, part)))
    return least <= 1 or _may_stand(np.round(both, _DIGITS), least)


def _may_stand(rows: Floats, least: int) -> bool:
    """As `features.folding.may_stand`, of rows of which one may count in part."""
    return bool(((rows == 0) | (rows >= least)).all())


def _ratio(part: Any, whole: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(part, whole)


def lift_of(positives: Floats, negatives: Floats, share: float) -> Floats:
    """How many times more positives the highest `share` of the rows holds than as many rows at random.

    Parameters
    ----------
    positives, negatives : rows of either class by score, rising, ``(n_buckets,)`` or ``(n_buckets, n_ways)``.
    share : above 0, up to 1.
    """
    rows = positives + negatives
    found = positives * _taken(rows, share) / np.maximum(rows, 1)
    lift: Floats = _ratio(found.sum(axis=0), share * positives.sum(axis=0))
    return lift


def lift_error_bound(positives: Floats, negatives: Floats, share: float, *, least: int = 1) -> float:
    """How far `lift_of` can be from that of the uncut scores, ``(n_buckets,)`` each.

    Of the bucket at the edge m of its p positives and q negatives are taken: at least ``m - q`` positives, at most all.
    Where it has fewer than `least` rows, whatever their classes are: this is no figure about so few.
    """
    rows = positives + negatives
    taken = _taken(rows, share)
    edge = (taken > 0) & (taken < rows)
    if least > 1 and not _may_stand(rows[edge], least):
        return float((taken * (rows - taken) / np.maximum(rows, 1)).sum() / (share * positives.sum()))
    middle = positives * taken / np.maximum(positives + negatives, 1)
    low, high = np.maximum(taken - negatives, 0), np.minimum(positives, taken)
    return float(max((high - middle).sum(), (middle - low).sum()) / (share * positives.sum()))


def taken_of(rows: Floats, by_set: Floats, share: float) -> Floats:
    """How many rows of each set are among the highest `share` of all, ``(n_sets,)``.

    Parameters
    ----------
    rows, by_set : by score, rising, all of them ``(n_buckets,)`` and those of each set ``(n_buckets, n_sets)``.
    """
    parts = _taken(rows, share) / np.maximum(rows, 1)
    taken: Floats = (by_set * parts[:, None]).sum(axis=0)
    return taken


def _taken(rows: Floats, share: float) -> Floats:
    """How many rows of each bucket are among the highest `share`: all, none, or a part of those at its edge."""
    higher = np.cumsum(rows[::-1], axis=0)[::-1] - rows
    taken: Floats = np.clip(share * rows.sum(axis=0) - higher, 0, rows)
    return taken
