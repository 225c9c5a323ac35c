"""Rows that the policy's row filters let through: what contract rules, surveys and masks work on.

1. A filter may look at columns that the reader may not see; they are decoded for it alone. Row groups of which the
   footer tells that no row can pass aren't decoded at all; their rows are counted as filtered.
2. Nothing is read once the grant has ended: every way to rows, also a survey's, leads through here.
3. A unit without exactly the rows of its footer is refused: rows would be lost or read twice unseen.
4. Text that is no UTF-8 is refused where a row that is let through has it; other rows keep nobody from reading.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dataops.datasets.places import Places
from dataops.datasets.reading import Source
from dataops.datasets.replayed import TakenRows, take_rows
from dataops.datasets.units import Unit
from dataops.errors import AccessDenied, ContractViolation, Integrity
from dataops.governance.expressions import Expression, evaluate_predicate
from dataops.governance.plain_types import plain_type, rows_at, without_strays
from dataops.records import now_utc, parse_time


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedRows:
    """What the row filters let through of one unit.

    Attributes
    ----------
    table : unmasked, in the contract's types, one row per row let through.
    places : where each of them stands in its file, rising.
    read, filtered : rows to account for, and how many of them the filters kept back.
    key : the primary key by which rows that are set aside may be found again, see `replayed`.
    carried : of a replay: rows of the quarantine file that stay there, see `replayed`.
    """

    table: pa.Table
    places: Places
    read: int
    filtered: int
    key: str | None = None
    carried: pa.Table | None = None


def read_allowed(source: Source, unit: Unit, names: Collection[str], *, encoded: bool = False) -> AllowedRows:
    """The columns `names` of the rows of `unit` that pass the filters of `source.effect`; `encoded`: as for
    `decode_unit`.

    Raises
    ------
    AccessDenied : the grant has ended; nothing is decoded then.
    Integrity : the file is not the one that was planned, or can't be decoded.
    ContractViolation : a column is missing or can't be read as the contract's type.
    """
    require_unexpired(source)
    filters = source.filters
    looked_at = {*names, *(name for one in filters for name in one.columns)}
    taken = take_rows(source, unit, looked_at, encoded=encoded, filters=filters)
    if taken.rows != unit.rows:
        raise Integrity(f"{unit.fragment.shown}: {taken.rows} rows in unit {unit.id}, its footer says {unit.rows}")
    raw = taken.table
    if not filters:
        return _let_through(source, raw, taken, unit)
    allowed = np.flatnonzero(_allowed(raw, filters))
    if len(allowed) == raw.num_rows:
        return _let_through(source, raw, taken, unit)
    return _let_through(source, rows_at(raw, allowed), taken, unit, places=taken.places.take(allowed))


def _let_through(
    source: Source, rows: pa.Table, taken: TakenRows, unit: Unit, *, places: Places | None = None
) -> AllowedRows:
    """`rows` of what was `taken`, all of it unless `places` says which."""
    _require_text(source, unit, rows)
    return AllowedRows(
        table=rows,
        places=taken.places if places is None else places,
        read=taken.rows,
        filtered=taken.table.num_rows - rows.num_rows + taken.skipped,
        key=taken.key,
        carried=taken.carried,
    )


def require_unexpired(source: Source) -> None:
    """Nothing, while the grant holds; looked at anew for each unit, as runs and surveys may be long."""
    if source.expires_at is not None and now_utc() >= parse_time(source.expires_at):
        raise AccessDenied(
            f"dataset '{source.dataset}': what was granted ended at {source.expires_at}; a policy must allow it anew"
        )


def _require_text(source: Source, unit: Unit, table: pa.Table) -> None:
    """Nothing, if all text is text: Arrow reads the bytes of a page as they are."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            _validate(column)
        except pa.ArrowInvalid:  # its text may hold the value
            raise ContractViolation(
                f"dataset '{source.dataset}': column '{name}' of {unit.fragment.shown} holds values that are no "
                f"{plain_type(column.type)}, which its contract asks for (unit {unit.id}): "
                "damaged, or of another encoding"
            ) from None


def _validate(column: pa.ChunkedArray) -> None:
    if not pa.types.is_dictionary(column.type):
        column.validate(full=True)
        return
    try:
        for chunk in column.chunks:
            chunk.dictionary.validate(full=True)
    except pa.ArrowInvalid:  # of a row that wasn't let through, maybe
        without_strays(column).chunk(0).dictionary.validate(full=True)


def _allowed(raw: pa.Table, filters: Sequence[Expression]) -> np.ndarray:
    allowed = np.ones(raw.num_rows, dtype=bool)
    for one in filters:
        allowed &= np.asarray(evaluate_predicate(one, raw))
    return allowed
