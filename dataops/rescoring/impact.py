"""Impact: what would change if a challenger took the place of the job's own model, counted while both score.

1. Counts of units add up exactly, in any order: decisions that flip, rows by both log odds, rows by how far the
   probability moves; overall, and flips by slice.
2. Rank correlation is Spearman's, of log odds in bins half a unit wide (between -8 and 8): rows of one bin are ties.
3. A slice of fewer rows than the policies show figures about has none, nor has one that would tell of it by difference.
4. Counts hold no value of a row. Who moved most is read from the scores themselves, under the policies of the day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dataops.records import Record
from dataops.rescoring.outputs import Floats32, is_positive

Counts = npt.NDArray[np.int64]

BINS = 32
_REACH = 8.0  # log odds beyond it fall into the outermost bins: a probability below 0.0004 or above 0.9996
_MOVES = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Changes of a probability that are counted: rows that moved by more than each."""
_FLOOR = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImpactCounts:
    """Rows that two models scored, by what both said.

    Parameters
    ----------
    joint : int64 (BINS, BINS), rows by bin of the own model's and of the challenger's log odds.
    flips : int64 (2, 2), rows by both decisions, own first.
    moved : int64 (len(_MOVES),), rows whose probability differs by more than each of `_MOVES`.
    slices : column -> int64 (n_values, 2, 2), `flips` by place of the slice's value.
    """

    joint: Counts
    flips: Counts
    moved: Counts
    slices: Mapping[str, Counts] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self.flips.sum())

    def record(self) -> Record:
        """JSON types; of the joint counts those above zero."""
        (places,) = np.nonzero(self.joint.ravel())
        return {
            "places": places.tolist(),
            "rows": self.joint.ravel()[places].tolist(),
            "flips": self.flips.tolist(),
            "moved": self.moved.tolist(),
            "slices": {name: counts.tolist() for name, counts in sorted(self.slices.items())},
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The counts that `record` was made from."""
        joint = np.zeros(BINS * BINS, np.int64)
        joint[record["places"]] = record["rows"]
        return cls(
            joint=joint.reshape(BINS, BINS),
            flips=np.array(record["flips"], np.int64),
            moved=np.array(record["moved"], np.int64),
            slices={name: np.array(counts, np.int64) for name, counts in record["slices"].items()},
        )


def count_impact(
    own: Floats32,
    challenger: Floats32,
    *,
    threshold: float,
    slices: Mapping[str, tuple[npt.NDArray[np.int32], int]] | None = None,
) -> ImpactCounts:
    """The counts of rows with these probabilities, float32 (n_rows,) each.

    Parameters
    ----------
    slices : column -> place of each row's value, int32 (n_rows,), and how many places there are.
    """
    joint = _bin(own) * BINS + _bin(challenger)
    decided = is_positive(own, threshold) * 2 + is_positive(challenger, threshold)
    change = np.abs(own.astype(np.float64) - challenger)
    return ImpactCounts(
        joint=_count(joint, BINS * BINS).reshape(BINS, BINS),
        flips=_count(decided, 4).reshape(2, 2),
        moved=np.array([np.count_nonzero(change > step) for step in _MOVES], np.int64),
        slices={
            name: _count(places.astype(np.int64) * 4 + decided, n_places * 4).reshape(n_places, 2, 2)
            for name, (places, n_places) in (slices or {}).items()
        },
    )


def _bin(probability: Floats32) -> npt.NDArray[np.int64]:
    inside = np.clip(probability.astype(np.float64), _FLOOR, 1 - _FLOOR)
    log_odds = np.log(inside / (1 - inside))
    places = np.floor((log_odds + _REACH) * (BINS / (2 * _REACH)))
    clipped: npt.NDArray[np.int64] = np.clip(places, 0, BINS - 1).astype(np.int64)
    return clipped


def _count(places: npt.NDArray[Any], n_places: int) -> Counts:
    return np.bincount(places, minlength=n_places).astype(np.int64)


def merge_impact(counts: Sequence[ImpactCounts]) -> ImpactCounts:
    """The counts of all rows together."""
    names = dict.fromkeys(name for one in counts for name in one.slices)
    return ImpactCounts(
        joint=_total([one.joint for one in counts], (BINS, BINS)),
        flips=_total([one.flips for one in counts], (2, 2)),
        moved=_total([one.moved for one in counts], (len(_MOVES),)),
        slices={name: np.sum([one.slices[name] for one in counts if name in one.slices], axis=0) for name in names},
    )


def _total(arrays: Sequence[Counts], shape: tuple[int, ...]) -> Counts:
    total: Counts = np.sum(arrays, axis=0) if arrays else np.zeros(shape, np.int64)
    return total


def impact_figures(
    counts: ImpactCounts, values: Mapping[str, Sequence[str]] | None = None, *, min_group_size: int = 1
) -> Record:
    """What a report and a gate take from `counts`: shares of rows, never rows.

    Parameters
    ----------
    values : column -> the names of its slice values, in the order of their places.
    min_group_size : see `large_enough`.
    """
    slices = {
        name: {
            value: _flip_figures(counts.slices[name][place])
            for place, value in enumerate((values or {}).get(name, ()))
            if place in large_enough(counts.slices[name].sum(axis=(1, 2)), min_group_size)
        }
        for name in sorted(counts.slices)
    }
    return {
        **_flip_figures(counts.flips),
        "rank_correlation": rank_correlation(counts.joint),
        "moved": {str(step): _share(int(rows), counts.rows) for step, rows in zip(_MOVES, counts.moved, strict=True)},
        "slices": slices,
    }


def large_enough(rows: Counts, min_group_size: int) -> frozenset[int]:
    """The places whose figures may be shown: none of fewer rows than `min_group_size`, nor what would tell of those by
    difference from the whole.

    Parameters
    ----------
    rows : int64 (n_places,), rows of each place.
    """
    order = [int(place) for place in np.argsort(rows, kind="stable") if rows[place]]
    small = [place for place in order if rows[place] < min_group_size]
    hidden = len(small)
    while small and hidden < len(order) and rows[order[:hidden]].sum() < min_group_size:
        hidden += 1
    return frozenset(order[hidden:])


def _flip_figures(flips: Counts) -> Record:
    """Rows, and shares of those that flip up (to true) and down, and of positives before and after."""
    rows = int(flips.sum())
    return {
        "rows": rows,
        "flipped_up": _share(int(flips[0, 1]), rows),
        "flipped_down": _share(int(flips[1, 0]), rows),
        "positive_own": _share(int(flips[1].sum()), rows),
        "positive_challenger": _share(int(flips[:, 1].sum()), rows),
    }


def _share(part: int, rows: int) -> float | None:
    return part / rows if rows else None


def rank_correlation(joint: Counts) -> float | None:
    """Spearman's rank correlation of two ordered classifications; None where one of them has one class only.

    With ties as mid-ranks: Kendall and Gibbons, Rank Correlation Methods, 5th edition, 3.8.

    Parameters
    ----------
    joint : int64 (n_classes, n_classes), rows by both classes.
    """
    rows = joint.sum()
    own, other = (_middle_ranks(joint.sum(axis=axis)) for axis in (1, 0))
    mean = (rows + 1) / 2
    spread = [float((joint.sum(axis=axis) * (ranks - mean) ** 2).sum()) for axis, ranks in ((1, own), (0, other))]
    if not all(spread):
        return None
    together = float(((own - mean)[:, None] * (other - mean)[None, :] * joint).sum())
    return together / float(np.sqrt(spread[0]) * np.sqrt(spread[1]))


def _middle_ranks(rows: Counts) -> npt.NDArray[np.float64]:
    """The mean rank of the rows of each class, from 1."""
    before = np.cumsum(rows) - rows
    ranks: npt.NDArray[np.float64] = before + (rows + 1) / 2
    return ranks
