"""Retention: rows that were kept for as long as their contract allows leave a made dataset.

1. Age counts from when a run published its rows. Rows that a replay admitted are as old as the run whose quarantine
   they were in.
2. A made dataset's retention is the shortest of the contracts of all that it was made from: as they were when it was
   read, and as the catalog has them now. So rows don't stay longer because their source left the catalog.
3. An expiry is one record: the snapshot that no longer names the old manifests says which went and why. There is no
   moment in between. Manifests, unit records and their digests stay, so lineage and audit still hold; the files go by
   `garbage`, after a grace.
4. What was expired completely is an empty dataset of the same columns; reading it says that it expired.
5. The files of a source are never touched: they belong to whoever keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dataops.datasets.access import origins_of
from dataops.datasets.catalog import Dataset, is_declared, open_dataset, read_contract, read_entry
from dataops.datasets.receipt import merge_receipts
from dataops.datasets.snapshot import Manifest, Snapshot, manifest_key, read_snapshot, snapshot_journal
from dataops.errors import InvalidInput, NotFound
from dataops.records import Record, digest, digest_bytes, format_time, merkle_root, parse_time
from dataops.settings import Settings
from dataops.storage.journal import Entry
from dataops.storage.objects import Store

EXPIRY = "expiry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """The manifest of a run whose rows are too old."""

    run: str
    digest: str
    published_at: str
    parts: int
    rows: int
    size_bytes: int

    def record(self) -> Record:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryPlan:
    """What would leave `dataset`, and why.

    Attributes
    ----------
    after : the snapshot that this was decided on.
    at : when.
    retention_seconds, because : how long rows are kept, and who says so.
    gone : manifests that go; nothing is too old where there are none.
    kept : the entries of the manifests that stay.
    """

    dataset: str
    after: Entry
    at: datetime
    retention_seconds: int
    because: str
    gone: tuple[Expiring, ...]
    kept: tuple[Mapping[str, Any], ...]

    def record(self) -> Record:
        """As JSON: what the snapshot's record keeps of it."""
        return {
            "at": format_time(self.at),
            "retention_seconds": self.retention_seconds,
            "because": self.because,
            "manifests": [one.record() for one in self.gone],
        }


def plan_expiry(
    settings: Settings, store: Store, name: str, *, older_than: timedelta | None, at: datetime
) -> ExpiryPlan:
    """What is too old in the dataset `name` at the time `at`; nothing is changed.

    Parameters
    ----------
    older_than : how long rows are kept; None: as the contracts say.

    Raises
    ------
    NotFound : no such dataset.
    InvalidInput : a dataset of the catalog; or no contract says how long, and neither does `older_than`.
    """
    if is_declared(settings, name):
        raise InvalidInput(_not_ours(settings, store, name, older_than, at))
    dataset = open_dataset(settings, store, name)
    seconds, because = _retention(settings, dataset, older_than)
    entry = snapshot_journal(store, name).read(dataset.snapshot.number)
    oldest = at - timedelta(seconds=seconds)
    published = published_times(dataset.snapshot.manifests)
    pairs = list(zip(entry.body["manifests"], dataset.snapshot.manifests, strict=True))
    return ExpiryPlan(
        dataset=name,
        after=entry,
        at=at,
        retention_seconds=seconds,
        because=because,
        gone=tuple(
            _expiring(listed["digest"], manifest, published[manifest.run])
            for listed, manifest in pairs
            if _expires(manifest) and published[manifest.run] < oldest
        ),
        kept=tuple(listed for listed, manifest in pairs if not _expires(manifest) or published[manifest.run] >= oldest),
    )


def _expires(manifest: Manifest) -> bool:
    return manifest.lineage.get("kind") != EXPIRY  # what stands for rows that are gone has none


def published_times(manifests: Sequence[Manifest]) -> dict[str, datetime]:
    """Since when the rows of each run are kept: those of a replay since the run that it replays, if it is there."""
    by_run = {manifest.run: manifest for manifest in manifests}
    found = {}
    for manifest in manifests:
        first = manifest
        while first.replay_of in by_run:
            first = by_run[first.replay_of]
        found[manifest.run] = parse_time(first.created_at)
    return found


def _expiring(listed: str, manifest: Manifest, published: datetime) -> Expiring:
    return Expiring(
        run=manifest.run,
        digest=listed,
        published_at=format_time(published),
        parts=len(manifest.fragments),
        rows=manifest.rows,
        size_bytes=sum(fragment.size_bytes for fragment in manifest.fragments),
    )


def _retention(settings: Settings, dataset: Dataset, older_than: timedelta | None) -> tuple[int, str]:
    if older_than is not None:
        return int(older_than.total_seconds()), "asked for"
    known = inherited_retention(settings, dataset)
    if known is None:
        sources = ", ".join(sorted({origin.dataset for origin in origins_of(dataset)})) or "what it was made from"
        raise InvalidInput(
            f"no contract says how long rows of '{dataset.name}' are kept (made from {sources}). Say it with "
            "--older-than, or in a contract: slaProperties: [{property: retention, value: 30, unit: d}]"
        )
    return known


def inherited_retention(settings: Settings, dataset: Dataset) -> tuple[int, str] | None:
    """The shortest retention of the sources of `dataset`, in seconds, and whose contract says so; None: for ever."""
    origins = origins_of(dataset)
    found = [
        (origin.retention_seconds, f"contract of '{origin.dataset}' when it was read")
        for origin in origins
        if origin.retention_seconds is not None
    ]
    for name in {origin.dataset for origin in origins}:
        if is_declared(settings, name):
            contract = read_contract(settings.workspace / read_entry(settings.workspace, name).contract)
            if contract.retention_seconds is not None:
                found.append((contract.retention_seconds, f"contract of '{name}'"))
    return min(found, default=None)


def _not_ours(settings: Settings, store: Store, name: str, older_than: timedelta | None, at: datetime) -> str:
    contract = read_contract(settings.workspace / read_entry(settings.workspace, name).contract)
    seconds = contract.retention_seconds if older_than is None else int(older_than.total_seconds())
    snapshot = read_snapshot(store, name)
    told = ""
    if seconds is not None and snapshot is not None:
        oldest_ns = (at - timedelta(seconds=seconds)).timestamp() * 1e9
        old = [one for one in snapshot.fragments if one.modified_ns is not None and one.modified_ns < oldest_ns]
        told = f" {len(old)} of its {len(snapshot.fragments)} files are older than {spell_seconds(seconds)}."
    return (
        f"'{name}' is a dataset of the catalog: its files belong to whoever keeps them, and nothing is ever deleted "
        f"there.{told} Remove them where they lie; what jobs made of them expires by `dataops dataset expire`"
    )


def spell_seconds(seconds: int) -> str:
    """A duration for people: ``30 days``."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size:,} {unit if seconds != size else unit.removesuffix('s')}"
    return f"{seconds:,} seconds"


def expire(store: Store, plan: ExpiryPlan) -> Snapshot | None:
    """The snapshot without what `plan` says is too old; None, and no new one, where nothing is.

    The same plan gives the same snapshot, however often: after a lost reply it may be carried out again.

    Raises
    ------
    Conflict : the dataset moved on since `plan` was made; nothing expired.
    """
    if not plan.gone:
        return None
    kept = list(plan.kept) or [_put_empty(store, plan)]
    body = {"manifests": kept, "expiry": plan.record()}
    nonce = digest([plan.after.digest, plan.record()]).removeprefix("sha256:")[:32]
    entry = snapshot_journal(store, plan.dataset).append(body, after=plan.after, nonce=nonce)
    return read_snapshot(store, plan.dataset, entry.number)


def _put_empty(store: Store, plan: ExpiryPlan) -> Record:
    """What stands for a dataset whose rows are all gone: a manifest of the same columns and origins without a part."""
    last = read_manifests(store, plan)[-1]
    marker = digest([plan.after.digest, plan.retention_seconds]).removeprefix("sha256:")[:6]
    job = last.run.rsplit("-", 2)[0]  # the dataset stays that job's: see `execute` on whose output it is
    empty = Manifest(
        dataset=plan.dataset,
        run=f"{job}-{EXPIRY}-{marker}",
        zone=last.zone,
        columns=last.columns,
        fragments=(),
        counts=merge_receipts([]),
        receipts_root=merkle_root([]),
        lineage={"kind": EXPIRY, "sources": list(last.lineage.get("sources", ()))},
        created_at=format_time(plan.at),
        after=plan.after.number,
    )
    key = manifest_key(plan.dataset, empty.run)
    if not store.put_if_absent(key, empty.to_bytes()):  # an attempt that died had put it, at another time
        empty = Manifest.from_bytes(store.get(key))
    return {"run": empty.run, "digest": digest_bytes(empty.to_bytes()), "rows": 0}


def read_manifests(store: Store, plan: ExpiryPlan) -> tuple[Manifest, ...]:
    """The manifests of the snapshot that `plan` was made on."""
    snapshot = read_snapshot(store, plan.dataset, plan.after.number)
    assert snapshot is not None  # noqa: S101  # its entry was read
    return snapshot.manifests


def expiries(store: Store, name: str) -> Iterator[tuple[Entry, Mapping[str, Any]]]:
    """The snapshots of the dataset that came by an expiry, each with what its record says of it."""
    for entry in snapshot_journal(store, name).entries():
        if "expiry" in entry.body:
            yield entry, entry.body["expiry"]


def require_rows_left(store: Store, dataset: Dataset) -> None:
    """Nothing, unless all rows of `dataset` expired.

    Raises
    ------
    NotFound : they did; when and why.
    """
    if dataset.declared or dataset.snapshot.manifests[-1].lineage.get("kind") != EXPIRY:
        return
    _, expiry = list(expiries(store, dataset.name))[-1]
    raise NotFound(
        f"all rows of dataset '{dataset.name}' expired at {expiry['at']}: kept for "
        f"{spell_seconds(expiry['retention_seconds'])} ({expiry['because']}). Run the job that makes it again"
    )


def require_unexpired(store: Store, name: str, content_digest: str) -> None:
    """Nothing, unless rows of the dataset as it was under `content_digest` expired since.

    Raises
    ------
    NotFound : they did: which expiry, when and why.
    """
    journal = snapshot_journal(store, name)
    for entry, expiry in expiries(store, name):
        gone = {one["digest"] for one in expiry["manifests"]}
        for before in journal.entries():
            named = {listed["digest"] for listed in before.body["manifests"]}
            if before.number < entry.number and named & gone and _is(store, name, before.number, content_digest):
                raise NotFound(
                    f"inputs expired: dataset '{name}' as of snapshot {before.number} lost {len(named & gone)} of its "
                    f"{len(named)} runs' rows at {expiry['at']} (snapshot {entry.number}): kept for "
                    f"{spell_seconds(expiry['retention_seconds'])}, {expiry['because']}"
                )


def _is(store: Store, name: str, number: int, content_digest: str) -> bool:
    snapshot = read_snapshot(store, name, number)
    return snapshot is not None and snapshot.content_digest == content_digest
