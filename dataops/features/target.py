"""The mean of the target by category: summed in the pass of the summary, apart for each part of the training rows.

1. Rows are parted in `FOLDS` parts, by their group (`dataops.training.groups`): by content and place, so in the
   same way for every run, unit and worker. Sums are whole numbers, so they merge exactly, in any order.
2. A category's mean is smoothed: ``(sum + smoothing * prior) / (rows + smoothing)``, the prior being the mean over all
   rows. Those that are null or rare share what all of them together have, and so does what is unknown.
3. A training row looks up what the other parts of the rows say (out of fold); any other row what all of them say. With
   its own target in its feature a model would find the target again where a category has few rows, and learn noise.
4. Weights don't count here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import InvalidInput
from dataops.features.columns import Floats, Ints, read_categories, valid_of
from dataops.records import Record

FOLDS = 4
"""Parts of the training rows: each row's feature is made of three of four rows."""
_LARGEST_TARGET = 2**31


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """The target of some rows.

    Parameters
    ----------
    target : ``(n_rows,)``, whole numbers.
    folds : ``(n_rows,)``, 0 to ``FOLDS - 1``: the part of each row.
    """

    target: npt.NDArray[np.floating[Any]]
    folds: npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TargetSummary:
    """The target by category of one column. Two are compared by their `record()`.

    Parameters
    ----------
    values : distinct categories as text, sorted by code point.
    rows, sums : ``(n_values + 1, FOLDS)`` int64, the last line that of null: rows, and the sum of their targets.
    """

    name: str
    values: pa.StringArray
    rows: Ints
    sums: Ints

    def record(self) -> Record:
        """The summary as JSON."""
        values = self.values.to_pylist()
        return {"name": self.name, "values": values, "rows": self.rows.tolist(), "sums": self.sums.tolist()}

    @classmethod
    def from_record(cls, record: Record) -> TargetSummary:
        """The summary that `record()` wrote."""
        rows, sums = (np.array(record[key], np.int64).reshape(-1, FOLDS) for key in ("rows", "sums"))
        return cls(name=record["name"], values=pa.array(record["values"], pa.string()), rows=rows, sums=sums)


def summarise_target(name: str, column: pa.ChunkedArray, outcomes: Outcomes) -> TargetSummary:
    """The summary of one column of categories.

    Raises
    ------
    InvalidInput : the column can't be a category, or a target isn't a whole number.
    """
    target = outcomes.target.astype(np.float64)
    if not ((np.abs(target) < _LARGEST_TARGET) & (np.floor(target) == target)).all():
        raise InvalidInput(
            "`encode: target` takes a target of true/false or of whole numbers below 2**31, so that its sums are "
            "exact, and some rows have another: round it, or encode otherwise"
        )
    stored = read_categories(name, column)
    lines, places = len(stored.texts) + 1, stored.indices.astype(np.int64) * FOLDS + outcomes.folds
    rows = np.bincount(places, minlength=lines * FOLDS).reshape(lines, FOLDS)
    # whole numbers below 2**53, which float64 adds without rounding
    sums = np.bincount(places, weights=target, minlength=lines * FOLDS).reshape(lines, FOLDS)
    texts = pa.concat_arrays([stored.texts, pa.nulls(1, pa.string())])
    return _by_text(name, texts, rows.astype(np.int64), sums.astype(np.int64))


def merge_targets(parts: Sequence[TargetSummary]) -> TargetSummary:
    """The summary of all rows of `parts`: associative and commutative, since every part is exact."""
    texts = pa.concat_arrays([array for part in parts for array in (part.values, pa.nulls(1, pa.string()))])
    rows, sums = (np.concatenate([getattr(part, key) for part in parts]) for key in ("rows", "sums"))
    return _by_text(parts[0].name, texts, rows, sums)


def _by_text(name: str, texts: pa.StringArray, rows: Ints, sums: Ints) -> TargetSummary:
    """Lines of one text added up; texts that no row has left out."""
    is_text = valid_of(texts) & rows.any(axis=1)
    encoded = texts.filter(pa.array(is_text)).dictionary_encode()
    order = np.array(pc.sort_indices(encoded.dictionary).to_numpy(), np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    lines = np.full(len(texts), len(order), np.int64)
    lines[is_text] = rank[encoded.indices.to_numpy()]
    added = np.zeros((2, len(order) + 1, FOLDS), np.int64)
    np.add.at(added[0], lines, rows)
    np.add.at(added[1], lines, sums)
    return TargetSummary(name=name, values=encoded.dictionary.take(pa.array(order)), rows=added[0], sums=added[1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TargetMeans:
    """Smoothed means of the target.

    Parameters
    ----------
    categories : those with a mean of their own.
    means : ``(n_categories + 1,)``, the last one for all others.
    by_fold : ``(FOLDS, n_categories + 1)``, the same of the rows of all other parts.
    """

    categories: tuple[str, ...]
    means: Floats
    by_fold: Floats


def target_means(summary: TargetSummary, *, min_count: int, smoothing: float, least: int = 1) -> TargetMeans:
    """The means that `summary` gives.

    Parameters
    ----------
    min_count : rows that a category has at least, if it has a mean of its own.
    smoothing : rows of the prior in each mean, at least 0.
    least : rows that a figure is about at least; others of fewer rows count nowhere.
    """
    own = summary.rows[:-1].sum(axis=1) >= max(min_count, least)
    rows, sums = (_known_and_others(lines, own) for lines in (summary.rows, summary.sums))
    if 0 < rows[-1].sum() < least:
        rows[-1] = sums[-1] = 0
    all_rows, all_sums = (lines.sum(axis=1, keepdims=True) for lines in (rows, sums))
    return TargetMeans(
        categories=tuple(summary.values.filter(pa.array(own)).to_pylist()),
        means=_smoothed(all_rows, all_sums, smoothing)[:, 0],
        by_fold=np.ascontiguousarray(_smoothed(all_rows - rows, all_sums - sums, smoothing).T),
    )


def _known_and_others(lines: Ints, own: npt.NDArray[np.bool_]) -> Ints:
    others = lines[:-1][~own].sum(axis=0) + lines[-1]
    return np.concatenate([lines[:-1][own], others[None]])


def _smoothed(rows: Ints, sums: Ints, smoothing: float) -> Floats:
    """Means of lines, each column for itself, ``(n_lines, n_columns)``; the prior where there is nothing."""
    total = rows.sum(axis=0)
    prior = sums.sum(axis=0) / np.maximum(total, 1)
    weight = rows + smoothing
    means: Floats = np.where(weight > 0, (sums + smoothing * prior) / np.where(weight > 0, weight, 1), prior)
    return means
