"""Promotion files: what a model version must show before it becomes the champion.

1. Every rule must hold. What kind a rule is of, its first word says: `metric`, `callable`, `schema`, `impact`,
   `realised` or `classifications`. Another kind is one more class here, named in `KINDS` and `Rule`, and a function
   that judges it, named in `dataops.promotion.kinds`.
2. A limit is absolute, or relative to the present champion; a metric knows itself which direction is better.
3. A file without rules gates nothing, and what isn't gated isn't promoted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from dataops.declarations.declaration import (
    ChallengerName,
    ColumnName,
    DatasetName,
    Declaration,
    JobName,
    ModelName,
    Text,
    find_repeats,
)
from dataops.declarations.loader import Finding, read_document, validate
from dataops.declarations.metrics import Metric
from dataops.errors import InvalidInput
from dataops.governance.column_types import parse_type

Share = Annotated[float, Field(ge=0, le=1)]
Loss = Annotated[float, Field(ge=0)]


class Slice(Declaration):
    """Rows by the value of a column that the version was evaluated by."""

    column: ColumnName
    """The column."""
    value: Text | None = None
    """The one value whose rows are meant. Default: every value, each judged by itself."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """How many rows a slice has at least, if it is to be judged; one of fewer is skipped, and the verdict says so.
    Default: 100."""


class MetricRule(Declaration):
    """Bounds on one metric, of all rows or by slice."""

    metric: Metric
    """`roc_auc`, `log_loss`, `brier`, `average_precision`, `accuracy`, `f1`, `precision`, `recall`, `lift` or
    `calibration_error` (the mean distance of promised and found shares of positives, over tenths of the rows by
    score); of a regression `rmse`, `mae`, `r2` or `quantile_loss`; of a clustering `silhouette` or `inertia`, which
    isn't compared with the champion's. Figures at two thresholds, or of two shares, are never compared."""
    dataset: DatasetName | None = None
    """The dataset or split on which it is measured, as in the version's metrics. Default: the test rows of training."""
    slice: Slice | None = None
    """The slices that it holds for. Default: all rows together."""
    minimum: float | None = None
    """The least value that passes, in the metric's unit. Default: no bound."""
    maximum: float | None = None
    """The greatest value that passes, in the metric's unit. Default: no bound."""
    max_loss: Loss | None = None
    """How much worse than the champion's the value may be, in the metric's unit, whichever direction is worse.
    Default: not compared."""
    min_gain: Loss | None = None
    """How much better than the champion's the value has to be, in the metric's unit, whichever direction is better.
    Default: not compared."""
    confidence: Annotated[float, Field(ge=0.5, le=0.999)] | None = None
    """How sure it has to be that `max_loss` and `min_gain` hold for more rows of the kind, 0.5 to 0.999: judged is the
    lower end of the gain, instead of the gain. Default: the gain itself."""

    def check(self) -> Iterator[Finding]:
        """A rule that bounds nothing, or that nothing can pass."""
        compared = self.max_loss is not None or self.min_gain is not None
        if self.minimum is None and self.maximum is None and not compared:
            yield Finding(place=(), message="bounds nothing: set minimum, maximum, max_loss or min_gain")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            message = f"minimum {self.minimum} is above maximum {self.maximum}: nothing can pass"
            yield Finding(place=("minimum",), message=message)
        if self.metric is Metric.INERTIA and compared:
            message = (
                "each version measures distances in a scale of its own: bound inertia by maximum, or compare silhouette"
            )
            yield Finding(place=("metric",), message=message)
        if self.confidence is not None and not compared:
            yield Finding(place=("confidence",), message="is about max_loss and min_gain: set one of them")
        if self.confidence is not None and not self.metric.has_replicates:
            message = f"nobody counts how sure {self.metric} is: leave it out, or choose another metric"
            yield Finding(place=("confidence",), message=message)


class CallableLimits(Declaration):
    """What it may take to load a version and predict, in a process of its own."""

    seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    """Seconds of a processor until the version is loaded and has predicted its golden rows, at most 600; other work on
    the machine doesn't count. What hangs is ended after ten times as many by the clock, at least a minute. Default:
    30."""
    memory_mb: Annotated[int, Field(ge=1)] = 1024
    """Megabytes that it may take beside the libraries that read it. Default: 1024."""
    ms_per_row: Annotated[float, Field(gt=0)] | None = None
    """Milliseconds that a call with one row may take: the median of many. Default: no bound."""


class CallableRule(Declaration):
    """It loads and predicts its golden rows as it did when it was registered, within limits; if it kills its process,
    it fails. Without such a rule a version is called under the default limits, and only a call that fails is told.
    """

    callable: CallableLimits
    """The limits; `{}` for the defaults."""


class SchemaRule(Declaration):
    """It reads nothing but what applications give it."""

    columns: Annotated[dict[ColumnName, Text], Field(alias="schema", min_length=1)]
    """Column -> type (`int64`, `float64`, `string`, `bool`, `date32`, `timestamp[us]` and the like), as applications
    give them. A column that the version reads has to be among them, with a type that fits the one it learned with."""

    def check(self) -> Iterator[Finding]:
        """A type that no column has."""
        for name, text in self.columns.items():
            try:
                parse_type(text)
            except InvalidInput as error:
                yield Finding(place=("schema", name), message=str(error))


class ImpactLimits(Declaration):
    """What the version may change, as a rescore counted it that scored it beside the champion."""

    job: JobName | None = None
    """The rescore job; its newest run counts that is done. This or `run`."""
    run: Text | None = None
    """The very run. This or `job`."""
    challenger: ChallengerName | None = None
    """What the job calls the version. Default: whichever of its challengers is this version."""
    max_age_days: Annotated[float, Field(gt=0)] | None = None
    """How many days ago the run may have begun; what is measured by an older one fails. Default: any number."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """How many rows the run has to have scored at least; what is measured by one of fewer fails. Default: 100."""
    max_flipped: Share | None = None
    """Share of rows whose decision may flip, 0 to 1, either way; of each slice, where the rule has one. A regression
    decides nothing: only `min_rank_correlation` and `max_psi` are known of it. Default: any."""
    max_positive_change: Share | None = None
    """How far the share of positive decisions may move, 0 to 1, up or down; of each slice, where the rule has one.
    Default: any."""
    min_rank_correlation: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Spearman's rank correlation of both scores at least, -1 to 1. Default: any."""
    max_moved: Share | None = None
    """Share of rows whose probability may move by more than 0.1, 0 to 1. Default: any."""
    max_psi: Loss | None = None
    """Population stability index, at most, of the version's score and features: the batch against the rows that the
    version was judged on. Default: any."""

    def check(self) -> Iterator[Finding]:
        """Neither a job nor a run, or both; no limit."""
        if (self.job is None) == (self.run is None):
            yield Finding(place=(), message="is measured by one rescore: set job or run, one of them")
        if not self.limits:
            yield Finding(place=(), message=f"bounds nothing: set one of {', '.join(IMPACT_LIMITS)}")

    @property
    def limits(self) -> Mapping[str, float]:
        """The limits that are set, by their keys."""
        given = {name: getattr(self, name) for name in IMPACT_LIMITS}
        return {name: limit for name, limit in given.items() if limit is not None}


IMPACT_LIMITS = ("max_flipped", "max_positive_change", "min_rank_correlation", "max_moved", "max_psi")
SLICED_IMPACT = frozenset({"max_flipped", "max_positive_change"})
"""The limits of impact that are known by slice."""


class ImpactRule(Declaration):
    """It changes no more than that on a real batch."""

    impact: ImpactLimits
    """The batch and the limits."""
    slice: Slice | None = None
    """The slices that the limits hold for, one of the job's `monitor.slices`. Default: all rows together."""

    def check(self) -> Iterator[Finding]:
        """A limit that no slice has."""
        if self.slice is not None:
            for name in sorted(self.impact.limits.keys() - SLICED_IMPACT):
                message = "isn't known by slice: set it in a rule without one"
                yield Finding(place=("impact", name), message=message)


class RealisedLimits(Declaration):
    """How well the version has to do where outcomes came, as an evaluate job measured it beside the champion."""

    job: JobName
    """The evaluate job. Its newest run counts that is done and judged both on rows that a rescore scored with both of
    them in one pass: the version as a challenger, mostly."""
    metric: Metric
    """The metric, one of the job's."""
    minimum: float | None = None
    """The least value that passes, in the metric's unit. Default: no bound."""
    maximum: float | None = None
    """The greatest value that passes, in the metric's unit. Default: no bound."""
    max_loss: Loss | None = None
    """How much worse than the champion's the value may be on the same rows, in the metric's unit, whichever direction
    is worse. Default: not compared."""
    min_gain: Loss | None = None
    """How much better than the champion's the value has to be on the same rows, in the metric's unit, whichever
    direction is better. Default: not compared."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """How many rows both have to have been judged on at least; what is measured by fewer fails. Default: 100."""
    max_age_days: Annotated[float, Field(gt=0)] | None = None
    """How many days ago the run may have begun; what is measured by an older one fails. Default: any number."""

    def check(self) -> Iterator[Finding]:
        """Limits that bound nothing, or that nothing can pass."""
        if not self.limits:
            yield Finding(place=(), message=f"bounds nothing: set one of {', '.join(REALISED_LIMITS)}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            message = f"minimum {self.minimum} is above maximum {self.maximum}: nothing can pass"
            yield Finding(place=("minimum",), message=message)

    @property
    def limits(self) -> Mapping[str, float]:
        """The limits that are set, by their keys."""
        given = {name: getattr(self, name) for name in REALISED_LIMITS}
        return {name: limit for name, limit in given.items() if limit is not None}


REALISED_LIMITS = ("minimum", "maximum", "max_loss", "min_gain")


class RealisedRule(Declaration):
    """It does well enough on outcomes that came after it was made."""

    realised: RealisedLimits
    """The evaluate job and the limits."""


class Allowed(Declaration):
    """Classifications of the columns that a version may have learned from."""

    allowed: tuple[Text, ...]
    """Each as contracts name it (`work`, `pii.quasi`); none lets only unclassified columns pass."""

    def check(self) -> Iterator[Finding]:
        """One that is there twice."""
        yield from find_repeats(self.allowed, ("allowed",))


class ClassificationsRule(Declaration):
    """It learned from no other classes of columns, and carries those of all that it learned from."""

    classifications: Allowed
    """The classes."""


KINDS: Mapping[str, type[Declaration]] = {
    "metric": MetricRule,
    "callable": CallableRule,
    "schema": SchemaRule,
    "impact": ImpactRule,
    "realised": RealisedRule,
    "classifications": ClassificationsRule,
}
"""The kind of a rule by the key that only this kind has."""


def _kind(rule: Any) -> str:
    """The class that `rule` is meant to be of, told by its keys; by the nearest word, where none of them is known."""
    if not isinstance(rule, Mapping):
        return type(rule).__name__ if isinstance(rule, Declaration) else MetricRule.__name__
    known = [key for key in rule if key in KINDS]
    near = [found for key in rule for found in get_close_matches(str(key), KINDS, n=1)]
    return KINDS[[*known, *near, "metric"][0]].__name__


Rule: TypeAlias = Annotated[
    Annotated[MetricRule, Tag("MetricRule")]
    | Annotated[CallableRule, Tag("CallableRule")]
    | Annotated[SchemaRule, Tag("SchemaRule")]
    | Annotated[ImpactRule, Tag("ImpactRule")]
    | Annotated[RealisedRule, Tag("RealisedRule")]
    | Annotated[ClassificationsRule, Tag("ClassificationsRule")],
    Discriminator(_kind),
]


class Promotion(Declaration):
    """The gate of one model."""

    format: Literal[1] = 1
    """The version of this format. Default: 1, the only one."""
    model: ModelName
    """The model's name."""
    rules: tuple[Rule, ...]
    """What a version must show; all must hold."""


def kind_of(rule: Rule) -> str:
    """The kind of `rule`, a key of `KINDS`."""
    return next(kind for kind, declared in KINDS.items() if isinstance(rule, declared))


def read_promotion(path: Path) -> Promotion:
    """The promotion file at `path`.

    Raises
    ------
    InvalidInput : all findings, each with file, line and path.
    """
    return validate(read_document(path), Promotion)
