"""Fitting: the encoder that a declaration asks for, from the summary of the training rows.

1. Where values are neither cut off nor their logarithm taken, mean and standard deviation are exact. Else they are made
   of the summary's histogram: each value of it is off by at most ``2**-13`` of itself (see `summary`), so is the mean
   of absolute values. Quantiles, and what is made of them, keep that bound. Nothing depends on how rows were split.
2. An edge of bins lies between two values of that histogram, so the counts in the bins are exact.
3. What would show fewer values than the policies ask for isn't learnt: rare categories aren't kept, and an end, an edge
   or a median of too few is a finding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from dataops.declarations.features import (
    BUCKETS,
    SMOOTHING,
    CategoricalFeatures,
    ClipQuantiles,
    Cross,
    DateFeatures,
    FeatureSpec,
    NumericFeatures,
)
from dataops.errors import InvalidInput, NotFound
from dataops.features.columns import Floats
from dataops.features.encoder import Encoder
from dataops.features.kinds import (
    LARGEST_CODE,
    BinColumn,
    CategoricalColumn,
    CodeColumn,
    HashColumn,
    IndicatorColumn,
    LookupColumn,
    NumberColumn,
    NumericColumn,
)
from dataops.features.making import Crossed, DatePart, Made, with_made
from dataops.features.summary import NumericSummary, Summary, keys_of, starts_of, summarise, values_of
from dataops.features.target import target_means

_AS_NUMBER = NumericFeatures()
_AS_WAVE = NumericFeatures(impute=0.0, scale="none")
_AS_CATEGORY = CategoricalFeatures()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a declaration asks for, source by source, in the order of the features.

    Parameters
    ----------
    made : columns that have to be made first.
    numbers, categories : source and how it is treated; a source may stand there several times.
    """

    made: tuple[Made, ...]
    numbers: tuple[tuple[str, NumericFeatures], ...]
    categories: tuple[tuple[str, CategoricalFeatures | Cross], ...]

    @property
    def numeric(self) -> tuple[str, ...]:
        """The columns that are summarised as numbers, each once."""
        return tuple(dict.fromkeys(name for name, _ in self.numbers))

    @property
    def categorical(self) -> tuple[str, ...]:
        """The columns whose categories are counted, each once."""
        return tuple(dict.fromkeys(name for name, group in self.categories if group.encode != "target"))

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns by whose categories the target is summed, each once."""
        return tuple(dict.fromkeys(name for name, group in self.categories if group.encode == "target"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """An encoder, and what training rows look up otherwise: by feature, as in `dataops.features.filling.OutOfFold`."""

    encoder: Encoder
    by_fold: Mapping[str, Floats]


@dataclass(slots=True, kw_only=True)
class _Fit:
    """What is known, and what was found wrong."""

    summary: Summary
    least: int
    findings: list[str] = field(default_factory=list)
    by_fold: dict[str, Floats] = field(default_factory=dict)


def asked_of(spec: FeatureSpec) -> Asked:
    """What `spec` asks for."""
    made: list[Made] = []
    numbers = [(name, group) for group in spec.numeric_groups for name in group.columns]
    categories: list[tuple[str, CategoricalFeatures | Cross]] = [
        (name, group) for group in spec.categorical_groups for name in group.columns
    ]
    for group in spec.date_groups:
        parts = list(_parts(group))
        made += parts
        if group.encode == "category":
            categories += [(one.name, _AS_CATEGORY) for one in parts]
        else:
            numbers += [(one.name, _AS_WAVE if one.wave else _AS_NUMBER) for one in parts]
    for cross in spec.all_crosses:
        if cross.source not in {one.name for one in made}:
            made.append(Crossed(name=cross.source, sources=cross.columns))
        categories.append((cross.source, cross))
    return Asked(made=tuple(made), numbers=tuple(numbers), categories=tuple(categories))


def _parts(group: DateFeatures) -> Iterator[DatePart]:
    waves = ("sin", "cos") if group.encode == "cyclical" else (None,)
    for column in group.columns:
        names = iter(group.names(column))
        for part in group.parts:
            for wave in waves:
                yield DatePart(name=next(names), source=column, part=part, zone=group.zone, wave=wave)


def require_types(spec: FeatureSpec, schema: pa.Schema) -> None:
    """Nothing, if columns of `schema` can be the features that `spec` asks for.

    Raises
    ------
    InvalidInput : a column is missing, of a type that can't be such a feature, or called as a feature that is made.
    """
    asked = asked_of(spec)
    taken = [one for one in asked.made if one.name in schema.names]
    if taken:
        listed = "; ".join(f"'{one.name}', made of {' and '.join(map(repr, one.sources))}" for one in taken)
        raise InvalidInput(
            f"the data has a column of the name of a feature: {listed}. Rename that column where the data is prepared, "
            "leave it out there, or leave the feature out"
        )
    nothing = pa.table([pa.nulls(0, field.type) for field in schema], schema)
    summarise(with_made(nothing, asked.made), asked.numeric, (*asked.categorical, *asked.targets))


def fit_encoder(summary: Summary, spec: FeatureSpec, *, min_group_size: int = 1) -> Encoder:
    """The encoder of `fit_features`."""
    return fit_features(summary, spec, min_group_size=min_group_size).encoder


def fit_features(summary: Summary, spec: FeatureSpec, *, min_group_size: int = 1) -> Fitted:
    """The encoder that `spec` asks for, from what `summary` knows of the training rows.

    Parameters
    ----------
    summary : of the columns that `asked_of` names.
    min_group_size
        What the policies ask of figures (`Effect.min_group_size`): the encoder keeps no category of fewer rows,
        whatever `spec` says, no mean or median of fewer values, and no end that fewer lie at or beyond.

    Raises
    ------
    InvalidInput : with all findings: a column that isn't summarised, one without any value to impute from, or more
        categories than a code can tell apart.
    """
    asked, fit = asked_of(spec), _Fit(summary=summary, least=min_group_size)
    numeric: list[NumberColumn] = []
    codes: list[CodeColumn] = []
    for name, numbers in asked.numbers:
        for one in _try(fit, _of_numbers, name, numbers):
            (codes if isinstance(one, BinColumn) else numeric).append(one)
    for name, group in asked.categories:
        for one in _try(fit, _of_categories, name, group):
            (numeric if isinstance(one, LookupColumn) else codes).append(one)
    if fit.findings:
        raise InvalidInput(f"features can't be fitted on {summary.rows} rows: " + "; ".join(fit.findings))
    encoder = Encoder(numeric=tuple(numeric), categorical=tuple(codes), made=asked.made)
    return Fitted(encoder=encoder, by_fold=fit.by_fold)


def _try(fit: _Fit, function: Callable[[_Fit, str, Any], list[Any]], name: str, group: object) -> list[Any]:
    """The features of one source; none, and a finding, where it has none."""
    try:
        return function(fit, name, group)
    except (NotFound, InvalidInput) as error:
        fit.findings.append(str(error))
        return []


def _of_numbers(fit: _Fit, name: str, group: NumericFeatures) -> list[NumberColumn | BinColumn]:
    column = fit.summary.numeric_column(name)
    if group.bins is not None:
        return [BinColumn(name=group.names(name)[0], source=name, edges=_edges(column, group.bins, fit.least))]
    learnt = isinstance(group.impute, str) or group.scale != "none" or isinstance(group.clip, ClipQuantiles)
    fill = _fill_of(column, group.impute)
    if learnt and 1 < fit.least > column.finite:
        raise InvalidInput(
            f"column '{name}' has fewer than {fit.least} values, and the policies show no figures about so few. Leave "
            "it out."
        )
    low, high = _ends(column, group.clip, fit.least)
    plain = NumericColumn(name=name, fill=fill, mean=0.0, scale=1.0, low=low, high=high, log=group.log)
    if group.log:
        _require_positive(column, plain)
    mean, scale = _scaling(column, plain, group.scale, fit.least)
    if not (math.isfinite(mean) and math.isfinite(scale)):
        raise InvalidInput(f"column '{name}' spreads further than a number can tell. Clip it, or leave it out.")
    marks = [IndicatorColumn(name=mark, source=name) for mark in group.names(name)[1:]]
    return [replace(plain, mean=mean, scale=scale or 1.0), *marks]


def _fill_of(column: NumericSummary, impute: str | float) -> float:
    if not isinstance(impute, str):
        return float(impute)
    try:
        return column.mean() if impute == "mean" else column.median()
    except InvalidInput as error:
        raise InvalidInput(f"{error}. Leave it out, or impute a number.") from None


def _ends(
    column: NumericSummary, clip: ClipQuantiles | tuple[float, float] | None, least: int
) -> tuple[float, float] | tuple[None, None]:
    if clip is None:
        return None, None
    if isinstance(clip, tuple):
        return float(clip[0]), float(clip[1])
    low, high = (column.quantile(share) for share in clip.quantiles)
    _require_crowds(column, low, high, least, "clip")
    return low, high


def _require_positive(column: NumericSummary, plain: NumericColumn) -> None:
    """Nothing, unless the logarithm would take some value of the training rows as another."""
    values = [value for value in (column.minimum, plain.fill) if value is not None]
    if values and min(values) < 0 and (plain.low is None or plain.low < 0):
        raise InvalidInput(
            f"column '{column.name}' has values below 0, of which log takes none: clip at 0 or above, or leave log out."
        )


def _require_crowds(column: NumericSummary, low: float, high: float, least: int, key: str) -> None:
    """Nothing, unless fewer than `least` values lie at or below `low`, or at or above `high`."""
    ends = keys_of(np.array([low, high]))
    beyond = column.counts[column.keys <= ends[0]].sum(), column.counts[column.keys >= ends[1]].sum()
    if least > 1 and column.finite and min(beyond) < least:
        raise InvalidInput(
            f"column '{column.name}': {key}: fewer than {least} values lie at or beyond an end, and the policies show "
            "no figures about so few. Clip by quantiles further inside, or leave it out."
        )


def _scaling(column: NumericSummary, plain: NumericColumn, scale: str, least: int) -> tuple[float, float]:
    """What is taken off, and what is divided by; 0 for a constant column."""
    if scale == "none":
        return 0.0, 1.0
    if scale == "standard":
        return _moments(column, plain) if plain.is_shaped else column.moments(plain.fill)
    if not column.finite:
        return _shape(plain, plain.fill), 0.0
    if scale == "robust":
        lower, middle, upper = column.quantile(0.25), column.median(), column.quantile(0.75)
        _require_crowds(column, lower, upper, least, "scale: robust")
        return _shape(plain, middle), _shape(plain, upper) - _shape(plain, lower)
    ends = [float(value) for value in (column.minimum, column.maximum) if value is not None]
    if plain.low is not None and plain.high is not None:
        ends = [min(max(end, plain.low), plain.high) for end in ends]
    _require_crowds(column, ends[0], ends[1], least, "scale: min_max")
    if column.finite < column.rows:
        ends.append(plain.fill)
    shaped = [_shape(plain, end) for end in ends]
    return min(shaped), max(shaped) - min(shaped)


def _shape(plain: NumericColumn, value: float) -> float:
    return float(plain.shaped(np.array([value]))[0])


def _moments(column: NumericSummary, plain: NumericColumn) -> tuple[float, float]:
    """Mean and population standard deviation over all rows of the shaped histogram, filled rows among them."""
    if not column.rows:
        return _shape(plain, plain.fill), 0.0
    values = np.append(np.clip(values_of(column.keys), column.minimum, column.maximum), plain.fill)
    counts = np.append(column.counts, column.rows - column.finite).astype(np.float64)
    shaped = plain.shaped(values)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = math.fsum((shaped * counts / column.rows).tolist())
        variance = math.fsum(((shaped - mean) ** 2 * counts / column.rows).tolist())
    constant = bool((shaped[counts > 0] == shaped[counts > 0][0]).all())
    return mean, 0.0 if constant else math.sqrt(variance)


def _edges(column: NumericSummary, bins: int, least: int) -> tuple[float, ...]:
    """Edges between values of the histogram, nearest to where each part of the rows would begin; rising."""
    ends = np.cumsum(column.counts)
    if len(ends) < 2:
        return ()
    wanted = np.arange(1, bins) * column.finite / bins
    behind = np.clip(np.searchsorted(ends[:-1], wanted), 0, len(ends) - 2)
    before = np.maximum(behind - 1, 0)
    nearer = np.where(wanted - ends[before] <= np.abs(ends[behind] - wanted), before, behind)
    places = np.unique(nearer)
    rows = np.diff(ends[places], prepend=0, append=column.finite)
    if least > 1 and rows.min() < least:
        raise InvalidInput(
            f"column '{column.name}': some of {bins} bins have fewer than {least} values, and the policies show no "
            "figures about so few. Ask for fewer bins."
        )
    edges = np.unique(starts_of(column.keys[places + 1]))
    return tuple(edges.tolist())


def _of_categories(fit: _Fit, name: str, group: CategoricalFeatures | Cross) -> list[CodeColumn | LookupColumn]:
    feature, least = group.name_of(name), max(group.min_count, fit.least)
    if group.encode == "target":
        smoothing = SMOOTHING if group.smoothing is None else group.smoothing
        means = target_means(
            fit.summary.target_column(name), min_count=group.min_count, smoothing=smoothing, least=fit.least
        )
        fit.by_fold[feature] = means.by_fold
        return [_lookup(feature, name, "target", means.categories, means.means)]
    counted = fit.summary.categorical_column(name)
    if group.encode == "hash":
        return [HashColumn(name=feature, source=name, buckets=group.buckets or BUCKETS)]
    categories = counted.frequent(least)
    if group.encode == "frequency":
        rows = counted.counts[counted.counts >= least]
        others = counted.rows - int(rows.sum())
        of_rows = max(1, counted.rows - (others if others < fit.least else 0))
        return [_lookup(feature, name, "frequency", categories, np.append(rows / of_rows, 0.0))]
    if len(categories) >= LARGEST_CODE:
        most = LARGEST_CODE - 1
        raise InvalidInput(f"column '{name}' has {len(categories)} categories, {most} are possible: raise min_count")
    return [CategoricalColumn(name=feature, categories=categories)]


def _lookup(feature: str, name: str, of: str, categories: tuple[str, ...], values: Floats) -> LookupColumn:
    own, other = tuple(values[:-1].tolist()), float(values[-1])
    return LookupColumn(name=feature, source=name, of=of, categories=categories, values=own, other=other)
