"""By how much a metric changes without each group of its rows: what tells how sure it is (`dataops.promotion.gain`).

1. A change is that of the metric over the bins of `groups`, to `DIGITS` digits. What bins hide is in both figures that
   are subtracted, so it hardly shows in their difference.
2. Without changes is what isn't defined without some group, and what would tell of fewer rows than the policies show
   figures about: a change is a figure about the rows of one group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dataops.features.folding import may_stand
from dataops.training.decisions import AT_THRESHOLD, LIFT, hidden, lift_of, taken_of
from dataops.training.groups import GROUPS, GroupCounts
from dataops.training.scores import UNIT

SCHEME = f"groups-{GROUPS}/1"
"""How rows are parted: only changes by the same scheme are those of the same groups."""
DIGITS = 9

Floats: TypeAlias = npt.NDArray[np.float64]


def changes_of(
    counts: GroupCounts, metrics: Sequence[str], *, min_group_size: int = 1, top_share: float = 0.1
) -> dict[str, list[float]]:
    """Metric -> its change without each group, `GROUPS` of them; only those metrics that have all.

    Parameters
    ----------
    top_share : of the rows, that of the highest scores which the lift looks at.
    """
    positives, negatives = counts.dense()
    rows = counts.rows
    if not may_stand(rows, min_group_size) or not rows.any():
        return {}
    few = hidden_changes(counts, min_group_size=min_group_size, top_share=top_share)
    # one column more: all rows
    shown = [_without(np.asarray(one, np.float64)) for one in (positives, negatives)]
    wrong, reached = (_without(np.asarray(one, np.float64)[None])[0] for one in counts.reached)
    found = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name in (name for name in metrics if name not in few):
            if name in _BINNED:
                figures = _BINNED[name](*shown)
            elif name in _SUMMED:
                figures = _mean(getattr(counts, _SUMMED[name]), rows)
            elif name in AT_THRESHOLD:
                figures = AT_THRESHOLD[name](reached, wrong, *(one.sum(axis=0) for one in shown))
            elif name == LIFT:
                figures = lift_of(shown[0], shown[1], top_share)
            else:
                continue
            if np.isfinite(figures).all():
                found[name] = [_short(figure) for figure in figures[:-1] - figures[-1]]
    return found


def hidden_changes(counts: GroupCounts, *, min_group_size: int, top_share: float) -> frozenset[str]:
    """The figures of decisions whose changes would tell of fewer rows of one group than that: of those that reach the
    threshold, or those that the share takes, or would without the group.
    """
    if min_group_size <= 1:
        return frozenset()
    by_bin, rows = np.sum(counts.dense(), axis=0).astype(np.float64), counts.rows
    taken = np.stack([taken_of(by_bin.sum(axis=1), by_bin, top_share), top_share * rows])
    return hidden(reached=counts.reached.sum(axis=0), taken=taken, rows=rows, least=min_group_size)


def _without(rows: Floats) -> Floats:
    """``(BINS, GROUPS + 1)``: rows by bin without each group, then all of them."""
    total = rows.sum(axis=1, keepdims=True)
    return np.concatenate([total - rows, total], axis=1)


def _short(change: float) -> float:
    return float(f"{change:.{DIGITS}g}") + 0.0  # no -0.0


def _roc_auc(positives: Floats, negatives: Floats) -> Floats:
    below = np.cumsum(negatives, axis=0) - negatives
    won = (positives * (below + negatives / 2)).sum(axis=0)
    figures: Floats = won / (positives.sum(axis=0) * negatives.sum(axis=0))
    return figures


def _average_precision(positives: Floats, negatives: Floats) -> Floats:
    found = np.cumsum(positives[::-1], axis=0)
    shown = np.cumsum((positives + negatives)[::-1], axis=0)
    precision = found / np.where(shown == 0, 1, shown)
    figures: Floats = (positives[::-1] * precision).sum(axis=0) / positives.sum(axis=0)
    return figures


def _mean(units: Sequence[int], rows: npt.NDArray[np.int64]) -> Floats:
    """The mean of summed units without each group, then of all; NaN without rows."""
    total, n_rows = sum(units), int(rows.sum())
    pairs = [(total - part, n_rows - int(n)) for part, n in zip(units, rows, strict=True)]
    return np.array([part / UNIT / n if n else math.nan for part, n in [*pairs, (total, n_rows)]])


_BINNED: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
}
_SUMMED = {"log_loss": "log_loss_units", "brier": "squared_error_units"}
