"""Fitting a calibration: on rows that the trainer didn't learn from, and that nobody judges the model on.

1. Whole groups of training rows are held out for it, the first ones: of a split by time the newest rows, whole days or
   hours of them. Whatever else is held out (by a search, to stop early) is held out of the others, which are counted
   anew. The encoder was fitted to all training rows, these too: its means, categories and encodings by the target.
2. Where parts lie, rows are counted by class and bucket of their log odds; counts merge exactly, so the calibration is
   the same for any number of workers and order of rows. A bucket is 2**-12 of its log odds wide at most.
3. Rows count once each, as when they are judged: a calibration takes back what weights of rows and of classes did.
4. A curve has knots that are each about as many rows as the policies show figures about, at least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dataops.errors import AccessDenied, InvalidInput
from dataops.models.calibration import Calibration, Floats, Method
from dataops.models.linear import logistic
from dataops.training.evaluate import loaded_predictor
from dataops.training.parts import EncodedPart, PartsOnCluster, merge_parts
from dataops.training.scores import IntArray, bucket_starts, score_bucket
from dataops.training.sides import side_of

HELD_OUT = 4
"""Groups that a calibration is fitted on: of 32, so 12.5 percent of the rows; more where one day or hour has more."""
MOST_CELLS = 256
"""A curve is made of at most as many cells, of about as many rows each: a row's share is off by its cell's width."""
LEAST_SLOPE = 2.0**-10
"""A model that knows nothing, or ranks the wrong way round, gives nearly one probability; its order stays. Of log odds
whose standard deviation is `scale` or more, a power of two above 1, it is so many times less: see `_scale`."""
BEYOND = 128.0
"""How far a curve goes on beyond its outer cells, in the log odds that it makes and by its mean slope: there float32
is at 0 or 1."""

_STEPS, _ENOUGH = 100, 1e-11


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarginCounts:
    """Rows by class and bucket of their log odds.

    Parameters
    ----------
    buckets : int64 (n_buckets,), strictly increasing, see `scores.score_bucket`.
    positives, negatives : int64 (n_buckets,), rows of each class.
    unknown : rows without finite log odds.
    """

    buckets: IntArray
    positives: IntArray
    negatives: IntArray
    unknown: int = 0

    @property
    def rows(self) -> int:
        """Rows of either class."""
        return int(self.positives.sum() + self.negatives.sum())

    @property
    def middles(self) -> Floats:
        """The middle of each bucket, float64 (n_buckets,)."""
        ends = bucket_starts(np.append(self.buckets, self.buckets + 1)).astype(np.float64)
        middles: Floats = ends.reshape(2, -1).mean(axis=0)
        return middles


def count_margins(margins: npt.NDArray[np.float32], target: npt.NDArray[np.float32]) -> MarginCounts:
    """The counts of rows with those log odds and targets, 0 or 1, ``(n_rows,)`` each."""
    known = np.isfinite(margins)
    buckets, place = np.unique(score_bucket(margins[known]), return_inverse=True)
    positive = target[known] == 1
    return MarginCounts(
        buckets=buckets,
        positives=np.bincount(place[positive], minlength=len(buckets)),
        negatives=np.bincount(place[~positive], minlength=len(buckets)),
        unknown=int(np.count_nonzero(~known)),
    )


def merge_margins(many: Sequence[MarginCounts]) -> MarginCounts:
    """The counts of all rows of `many`: exact, in any order."""
    nothing: list[IntArray] = [np.zeros(0, np.int64)]
    buckets, place = np.unique(np.concatenate([one.buckets for one in many] or nothing), return_inverse=True)
    both = np.zeros((2, len(buckets)), np.int64)
    np.add.at(both[0], place, np.concatenate([one.positives for one in many] or nothing))
    np.add.at(both[1], place, np.concatenate([one.negatives for one in many] or nothing))
    unknown = sum(one.unknown for one in many)
    return MarginCounts(buckets=buckets, positives=both[0], negatives=both[1], unknown=unknown)


def calibration_sides(parts: PartsOnCluster) -> tuple[PartsOnCluster, PartsOnCluster]:
    """The rows to learn from, and those to calibrate on; the parts know their groups.

    Raises
    ------
    InvalidInput : one of both has no rows.
    """
    to_fit = side_of(parts, HELD_OUT, held_out=False, renumbered=True, name="fit-calibrated")
    to_calibrate = side_of(parts, HELD_OUT, held_out=True, name="calibrate")
    held_out, rows = sum(to_calibrate.rows), sum(parts.rows)
    if rows and held_out in (0, rows):
        raise InvalidInput(
            f"calibrate: of {rows} rows to learn from {held_out} are held out for it. Rows of one key, or of one day "
            "or hour where the split goes by time, stay together: give rows of more of them, or leave calibrate out"
        )
    return to_fit, to_calibrate


def calibrate(
    parts: PartsOnCluster, model_format: str, model: bytes, method: Method, *, least: int = 1
) -> tuple[Calibration, int]:
    """The calibration of a model by the rows of `parts`, and how many these are.

    Parameters
    ----------
    least : rows that a figure is about at least (`Effect.min_group_size`).

    Raises
    ------
    AccessDenied : there are fewer rows.
    InvalidInput : they are of one class, or the model gives no log odds.
    Compute : a task failed.
    """
    counts = merge_parts(parts, _margins_of, merge_margins, (model_format, model))
    return fit_calibration(counts, method, least=least), counts.rows


def _margins_of(part: EncodedPart, argument: tuple[str, bytes]) -> MarginCounts:
    return count_margins(loaded_predictor(*argument).margins(part.encoded), part.target)


def fit_calibration(counts: MarginCounts, method: Method, *, least: int = 1) -> Calibration:
    """The calibration by rows that were counted; parameters and errors as of `calibrate`."""
    positives, negatives = int(counts.positives.sum()), int(counts.negatives.sum())
    if counts.rows < least and least > 1:
        raise AccessDenied(
            f"calibrate: the rows held out for it are fewer than {least}, and the policies show no figures about so few"
        )
    if counts.unknown or not positives or not negatives:
        raise InvalidInput(
            f"can't calibrate: of {counts.rows + counts.unknown} rows held out for it {counts.unknown} have no finite "
            f"log odds, and {'the others are of one class' if not positives or not negatives else 'all need them'}; "
            "give more rows, or leave calibrate out"
        )
    return _line(counts) if method == "sigmoid" else _curve(counts, least)


def _line(counts: MarginCounts) -> Calibration:
    """Platt's line: logistic regression on the log odds, to targets that leave room for rows not seen.

    Platt 1999, Advances in Large Margin Classifiers; by Newton's method, after Lin, Lin and Weng 2007, Machine Learning
    68. Its slope is `LEAST_SLOPE` over the scale at least.
    """
    positives, negatives = int(counts.positives.sum()), int(counts.negatives.sum())
    rows = (counts.positives + counts.negatives).astype(np.float64)
    likely = (counts.positives * ((positives + 1) / (positives + 2)) + counts.negatives / (negatives + 2)) / rows
    scale = _scale(counts)
    margins = counts.middles / scale
    start = np.array([0.0, math.log((positives + 1) / (negatives + 1))])
    found = _newton(margins, likely, rows, start, free=2)
    if found[0] < LEAST_SLOPE:
        found = _newton(margins, likely, rows, np.array([LEAST_SLOPE, start[1]]), free=1)
    return Calibration(method="sigmoid", slope=float(found[0]) / scale, intercept=float(found[1]))


def _scale(counts: MarginCounts) -> float:
    """The largest power of two, 1 at least, that the standard deviation of the log odds reaches: what a model gives may
    be any multiple of true log odds (a margin of a support vector machine, say), and a power of two divides exactly.
    """
    rows, middles = counts.positives + counts.negatives, counts.middles
    mean = float((rows * middles).sum() / counts.rows)
    spread = math.sqrt(float((rows * (middles - mean) ** 2).sum() / counts.rows))
    return math.ldexp(1.0, math.frexp(spread)[1] - 1) if spread > 1 else 1.0


def _newton(margins: Floats, likely: Floats, rows: Floats, start: Floats, *, free: int) -> Floats:
    """Slope and intercept of the least log loss; with `free` 1 the slope stays as it starts."""
    columns = np.stack([margins, np.ones_like(margins)])

    def loss(line: Floats) -> float:
        z = line @ columns
        return float((rows * (np.logaddexp(0.0, z) - likely * z)).sum())

    line, least = start, loss(start)
    for _ in range(_STEPS):
        found = logistic(line @ columns)
        slopes = columns @ (rows * (found - likely))
        curvature = (columns * (rows * found * (1 - found))) @ columns.T + 1e-12 * np.eye(2)
        some = slice(2 - free, 2)
        step = np.zeros(2)
        step[some] = np.linalg.solve(curvature[some, some], slopes[some])
        shrunk = next((part for part in 0.5 ** np.arange(40) if loss(line - part * step) <= least), 0.0)
        line = line - shrunk * step
        if not shrunk or np.abs(shrunk * step).max() <= _ENOUGH * max(1.0, float(np.abs(line).max())):
            break
        least = loss(line)
    return line


def _curve(counts: MarginCounts, least: int) -> Calibration:
    """Isotonic regression, its blocks joined by straight lines between their means.

    Blocks are pooled by adjacent violators (Ayer et al. 1955, Annals of Mathematical Statistics 26); then each takes
    one more row of the mean share, so that none is 0 or 1. As lines between blocks' means it rises, however slowly, and
    rows that differ don't tie before float32 rounds (centred isotonic regression: Oron and Flournoy 2017, Statistics in
    Biopharmaceutical Research 9).
    """
    cells = _cells(counts, max(least, math.ceil(counts.rows / MOST_CELLS)))
    mean = float(cells[0].sum() / cells[1].sum())
    blocks = np.add.reduceat(cells, pool(*cells[:2]), axis=1)
    positives, rows, sums = np.add.reduceat(blocks, pool(*blocks[:2], prior=mean), axis=1)
    given, shares = sums / rows, _shares(positives, rows, mean)
    made = np.log(shares) - np.log1p(-shares)
    slope = LEAST_SLOPE / _scale(counts)
    if len(given) > 1:
        slope = max(slope, float((made[-1] - made[0]) / (given[-1] - given[0])))
    ends = np.array([-BEYOND, BEYOND])
    outer_given, outer_made = given[[0, -1]] + ends / slope, made[[0, -1]] + ends
    return Calibration(
        method="isotonic",
        given=(float(outer_given[0]), *given.tolist(), float(outer_given[1])),
        made=(float(outer_made[0]), *made.tolist(), float(outer_made[1])),
    )


def _cells(counts: MarginCounts, least: int) -> Floats:
    """Positives, rows and summed log odds of runs of buckets, each of `least` rows at least, ``(3, n_cells)``."""
    by_bucket = counts.positives + counts.negatives
    starts, seen, last = [0], 0, counts.rows
    for bucket, some in enumerate(by_bucket.tolist()):
        if seen >= least and last >= least:
            starts.append(bucket)
            seen = 0
        seen += some
        last -= some
    columns = np.stack([counts.positives.astype(np.float64), by_bucket, counts.middles * by_bucket])
    cells: Floats = np.add.reduceat(columns, starts, axis=1)
    return cells


def pool(positives: Floats, rows: Floats, *, prior: float | None = None) -> list[int]:
    """Where blocks of adjacent cells begin, of which each has a larger share of positives than the one before it.

    Parameters
    ----------
    positives, rows : of each cell, ``(n_cells,)``, one at least.
    prior : the share of one more row in each block; None for no such row.
    """
    blocks: list[tuple[int, float, float]] = []
    for cell, (some, all_) in enumerate(zip(positives.tolist(), rows.tolist(), strict=True)):
        block = (cell, some, all_)
        while blocks and _share(blocks[-1], prior) >= _share(block, prior):
            start, before, size = blocks.pop()
            block = (start, before + block[1], size + block[2])
        blocks.append(block)
    return [start for start, _, _ in blocks]


def _share(block: tuple[int, float, float], prior: float | None) -> float:
    _, positives, rows = block
    return positives / rows if prior is None else float(_shares(positives, rows, prior))


def _shares(positives: Any, rows: Any, prior: float) -> Any:
    return (positives + prior) / (rows + 1)
