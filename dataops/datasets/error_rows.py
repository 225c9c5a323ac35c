"""Error rows: which rows of a unit came to no score, where they lie and why, for whoever may read the scores.

1. A row is told by its place and by its key: the kept columns of the contract's primary key, or all kept ones where it
   has none. They are as the grant gives them, masked where it masks; of no other column is there a value.
2. The reason is ``rule:<id>`` for a row that the contract's rule set aside, else the class of the exception, or the
   signal, that the row caused. Never a message: that may quote the row.
3. An error file is a part like any other: written once, named by the record of its unit, no time and no attempt in its
   bytes. It lies beside the parts, and no snapshot names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.datasets.places import Places
from dataops.datasets.quarantine import QUARANTINE_ROW, QUARANTINE_RULE
from dataops.governance.contract import Contract
from dataops.governance.plain_types import plain_column

ERRORS_FOLDER = "errors"
ERROR_ROW, ERROR_UNIT, ERROR_REASON = "row", "unit", "reason"
PLACE = pa.schema(
    {
        ERROR_ROW: pa.int64(),  # offset in the unit's file, from 0; null: a replay didn't find the row any more
        ERROR_UNIT: pa.string(),
        ERROR_REASON: pa.string(),
    }
)
RULE = "rule:"


def key_columns(contract: Contract, keep: Sequence[str]) -> tuple[str, ...]:
    """The columns of `keep` by which an error row is told; see rule 1. One that is named as ours are stays behind."""
    named = [name for name in keep if name not in PLACE.names]
    return tuple(name for name in named if name in contract.primary_key) if contract.primary_key else tuple(named)


def failed_rows(unit: str, keys: pa.Table, places: Places, reasons: Mapping[int, str]) -> pa.Table | None:
    """Error rows of the rows that failed, in their order; None where there are none.

    Parameters
    ----------
    keys : the key columns, masked, of all rows that passed.
    places : where each of them stands in its file.
    reasons : row of `keys` to why it failed.
    """
    if not reasons:
        return None
    rows = sorted(reasons)
    positions = pa.array(places.take(np.array(rows)).in_file(), pa.int64())
    return _table(unit, keys.take(pa.array(rows)), positions, [reasons[row] for row in rows])


def quarantined_rows(unit: str, keys: pa.Table, quarantined: pa.Table | None) -> pa.Table | None:
    """Error rows of `quarantined`, in its order; None where there are none.

    Parameters
    ----------
    keys : the key columns, masked, of its first rows; the others, which a replay carried over, have null keys.
    """
    if quarantined is None:
        return None
    carried = quarantined.num_rows - keys.num_rows
    if carried:
        nulls = [pa.nulls(carried, field.type) for field in keys.schema]
        keys = pa.concat_tables([keys, pa.table(nulls, schema=keys.schema)]) if keys.num_columns else keys
    reasons = pc.binary_join_element_wise(RULE, quarantined.column(QUARANTINE_RULE), "")
    return _table(unit, keys, quarantined.column(QUARANTINE_ROW), reasons)


def _table(unit: str, keys: pa.Table, rows: Any, reasons: Any) -> pa.Table:
    place = {
        ERROR_ROW: rows,
        ERROR_UNIT: pa.repeat(pa.scalar(unit), len(rows)),
        ERROR_REASON: reasons if isinstance(reasons, pa.ChunkedArray) else pa.array(reasons, pa.string()),
    }
    return pa.table({**place, **{name: plain_column(keys.column(name)) for name in keys.column_names}})


def joined(tables: Iterable[pa.Table | None]) -> pa.Table | None:
    """The error rows of `tables`, by their place; None where there are none."""
    found = [table for table in tables if table is not None]
    return pa.concat_tables(found).sort_by([(ERROR_ROW, "ascending")]) if found else None


def rows_by_reason(errors: pa.Table | None) -> dict[str, int]:
    """How many rows there are of each reason."""
    if errors is None:
        return {}
    counted = pc.value_counts(errors.column(ERROR_REASON)).to_pylist()
    return dict(sorted((one["values"], one["counts"]) for one in counted))
