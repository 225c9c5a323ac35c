"""Linking, done: before a rescore scores a unit, it takes over those that earlier runs of its output scored alike.

1. Looked at are the runs over whole data that the newest snapshots of the output name. `rescoring.linking` decides.
2. A unit is taken over only if its record is the one that its run's manifest names, none of its rows failed, and all
   its files are there in their size and in no tombstone. What can't be taken over is scored.
3. What a run links is decided once (`datasets.links`): a resumed run goes on with it. A run that shall do all of its
   work ``--again`` has decided to link nothing.
4. A run that was resumed by other code tells no basis: its units may be of either, so nothing of it is linked.
5. Replays link nothing, and nothing of them is linked: a run over whole data takes their place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord, committed_units, unit_key
from dataops.datasets.links import (
    Link,
    Links,
    files_by_run,
    linked_record,
    marked_links,
    put_links,
    read_links,
    require_links_unmarked,
    unit_files,
)
from dataops.datasets.snapshot import newest_listed, read_listed
from dataops.datasets.survey import Survey, asked_of, find_survey, fragment_id, survey_folder
from dataops.engine.code import code_identity
from dataops.engine.handing_out import Emit
from dataops.errors import Conflict, Format, NotFound
from dataops.governance.keys import current_key_id
from dataops.models.predictor import Kernel
from dataops.records import digest, digest_bytes
from dataops.rescoring.linking import (
    Decided,
    Earlier,
    Linkable,
    Match,
    Reason,
    basis_of,
    counted,
    decide_links,
    rows_of_units,
)
from dataops.rescoring.plan import ScorePlan
from dataops.storage.files import DataFiles, open_files
from dataops.storage.objects import Store
from dataops.storage.side_by_side import side_by_side

SNAPSHOTS = 20  # so many back: a model that was tried for a day or two links to what was there before
NOT_KNOWN = "not known before the survey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What can be taken over.

    Attributes
    ----------
    links : where a unit was done, by its id.
    records : of these units, as their run left them.
    reasons : of every unit of the plan.
    """

    links: Mapping[str, Link]
    records: Mapping[str, UnitRecord]
    reasons: Mapping[str, tuple[Reason, ...]]


def linkable(store: Store, plan: ScorePlan, given: GovernedInput, kernels: Mapping[str, Kernel]) -> Linkable:
    """What decides the units' records of `plan` over `given`, scored by `kernels`.

    Where a survey is asked for that wasn't made yet, no unit is like one of before: `is_known` says so.
    """
    answer, repeats = _survey_of(store, given)
    return Linkable(
        basis=basis_of(plan, given, kernels=kernels, code=code_identity()["digest"], survey=answer),
        rows=rows_of_units(given.units, repeats),
    )


def is_known(wanted: Linkable) -> bool:
    """Whether all that decides the units' records is known: nothing else may be told to later runs."""
    return wanted.basis.survey != NOT_KNOWN


def _survey_of(store: Store, given: GovernedInput) -> tuple[str | None, Mapping[str, str]]:
    """Digest of what a survey tells all units alike, and of the rows that repeat a key, by the path of their file."""
    if not asked_of(given.source).needs_key:  # ages are judged for the whole dataset: no row depends on them
        return None, {}
    survey = find_survey(store, _survey_folder(given))
    if survey is None:
        return NOT_KNOWN, {}
    if not survey.repeated:
        return _answer(survey), {}
    ids = {one.path: fragment_id(one) for one in given.dataset.snapshot.fragments}
    return _answer(survey), {path: survey.repeated[id_].digest for path, id_ in ids.items() if id_ in survey.repeated}


def _survey_folder(given: GovernedInput) -> str:
    if given.source.survey is not None:  # what its units are read by: <storage>/surveys/<dataset>/<name>
        return "/".join(given.source.survey.split("/")[-3:])
    content, key_id = given.dataset.snapshot.content_digest, current_key_id(Path(given.source.keys_folder))
    return survey_folder(given.dataset.name, asked_of(given.source), content_digest=content, key_id=key_id)


def _answer(survey: Survey) -> str:
    asked = survey.asked.record()
    return digest(
        {
            "keys": asked["keys"],
            "rare": asked["rare"],
            "key": survey.key_id,
            "frequent": [file.digest for file in survey.frequent],
        }
    )


def find_links(store: Store, files: DataFiles, output: str, wanted: Linkable) -> Found:
    """What of `wanted` runs of `output` did before; nothing is written.

    Parameters
    ----------
    files : the data files of the storage.
    """
    manifests = {body["run"]: body for body in _manifests(store, output)}
    earlier = [
        Earlier.of(run, body["lineage"].get("basis"), body.get("identities", {})) for run, body in manifests.items()
    ]
    decided = decide_links(wanted, earlier)
    look = _Look(store=store, files=files, output=output, manifests=manifests)
    return look.at(decided)


def _manifests(store: Store, output: str) -> Iterator[Mapping[str, Any]]:
    for listed in newest_listed(store, output, SNAPSHOTS):
        with suppress(NotFound):  # somebody cleared old runs away
            body = read_listed(store, output, listed)
            if body["lineage"].get("kind") == "rescore":
                yield body


class _Look:
    """One look at what runs left of units."""

    def __init__(
        self, *, store: Store, files: DataFiles, output: str, manifests: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._store, self._files, self._output, self._manifests = store, files, output, manifests

    def at(self, decided: Decided) -> Found:
        """What of `decided` is whole."""
        looked = dict(zip(decided.matches, side_by_side(self._first, decided.matches.values()), strict=True))
        marked = self._marked([record for _, record in looked.values() if record is not None])
        links, records, reasons = {}, {}, dict(decided.reasons)
        for unit, (found, record) in looked.items():
            if record is None or isinstance(found, Reason):
                reasons[unit] = (found,) if isinstance(found, Reason) else (Reason.MISSING,)
            elif marked.intersection(unit_files(self._output, record)):
                reasons[unit] = (Reason.MISSING,)
            else:
                links[unit], records[unit], reasons[unit] = found, record, (Reason.SCORED_BEFORE,)
        return Found(links=links, records=records, reasons=reasons)

    def _first(self, matches: Sequence[Match]) -> tuple[Link | Reason, UnitRecord | None]:
        """The first of `matches` that is whole, with its record; else why there is none."""
        why = Reason.MISSING
        for match in matches:
            link = Link(run=match.run, unit=match.unit, digest=self._manifests[match.run]["units"][match.unit])
            record = whole_record(self._store, self._files, self._output, link)
            if record is not None and record.receipt.failed:
                why = Reason.FAILED_BEFORE
            elif record is not None:
                return link, record
        return why, None

    def _marked(self, records: Sequence[UnitRecord]) -> set[str]:
        found: dict[str, list[str]] = defaultdict(list)
        for record in records:
            for path in unit_files(self._output, record):
                found[_run_of(path)].append(path)
        return marked_links(self._store, self._output, found)


def _run_of(path: str) -> str:
    """The run in whose folder a file lies: ``datasets/<name>/runs/<run>/...`` or ``quarantine/<name>/<run>/...``."""
    places = path.split("/")
    return places[3] if places[0] == "datasets" else places[2]


def whole_record(store: Store, files: DataFiles, output: str, link: Link) -> UnitRecord | None:
    """The record that `link` names; None where it is another one, or a file of it isn't there in its size."""
    try:
        data = store.get(unit_key(output, link.run, link.unit))
        if digest_bytes(data) != link.digest:
            return None
        record = UnitRecord.from_bytes(data)
        sizes = {path: files.stat(path).size_bytes for path in unit_files(output, record)}
    except (NotFound, Format):
        return None
    return record if sizes == unit_files(output, record) else None


def link_nothing(store: Store, output: str, run: str) -> None:
    """From now on `run` links nothing, whoever resumes it."""
    put_links(store, Links(dataset=output, run=run, again=True))


def link_units(
    store: Store, storage: str, output: str, run: str, wanted: Linkable, *, emit: Emit
) -> Mapping[str, UnitRecord]:
    """The units of `run` that have a record of another run now, each with its record.

    Raises
    ------
    Conflict : the run linked units whose files were given up or went away since.
    """
    files = open_files(storage)
    links = read_links(store, output, run)
    if links is None:
        found = find_links(store, files, output, wanted)
        records = {unit: linked_record(one, unit, found.links[unit].run) for unit, one in found.records.items()}
        mine = Links(dataset=output, run=run, units=found.links, files=files_by_run(output, records.values()))
        links = put_links(store, mine)
        if links == mine:
            linked = _put_records(store, links, records, ())
            _tell(emit, wanted, found.reasons, linked)
            return linked
    if links.again:
        _tell(emit, wanted, dict.fromkeys(wanted.rows, (Reason.ASKED_AGAIN,)), {})
        return {}
    done = committed_units(store, output, run)
    before = {unit: record for unit, record in done.items() if record.linked is not None}
    _require_whole(store, files, links, before)
    records = _records_again(store, files, links, done)
    linked = {**before, **_put_records(store, links, records, done)}
    reasons = dict.fromkeys(linked, (Reason.SCORED_BEFORE,))
    _tell(emit, wanted, reasons, linked)
    return linked


def _put_records(
    store: Store, links: Links, records: Mapping[str, UnitRecord], done: Collection[str]
) -> dict[str, UnitRecord]:
    """Those of `records` that are under the run's keys now; none whose files were marked since they were named."""
    marked = marked_links(store, links.dataset, links.files)

    def put(unit: str) -> UnitRecord | None:
        record = records[unit]
        if unit in done or marked.intersection(unit_files(links.dataset, record)):
            return None
        there = store.put_if_absent(unit_key(links.dataset, links.run, unit), record.to_bytes())
        return record if there else None  # another driver's worker scored it meanwhile

    put_now = dict(zip(records, side_by_side(put, records), strict=True))
    return {unit: record for unit, record in put_now.items() if record is not None}


def _records_again(store: Store, files: DataFiles, links: Links, done: Collection[str]) -> dict[str, UnitRecord]:
    """Of a resumed run: the records to be put of units that have none yet."""
    waiting = {unit: link for unit, link in links.units.items() if unit not in done}
    looked = side_by_side(lambda link: whole_record(store, files, links.dataset, link), waiting.values())
    pairs = zip(waiting.items(), looked, strict=True)
    return {unit: linked_record(one, unit, link.run) for (unit, link), one in pairs if one is not None}


def _require_whole(store: Store, files: DataFiles, links: Links, linked: Mapping[str, UnitRecord]) -> None:
    """Nothing, if what the run took over before it died is still there."""
    dataset, run = links.dataset, links.run
    require_links_unmarked(store, dataset, run, files_by_run(dataset, linked.values()))

    def is_whole(record: UnitRecord) -> bool:
        try:
            return all(files.stat(path).size_bytes == size for path, size in unit_files(dataset, record).items())
        except NotFound:
            return False

    whole = dict(zip(linked, side_by_side(is_whole, linked.values()), strict=True))
    gone = [unit for unit, there in whole.items() if not there]
    if gone:
        raise Conflict(
            f"run {run} took over units whose files are gone or cut short since ({len(gone)} units, {gone[0]} first). "
            "Nothing was published; start a new run"
        )


def _tell(
    emit: Emit, wanted: Linkable, reasons: Mapping[str, Sequence[Reason]], linked: Mapping[str, UnitRecord]
) -> None:
    rows = sum(record.receipt.read for record in linked.values())
    emit("units_linked", units=len(wanted.rows), linked=len(linked), rows=rows, reasons=counted(reasons))
