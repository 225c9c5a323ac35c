"""Counts of scores that merge exactly: any split of the rows, in any order, gives the same metrics.

1. A score is counted in a bucket: its float32 bits with all but the top 12 bits of the mantissa cut. The bits of
   numbers that are not negative have the numbers' order, so a bucket is an interval, at most 2**-12 of its value wide,
   from 1e-30 to 1 alike; 0.5 is an edge of one.
2. Log loss and squared error are summed in whole multiples of 2**-40, so that their sums are exact too; the mean is
   off by 2**-41 at most.
3. What a bucket hides is stated: `roc_auc_error_bound`, `average_precision_error_bound` and `lift_error_bound` come
   with their metric.
4. Rows that reach a threshold are counted by themselves: what is decided at it is exact (`decisions`).
5. Rows count once each: weights are for training.
6. Where each row's group is known, rows are counted by group too (`groups`), for what tells how sure a metric is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dataops.declarations.metrics import USUAL_POINTS, Points
from dataops.errors import InvalidInput, near_match
from dataops.training.decisions import AT_THRESHOLD, LIFT, Ratio, lift_of
from dataops.training.decisions import lift_error_bound as bound_of_lift
from dataops.training.groups import GroupCounts, Groups, bins_of, count_groups, merge_groups
from dataops.training.parts import FloatArray

IntArray = np.ndarray[Any, np.dtype[np.int64]]

CUT_BITS = 11  # of float32's 23 bits of mantissa, 12 stay
UNIT = 2**40  # sums count multiples of 1 / UNIT
SUM_ROWS = 2**18  # a log loss is below 2**4: so many of them, times UNIT, fit an int64
CALIBRATED = 10  # parts by score that calibration is told of
CLIP = float(np.finfo(np.float32).eps)  # scikit-learn's bound for the log loss of float32 scores


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreCounts:
    """Rows by class and score bucket.

    Parameters
    ----------
    buckets : int64 (n_buckets,), strictly increasing: those that hold rows.
    positives, negatives : int64 (n_buckets,), rows of each class.
    log_loss_units, squared_error_units : sums over all rows, in multiples of ``1 / UNIT``.
    reached : negatives and positives whose score reaches the threshold that they were counted at.
    groups : the same rows by group; None where the groups of some aren't known.
    """

    buckets: IntArray
    positives: IntArray
    negatives: IntArray
    log_loss_units: int
    squared_error_units: int
    reached: tuple[int, int]
    groups: GroupCounts | None = None

    @property
    def n_positive(self) -> int:
        """Rows of target 1."""
        return int(self.positives.sum())

    @property
    def n_negative(self) -> int:
        """Rows of target 0."""
        return int(self.negatives.sum())

    @property
    def rows(self) -> int:
        """Rows of either class."""
        return self.n_positive + self.n_negative

    @property
    def by_bucket(self) -> IntArray:
        """Rows of each of `buckets`."""
        return self.positives + self.negatives

    @property
    def group_rows(self) -> IntArray | None:
        """Rows of each group, int64 (GROUPS,); None where some aren't known."""
        return None if self.groups is None else self.groups.rows


def count_scores(
    scores: FloatArray, target: np.ndarray[Any, Any], groups: Groups | None = None, points: Points = USUAL_POINTS
) -> ScoreCounts:
    """The counts of rows with those scores, float32 (n_rows,) from 0 to 1, and targets, 0 or 1.

    Parameters
    ----------
    groups : uint8 (n_rows,), see `dataops.training.groups.row_groups`.
    points : at whose threshold rows are counted.

    Raises
    ------
    InvalidInput : other lengths, scores or targets.
    """
    _require_scores(scores, target)
    positive = target == 1
    buckets, place = np.unique(score_bucket(scores), return_inverse=True)
    likely = np.clip(scores.astype(np.float64), CLIP, 1 - CLIP)
    error = scores.astype(np.float64) - positive
    losses = _units(-np.log(np.where(positive, likely, 1 - likely)))
    squares = _units(error * error)
    reaching = scores >= np.float32(points.threshold)
    grouped = None
    if groups is not None:
        bins = bins_of(bucket_starts(buckets))
        grouped = count_groups(bins, place, positive, groups, log_loss=losses, squared_error=squares, reaching=reaching)
    return ScoreCounts(
        buckets=buckets,
        positives=np.bincount(place[positive], minlength=len(buckets)),
        negatives=np.bincount(place[~positive], minlength=len(buckets)),
        log_loss_units=sum(grouped.log_loss_units) if grouped else _total(losses),
        squared_error_units=sum(grouped.squared_error_units) if grouped else _total(squares),
        reached=(int(np.count_nonzero(reaching & ~positive)), int(np.count_nonzero(reaching & positive))),
        groups=grouped,
    )


def _require_scores(scores: FloatArray, target: np.ndarray[Any, Any]) -> None:
    if len(scores) != len(target):
        raise InvalidInput(f"{len(scores)} scores for {len(target)} targets")
    strange = int(np.count_nonzero(~((scores >= 0) & (scores <= 1))))
    labels = int(np.count_nonzero((target != 0) & (target != 1)))
    if strange or labels:
        raise InvalidInput(
            f"can't evaluate: of {len(scores)} rows, {strange} have a score outside 0 to 1 and {labels} a target other "
            "than 0 and 1"
        )


def score_bucket(scores: FloatArray) -> IntArray:
    """The bucket of each score, int64: as ordered as the scores, also below 0."""
    positive_zero = np.asarray(scores, np.float32) + np.float32(0)  # -0.0 has a sign bit
    return (_in_order(positive_zero.view(np.int32)) >> CUT_BITS).astype(np.int64)


def bucket_starts(buckets: IntArray) -> FloatArray:
    """The least score of each of `buckets`, float32."""
    return _in_order((buckets << CUT_BITS).astype(np.int32)).view(np.float32)


def _in_order(bits: np.ndarray[Any, np.dtype[np.int32]]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Bits of floats as whole numbers in the floats' order, and these as bits again: below 0 bits count backwards."""
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


def _units(values: np.ndarray[Any, np.dtype[np.float64]]) -> IntArray:
    units: IntArray = np.rint(values * UNIT).astype(np.int64)
    return units


def _total(units: IntArray) -> int:
    return sum(int(units[start : start + SUM_ROWS].sum()) for start in range(0, len(units), SUM_ROWS))


def merge_counts(counts: Sequence[ScoreCounts]) -> ScoreCounts:
    """The counts of all rows of `counts`: exact, in any order."""
    nothing: list[IntArray] = [np.zeros(0, np.int64)]
    buckets, place = np.unique(np.concatenate([one.buckets for one in counts] or nothing), return_inverse=True)
    positives, negatives = np.zeros(len(buckets), np.int64), np.zeros(len(buckets), np.int64)
    np.add.at(positives, place, np.concatenate([one.positives for one in counts] or nothing))
    np.add.at(negatives, place, np.concatenate([one.negatives for one in counts] or nothing))
    grouped = [one.groups for one in counts if one.groups is not None]
    return ScoreCounts(
        buckets=buckets,
        positives=positives,
        negatives=negatives,
        log_loss_units=sum(one.log_loss_units for one in counts),
        squared_error_units=sum(one.squared_error_units for one in counts),
        reached=(sum(one.reached[0] for one in counts), sum(one.reached[1] for one in counts)),
        groups=merge_groups(grouped) if grouped and len(grouped) == len(counts) else None,
    )


def roc_auc(counts: ScoreCounts) -> float:
    """The area under the ROC curve; rows of one bucket count as ties (Mann-Whitney)."""
    below = np.cumsum(counts.negatives) - counts.negatives
    won = int((counts.positives * below).sum()) + int((counts.positives * counts.negatives).sum()) / 2
    return won / (counts.n_positive * counts.n_negative)


def roc_auc_error_bound(counts: ScoreCounts) -> float:
    """How far `roc_auc` can be from that of the uncut scores: every pair within a bucket counts a half, for 0 or 1."""
    return int((counts.positives * counts.negatives).sum()) / 2 / (counts.n_positive * counts.n_negative)


def average_precision(counts: ScoreCounts) -> float:
    """The sum of precision over gains in recall, with every bucket's lower edge as a threshold."""
    found, shown = _found_and_shown(counts)
    return float((counts.positives[::-1] * found / shown).sum() / counts.n_positive)


def average_precision_error_bound(counts: ScoreCounts) -> float:
    """How far `average_precision` can be from that of the uncut scores.

    Within a bucket of p positives and q negatives, below F found of S shown rows, precision lies between
    ``(F + 1) / (S + 1 + q)`` and ``(F + p) / (S + p)``.
    """
    found, shown = _found_and_shown(counts)
    positives, negatives = counts.positives[::-1], counts.negatives[::-1]
    high = positives * found / np.maximum(shown - negatives, 1)
    low = positives * (found - positives + 1) / (shown - positives + 1)
    middle = positives * found / shown
    return float(max((high - middle).sum(), (middle - low).sum()) / counts.n_positive)


def _found_and_shown(counts: ScoreCounts) -> tuple[IntArray, IntArray]:
    """Positives, and all rows, from the highest bucket down to each."""
    return np.cumsum(counts.positives[::-1]), np.cumsum((counts.positives + counts.negatives)[::-1])


def lift(counts: ScoreCounts, share: float = USUAL_POINTS.top_share) -> float:
    """How many times more positives the highest `share` of the rows holds than as many at random; rows of one bucket
    count as ties.
    """
    return float(lift_of(counts.positives.astype(np.float64), counts.negatives.astype(np.float64), share))


def lift_error_bound(counts: ScoreCounts, share: float = USUAL_POINTS.top_share, least: int = 1) -> float:
    """How far `lift` can be from that of the uncut scores; `least` as of `decisions.lift_error_bound`."""
    return bound_of_lift(counts.positives.astype(np.float64), counts.negatives.astype(np.float64), share, least=least)


def _at_threshold(ratio: Ratio, counts: ScoreCounts) -> float:
    wrong, found = counts.reached
    return float(ratio(found, wrong, counts.n_positive, counts.n_negative))


def log_loss(counts: ScoreCounts) -> float:
    """The mean negative log likelihood, of scores kept `CLIP` away from 0 and 1."""
    return counts.log_loss_units / UNIT / counts.rows


def brier(counts: ScoreCounts) -> float:
    """The mean squared difference of score and target."""
    return counts.squared_error_units / UNIT / counts.rows


def calibration_error(counts: ScoreCounts) -> float:
    """The expected calibration error: how far the shares of positives are from the mean scores, over `CALIBRATED` parts
    of about as many rows by score, rows of one bucket together.

    After Naeini, Cooper and Hauskrecht 2015, AAAI; by parts of equal rows: Nixon et al. 2019, CVPR workshops. A score
    counts as the middle of its bucket, so it is off by 2**-13 at most.
    """
    rows = counts.positives + counts.negatives
    middle_row = 2 * (np.cumsum(rows) - rows) + rows  # doubled
    part = middle_row * CALIBRATED // (2 * counts.rows)
    edges = bucket_starts(np.append(counts.buckets, counts.buckets + 1)).astype(np.float64).reshape(2, -1)
    promised = np.bincount(part, np.minimum(edges.mean(axis=0), 1.0) * rows, CALIBRATED)
    found = np.bincount(part, counts.positives, CALIBRATED)
    return float(np.abs(promised - found).sum() / counts.rows)


METRICS: Mapping[str, Callable[..., float]] = {
    **{one.__name__: one for one in (roc_auc, average_precision, log_loss, brier, calibration_error, lift)},
    **{name: partial(_at_threshold, ratio) for name, ratio in AT_THRESHOLD.items()},
}
BOUNDS: Mapping[str, Callable[..., float]] = {
    "roc_auc": roc_auc_error_bound,
    "average_precision": average_precision_error_bound,
    "lift": lift_error_bound,
}


def parse_metrics(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once.

    Raises
    ------
    InvalidInput : unknown ones, all of them at once.
    """
    wanted = tuple(dict.fromkeys(names))
    unknown = [f"there is no metric '{name}'.{near_match(name, METRICS)}" for name in wanted if name not in METRICS]
    if unknown:
        raise InvalidInput(" ".join(unknown))
    return wanted


def compute_metrics(
    counts: ScoreCounts, names: Sequence[str], points: Points = USUAL_POINTS, *, least: int = 1
) -> dict[str, float]:
    """Each metric with its bound, where it has one. What these rows don't define (no rows, one class) is absent.

    Parameters
    ----------
    points : whose `top_share` the lift is of; the threshold is that of the counts.
    least : rows that a bound is about at least; which metrics may be told is for others to say (`tasks.Judge.hidden`).
    """
    both = bool(counts.n_positive and counts.n_negative)
    shared, bounded = {LIFT: (points.top_share,)}, {LIFT: (points.top_share, least)}
    figures = {}
    for name in parse_metrics(names):
        if both or (counts.rows and name not in BOUNDS):
            figures[name] = METRICS[name](counts, *shared.get(name, ()))
        if both and name in BOUNDS:
            figures[f"{name}_error_bound"] = BOUNDS[name](counts, *bounded.get(name, ()))
    return {name: figure for name, figure in figures.items() if not math.isnan(figure)}
