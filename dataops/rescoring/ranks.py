"""Impact of a regression: how a challenger orders rows, compared with the job's own model. Nothing flips: there are no
decisions.

1. Rows are counted by what both models predict, in the cells that the job's own model was judged in: both predict the
   same number. Counts of units add up exactly, in any order.
2. Rank correlation is Spearman's; rows of one cell are ties.
3. Of fewer rows than the policies show figures about there are no figures. Counts hold no value of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from dataops.declarations.metrics import Task
from dataops.features.columns import Floats32
from dataops.features.folding import may_stand
from dataops.records import Record
from dataops.rescoring.impact import Counts, rank_correlation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankCounts:
    """Rows that two models scored: int64 (n_cells, n_cells), by cell of the own model's and of the challenger's."""

    joint: Counts

    def record(self) -> Record:
        """JSON types; the counts above zero."""
        (places,) = np.nonzero(self.joint.ravel())
        return {"cells": len(self.joint), "places": places.tolist(), "rows": self.joint.ravel()[places].tolist()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The counts that `record` was made from."""
        n_cells = int(record["cells"])
        joint = np.zeros(n_cells * n_cells, np.int64)
        joint[record["places"]] = record["rows"]
        return cls(joint=joint.reshape(n_cells, n_cells))


def count_ranks(own: Floats32, challenger: Floats32, edges: Sequence[float]) -> RankCounts:
    """The counts of rows with these predictions, float32 (n_rows,) each.

    Parameters
    ----------
    edges : rising, that part the cells.
    """
    between, n_cells = np.array(edges, np.float32), len(edges) + 1
    mine, theirs = (np.searchsorted(between, one, side="right") for one in (own, challenger))
    joint = np.bincount(mine * n_cells + theirs, minlength=n_cells * n_cells)
    return RankCounts(joint=joint.reshape(n_cells, n_cells).astype(np.int64))


def merge_ranks(counts: Iterable[RankCounts]) -> RankCounts:
    """The counts of all rows together."""
    found = [one.joint for one in counts]
    return RankCounts(joint=np.sum(found, axis=0) if found else np.zeros((1, 1), np.int64))


def rank_figures(counts: RankCounts, *, min_group_size: int = 1) -> Record:
    """What a report and a gate take from `counts`; None where the rows are fewer than may be told of."""
    rows = int(counts.joint.sum())
    told = may_stand(np.array([rows]), min_group_size)
    return {
        "task": str(Task.REGRESSION),
        "rows": rows if told else None,
        "rank_correlation": rank_correlation(counts.joint) if told and rows else None,
        "slices": {},
    }
