"""Garbage: files that no dataset names any more, found by looking and removed in two steps.

1. A run's parts and quarantine are garbage once no snapshot names its manifest that was the newest within the grace.
   Of a run that a snapshot names, files that its records don't name are (attempts that lost). A file that other runs
   took over (`links`) stands as long as the last of them, also of one that shows signs of life and may yet publish.
2. A run without a manifest in any snapshot may still publish: it is left alone until it showed no sign of life, neither
   an event nor a file, for as long as the grace.
3. First a *tombstone* is put that names the files, then, a grace later, they are deleted: if by then they still are
   garbage by a fresh look. A run that never published can't be resumed once it has a tombstone.
4. Against a run that is about to publish, however slow: whoever publishes looks for a tombstone after the manifest was
   put and before each snapshot; `sweep` looks for a manifest after the tombstone. Where there is one, a snapshot of the
   same manifests is put first (``given_up``), so that a publisher that looked before has to look again. The first run
   of a dataset, which no snapshot can stop, is left alone once its manifest is there: resuming it publishes it.
5. Against a run that took over files which were marked since: the same. Whoever publishes looks for tombstones of what
   it links; `sweep` looks for links after the tombstone, and stops a publisher that looked before.
6. Surveys go the same way (`survey_garbage`).
7. Only data files and surveys go. Manifests, unit records and snapshots stay, so what was there can be proven without
   it.
8. Any step may be repeated, or cut off: tombstones are put once, and a file that is gone stays gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dataops.datasets.commit import EXCHANGE_FOLDER, committed_units
from dataops.datasets.error_rows import ERRORS_FOLDER
from dataops.datasets.links import linking_runs, read_links, unit_files
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
PARTS_FOLDER = "data"


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
    written = _files_by_run(store)
    aside = _quarantine_by_run(store)
    look = _Look(store=store, files=files, sign=sign, grace=grace, at=at)
    found: list[Garbage] = []
    for (name, run), paths in sorted(written.items()):
        paths_aside = aside.pop(run, [])
        if dataset in (None, name):
            found += look.at_run(name, run, [*paths, *paths_aside])
    for run, paths in sorted(aside.items()):  # somebody cleared away what names the output
        name = paths[0].split("/")[1]
        if dataset in (None, name):
            found += look.at_run(name, run, paths)
    surveys = SurveyLook(store=store, files=files, sign=sign, in_use=in_use, grace=grace, at=at)
    found += surveys.garbage(dataset)
    marked = [one for garbage in found for one in by_tombstone(store, garbage)]
    return (*marked, *(_temporary(store, grace, at) if dataset is None else ()))


def _files_by_run(store: Store) -> dict[tuple[str, str], list[str]]:
    """Parts, error files and what tasks left for one another, by dataset and run; runs that have none are there too."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in store.list(DATASETS_FOLDER):
        match key.split("/"):  # datasets/<dataset>/runs/<run>/<folder>/<file>
            case [_, name, "runs", run, folder, _] if folder in (PARTS_FOLDER, ERRORS_FOLDER, EXCHANGE_FOLDER):
                found[name, run].append(key)
            case [_, name, "runs", run, *_]:
                found[name, run] += ()
    return found


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
    linked: dict[str, Mapping[str, _Removed | None]] = field(default_factory=dict)

    def at_run(self, dataset: str, run: str, paths: Iterable[str]) -> Iterator[Garbage]:
        """The garbage among the files of one run."""
        if dataset not in self.standing:
            self.standing[dataset] = _standing(self.store, dataset)
            self.linked[dataset] = self._linked(dataset)
        linked = self.linked[dataset]
        stored = stored_files(self.files, (path for path in paths if linked.get(path, _NOT_LINKED) is not None))
        if not stored:
            return
        if run not in self.standing[dataset]:
            yield from self._unpublished(dataset, run, stored)
        elif (removed := self.standing[dataset][run]) is None:
            yield from self._orphans(dataset, run, stored)
        else:
            yield from self._removed(dataset, run, removed, stored)

    def _linked(self, dataset: str) -> dict[str, _Removed | None]:
        """The files that runs took over, each with when the last of them stopped to stand; None: one still does."""
        standing = self.standing[dataset]
        found: dict[str, _Removed | None] = {}
        for run in linking_runs(self.store, dataset):
            removed = standing[run] if run in standing else self._given_up(run)
            if removed is not None and removed.at + self.grace <= self.at:
                continue  # the file's own run and later ones say when
            links = read_links(self.store, dataset, run)
            for path in (path for paths in links.files.values() for path in paths) if links else ():
                found[path] = _later(found[path], removed) if path in found else removed
        for run, removed in standing.items():
            if removed is None:  # whatever else is wrong: what readers see stays
                found |= dict.fromkeys(_parts_of(read_manifest(self.store, dataset, run)))
        return found

    def _given_up(self, run: str) -> _Removed | None:
        """None while `run`, which no snapshot ever named, may be about to publish."""
        said = self.sign(run)
        return _NOT_LINKED if said is None or said + self.grace <= self.at else None

    def _removed(self, dataset: str, run: str, own: _Removed, stored: Sequence[StoredFile]) -> Iterator[Garbage]:
        """The files of a run that stands no more, by when and why the last run that had them stopped to."""
        parted: dict[_Removed, list[StoredFile]] = defaultdict(list)
        for one in stored:
            parted[_later(own, self.linked[dataset].get(one.path, own)) or own].append(one)
        manifest = read_manifest(self.store, dataset, run)
        for removed, files in sorted(parted.items(), key=lambda item: item[0].at):
            reason = Reason.EXPIRED if removed.expired else Reason.REPLACED
            rows = _rows_in(manifest, files)
            yield Garbage(dataset=dataset, run=run, reason=reason, since=removed.at, files=tuple(files), rows=rows)

    def _unpublished(self, dataset: str, run: str, stored: Sequence[StoredFile]) -> Iterator[Garbage]:
        said = self.sign(run)
        last = max([one.modified_at for one in stored] + ([said] if said else []))
        if last + self.grace <= self.at and (self.standing[dataset] or not _has_manifest(self.store, dataset, run)):
            yield Garbage(dataset=dataset, run=run, reason=Reason.UNPUBLISHED, since=last, files=tuple(stored))

    def _orphans(self, dataset: str, run: str, stored: Sequence[StoredFile]) -> Iterator[Garbage]:
        """Files that neither the manifest nor a unit's record names, and that nobody wrote to lately."""
        kept = set(_parts_of(read_manifest(self.store, dataset, run)))
        for record in committed_units(self.store, dataset, run).values():
            kept.update(unit_files(dataset, record))
        lost = [one for one in stored if one.path not in kept and one.modified_at + self.grace <= self.at]
        if lost:
            since = max(one.modified_at for one in lost)
            yield Garbage(dataset=dataset, run=run, reason=Reason.ORPHAN, since=since, files=tuple(lost))


_NOT_LINKED = _Removed(at=datetime.min.replace(tzinfo=UTC), expired=False)


def _later(one: _Removed | None, other: _Removed | None) -> _Removed | None:
    """The later of the two; None, which stands, is later than any."""
    return None if one is None or other is None else max(one, other, key=lambda removed: removed.at)


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
        case Reason.REPLACED | Reason.EXPIRED if not _is_let_go(store, garbage):
            return False
    for one in garbage.files:
        if garbage.reason is Reason.TEMPORARY:
            folder = local_folder(store.url)
            assert folder is not None  # noqa: S101  # found there
            (folder / one.path).unlink(missing_ok=True)
        else:
            files.delete(one.path)
    return True


def _is_let_go(store: Store, garbage: Garbage) -> bool:
    """Whether no run that stands, or can still publish, took over a file of `garbage`, which has a tombstone."""
    paths = {one.path for one in garbage.files}
    standing = _standing(store, garbage.dataset)
    for run in linking_runs(store, garbage.dataset):
        if run in standing and standing[run] is not None:
            continue
        links = read_links(store, garbage.dataset, run)
        if links is None or paths.isdisjoint(path for named in links.files.values() for path in named):
            continue
        if run in standing or not _is_given_up(store, garbage.dataset, run):
            return False
    named = (run for run, removed in standing.items() if removed is None)
    return all(paths.isdisjoint(_parts_of(read_manifest(store, garbage.dataset, run))) for run in named)


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
