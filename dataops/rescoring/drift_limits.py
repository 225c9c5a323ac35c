"""Limits on drift: which figures warn, which stop a run, and what is told of them.

A limit isn't broken by a figure that chance alone could give (see `column_drift`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataops.declarations.monitor import DriftLimit, DriftMetric
from dataops.features.reference import Reference
from dataops.records import Record
from dataops.rescoring.column_drift import DIGITS, ColumnDrift
from dataops.rescoring.drift import Population

DEFAULT_LIMITS = (
    DriftLimit(metric=DriftMetric.PSI, warn=0.25),
    DriftLimit(metric=DriftMetric.MISSING, warn=0.05),
    DriftLimit(metric=DriftMetric.UNKNOWN, warn=0.05),
)
"""What warns where a job says nothing. An index below 0.1 is read as no change, one of 0.25 and more as a significant
one (Siddiqi 2006, Credit Risk Scorecards; Yurdakul & Naranjo 2020). A twentieth of the rows that have no value, or one
that the model doesn't know, is an index of about 0.1 to 0.25, by itself."""


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
        figure = round(self.figure, DIGITS)
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
