"""Rows that no model can score: what fails together is parted until each row that fails stands alone.

1. A row's outcome depends on that row alone. So what fails over many rows is tried over fewer, and a row that fails
   alone has failed; all others are scored as if it had not been there.
2. Only what rows can cause is tried so. What fails over no row at all is a fault of the model, and what a disk, a
   memory, a policy or a record has to say is none of the rows': all of that fails the unit.
3. A reason is the name of the exception's class. Its message may quote the row, and goes nowhere.
4. Nobody parts rows for longer than it matters: where more have failed than the whole run may set aside, the unit says
   so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.errors import AccessDenied, Compute, Conflict, ContractViolation, Format, Integrity, NotFound, Storage

T = TypeVar("T")
Reasons = Mapping[int, str]
Attempt = Callable[[int, int], str | None]
"""Why the rows from start to stop (exclusive) fail together; None: they don't."""

NEVER_ROWS = (
    AccessDenied,
    Compute,
    Conflict,
    ContractViolation,  # a model that gives more or fewer scores than rows
    Format,
    Integrity,
    NotFound,
    Storage,
    OSError,
    MemoryError,
)
NO_ROW: Reasons = MappingProxyType({})


class TooManyFailed(Exception):
    """More rows `failed` than the whole run may set aside; there may be more of them."""

    def __init__(self, failed: Reasons) -> None:
        super().__init__(f"{len(failed)} rows")
        self.failed = failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried(Generic[T]):
    """What came of some rows, and which of them (by their offset) came to nothing, with the reason."""

    result: T
    failed: Reasons


def failing_rows(attempt: Attempt, rows: int, *, ways: int = 2, most: int | None = None) -> dict[int, str]:
    """Each of `rows` rows that fails alone, with its reason.

    Parameters
    ----------
    ways : parts into which rows that fail together are cut.
    most : no more than one row above this is looked for; None: all are.
    """
    found: dict[int, str] = {}
    waiting = [(0, rows)]
    while waiting and (most is None or len(found) <= most):
        start, stop = waiting.pop()
        reason = attempt(start, stop) if start < stop else None
        if reason is None:
            continue
        if stop - start == 1:
            found[start] = reason
        else:
            waiting += reversed(_parts(start, stop, ways))
    return found


def _parts(start: int, stop: int, ways: int) -> list[tuple[int, int]]:
    edges = np.linspace(start, stop, min(ways, stop - start) + 1).round().astype(int).tolist()
    return list(pairwise(edges))


def try_rows(
    score: Callable[[pa.Table], T], table: pa.Table, *, killers: Reasons = NO_ROW, most: int | None = None
) -> Tried[T]:
    """What `score` makes of the rows of `table` that don't fail, and those that do.

    Parameters
    ----------
    killers : rows that are known to kill the process that scores them, with the reason: they are left out.
    most : rows that may fail.

    Raises
    ------
    TooManyFailed : more do.
    Exception : what `score` raised, if no row alone is to blame.
    """
    _require_few(killers, most)
    rest = table.take(pa.array(_others(table.num_rows, killers))) if killers else table
    try:
        return Tried(result=score(rest), failed=killers)
    except NEVER_ROWS:
        raise
    except Exception:  # whatever a program or a predictor raises: rows may be the cause
        if not rest.num_rows or _reason(score, rest.slice(0, 0)) is not None:
            raise
        left = None if most is None else most - len(killers)
        found = failing_rows(lambda start, stop: _reason(score, rest.slice(start, stop - start)), len(rest), most=left)
        if not found:
            raise
    places = _others(table.num_rows, killers)
    failed = {**killers, **{int(places[row]): reason for row, reason in found.items()}}
    _require_few(failed, most)
    kept = _others(rest.num_rows, found)
    return Tried(result=score(rest.take(pa.array(kept))), failed=failed)


def _others(rows: int, left_out: Reasons) -> npt.NDArray[np.intp]:
    """The offsets of all of `rows` rows but those `left_out`."""
    kept = np.ones(rows, np.bool_)
    kept[list(left_out)] = False
    return np.flatnonzero(kept)


def _require_few(failed: Reasons, most: int | None) -> None:
    if most is not None and len(failed) > most:
        raise TooManyFailed(failed)


def _reason(score: Callable[[pa.Table], T], rows: pa.Table) -> str | None:
    """Why `score` fails over `rows`; None: it doesn't."""
    try:
        score(rows)
    except NEVER_ROWS:
        raise
    except Exception as error:  # noqa: BLE001  # its class is all that is told of it
        return type(error).__name__
    return None
