"""Tombstones: files that will be deleted, named before they are.

1. A tombstone is put once, names its files, and says why and when; a file may go a grace after that (see `garbage`).
2. It is a word to readers as well: a run that was given up can't publish any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from dataops.errors import NotFound
from dataops.records import Record, decode_record, digest, encode_record, format_time, parse_time
from dataops.storage.objects import Store

TOMBSTONES_FOLDER = "tombstones"


class Reason(StrEnum):
    """Why files are garbage."""

    REPLACED = "replaced"  # newer runs made the dataset anew
    EXPIRED = "expired"  # its rows were kept long enough
    UNPUBLISHED = "unpublished"  # a run that gave up, or died
    ORPHAN = "orphan"  # an attempt that lost, in a run that published
    TEMPORARY = "temporary"  # a write that was cut off


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A data file below the storage."""

    path: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """Files of one run that nobody needs `since` a time; `marked_at` is when their tombstone was put, if it was."""

    dataset: str
    run: str
    reason: Reason
    since: datetime
    files: tuple[StoredFile, ...]
    rows: int | None = None
    marked_at: datetime | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(one.size_bytes for one in self.files)

    def may_go(self, at: datetime, grace: timedelta) -> bool:
        """Whether both waits are over at the time `at`."""
        if self.reason is Reason.TEMPORARY:  # nobody can name it, so nobody has to be told
            return self.since + grace <= at
        return self.marked_at is not None and max(self.since, self.marked_at) + grace <= at


def by_tombstone(store: Store, garbage: Garbage) -> Iterator[Garbage]:
    """`garbage`, parted by the tombstones that name its files."""
    marked: dict[str, datetime] = {}
    for record in tombstones(store, garbage.dataset, garbage.run):
        for path in record["files"]:
            marked.setdefault(path, parse_time(record["at"]))
    parted: dict[datetime | None, list[StoredFile]] = defaultdict(list)
    for one in garbage.files:
        parted[marked.get(one.path)].append(one)
    for when, files in sorted(parted.items(), key=lambda item: str(item[0])):
        yield replace(garbage, files=tuple(files), marked_at=when)


def tombstones(store: Store, dataset: str, run: str) -> list[Record]:
    """The tombstones of a run, the oldest first."""
    keys = store.list(f"{TOMBSTONES_FOLDER}/{dataset}/{run}")
    return sorted((decode_record(store.get(key), "tombstone", 1) for key in keys), key=lambda one: str(one["at"]))


def mark(store: Store, garbage: Garbage, *, at: datetime) -> Garbage:
    """`garbage` with the tombstone that now names its files; one that has one keeps it."""
    if garbage.marked_at is not None or garbage.reason is Reason.TEMPORARY:
        return garbage
    paths = sorted(one.path for one in garbage.files)
    name = digest(paths).removeprefix("sha256:")[:16]
    key = f"{TOMBSTONES_FOLDER}/{garbage.dataset}/{garbage.run}/{name}.json"
    body = {
        "dataset": garbage.dataset,
        "run": garbage.run,
        "reason": str(garbage.reason),
        "since": format_time(garbage.since),
        "at": format_time(at),
        "files": paths,
        "size_bytes": garbage.size_bytes,
    }
    if not store.put_if_absent(key, encode_record("tombstone", 1, body)):  # another gc marked them a moment ago
        body = decode_record(store.get(key), "tombstone", 1)
    return replace(garbage, marked_at=parse_time(str(body["at"])))


def require_unmarked(store: Store, dataset: str, run: str) -> None:
    """Nothing, unless `run` was given up: its parts may be gone any moment, so it can't publish them any more.

    Raises
    ------
    NotFound : a tombstone says so, since when.
    """
    given_up = [one for one in tombstones(store, dataset, run) if one["reason"] == Reason.UNPUBLISHED]
    if given_up:
        raise NotFound(
            f"run {run} showed no sign of life for long, so `dataops dataset gc` gave up what it had written to "
            f"'{dataset}' ({len(given_up[0]['files'])} files, {given_up[0]['at']}): start a new run"
        )
