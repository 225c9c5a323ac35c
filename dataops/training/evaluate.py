"""Evaluation of a model, overall and by slice, where the parts lie.

What is counted, and which metrics come of it, is the task's: see `tasks`.

1. Counts merge exactly (see `scores`, `predictions`), so they are merged on the workers and again on the driver.
2. A slice of fewer than 20 rows, or of one class, is named with its size and without metrics.
3. A column of very many values is no slice: its values would make the metrics a copy of the rows.
4. Where the policies ask for groups of a least size, values of fewer rows are one slice, `OTHERS`, with as many of the
   next larger values as it takes to reach that size: nothing can be had by difference from the whole, and no rare
   value is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa

from dataops.declarations.metrics import Metric, Task
from dataops.errors import AccessDenied, InvalidInput
from dataops.features.folding import may_stand
from dataops.features.hiding import values_together
from dataops.features.slices import OTHERS, slice_texts
from dataops.models.predictor import Predictor, load_predictor
from dataops.training.groups import Groups
from dataops.training.parts import EncodedPart, FloatArray, PartsOnCluster, SliceValues, merge_parts
from dataops.training.replicates import SCHEME
from dataops.training.scores import IntArray
from dataops.training.tasks import Counts, Judge, Measures, judge_of

SMALLEST_SLICE_ROWS = 20
MOST_SLICE_VALUES = 200
TOO_SMALL, REPLICATES, QUANTILE = "too_small", "replicates", "quantile"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Counts of all rows, and by slice: column -> value -> counts."""

    overall: Counts
    slices: Mapping[str, Mapping[str, Counts]]
    task: Task = Task.BINARY


def evaluate_scores(
    scores: FloatArray,
    target: np.ndarray[Any, Any],
    slices: Mapping[str, SliceValues] | None = None,
    groups: Groups | None = None,
    *,
    task: Task = Task.BINARY,
) -> Evaluation:
    """The counts overall and by slice.

    Parameters
    ----------
    scores : float32 (n_rows,), what the model gave: probabilities, or the numbers of a regression.
    groups : uint8 (n_rows,), see `dataops.training.groups.row_groups`; None counts nothing by group.

    Raises
    ------
    InvalidInput : see `count_scores` and `count_predictions`; a slice column of more than `MOST_SLICE_VALUES` values.
    """
    count = judge_of(task).count
    by_slice = {
        name: {
            value: count(scores[rows], target[rows], None if groups is None else groups[rows])
            for value, rows in rows_by_value(name, values)
        }
        for name, values in (slices or {}).items()
    }
    return Evaluation(overall=count(scores, target, groups), slices=by_slice, task=task)


def rows_by_value(name: str, values: SliceValues) -> list[tuple[str, IntArray]]:
    """Each value of the slice column `name`, and the rows that have it.

    Raises
    ------
    InvalidInput : more than `MOST_SLICE_VALUES` values.
    """
    texts = slice_texts(pa.array(values))
    _require_few(name, len(texts.dictionary))
    codes = texts.indices.to_numpy(zero_copy_only=False)
    return [(value, np.flatnonzero(codes == code)) for code, value in enumerate(texts.dictionary.to_pylist())]


def _require_few(name: str, n_values: int) -> None:
    if n_values > MOST_SLICE_VALUES:
        raise InvalidInput(
            f"slice column '{name}' has {n_values} or more values, at most {MOST_SLICE_VALUES} are reported: "
            "derive a coarser column, for numbers with cut(...)"
        )


def merge_evaluations(evaluations: Sequence[Evaluation], task: Task = Task.BINARY) -> Evaluation:
    """The evaluation of all rows: exact, in any order; of `task` where there are none.

    Raises
    ------
    InvalidInput : a slice column of more than `MOST_SLICE_VALUES` values.
    """
    task = evaluations[0].task if evaluations else task
    merge = judge_of(task).merge
    names = sorted({name for one in evaluations for name in one.slices})
    slices = {}
    for name in names:
        values = sorted({value for one in evaluations for value in one.slices.get(name, {})})
        _require_few(name, len(values))
        of_column = [one.slices[name] for one in evaluations if name in one.slices]
        slices[name] = {value: merge([one[value] for one in of_column if value in one]) for value in values}
    return Evaluation(overall=merge([one.overall for one in evaluations]), slices=slices, task=task)


def report(
    evaluation: Evaluation, metrics: Sequence[str], *, min_group_size: int = 1, quantile: float = 0.5
) -> dict[str, Any]:
    """What ``metrics.json`` says of one dataset: ``rows``, ``overall`` and ``slices`` (column -> value -> figures).

    Where rows were counted by group also ``replicates``: by how much each figure changes without each group. Beside a
    quantile loss ``quantile``: figures of two quantiles say nothing of each other.

    Parameters
    ----------
    min_group_size : `Effect.min_group_size` of the grant that the rows were read under.
    quantile : that of the quantile loss, 0 to 1.

    Raises
    ------
    AccessDenied : all rows together are fewer than that.
    InvalidInput : unknown metrics, or those of another task.
    """
    judge, overall = judge_of(evaluation.task), evaluation.overall
    asked = judge.measures(metrics, quantile=quantile)
    if overall.rows < min_group_size:
        raise AccessDenied(
            f"the rows to evaluate on are fewer than {min_group_size}, and the policies show no figures about so few; "
            "evaluate on more rows"
        )
    by_column = sorted(evaluation.slices.items())
    shown = {name: group_small(by_value, min_group_size, judge) for name, by_value in by_column}
    slices = {
        name: {value: _slice_report(counts, asked, judge) for value, counts in sorted(by_value.items())}
        for name, by_value in shown.items()
    }
    found = {"rows": overall.rows, "overall": judge.figures(overall, asked), "slices": slices}
    found |= {QUANTILE: quantile} if Metric.QUANTILE_LOSS in asked.names else {}
    if overall.group_rows is None:
        return found
    changes = {name: _changes_by_value(by_value, asked, judge, min_group_size) for name, by_value in shown.items()}
    replicates = {"scheme": SCHEME, "overall": judge.changes(overall, asked, min_group_size), "slices": changes}
    return {**found, REPLICATES: replicates}


def _changes_by_value(
    by_value: Mapping[str, Counts], asked: Measures, judge: Judge, least: int
) -> dict[str, dict[str, list[float]]]:
    """The changes of each value that has figures: of all values or of none, since one could be had by difference."""
    groups = [one.group_rows for one in by_value.values()]
    stand = all(rows is not None and may_stand(rows, least) for rows in groups)
    return {
        value: judge.changes(counts, asked, least) if stand else {}
        for value, counts in sorted(by_value.items())
        if not _too_small(counts, judge)
    }


def group_small(by_value: Mapping[str, Counts], min_size: int, judge: Judge) -> Mapping[str, Counts]:
    """`by_value` with the values of fewer than `min_size` rows as one, `OTHERS`, which has that many if all rows do."""
    together = values_together({value: counts.rows for value, counts in by_value.items()}, min_size)
    if not together:
        return by_value
    shown = {value: counts for value, counts in by_value.items() if value not in together}
    return {**shown, OTHERS: judge.merge([by_value[value] for value in together])}


def _slice_report(counts: Counts, asked: Measures, judge: Judge) -> dict[str, Any]:
    if reason := _too_small(counts, judge):
        return {"rows": counts.rows, TOO_SMALL: reason}
    return {"rows": counts.rows, **judge.figures(counts, asked)}


def _too_small(counts: Counts, judge: Judge) -> str:
    """Why a slice has no figures; "" if it has."""
    if counts.rows < SMALLEST_SLICE_ROWS:
        return f"fewer than {SMALLEST_SLICE_ROWS} rows"
    return judge.unclear(counts)


def evaluate_on_cluster(
    parts: PartsOnCluster,
    model_format: str,
    model: bytes,
    metrics: Sequence[str],
    *,
    min_group_size: int = 1,
    quantile: float = 0.5,
) -> dict[str, Any]:
    """The report of a model on all parts, which are scored and counted where they lie; `report` has the parameters.

    Raises
    ------
    AccessDenied : see `report`.
    InvalidInput : unknown metrics, or too many values of a slice column.
    Compute : a task failed.
    """
    judge_of(parts.task).measures(metrics)
    merge = partial(merge_evaluations, task=parts.task)
    merged = merge_parts(parts, _evaluate_part, merge, (model_format, model, parts.task))
    return report(merged, metrics, min_group_size=min_group_size, quantile=quantile)


def _evaluate_part(part: EncodedPart, argument: tuple[str, bytes, Task]) -> Evaluation:
    *model, task = argument
    scores = loaded_predictor(*model).predict(part.encoded)
    return evaluate_scores(scores, part.target, part.slices, part.groups, task=task)


@lru_cache(maxsize=4)
def loaded_predictor(model_format: str, model: bytes) -> Predictor:
    """The predictor in `model`, read once by each worker."""
    return load_predictor(model_format, model)
