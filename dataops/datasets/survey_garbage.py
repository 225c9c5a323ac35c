"""Surveys that nobody will ask again, and what surveys that weren't brought to their end left.

1. A survey of content that is no more goes as a whole, ``survey.json`` first: without it nobody takes the rest for an
   answer. One that a living run was given is left alone.
2. What a run keeps in between (``work-<run>/``) goes when the run showed no sign of life for as long as the grace.
3. An answer file that ``survey.json`` doesn't name is of an attempt that lost or died; it goes by its age.
4. A ``survey.json`` that can't be read is left alone with all beside it: what it names isn't known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dataops.datasets.snapshot import read_snapshot
from dataops.datasets.survey import SURVEY_FILE, SURVEYS_FOLDER, WORK_PREFIX, Survey, find_survey
from dataops.datasets.tombstones import Garbage, Reason, StoredFile, stored_files
from dataops.errors import Format
from dataops.storage.files import DataFiles
from dataops.storage.objects import Store


@dataclass(slots=True, kw_only=True)
class SurveyLook:
    """One look at the surveys of a storage.

    Attributes
    ----------
    sign : run to when it last said something of itself; None for a run without a record.
    in_use : whether a run that shows signs of life was planned on that content digest.
    """

    store: Store
    files: DataFiles
    sign: Callable[[str], datetime | None]
    in_use: Callable[[str], bool]
    grace: timedelta
    at: datetime
    contents: dict[str, str | None] = field(default_factory=dict)

    def garbage(self, dataset: str | None) -> Iterator[Garbage]:
        """The garbage among the surveys of `dataset` (None: of all), by dataset and survey."""
        for folder, paths in sorted(_by_folder(self.store).items()):
            name = folder.split("/")[1]
            if dataset in (None, name):
                yield from self._at(name, folder, paths)

    def _at(self, dataset: str, folder: str, paths: Sequence[str]) -> Iterator[Garbage]:
        work: dict[str, list[str]] = defaultdict(list)
        answer: list[str] = []
        for path in paths:
            inside = path.removeprefix(f"{folder}/").split("/")[0]
            run = inside.removeprefix(WORK_PREFIX)
            (answer if run == inside else work[run]).append(path)
        for run, left in work.items():
            yield from self._old(dataset, run, stored_files(self.files, left), self.sign(run))
        try:
            survey = find_survey(self.store, folder)
        except Format:
            return
        stored = stored_files(self.files, answer)
        if survey is None:
            lost = stored
        elif self._is_current(dataset, survey.content_digest):
            named = named_files(folder, survey)
            lost = [one for one in stored if one.path not in named]
        else:  # younger than the grace is all of it or nothing: `_old` looks at the newest
            yield from self._old(dataset, "", stored)
            return
        yield from self._old(dataset, "", [one for one in lost if one.modified_at + self.grace <= self.at])

    def _is_current(self, dataset: str, content_digest: str) -> bool:
        if dataset not in self.contents:
            snapshot = read_snapshot(self.store, dataset)
            self.contents[dataset] = None if snapshot is None else snapshot.content_digest
        return self.contents[dataset] == content_digest or self.in_use(content_digest)

    def _old(
        self, dataset: str, run: str, stored: Sequence[StoredFile], said: datetime | None = None
    ) -> Iterator[Garbage]:
        if not stored:
            return
        last = max([one.modified_at for one in stored] + ([said] if said else []))
        if last + self.grace <= self.at:
            yield Garbage(dataset=dataset, run=run, reason=Reason.SURVEY, since=last, files=tuple(stored))


def _by_folder(store: Store) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for key in store.list(SURVEYS_FOLDER):
        place = key.split("/")  # surveys/<dataset>/<name>/...
        if len(place) > 3:
            found["/".join(place[:3])].append(key)
    return found


def named_files(folder: str, survey: Survey) -> set[str]:
    """The paths, below the storage, of all that belongs to `survey`."""
    return {f"{folder}/{path}" for path in (SURVEY_FILE, *survey.paths)}


def sweep_survey(files: DataFiles, store: Store, garbage: Garbage) -> bool:
    """Whether the files of `garbage` are gone now; False where a survey came to name one of them meanwhile."""
    paths = [one.path for one in garbage.files]
    folder = "/".join(paths[0].split("/")[:3])
    record = f"{folder}/{SURVEY_FILE}"
    if record in paths:
        store.delete(record)
    else:
        survey = find_survey(store, folder)
        if survey is not None and named_files(folder, survey).intersection(paths):
            return False
    for path in paths:
        if path != record:
            files.delete(path)
    return True
