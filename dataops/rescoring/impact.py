"""Impact: what would change if a challenger took the place of the job's own model, counted while both score.

1. Counts of units add up exactly, in any order: decisions that flip, rows by both log odds, rows by how far the
   probability moves; overall, and flips by slice.
2. Rank correlation is Spearman's, of log odds in bins half a unit wide (between -8 and 8): rows of one bin are ties.
3. No figure is about fewer rows than the policies show figures about, nor tells of so few by difference: of too few
   rows in all there is none, a slice of too few has none, and a share that stands for too few is None.
4. Counts hold no value of a row. Who moved most is read from the scores themselves, under the policies of the day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dataops.features.columns import Floats32
from dataops.features.folding import may_stand
from dataops.features.hiding import share, shares_above, shown_places
from dataops.records import Record
from dataops.rescoring.outputs import is_positive

Counts = npt.NDArray[np.int64]

BINS = 32
_REACH = 8.0  # log odds beyond it fall into the outermost bins: a probability below 0.0004 or above 0.9996
_MOVES = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Changes of a probability that are counted: rows that moved by more than each."""
_FLOOR = 1e-7
_SHARES = ("flipped_up", "flipped_down", "positive_own", "positive_challenger")


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


def merge_impact(counts: Iterable[ImpactCounts]) -> ImpactCounts:
    """The counts of all rows together; of `counts` one is held at a time.

    A column by which not all counted has no slices: where other code began a run, they would tell of some of its rows.
    """
    joint, flips, moved = (np.zeros(shape, np.int64) for shape in ((BINS, BINS), (2, 2), len(_MOVES)))
    slices: dict[str, Counts] = {}
    for one in counts:
        joint += one.joint
        flips += one.flips
        moved += one.moved
        for name, by_value in one.slices.items():
            slices[name] = slices[name] + by_value if name in slices else by_value
    whole = {name: by_value for name, by_value in slices.items() if by_value.sum() == flips.sum()}
    return ImpactCounts(joint=joint, flips=flips, moved=moved, slices=whole)


def impact_figures(
    counts: ImpactCounts, values: Mapping[str, Sequence[str]] | None = None, *, min_group_size: int = 1
) -> Record:
    """What a report and a gate take from `counts`: shares of rows, never rows.

    Parameters
    ----------
    values : column -> the names of its slice values, in the order of their places.
    min_group_size : rows that a figure is about at least; one of fewer is None.
    """
    rows = counts.rows
    if not may_stand(np.array([rows]), min_group_size):
        return _too_few(sorted(counts.slices))
    moved = shares_above(counts.moved, rows, min_group_size)
    return {
        **_flip_figures(counts.flips, min_group_size),
        "rank_correlation": rank_correlation(counts.joint),
        "moved": {str(step): part for step, part in zip(_MOVES, moved, strict=True)},
        "slices": {
            name: _slice_figures(counts.slices[name], (values or {}).get(name, ()), min_group_size)
            for name in sorted(counts.slices)
        },
    }


def _too_few(slices: Sequence[str]) -> Record:
    """No figures, in the shape of figures."""
    return {
        **dict.fromkeys(("rows", *_SHARES, "rank_correlation")),
        "moved": {str(step): None for step in _MOVES},
        "slices": {name: {} for name in slices},
    }


def _slice_figures(flips: Counts, values: Sequence[str], least: int) -> Record:
    """The figures of the values that have enough rows; their shares where those of no value could be had from them."""
    large = shown_places(flips.sum(axis=(1, 2)), least)
    told = shown_places(flips.reshape(len(flips), -1), least)
    return {
        value: _flip_figures(flips[place], least) if place in told else _without_shares(flips[place])
        for place, value in enumerate(values)
        if place in large
    }


def _flip_figures(flips: Counts, least: int) -> Record:
    """Rows, and shares of those that flip up (to true) and down, and of positives before and after.

    With the other shares, one flip tells of the other: where either, or what both models agree on, is of too few rows,
    neither is told.
    """
    rows = int(flips.sum())
    parts = (flips[0, 1], flips[1, 0], flips[1].sum(), flips[:, 1].sum())
    shares = dict(zip(_SHARES, (share(int(part), rows, least) for part in parts), strict=True))
    return {"rows": rows, **shares, **({} if may_stand(flips, least) else dict.fromkeys(_SHARES[:2]))}


def _without_shares(flips: Counts) -> Record:
    return {"rows": int(flips.sum()), **dict.fromkeys(_SHARES)}


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
