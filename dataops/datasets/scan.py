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

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataops.datasets.snapshot import Fragment
from dataops.datasets.source import HIVE_NULL, footer_digest
from dataops.datasets.units import Unit
from dataops.errors import AccessDenied, ContractViolation, Integrity, NotFound, Storage
from dataops.governance.checking import check_rows, columns_of_rules
from dataops.governance.column_types import casts_losslessly
from dataops.governance.contract import Action, Column, Contract
from dataops.governance.expressions import Expression, evaluate_predicate, parse_expression
from dataops.governance.grant import Effect
from dataops.governance.keys import derive_key, read_secret
from dataops.governance.masking import Mask, apply_mask
from dataops.records import Record, digest
from dataops.storage.files import open_files

QUARANTINE_REASON = "quarantine_rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All that a worker needs to read a dataset under a grant; holds the folder of the keys, never a key."""

    dataset: str
    url: str
    contract: Contract
    effect: Effect
    purpose: str
    keys_folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of the rows of one unit. `broken` counts rows by contract rule (a row may break several)."""

    unit: str
    read: int
    passed: int
    filtered_by_policy: int = 0
    filtered_by_job: int = 0
    dropped: int = 0
    quarantined: int = 0
    broken: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        accounted = self.passed + self.filtered_by_policy + self.filtered_by_job + self.dropped + self.quarantined
        if accounted != self.read:
            raise Integrity(f"unit {self.unit}: {self.read} rows were read but {accounted} are accounted for")

    def with_filtered_by_job(self, rows: int) -> Receipt:
        """The receipt after the job's own conditions set aside `rows` of the rows that had passed."""
        return replace(self, passed=self.passed - rows, filtered_by_job=self.filtered_by_job + rows)

    def record(self) -> Record:
        """JSON types; `from_record` reads them."""
        return {
            "unit": self.unit,
            "read": self.read,
            "passed": self.passed,
            "filtered_by_policy": self.filtered_by_policy,
            "filtered_by_job": self.filtered_by_job,
            "dropped": self.dropped,
            "quarantined": self.quarantined,
            "broken": dict(sorted(self.broken.items())),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Receipt:
        """The receipt that `record` was made from.

        Raises
        ------
        Integrity : its rows don't add up.
        """
        return cls(**record)

    @property
    def digest(self) -> str:
        """Digest of the record: a leaf of the run's Merkle root."""
        return digest(self.record())


COUNTED = ("read", "passed", "filtered_by_policy", "filtered_by_job", "dropped", "quarantined")


def merge_receipts(receipts: Sequence[Receipt]) -> dict[str, int]:
    """Row counts of all `receipts` together, by the names in `COUNTED`, and ``broken:<rule>`` for each rule that was
    broken.
    """
    totals = {name: sum(getattr(receipt, name) for receipt in receipts) for name in COUNTED}
    for rule in sorted({rule for receipt in receipts for rule in receipt.broken}):
        totals[f"broken:{rule}"] = sum(receipt.broken.get(rule, 0) for receipt in receipts)
    return totals


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
    looked_at = columns_of_rules(source.contract)
    needed = {*columns, *looked_at, *(name for one in filters for name in one.columns)}
    raw = _decode(source, unit, needed)
    if raw.num_rows != unit.rows:
        raise Integrity(f"{unit.fragment.shown}: {raw.num_rows} rows in unit {unit.id}, its footer says {unit.rows}")
    allowed = _allowed_rows(raw, filters)
    positions = np.flatnonzero(allowed)
    rows = raw if len(positions) == raw.num_rows else raw.take(pa.array(positions))
    checked = check_rows(source.contract, rows)
    keep = np.asarray(checked.keep)
    passing = rows if keep.all() else rows.filter(checked.keep)
    quarantined = _quarantined(source, unit, rows.select(sorted(looked_at)), np.asarray(checked.rule_index), positions)
    n_quarantined = 0 if quarantined is None else quarantined.num_rows
    receipt = Receipt(
        unit=unit.id,
        read=raw.num_rows,
        passed=passing.num_rows,
        filtered_by_policy=raw.num_rows - len(positions),
        dropped=len(positions) - passing.num_rows - n_quarantined,
        quarantined=n_quarantined,
        broken={rule.id: count for rule, count in zip(source.contract.rules, checked.broken, strict=True) if count},
    )
    return GovernedRead(
        table=_masked(source, passing, columns),
        positions=positions[keep] + unit.first_row,
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


def _decode(source: Source, unit: Unit, names: Collection[str]) -> pa.Table:
    """The columns `names` of `unit` in the contract's types, without metadata."""
    partition = dict(unit.fragment.partition)
    stored = sorted(name for name in names if name not in partition)
    read = _read_row_groups(source, unit, stored)
    arrays, fields = [], []
    for column in source.contract.columns:
        if column.name not in names:
            continue
        if column.name in partition:
            value = None if partition[column.name] == HIVE_NULL else partition[column.name]
            values = pa.chunked_array([pa.array([value] * unit.rows, pa.string())])
        elif column.name in read.column_names:
            values = read.column(column.name)
            if unit.fragment.modified_ns is not None:  # our own parts hold what Parquet makes of the column's type
                _require_lossless(source, unit, column, values.type)
        else:
            raise ContractViolation(
                f"dataset '{source.dataset}': {unit.fragment.shown} lacks the column '{column.name}', "
                "which its contract lists"
            )
        arrays.append(_cast(source, unit, column.name, values, column.type))
        fields.append(pa.field(column.name, column.type))
    return pa.table(arrays, schema=pa.schema(fields))


def _require_lossless(source: Source, unit: Unit, column: Column, stored: pa.DataType) -> None:
    if not casts_losslessly(stored, column.type):
        raise ContractViolation(
            f"dataset '{source.dataset}': column '{column.name}' of {unit.fragment.shown} is {stored}, which doesn't "
            f"fit into {column.type}, as its contract asks for, without loss"
        )


def _cast(source: Source, unit: Unit, name: str, values: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if values.type == wanted:
        return values
    try:
        return values.cast(wanted)
    except pa.ArrowException:  # its text holds the value that could not be cast
        raise ContractViolation(
            f"dataset '{source.dataset}': column '{name}' of {unit.fragment.shown} is {values.type} and holds values "
            f"that are no {wanted}, which its contract asks for"
        ) from None


def _read_row_groups(source: Source, unit: Unit, names: list[str]) -> pa.Table:
    fragment, files = unit.fragment, open_files(source.url)
    _require_unchanged(source, fragment)
    try:
        with files.open(fragment.path) as opened:
            if fragment.modified_ns is not None and footer_digest(opened, fragment.path) != fragment.digest:
                raise _changed(source, fragment)  # replaced with its size and time kept, or since we looked
            parquet = pq.ParquetFile(opened, page_checksum_verification=True)
            present = [name for name in names if name in parquet.schema_arrow.names]
            groups = list(range(unit.start_group, unit.stop_group))
            return parquet.read_row_groups(groups, columns=present, use_threads=False)
    except NotFound:
        raise _changed(source, fragment) from None
    except Storage:  # may pass: to be tried again
        raise
    except (pa.ArrowException, OSError, UnicodeError) as error:  # the last from names in a damaged footer
        if errno := getattr(error, "errno", None):  # the disk's word; Arrow's own findings have no number
            raise Storage(f"dataset '{source.dataset}': reading {fragment.shown} failed, errno {errno}") from None
        raise Integrity(
            f"dataset '{source.dataset}': {fragment.shown} can't be decoded ({type(error).__name__} in unit {unit.id})"
        ) from None


def _require_unchanged(source: Source, fragment: Fragment) -> None:
    try:
        stat = open_files(source.url).stat(fragment.path)
    except NotFound:
        raise _changed(source, fragment) from None
    modified = stat.mtime_ns if fragment.modified_ns is None else fragment.modified_ns
    if (stat.size_bytes, stat.mtime_ns) != (fragment.size_bytes, modified):
        raise _changed(source, fragment)


def _changed(source: Source, fragment: Fragment) -> Integrity:
    return Integrity(
        f"dataset '{source.dataset}': {fragment.shown} changed or went away after the run was planned; "
        "start a new run to take the data as it is now"
    )


def _quarantined(
    source: Source, unit: Unit, looked_at: pa.Table, rule_index: np.ndarray, positions: np.ndarray
) -> pa.Table | None:
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
