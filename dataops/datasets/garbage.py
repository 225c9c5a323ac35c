"""Garbage: files that no dataset names any more, found by looking and removed in two steps.

1. A run's parts and quarantine are garbage once no snapshot names its manifest that was the newest within the grace.
   Of a run that a snapshot names, files that its records don't name are (attempts that lost).
2. A run without a manifest in any snapshot may still publish: it is left alone until it showed no sign of life, neither
   an event nor a file, for as long as the grace.
3. First a *tombstone* is put that names the files, then, a grace later, they are deleted: if by then they still are
   garbage by a fresh look. A run that never published can't be resumed once it has a tombstone.
4. Against a run that is about to publish, however slow: whoever publishes looks for a tombstone after the manifest was
   put and before each snapshot; `sweep` looks for a manifest after the tombstone. Where there is one, a snapshot of the
   same manifests is put first (``given_up``), so that a publisher that looked before has to look again. The first run
   of a dataset, which no snapshot can stop, is left alone once its manifest is there: resuming it publishes it.
5. Surveys go the same way (`survey_garbage`).
6. Only data files and surveys go. Manifests, unit records and snapshots stay, so what was there can be proven without
   it.
7. Any step may be repeated, or cut off: tombstones are put once, and a file that is gone stays gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dataops.datasets.commit import committed_units
from dataops.datasets.quarantine import QUARANTINE_FOLDER
from dataops.datasets.snapshot import DATASETS_FOLDER, Manifest, read_manifest, snapshot_journal
from dataops.datasets.survey_garbage import SurveyLook, sweep_survey
from dataops.datasets.tombstones import Garbage, Reason, StoredFile, by_tombstone, stored_files
from dataops.errors import Conflict, NotFound
from dataops.records import parse_time
from dataops.storage.disk import local_folder
from dataops.storage.files import DataFiles
from dataops.storage.objects import Store

TEMPORARY = ".tmp-*"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Removed:
    """When the last snapshot that named a manifest stopped being the newest, and by what."""

    at: datetime
    expired: bool


def find_garbage(
    store: Store,
    files: DataFiles,
    *,
    sign: Callable[[str], datetime | None],
    grace: timedelta,
    at: datetime,
    dataset: str | None = None,
    in_use: Callable[[str], bool] = lambda _digest: False,
) -> tuple[Garbage, ...]:
    """All garbage as of `at`, by dataset and run; nothing is changed.

    Parameters
    ----------
    files : the data files of the storage, all datasets and quarantine below it.
    sign : run to when it last said something of itself; None for a run without a record.
    dataset : look at this one alone, at what was set aside for it, and at its surveys.
    in_use : whether a run that shows signs of life was planned on a content digest.
    """
    keys = [key.split("/") for key in store.list(DATASETS_FOLDER)]
    aside = _quarantine_by_run(store)
    look = _Look(store=store, files=files, sign=sign, grace=grace, at=at)
    found: list[Garbage] = []
    for name, run in sorted({(key[1], key[3]) for key in keys if len(key) > 4 and key[2] == "runs"}):
        paths = ["/".join(key) for key in keys if len(key) == 6 and key[1:5:2] == [name, run] and key[4] == "data"]
        paths += aside.pop(run, [])
        if dataset in (None, name):
            found += look.at_run(name, run, paths)
    for run, paths in sorted(aside.items()):  # somebody cleared away what names the output
        name = paths[0].split("/")[1]
        if dataset in (None, name):
            found += look.at_run(name, run, paths)
    surveys = SurveyLook(store=store, files=files, sign=sign, in_use=in_use, grace=grace, at=at)
    found += surveys.garbage(dataset)
    marked = [one for garbage in found for one in by_tombstone(store, garbage)]
    return (*marked, *(_temporary(store, grace, at) if dataset is None else ()))


def _quarantine_by_run(store: Store) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for key in store.list(QUARANTINE_FOLDER):
        place = key.split("/")  # quarantine/<dataset>/<run>/<part>
        if len(place) == 4:
            found[place[2]].append(key)
    return found


@dataclass(slots=True, kw_only=True)
class _Look:
    """One look at the storage; what it read of a dataset's journal it keeps."""

    store: Store
    files: DataFiles
    sign: Callable[[str], datetime | None]
    grace: timedelta
    at: datetime
    standing: dict[str, Mapping[str, _Removed | None]] = field(default_factory=dict)

    def at_run(self, dataset: str, run: str, paths: Iterable[str]) -> Iterator[Garbage]:
        """The garbage among the files of one run."""
        if dataset not in self.standing:
            self.standing[dataset] = _standing(self.store, dataset)
        stored = stored_files(self.files, paths)
        if not stored:
            return
        if run not in self.standing[dataset]:
            yield from self._unpublished(dataset, run, stored)
        elif (removed := self.standing[dataset][run]) is None:
            yield from self._orphans(dataset, run, stored)
        else:
            reason = Reason.EXPIRED if removed.expired else Reason.REPLACED
            rows = _rows_in(read_manifest(self.store, dataset, run), stored)
            yield Garbage(dataset=dataset, run=run, reason=reason, since=removed.at, files=tuple(stored), rows=rows)

    def _unpublished(self, dataset: str, run: str, stored: Sequence[StoredFile]) -> Iterator[Garbage]:
        said = self.sign(run)
        last = max([one.modified_at for one in stored] + ([said] if said else []))
        if last + self.grace <= self.at and (self.standing[dataset] or not _has_manifest(self.store, dataset, run)):
            yield Garbage(dataset=dataset, run=run, reason=Reason.UNPUBLISHED, since=last, files=tuple(stored))

    def _orphans(self, dataset: str, run: str, stored: Sequence[StoredFile]) -> Iterator[Garbage]:
        """Files that neither the manifest nor a unit's record names, and that nobody wrote to lately."""
        kept = set(_parts_of(read_manifest(self.store, dataset, run)))
        records = committed_units(self.store, dataset, run).values()
        kept |= {f"{QUARANTINE_FOLDER}/{record.quarantine.path}" for record in records if record.quarantine}
        lost = [one for one in stored if one.path not in kept and one.modified_at + self.grace <= self.at]
        if lost:
            since = max(one.modified_at for one in lost)
            yield Garbage(dataset=dataset, run=run, reason=Reason.ORPHAN, since=since, files=tuple(lost))


def _standing(store: Store, dataset: str) -> dict[str, _Removed | None]:
    """Each run that a snapshot of `dataset` ever named, with when the newest stopped to; None: it still does."""
    found: dict[str, _Removed | None] = {}
    for entry in snapshot_journal(store, dataset).entries():
        named = {listed["run"] for listed in entry.body["manifests"]}
        expired = {one["run"] for one in entry.body.get("expiry", {}).get("manifests", ())}
        for run, removed in found.items():
            if removed is None and run not in named:
                found[run] = _Removed(at=parse_time(entry.written_at), expired=run in expired)
        found |= dict.fromkeys(named)
    return found


def _parts_of(manifest: Manifest) -> dict[str, int]:
    """Path below the storage to rows, of each part."""
    return {f"{DATASETS_FOLDER}/{manifest.dataset}/{one.path}": one.rows for one in manifest.fragments}


def _rows_in(manifest: Manifest, stored: Sequence[StoredFile]) -> int:
    rows = _parts_of(manifest)
    return sum(rows.get(one.path, 0) for one in stored)


def _temporary(store: Store, grace: timedelta, at: datetime) -> Iterator[Garbage]:
    """What writes that were cut off left on a disk of ours; an object store leaves none."""
    folder = local_folder(store.url)
    if folder is None:
        return
    stored = []
    for path in sorted(folder.rglob(TEMPORARY)):
        if path.is_symlink() or not path.is_file():
            continue
        status = path.stat()
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        if modified + grace <= at:
            relative = path.relative_to(folder).as_posix()
            stored.append(StoredFile(path=relative, size_bytes=status.st_size, modified_at=modified))
    if stored:
        since = max(one.modified_at for one in stored)
        yield Garbage(dataset="", run="", reason=Reason.TEMPORARY, since=since, files=tuple(stored))


def sweep(files: DataFiles, store: Store, garbage: Garbage) -> bool:
    """Whether the files of `garbage` are gone now; those that were gone already stay so.

    False, and all are there, where somebody came to name them since they were found.
    """
    match garbage.reason:
        case Reason.SURVEY:
            return sweep_survey(files, store, garbage)
        case Reason.UNPUBLISHED if not _is_given_up(store, garbage.dataset, garbage.run):
            return False
    for one in garbage.files:
        if garbage.reason is Reason.TEMPORARY:
            folder = local_folder(store.url)
            assert folder is not None  # noqa: S101  # found there
            (folder / one.path).unlink(missing_ok=True)
        else:
            files.delete(one.path)
    return True


def _is_given_up(store: Store, dataset: str, run: str) -> bool:
    """Whether `run`, which has a tombstone, can't come into a snapshot any more."""
    if not _has_manifest(store, dataset, run):
        return True  # whoever puts it from now on finds the tombstone before the snapshot
    journal = snapshot_journal(store, dataset)
    last = None
    for last in journal.entries():
        if run in {listed["run"] for listed in last.body["manifests"]}:
            return False
    if last is None:
        return False
    if last.body.get("given_up") == run:
        return True
    try:
        journal.append({"manifests": last.body["manifests"], "given_up": run}, after=last)
    except Conflict:  # perhaps with this very run: the next call sees
        return False
    return True


def _has_manifest(store: Store, dataset: str, run: str) -> bool:
    try:
        read_manifest(store, dataset, run)
    except NotFound:
        return False
    return True


def totals(found: Iterable[Garbage]) -> Mapping[str, int]:
    """Runs, files and bytes of `found` together."""
    listed = list(found)
    return {
        "runs": len({one.run for one in listed if one.run}),
        "files": sum(len(one.files) for one in listed),
        "size_bytes": sum(one.size_bytes for one in listed),
    }
