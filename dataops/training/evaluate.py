"""Evaluation of a model, overall and by slice, where the parts lie.

1. Counts merge exactly (see `scores`), so they are merged on the workers and again on the driver.
2. A slice of fewer than 20 rows, or of one class, is named with its size and without metrics.
3. A column of very many values is no slice: its values would make the metrics a copy of the rows.
4. Where the policies ask for groups of a least size, values of fewer rows are one slice, `OTHERS`, with as many of the
   next larger values as it takes to reach that size: nothing can be had by difference from the whole, and no rare
   value is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from dataops.errors import AccessDenied, InvalidInput
from dataops.features.folding import may_stand
from dataops.features.hiding import values_together
from dataops.features.slices import OTHERS, slice_texts
from dataops.models.predictor import Predictor, load_predictor
from dataops.training.groups import Groups
from dataops.training.parts import EncodedPart, FloatArray, PartsOnCluster, SliceValues, merge_parts
from dataops.training.replicates import SCHEME, changes_of
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
TOO_SMALL, REPLICATES = "too_small", "replicates"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Counts of all rows, and by slice: column -> value -> counts."""

    overall: ScoreCounts
    slices: Mapping[str, Mapping[str, ScoreCounts]]


def evaluate_scores(
    scores: FloatArray,
    target: np.ndarray[Any, Any],
    slices: Mapping[str, SliceValues] | None = None,
    groups: Groups | None = None,
) -> Evaluation:
    """The counts overall and by slice.

    Parameters
    ----------
    groups : uint8 (n_rows,), see `dataops.training.groups.row_groups`; None counts nothing by group.

    Raises
    ------
    InvalidInput : see `count_scores`; a slice column of more than `MOST_SLICE_VALUES` values.
    """
    by_slice = {
        name: {
            value: count_scores(scores[rows], target[rows], None if groups is None else groups[rows])
            for value, rows in rows_by_value(name, values)
        }
        for name, values in (slices or {}).items()
    }
    return Evaluation(overall=count_scores(scores, target, groups), slices=by_slice)


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


def report(evaluation: Evaluation, metrics: Sequence[str], *, min_group_size: int = 1) -> dict[str, Any]:
    """What ``metrics.json`` says of one dataset: ``rows``, ``overall`` and ``slices`` (column -> value -> figures).

    Where rows were counted by group also ``replicates``: by how much each figure changes without each group.

    Parameters
    ----------
    min_group_size : `Effect.min_group_size` of the grant that the rows were read under.

    Raises
    ------
    AccessDenied : all rows together are fewer than that.
    """
    overall = evaluation.overall
    if overall.rows < min_group_size:
        raise AccessDenied(
            f"the rows to evaluate on are fewer than {min_group_size}, and the policies show no figures about so few; "
            "evaluate on more rows"
        )
    shown = {name: group_small(by_value, min_group_size) for name, by_value in sorted(evaluation.slices.items())}
    slices = {
        name: {value: _slice_report(counts, metrics) for value, counts in sorted(by_value.items())}
        for name, by_value in shown.items()
    }
    found = {"rows": overall.rows, "overall": compute_metrics(overall, metrics), "slices": slices}
    if overall.groups is None:
        return found
    changes = {name: _changes_by_value(by_value, metrics, min_group_size) for name, by_value in shown.items()}
    replicates = {"scheme": SCHEME, "overall": _changes(overall, metrics, min_group_size), "slices": changes}
    return {**found, REPLICATES: replicates}


def _changes(counts: ScoreCounts, metrics: Sequence[str], least: int) -> dict[str, list[float]]:
    return {} if counts.groups is None else changes_of(counts.groups, metrics, min_group_size=least)


def _changes_by_value(
    by_value: Mapping[str, ScoreCounts], metrics: Sequence[str], least: int
) -> dict[str, dict[str, list[float]]]:
    """The changes of each value that has figures: of all values or of none, since one could be had by difference."""
    stand = all(one.groups is not None and may_stand(one.groups.rows, least) for one in by_value.values())
    return {
        value: _changes(counts, metrics, least) if stand else {}
        for value, counts in sorted(by_value.items())
        if not _too_small(counts)
    }


def group_small(by_value: Mapping[str, ScoreCounts], min_size: int) -> Mapping[str, ScoreCounts]:
    """`by_value` with the values of fewer than `min_size` rows as one, `OTHERS`, which has that many if all rows do."""
    together = values_together({value: counts.rows for value, counts in by_value.items()}, min_size)
    if not together:
        return by_value
    shown = {value: counts for value, counts in by_value.items() if value not in together}
    return {**shown, OTHERS: merge_counts([by_value[value] for value in together])}


def _slice_report(counts: ScoreCounts, metrics: Sequence[str]) -> dict[str, Any]:
    if reason := _too_small(counts):
        return {"rows": counts.rows, TOO_SMALL: reason}
    return {"rows": counts.rows, **compute_metrics(counts, metrics)}


def _too_small(counts: ScoreCounts) -> str:
    """Why a slice has no figures; "" if it has."""
    if counts.rows < SMALLEST_SLICE_ROWS:
        return f"fewer than {SMALLEST_SLICE_ROWS} rows"
    return "" if counts.n_positive and counts.n_negative else "one class only"


def evaluate_on_cluster(
    parts: PartsOnCluster, model_format: str, model: bytes, metrics: Sequence[str], *, min_group_size: int = 1
) -> dict[str, Any]:
    """The report of a model on all parts, which are scored and counted where they lie; `report` has the parameters.

    Raises
    ------
    AccessDenied : see `report`.
    InvalidInput : unknown metrics, or too many values of a slice column.
    Compute : a task failed.
    """
    wanted = parse_metrics(metrics)
    merged = merge_parts(parts, _evaluate_part, merge_evaluations, (model_format, model))
    return report(merged, wanted, min_group_size=min_group_size)


def _evaluate_part(part: EncodedPart, argument: tuple[str, bytes]) -> Evaluation:
    scores = loaded_predictor(*argument).predict(part.encoded)
    return evaluate_scores(scores, part.target, part.slices, part.groups)


@lru_cache(maxsize=4)
def loaded_predictor(model_format: str, model: bytes) -> Predictor:
    """The predictor in `model`, read once by each worker."""
    return load_predictor(model_format, model)
