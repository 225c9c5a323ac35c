"""What the files of one manifest hold, counted anew and compared with its records.

Compared are the record of every unit, byte for byte; every part's size, digest and rows; the rows of its quarantine and
error files; the receipts of its units, their sum and their Merkle root. What differs is a finding; nothing is raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from dataops.datasets.catalog import Dataset
from dataops.datasets.commit import UnitRecord, run_folder, unit_key
from dataops.datasets.following import read_taken
from dataops.datasets.publish import merge_set_aside
from dataops.datasets.quarantine import QUARANTINE_FOLDER
from dataops.datasets.receipt import merge_receipts
from dataops.datasets.snapshot import Fragment, Manifest, read_snapshot
from dataops.errors import DataopsError, Integrity, NotFound
from dataops.records import digest_bytes, merkle_root
from dataops.settings import Settings
from dataops.storage.files import DataFiles, open_files
from dataops.storage.objects import Store
from dataops.storage.side_by_side import side_by_side

COUNTED = ("read", "passed", "filtered", "dropped", "quarantined", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What the files of one manifest hold; `expected` rows it should have read, None where that can't be said; `made`
    of those that passed, None where it is one for each.
    """

    manifest: Manifest
    expected: int | None
    passed: int
    filtered: int
    dropped: int
    quarantined: int
    failed: int
    made: int | None = None

    @property
    def read(self) -> int:
        """Rows that its receipts account for."""
        return self.manifest.counts["read"]

    @property
    def rows(self) -> dict[str, int]:
        """What was read, and what became of it."""
        return {name: getattr(self, name) for name in COUNTED}


def count_manifest(
    settings: Settings, store: Store, dataset: Dataset, manifest: Manifest, findings: list[str]
) -> Counted:
    """The manifest, counted anew; what differs joins `findings`. What it should have read isn't compared here."""
    done = _records(store, manifest, findings)
    parts = [record.part for record in done if record.part is not None]
    if [part.record() for part in parts] != [fragment.record() for fragment in manifest.fragments]:
        findings.append(f"run {manifest.run}: the manifest's parts are not those of its units' records")
    if merkle_root(record.receipt.digest for record in done) != manifest.receipts_root:
        findings.append(f"run {manifest.run}: the units' receipts don't give the manifest's root")
    written = _count(open_files(dataset.url), manifest.fragments, findings)
    aside = [record.quarantine for record in done if record.quarantine is not None]
    quarantined = _count(open_files(f"{settings.storage}/{QUARANTINE_FOLDER}"), aside, findings)
    counts = merge_receipts([record.receipt for record in done])
    failed = _count_failed(dataset, done, findings)
    for what, files, receipts in (
        ("written", written, counts.get("made", counts["passed"])),
        ("quarantined", quarantined, counts["quarantined"]),
        ("failed", failed, counts.get("failed", 0)),
    ):
        if files != receipts:
            findings.append(f"run {manifest.run}: {files} rows {what} by the files, {receipts} by the receipts")
    if dict(counts) != dict(manifest.counts):
        findings.append(f"run {manifest.run}: the manifest's counts are not those of its receipts")
    if merge_set_aside(done) != dict(manifest.set_aside):
        findings.append(f"run {manifest.run}: the manifest doesn't count its quarantine by rule as its units' records")
    return Counted(
        manifest=manifest,
        expected=None if manifest.replay_of else _rows_of_input(store, manifest, done),
        passed=counts["passed"] if "made" in counts else written,
        filtered=counts["filtered_by_policy"] + counts["filtered_by_job"],
        dropped=counts["dropped"],
        quarantined=quarantined,
        failed=failed,
        made=written if "made" in counts else None,
    )


def _count_failed(dataset: Dataset, done: Sequence[UnitRecord], findings: list[str]) -> int:
    """Rows that failed, by the error files: they also tell the rows in quarantine."""
    told = [record for record in done if record.errors is not None]
    rows = _count(open_files(dataset.url), [record.errors for record in told if record.errors is not None], findings)
    return rows - sum(record.receipt.quarantined for record in told)


def _records(store: Store, manifest: Manifest, findings: list[str]) -> list[UnitRecord]:
    """The units' records in the order of the units; what the manifest doesn't name, or names otherwise, becomes a
    finding.
    """
    keys = {unit: unit_key(manifest.dataset, manifest.run, unit) for unit in manifest.units}
    there = store.list(f"{run_folder(manifest.dataset, manifest.run)}/units")
    named = set(keys.values())
    findings.extend(f"{key}: a record that the manifest doesn't name" for key in there if key not in named)
    found = []
    in_order = sorted(keys.items(), key=lambda item: (len(item[0]), item[0]))  # u1000000 comes after u999999
    for record, finding in side_by_side(lambda item: _record(store, item[1], manifest.units[item[0]]), in_order):
        findings.extend([finding] if finding else [])
        found.extend([record] if record else [])
    return found


def _record(store: Store, key: str, expected: str) -> tuple[UnitRecord | None, str | None]:
    """The record under `key`, and what is wrong with it; None for what there isn't."""
    try:
        data = store.get(key)
        record = UnitRecord.from_bytes(data)
    except NotFound:
        return None, f"{key}: missing, though the manifest names it"
    except (DataopsError, LookupError, TypeError, ValueError) as error:
        return None, f"{key}: can't be read as a unit's record ({type(error).__name__})"
    return record, None if digest_bytes(data) == expected else f"{key}: not the record that the manifest names"


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

    looked = side_by_side(look, fragments)
    findings.extend(finding for _, finding in looked if finding is not None)
    return sum(rows for rows, _ in looked)


def _rows_of_input(store: Store, manifest: Manifest, done: list[UnitRecord]) -> int | None:
    """Rows of the input snapshot that the run read, by its own manifests; None when that snapshot can't be read any
    more.
    """
    if manifest.follows is not None:
        return _rows_of_files(store, manifest)
    name, number = manifest.lineage.get("input"), manifest.lineage.get("input_snapshot")
    if name is None or number is None:
        return sum(record.receipt.read for record in done)
    try:
        snapshot = read_snapshot(store, name, number)
    except DataopsError:
        return None
    return None if snapshot is None else snapshot.rows


def _rows_of_files(store: Store, manifest: Manifest) -> int | None:
    """Rows of the files that a run which follows took; None where its record is gone, which is a finding apart."""
    try:
        return sum(one.rows for one in files_taken(store, manifest))
    except Integrity:
        return None


def files_taken(store: Store, manifest: Manifest) -> tuple[Fragment, ...]:
    """The files that `manifest` scored as they arrived; none of a run that doesn't follow.

    Raises
    ------
    Integrity : the record of them is gone, or another one.
    """
    if manifest.follows is None:
        return ()
    return read_taken(store, manifest.run, manifest.follows["record"]).fragments
