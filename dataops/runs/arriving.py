"""Opening a dataset whose files arrive: what of it a job that follows takes now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from dataops.datasets.access import GovernedInput, Reader, govern
from dataops.datasets.arrivals import Arrived, storage_clock_ns
from dataops.datasets.catalog import Dataset, open_arriving, open_as_of
from dataops.datasets.following import Rules, Taken, read_chain, sort_arrivals
from dataops.datasets.snapshot import Fragment, last_followed, read_manifest
from dataops.datasets.source import footer_digest
from dataops.datasets.units import plan_units
from dataops.declarations.follow import FollowedInput, Late
from dataops.declarations.rescore import RescoreJob
from dataops.errors import Conflict, ContractViolation, Integrity, InvalidInput, NotFound, near_match
from dataops.governance.grant import Purpose
from dataops.settings import Settings
from dataops.storage.files import DataFiles, open_files
from dataops.storage.objects import Store


def open_followed(
    settings: Settings, store: Store, reader: Reader, job: RescoreJob, *, snapshot: int | None = None
) -> GovernedInput:
    """The input of `job`, with the files that it takes now.

    Parameters
    ----------
    snapshot : open the dataset as it was recorded in this one; nothing is taken then.

    Raises
    ------
    NotFound, AccessDenied, InvalidInput : as for any input; a watermark that is no partition column of times.
    Conflict : the output was made of whole data, or of another dataset's files.
    ContractViolation : there are late files, and the job stops at them.
    """
    followed = job.followed
    assert followed is not None  # noqa: S101  # who asks has looked
    if snapshot is not None:
        return govern(settings, reader, open_as_of(settings, store, followed.dataset, snapshot), Purpose.SCORE)
    now_ns = storage_clock_ns(open_files(settings.storage))
    dataset, arrived = open_arriving(
        settings, store, followed.dataset, settle_seconds=followed.settle_seconds, now_ns=now_ns
    )
    given = govern(settings, reader, dataset, Purpose.SCORE)
    taken = _take(store, dataset, arrived, job.output, followed)
    return replace(given, taken=taken, units=plan_units(taken.fragments))


def _take(store: Store, dataset: Dataset, arrived: Arrived, output: str, followed: FollowedInput) -> Taken:
    rules = _rules(dataset, followed)
    previous, before = _taken_before(store, dataset.name, output)
    found = sort_arrivals(dataset.snapshot.fragments, before, rules, same_bytes=_compared(open_files(dataset.url)))
    if found.late and followed.late is Late.STOP:
        raise ContractViolation(
            f"dataset '{dataset.name}': {len(found.late)} files arrived late, {found.late[0].shown} first: more than "
            f"{followed.lateness_seconds:g} seconds below the newest '{followed.watermark}' that was taken. Nothing "
            "was scored; take them away, or say `late: score` or `late: skip`"
        )
    return Taken(
        dataset=dataset.name,
        previous=previous,
        fragments=found.new,
        counts=found.counts(arrived),
        named=found.named(arrived),
    )


def _taken_before(store: Store, dataset: str, output: str) -> tuple[tuple[str, str] | None, list[Fragment]]:
    """The last run that took files into `output`, with the digest of its record, and all that was taken."""
    last = last_followed(store, output)
    if last is None:
        return None, []
    follows = read_manifest(store, output, last["run"], last["digest"]).follows
    if follows is None:
        raise Integrity(f"dataset '{output}': the manifest of run {last['run']} says nothing of the files it took")
    chain = list(read_chain(store, last["run"], follows["record"]))
    others = {one.dataset for one in chain} - {dataset}
    if others:
        raise Conflict(
            f"dataset '{output}' holds scores of files of '{min(others)}', which this job doesn't follow; choose "
            "another output"
        )
    return (last["run"], follows["record"]), [fragment for one in reversed(chain) for fragment in one.fragments]


def _rules(dataset: Dataset, followed: FollowedInput) -> Rules:
    """Raises InvalidInput where the watermark is no partition column of times."""
    if followed.watermark is None:
        return Rules(repeated=followed.repeated, late=followed.late)
    partitions = {column.name: column for column in dataset.contract.columns if column.partitioned}
    column = partitions.get(followed.watermark)
    if column is None:
        raise InvalidInput(
            f"input: watermark: '{followed.watermark}' is no partition column of dataset '{dataset.name}'."
            f"{near_match(followed.watermark, partitions)}"
        )
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        raise InvalidInput(f"input: watermark: '{column.name}' is {column.type}; expected dates or timestamps")
    return Rules(
        repeated=followed.repeated,
        late=followed.late,
        watermark=(column.path[0], column.type),
        lateness_seconds=followed.lateness_seconds,
    )


def _compared(files: DataFiles) -> Callable[[Fragment, Fragment], bool]:
    """Whether two files of one footer and size hold the same bytes; of one that is gone, or isn't any more what
    it was, footer and size must do: what lies there now says nothing of the rows that were taken.
    """
    digests: dict[str, str | None] = {}

    def digest_of(one: Fragment) -> str | None:
        if one.path not in digests:
            digests[one.path] = _digest_of_what_was_seen(files, one)
        return digests[one.path]

    def same(one: Fragment, other: Fragment) -> bool:
        first, second = digest_of(one), digest_of(other)
        return first is None or second is None or first == second

    return same


def _digest_of_what_was_seen(files: DataFiles, one: Fragment) -> str | None:
    """The digest of the bytes of `one`, if that very file is there before and after they are read."""
    try:
        if not _is_there(files, one):
            return None
        found = files.sha256(one.path)
        return found if _is_there(files, one) else None
    except (NotFound, Integrity):
        return None


def _is_there(files: DataFiles, one: Fragment) -> bool:
    """Raises NotFound without any file there, Integrity where it is no whole one."""
    stat = files.stat(one.path)
    if (stat.size_bytes, stat.mtime_ns) != (one.size_bytes, one.modified_ns):
        return False
    with files.open(one.path) as opened:
        return footer_digest(opened, one.path) == one.digest
