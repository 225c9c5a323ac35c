"""Quarantine: rows that break a contract's rule, set aside with the reason for the steward."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dataops.datasets.decode import Source
from dataops.datasets.units import Unit
from dataops.governance.contract import Action

QUARANTINE_REASON = "quarantine_rule"


def rows_aside(
    source: Source, unit: Unit, looked_at: pa.Table, rule_index: np.ndarray, positions: np.ndarray
) -> pa.Table | None:
    """The rows of a unit that a rule sets aside, with rule and place, and the columns that rules look at; None where
    there are none.
    """
    rules = source.contract.rules
    aside = np.array([rule.action in (Action.QUARANTINE, Action.FAIL) for rule in rules] + [False])
    bad = np.flatnonzero(aside[rule_index])  # index -1 (no rule broken) is the last entry
    if not len(bad):
        return None
    ids = pa.array([rule.id for rule in rules], pa.string())
    place = {
        QUARANTINE_REASON: ids.take(pa.array(rule_index[bad])),
        "quarantine_contract": pa.array([source.contract.digest] * len(bad)),
        "quarantine_fragment": pa.array([unit.fragment.path] * len(bad)),
        "quarantine_row": pa.array(positions[bad] + unit.first_row, pa.int64()),
    }
    values = looked_at.take(pa.array(bad))
    # a contract's column of such a name stays behind: what a steward reads there is ours
    seen = {name: values.column(name) for name in values.column_names if name not in place}
    return pa.table({**place, **seen})
