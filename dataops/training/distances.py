"""Counts of distances to centres that merge exactly: what `scores` is for probabilities, this is for a clustering.

1. Squared distances are those of the distances as they are written, float32, and summed without rounding
   (`features.exactsum`): inertia is their mean.
2. The silhouette is the simplified one: of each row ``(b - a) / max(a, b)``, with a the distance to its own centre and
   b that to the nearest of the others (Hruschka, de Castro, Campello 2004; scikit-learn's takes mean distances to all
   rows instead, which is a pass for each row). It is 0 to 1, summed in whole multiples of ``1 / UNIT``.
3. Rows are counted by cluster, as scores are by bucket: of those a reference is made.
4. Rows count once each: weights are for training.
5. Where each row's group is known, sums are kept by group, for what tells how sure a metric is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from typing import Self

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Metric
from dataops.errors import InvalidInput
from dataops.features.exactsum import exact_sums
from dataops.features.folding import may_stand
from dataops.models.centres import Nearest
from dataops.training.groups import GROUPS, Groups
from dataops.training.predictions import BITS, DIGITS
from dataops.training.scores import SUM_ROWS, UNIT, IntArray, score_bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Exact sums over some rows.

    Parameters
    ----------
    squared : of squared distances, in units of ``2**-BITS``.
    silhouette : in units of ``1 / UNIT``.
    """

    rows: int = 0
    squared: int = 0
    silhouette: int = 0

    def plus(self, other: Self, sign: int = 1) -> Self:
        """Both together; with `sign` -1 what is left without `other`."""
        pairs = zip(self.__slots__, astuple(self), astuple(other), strict=True)
        return type(self)(**{name: mine + sign * theirs for name, mine, theirs in pairs})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DistanceCounts:
    """Rows by their cluster, and what their distances come to.

    Parameters
    ----------
    buckets : int64 (n_buckets,), strictly increasing: those of clusters that hold rows.
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


def count_distances(nearest: Nearest, groups: Groups | None = None) -> DistanceCounts:
    """The counts of rows whose nearest centres are those, `dataops.models.centres.NEAREST` (n_rows,).

    Parameters
    ----------
    groups : uint8 (n_rows,), see `dataops.training.groups.row_groups`.

    Raises
    ------
    InvalidInput : a distance that isn't a finite number.
    """
    own, other = (nearest[name].astype(np.float64) for name in ("distance", "next"))
    strange = int(np.count_nonzero(~np.isfinite(own)))
    if strange:
        raise InvalidInput(
            f"can't evaluate: of {len(own)} rows, {strange} lie farther from each centre than float32 says"
        )
    buckets, by_bucket = np.unique(score_bucket(nearest["cluster"].astype(np.float32)), return_counts=True)
    cells = np.zeros(len(own), np.intp) if groups is None else groups.astype(np.intp)
    parts = _sums_by_cell(own, other, cells, 1 if groups is None else GROUPS)
    return DistanceCounts(
        buckets=buckets,
        by_bucket=by_bucket.astype(np.int64),
        sums=_together(parts),
        groups=None if groups is None else parts,
    )


def merge_distances(counts: Sequence[DistanceCounts]) -> DistanceCounts:
    """The counts of all rows of `counts`: exact, in any order."""
    nothing: list[IntArray] = [np.zeros(0, np.int64)]
    buckets, place = np.unique(np.concatenate([one.buckets for one in counts] or nothing), return_inverse=True)
    rows = np.zeros(len(buckets), np.int64)
    np.add.at(rows, place, np.concatenate([one.by_bucket for one in counts] or nothing))
    grouped = [one.groups for one in counts if one.groups is not None]
    all_known = grouped and len(grouped) == len(counts)
    return DistanceCounts(
        buckets=buckets,
        by_bucket=rows,
        sums=_together([one.sums for one in counts]),
        groups=tuple(map(_together, zip(*grouped, strict=True))) if all_known else None,
    )


def distance_metrics(counts: DistanceCounts, names: Sequence[str]) -> dict[str, float]:
    """Each metric; of no rows none."""
    found = {name: _figure(counts.sums, name) for name in names}
    return {name: figure for name, figure in found.items() if figure is not None}


def changes_of_distances(
    counts: DistanceCounts, names: Sequence[str], *, min_group_size: int = 1
) -> dict[str, list[float]]:
    """Metric -> its change without each group, `GROUPS` of them; only those metrics that have all; see `replicates`."""
    rows = counts.group_rows
    if counts.groups is None or rows is None or not may_stand(rows, min_group_size) or not rows.any():
        return {}
    left = [counts.sums.plus(one, -1) for one in counts.groups]
    found = {}
    for name in names:
        whole, others = _figure(counts.sums, name), [_figure(one, name) for one in left]
        told = [other for other in others if other is not None]
        if whole is not None and len(told) == GROUPS:
            found[name] = [float(f"{other - whole:.{DIGITS}g}") + 0.0 for other in told]  # no -0.0
    return found


def _figure(sums: Sums, name: str) -> float | None:
    if not sums.rows:
        return None
    if name == Metric.INERTIA:
        return float(Fraction(sums.squared, sums.rows << BITS))
    return float(Fraction(sums.silhouette, sums.rows * UNIT))


def _sums_by_cell(
    own: npt.NDArray[np.float64], other: npt.NDArray[np.float64], cells: npt.NDArray[np.intp], n_cells: int
) -> tuple[Sums, ...]:
    apart = np.divide(own, other, out=np.ones_like(own), where=other > 0)
    units = np.rint((1.0 - apart) * UNIT).astype(np.int64)
    silhouette = [0] * n_cells
    for start in range(0, len(units), SUM_ROWS):
        some = np.zeros(n_cells, np.int64)
        np.add.at(some, cells[start : start + SUM_ROWS], units[start : start + SUM_ROWS])
        silhouette = [total + int(part) for total, part in zip(silhouette, some, strict=True)]
    _, squared = exact_sums(own, cells, n_cells, bits=BITS)
    rows = np.bincount(cells, minlength=n_cells).tolist()
    return tuple(
        Sums(rows=n, squared=square, silhouette=part) for n, square, part in zip(rows, squared, silhouette, strict=True)
    )


def _together(parts: Sequence[Sums]) -> Sums:
    total = Sums()
    for part in parts:
        total = total.plus(part)
    return total
