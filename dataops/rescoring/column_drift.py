"""The drift of one column: its figures then and now, what chance alone gives, and what is too few to be shown.

1. Population stability index and Jensen-Shannon distance compare shares of coarse cells: tenths of a number, missing
   and unknown among them. The index takes half a row more for each cell, so that an empty one is no infinity.
2. Kolmogorov-Smirnov is of a number's values that aren't missing, at the edges of its fine cells. In between it can be
   larger by `ks_error_bound` at most; values are those of the summary, to 13 significant bits.
3. No figure is made of fewer rows than the policies ask for, nor of so few that chance alone gives an index of
   `NOTICEABLE` or more once in a thousand times.
4. What chance gives: an index of two samples of one population is ``(1/n + 1/m)`` times a chi-square of one degree less
   than there are cells (Yurdakul & Naranjo 2020, doi:10.21314/JRMV.2020.227); the distance follows from the index,
   being about its eighth part for small ones; Kolmogorov-Smirnov by Smirnov's bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dataops.declarations.monitor import DriftMetric
from dataops.features.cells import MISSING, UNKNOWN, CategoryCells, Cells, Fold, NumberCells, folded
from dataops.features.chi_square import upper_quantile
from dataops.features.columns import Ints
from dataops.features.folding import fold_cells
from dataops.records import Record

NOTICEABLE = 0.1
"""The index from which on one speaks of a change at all; see `drift_limits.DEFAULT_LIMITS`."""

CHANCE = 0.001
"""How often chance alone may give a figure that is shown, or told of."""

_NORMAL = 3.2905  # what a normal deviate exceeds, up or down, as often

DIGITS = 6
"""Decimal places of figures and shares in records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """Drift of one feature, or of the score, in one population.

    Attributes
    ----------
    figures : by metric; empty where the rows are too few.
    chance : what chance alone reaches once in a thousand times, by metric.
    ks_error_bound : how much larger Kolmogorov-Smirnov may be between the cells' edges.
    shares : of what is missing, and unknown, then and now; None where it is of too few rows to be shown.
    then, now : shares of coarse cells, in order; categories as the feature program lists them.
    """

    name: str
    kind: str
    figures: Mapping[DriftMetric, float]
    chance: Mapping[DriftMetric, float]
    ks_error_bound: float | None = None
    shares: Mapping[DriftMetric, tuple[float | None, float | None]] = field(default_factory=dict)
    then: tuple[float, ...] = ()
    now: tuple[float, ...] = ()

    def record(self, *, figures_only: bool = False) -> Record:
        """The drift as JSON, with chance and shares unless `figures_only`."""
        found: Record = {"column": self.name, "kind": self.kind}
        if not self.figures:
            return {**found, "too_few": True}
        found |= {str(metric): round(figure, DIGITS) for metric, figure in self.figures.items()}
        if figures_only:
            return found
        found |= {"chance": {str(metric): round(figure, DIGITS) for metric, figure in self.chance.items()}}
        if self.ks_error_bound is not None:
            found["ks_error_bound"] = round(self.ks_error_bound, DIGITS)
        for metric, shares in self.shares.items():
            found[f"{metric}_shares"] = [None if share is None else round(share, DIGITS) for share in shares]
        return found | {key: [round(share, DIGITS) for share in getattr(self, key)] for key in ("then", "now")}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """One column then and now.

    Attributes
    ----------
    fold : ``(n_cells,)``, the group of each cell; what is known are counts of groups.
    parts : ``(n_groups,)``, the coarse cell of each group.
    then, now : ``(n_groups,)``.
    least : rows that a count is about, if it is shown.
    """

    cells: Cells
    fold: Fold
    parts: Fold
    then: Ints
    now: Ints
    least: int

    @property
    def rows(self) -> tuple[int, int]:
        """How many rows, then and now."""
        return int(self.then.sum()), int(self.now.sum())

    @property
    def spread(self) -> float:
        """One part of the rows then, and one of the rows now: what a variance of shares is a multiple of."""
        return sum(1 / rows for rows in self.rows)


def column_drift(one: Compared, *, is_score: bool = False) -> ColumnDrift:
    """The figures of a feature, or of the score; none where its rows are too few."""
    cells = one.cells
    parts = _shown(cells, np.stack([folded(one.then, one.parts), folded(one.now, one.parts)]), one.least)
    if min(one.rows) < one.least or (index := _chance_of_index(one, parts)) > NOTICEABLE:
        return too_few(one, is_score=is_score)
    figures = {DriftMetric.PSI: stability_index(*parts), DriftMetric.JS: jensen_shannon(*parts)}
    chance = {DriftMetric.PSI: index, DriftMetric.JS: math.sqrt(index / (8 * math.log(2)))}
    bound = None
    if isinstance(cells, NumberCells):
        figures[DriftMetric.KS], bound = _kolmogorov_smirnov(cells, one)
        chance[DriftMetric.KS] = math.sqrt(math.log(2 / CHANCE) / 2 * one.spread)
    special = {} if is_score else _special(cells)
    shares = {metric: (_share(one, cell, one.then), _share(one, cell, one.now)) for metric, cell in special.items()}
    for metric, (before, today) in shares.items():
        figures[metric] = max(0.0, today.least - before.most, before.least - today.most)
        chance[metric] = _chance_of_share(one, before, today)
    then, now = (tuple((counts / counts.sum()).tolist()) for counts in parts)
    known = {metric: (before.known, today.known) for metric, (before, today) in shares.items()}
    return ColumnDrift(
        name=cells.name,
        kind=_kind(cells, is_score=is_score),
        figures=figures,
        chance=chance,
        ks_error_bound=bound,
        shares=known,
        then=then,
        now=now,
    )


def too_few(one: Compared, *, is_score: bool = False) -> ColumnDrift:
    """No figures: there are too few rows, then or now."""
    return ColumnDrift(name=one.cells.name, kind=_kind(one.cells, is_score=is_score), figures={}, chance={})


def _kind(cells: Cells, *, is_score: bool) -> str:
    return "score" if is_score else "category" if isinstance(cells, CategoryCells) else "number"


def _special(cells: Cells) -> dict[DriftMetric, int]:
    if isinstance(cells, CategoryCells):
        return {DriftMetric.MISSING: MISSING, DriftMetric.UNKNOWN: UNKNOWN}
    return {DriftMetric.MISSING: MISSING}


def _shown(cells: Cells, counts: Ints, least: int) -> Ints:
    """``(2, n_parts)``, those of too few rows put together, those without any left out."""
    together = folded(counts, fold_cells(cells, counts, least))
    return together[:, together.any(axis=0)]


def stability_index(then: Ints, now: Ints) -> float:
    """The population stability index of two vectors of counts: the sum of ``(q - p) ln(q / p)``.

    Shares are of counts that half a row is added to, the usual estimate where a cell may be empty.
    """
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (then, now))
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(then: Ints, now: Ints) -> float:
    """The Jensen-Shannon distance, base 2, of two vectors of counts: 0 for equal shares, 1 where none is shared.

    Lin 1991, doi:10.1109/18.61115; the root of the divergence is a metric (Endres & Schindelin 2003).
    """
    p, q = then / then.sum(), now / now.sum()
    middle = (p + q) / 2
    divergence = sum(float((one[one > 0] * np.log2(one[one > 0] / middle[one > 0])).sum()) for one in (p, q)) / 2
    return math.sqrt(max(divergence, 0.0))


def _kolmogorov_smirnov(cells: NumberCells, one: Compared) -> tuple[float, float]:
    """The largest difference of the two distributions at the edges of cells, and how much larger it may be between."""
    size = np.bincount(one.fold)
    values = np.setdiff1d(np.arange(len(size)), one.fold[MISSING] if size[one.fold[MISSING]] == 1 else [])
    counts = np.stack([one.then, one.now])[:, values]
    hidden = fold_cells(cells, counts, one.least)
    counts = folded(counts, hidden)
    if not counts.sum(axis=1).all():  # then or now all are missing: that is told by itself
        return 0.0, 0.0
    group = np.full(len(size), -1)
    group[values] = hidden
    of_cell = group[one.fold]  # the interval that each cell is part of by now
    alone = np.bincount(of_cell[of_cell >= 0], minlength=counts.shape[1]) == 1
    is_point = np.isin(np.arange(counts.shape[1]), of_cell[list(cells.points)]) & alone
    ends = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    starts = np.concatenate([np.zeros((2, 1)), ends[:, :-1]], axis=1)
    at_edges = float(np.abs(ends[0] - ends[1]).max())
    between = np.maximum(ends[0] - starts[1], ends[1] - starts[0])[~is_point]
    return at_edges, max(0.0, float(between.max(initial=0.0)) - at_edges)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """A share of rows, or what it lies between where its rows are too few to be shown."""

    least: float
    most: float

    @property
    def known(self) -> float | None:
        return self.least if self.least == self.most else None


def _share(one: Compared, cell: int, counts: Ints) -> _Share:
    group = one.fold[cell]
    rows, total = int(counts[group]), int(counts.sum())
    alone = np.count_nonzero(one.fold == group) == 1
    if rows and not (alone and rows >= one.least):
        return _Share(least=0.0, most=rows / total if not alone else (one.least - 1) / total)
    return _Share(least=rows / total, most=rows / total)


def _chance_of_index(one: Compared, parts: Ints) -> float:
    if not all(one.rows) or parts.shape[1] < 2:
        return 0.0
    return upper_quantile(parts.shape[1] - 1, CHANCE) * one.spread


def _chance_of_share(one: Compared, then: _Share, now: _Share) -> float:
    rows_then, rows = one.rows
    share = (then.most * rows_then + now.most * rows) / (rows_then + rows)
    return _NORMAL * math.sqrt(share * (1 - share) * one.spread)
