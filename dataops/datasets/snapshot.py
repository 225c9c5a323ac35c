"""What a dataset is at one moment: fragments listed by manifests, manifests listed by a snapshot.

1. A *fragment* is one Parquet file. A source's fragment is known by path, size, modification time and footer digest
   (10 TB are never
   read just to plan); a part that we wrote is known by the digest of all its bytes.
2. A *manifest* is written once per run and lists the fragments that the run added, with their columns and where they
   came from.
3. A *snapshot* is one record of the dataset's journal: the manifests that make up the dataset from then on.
   Readers start here, never at a folder listing.
4. A run's manifest comes into a snapshot once, whoever resumes the run and whatever was published in between: the
   append is conditional on every snapshot since the manifest was made having been looked at.
5. The manifest of a *replay* is added to what there is, and only while the run whose quarantine it took is part of the
   dataset and no other replay took it.
6. The manifest of a run that *follows* files as they arrive is added, too, and only right behind the run that it saw as
   the last of these: so no file is taken by two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dataops.errors import Conflict, Integrity, passing
from dataops.governance.contract import Column
from dataops.records import Record, decode_record, digest, digest_bytes, encode_record
from dataops.storage.disk import hide_values
from dataops.storage.journal import Entry, Journal
from dataops.storage.objects import Store

DATASETS_FOLDER = "datasets"
_ADDED = {"replay_of", "follows"}  # keys by which a snapshot says that a manifest is added to what there was


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """Rows of one row group, and bytes of its columns once decoded (`row_groups_of`), from the footer."""

    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """One Parquet file; `path` is relative to the dataset's URL."""

    path: str
    size_bytes: int
    digest: str
    row_groups: tuple[RowGroup, ...]
    modified_ns: int | None = None
    partition: tuple[tuple[str, str], ...] = ()

    @property
    def rows(self) -> int:
        """Rows in the whole file."""
        return sum(group.rows for group in self.row_groups)

    @property
    def shown(self) -> str:
        """The path as messages may say it: without the values of partition columns, which not everybody may see."""
        folder, slash, name = self.path.rpartition("/")
        return f"{hide_values(folder)}{slash}{name}"

    @property
    def identity(self) -> Record:
        """What must not have changed for this to be the same data (JSON types)."""
        return {
            "path": self.path,
            "size_bytes": self.size_bytes,
            "digest": self.digest,
            "modified_ns": self.modified_ns,
        }

    def record(self) -> Record:
        """JSON types; `from_record` reads them."""
        groups = [[group.rows, group.size_bytes] for group in self.row_groups]
        return {**self.identity, "row_groups": groups, "partition": [list(pair) for pair in self.partition]}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Fragment:
        """The fragment that `record` was made from."""
        return cls(
            path=record["path"],
            size_bytes=record["size_bytes"],
            digest=record["digest"],
            modified_ns=record["modified_ns"],
            row_groups=tuple(RowGroup(rows=rows, size_bytes=size) for rows, size in record["row_groups"]),
            partition=tuple((name, value) for name, value in record["partition"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What one run added to a dataset.

    `counts` are the merged receipts (rows), `receipts_root` the Merkle root of them in unit order, `lineage` says what
    it was made from (input snapshot, effect, steps, model), `units` the digest of each unit's record, `set_aside` the
    rows in quarantine by the rule that set them aside; a source's manifest has none of these. `after` is the number of
    the dataset's newest snapshot when the manifest was made: only later ones name it. `identities` say which rows each
    unit had, where a later run may take units over; its parts may lie in folders of the runs that it took them from.
    """

    dataset: str
    run: str
    zone: str
    columns: tuple[Column, ...]
    fragments: tuple[Fragment, ...]
    counts: Mapping[str, int]
    receipts_root: str | None
    lineage: Mapping[str, Any]
    created_at: str
    units: Mapping[str, str] = field(default_factory=dict)
    set_aside: Mapping[str, int] = field(default_factory=dict)
    after: int = 0
    identities: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows in all fragments."""
        return sum(fragment.rows for fragment in self.fragments)

    @property
    def replay_of(self) -> str | None:
        """The run whose quarantine it took; None for a run over whole data."""
        return self.lineage.get("replay_of")

    @property
    def follows(self) -> Mapping[str, Any] | None:
        """Of a run that took files as they arrive: ``previous``, the run before it (None for the first), and the digest
        of the ``record`` of what it took.
        """
        return self.lineage.get("follows")

    def to_bytes(self) -> bytes:
        """The stored record."""
        body = {
            "dataset": self.dataset,
            "run": self.run,
            "zone": self.zone,
            "columns": [column.record() for column in self.columns],
            "fragments": [fragment.record() for fragment in self.fragments],
            "counts": dict(self.counts),
            "receipts_root": self.receipts_root,
            "lineage": dict(self.lineage),
            "created_at": self.created_at,
            "units": dict(self.units),
            "set_aside": dict(self.set_aside),
            "after": self.after,
        }
        if self.identities:
            body["identities"] = dict(self.identities)
        return encode_record("manifest", 1, body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """The manifest stored in `data`.

        Raises
        ------
        Format : not a manifest of a version that we read.
        """
        body = decode_record(data, "manifest", 1)
        body.pop("format")
        body["columns"] = tuple(Column.from_record(column) for column in body["columns"])
        body["fragments"] = tuple(Fragment.from_record(fragment) for fragment in body["fragments"])
        return cls(**body)

    @property
    def content_digest(self) -> str:
        """Digest of what was made, without run and time: two runs that made the same agree on it."""
        return digest(
            [[fragment.identity for fragment in self.fragments], [column.record() for column in self.columns]]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A dataset as of one entry of its journal; `content_digest` pins it."""

    dataset: str
    number: int
    manifests: tuple[Manifest, ...]
    created_at: str

    @property
    def fragments(self) -> tuple[Fragment, ...]:
        """All fragments, in the order of the manifests."""
        return tuple(fragment for manifest in self.manifests for fragment in manifest.fragments)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns as of the newest manifest."""
        return self.manifests[-1].columns

    @property
    def rows(self) -> int:
        """Rows in all fragments."""
        return sum(manifest.rows for manifest in self.manifests)

    @property
    def content_digest(self) -> str:
        """Digest of fragments and columns."""
        return digest([manifest.content_digest for manifest in self.manifests])


def manifest_key(dataset: str, run: str) -> str:
    """The key of a run's manifest."""
    return f"{DATASETS_FOLDER}/{dataset}/runs/{run}/manifest.json"


def snapshot_journal(store: Store, dataset: str) -> Journal:
    """The dataset's journal of snapshots."""
    return Journal(store, f"{DATASETS_FOLDER}/{dataset}/snapshots", "snapshot")


def read_manifest(store: Store, dataset: str, run: str, expected_digest: str | None = None) -> Manifest:
    """The manifest of `run`.

    Raises
    ------
    NotFound : the run published nothing.
    Integrity : its bytes are not those that the snapshot names.
    """
    data = store.get(manifest_key(dataset, run))
    if expected_digest is not None and digest_bytes(data) != expected_digest:
        raise Integrity(f"dataset '{dataset}': the manifest of run {run} is not the one that its snapshot names")
    return Manifest.from_bytes(data)


def read_listed(store: Store, dataset: str, listed: Mapping[str, Any]) -> Record:
    """The body of the manifest that a snapshot lists, unparsed: of its fragments there may be many.

    Raises
    ------
    NotFound, Integrity : as `read_manifest`.
    """
    data = store.get(manifest_key(dataset, listed["run"]))
    if digest_bytes(data) != listed["digest"]:
        raise Integrity(
            f"dataset '{dataset}': the manifest of run {listed['run']} is not the one that its snapshot names"
        )
    return decode_record(data, "manifest", 1)


def newest_listed(store: Store, dataset: str, snapshots: int) -> list[Mapping[str, Any]]:
    """The manifests over whole data that the newest `snapshots` list and that didn't expire, the newest first."""
    journal = snapshot_journal(store, dataset)
    tail = journal.tail()
    if tail is None:
        return []
    entries = list(journal.entries(max(1, tail.number - snapshots + 1)))
    expired = {one["digest"] for entry in entries for one in entry.body.get("expiry", {}).get("manifests", ())}
    listed = [one for entry in reversed(entries) for one in entry.body["manifests"] if not _ADDED & one.keys()]
    return list({one["digest"]: one for one in listed if one["digest"] not in expired}.values())


def read_snapshot(store: Store, dataset: str, number: int | None = None) -> Snapshot | None:
    """The newest snapshot (or the one of `number`); None where the dataset has none."""
    journal = snapshot_journal(store, dataset)
    entry = journal.tail() if number is None else journal.read(number)
    return None if entry is None else _load(store, dataset, entry)


def _load(store: Store, dataset: str, entry: Entry) -> Snapshot:
    manifests = tuple(
        read_manifest(store, dataset, listed["run"], listed["digest"]) for listed in entry.body["manifests"]
    )
    return Snapshot(dataset=dataset, number=entry.number, manifests=manifests, created_at=entry.written_at)


def append_snapshot(store: Store, manifest: Manifest, *, replace: bool = True) -> Snapshot:
    """The snapshot that holds `manifest`: a new one, or the newest where it holds it already (so that publishing twice
    is harmless).

    Parameters
    ----------
    replace : the dataset consists of this manifest alone from now on; else it is added to what there is.
    """
    journal = snapshot_journal(store, manifest.dataset)
    listed = _listed(manifest)
    while True:
        tail = journal.tail()
        before = [] if tail is None or replace else list(tail.body["manifests"])
        if tail is not None and listed in tail.body["manifests"]:
            return _load(store, manifest.dataset, tail)
        try:
            entry = journal.append({"manifests": [*before, listed]}, after=tail)
        except Conflict:
            continue
        return _load(store, manifest.dataset, entry)


def publish_snapshot(store: Store, manifest: Manifest, *, require: Callable[[], None] = lambda: None) -> Snapshot:
    """The one snapshot that brought `manifest` in: an earlier one, else a new one behind all that there are.

    A manifest over whole data replaces what there was; those of a replay and of a run that follows are added to it.

    Parameters
    ----------
    require : called right before each append, after the last snapshot was looked at; what it raises, ends this.

    Raises
    ------
    Conflict : of a replay: another replay took the quarantine first, or a newer run took the place of its run. Of a run
        that follows: another one took files since, or a run over whole data took the place of them all.
    """
    journal = snapshot_journal(store, manifest.dataset)
    listed = _listed(manifest)
    seen = journal.read(manifest.after) if manifest.after else None
    while True:  # each round that loses is one that somebody else won
        for entry in journal.entries(seen.number + 1 if seen else 1):
            if listed in entry.body["manifests"]:
                return _load(store, manifest.dataset, entry)
            seen = entry
        before = _added_to(manifest, journal, seen)
        require()
        try:
            appended = journal.append({"manifests": [*before, listed]}, after=seen)
        except Conflict:  # what was decided on is no longer the last
            continue
        return _load(store, manifest.dataset, appended)


def was_published(store: Store, dataset: str, run: str) -> bool:
    """Whether a snapshot of `dataset` ever named what `run` made."""
    entries = snapshot_journal(store, dataset).entries()
    return any(listed["run"] == run for entry in entries for listed in entry.body["manifests"])


def _listed(manifest: Manifest) -> Record:
    listed = {"run": manifest.run, "digest": digest_bytes(manifest.to_bytes()), "rows": manifest.rows}
    if manifest.follows is not None:
        return {**listed, "follows": manifest.follows["previous"]}
    return {**listed, "replay_of": manifest.replay_of} if manifest.replay_of else listed


def _added_to(manifest: Manifest, journal: Journal, tail: Entry | None) -> list[Record]:
    """The manifests that stay beside `manifest`."""
    if manifest.follows is not None:
        return _required_for_following(manifest, journal, tail)
    return _required_for_replay(manifest, tail) if manifest.replay_of else []


def last_followed(store: Store, dataset: str) -> Mapping[str, Any] | None:
    """What the snapshots list of the last run that followed files into `dataset` (``run``, ``digest``); None if none
    did.

    Raises
    ------
    Conflict : the dataset is what a run over whole data made.
    """
    journal = snapshot_journal(store, dataset)
    return _last_followed(journal, dataset, journal.tail())


def _last_followed(journal: Journal, dataset: str, tail: Entry | None) -> Mapping[str, Any] | None:
    entry = tail
    while entry is not None:
        listed = entry.body["manifests"]
        followed = [one for one in listed if "follows" in one]
        if followed:
            return dict(followed[-1])
        if listed and "expiry" not in entry.body:
            raise Conflict(
                f"run {listed[0]['run']} made all of '{dataset}' of whole data: which files its rows are from can't be "
                "told. Follow into another output"
            )
        entry = journal.read(entry.number - 1) if entry.number > 1 else None  # all that was followed expired
    return None


def _required_for_following(manifest: Manifest, journal: Journal, tail: Entry | None) -> list[Record]:
    """The manifests that a run which follows is added to: no other took files since it looked."""
    last = _last_followed(journal, manifest.dataset, tail)
    now = None if last is None else last["run"]
    if now != (manifest.follows or {})["previous"]:
        raise passing(
            Conflict(
                f"run {now} took files into '{manifest.dataset}' after run {manifest.run} had looked for them; nothing "
                "of the latter was published. Run the job again to take what is left"
            )
        )
    return [] if tail is None else list(tail.body["manifests"])


def _required_for_replay(manifest: Manifest, tail: Entry | None) -> list[Record]:
    """The manifests that a replay is added to: with the run that it replays, and without another replay of it."""
    before: list[Record] = [] if tail is None else list(tail.body["manifests"])
    took = [listed["run"] for listed in before if listed.get("replay_of") == manifest.replay_of]
    if took:
        raise Conflict(
            f"the quarantine of run {manifest.replay_of} was replayed already, by run {took[0]}; nothing was "
            "published. Replay again to take what that one left"
        )
    if manifest.replay_of not in [listed["run"] for listed in before]:
        now = f"consists of run {before[-1]['run']} now" if before else "has no rows any more"
        raise Conflict(
            f"dataset '{manifest.dataset}' {now}, not of run {manifest.replay_of}; nothing of its quarantine was "
            "published. Replay the quarantine of the run that is there"
        )
    return before
