"""Files that arrive: which of those that lie in a folder are whole, and wait for nobody's writing.

1. Nothing is taken that may still be written: names that start with ``.`` or ``_`` or don't end in ``.parquet``, files
   younger than the settle time, files whose size or time changes while they are looked at, files without a whole
   footer, names with characters that don't print. What waits is counted by its reason each time, so a file that never
   gets whole is not passed over in silence.
2. Age is measured by the storage's clock, not by this machine's: a file's time is given by a disk.
3. A file that is dated in the future is as young as one of now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dataops.datasets.footer_looks import FooterLooks
from dataops.datasets.snapshot import Fragment, Snapshot, read_snapshot
from dataops.datasets.source import FOOTER_READERS, read_fragment, record_source, require_same_partitions
from dataops.errors import Integrity, NotFound
from dataops.governance.contract import Contract
from dataops.records import new_nonce
from dataops.storage.files import DataFiles, FileStat, open_files
from dataops.storage.objects import Store
from dataops.storage.side_by_side import side_by_side

CLOCK_FOLDER = "_clock"
NANOSECONDS = 1_000_000_000


class Waits(StrEnum):
    """Why a file isn't taken yet."""

    YOUNG = "young"
    CHANGING = "changing"
    UNFINISHED = "unfinished"
    UNNAMED = "unnamed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """What lies in a folder: whole files by path, and the others by path with the reason."""

    fragments: tuple[Fragment, ...]
    waiting: Mapping[str, Waits]


def storage_clock_ns(files: DataFiles) -> int:
    """The time, in nanoseconds since 1970, that the storage of `files` gives a file that is written now."""
    path = f"{CLOCK_FOLDER}/{new_nonce()}"
    try:
        files.write(path, lambda sink: sink.write(b"now"))
        return files.stat(path).mtime_ns
    finally:
        files.delete(path)


def look_for_arrivals(
    files: DataFiles, known: Mapping[str, Fragment], *, settle_seconds: float, now_ns: int
) -> Arrived:
    """What lies in the tree of `files`, which may hold nothing.

    Parameters
    ----------
    known : fragments of an earlier look, by path; those that are unchanged are taken over.
    settle_seconds : age from which on a file may be taken.
    now_ns : the time, by the storage's clock.

    Raises
    ------
    NotFound : no such folder.
    InvalidInput : partitions that differ between files.
    """
    youngest = now_ns - int(settle_seconds * NANOSECONDS)

    def look(stat: FileStat) -> Fragment | Waits:
        before = known.get(stat.path)
        if before is not None and (before.size_bytes, before.modified_ns) == (stat.size_bytes, stat.mtime_ns):
            return before
        return Waits.YOUNG if stat.mtime_ns > youngest else _looked_at(files, stat, looks)

    looks = FooterLooks()
    waiting: dict[str, Waits] = {}
    found = files.list("", unnamed=lambda shown: waiting.update({shown: Waits.UNNAMED}))
    done = side_by_side(look, found, threads=FOOTER_READERS)
    looked = dict(zip((stat.path for stat in found), done, strict=True))
    fragments = tuple(one for one in looked.values() if isinstance(one, Fragment))
    if fragments:
        require_same_partitions(fragments)
    return Arrived(
        fragments=fragments,
        waiting={**waiting, **{path: one for path, one in looked.items() if isinstance(one, Waits)}},
    )


def _looked_at(files: DataFiles, stat: FileStat, looks: FooterLooks) -> Fragment | Waits:
    """The file as it is, if it was that before and after its footer was read."""
    try:
        fragment = read_fragment(files, stat, looks)
    except Integrity:
        return Waits.UNFINISHED
    except NotFound:
        return Waits.CHANGING
    try:
        return fragment if files.stat(stat.path) == stat else Waits.CHANGING
    except NotFound:
        return Waits.CHANGING


def refresh_arrivals(
    store: Store, dataset: str, url: str, zone: str, contract: Contract, *, settle_seconds: float, now_ns: int
) -> tuple[Snapshot, Arrived]:
    """The snapshot of what arrived whole, which may be nothing, and all that lies there.

    Raises
    ------
    NotFound, InvalidInput : as `look_for_arrivals`.
    """
    before = read_snapshot(store, dataset)
    known = {fragment.path: fragment for fragment in before.fragments} if before else {}
    arrived = look_for_arrivals(open_files(url), known, settle_seconds=settle_seconds, now_ns=now_ns)
    if before is not None and arrived.fragments == before.fragments and contract.columns == before.columns:
        return before, arrived
    return record_source(store, dataset, zone, contract, arrived.fragments), arrived
