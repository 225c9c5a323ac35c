"""The survey of a dataset, and the verdict on its rules as a whole, before a unit of it is read.

1. What needs no row (number of rows, age of files) is judged first, then the survey is made, then the age of columns is
   judged. A rule whose action is ``fail`` ends the run here; one that warns is told and recorded.
2. A survey that was made of the same content, under the same filters, for the same rules, masks and key is taken over;
   of two runs that make one at once, both go on with the one that was put first.
3. What lies in between (hashes, candidates) is removed at the end. What a run that died left is removed when it is
   resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dataops.datasets.access import GovernedInput
from dataops.datasets.dataset_rules import BrokenRule, broken_by_age, broken_by_rows, newest_file
from dataops.datasets.snapshot import Fragment, RowGroup
from dataops.datasets.survey import (
    SURVEY_FILE,
    WORK_PREFIX,
    Asked,
    Survey,
    SurveyFile,
    asked_of,
    find_survey,
    survey_folder,
)
from dataops.datasets.tombstones import marked_files
from dataops.datasets.units import Unit, plan_units
from dataops.engine.survey_tasks import (
    Compared,
    Found,
    HashedUnit,
    RepeatsContext,
    SurveyContext,
    compare_bucket,
    hash_unit,
    look_again,
    number_of,
    settle_bucket,
    write_answer,
    write_repeats,
)
from dataops.engine.tasks import Task
from dataops.engine.work import Work
from dataops.errors import Conflict, ContractViolation, DataopsError, NotFound, passing
from dataops.governance.contract import Action
from dataops.governance.keys import current_key_id
from dataops.storage.objects import Store, open_store

HASHES_PER_BUCKET = 1 << 21  # 44 MiB of them, and as much again while they are sorted


def surveyed(given: GovernedInput, work: Work, *, storage: str, at: datetime) -> GovernedInput:
    """`given`, ready to be read: its dataset keeps the rules of the whole, and its source knows its survey.

    Parameters
    ----------
    at : the moment that ages are measured at.

    Raises
    ------
    ContractViolation : a rule of the whole dataset is broken whose action is ``fail``; no unit is read.
    NotFound : values must be hashed, and there is no key.
    """
    contract, asked = given.dataset.contract, asked_of(given.source)
    _judge(given, work, broken_by_rows(contract, given.dataset.snapshot.rows))
    by_age = partial(broken_by_age, contract, at=at, newest_file=newest_file(given.dataset.snapshot))
    if not asked.anything:
        _judge(given, work, by_age(newest={}))
        return given
    url, survey = _survey(given, asked, work, storage)
    _judge(given, work, by_age(newest=dict(zip(asked.newest, survey.newest, strict=True))))
    return replace(given, source=replace(given.source, survey=url))


def _judge(given: GovernedInput, work: Work, broken: Sequence[BrokenRule]) -> None:
    name = given.dataset.name
    failing = [one for one in broken if one.rule.action is Action.FAIL]
    if failing:
        listed = "\n  ".join(f"rule '{one.rule.id}': {one.finding}" for one in failing)
        raise ContractViolation(
            f"dataset '{name}' breaks its contract as a whole; none of its rows was read by the job. Mend the data, or "
            f"change what the contract allows:\n  {listed}"
        )
    for one in broken:
        work.emit("dataset_rule_broken", dataset=name, rule=one.rule.id, finding=one.finding)
        work.progress.say(f"  note: dataset '{name}' breaks rule '{one.rule.id}': {one.finding}")


def _survey(given: GovernedInput, asked: Asked, work: Work, storage: str) -> tuple[str, Survey]:
    """The survey and the URL of its folder: the one that is there, or a new one."""
    key_id = current_key_id(Path(given.source.keys_folder)) if asked.needs_key else None
    content = given.dataset.snapshot.content_digest
    folder = survey_folder(given.dataset.name, asked, content_digest=content, key_id=key_id)
    store, url = open_store(storage), f"{storage}/{folder}"
    there = find_survey(store, folder)
    if there is not None:
        return url, there
    units = plan_units(given.dataset.snapshot.fragments)
    rows = sum(unit.rows for unit in units) * max(1, len(asked.keys) + len(asked.rare))
    context = SurveyContext(
        source=given.source,
        asked=asked,
        key_id=key_id,
        url=url,
        folder=f"{WORK_PREFIX}{work.run}",
        units=len(units),
        buckets=max(1, -(-rows // HASHES_PER_BUCKET)),
    )
    _remove_work(context)
    try:
        survey = _Making(context=context, work=work, units=units).survey(content)
    finally:
        with suppress(DataopsError):  # what is left over harms nobody
            _remove_work(context)
    if store.put_if_absent(f"{folder}/{SURVEY_FILE}", survey.to_bytes()):
        _require_kept(store, folder, survey)
        return url, survey
    for path in survey.paths:
        context.place.delete(path)  # another run was first, with other names for the same
    return url, Survey.from_bytes(store.get(f"{folder}/{SURVEY_FILE}"))


def _require_kept(store: Store, folder: str, survey: Survey) -> None:
    """Nothing, unless files of `survey` were taken for garbage while it was made: nobody may be given it then."""
    marked = marked_files(store, survey.dataset, folder.rpartition("/")[2])
    lost = [path for path in survey.paths if f"{folder}/{path}" in marked]
    if lost:
        store.delete(f"{folder}/{SURVEY_FILE}")
        raise passing(
            Conflict(
                f"dataset '{survey.dataset}': `dataops dataset gc` took {len(lost)} files of its survey for garbage "
                "while it was made. Run it again, and give gc a longer grace"
            )
        )


def _remove_work(context: SurveyContext) -> None:
    with suppress(NotFound):
        for file in context.place.list(context.folder, suffix=".bin"):
            context.place.delete(file.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Making:
    """A survey being made: its steps, one after the other, each over all units or buckets."""

    context: SurveyContext
    work: Work
    units: tuple[Unit, ...]

    def survey(self, content_digest: str) -> Survey:
        context, asked = self.context, self.context.asked
        hashed: list[HashedUnit] = self._map("survey", hash_unit, context, self.units)
        compared: list[Compared] = []
        if asked.needs_key:
            after = context.after(files=[one.hashes for one in hashed], counts=[one.counts for one in hashed])
            compared = self._map("survey compare", compare_bucket, after, self._buckets(range(context.buckets)))
        settled = self._settled([one.candidates for one in compared])
        return Survey(
            dataset=context.source.dataset,
            asked=asked,
            content_digest=content_digest,
            key_id=context.key_id,
            rows=sum(one.rows for one in hashed),
            duplicates=tuple(sum(one.questions.get(place, 0) for one in settled) for place in range(len(asked.keys))),
            repeated=self._repeated(settled),
            frequent=tuple(self._frequent(compared, place) for place in range(len(asked.rare))),
            newest=tuple(_newest(hashed, place) for place in range(len(asked.newest))),
        )

    def _settled(self, candidates: Sequence[Found]) -> list[Found]:
        """The duplicates among `candidates`, by bucket."""
        units = [self.units[number] for number in sorted({number for one in candidates for number in one.units})]
        if not units:
            return []
        after = self.context.after(files=[one.file for one in candidates])
        looks = self._map("survey look", look_again, after, units)
        buckets = [number for number, one in enumerate(candidates) if one.file is not None]
        return self._map("survey settle", settle_bucket, after.after(files=looks), self._buckets(buckets))

    def _repeated(self, settled: Sequence[Found]) -> dict[str, SurveyFile]:
        """The files of the fragments that have duplicates."""
        units = {number for one in settled for number in one.units}
        ranges: dict[str, tuple[int, int]] = {}
        fragments: dict[str, Fragment] = {}
        for unit in self.units:
            if number_of(unit) in units:
                first, _ = ranges.setdefault(unit.fragment.path, (number_of(unit), 0))
                ranges[unit.fragment.path] = (first, number_of(unit))
                fragments[unit.fragment.path] = unit.fragment
        whole = [_whole(fragment, ranges[path][0]) for path, fragment in fragments.items()]
        given = RepeatsContext(
            context=self.context.after(files=[one.file for one in settled]),
            units_of={unit.id: ranges[unit.fragment.path] for unit in whole},
        )
        return dict(sorted(self._map("survey write", write_repeats, given, whole))) if whole else {}

    def _frequent(self, compared: Sequence[Compared], place: int) -> SurveyFile:
        hashes = np.concatenate([one.frequent[place] for one in compared])  # buckets are in the order of hashes
        return write_answer(self.context, f"frequent/{place:02d}", pa.table({"hash": hashes}))

    def _buckets(self, numbers: Sequence[int]) -> list[Unit]:
        """Buckets of hashes as units of work: a task takes one of them from all files of the step before."""
        rows = sum(unit.rows for unit in self.units) // self.context.buckets
        return [
            _whole(
                Fragment(
                    path=f"{self.context.folder}/bucket-{number}",
                    size_bytes=0,
                    digest="",
                    row_groups=(RowGroup(rows=rows, size_bytes=0),),
                ),
                number,
            )
            for number in numbers
        ]

    def _map(self, phase: str, task: Task, context: object, units: Sequence[Unit]) -> list[Any]:
        """A phase has a name of its own in its run, since tasks are named after it; a run may make several surveys."""
        again = sum(name.split(" #")[0] == phase for name in self.work.seconds)
        return self.work.map_units(f"{phase} #{again + 1}" if again else phase, task, context, units)


def _whole(fragment: Fragment, number: int) -> Unit:
    return Unit(id=f"b{number:06d}", fragment=fragment, start_group=0, stop_group=len(fragment.row_groups), first_row=0)


def _newest(hashed: Sequence[HashedUnit], place: int) -> int | None:
    times = [one.newest[place] for one in hashed]
    return max((time for time in times if time is not None), default=None)
