"""What a task is to training and evaluation: which targets it takes, what is counted of its answers, its metrics.

Whoever judges asks `judge_of` once and knows no task by name: parts are counted, counts merge exactly, figures and
their changes are made of counts. Another task is one more entry of `JUDGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from dataops.declarations.metrics import USUAL_POINTS, Metric, Points, Task
from dataops.errors import InvalidInput, near_match
from dataops.features.columns import Ints
from dataops.features.encoder import Encoded
from dataops.features.profile import score_histogram
from dataops.models.centres import CentresModel
from dataops.models.predictor import Predictor
from dataops.training.decisions import hidden
from dataops.training.distances import (
    changes_of_distances,
    count_distances,
    distance_metrics,
    merge_distances,
)
from dataops.training.groups import Groups
from dataops.training.parts import FloatArray
from dataops.training.predictions import (
    changes_of_predictions,
    count_predictions,
    merge_predictions,
    prediction_metrics,
)
from dataops.training.replicates import changes_of, hidden_changes
from dataops.training.scores import ScoreCounts, compute_metrics, count_scores, merge_counts


class Counts(Protocol):
    """What was counted of some rows: `ScoreCounts`, `PredictionCounts` or `DistanceCounts`."""

    @property
    def rows(self) -> int:
        """All rows."""
        ...

    @property
    def buckets(self) -> Ints:
        """Buckets of what the model gave (`scores.score_bucket`) that hold rows, rising, int64 (n_buckets,)."""
        ...

    @property
    def by_bucket(self) -> Ints:
        """Rows of each of `buckets`."""
        ...

    @property
    def group_rows(self) -> Ints | None:
        """Rows of each group; None where they aren't known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What is measured: metrics of one task, the points that some of them are taken at, and about how many rows a
    figure is at least.
    """

    names: tuple[str, ...]
    points: Points = USUAL_POINTS
    least: int = 1

    def without(self, hidden: Iterable[frozenset[str]]) -> Measures:
        """These but for metrics that any of `hidden` names."""
        few = {name for names in hidden for name in names}
        return replace(self, names=tuple(name for name in self.names if name not in few))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """How models of one task are judged.

    Attributes
    ----------
    require_target : nothing, unless a column of that type can't be its target; the second argument says where.
    known_target : which of some targets, float32 (n_rows,), can be learnt from and judged by.
    answers : what a model gives for rows: one value of some type for each, which `count` takes.
    count, merge : answers, targets, groups and points to counts; counts to those of all their rows.
    figures : metrics of counts, with error bounds where they have one; what isn't defined is absent.
    hidden : metrics that would tell of fewer rows than the least, though all rows together are more.
    changes : by how much each metric changes without each group; () where fewer rows than the least may be told of.
    hidden_changes : metrics whose changes would.
    unclear : why there are no figures of so many rows, however many; "" where there are.
    histogram : rows in bins that are the same for every model of the task, ``(n_bins,)``; () where there are none.
    parting : the edges between the predictions that a model can give, where it gives few, each of which is compared by
        itself; None where scores are parted by rows.
    """

    task: Task
    require_target: Callable[[pa.DataType, str], None]
    known_target: Callable[[FloatArray], np.ndarray[Any, np.dtype[np.bool_]]]
    answers: Callable[[Predictor, Encoded], Any]
    count: Callable[[Any, FloatArray, Groups | None, Points], Any]
    merge: Callable[[Sequence[Any]], Any]
    figures: Callable[[Any, Measures], dict[str, float]]
    hidden: Callable[[Any, Measures], frozenset[str]]
    changes: Callable[[Any, Measures], dict[str, list[float]]]
    hidden_changes: Callable[[Any, Measures], frozenset[str]]
    unclear: Callable[[Any], str]
    histogram: Callable[[Any], Sequence[int]]
    parting: Callable[[Predictor], tuple[float, ...] | None]

    def measures(self, names: Iterable[str], points: Points = USUAL_POINTS, *, least: int = 1) -> Measures:
        """The metrics of those names, each once, taken at `points`, of `least` rows at least.

        Raises
        ------
        InvalidInput : unknown ones, or those of another task, all of them at once.
        """
        wanted = tuple(dict.fromkeys(map(str, names)))
        own = [str(metric) for metric in Metric if metric.task is self.task]
        findings = [
            f"{name} is a figure of {Metric(name).task} models, and this one is of task {self.task}: its metrics are "
            f"{', '.join(own)}."
            if name in set(Metric)
            else f"there is no metric '{name}'.{near_match(name, own)}"
            for name in wanted
            if name not in own
        ]
        if findings:
            raise InvalidInput(" ".join(findings))
        return Measures(names=wanted, points=points, least=least)

    def told(self, asked: Measures, many: Iterable[Any]) -> Measures:
        """Those of `asked` that may be told of each of `many` counts: of all or of none, since the figures of one could
        be had by difference from those of the others and of the whole.
        """
        return asked.without(self.hidden(counts, asked) for counts in many)


def judge_of(task: Task) -> Judge:
    """How models of `task` are judged."""
    return JUDGES[task]


def _require_yes_or_no(kind: pa.DataType, where: str) -> None:
    if not (pt.is_boolean(kind) or pt.is_integer(kind) or pt.is_floating(kind)):
        raise InvalidInput(
            f"{where}: target: a target is true/false or 1/0, this one is {kind}; "
            "compare it with something, as in \"column = 'yes'\", or set `task: regression` for a number"
        )


def _require_number(kind: pa.DataType, where: str) -> None:
    if not (pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind)):
        raise InvalidInput(
            f"{where}: target: the target of a regression is a number, this one is {kind}; leave `task` out for "
            "true/false, or make a number of it"
        )


def _predictions(predictor: Predictor, rows: Encoded) -> FloatArray:
    return predictor.predict(rows)


def _centres(predictor: Predictor) -> CentresModel:
    if not isinstance(predictor, CentresModel):
        raise InvalidInput(f"a model of format {predictor.format} has no centres")
    return predictor


def _between_clusters(predictor: Predictor) -> tuple[float, ...]:
    return tuple(number + 0.5 for number in range(_centres(predictor).clusters - 1))


def _nothing(_counts: Any, _asked: Measures) -> frozenset[str]:
    return frozenset()


def _binary_hidden(counts: ScoreCounts, asked: Measures) -> frozenset[str]:
    taken = asked.points.top_share * counts.rows
    return hidden(reached=sum(counts.reached), taken=taken, rows=counts.rows, least=asked.least)


def _binary_changes(counts: ScoreCounts, asked: Measures) -> dict[str, list[float]]:
    if counts.groups is None:
        return {}
    return changes_of(counts.groups, asked.names, min_group_size=asked.least, top_share=asked.points.top_share)


def _binary_hidden_changes(counts: ScoreCounts, asked: Measures) -> frozenset[str]:
    if counts.groups is None:
        return frozenset()
    return hidden_changes(counts.groups, min_group_size=asked.least, top_share=asked.points.top_share)


BINARY = Judge(
    task=Task.BINARY,
    require_target=_require_yes_or_no,
    known_target=lambda target: np.ones(len(target), np.bool_),
    answers=_predictions,
    count=count_scores,
    merge=merge_counts,
    figures=lambda counts, asked: compute_metrics(counts, asked.names, asked.points, least=asked.least),
    hidden=_binary_hidden,
    changes=_binary_changes,
    hidden_changes=_binary_hidden_changes,
    unclear=lambda counts: "" if counts.n_positive and counts.n_negative else "one class only",
    histogram=score_histogram,
    parting=lambda _: None,
)
REGRESSION = Judge(
    task=Task.REGRESSION,
    require_target=_require_number,
    known_target=np.isfinite,
    answers=_predictions,
    count=lambda predictions, target, groups, _: count_predictions(predictions, target, groups),
    merge=merge_predictions,
    figures=lambda counts, asked: prediction_metrics(counts, asked.names, quantile=asked.points.quantile),
    hidden=_nothing,
    changes=lambda counts, asked: changes_of_predictions(
        counts, asked.names, quantile=asked.points.quantile, min_group_size=asked.least
    ),
    hidden_changes=_nothing,
    unclear=lambda _: "",
    histogram=lambda _: (),
    parting=lambda _: None,
)
CLUSTERS = Judge(
    task=Task.CLUSTERS,
    require_target=lambda kind, where: None,  # noqa: ARG005 - its declaration takes none
    known_target=lambda target: np.ones(len(target), np.bool_),
    answers=lambda predictor, rows: _centres(predictor).nearest(rows),
    count=lambda nearest, _, groups, __: count_distances(nearest, groups),
    merge=merge_distances,
    figures=lambda counts, asked: distance_metrics(counts, asked.names),
    hidden=_nothing,
    changes=lambda counts, asked: changes_of_distances(counts, asked.names, min_group_size=asked.least),
    hidden_changes=_nothing,
    unclear=lambda _: "",
    histogram=lambda _: (),
    parting=_between_clusters,
)
JUDGES: Mapping[Task, Judge] = {one.task: one for one in (BINARY, REGRESSION, CLUSTERS)}
