"""Counts of predicted numbers that merge exactly: what `scores` is for probabilities, this is for a regression.

1. Errors are taken in float64, and summed without rounding (`features.exactsum`): themselves, their sizes, their
   squares; so are targets and their squares. Every metric follows from these sums, the quantile loss of any quantile.
2. Rows are counted by bucket of the prediction too (`scores.score_bucket`): of those a reference is made.
3. Rows count once each: weights are for training.
4. Where each row's group is known, sums are kept by group, for what tells how sure a metric is: there they are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from typing import Self

import numpy as np

from dataops.declarations.metrics import Metric
from dataops.errors import InvalidInput
from dataops.features.exactsum import exact_sums
from dataops.features.folding import may_stand
from dataops.training.groups import GROUPS, Groups
from dataops.training.parts import FloatArray
from dataops.training.scores import IntArray, score_bucket

BITS = 298
"""Every float32, every difference of two in float64, and the square of any of these is a multiple of ``2**-BITS``."""
DIGITS = 9  # of a change, as in `replicates`


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Exact sums over some rows; all but `rows` in units of ``2**-BITS``.

    Parameters
    ----------
    error, absolute, squared : of predictions less targets: themselves, their sizes, their squares.
    target, target_squared : of targets.
    """

    rows: int = 0
    error: int = 0
    absolute: int = 0
    squared: int = 0
    target: int = 0
    target_squared: int = 0

    def plus(self, other: Self, sign: int = 1) -> Self:
        """Both together; with `sign` -1 what is left without `other`."""
        pairs = zip(self.__slots__, astuple(self), astuple(other), strict=True)
        return type(self)(**{name: mine + sign * theirs for name, mine, theirs in pairs})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictionCounts:
    """Rows by their prediction, and what their errors come to.

    Parameters
    ----------
    buckets : int64 (n_buckets,), strictly increasing: those that hold rows.
    by_bucket : int64 (n_buckets,), rows.
    sums : of all rows.
    groups : of the rows of each group, `GROUPS` of them; None where the groups of some aren't known.
    """

    buckets: IntArray
    by_bucket: IntArray
    sums: Sums
    groups: tuple[Sums, ...] | None = None

    @property
    def rows(self) -> int:
        """All rows."""
        return self.sums.rows

    @property
    def group_rows(self) -> IntArray | None:
        """Rows of each group, int64 (GROUPS,); None where some aren't known."""
        return None if self.groups is None else np.array([one.rows for one in self.groups], np.int64)


def count_predictions(predictions: FloatArray, target: FloatArray, groups: Groups | None = None) -> PredictionCounts:
    """The counts of rows with those predictions and targets, finite float32 (n_rows,) each.

    Parameters
    ----------
    groups : uint8 (n_rows,), see `dataops.training.groups.row_groups`.

    Raises
    ------
    InvalidInput : other lengths, predictions or targets.
    """
    predictions, target = np.asarray(predictions, np.float32), np.asarray(target, np.float32)
    _require_numbers(predictions, target)
    buckets, by_bucket = np.unique(score_bucket(predictions), return_counts=True)
    cells = np.zeros(len(target), np.intp) if groups is None else groups.astype(np.intp)
    n_cells = 1 if groups is None else GROUPS
    parts = _sums_by_cell(predictions.astype(np.float64), target.astype(np.float64), cells, n_cells)
    return PredictionCounts(
        buckets=buckets,
        by_bucket=by_bucket.astype(np.int64),
        sums=_together(parts),
        groups=None if groups is None else parts,
    )


def _require_numbers(predictions: FloatArray, target: FloatArray) -> None:
    if len(predictions) != len(target):
        raise InvalidInput(f"{len(predictions)} predictions for {len(target)} targets")
    strange, unknown = (int(np.count_nonzero(~np.isfinite(one))) for one in (predictions, target))
    if strange or unknown:
        raise InvalidInput(
            f"can't evaluate: of {len(target)} rows, {strange} have a prediction and {unknown} a target that is "
            "infinite or not a number"
        )


def _sums_by_cell(
    predictions: np.ndarray[tuple[int], np.dtype[np.float64]],
    target: np.ndarray[tuple[int], np.dtype[np.float64]],
    cells: np.ndarray[tuple[int], np.dtype[np.intp]],
    n_cells: int,
) -> tuple[Sums, ...]:
    errors = predictions - target
    error, squared = exact_sums(errors, cells, n_cells, bits=BITS)
    absolute, _ = exact_sums(np.abs(errors), cells, n_cells, bits=BITS)
    total, total_squared = exact_sums(target, cells, n_cells, bits=BITS)
    columns = (np.bincount(cells, minlength=n_cells).tolist(), error, absolute, squared, total, total_squared)
    return tuple(Sums(**dict(zip(Sums.__slots__, row, strict=True))) for row in zip(*columns, strict=True))


def _together(parts: Sequence[Sums]) -> Sums:
    total = Sums()
    for part in parts:
        total = total.plus(part)
    return total


def merge_predictions(counts: Sequence[PredictionCounts]) -> PredictionCounts:
    """The counts of all rows of `counts`: exact, in any order."""
    nothing: list[IntArray] = [np.zeros(0, np.int64)]
    buckets, place = np.unique(np.concatenate([one.buckets for one in counts] or nothing), return_inverse=True)
    rows = np.zeros(len(buckets), np.int64)
    np.add.at(rows, place, np.concatenate([one.by_bucket for one in counts] or nothing))
    grouped = [one.groups for one in counts if one.groups is not None]
    all_known = grouped and len(grouped) == len(counts)
    return PredictionCounts(
        buckets=buckets,
        by_bucket=rows,
        sums=_together([one.sums for one in counts]),
        groups=tuple(map(_together, zip(*grouped, strict=True))) if all_known else None,
    )


def prediction_metrics(counts: PredictionCounts, names: Sequence[str], *, quantile: float = 0.5) -> dict[str, float]:
    """Each metric; what these rows don't define (no rows, r2 of equal targets) is absent.

    Parameters
    ----------
    quantile : that of the quantile loss, 0 to 1.
    """
    found = {name: _figure(counts.sums, name, quantile) for name in names}
    return {name: figure for name, figure in found.items() if figure is not None}


def _figure(sums: Sums, name: str, quantile: float) -> float | None:
    """The metric of rows that come to `sums`; None where it isn't defined.

    The quantile loss is ``max(q * r, (q - 1) * r)`` of ``r = target - prediction`` (Koenker and Bassett 1978); with
    ``|r| + r`` and ``|r| - r`` twice its two sides, it follows from the sums of ``r`` and ``|r|``.
    """
    if not sums.rows:
        return None
    whole = sums.rows << BITS
    match name:
        case Metric.RMSE:
            return math.sqrt(Fraction(sums.squared, whole))
        case Metric.MAE:
            return float(Fraction(sums.absolute, whole))
        case Metric.QUANTILE_LOSS:
            share = Fraction(quantile)
            below, above = sums.absolute - sums.error, sums.absolute + sums.error
            return float((share * below + (1 - share) * above) / (2 * whole))
        case _:
            spread = Fraction(sums.target_squared, 1 << BITS) - Fraction(sums.target, 1 << BITS) ** 2 / sums.rows
            return float(1 - Fraction(sums.squared, 1 << BITS) / spread) if spread else None


def changes_of_predictions(
    counts: PredictionCounts, names: Sequence[str], *, quantile: float = 0.5, min_group_size: int = 1
) -> dict[str, list[float]]:
    """Metric -> its change without each group, `GROUPS` of them; only those metrics that have all; see `replicates`."""
    rows = counts.group_rows
    if counts.groups is None or rows is None or not may_stand(rows, min_group_size) or not rows.any():
        return {}
    left = [counts.sums.plus(one, -1) for one in counts.groups]
    found = {}
    for name in names:
        whole, others = _figure(counts.sums, name, quantile), [_figure(one, name, quantile) for one in left]
        told = [other for other in others if other is not None]
        if whole is not None and len(told) == GROUPS:
            found[name] = [float(f"{other - whole:.{DIGITS}g}") + 0.0 for other in told]  # no -0.0
    return found
