"""Drift: how far the rows of today are from those that the model was judged on.

1. Figures are made of whole rows in fixed cells, so they are those of the whole table, however it was cut into units.
2. Population stability index and Jensen-Shannon distance compare shares of coarse cells: tenths of a number, missing
   and unknown among them. The index takes half a row more for each cell, so that an empty one is no infinity.
3. Kolmogorov-Smirnov is of a number's values that aren't missing, at the edges of its fine cells. In between it can be
   larger by `ks_error_bound` at most; values are those of the summary, to 13 significant bits.
4. No figure is made of fewer rows than the policies ask for, nor of a slice's value that would tell of those by
   difference from the whole, nor of so few that chance alone gives an index of `NOTICEABLE` or more once in a thousand
   times. A limit isn't broken by a figure that chance alone could give.
5. What chance gives: an index of two samples of one population is ``(1/n + 1/m)`` times a chi-square of one degree less
   than there are cells (Yurdakul & Naranjo 2020, doi:10.21314/JRMV.2020.227); the distance follows from the index,
   being about its eighth part for small ones; Kolmogorov-Smirnov by Smirnov's bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dataops.declarations.monitor import DriftLimit, DriftMetric
from dataops.features.columns import Ints
from dataops.features.folding import fold_cells
from dataops.features.hiding import shown_places
from dataops.features.profile import MISSING, UNKNOWN, CategoryCells, Cells, Fold, NumberCells, folded
from dataops.features.reference import Folded, Reference
from dataops.features.slices import OTHERS
from dataops.records import Record

NOTICEABLE = 0.1
"""The index from which on one speaks of a change at all; see `DEFAULT_LIMITS`."""
CHANCE = 0.001
"""How often chance alone may give a figure that is shown, or told of."""
_NORMAL = 3.2905  # what a normal deviate exceeds, up or down, as often
_DIGITS = 6

DEFAULT_LIMITS = (
    DriftLimit(metric=DriftMetric.PSI, warn=0.25),
    DriftLimit(metric=DriftMetric.MISSING, warn=0.05),
    DriftLimit(metric=DriftMetric.UNKNOWN, warn=0.05),
)
"""What warns where a job says nothing. An index below 0.1 is read as no change, one of 0.25 and more as a significant
one (Siddiqi 2006, Credit Risk Scorecards; Yurdakul & Naranjo 2020). A twentieth of the rows that have no value, or one
that the model doesn't know, is an index of about 0.1 to 0.25, by itself."""


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
        found |= {str(metric): round(figure, _DIGITS) for metric, figure in self.figures.items()}
        if figures_only:
            return found
        found |= {"chance": {str(metric): round(figure, _DIGITS) for metric, figure in self.chance.items()}}
        if self.ks_error_bound is not None:
            found["ks_error_bound"] = round(self.ks_error_bound, _DIGITS)
        for metric, shares in self.shares.items():
            found[f"{metric}_shares"] = [None if share is None else round(share, _DIGITS) for share in shares]
        return found | {key: [round(share, _DIGITS) for share in getattr(self, key)] for key in ("then", "now")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Drift of some rows: all, or those of a slice's value.

    Attributes
    ----------
    slice_column, value : None for all rows.
    rows_then, rows : how many rows; None where too few to say, or where they would tell of too few by difference.
    columns : the score, then the features.
    """

    rows_then: int | None
    rows: int | None
    columns: tuple[ColumnDrift, ...]
    slice_column: str | None = None
    value: str | None = None

    def record(self) -> Record:
        """The drift as JSON; of a slice's value the figures alone, since there may be many."""
        columns = [column.record(figures_only=self.slice_column is not None) for column in self.columns]
        return {"rows_then": self.rows_then, "rows": self.rows, "columns": columns}


def compare(reference: Reference, counts: Ints, slices: Sequence[str], *, min_group_size: int = 1) -> list[Population]:
    """The drift of all rows, then of each value of each slice.

    Parameters
    ----------
    counts : as `count_profile` gives them for ``reference.spec.with_slices(slices)``.
    min_group_size : `Effect.min_group_size` of the grant that the rows were read under.
    """
    least = max(min_group_size, 1)
    spec = reference.spec.with_slices(slices)
    whole = np.split(counts[: spec.starts[-1]], spec.starts[1:-1])
    compared = [
        _Compared(
            cells=cells,
            fold=kept.fold,
            parts=_parts(cells, kept.fold, len(kept.counts)),
            then=kept.counts,
            now=folded(now, kept.fold, len(kept.counts)),
            least=least,
        )
        for cells, kept, now in zip(spec.all_cells, reference.overall, whole, strict=True)
    ]
    all_rows = (reference.rows, int(whole[0].sum()))
    populations = [_population(compared, *(rows if rows >= least else None for rows in all_rows))]
    places = {name: place for place, (name, _) in enumerate(reference.spec.slices)}
    for place, (name, values) in enumerate(spec.slices):
        by_column = np.split(spec.of_slice(counts, place), spec.coarse_starts[1:-1], axis=1)
        known = reference.slices[places[name]]
        populations += _slice_populations(name, (*values, OTHERS), spec.all_cells, known, by_column, least)
    return populations


def _parts(cells: Cells, fold: Fold, n_groups: int) -> Fold:
    """The coarse cell of each group: all cells of a group are of one."""
    parts = np.zeros(n_groups, np.int64)
    parts[fold] = cells.coarse
    return parts


def _slice_populations(
    name: str, values: Sequence[str], all_cells: Sequence[Cells], kept: Sequence[Folded], now: list[Ints], least: int
) -> Iterator[Population]:
    all_then, all_rows = kept[0].counts.sum(axis=1), now[0].sum(axis=1)
    told_then, told = shown_places(all_then, least), shown_places(all_rows, least)
    for number, value in enumerate(values):
        if not all_then[number] and not all_rows[number]:
            continue
        compared = [
            _Compared(
                cells=cells,
                fold=one.fold[cells.coarse],
                parts=np.arange(one.counts.shape[1]),
                then=one.counts[number],
                now=folded(counted[number], one.fold, one.counts.shape[1]),
                least=least,
            )
            for cells, one, counted in zip(all_cells, kept, now, strict=True)
        ]
        rows_then = int(all_then[number]) if number in told_then else None
        rows = int(all_rows[number]) if number in told else None
        yield _population(compared, rows_then, rows, slice_column=name, value=value)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Compared:
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
        return int(self.then.sum()), int(self.now.sum())

    @property
    def spread(self) -> float:
        """One part of the rows then, and one of the rows now: what a variance of shares is a multiple of."""
        return sum(1 / rows for rows in self.rows)


def _population(
    compared: Sequence[_Compared],
    rows_then: int | None,
    rows: int | None,
    *,
    slice_column: str | None = None,
    value: str | None = None,
) -> Population:
    make = _column_drift if rows_then is not None and rows is not None else _too_few
    scores, *features = compared
    return Population(
        rows_then=rows_then,
        rows=rows,
        columns=(make(scores, is_score=True), *(make(one) for one in features)),
        slice_column=slice_column,
        value=value,
    )


def _too_few(one: _Compared, *, is_score: bool = False) -> ColumnDrift:
    return ColumnDrift(name=one.cells.name, kind=_kind(one.cells, is_score=is_score), figures={}, chance={})


def _kind(cells: Cells, *, is_score: bool) -> str:
    return "score" if is_score else "category" if isinstance(cells, CategoryCells) else "number"


def _column_drift(one: _Compared, *, is_score: bool = False) -> ColumnDrift:
    cells = one.cells
    parts = _shown(cells, np.stack([folded(one.then, one.parts), folded(one.now, one.parts)]), one.least)
    if min(one.rows) < one.least or (index := _chance_of_index(one, parts)) > NOTICEABLE:
        return _too_few(one, is_score=is_score)
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


def _kolmogorov_smirnov(cells: NumberCells, one: _Compared) -> tuple[float, float]:
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


def _share(one: _Compared, cell: int, counts: Ints) -> _Share:
    group = one.fold[cell]
    rows, total = int(counts[group]), int(counts.sum())
    alone = np.count_nonzero(one.fold == group) == 1
    if rows and not (alone and rows >= one.least):
        return _Share(least=0.0, most=rows / total if not alone else (one.least - 1) / total)
    return _Share(least=rows / total, most=rows / total)


def _chance_of_index(one: _Compared, parts: Ints) -> float:
    from scipy.special import chdtri

    if not all(one.rows) or parts.shape[1] < 2:
        return 0.0
    return float(chdtri(parts.shape[1] - 1, CHANCE)) * one.spread


def _chance_of_share(one: _Compared, then: _Share, now: _Share) -> float:
    rows_then, rows = one.rows
    share = (then.most * rows_then + now.most * rows) / (rows_then + rows)
    return _NORMAL * math.sqrt(share * (1 - share) * one.spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """A limit that a figure reached.

    Attributes
    ----------
    slice_column, value : where; None of all rows.
    stops : whether it lets nothing be published.
    """

    metric: DriftMetric
    column: str
    figure: float
    limit: float
    stops: bool
    slice_column: str | None = None
    value: str | None = None

    def record(self) -> Record:
        """The limit as JSON."""
        where = {} if self.slice_column is None else {"slice": self.slice_column, "value": self.value}
        level = "stop" if self.stops else "warn"
        figure = round(self.figure, _DIGITS)
        return {
            "metric": str(self.metric),
            "column": self.column,
            "figure": figure,
            "limit": self.limit,
            "level": level,
            **where,
        }

    def spell(self) -> str:
        """What a message says of it: without the slice's value, which a row has."""
        where = f" in a part by '{self.slice_column}'" if self.slice_column is not None else ""
        return f"{self.metric} of {self.column}{where} is {self.figure:.3f} (limit {self.limit:g})"


def check_limits(populations: Sequence[Population], limits: Sequence[DriftLimit] | None) -> list[Raised]:
    """The limits that figures reach, those that stop first; `DEFAULT_LIMITS` where none are given."""
    found = [
        raised
        for population in populations
        for limit in (DEFAULT_LIMITS if limits is None else limits)
        for column in population.columns
        if (not limit.of or column.name in limit.of) and (raised := _check(population, column, limit)) is not None
    ]
    return sorted(found, key=lambda raised: (not raised.stops, raised.slice_column is not None))


def _check(population: Population, column: ColumnDrift, limit: DriftLimit) -> Raised | None:
    figure, chance = column.figures.get(limit.metric), column.chance.get(limit.metric, 0.0)
    if figure is None or figure <= chance:
        return None
    for at, stops in ((limit.stop, True), (limit.warn, False)):
        if at is not None and figure >= at:
            return Raised(
                metric=limit.metric,
                column=column.name,
                figure=figure,
                limit=at,
                stops=stops,
                slice_column=population.slice_column,
                value=population.value,
            )
    return None


def drift_record(reference: Reference, populations: Sequence[Population], raised: Sequence[Raised]) -> Record:
    """What a run's result says of drift."""
    slices: dict[str, dict[str, Record]] = {}
    for one in populations:
        if one.slice_column is not None:
            slices.setdefault(one.slice_column, {})[str(one.value)] = one.record()
    return {
        "reference": reference.dataset,
        "histogram_then": list(reference.histogram),
        **populations[0].record(),
        "slices": slices,
        "raised": [one.record() for one in raised],
    }
