"""Retention in a workspace: a steward lets rows expire and files go, and the audit knows before and after.

1. Looking at what would go is for everybody; letting it go needs the role ``steward``.
2. What is about to happen stands in the audit before it does, else it doesn't happen. What came of it stands there
   after, under the number of that record: ``done`` or ``failed``, of files also ``spared`` where somebody came to name
   them in between.
3. What was written to the audit is signed at once, whatever came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from dataops.datasets.catalog import require_dataset
from dataops.datasets.garbage import find_garbage, sweep
from dataops.datasets.retention import ExpiryPlan, expire, plan_expiry, require_unexpired
from dataops.datasets.snapshot import read_snapshot, was_published
from dataops.datasets.tombstones import Garbage, mark, require_unmarked
from dataops.declarations.jobs import Job, WritingJob
from dataops.errors import NotFound
from dataops.records import parse_time
from dataops.runs.audit import announced, signed
from dataops.runs.ledger import Run, RunState, State
from dataops.runs.workspace import Workspace
from dataops.storage.files import open_files

_FOR_STEWARDS = "letting data go can't be undone (without --yes anybody may look at what would go)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """What of a dataset is too old, and the number of the snapshot without it: None where there is no new one.

    `note` is what kept the audit from being signed, None where nothing did.
    """

    plan: ExpiryPlan
    snapshot: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Garbage as it was found, by what became of it; in a dry run, by what would.

    Attributes
    ----------
    spared : was to be deleted, but somebody came to name it since it was found.
    note : what kept the audit from being signed, None where nothing did.
    """

    marked: tuple[Garbage, ...]
    waiting: tuple[Garbage, ...]
    deleted: tuple[Garbage, ...]
    spared: tuple[Garbage, ...] = ()
    note: str | None = None


def expire_dataset(workspace: Workspace, name: str, *, older_than: timedelta | None, at: datetime, do: bool) -> Expired:
    """What of dataset `name` is too old; with `do` it left with a new snapshot.

    Raises
    ------
    NotFound, InvalidInput : as `plan_expiry`.
    AccessDenied : `do`, and the user hasn't the role ``steward``; nothing expired.
    Conflict : the dataset moved on meanwhile; nothing expired.
    """
    if do:
        workspace.require_steward(_FOR_STEWARDS)
    plan = plan_expiry(workspace.settings, workspace.store, name, older_than=older_than, at=at)
    if not (do and plan.gone):
        return Expired(plan=plan)
    with signed(workspace) as signing:
        before = {
            "dataset": name,
            "snapshot": plan.after.number,
            "retention_seconds": plan.retention_seconds,
            "runs": [one.run for one in plan.gone],
            "rows": sum(one.rows for one in plan.gone),
        }
        with announced(workspace, "expiry", before) as came_of_it:
            snapshot = expire(workspace.store, plan)
            number = None if snapshot is None else snapshot.number
            came_of_it.facts["snapshot"] = number
    return Expired(plan=plan, snapshot=number, note=signing.note)


def collect_garbage(
    workspace: Workspace, *, dataset: str | None, grace: timedelta, at: datetime, do: bool
) -> Collected:
    """What nobody names any more: marked if it is new, deleted if it was marked a grace ago.

    Parameters
    ----------
    dataset : this one alone; None: all, and what writes that were cut off left.
    do : False changes nothing.

    Raises
    ------
    NotFound : no such dataset.
    AccessDenied : `do`, and the user hasn't the role ``steward``; nothing was marked or deleted.
    """
    if do:
        workspace.require_steward(_FOR_STEWARDS)
    if dataset is not None:
        require_dataset(workspace.settings, workspace.store, dataset)
    store, files = workspace.store, open_files(workspace.settings.storage)
    found = find_garbage(
        store,
        files,
        sign=_sign_of(workspace),
        in_use=_use_by_the_living(workspace, at - grace),
        grace=grace,
        at=at,
        dataset=dataset,
    )
    new = [one for one in found if one.marked_at is None and not one.may_go(at, grace)]
    going = [one for one in found if one.may_go(at, grace)]
    spared: list[Garbage] = []
    note = None
    if do:
        # marked and gone in one call where the grace is nothing, but for what somebody may be about to name
        new = [mark(store, one, at=at) for one in new]
        going += [one for one in new if one.may_go(at, grace)]
        new = [one for one in new if not one.may_go(at, grace)]
        if going:
            with signed(workspace) as signing:
                spared = _delete(workspace, going)
            note = signing.note
    return Collected(
        marked=tuple(new),
        waiting=tuple(one for one in found if one.marked_at is not None and not one.may_go(at, grace)),
        deleted=tuple(one for one in going if one not in spared),
        spared=tuple(spared),
        note=note,
    )


def _sign_of(workspace: Workspace) -> Callable[[str], datetime | None]:
    def sign(run: str) -> datetime | None:
        try:
            events = workspace.ledger.state(run).events
        except NotFound:  # somebody cleared old runs away
            return None
        return parse_time(events[-1]["at"]) if events else None

    return sign


def _use_by_the_living(workspace: Workspace, since: datetime) -> Callable[[str], bool]:
    """Whether a run that isn't done, and said something after `since`, was planned on a content digest."""

    @cache  # asked for the first survey of content that is no more, which most calls don't find
    def used() -> frozenset[str]:
        states = [workspace.ledger.state(run) for run in workspace.ledger.ids()]
        living = [one.run for one in states if one.state is not State.DONE and _last_sign(one) > since]
        return frozenset(pinned["content_digest"] for run in living for pinned in run.inputs.values())

    return lambda digest: digest in used()


def _last_sign(state: RunState) -> datetime:
    return parse_time(state.events[-1]["at"] if state.events else state.run.created_at)


def _delete(workspace: Workspace, going: Iterable[Garbage]) -> list[Garbage]:
    """What of `going` was spared, since somebody names it by now; the rest is gone."""
    files = open_files(workspace.settings.storage)
    spared = []
    for one in going:
        before = {
            "dataset": one.dataset or None,
            "run": one.run or None,
            "reason": str(one.reason),
            "files": len(one.files),
            "size_bytes": one.size_bytes,
        }
        with announced(workspace, "collection", before) as came_of_it:
            if not sweep(files, workspace.store, one):
                came_of_it.word = "spared"
                spared.append(one)
    return spared


def require_resumable(workspace: Workspace, run: Run, job: Job) -> None:
    """Nothing, unless what `run` pinned expired since, or what it wrote was given up before a snapshot named it.

    Raises
    ------
    NotFound : what expired, when, why.
    Conflict : when it was given up.
    """
    if isinstance(job, WritingJob) and not was_published(workspace.store, job.output, run.id):
        require_unmarked(workspace.store, job.output, run.id)
    for pinned in run.inputs.values():
        snapshot = read_snapshot(workspace.store, pinned["dataset"])
        if snapshot is not None and snapshot.content_digest != pinned["content_digest"]:
            require_unexpired(workspace.store, pinned["dataset"], pinned["content_digest"])
