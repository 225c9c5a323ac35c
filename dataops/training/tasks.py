"""What a task is to training and evaluation: which targets it takes, what is counted of its answers, its metrics.

Whoever judges asks `judge_of` once and knows no task by name: parts are counted, counts merge exactly, figures and
their changes are made of counts. Another task is one more entry of `JUDGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from dataops.declarations.metrics import Metric, Task
from dataops.errors import InvalidInput, near_match
from dataops.features.columns import Ints
from dataops.features.profile import score_histogram
from dataops.training.groups import Groups
from dataops.training.parts import FloatArray
from dataops.training.predictions import (
    changes_of_predictions,
    count_predictions,
    merge_predictions,
    prediction_metrics,
)
from dataops.training.replicates import changes_of
from dataops.training.scores import ScoreCounts, compute_metrics, count_scores, merge_counts


class Counts(Protocol):
    """What was counted of some rows: `scores.ScoreCounts`, `predictions.PredictionCounts`."""

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
    """What is measured: metrics of one task, and the quantile of its quantile loss."""

    names: tuple[str, ...]
    quantile: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """How models of one task are judged.

    Attributes
    ----------
    require_target : nothing, unless a column of that type can't be its target; the second argument says where.
    known_target : which of some targets, float32 (n_rows,), can be learnt from and judged by.
    count, merge : what the model gave, targets and groups to counts; counts to those of all their rows.
    figures : metrics of counts, with error bounds where they have one; what isn't defined is absent.
    changes : by how much each metric changes without each group; () where fewer rows than that may be told of.
    unclear : why there are no figures of so many rows, however many; "" where there are.
    histogram : rows in bins that are the same for every model of the task, ``(n_bins,)``; () where there are none.
    """

    task: Task
    require_target: Callable[[pa.DataType, str], None]
    known_target: Callable[[FloatArray], np.ndarray[Any, np.dtype[np.bool_]]]
    count: Callable[[FloatArray, FloatArray, Groups | None], Any]
    merge: Callable[[Sequence[Any]], Any]
    figures: Callable[[Any, Measures], dict[str, float]]
    changes: Callable[[Any, Measures, int], dict[str, list[float]]]
    unclear: Callable[[Any], str]
    histogram: Callable[[FloatArray], Sequence[int]]

    def measures(self, names: Iterable[str], *, quantile: float = 0.5) -> Measures:
        """The metrics of those names, each once.

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
        return Measures(names=wanted, quantile=quantile)


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


def _binary_changes(counts: ScoreCounts, asked: Measures, least: int) -> dict[str, list[float]]:
    return {} if counts.groups is None else changes_of(counts.groups, asked.names, min_group_size=least)


BINARY = Judge(
    task=Task.BINARY,
    require_target=_require_yes_or_no,
    known_target=lambda target: np.ones(len(target), np.bool_),
    count=count_scores,
    merge=merge_counts,
    figures=lambda counts, asked: compute_metrics(counts, asked.names),
    changes=_binary_changes,
    unclear=lambda counts: "" if counts.n_positive and counts.n_negative else "one class only",
    histogram=score_histogram,
)
REGRESSION = Judge(
    task=Task.REGRESSION,
    require_target=_require_number,
    known_target=np.isfinite,
    count=count_predictions,
    merge=merge_predictions,
    figures=lambda counts, asked: prediction_metrics(counts, asked.names, quantile=asked.quantile),
    changes=lambda counts, asked, least: changes_of_predictions(
        counts, asked.names, quantile=asked.quantile, min_group_size=least
    ),
    unclear=lambda _: "",
    histogram=lambda _: (),
)
JUDGES: Mapping[Task, Judge] = {one.task: one for one in (BINARY, REGRESSION)}
