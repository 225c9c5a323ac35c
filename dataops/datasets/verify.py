"""Verification: what the records say of a dataset, derived again from the files.

For a dataset that a job made: the record of every unit, byte for byte; every part's size, digest and rows; the rows of
its quarantine files; the receipts of its units, their sum and their Merkle root; and
``read = passed + filtered + dropped + quarantined`` over the rows that the input's own footers hold.
For a dataset of the catalog: that every file is still what the newest snapshot says, and no file came or went.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow.parquet as pq

from dataops.datasets.catalog import Dataset, is_declared, open_dataset, read_entry
from dataops.datasets.publish import UnitRecord, run_folder, unit_key
from dataops.datasets.quarantine import QUARANTINE_FOLDER
from dataops.datasets.receipt import merge_receipts
from dataops.datasets.snapshot import Fragment, Manifest, read_snapshot
from dataops.datasets.source import read_fragments
from dataops.errors import DataopsError, NotFound
from dataops.records import digest_bytes, merkle_root
from dataops.settings import Settings, resolve_url
from dataops.storage.files import DataFiles, open_files
from dataops.storage.objects import Store

READERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was counted, by name, and what doesn't hold; nothing in `findings`: all is well."""

    checks: Mapping[str, object]
    findings: tuple[str, ...]


def verify_dataset(settings: Settings, store: Store, name: str) -> Verified:
    """The dataset `name`, counted and compared with its records.

    Raises
    ------
    NotFound : no such dataset.
    """
    if is_declared(settings, name):
        return _verify_source(settings, store, name)
    dataset = open_dataset(settings, store, name)
    findings: list[str] = []
    checks: dict[str, object] = {"dataset": name, "snapshot": dataset.snapshot.number}
    for manifest in dataset.snapshot.manifests:
        _verify_manifest(settings, store, dataset, manifest, checks, findings)
    return Verified(checks=checks, findings=tuple(findings))


def _verify_source(settings: Settings, store: Store, name: str) -> Verified:
    # what was recorded last, before opening it records what lies there now
    snapshot = read_snapshot(store, name) or open_dataset(settings, store, name).snapshot
    url = resolve_url(settings.workspace, read_entry(settings.workspace, name).url)
    found = read_fragments(open_files(url))  # every footer again, none taken over
    listed = {fragment.path: fragment for fragment in snapshot.fragments}
    gone = sorted(set(listed) - {one.path for one in found})
    findings = [f"{path}: gone since snapshot {snapshot.number}" for path in gone]
    findings += [
        f"{one.path}: {'changed' if one.path in listed else 'new'} since snapshot {snapshot.number}"
        for one in found
        if listed.get(one.path) != one
    ]
    checks = {
        "dataset": name,
        "snapshot": snapshot.number,
        "files": len(found),
        "rows": sum(fragment.rows for fragment in found),
    }
    return Verified(checks=checks, findings=tuple(findings))


def _verify_manifest(
    settings: Settings,
    store: Store,
    dataset: Dataset,
    manifest: Manifest,
    checks: dict[str, object],
    findings: list[str],
) -> None:
    done = _records(store, manifest, findings)
    parts = [record.part for record in done if record.part is not None]
    if [part.record() for part in parts] != [fragment.record() for fragment in manifest.fragments]:
        findings.append(f"run {manifest.run}: the manifest's parts are not those of its units' records")
    if merkle_root(record.receipt.digest for record in done) != manifest.receipts_root:
        findings.append(f"run {manifest.run}: the units' receipts don't give the manifest's root")
    passed = _count(open_files(dataset.url), manifest.fragments, findings)
    aside = [record.quarantine for record in done if record.quarantine is not None]
    quarantined = _count(open_files(f"{settings.storage}/{QUARANTINE_FOLDER}"), aside, findings)
    counts = merge_receipts([record.receipt for record in done])
    filtered = counts["filtered_by_policy"] + counts["filtered_by_job"]
    read = _rows_of_input(store, manifest, done)
    for what, files, receipts in (
        ("passed", passed, counts["passed"]),
        ("quarantined", quarantined, counts["quarantined"]),
    ):
        if files != receipts:
            findings.append(f"run {manifest.run}: {files} rows {what} by the files, {receipts} by the receipts")
    if dict(counts) != dict(manifest.counts):
        findings.append(f"run {manifest.run}: the manifest's counts are not those of its receipts")
    if read is not None and read != passed + filtered + counts["dropped"] + quarantined:
        findings.append(f"run {manifest.run}: the input's footers hold {read} rows, {counts['read']} are accounted for")
    checks |= {
        "run": manifest.run,
        "parts": len(manifest.fragments),
        "rows in the input's footers": "unknown (the input changed since)" if read is None else read,
        "rows in the parts (passed)": passed,
        "rows in quarantine files": quarantined,
        "rows filtered": filtered,
        "rows dropped": counts["dropped"],
        "accounted for": f"{counts['read']:,} read = {passed:,} passed + {filtered:,} filtered + "
        f"{quarantined:,} quarantined + {counts['dropped']:,} dropped",
    }


def _records(store: Store, manifest: Manifest, findings: list[str]) -> list[UnitRecord]:
    """The units' records in the order of the units; what the manifest doesn't name, or names otherwise, becomes a
    finding.
    """
    keys = {unit: unit_key(manifest.dataset, manifest.run, unit) for unit in manifest.units}
    there = store.list(f"{run_folder(manifest.dataset, manifest.run)}/units")
    named = set(keys.values())
    findings.extend(f"{key}: a record that the manifest doesn't name" for key in there if key not in named)
    found = []
    for unit, key in sorted(keys.items()):
        try:
            data = store.get(key)
            if digest_bytes(data) != manifest.units[unit]:
                findings.append(f"{key}: not the record that the manifest names")
            found.append(UnitRecord.from_bytes(data))
        except NotFound:
            findings.append(f"{key}: missing, though the manifest names it")
        except (DataopsError, LookupError, TypeError, ValueError) as error:
            findings.append(f"{key}: can't be read as a unit's record ({type(error).__name__})")
    return found


def _count(files: DataFiles, fragments: list[Fragment] | tuple[Fragment, ...], findings: list[str]) -> int:
    """Rows in `fragments` by their own footers; what differs from the record becomes a finding."""

    def look(fragment: Fragment) -> tuple[int, str | None]:
        try:
            if files.stat(fragment.path).size_bytes != fragment.size_bytes:
                return 0, f"{fragment.path}: its size is not the recorded one"
            if files.sha256(fragment.path) != fragment.digest:
                return 0, f"{fragment.path}: its bytes are not the recorded ones"
            with files.open(fragment.path) as opened:
                return pq.read_metadata(opened).num_rows, None
        except DataopsError as error:
            return 0, f"{fragment.path}: {error}"

    with ThreadPoolExecutor(READERS) as pool:
        looked = list(pool.map(look, fragments))
    findings.extend(finding for _, finding in looked if finding is not None)
    return sum(rows for rows, _ in looked)


def _rows_of_input(store: Store, manifest: Manifest, done: list[UnitRecord]) -> int | None:
    """Rows of the input snapshot that the run read, by its own manifests; None when that snapshot can't be read any
    more.
    """
    name, number = manifest.lineage.get("input"), manifest.lineage.get("input_snapshot")
    if name is None or number is None:
        return sum(record.receipt.read for record in done)
    try:
        snapshot = read_snapshot(store, name, number)
    except DataopsError:
        return None
    return None if snapshot is None else snapshot.rows
