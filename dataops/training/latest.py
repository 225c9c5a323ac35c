"""The newest outcomes: which of those that are known are judged, where a job asks for those of so many days.

1. Days count back from the newest outcome that is known, not from now: judged again, the same outcomes give the same
   figures, and a day on which nothing came moves nothing.
2. No time of a row leaves a worker but the newest of each unit, and none is on record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataops.datasets.access import GovernedInput
from dataops.datasets.scan import read_unit
from dataops.datasets.units import Unit
from dataops.declarations.evaluate import Latest
from dataops.engine.work import Work
from dataops.errors import InvalidInput
from dataops.training.reading import Selection, target_values

Known = npt.NDArray[np.bool_]
_TIME = pa.timestamp("us")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestContext:
    """What a worker needs to say how new outcomes are."""

    outcomes: Selection
    column: str


def require_times(latest: Latest, labels: GovernedInput, where: str) -> None:
    """Nothing, if the column that `latest` names holds times.

    Raises
    ------
    AccessDenied : the policies deny it to evaluate.
    InvalidInput : there is none of that name, or it holds something else.
    """
    labels.require_columns([latest.column], where=f"{where}: latest")
    (column,) = (one for one in labels.masked_columns() if one.name == latest.column)
    if not (pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)):
        raise InvalidInput(f"{where}: latest: '{column.name}' is {column.type}; expected dates or timestamps")


def newest_in_unit(context: NewestContext, unit: Unit) -> int | None:
    """The newest time of a known outcome in `unit`, microseconds since 1970; None where there is none."""
    table = read_unit(context.outcomes.source, unit, context.outcomes.read).table
    known = target_values(context.outcomes.target, table).is_valid()
    newest = pc.max(table.column(context.column).filter(known).cast(_TIME, safe=False)).cast(pa.int64()).as_py()
    return None if newest is None else int(newest)


def find_since(latest: Latest, outcomes: Selection, work: Work, units: Sequence[Unit]) -> int | None:
    """The time after which outcomes are judged, microseconds since 1970; None where none is known."""
    context = NewestContext(outcomes=outcomes, column=latest.column)
    found = work.map_units("newest outcomes", newest_in_unit, context, units)
    newest = max((one for one in found if one is not None), default=None)
    return None if newest is None else newest - timedelta(days=latest.days) // _MICROSECOND


def is_later(times: pa.ChunkedArray, since: int | None) -> Known:
    """Which of `times` are after `since`, bool (n_rows,); those that aren't there are not."""
    if since is None:
        return np.zeros(len(times), np.bool_)
    numbers = times.cast(_TIME, safe=False).cast(pa.int64())
    later: Known = pc.fill_null(pc.greater(numbers, since), fill_value=False).to_numpy()
    return later
