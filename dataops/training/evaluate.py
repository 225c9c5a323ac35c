"""Evaluation of a model, overall and by slice, where the parts lie.

1. Counts merge exactly (see `scores`), so they are merged on the workers and again on the driver.
2. A slice of fewer than 20 rows, or of one class, is named with its size and without metrics.
3. A column of very many values is no slice: its values would make the metrics a copy of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import InvalidInput
from dataops.models.predictor import Predictor, load_predictor
from dataops.training.parts import EncodedPart, FloatArray, PartsOnCluster, SliceValues, merge_parts
from dataops.training.scores import (
    IntArray,
    ScoreCounts,
    compute_metrics,
    count_scores,
    merge_counts,
    parse_metrics,
)

SMALLEST_SLICE_ROWS = 20
MOST_SLICE_VALUES = 200
MISSING = "(missing)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Counts of all rows, and by slice: column -> value -> counts."""

    overall: ScoreCounts
    slices: Mapping[str, Mapping[str, ScoreCounts]]


def evaluate_scores(
    scores: FloatArray, target: np.ndarray[Any, Any], slices: Mapping[str, SliceValues] | None = None
) -> Evaluation:
    """The counts overall and by slice.

    Raises
    ------
    InvalidInput : see `count_scores`; a slice column of more than `MOST_SLICE_VALUES` values.
    """
    by_slice = {
        name: {value: count_scores(scores[rows], target[rows]) for value, rows in _rows_by_value(name, values)}
        for name, values in (slices or {}).items()
    }
    return Evaluation(overall=count_scores(scores, target), slices=by_slice)


def _rows_by_value(name: str, values: SliceValues) -> list[tuple[str, IntArray]]:
    texts = pc.fill_null(pc.cast(pa.array(values), pa.string()), MISSING).dictionary_encode()
    _require_few(name, len(texts.dictionary))
    codes = texts.indices.to_numpy(zero_copy_only=False)
    return [(value, np.flatnonzero(codes == code)) for code, value in enumerate(texts.dictionary.to_pylist())]


def _require_few(name: str, n_values: int) -> None:
    if n_values > MOST_SLICE_VALUES:
        raise InvalidInput(
            f"slice column '{name}' has {n_values} or more values, at most {MOST_SLICE_VALUES} are reported: "
            "derive a coarser column, for numbers with cut(...)"
        )


def merge_evaluations(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The evaluation of all rows: exact, in any order.

    Raises
    ------
    InvalidInput : a slice column of more than `MOST_SLICE_VALUES` values.
    """
    names = sorted({name for one in evaluations for name in one.slices})
    slices = {}
    for name in names:
        values = sorted({value for one in evaluations for value in one.slices.get(name, {})})
        _require_few(name, len(values))
        of_column = [one.slices[name] for one in evaluations if name in one.slices]
        slices[name] = {value: merge_counts([one[value] for one in of_column if value in one]) for value in values}
    return Evaluation(overall=merge_counts([one.overall for one in evaluations]), slices=slices)


def report(evaluation: Evaluation, metrics: Sequence[str]) -> dict[str, Any]:
    """What ``metrics.json`` says of one dataset: ``rows``, ``overall`` and ``slices`` (column -> value -> figures)."""
    slices = {
        name: {value: _slice_report(counts, metrics) for value, counts in sorted(by_value.items())}
        for name, by_value in sorted(evaluation.slices.items())
    }
    overall = evaluation.overall
    return {"rows": overall.rows, "overall": compute_metrics(overall, metrics), "slices": slices}


def _slice_report(counts: ScoreCounts, metrics: Sequence[str]) -> dict[str, Any]:
    if counts.rows < SMALLEST_SLICE_ROWS:
        return {"rows": counts.rows, "too_small": f"fewer than {SMALLEST_SLICE_ROWS} rows"}
    if not (counts.n_positive and counts.n_negative):
        return {"rows": counts.rows, "too_small": "one class only"}
    return {"rows": counts.rows, **compute_metrics(counts, metrics)}


def evaluate_on_cluster(
    parts: PartsOnCluster, model_format: str, model: bytes, metrics: Sequence[str]
) -> dict[str, Any]:
    """The report of a model on all parts, which are scored and counted where they lie.

    Raises
    ------
    InvalidInput : unknown metrics, or too many values of a slice column.
    Compute : a task failed.
    """
    wanted = parse_metrics(metrics)
    return report(merge_parts(parts, _evaluate_part, merge_evaluations, (model_format, model)), wanted)


def _evaluate_part(part: EncodedPart, argument: tuple[str, bytes]) -> Evaluation:
    scores = _predictor(*argument).predict(part.encoded)
    return evaluate_scores(scores, part.target, part.slices)


@lru_cache(maxsize=4)
def _predictor(model_format: str, model: bytes) -> Predictor:
    return load_predictor(model_format, model)
