"""Evaluation of a model, overall and by slice, where the parts lie.

What is counted, and which metrics come of it, is the task's: see `tasks`.

1. Counts merge exactly (see `scores`, `predictions`), so they are merged on the workers and again on the driver.
2. A slice of fewer than 20 rows, or of one class, is named with its size and without metrics.
3. A column of very many values is no slice: its values would make the metrics a copy of the rows.
4. Where the policies ask for groups of a least size, values of fewer rows are one slice, `OTHERS`, with as many of the
   next larger values as it takes to reach that size: nothing can be had by difference from the whole, and no rare
   value is named.
5. Where a metric would tell of fewer rows though its rows are enough (a lift of a small share, a precision at a high
   threshold: `decisions.hidden`), it is left out, in a column of slices of all its values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa

from dataops.declarations.metrics import USUAL_POINTS, Points, Task
from dataops.errors import AccessDenied, InvalidInput
from dataops.features.folding import may_stand
from dataops.features.hiding import values_together
from dataops.features.slices import OTHERS, slice_texts
from dataops.models.calibration import Calibration, calibrated
from dataops.models.predictor import Predictor, load_predictor
from dataops.training.groups import Groups
from dataops.training.parts import EncodedPart, PartsOnCluster, SliceValues, merge_parts
from dataops.training.replicates import SCHEME
from dataops.training.scores import IntArray
from dataops.training.tasks import Counts, Judge, Measures, judge_of

SMALLEST_SLICE_ROWS = 20
MOST_SLICE_VALUES = 200
TOO_SMALL, REPLICATES = "too_small", "replicates"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Counts of all rows, and by slice: column -> value -> counts."""

    overall: Counts
    slices: Mapping[str, Mapping[str, Counts]]
    task: Task = Task.BINARY


def evaluate_scores(
    scores: Any,
    target: np.ndarray[Any, Any],
    slices: Mapping[str, SliceValues] | None = None,
    groups: Groups | None = None,
    *,
    task: Task = Task.BINARY,
    points: Points = USUAL_POINTS,
) -> Evaluation:
    """The counts overall and by slice.

    Parameters
    ----------
    scores : (n_rows,), what the model gave (`tasks.Judge.answers`): probabilities, or the numbers of a regression,
        float32; of a clustering `dataops.models.centres.NEAREST`.
    groups : uint8 (n_rows,), see `dataops.training.groups.row_groups`; None counts nothing by group.
    points : that metrics will be taken at.

    Raises
    ------
    InvalidInput : see `count_scores`, `count_predictions`, `count_distances`; a slice column of more than
        `MOST_SLICE_VALUES` values.
    """
    count = judge_of(task).count
    by_slice = {
        name: {
            value: count(scores[rows], target[rows], None if groups is None else groups[rows], points)
            for value, rows in rows_by_value(name, values)
        }
        for name, values in (slices or {}).items()
    }
    return Evaluation(overall=count(scores, target, groups, points), slices=by_slice, task=task)


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
    evaluation: Evaluation,
    metrics: Sequence[str],
    *,
    min_group_size: int = 1,
    points: Points = USUAL_POINTS,
) -> dict[str, Any]:
    """What ``metrics.json`` says of one dataset: ``rows``, ``overall`` and ``slices`` (column -> value -> figures).

    Where rows were counted by group also ``replicates``: by how much each figure changes without each group. Beside
    metrics that are taken at a point (``quantile``, ``threshold``, ``top_share``) that one, by its name.

    Parameters
    ----------
    min_group_size : `Effect.min_group_size` of the grant that the rows were read under.
    points : that metrics are taken at; those that the rows were counted with.

    Raises
    ------
    AccessDenied : all rows together are fewer than that.
    InvalidInput : unknown metrics, or those of another task.
    """
    judge, overall = judge_of(evaluation.task), evaluation.overall
    asked = judge.measures(metrics, points, least=min_group_size)
    if overall.rows < min_group_size:
        raise AccessDenied(
            f"the rows to evaluate on are fewer than {min_group_size}, and the policies show no figures about so few; "
            "evaluate on more rows"
        )
    by_column = sorted(evaluation.slices.items())
    shown = {name: group_small(by_value, min_group_size, judge) for name, by_value in by_column}
    slices = {name: _slice_reports(by_value, asked, judge) for name, by_value in shown.items()}
    figures = judge.figures(overall, judge.told(asked, [overall]))
    found = {"rows": overall.rows, "overall": figures, "slices": slices}
    found |= points.told(asked.names)
    if overall.group_rows is None:
        return found
    changes = {name: _changes_by_value(by_value, asked, judge) for name, by_value in shown.items()}
    replicates = {"scheme": SCHEME, "overall": judge.changes(overall, asked), "slices": changes}
    return {**found, REPLICATES: replicates}


def _slice_reports(by_value: Mapping[str, Counts], asked: Measures, judge: Judge) -> dict[str, dict[str, Any]]:
    told = judge.told(asked, by_value.values())
    return {value: _slice_report(counts, told, judge) for value, counts in sorted(by_value.items())}


def _changes_by_value(
    by_value: Mapping[str, Counts], asked: Measures, judge: Judge
) -> dict[str, dict[str, list[float]]]:
    """The changes of each value that has figures: of all values or of none, since one could be had by difference."""
    groups = [one.group_rows for one in by_value.values()]
    stand = all(rows is not None and may_stand(rows, asked.least) for rows in groups)
    told = asked.without(judge.hidden_changes(counts, asked) for counts in by_value.values())
    return {
        value: judge.changes(counts, told) if stand else {}
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
    points: Points = USUAL_POINTS,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """The report of a model on all parts, which are scored and counted where they lie; `report` has the parameters.

    Parameters
    ----------
    calibration : what the model's log odds go through.

    Raises
    ------
    AccessDenied : see `report`.
    InvalidInput : unknown metrics, or too many values of a slice column.
    Compute : a task failed.
    """
    judge_of(parts.task).measures(metrics)
    merge = partial(merge_evaluations, task=parts.task)
    merged = merge_parts(parts, _evaluate_part, merge, (model_format, model, calibration, parts.task, points))
    return report(merged, metrics, min_group_size=min_group_size, points=points)


def _evaluate_part(part: EncodedPart, argument: tuple[str, bytes, Calibration | None, Task, Points]) -> Evaluation:
    model_format, model, calibration, task, points = argument
    scores = judge_of(task).answers(calibrated(loaded_predictor(model_format, model), calibration), part.encoded)
    return evaluate_scores(scores, part.target, part.slices, part.groups, task=task, points=points)


@lru_cache(maxsize=4)
def loaded_predictor(model_format: str, model: bytes) -> Predictor:
    """The predictor in `model`, read once by each worker."""
    return load_predictor(model_format, model)
