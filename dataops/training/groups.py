"""Rows in groups by a hash of their place, counted so that a figure can be had without any one of the groups.

1. A row's group depends on its file's digest, as the snapshot knows it, and its place in the file, and on nothing else.
   Two versions that are judged on the same snapshot have the same groups, whoever judges them, in which units, and
   when.
2. Counts merge exactly, in any order. A score is counted in one of `BINS` bins of equal width in log odds, coarser than
   the buckets of `scores`: they serve to tell how much a figure changes without a group, not how large it is.
3. Log loss and squared error are sums of whole units, as in `scores`; rows that reach a threshold are counted apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
Groups = npt.NDArray[np.uint8]
Ranks = npt.NDArray[np.uint32]

GROUPS = 32
"""How many groups there are: 31 degrees of freedom cost a bound of 95 % confidence 3 % of its width."""
BINS = 256
_REACH = 16.0  # log odds beyond it fall into the outermost bins; float32 has none that are larger below 1
_GROUP_BITS = GROUPS.bit_length() - 1
_DOMAIN = b"dataops/groups/1"
_SUM_ROWS = 2**18  # as many values below 2**44 fit an int64


def row_groups(file: str, positions: IntArray) -> Groups:
    """The group of each row, uint8 (n_rows,), 0 to ``GROUPS - 1``, each as likely.

    Parameters
    ----------
    file : its digest (`Fragment.digest`): of its bytes, or of a source's footer.
    positions : int64 (n_rows,), offset of each row in it.
    """
    return (_words(file, positions) >> np.uint64(64 - _GROUP_BITS)).astype(np.uint8)


def row_ranks(file: str, positions: IntArray) -> Ranks:
    """A number of each row, uint32 (n_rows,), each as likely, whatever the row's group: those of the least are a sample
    of rows that stays the same, however they are read. Parameters as of `row_groups`.
    """
    return (_words(file, positions) >> np.uint64(32 - _GROUP_BITS)).astype(np.uint32)  # the bits below the group's


def _words(file: str, positions: IntArray) -> npt.NDArray[np.uint64]:
    # splitmix64 (Steele, Lea, Flood 2014), whose upper bits part the rows
    seed = int.from_bytes(blake2b(file.encode(), key=_DOMAIN, digest_size=8).digest(), "little")
    words = positions.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed: npt.NDArray[np.uint64] = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupCounts:
    """Rows by group, class and bin of the score.

    Parameters
    ----------
    cells : int64 (n_cells,), strictly increasing: ``bin * GROUPS + group`` of those that hold rows.
    positives, negatives : int64 (n_cells,), rows of each class.
    log_loss_units, squared_error_units : sums by group, in multiples of ``1 / scores.UNIT``.
    reached : int64 (2, GROUPS), negatives and positives whose score reaches the threshold that they were counted at.
    """

    cells: IntArray
    positives: IntArray
    negatives: IntArray
    log_loss_units: tuple[int, ...]
    squared_error_units: tuple[int, ...]
    reached: IntArray

    @property
    def rows(self) -> IntArray:
        """Rows of each group, int64 (GROUPS,)."""
        positives, negatives = self.dense()
        rows: IntArray = (positives + negatives).sum(axis=0)
        return rows

    def dense(self) -> tuple[IntArray, IntArray]:
        """Positives and negatives, int64 (BINS, GROUPS) each."""
        both = np.zeros((2, BINS * GROUPS), np.int64)
        both[0, self.cells], both[1, self.cells] = self.positives, self.negatives
        return both[0].reshape(BINS, GROUPS), both[1].reshape(BINS, GROUPS)


def bins_of(scores: npt.NDArray[np.float32]) -> IntArray:
    """The bin of each score, int64; 0.5 is where one begins."""
    inside = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
    places = np.floor((np.log(inside / (1 - inside)) + _REACH) * (BINS / (2 * _REACH)))
    clipped: IntArray = np.clip(places, 0, BINS - 1).astype(np.int64)
    return clipped


def count_groups(
    bins: IntArray,
    place: IntArray,
    positive: npt.NDArray[np.bool_],
    groups: Groups,
    *,
    log_loss: IntArray,
    squared_error: IntArray,
    reaching: npt.NDArray[np.bool_],
) -> GroupCounts:
    """The counts of rows, ``(n_rows,)`` each.

    Parameters
    ----------
    bins, place : the bins of some scores, and which of these each row has.
    log_loss, squared_error : in units.
    reaching : whether the score of a row reaches the threshold.
    """
    cell = (bins * (2 * GROUPS))[place]
    cell += groups * np.uint8(2) + positive
    both = np.bincount(cell, minlength=BINS * GROUPS * 2).reshape(-1, 2)
    cells = np.flatnonzero(both.any(axis=1))
    return GroupCounts(
        cells=cells,
        positives=both[cells, 1],
        negatives=both[cells, 0],
        log_loss_units=_sums(log_loss, groups),
        squared_error_units=_sums(squared_error, groups),
        reached=np.bincount((positive * np.intp(GROUPS) + groups)[reaching], minlength=2 * GROUPS).reshape(2, GROUPS),
    )


def _sums(units: IntArray, groups: Groups) -> tuple[int, ...]:
    """The exact sum of `units` in each group."""
    totals = [0] * GROUPS
    for start in range(0, len(units), _SUM_ROWS):
        some, which = units[start : start + _SUM_ROWS], groups[start : start + _SUM_ROWS]
        sums = np.zeros(GROUPS, np.int64)
        np.add.at(sums, which, some)
        totals = [total + int(part) for total, part in zip(totals, sums, strict=True)]
    return tuple(totals)


def merge_groups(many: Sequence[GroupCounts]) -> GroupCounts:
    """The counts of all rows of `many`, at least one: exact, in any order."""
    cells, place = np.unique(np.concatenate([one.cells for one in many]), return_inverse=True)
    positives, negatives = np.zeros(len(cells), np.int64), np.zeros(len(cells), np.int64)
    np.add.at(positives, place, np.concatenate([one.positives for one in many]))
    np.add.at(negatives, place, np.concatenate([one.negatives for one in many]))
    return GroupCounts(
        cells=cells,
        positives=positives,
        negatives=negatives,
        log_loss_units=tuple(map(sum, zip(*(one.log_loss_units for one in many), strict=True))),
        squared_error_units=tuple(map(sum, zip(*(one.squared_error_units for one in many), strict=True))),
        reached=np.sum([one.reached for one in many], axis=0),
    )
