"""What an attempt at one unit leaves behind: a part that nobody overwrites, a record that only one attempt can put.

1. A part's name is unique to the attempt; its bytes hold no time and no attempt, with codec and row groups fixed, so
   equal rows give equal files.
2. The unit's record is put if absent: the first complete attempt wins, whoever else wrote the same unit deletes its
   own file. So zombies, retries and speculative copies are harmless, and a resume needs nothing but the records.
3. A record has a key of what most units haven't (rows that failed, a part of another run) only where a unit has it:
   what is read and written again has the bytes that it had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataops.datasets.error_rows import ERRORS_FOLDER, RULE, rows_by_reason
from dataops.datasets.quarantine import QUARANTINE_FOLDER, rows_by_rule
from dataops.datasets.receipt import Receipt
from dataops.datasets.row_groups import row_groups_of
from dataops.datasets.snapshot import DATASETS_FOLDER, Fragment
from dataops.errors import Integrity, NotFound
from dataops.governance.plain_types import in_order_of_rows
from dataops.records import Record, decode_record, encode_record, new_nonce
from dataops.storage.files import DataFiles, open_files
from dataops.storage.objects import Store, open_store
from dataops.storage.side_by_side import side_by_side

ROWS_PER_GROUP = 131_072
# of a dictionary that is written as it is; Arrow's own ends where one grows larger, and plain text begins
_MOST_VALUES, _MOST_BYTES = 1 << 14, 1 << 19
EXCHANGE_FOLDER = "exchange"
"""Where tasks of a run leave rows for one another, until its output is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRecord:
    """What the winning attempt at a unit left behind: its receipt, its part (None when no row passed), its quarantine
    file.

    Attributes
    ----------
    set_aside : rows of the quarantine file by the rule that set them aside.
    errors : the file that tells which rows came to no score, set aside or failed; None where there are none, and of
        jobs that score nothing.
    failed : rows that broke no rule and failed, by their reason.
    linked : the run that did the unit, in whose folder its files lie; None: the record's own run.
    """

    unit: str
    attempt: str
    receipt: Receipt
    part: Fragment | None
    quarantine: Fragment | None
    summary: Mapping[str, Any]
    set_aside: Mapping[str, int] = field(default_factory=dict)
    errors: Fragment | None = None
    failed: Mapping[str, int] = field(default_factory=dict)
    linked: str | None = None

    def reasons(self) -> dict[str, int]:
        """Rows that came to no part and were meant to, by their reason: ``rule:<id>`` or what they raised."""
        return {**{f"{RULE}{rule}": rows for rule, rows in self.set_aside.items()}, **self.failed}

    def to_bytes(self) -> bytes:
        """The stored record."""
        body: Record = {
            "unit": self.unit,
            "attempt": self.attempt,
            "receipt": self.receipt.record(),
            "part": self.part and self.part.record(),
            "quarantine": self.quarantine and self.quarantine.record(),
            "summary": dict(self.summary),
            "set_aside": dict(self.set_aside),
        }
        if self.errors is not None:
            body["errors"] = self.errors.record()
        if self.failed:
            body["failed"] = dict(self.failed)
        if self.linked is not None:
            body["linked"] = self.linked
        return encode_record("unit", 1, body)

    @classmethod
    def from_bytes(cls, data: bytes) -> UnitRecord:
        """The record stored in `data`."""
        body = decode_record(data, "unit", 1)
        return cls(
            unit=body["unit"],
            attempt=body["attempt"],
            receipt=Receipt.from_record(body["receipt"]),
            part=Fragment.from_record(body["part"]) if body["part"] else None,
            quarantine=Fragment.from_record(body["quarantine"]) if body["quarantine"] else None,
            summary=body["summary"],
            set_aside=body.get("set_aside", {}),
            errors=Fragment.from_record(body["errors"]) if body.get("errors") else None,
            failed=body.get("failed", {}),
            linked=body.get("linked"),
        )


@lru_cache(maxsize=8)
def open_storage(url: str) -> tuple[Store, DataFiles]:
    """Records and data files of the storage at `url`, for `commit_unit`.

    Opened once per process: whoever opens them anew must sync every folder on the way to a part and a record again,
    which takes longer than all else about a small unit.
    """
    return open_store(url), open_files(url)


def run_folder(dataset: str, run: str) -> str:
    """Where a run's parts and records lie, relative to the storage."""
    return f"{DATASETS_FOLDER}/{dataset}/runs/{run}"


def parquet_bytes(table: pa.Table) -> pa.Buffer:
    """`table` as Parquet: zstd, fixed row groups, no schema metadata. Equal rows give equal bytes, whether their text
    comes as a dictionary or plain, and no byte is of a value that no row has.

    Text is written as a dictionary, and without its least and greatest value: these take as long as all the rest, and
    few readers can leave rows out by them. Of numbers and times it is the other way round; whole numbers and times as
    differences, which are smaller, and quicker to compress and to read.
    """
    sink = pa.BufferOutputStream()
    plain = pa.table([_canonical(column) for column in table.columns], names=table.column_names)
    texts = [field.name for field in plain.schema if _is_text(field.type)]
    pq.write_table(
        plain,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=texts,
        column_encoding={field.name: "DELTA_BINARY_PACKED" for field in plain.schema if _is_whole(field.type)},
        write_statistics=[name for name in plain.column_names if name not in texts],
        row_group_size=ROWS_PER_GROUP,
        store_schema=False,
        version="2.6",
        write_page_checksum=True,  # a read only looks at a part's size: damage must not be taken for values
    )
    return sink.getvalue()


def _canonical(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`column` as it is, or of a dictionary a chunk for each row group, as Arrow would encode it there."""
    if not pa.types.is_dictionary(column.type):
        return column
    groups = []
    for start in range(0, len(column), ROWS_PER_GROUP):
        group = in_order_of_rows(column.slice(start, ROWS_PER_GROUP))
        if len(group.dictionary) > _MOST_VALUES or group.dictionary.nbytes > _MOST_BYTES:
            return column.cast(column.type.value_type)
        groups.append(group)
    return pa.chunked_array(groups, pa.dictionary(pa.int32(), column.type.value_type))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind.value_type if pa.types.is_dictionary(kind) else kind))


def _is_whole(kind: pa.DataType) -> bool:
    """Whether Parquet holds values of `kind` as whole numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_temporal(kind)) and not pa.types.is_duration(kind)


def _write(files: DataFiles, path: str, below: str, table: pa.Table) -> Fragment:
    data = parquet_bytes(table)
    metadata = pq.read_metadata(pa.BufferReader(data))
    if metadata.num_rows != table.num_rows:
        raise Integrity(f"{path}: {table.num_rows} rows were given, its footer says {metadata.num_rows}")
    files.write(path, lambda sink: sink.write(data))
    return Fragment(
        path=path.removeprefix(below + "/"),
        size_bytes=data.size,
        digest="sha256:" + hashlib.sha256(data).hexdigest(),
        row_groups=row_groups_of(metadata),
    )


def commit_unit(
    store: Store,
    files: DataFiles,
    *,
    dataset: str,
    run: str,
    input_dataset: str,
    table: pa.Table,
    quarantined: pa.Table | None,
    receipt: Receipt,
    summary: Mapping[str, Any] | None = None,
    errors: pa.Table | None = None,
) -> UnitRecord:
    """The unit's record: ours, or that of the attempt that came first (our files are deleted then).

    Parameters
    ----------
    table : the rows of the part: as many as the receipt says were written.
    quarantined : rows set aside, written below the steward's prefix of `input_dataset`.
    summary : small JSON figures to keep with the unit (score histogram and the like).
    errors : the error rows (`error_rows`) of a job that scores: one per row that was quarantined or failed.
    """
    failed = {reason: rows for reason, rows in rows_by_reason(errors).items() if not reason.startswith(RULE)}
    _require_accounted(receipt, table, quarantined, errors, sum(failed.values()))
    key = unit_key(dataset, run, receipt.unit)
    earlier = _earlier(store, key)
    if earlier is not None:
        return earlier
    attempt = new_nonce()
    home = f"{DATASETS_FOLDER}/{dataset}"
    part_path = f"{run_folder(dataset, run)}/data/part-{receipt.unit}-{attempt}.parquet"
    aside_path = f"{QUARANTINE_FOLDER}/{input_dataset}/{run}/part-{receipt.unit}-{attempt}.parquet"
    errors_path = f"{run_folder(dataset, run)}/{ERRORS_FOLDER}/errors-{receipt.unit}-{attempt}.parquet"
    part = _write(files, part_path, home, table) if table.num_rows else None
    aside = None if quarantined is None else _write(files, aside_path, QUARANTINE_FOLDER, quarantined)
    told = None if errors is None else _write(files, errors_path, home, errors)
    mine = UnitRecord(
        unit=receipt.unit,
        attempt=attempt,
        receipt=receipt,
        part=part,
        quarantine=aside,
        summary=summary or {},
        set_aside=rows_by_rule(quarantined),
        errors=told,
        failed=failed,
    )
    if store.put_if_absent(key, mine.to_bytes()):
        return mine
    for path, written in ((part_path, part), (aside_path, aside), (errors_path, told)):
        if written is not None:
            files.delete(path)
    return UnitRecord.from_bytes(store.get(key))


def _require_accounted(
    receipt: Receipt, table: pa.Table, quarantined: pa.Table | None, errors: pa.Table | None, failed: int
) -> None:
    """Nothing, if what is to be written is what the receipt counts."""
    for rows, what, expected, word in (
        (table.num_rows, "write", receipt.written, "written"),
        (0 if quarantined is None else quarantined.num_rows, "set aside", receipt.quarantined, "quarantined"),
        (failed, "tell of as failed", receipt.failed, "failed"),
    ):
        if rows != expected:
            raise Integrity(f"unit {receipt.unit}: {rows} rows to {what}, its receipt says {expected} {word}")
    if errors is not None and errors.num_rows != receipt.quarantined + receipt.failed:
        raise Integrity(
            f"unit {receipt.unit}: {errors.num_rows} error rows, its receipt says {receipt.quarantined} quarantined "
            f"and {receipt.failed} failed"
        )


def _earlier(store: Store, key: str) -> UnitRecord | None:
    try:
        return UnitRecord.from_bytes(store.get(key))
    except NotFound:
        return None


def unit_key(dataset: str, run: str, unit: str) -> str:
    """The key of a unit's record."""
    return f"{run_folder(dataset, run)}/units/{unit}.json"


def committed_units(
    store: Store, dataset: str, run: str, *, known: Mapping[str, UnitRecord] | None = None
) -> dict[str, UnitRecord]:
    """The records of the units that are done, by unit; none of those that are `known` is read again."""
    found = dict(known or {})
    known_keys = {unit_key(dataset, run, unit) for unit in found}
    keys = [key for key in store.list(f"{run_folder(dataset, run)}/units") if key not in known_keys]
    records = side_by_side(lambda key: UnitRecord.from_bytes(store.get(key)), keys)
    return found | {record.unit: record for record in records}
