"""Judging: how well a model does on rows that it didn't learn from, and the reference for the rows that come later.

1. One pass over the parts, where they lie, counts both; counts merge exactly, however rows were split.
2. The reference is counted on the same rows as the metrics, by slice on the same values, put together alike.
3. Scores are parted where a bucket of `scores` begins, so that what is counted of them once serves any parting; those
   of a clustering between its clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from dataops.declarations.metrics import USUAL_POINTS, Points, Task
from dataops.features.cells import SCORES, Cells, NumberCells
from dataops.features.columns import Ints
from dataops.features.hiding import values_together
from dataops.features.profile import ProfileSpec, count_columns
from dataops.features.reference import DECILES, Reference, make_reference, score_cells
from dataops.features.slices import OTHERS
from dataops.models.calibration import Calibration, calibrated
from dataops.training.evaluate import (
    Evaluation,
    evaluate_scores,
    loaded_predictor,
    merge_evaluations,
    report,
    rows_by_value,
)
from dataops.training.parts import EncodedPart, PartsOnCluster, merge_parts
from dataops.training.scores import bucket_starts
from dataops.training.tasks import Counts, judge_of

SCORE_PARTS = 40
"""How many parts of equally many rows scores are counted in; a multiple of ten, for deciles."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What was counted of some rows.

    Parameters
    ----------
    histogram : rows by score in the equal bins of the task, ``(n_bins,)``; a regression has none.
    columns : rows by cell of each feature, column after column.
    slices : column -> value -> likewise.
    """

    evaluation: Evaluation
    histogram: Ints
    columns: Ints
    slices: Mapping[str, Mapping[str, Ints]]


def judge_on_cluster(
    parts: PartsOnCluster,
    model_format: str,
    model: bytes,
    metrics: Sequence[str],
    *,
    cells: Sequence[Cells],
    dataset: str,
    min_group_size: int = 1,
    points: Points = USUAL_POINTS,
    calibration: Calibration | None = None,
) -> tuple[dict[str, Any], Reference]:
    """The report of a model on all parts (see `evaluate.report`), and the reference that they make.

    Parameters
    ----------
    cells : of the features; see `dataops.features.binning.fit_cells`.
    dataset : what the metrics call these rows.
    calibration : what its log odds go through.

    Raises
    ------
    AccessDenied, InvalidInput : see `evaluate.report`.
    Compute : a task failed.
    """
    judge_of(parts.task).measures(metrics)
    argument = (model_format, model, calibration, tuple(cells), parts.task, points)
    merged = merge_parts(parts, _judge_part, partial(merge_judged, task=parts.task), argument)
    figures = report(merged.evaluation, metrics, min_group_size=min_group_size, points=points)
    parting = judge_of(parts.task).parting(loaded_predictor(model_format, model))
    return figures, reference_of(merged, cells, dataset=dataset, least=min_group_size, parting=parting)


_Argument: TypeAlias = tuple[str, bytes, Calibration | None, tuple[Cells, ...], Task, Points]


def _judge_part(part: EncodedPart, argument: _Argument) -> Judged:
    model_format, model, calibration, cells, task, points = argument
    scores = judge_of(task).answers(calibrated(loaded_predictor(model_format, model), calibration), part.encoded)
    return Judged(
        evaluation=evaluate_scores(scores, part.target, part.slices, part.groups, task=task, points=points),
        histogram=np.array(judge_of(task).histogram(scores), np.int64),
        columns=count_columns(cells, part.encoded),
        slices={
            name: {
                value: count_columns(cells, part.encoded.of_rows(rows)) for value, rows in rows_by_value(name, values)
            }
            for name, values in part.slices.items()
        },
    )


def merge_judged(many: Sequence[Judged], task: Task = Task.BINARY) -> Judged:
    """What was counted of all rows: exact, in any order.

    Raises
    ------
    InvalidInput : see `merge_evaluations`.
    """
    evaluation = merge_evaluations([one.evaluation for one in many], task)
    return Judged(
        evaluation=evaluation,
        histogram=_total(one.histogram for one in many),
        columns=_total(one.columns for one in many),
        slices={name: _merge_values([one.slices.get(name, {}) for one in many]) for name in evaluation.slices},
    )


def _merge_values(many: Sequence[Mapping[str, Ints]]) -> dict[str, Ints]:
    values = sorted({value for one in many for value in one})
    return {value: _total(one[value] for one in many if value in one) for value in values}


def _total(many: Iterable[Ints]) -> Ints:
    total: Ints = np.sum(list(many), axis=0, dtype=np.int64)
    return total


def reference_of(
    judged: Judged, cells: Sequence[Cells], *, dataset: str, least: int, parting: Sequence[float] | None = None
) -> Reference:
    """The reference that the judged rows make.

    Parameters
    ----------
    least : rows that a count is about at least (`Effect.min_group_size`).
    parting : see `tasks.Judge`.
    """
    counts = judged.evaluation.overall
    scores = score_cells(SCORES, score_edges(counts, SCORE_PARTS) if parting is None else parting)
    has_deciles = parting is None and counts.rows >= DECILES * least
    slices = {}
    for name, by_value in judged.evaluation.slices.items():
        grouped = _grouped(by_value, judged.slices[name], least, judged.evaluation.task)
        slices[name] = {
            value: np.concatenate([_by_cell(scores, some), rest]) for value, (some, rest) in grouped.items()
        }
    return make_reference(
        ProfileSpec(scores=scores, columns=tuple(cells)),
        np.concatenate([_by_cell(scores, counts), judged.columns]),
        slices,
        dataset=dataset,
        histogram=judged.histogram.tolist(),
        decile_edges=score_edges(counts, DECILES) if has_deciles else None,
        least=least,
        scores_apart=parting is not None,
    )


def score_edges(counts: Counts, parts: int) -> tuple[float, ...]:
    """The ``parts - 1`` scores, none below the one before it, that part the rows evenly, as far as ties allow."""
    below = np.append(np.cumsum(counts.by_bucket), 0)[[-1, *range(len(counts.buckets))]]
    places = [int(np.searchsorted(below * parts, part * counts.rows)) for part in range(1, parts)]
    last = counts.buckets[-1:] + 1  # where no bucket begins so late: behind them all
    starts = bucket_starts(np.concatenate([counts.buckets, last]))
    return tuple(float(starts[place]) for place in places) if counts.rows else ()


def _by_cell(cells: NumberCells, counts: Counts) -> Ints:
    rows = np.zeros(cells.n_cells, np.int64)
    place = 1 + np.searchsorted(cells.edges, bucket_starts(counts.buckets), side="right")
    np.add.at(rows, place, counts.by_bucket)
    return rows


def _grouped(
    scores: Mapping[str, Counts], columns: Mapping[str, Ints], least: int, task: Task
) -> dict[str, tuple[Counts, Ints]]:
    """Counts of scores and of features by value, small values together as the metrics have them."""
    together = values_together({value: counts.rows for value, counts in scores.items()}, least)
    shown = {value: (scores[value], columns[value]) for value in scores if value not in together}
    if together:
        some = judge_of(task).merge([scores[value] for value in together])
        shown[OTHERS] = (some, _total(columns[value] for value in together))
    return shown
