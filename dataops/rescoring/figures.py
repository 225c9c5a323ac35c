"""Figures of a rescore: what each unit counted, and what a report shows of all units together.

1. A unit counts whole rows, by model (see `dataops.rescoring.plan.OWN`); counts of units add up exactly, in any order.
2. Counts hold no value of a row: bins and columns, never what is in them.
3. No figure is about fewer rows than the policies show figures about: bins of few are put together with their
   neighbours, and what can't be is None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from dataops.datasets.commit import UnitRecord
from dataops.declarations.metrics import Task
from dataops.declarations.outputs import OWN
from dataops.features.folding import may_stand
from dataops.features.hiding import shown_histogram
from dataops.features.profile import SCORE_BINS
from dataops.features.slices import OTHERS
from dataops.records import Record
from dataops.rescoring.impact import ImpactCounts, impact_figures, merge_impact
from dataops.rescoring.ranks import RankCounts, merge_ranks, rank_figures


def score_figures(
    records: Sequence[UnitRecord],
    *,
    challengers: Collection[str] = (),
    slices: Mapping[str, Sequence[str]] | None = None,
    min_group_size: int = 1,
    task: Task = Task.BINARY,
) -> dict[str, Any]:
    """What a report shows of all units together: rows that came to no score by reason, and the scores, of the job's own
    model and by challenger.

    Parameters
    ----------
    challengers : their names in the job; of those that scored nothing the figures say so.
    slices : column -> the values that impact is told by, see `ScorePlan.slices`.
    task : of the models; said where it isn't binary.
    min_group_size : `Effect.min_group_size` of the grant that the rows were read under.
    """
    counted = (name for record in records for name in record.summary["scores"])
    names = dict.fromkeys([OWN, *challengers, *counted])
    figures = {name: _of_model(records, name, min_group_size) for name in names}
    told = {} if task is Task.BINARY else {"task": str(task)}
    own = {"errors": merge_reasons(records), **told, **figures.pop(OWN)}
    if not figures:
        return own
    values = {name: (*known, OTHERS) for name, known in (slices or {}).items()}
    impact = {name: _impact(records, name, values, min_group_size) for name in figures}
    return {**own, "challengers": {name: {**one, "impact": impact[name]} for name, one in figures.items()}}


def merge_reasons(records: Sequence[UnitRecord]) -> dict[str, int]:
    """Rows that came to no score, set aside or failed, by their reason."""
    reasons: Counter[str] = Counter()
    for record in records:
        reasons.update(record.reasons())
    return dict(sorted(reasons.items()))


def with_drift(figures: Record, drift: Mapping[str, Record]) -> Record:
    """`figures` with the drift of each model, by its name in the job, beside its scores."""
    others = {
        name: {**one, "drift": drift[name]} for name, one in figures.get("challengers", {}).items() if name in drift
    }
    own = {**figures, "drift": drift[OWN]} if OWN in drift else figures
    return {**own, "challengers": {**own["challengers"], **others}} if others else own


def _impact(records: Sequence[UnitRecord], name: str, values: Mapping[str, Sequence[str]], least: int) -> Record:
    """The figures of one challenger; its counts say by themselves whether they are of decisions or of numbers."""
    found = [one for record in records if (one := record.summary.get("impact", {}).get(name)) is not None]
    if any("flips" not in one for one in found):
        return rank_figures(merge_ranks(map(RankCounts.from_record, found)), min_group_size=least)
    return impact_figures(merge_impact(map(ImpactCounts.from_record, found)), values, min_group_size=least)


def _of_model(records: Sequence[UnitRecord], name: str, least: int) -> Record:
    """The histogram of scores (of a regression rows by decile, of a clustering by cluster), None of too few rows; rows
    of unknown categories by column, None where it is of too few, or where all rows but too few have one.
    """
    unknown: Counter[str] = Counter()
    bins = [record.summary["scores"][name] for record in records if name in record.summary["scores"]]
    counts = np.array(bins, np.int64).sum(axis=0) if bins else np.zeros(SCORE_BINS, np.int64)
    for record in records:
        unknown.update(_unknown(record.summary, name))
    rows = int(counts.sum())
    stands = may_stand(np.array([rows]), least)
    return {
        "scores": list(shown_histogram(counts, least)) if stands else None,
        "unknown_categories": {
            column: number if stands and may_stand(np.array([number, rows - number]), least) else None
            for column, number in unknown.items()
        },
    }


def _unknown(summary: Mapping[str, Any], name: str) -> Mapping[str, int]:
    found: Mapping[str, int] = summary["unknown"].get(name, {})
    return found
