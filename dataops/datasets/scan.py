"""The one governed read: the only way from stored rows to anything that computes.

For one unit, in this order:

1. the file must still be the one that was planned (size, time and footer of a source, size of a part);
2. only the columns that are asked for and granted are decoded, with those that filters and contract rules look at;
   dictionaries are
   decoded to plain values, since a dictionary keeps values that no row has any more;
3. the policy's row filters, which may look at columns that the reader may not see;
4. the contract's rules: rows that break one are dropped or quarantined, and counted by rule;
5. masks, which rewrite the values; schema metadata, pandas attributes and indexes never come along;
6. the receipt: ``read = passed + filtered + dropped + quarantined``.

No error, receipt or key ever holds a value of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from dataops.datasets.decode import Source
from dataops.datasets.quarantine import aside_columns, rows_aside
from dataops.datasets.receipt import Receipt
from dataops.datasets.replayed import take_rows, with_carried
from dataops.datasets.units import Unit
from dataops.errors import AccessDenied, Integrity
from dataops.governance.checking import check_rows
from dataops.governance.expressions import Expression, evaluate_predicate, parse_expression
from dataops.governance.keys import derive_key, read_secret
from dataops.governance.masking import Mask, apply_mask


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernedRead:
    """What came out of one unit.

    Attributes
    ----------
    table : the granted columns that were asked for, masked; one row per row that passed.
    positions : int64 (n_rows,): offset of each row of `table` in its file.
    quarantined : rows set aside: position, rule and the columns that rules look at; None where there are none.
        Stewards only.
    receipt : the counts.
    """

    table: pa.Table
    positions: np.ndarray
    quarantined: pa.Table | None
    receipt: Receipt


def read_unit(source: Source, unit: Unit, columns: Sequence[str]) -> GovernedRead:
    """`columns` of `unit`, filtered, checked and masked as `source.effect` and `source.contract` say.

    Raises
    ------
    AccessDenied : a column that the effect doesn't hold; nothing is decoded then.
    Integrity : the file is not the one that was planned, or can't be decoded.
    ContractViolation : a column is missing or can't be read as the contract's type.
    """
    denied = [name for name in columns if name not in source.effect.columns]
    if denied:
        raise AccessDenied(f"dataset '{source.dataset}': the grant doesn't hold {', '.join(denied)}; nothing was read")
    filters = [_expression(text) for text in source.effect.filters]
    looked_at = aside_columns(source.contract)
    needed = {*columns, *looked_at, *(name for one in filters for name in one.columns)}
    taken = take_rows(source, unit, needed)
    if taken.rows != unit.rows:
        raise Integrity(f"{unit.fragment.shown}: {taken.rows} rows in unit {unit.id}, its footer says {unit.rows}")
    raw = taken.table
    allowed = np.flatnonzero(_allowed_rows(raw, filters))
    rows = raw if len(allowed) == raw.num_rows else raw.take(pa.array(allowed))
    offsets = taken.offsets[allowed]
    checked = check_rows(source.contract, rows)
    keep = np.asarray(checked.keep)
    passing = rows if keep.all() else rows.filter(checked.keep)
    aside = rows_aside(source, unit, rows.select(sorted(looked_at)), np.asarray(checked.rule_index), offsets)
    dropped = len(allowed) - passing.num_rows - (0 if aside is None else aside.num_rows)
    quarantined = with_carried(aside, taken.carried, source)
    receipt = Receipt(
        unit=unit.id,
        read=taken.rows,
        passed=passing.num_rows,
        filtered_by_policy=raw.num_rows - len(allowed),
        dropped=dropped,
        quarantined=0 if quarantined is None else quarantined.num_rows,
        broken={rule.id: count for rule, count in zip(source.contract.rules, checked.broken, strict=True) if count},
    )
    return GovernedRead(
        table=_masked(source, passing, columns),
        positions=offsets[keep] + unit.first_row,
        quarantined=quarantined,
        receipt=receipt,
    )


@lru_cache(maxsize=256)
def _expression(text: str) -> Expression:
    return parse_expression(text, where="row filter of the policy")


def _allowed_rows(raw: pa.Table, filters: Sequence[Expression]) -> np.ndarray:
    allowed = np.ones(raw.num_rows, dtype=bool)
    for one in filters:
        allowed &= np.asarray(evaluate_predicate(one, raw))
    return allowed


def _masked(source: Source, rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    masked = {}
    for name in columns:
        mask = source.effect.columns[name]
        values = rows.column(name)
        masked[name] = values if mask is None else apply_mask(mask, values, key=_key(source, mask))
    return pa.table(masked).combine_chunks()


def _key(source: Source, mask: Mask) -> bytes | None:
    if mask.key_id is None or mask.domain is None:
        return None
    return _derived_key(source.keys_folder, mask.key_id, mask.domain, source.purpose)


@lru_cache(maxsize=64)
def _derived_key(folder: str, key_id: str, domain: str, purpose: str) -> bytes:
    return derive_key(read_secret(Path(folder), key_id), domain=domain, purpose=purpose)
