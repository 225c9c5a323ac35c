"""The one commit of a run: its units' records, one manifest, one snapshot.

1. The manifest is made from the winners alone (`dataops.datasets.commit`), after their receipts were added up and
   compared with the plan.
2. Until the snapshot names the manifest, no reader sees any of it.
3. A replay publishes like any run, as one more manifest. One that frees no row of quarantine publishes nothing.
4. A run that `garbage` gave up publishes nothing: its tombstone is looked for before the manifest is put, and, after
   it, right before each snapshot that would name it. A run that a snapshot names already is done, marked or not. The
   same holds for a run that took units over (`links`) whose files were given up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord
from dataops.datasets.links import files_by_run, require_links_unmarked
from dataops.datasets.receipt import Receipt, merge_receipts
from dataops.datasets.snapshot import (
    Manifest,
    Snapshot,
    manifest_key,
    publish_snapshot,
    read_snapshot,
    snapshot_journal,
)
from dataops.datasets.tombstones import require_unmarked
from dataops.datasets.units import Unit
from dataops.errors import ContractViolation, Integrity, NotFound
from dataops.governance.checking import over_threshold
from dataops.governance.contract import Column
from dataops.records import digest_bytes, format_time, merkle_root, now_utc
from dataops.storage.objects import Store


def require_within_thresholds(given: GovernedInput, receipts: Sequence[Receipt]) -> None:
    """Nothing, unless the units of `given` together break a rule of its contract more often than it allows.

    Of a replay no share can be judged, since all its rows broke a rule once: only a rule that no row may break counts.
    """
    contract = given.dataset.contract
    if any(unit.aside is not None for unit in given.units):
        strict = (replace(rule, max_rows=None, max_percent=None) for rule in contract.rules)
        contract = replace(contract, rules=tuple(strict))
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
    identities: Mapping[str, str] | None = None,
) -> tuple[Manifest, Snapshot]:
    """The run's manifest and the snapshot that makes it visible; both exist once, however often this is called, and
    however many other runs were published in between.

    Parameters
    ----------
    replay_of : the run whose quarantine the units took. Where none of its rows left quarantine, nothing is published:
        the snapshot is the newest, and the manifest isn't part of it.
    identities : which rows each unit had, by its id, where later runs may take units over.

    Raises
    ------
    Integrity : a unit of the plan without a record, or receipts that don't add up to the plan's rows.
    Conflict : that quarantine was replayed by another run, or is that of a run whose place a newer one took; or the
        run was given up as garbage, or files of units that it took over.
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
        identities=identities or {},
    )
    written = counts.get("made", counts["passed"])
    if manifest.rows != written:
        raise Integrity(f"run {run}: {written} rows were written, {manifest.rows} lie in its parts")
    if replay_of and counts["quarantined"] == counts["read"]:
        return manifest, _newest(store, dataset)
    # the one that was put first says from where on snapshots may name it: an attempt that died may have come to its
    # end, and publishing again would put it in front of what came after it
    require = partial(_require_unmarked, store, dataset, run, files_by_run(dataset, done))
    first = _put_once(store, manifest, require)
    return first, publish_snapshot(store, first, require=require)


def _require_unmarked(store: Store, dataset: str, run: str, linked: Mapping[str, tuple[str, ...]]) -> None:
    require_unmarked(store, dataset, run)
    require_links_unmarked(store, dataset, run, linked)


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


def _put_once(store: Store, manifest: Manifest, require: Callable[[], None]) -> Manifest:
    key = manifest_key(manifest.dataset, manifest.run)
    if not _is_there(store, key):  # one that is there may stand in a snapshot: marked or not, it is published
        require()
        if store.put_if_absent(key, manifest.to_bytes()):
            return manifest
    first = Manifest.from_bytes(store.get(key))
    same = (first.content_digest, first.receipts_root) == (manifest.content_digest, manifest.receipts_root)
    if not same:
        raise Integrity(f"run {manifest.run}: its manifest was published already, with other parts")
    return first


def _is_there(store: Store, key: str) -> bool:
    try:
        store.get(key)
    except NotFound:
        return False
    return True
