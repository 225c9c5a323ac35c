"""Verification: what the records say of a dataset, derived again from the files.

For a dataset that a job made: the record of every unit, byte for byte; every part's size, digest and rows; the rows of
its quarantine and error files; the receipts of its units, their sum and their Merkle root; and
``read = passed + filtered + dropped + quarantined + failed`` over the rows that the input's own footers hold. A replay
is held against the quarantine that it took, which no other may have taken: over all manifests, what was read is what
passed, was filtered or dropped, failed, and what still waits in quarantine. A run that follows is held against the
files that it took, which no other may have taken.
For a dataset of the catalog: that every file is still what the newest snapshot says, and no file came or went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow.parquet as pq

from dataops.datasets.catalog import Dataset, is_declared, open_dataset, read_entry
from dataops.datasets.commit import UnitRecord, run_folder, unit_key
from dataops.datasets.following import read_taken
from dataops.datasets.publish import merge_set_aside
from dataops.datasets.quarantine import QUARANTINE_FOLDER
from dataops.datasets.receipt import merge_receipts, spell_rows
from dataops.datasets.snapshot import Fragment, Manifest, read_manifest, read_snapshot
from dataops.datasets.source import read_fragments
from dataops.errors import DataopsError, Integrity, NotFound
from dataops.records import digest_bytes, merkle_root
from dataops.settings import Settings, resolve_url
from dataops.storage.files import DataFiles, open_files
from dataops.storage.objects import Store
from dataops.storage.side_by_side import side_by_side


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was counted, by name, and what doesn't hold; nothing in `findings`: all is well.

    Attributes
    ----------
    runs : of a made dataset what each run of it read, and what became of that: ``run``, ``replay_of`` and counts.
    """

    checks: Mapping[str, object]
    findings: tuple[str, ...]
    runs: tuple[Mapping[str, object], ...] = ()


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
    counted = [_verify_manifest(settings, store, dataset, one, findings) for one in dataset.snapshot.manifests]
    counted = _with_what_was_taken(store, counted, findings)
    _require_files_taken_once(store, dataset.snapshot.manifests, findings)
    for one in counted:
        _require_conserved(one, findings)
    checks = {"dataset": name, "snapshot": dataset.snapshot.number, **_facts(counted)}
    return Verified(checks=checks, findings=tuple(findings), runs=tuple(map(_run_record, counted)))


def _verify_source(settings: Settings, store: Store, name: str) -> Verified:
    # what was recorded last, before opening it records what lies there now
    snapshot = read_snapshot(store, name) or open_dataset(settings, store, name).snapshot
    url = resolve_url(settings.workspace, read_entry(settings.workspace, name).url)
    found = read_fragments(open_files(url))  # every footer again, none taken over
    listed = {fragment.path: fragment for fragment in snapshot.fragments}
    gone = sorted(set(listed) - {one.path for one in found})
    findings = [f"{listed[path].shown}: gone since snapshot {snapshot.number}" for path in gone]
    findings += [
        f"{one.shown}: {'changed' if one.path in listed else 'new'} since snapshot {snapshot.number}"
        for one in found
        if one.path not in listed or _content(listed[one.path]) != _content(one)
    ]
    checks = {
        "dataset": name,
        "snapshot": snapshot.number,
        "files": len(found),
        "rows": sum(fragment.rows for fragment in found),
    }
    return Verified(checks=checks, findings=tuple(findings))


def _content(fragment: Fragment) -> tuple[object, ...]:
    """What must be as it was: a release may measure the bytes of row groups in another way than one before it."""
    return fragment.identity, fragment.partition, [group.rows for group in fragment.row_groups]


COUNTED = ("read", "passed", "filtered", "dropped", "quarantined", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """What the files of one manifest hold; `expected` rows it should have read, None where that can't be said."""

    manifest: Manifest
    expected: int | None
    passed: int
    filtered: int
    dropped: int
    quarantined: int
    failed: int

    @property
    def read(self) -> int:
        """Rows that its receipts account for."""
        return self.manifest.counts["read"]

    @property
    def rows(self) -> dict[str, int]:
        """What was read, and what became of it."""
        return {name: getattr(self, name) for name in COUNTED}


def _verify_manifest(
    settings: Settings, store: Store, dataset: Dataset, manifest: Manifest, findings: list[str]
) -> _Counted:
    """The manifest, counted anew; all but what it should have read is compared."""
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
    failed = _count_failed(dataset, done, findings)
    for what, files, receipts in (
        ("passed", passed, counts["passed"]),
        ("quarantined", quarantined, counts["quarantined"]),
        ("failed", failed, counts.get("failed", 0)),
    ):
        if files != receipts:
            findings.append(f"run {manifest.run}: {files} rows {what} by the files, {receipts} by the receipts")
    if dict(counts) != dict(manifest.counts):
        findings.append(f"run {manifest.run}: the manifest's counts are not those of its receipts")
    if merge_set_aside(done) != dict(manifest.set_aside):
        findings.append(f"run {manifest.run}: the manifest doesn't count its quarantine by rule as its units' records")
    return _Counted(
        manifest=manifest,
        expected=None if manifest.replay_of else _rows_of_input(store, manifest, done),
        passed=passed,
        filtered=counts["filtered_by_policy"] + counts["filtered_by_job"],
        dropped=counts["dropped"],
        quarantined=quarantined,
        failed=failed,
    )


def _count_failed(dataset: Dataset, done: Sequence[UnitRecord], findings: list[str]) -> int:
    """Rows that failed, by the error files: they also tell the rows in quarantine."""
    told = [record for record in done if record.errors is not None]
    rows = _count(open_files(dataset.url), [record.errors for record in told if record.errors is not None], findings)
    return rows - sum(record.receipt.quarantined for record in told)


def _with_what_was_taken(store: Store, counted: list[_Counted], findings: list[str]) -> list[_Counted]:
    """`counted`, where each replay expects the rows of the quarantine that it took, which no other may have taken."""
    by_run = {one.manifest.run: one for one in counted}
    taken: dict[str, str] = {}
    found = []
    for one in counted:
        run, replayed = one.manifest.run, one.manifest.replay_of
        if replayed is None:
            found.append(one)
            continue
        if replayed in taken:
            findings.append(
                f"run {run}: took the quarantine of run {replayed}, which run {taken[replayed]} took before"
            )
        taken.setdefault(replayed, run)
        rows = by_run[replayed].quarantined if replayed in by_run else _set_aside(store, one.manifest.dataset, replayed)
        found.append(replace(one, expected=rows))
    return found


def _set_aside(store: Store, dataset: str, run: str) -> int | None:
    """Rows that `run` set aside by its manifest; None where that is gone (its rows are no part of the dataset)."""
    try:
        return read_manifest(store, dataset, run).counts["quarantined"]
    except NotFound:
        return None


def _require_conserved(one: _Counted, findings: list[str]) -> None:
    accounted = one.passed + one.filtered + one.dropped + one.quarantined + one.failed
    if one.expected is None or one.expected == accounted:
        return
    replayed = one.manifest.replay_of
    holder = f"the quarantine of run {replayed} holds" if replayed else "the input's footers hold"
    holder = holder if one.manifest.follows is None else "the files that it took hold"
    findings.append(f"run {one.manifest.run}: {holder} {one.expected} rows, {one.read} are accounted for")


def _facts(counted: Sequence[_Counted]) -> dict[str, object]:
    """The figures of the dataset: of all its manifests together, then of each where there are several."""
    runs = {one.manifest.run for one in counted}
    whole = [one for one in counted if one.manifest.replay_of not in runs]  # of a replay: what it took is gone by now
    taken = {one.manifest.replay_of for one in counted}
    footers = [one.expected for one in whole]
    passed, filtered, dropped, failed = (
        sum(getattr(one, name) for one in counted) for name in ("passed", "filtered", "dropped", "failed")
    )
    waiting = sum(one.quarantined for one in counted if one.manifest.run not in taken)
    facts: dict[str, object] = {
        "runs" if len(counted) > 1 else "run": "\n".join(one.manifest.run for one in counted),
        "parts": sum(len(one.manifest.fragments) for one in counted),
        "rows in the input's footers": (
            "unknown (the input changed since)" if None in footers else sum(rows for rows in footers if rows)
        ),
        "rows in the parts (passed)": passed,
        "rows filtered": filtered,
        "rows dropped": dropped,
        **({"rows failed": failed} if failed else {}),
        "rows in quarantine files": _in_quarantine(sum(one.quarantined for one in counted), waiting),
        "accounted for": spell_rows(
            {
                "read": sum(one.read for one in whole),
                "passed": passed,
                "filtered": filtered,
                "dropped": dropped,
                "quarantined": waiting,
                "failed": failed,
            }
        ),
    }
    if len(counted) > 1:
        facts["by run"] = "\n".join(map(_by_run, counted))
    return facts


def _in_quarantine(rows: int, waiting: int) -> int | str:
    """How many rows quarantine files hold, and how many of them a replay took: those are elsewhere too."""
    if rows == waiting:
        return rows
    return f"{rows:,}, {f'{rows - waiting:,}' if waiting else 'all'} of them replayed"


def _by_run(one: _Counted) -> str:
    replayed = f" (replay of {one.manifest.replay_of})" if one.manifest.replay_of else ""
    return f"{one.manifest.run}{replayed}: {spell_rows(one.rows)}"


def _run_record(one: _Counted) -> dict[str, object]:
    return {"run": one.manifest.run, "replay_of": one.manifest.replay_of, **one.rows}


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


def _rows_of_files(store: Store, manifest: Manifest) -> int | None:
    """Rows of the files that a run which follows took; None where its record is gone, which is a finding apart."""
    try:
        return sum(one.rows for one in _files_taken(store, manifest))
    except Integrity:
        return None


def _files_taken(store: Store, manifest: Manifest) -> tuple[Fragment, ...]:
    """The files that `manifest` scored as they arrived; none of a run that doesn't follow.

    Raises
    ------
    Integrity : the record of them is gone, or another one.
    """
    if manifest.follows is None:
        return ()
    return read_taken(store, manifest.run, manifest.follows["record"]).fragments


def _require_files_taken_once(store: Store, manifests: Sequence[Manifest], findings: list[str]) -> None:
    by: dict[str, str] = {}
    for manifest in manifests:
        try:
            files = _files_taken(store, manifest)
        except Integrity as error:
            findings.append(str(error))
            continue
        twice = [one for one in files if one.path in by]
        if twice:
            findings.append(
                f"run {manifest.run}: took {len(twice)} files that other runs took before, {twice[0].shown} first "
                f"(run {by[twice[0].path]})"
            )
        by |= dict.fromkeys([one.path for one in files], manifest.run)


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
