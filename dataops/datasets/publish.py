"""The one commit: parts that nobody overwrites, a record per unit that only one attempt can put, one manifest, one
snapshot.

1. A part's name is unique to the attempt; its bytes hold no time and no attempt, with codec and row groups fixed, so
   equal rows
   give equal files.
2. The unit's record is put if absent: the first complete attempt wins, whoever else wrote the same unit deletes its
   own file.
   So zombies, retries and speculative copies are harmless, and a resume needs nothing but the records.
3. The manifest is made from the winners alone, after their receipts were added up and compared with the plan.
4. Until the snapshot names the manifest, no reader sees any of it.
5. A replay publishes like any run, as one more manifest. One that frees no row of quarantine publishes nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataops.datasets.access import GovernedInput
from dataops.datasets.quarantine import QUARANTINE_FOLDER, rows_by_rule
from dataops.datasets.receipt import Receipt, merge_receipts
from dataops.datasets.snapshot import (
    DATASETS_FOLDER,
    Fragment,
    Manifest,
    RowGroup,
    Snapshot,
    manifest_key,
    publish_snapshot,
    read_snapshot,
    snapshot_journal,
)
from dataops.datasets.units import Unit
from dataops.errors import ContractViolation, Integrity, NotFound
from dataops.governance.checking import over_threshold
from dataops.governance.contract import Column
from dataops.records import decode_record, digest_bytes, encode_record, format_time, merkle_root, new_nonce, now_utc
from dataops.storage.files import DataFiles
from dataops.storage.objects import Store

ROWS_PER_GROUP = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRecord:
    """What the winning attempt at a unit left behind: its receipt, its part (None when no row passed), its quarantine
    file; `set_aside` counts the rows of that file by the rule that set them aside.
    """

    unit: str
    attempt: str
    receipt: Receipt
    part: Fragment | None
    quarantine: Fragment | None
    summary: Mapping[str, Any]
    set_aside: Mapping[str, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The stored record."""
        body = {
            "unit": self.unit,
            "attempt": self.attempt,
            "receipt": self.receipt.record(),
            "part": self.part and self.part.record(),
            "quarantine": self.quarantine and self.quarantine.record(),
            "summary": dict(self.summary),
            "set_aside": dict(self.set_aside),
        }
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
        )


def run_folder(dataset: str, run: str) -> str:
    """Where a run's parts and records lie, relative to the storage."""
    return f"{DATASETS_FOLDER}/{dataset}/runs/{run}"


def parquet_bytes(table: pa.Table) -> pa.Buffer:
    """`table` as Parquet: zstd, fixed row groups, no schema metadata, so that equal rows give equal bytes."""
    sink = pa.BufferOutputStream()
    plain = table.replace_schema_metadata(None)
    pq.write_table(
        plain,
        sink,
        compression="zstd",
        row_group_size=ROWS_PER_GROUP,
        store_schema=False,
        version="2.6",
        write_page_checksum=True,  # a read only looks at a part's size: damage must not be taken for values
    )
    return sink.getvalue()


def _write(files: DataFiles, path: str, below: str, table: pa.Table) -> Fragment:
    data = parquet_bytes(table)
    metadata = pq.read_metadata(pa.BufferReader(data))
    if metadata.num_rows != table.num_rows:
        raise Integrity(f"{path}: {table.num_rows} rows were given, its footer says {metadata.num_rows}")
    files.write(path, lambda sink: sink.write(data))
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    return Fragment(
        path=path.removeprefix(below + "/"),
        size_bytes=data.size,
        digest="sha256:" + hashlib.sha256(data).hexdigest(),
        row_groups=tuple(RowGroup(rows=group.num_rows, size_bytes=group.total_byte_size) for group in groups),
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
) -> UnitRecord:
    """The unit's record: ours, or that of the attempt that came first (our files are deleted then).

    Parameters
    ----------
    table : the rows of the part; one per passed row.
    quarantined : rows set aside, written below the steward's prefix of `input_dataset`.
    summary : small JSON figures to keep with the unit (score histogram and the like).
    """
    if table.num_rows != receipt.passed:
        raise Integrity(
            f"unit {receipt.unit}: {table.num_rows} rows to write, its receipt says {receipt.passed} passed"
        )
    n_aside = 0 if quarantined is None else quarantined.num_rows
    if n_aside != receipt.quarantined:
        raise Integrity(
            f"unit {receipt.unit}: {n_aside} rows to set aside, its receipt says {receipt.quarantined} quarantined"
        )
    key = unit_key(dataset, run, receipt.unit)
    earlier = _earlier(store, key)
    if earlier is not None:
        return earlier
    attempt = new_nonce()
    home = f"{DATASETS_FOLDER}/{dataset}"
    part_path = f"{run_folder(dataset, run)}/data/part-{receipt.unit}-{attempt}.parquet"
    aside_path = f"{QUARANTINE_FOLDER}/{input_dataset}/{run}/part-{receipt.unit}-{attempt}.parquet"
    part = _write(files, part_path, home, table) if table.num_rows else None
    aside = None if quarantined is None else _write(files, aside_path, QUARANTINE_FOLDER, quarantined)
    mine = UnitRecord(
        unit=receipt.unit,
        attempt=attempt,
        receipt=receipt,
        part=part,
        quarantine=aside,
        summary=summary or {},
        set_aside=rows_by_rule(quarantined),
    )
    if store.put_if_absent(key, mine.to_bytes()):
        return mine
    for path, written in ((part_path, part), (aside_path, aside)):
        if written is not None:
            files.delete(path)
    return UnitRecord.from_bytes(store.get(key))


def _earlier(store: Store, key: str) -> UnitRecord | None:
    try:
        return UnitRecord.from_bytes(store.get(key))
    except NotFound:
        return None


def unit_key(dataset: str, run: str, unit: str) -> str:
    """The key of a unit's record."""
    return f"{run_folder(dataset, run)}/units/{unit}.json"


def committed_units(store: Store, dataset: str, run: str) -> dict[str, UnitRecord]:
    """The records of the units that are done, by unit."""
    keys = store.list(f"{run_folder(dataset, run)}/units")
    records = (UnitRecord.from_bytes(store.get(key)) for key in keys)
    return {record.unit: record for record in records}


def require_within_thresholds(given: GovernedInput, records: Iterable[UnitRecord]) -> None:
    """Nothing, unless the units of `given` together break a rule of its contract more often than it allows.

    Of a replay no share can be judged, since all its rows broke a rule once: only a rule that no row may break counts.
    """
    contract = given.dataset.contract
    if any(unit.aside is not None for unit in given.units):
        strict = (replace(rule, max_rows=None, max_percent=None) for rule in contract.rules)
        contract = replace(contract, rules=tuple(strict))
    receipts = [record.receipt for record in records]
    broken = [sum(receipt.broken.get(rule.id, 0) for receipt in receipts) for rule in contract.rules]
    checked = sum(receipt.read - receipt.filtered_by_policy for receipt in receipts)
    findings = over_threshold(contract, broken, checked)
    if findings:
        listed = "\n  ".join(findings)
        raise ContractViolation(
            f"dataset '{given.dataset.name}' breaks its contract; nothing was published. Mend the data, or change what "
            f"the contract allows:\n  {listed}"
        )


def publish(
    store: Store,
    *,
    dataset: str,
    run: str,
    zone: str,
    columns: Sequence[Column],
    units: Sequence[Unit],
    records: Mapping[str, UnitRecord],
    lineage: Mapping[str, Any],
    replay_of: str | None = None,
) -> tuple[Manifest, Snapshot]:
    """The run's manifest and the snapshot that makes it visible; both exist once, however often this is called, and
    however many other runs were published in between.

    Parameters
    ----------
    replay_of : the run whose quarantine the units took. Where none of its rows left quarantine, nothing is published:
        the snapshot is the newest, and the manifest isn't part of it.

    Raises
    ------
    Integrity : a unit of the plan without a record, or receipts that don't add up to the plan's rows.
    Conflict : that quarantine was replayed by another run, or is that of a run whose place a newer one took.
    """
    missing = [unit.id for unit in units if unit.id not in records]
    if missing:
        raise Integrity(
            f"run {run}: {len(missing)} of {len(units)} units have no record, {missing[0]} first; resume it"
        )
    done = [records[unit.id] for unit in units]
    counts = merge_receipts([record.receipt for record in done])
    planned = sum(unit.rows for unit in units)
    if counts["read"] != planned:
        raise Integrity(f"run {run}: {planned} rows were planned, {counts['read']} read")
    newest = snapshot_journal(store, dataset).tail()
    manifest = Manifest(
        dataset=dataset,
        run=run,
        zone=zone,
        columns=tuple(columns),
        fragments=tuple(record.part for record in done if record.part is not None),
        counts=counts,
        receipts_root=merkle_root(record.receipt.digest for record in done),
        lineage={**lineage, "replay_of": replay_of} if replay_of else lineage,
        created_at=format_time(now_utc()),
        units={record.unit: digest_bytes(record.to_bytes()) for record in done},
        set_aside=merge_set_aside(done),
        after=newest.number if newest else 0,
    )
    if manifest.rows != counts["passed"]:
        raise Integrity(f"run {run}: {counts['passed']} rows passed, {manifest.rows} lie in its parts")
    if replay_of and counts["quarantined"] == counts["read"]:
        return manifest, _newest(store, dataset)
    # the one that was put first says from where on snapshots may name it: an attempt that died may have come to its
    # end, and publishing again would put it in front of what came after it
    first = _put_once(store, manifest)
    return first, publish_snapshot(store, first)


def _newest(store: Store, dataset: str) -> Snapshot:
    snapshot = read_snapshot(store, dataset)
    if snapshot is None:
        raise Integrity(f"dataset '{dataset}' has no snapshot, though a run of it was to be replayed")
    return snapshot


def merge_set_aside(records: Iterable[UnitRecord]) -> dict[str, int]:
    """Rows that `records` together set aside, by the rule that did."""
    rules: Counter[str] = Counter()
    for record in records:
        rules.update(record.set_aside)
    return dict(sorted(rules.items()))


def _put_once(store: Store, manifest: Manifest) -> Manifest:
    key = manifest_key(manifest.dataset, manifest.run)
    if store.put_if_absent(key, manifest.to_bytes()):
        return manifest
    first = Manifest.from_bytes(store.get(key))
    same = (first.content_digest, first.receipts_root) == (manifest.content_digest, manifest.receipts_root)
    if not same:
        raise Integrity(f"run {manifest.run}: its manifest was published already, with other parts")
    return first
