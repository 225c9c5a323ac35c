"""The one governed read: the only way from stored rows to anything that computes.

For one unit, in this order:

0. the grant must hold the columns and not have ended; a dataset that had to be surveyed must have been;
1. the file must still be the one that was planned (size, time and footer of a source, size of a part);
2. only the columns that are asked for and granted are decoded, with those that filters and contract rules look at;
   dictionaries are decoded to plain values, or rid of those that no row has any more;
3. the policy's row filters, which may look at columns that the reader may not see;
4. the contract's rules, with what a survey of the whole dataset says of repeated keys: rows that break one are dropped
   or quarantined, once, and counted by every rule that they break;
5. masks, which rewrite the values; schema metadata, pandas attributes and indexes never come along;
6. the receipt: ``read = passed + filtered + dropped + quarantined``; rows that fail do so later, where they are scored.

No error, receipt or key ever holds a value of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from dataops.datasets.allowed import AllowedRows, read_allowed
from dataops.datasets.places import Places
from dataops.datasets.quarantine import QUARANTINE_ROW, aside_columns, rows_aside
from dataops.datasets.reading import Source
from dataops.datasets.receipt import Receipt
from dataops.datasets.replayed import with_carried
from dataops.datasets.survey import Surveyed, keys_of, require_survey
from dataops.datasets.units import Unit
from dataops.errors import AccessDenied
from dataops.governance.checking import check_rows
from dataops.governance.keys import derive_key, read_secret
from dataops.governance.masking import Mask, MaskKind, apply_mask, plain_column
from dataops.governance.plain_types import rows_at, without_strays


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernedRead:
    """What came out of one unit.

    Attributes
    ----------
    table : the granted columns that were asked for, masked; one row per row that passed.
    places : where each row of `table` stands in its file.
    quarantined : rows set aside: position, rule and the columns that rules look at; None where there are none.
        Stewards only.
    receipt : the counts.
    keys_aside : the columns that were asked for of rows set aside, masked; one row per row of `quarantined` that was
        read now, in its order.
    """

    table: pa.Table
    places: Places
    quarantined: pa.Table | None
    receipt: Receipt
    keys_aside: pa.Table


def read_unit(
    source: Source, unit: Unit, columns: Sequence[str], *, keys: Sequence[str] = (), encoded: bool = False
) -> GovernedRead:
    """`columns` of `unit`, filtered, checked and masked as `source.effect` and `source.contract` say.

    Parameters
    ----------
    keys : those of `columns` by which rows that are set aside are told.
    encoded : text that the file holds as a dictionary may stay one, of the values that the rows which pass have.

    Raises
    ------
    AccessDenied : a column that the effect doesn't hold, or a grant that has ended; nothing is decoded then.
    Integrity : the file is not the one that was planned, or can't be decoded; or the dataset should have been surveyed
        and wasn't.
    ContractViolation : a column is missing or can't be read as the contract's type.
    """
    _require_granted(source, (*columns, *keys))
    survey = require_survey(source)
    looked_at = aside_columns(source.contract)
    rows = read_allowed(source, unit, {*columns, *looked_at}, encoded=True)
    repeats = {} if survey is None else _repeats(survey, source, unit, rows.places.in_file())
    checked = check_rows(source.contract, rows.table, repeats=repeats)
    passing, places, aside = rows.table, rows.places, None
    if len(bad := np.flatnonzero(checked.rule_index >= 0)):
        keep = np.flatnonzero(checked.keep)
        passing, places = rows_at(rows.table, keep), rows.places.take(keep)
        aside = rows_aside(
            source,
            unit,
            rows.table.select(sorted(looked_at)).take(pa.array(bad)),
            checked.rule_index[bad],
            rows.places.take(bad).in_file(),
            key=rows.key,
        )
    quarantined = with_carried(aside, rows.carried, source)
    receipt = Receipt(
        unit=unit.id,
        read=rows.read,
        passed=passing.num_rows,
        filtered_by_policy=rows.filtered,
        dropped=rows.table.num_rows - passing.num_rows - (0 if aside is None else aside.num_rows),
        quarantined=0 if quarantined is None else quarantined.num_rows,
        broken={rule.id: count for rule, count in zip(source.contract.rules, checked.broken, strict=True) if count},
    )
    return GovernedRead(
        table=_masked(source, passing, columns, survey, encoded=encoded),
        places=places,
        quarantined=quarantined,
        receipt=receipt,
        keys_aside=_keys_aside(source, rows, bad, aside, keys, survey),
    )


def _keys_aside(
    source: Source,
    rows: AllowedRows,
    bad: np.ndarray,
    aside: pa.Table | None,
    keys: Sequence[str],
    survey: Surveyed | None,
) -> pa.Table:
    if aside is None or not keys:
        return pa.table({})
    positions = rows.places.take(bad).in_file()
    kept = bad[np.isin(positions, aside.column(QUARANTINE_ROW).to_numpy())]  # the others were dropped
    return _masked(source, rows.table.take(pa.array(kept)), keys, survey)


def _require_granted(source: Source, columns: Sequence[str]) -> None:
    """Nothing, if the grant holds all `columns`."""
    denied = [name for name in columns if name not in source.effect.columns]
    if denied:
        raise AccessDenied(f"dataset '{source.dataset}': the grant doesn't hold {', '.join(denied)}; nothing was read")


def _repeats(survey: Surveyed, source: Source, unit: Unit, positions: np.ndarray) -> dict[int, np.ndarray]:
    """For each rule that asks for unique rows, boolean (n_rows,): which of the rows at `positions` repeat a key."""
    keys = keys_of(source.contract)
    repeats = {columns: survey.repeats(unit.fragment, columns) for columns in set(keys.values())}
    return {place: np.isin(positions, repeats[columns]) for place, columns in keys.items()}


def _masked(
    source: Source, rows: pa.Table, columns: Sequence[str], survey: Surveyed | None, *, encoded: bool = False
) -> pa.Table:
    masked = {}
    for name in columns:
        mask = source.effect.columns[name]
        values = rows.column(name)
        if mask is not None:
            masked[name] = _masked_column(source, name, mask, values, survey, encoded=encoded)
        elif encoded and pa.types.is_dictionary(values.type):
            # a dictionary that comes this far still holds values of rows that were filtered out
            masked[name] = without_strays(values)
        else:
            masked[name] = plain_column(values)
    return pa.table(masked).combine_chunks()


def _masked_column(
    source: Source, name: str, mask: Mask, values: pa.ChunkedArray, survey: Surveyed | None, *, encoded: bool
) -> pa.ChunkedArray:
    if mask.kind is MaskKind.RARE and survey is not None:
        frequent = survey.frequent(name, mask.min_count or 0)
        return apply_mask(mask, values, key=survey.key, frequent=frequent, encoded=encoded)
    return apply_mask(mask, values, key=_key(source, mask), encoded=encoded)


def _key(source: Source, mask: Mask) -> bytes | None:
    if mask.key_id is None or mask.domain is None:
        return None
    return _derived_key(source.keys_folder, mask.key_id, mask.domain, source.purpose)


@lru_cache(maxsize=64)
def _derived_key(folder: str, key_id: str, domain: str, purpose: str) -> bytes:
    return derive_key(read_secret(Path(folder), key_id), domain=domain, purpose=purpose)
