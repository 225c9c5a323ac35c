"""Tombstones: files that will be deleted, named before they are.

1. A tombstone is put once, names its files, and says why and when; a file may go a grace after that (see `garbage`).
2. It is a word to writers as well: a run that was given up can't publish any more, a survey whose files were marked
   can't be put. Both look for it after they said what they are about to name, and gc looks for that after the mark: of
   the two at least one sees the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from dataops.errors import Conflict, NotFound, passing
from dataops.records import Record, decode_record, digest, encode_record, format_time, parse_time
from dataops.storage.files import DataFiles
from dataops.storage.objects import Store

TOMBSTONES_FOLDER = "tombstones"


class Reason(StrEnum):
    """Why files are garbage."""

    REPLACED = "replaced"  # newer runs made the dataset anew
    EXPIRED = "expired"  # its rows were kept long enough
    UNPUBLISHED = "unpublished"  # a run that gave up, or died
    ORPHAN = "orphan"  # an attempt that lost, in a run that published
    SURVEY = "survey"  # of content that is no more, or one that nobody brought to its end
    TEMPORARY = "temporary"  # a write that was cut off


# Somebody may be about to name these: the call that marks them leaves them, however short the grace
MAY_BE_NAMED = (Reason.UNPUBLISHED, Reason.SURVEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A data file below the storage."""

    path: str
    size_bytes: int
    modified_at: datetime


def stored_files(files: DataFiles, paths: Iterable[str]) -> list[StoredFile]:
    """Those of `paths` that are there, as they are now."""
    found = []
    for path in paths:
        try:
            stat = files.stat(path)
        except NotFound:  # an attempt that lost took its own file away meanwhile
            continue
        modified = datetime.fromtimestamp(stat.mtime_ns / 1e9, UTC)
        found.append(StoredFile(path=path, size_bytes=stat.size_bytes, modified_at=modified))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """Files that nobody needs `since` a time, of one run or of one survey of a dataset.

    Attributes
    ----------
    run : whose files; "" for those of a survey, which any run may use.
    marked_at : when their tombstone was put, if it was.
    """

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

    @property
    def place(self) -> str:
        """The folder of its tombstones in that of the dataset: the run, or the name of the survey."""
        return self.run or self.files[0].path.split("/")[2]  # surveys/<dataset>/<name>/...

    def may_go(self, at: datetime, grace: timedelta) -> bool:
        """Whether both waits are over at the time `at`."""
        if self.reason is Reason.TEMPORARY:  # nobody can name it, so nobody has to be told
            return self.since + grace <= at
        if self.marked_at is None or (self.reason in MAY_BE_NAMED and self.marked_at >= at):
            return False
        return max(self.since, self.marked_at) + grace <= at


def by_tombstone(store: Store, garbage: Garbage) -> Iterator[Garbage]:
    """`garbage`, parted by the tombstones that name its files."""
    marked: dict[str, datetime] = {}
    for record in tombstones(store, garbage.dataset, garbage.place):
        for path in record["files"]:
            marked.setdefault(path, parse_time(record["at"]))
    parted: dict[datetime | None, list[StoredFile]] = defaultdict(list)
    for one in garbage.files:
        parted[marked.get(one.path)].append(one)
    for when, files in sorted(parted.items(), key=lambda item: str(item[0])):
        yield replace(garbage, files=tuple(files), marked_at=when)


def tombstones(store: Store, dataset: str, place: str) -> list[Record]:
    """The tombstones of a run, or of a survey by its name, the oldest first."""
    keys = store.list(f"{TOMBSTONES_FOLDER}/{dataset}/{place}")
    return sorted((decode_record(store.get(key), "tombstone", 1) for key in keys), key=lambda one: str(one["at"]))


def marked_files(store: Store, dataset: str, place: str) -> set[str]:
    """The files that the tombstones of a run or survey name."""
    return {path for record in tombstones(store, dataset, place) for path in record["files"]}


def mark(store: Store, garbage: Garbage, *, at: datetime) -> Garbage:
    """`garbage` with the tombstone that now names its files; one that has one keeps it."""
    if garbage.marked_at is not None or garbage.reason is Reason.TEMPORARY:
        return garbage
    paths = sorted(one.path for one in garbage.files)
    name = digest(paths).removeprefix("sha256:")[:16]
    key = f"{TOMBSTONES_FOLDER}/{garbage.dataset}/{garbage.place}/{name}.json"
    body = {
        "dataset": garbage.dataset,
        "run": garbage.run or None,
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
    Conflict : a tombstone says so, since when.
    """
    given_up = [one for one in tombstones(store, dataset, run) if one["reason"] == Reason.UNPUBLISHED]
    if given_up:
        raise passing(
            Conflict(
                f"run {run} was given up by `dataops dataset gc`, since it had shown no sign of life: what it had "
                f"written to '{dataset}' ({len(given_up[0]['files'])} files, marked at {given_up[0]['at']}) may be "
                "gone. Start a new run"
            )
        )
