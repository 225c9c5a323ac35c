"""Links: units that a run takes over from other runs of its dataset, without a file being copied or touched.

1. What a run links is one record, ``datasets/<name>/links/<run>.json``, put once before the first record of a unit is:
   whoever resumes the run links the same, and `garbage` sees which files a run needs that hasn't published yet.
2. A linked unit has a record of the linking run like any other, put if absent, that says ``linked``: the run in whose
   folder its files lie. From there on it is a unit like any other.
3. Against `garbage`, as in `tombstones`: who links says which files it is about to name, then looks for tombstones, and
   once more right before each snapshot; gc looks for links after the mark. Of the two at least one sees the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from dataops.datasets.commit import UnitRecord
from dataops.datasets.quarantine import QUARANTINE_FOLDER
from dataops.datasets.snapshot import DATASETS_FOLDER
from dataops.datasets.tombstones import marked_files
from dataops.errors import Conflict, NotFound
from dataops.records import decode_record, encode_record
from dataops.storage.objects import Store

LINKS_FOLDER = "links"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where a unit was done: the run and unit whose record is taken over, and the digest of that record."""

    run: str
    unit: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What a run of `dataset` links.

    Attributes
    ----------
    units : the run's units that were done before.
    files : the files of those units, below the storage, by the run in whose folders they lie.
    again : the run was asked to do all of its work, whatever was done before.
    """

    dataset: str
    run: str
    units: Mapping[str, Link] = field(default_factory=dict)
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    again: bool = False

    def to_bytes(self) -> bytes:
        """The stored record."""
        body: dict[str, Any] = {
            "dataset": self.dataset,
            "run": self.run,
            "units": {unit: [link.run, link.unit, link.digest] for unit, link in self.units.items()},
            "files": {run: list(paths) for run, paths in self.files.items()},
        }
        return encode_record("links", 1, {**body, "again": True} if self.again else body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The links stored in `data`.

        Raises
        ------
        Format : not links of a version that we read.
        """
        body: Mapping[str, Any] = decode_record(data, "links", 1)
        return cls(
            dataset=body["dataset"],
            run=body["run"],
            units={unit: Link(run=run, unit=of, digest=digest) for unit, (run, of, digest) in body["units"].items()},
            files={run: tuple(paths) for run, paths in body["files"].items()},
            again=body.get("again", False),
        )


def links_key(dataset: str, run: str) -> str:
    """The key of a run's links."""
    return f"{DATASETS_FOLDER}/{dataset}/{LINKS_FOLDER}/{run}.json"


def read_links(store: Store, dataset: str, run: str) -> Links | None:
    """What `run` links; None while it hasn't decided."""
    try:
        return Links.from_bytes(store.get(links_key(dataset, run)))
    except NotFound:
        return None


def put_links(store: Store, links: Links) -> Links:
    """What the run links from now on: `links`, or what another driver of the run put first."""
    key = links_key(links.dataset, links.run)
    return links if store.put_if_absent(key, links.to_bytes()) else Links.from_bytes(store.get(key))


def linking_runs(store: Store, dataset: str) -> list[str]:
    """The runs of `dataset` that have decided what they link."""
    keys = store.list(f"{DATASETS_FOLDER}/{dataset}/{LINKS_FOLDER}")
    return [key.rsplit("/", 1)[-1].removesuffix(".json") for key in keys]


def unit_files(dataset: str, record: UnitRecord) -> dict[str, int]:
    """The files that `record` names, below the storage, with their bytes."""
    home = f"{DATASETS_FOLDER}/{dataset}"
    named = ((home, record.part), (QUARANTINE_FOLDER, record.quarantine), (home, record.errors))
    return {f"{folder}/{file.path}": file.size_bytes for folder, file in named if file is not None}


def linked_record(record: UnitRecord, unit: str, run: str) -> UnitRecord:
    """`record` of `run` as what another run keeps of its own unit called `unit`."""
    return replace(record, unit=unit, receipt=replace(record.receipt, unit=unit), linked=record.linked or run)


def files_by_run(dataset: str, records: Iterable[UnitRecord]) -> dict[str, tuple[str, ...]]:
    """The files of the linked ones among `records`, by the run in whose folders they lie."""
    found: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if record.linked is not None:
            found[record.linked] += unit_files(dataset, record)
    return {run: tuple(sorted(paths)) for run, paths in sorted(found.items())}


def marked_links(store: Store, dataset: str, files: Mapping[str, Iterable[str]]) -> set[str]:
    """Those of `files` (by run, as in `Links`) that a tombstone names."""
    return {path for run, paths in files.items() for path in marked_files(store, dataset, run).intersection(paths)}


def require_links_unmarked(store: Store, dataset: str, run: str, files: Mapping[str, Iterable[str]]) -> None:
    """Nothing, unless `files` that `run` links are about to be deleted.

    Raises
    ------
    Conflict : they were given up while `run` showed no sign of life.
    """
    marked = marked_links(store, dataset, files)
    if marked:
        raise Conflict(
            f"run {run} took over units whose files `dataops dataset gc` gave up meanwhile ({len(marked)} files of "
            f"'{dataset}'): they may be gone any moment. Nothing was published; start a new run"
        )
