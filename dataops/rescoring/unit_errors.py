"""The rows of a unit that come to no score: kept out of its part, told in its error file, accounted for in its receipt.

1. A row that failed is told by its place, its key and its reason (`datasets.error_rows`); all others of its unit are
   scored as if it had not been there.
2. A unit in which more rows fail than the whole run may set aside fails the run: it names the first of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa

from dataops.datasets.error_rows import failed_rows, joined, quarantined_rows
from dataops.datasets.scan import GovernedRead
from dataops.datasets.units import Unit
from dataops.errors import ContractViolation
from dataops.rescoring.row_errors import Reasons, TooManyFailed, Tried, try_rows

T = TypeVar("T")


def try_unit(
    score: Callable[[pa.Table], T], unit: Unit, read: GovernedRead, *, killers: Reasons, most: int | None
) -> Tried[T]:
    """What `score` makes of the rows of `unit` that don't fail, and those that do.

    Parameters
    ----------
    killers : rows of `read` that kill the process that scores them, with the reason.
    most : rows that may fail in the whole run.

    Raises
    ------
    ContractViolation : more do.
    Exception : what `score` raised, if no row alone is to blame.
    """
    try:
        return try_rows(score, read.table, killers=killers, most=most)
    except TooManyFailed as error:
        failed = error.failed
    row, reason = min(failed.items())
    [place] = read.places.take(np.array([row])).in_file()
    more = "" if len(failed) == 1 else f", and {len(failed) - 1} more there"
    raise ContractViolation(
        f"unit {unit.id}: row {place} of {unit.fragment.shown} can't be scored ({reason}){more}; errors "
        f"allows {most} rows in all. Nothing was published: mend the data, or raise errors.max_rate or errors.max_rows"
    )


def error_rows(unit: Unit, read: GovernedRead, keys: Sequence[str], failed: Mapping[int, str]) -> pa.Table | None:
    """The error rows of `unit`: those that were quarantined, and those that `failed`; None where there are none.

    Parameters
    ----------
    keys : the columns by which rows are told; `read` asked for those of rows set aside.
    failed : row of `read` to reason.
    """
    aside = quarantined_rows(unit.id, read.keys_aside, read.quarantined)
    return joined([aside, failed_rows(unit.id, read.table.select(keys), read.places, failed)])
