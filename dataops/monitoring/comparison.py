"""How the candidates of a train run compare: a table of metrics, and one metric by slice.

1. Pure, as `dataops.monitoring.sections` is: what a run didn't get to isn't there.
2. Records are canonical JSON, sorted by key; the order that people look in is put back here: the holdout first, and
   the metrics as in `METRICS`.
3. Which of two values is better belongs to the metric. A candidate alone is not the best of anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dataops.declarations.metrics import HOLDOUT, Metric, point_of
from dataops.monitoring import wording
from dataops.monitoring.sections import Figures

_FIRST = (Metric.ROC_AUC, Metric.AVERAGE_PRECISION)
METRICS = (*_FIRST, *(metric for metric in Metric if metric not in _FIRST))
_BOUND = "_error_bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One candidate on one dataset; a cell, in the order of `Metrics.names`, is its text and whether it is the best of
    its dataset.
    """

    candidate: str
    version: int
    size: str
    dataset: str
    rows: int
    cells: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The table of candidates and datasets.

    Attributes
    ----------
    bounds : (metric, how far it can be off at most), for those that are counted in score buckets.
    points : (metric, what it is taken at), for those that need it.
    """

    names: tuple[str, ...]
    rows: tuple[MetricRow, ...]
    bounds: tuple[tuple[str, str], ...]
    points: tuple[tuple[str, str], ...] = ()

    @property
    def sized(self) -> bool:
        """Whether the sizes of the models are known."""
        return any(row.size for row in self.rows)

    @property
    def compared(self) -> bool:
        """Whether some cell is marked as the best."""
        return any(is_best for row in self.rows for _, is_best in row.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePoint:
    """A candidate on the rows of one slice value; without `value` where `too_small` says why."""

    candidate: str
    slice_value: str
    rows: int
    value: float | None
    too_small: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """One metric by the values of one column of one dataset.

    Attributes
    ----------
    overall : candidate -> the metric of all rows.
    axis : from and to which value a chart shows, the same for a column on every dataset so that charts compare.
    """

    dataset: str
    column: str
    metric: str
    candidates: tuple[str, ...]
    values: tuple[str, ...]
    points: tuple[SlicePoint, ...]
    overall: Mapping[str, float]
    axis: tuple[float, float] = (0.0, 1.0)

    @property
    def judged(self) -> tuple[str, ...]:
        """The values that some candidate has the metric for."""
        known = {point.slice_value for point in self.points if point.value is not None}
        return tuple(value for value in self.values if value in known)

    def at(self, slice_value: str) -> tuple[SlicePoint | None, ...]:
        """The points of a value in the order of the candidates."""
        found = {point.candidate: point for point in self.points if point.slice_value == slice_value}
        return tuple(found.get(candidate) for candidate in self.candidates)


def metrics(figures: Figures) -> Metrics | None:
    """The table of metrics; None where nothing was judged."""
    versions = figures["result"].get("versions", ())
    judged = [(version, name) for name in _datasets(versions) for version in versions if name in version["metrics"]]
    if not judged:
        return None
    overall = [version["metrics"][dataset]["overall"] for version, dataset in judged]
    names = _metric_names(overall)
    bounds = [(name, max(one.get(f"{name}{_BOUND}", 0.0) for one in overall)) for name in names]
    return Metrics(
        names=names,
        rows=tuple(_metric_row(version, dataset, names, versions) for version, dataset in judged),
        bounds=tuple((name, wording.bound(value)) for name, value in bounds if value),
        points=tuple(_points(names, judged[0][0]["metrics"][judged[0][1]])),  # one job, so the same for all
    )


def _points(names: Sequence[str], report: Figures) -> Iterator[tuple[str, str]]:
    for name in names:
        point = point_of(name, report)
        if point is not None and point[0] in report:
            yield name, f"{point[0].replace('_', ' ')} {point[1]:g}"


def _datasets(versions: Sequence[Figures]) -> list[str]:
    names = dict.fromkeys(name for version in versions for name in version["metrics"])
    return sorted(names, key=lambda name: name != HOLDOUT)


def _metric_names(overall: Sequence[Figures]) -> tuple[str, ...]:
    found = dict.fromkeys(name for one in overall for name in one if not name.endswith(_BOUND))
    return tuple(metric.value for metric in METRICS if metric in found)


def _metric_row(version: Figures, dataset: str, names: Sequence[str], versions: Sequence[Figures]) -> MetricRow:
    figures = version["metrics"][dataset]
    cells = []
    for name in names:
        value = figures["overall"].get(name)
        rivals = [other["metrics"].get(dataset, {}).get("overall", {}).get(name) for other in versions]
        text = "not defined" if value is None else wording.metric(value)
        cells.append((text, value is not None and _is_best(name, value, [r for r in rivals if r is not None])))
    return MetricRow(
        candidate=version["candidate"],
        version=version["version"],
        size=wording.size(version["size_bytes"]) if "size_bytes" in version else "",
        dataset=dataset,
        rows=figures["rows"],
        cells=tuple(cells),
    )


def _is_best(name: str, value: float, rivals: Sequence[float]) -> bool:
    if len(rivals) < 2 or len(set(rivals)) == 1:
        return False
    return value == (max(rivals) if Metric(name).higher_is_better else min(rivals))


def slices(figures: Figures) -> tuple[Slices, ...]:
    """A `Slices` for each dataset and column that candidates were judged by, for the first of `METRICS` that
    they have.
    """
    versions = figures["result"].get("versions", ())
    pairs = dict.fromkeys(
        (dataset, column)
        for dataset in _datasets(versions)
        for version in versions
        for column in version["metrics"].get(dataset, {}).get("slices", {})
    )
    found = [_slices_of(versions, dataset, column) for dataset, column in sorted(pairs, key=lambda pair: pair[1])]
    shown = [one for one in found if one is not None]
    return tuple(replace(one, axis=_axis([other for other in shown if other.column == one.column])) for one in shown)


def _axis(shown: Sequence[Slices]) -> tuple[float, float]:
    """From and to which value a chart of `shown` goes: what there is, with a margin."""
    values = [point.value for one in shown for point in one.points if point.value is not None]
    values += [value for one in shown for value in one.overall.values()]
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or 0.01
    return low - margin, high + margin


def _slices_of(versions: Sequence[Figures], dataset: str, column: str) -> Slices | None:
    there = {version["candidate"]: version["metrics"].get(dataset, {}) for version in versions}
    names = _metric_names([one.get("overall", {}) for one in there.values()])
    if not names:
        return None
    points = [
        SlicePoint(
            candidate=candidate,
            slice_value=value,
            rows=figures["rows"],
            value=figures.get(names[0]),
            too_small=figures.get("too_small", ""),
        )
        for candidate, one in there.items()
        for value, figures in one.get("slices", {}).get(column, {}).items()
    ]
    return Slices(
        dataset=dataset,
        column=column,
        metric=names[0],
        candidates=tuple(there),
        values=tuple(dict.fromkeys(point.slice_value for point in points)),
        points=tuple(points),
        overall={name: one["overall"][names[0]] for name, one in there.items() if names[0] in one.get("overall", {})},
    )
