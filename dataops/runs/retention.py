"""Retention in a workspace: who let rows expire and files go stands in the audit before it happens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from dataops.datasets.catalog import dataset_names
from dataops.datasets.garbage import find_garbage, sweep
from dataops.datasets.retention import ExpiryPlan, expire, plan_expiry, require_unexpired
from dataops.datasets.snapshot import read_snapshot
from dataops.datasets.tombstones import Garbage, mark, require_unmarked
from dataops.declarations.jobs import Job, TrainJob
from dataops.errors import NotFound, near_match
from dataops.governance.audit import record_event
from dataops.records import parse_time
from dataops.runs.audit import sign_audit
from dataops.runs.ledger import Run
from dataops.runs.workspace import Workspace, os_user
from dataops.storage.files import open_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Garbage as it was found, by what became of it; in a dry run, by what would."""

    marked: tuple[Garbage, ...]
    waiting: tuple[Garbage, ...]
    deleted: tuple[Garbage, ...]


def expire_dataset(
    workspace: Workspace, name: str, *, older_than: timedelta | None, at: datetime, do: bool
) -> tuple[ExpiryPlan, int | None]:
    """What of dataset `name` is too old, and the number of the snapshot without it: None where there is no new one.

    Parameters
    ----------
    do : False changes nothing.

    Raises
    ------
    NotFound, InvalidInput : as `plan_expiry`.
    Conflict : the dataset moved on meanwhile; nothing expired.
    """
    plan = plan_expiry(workspace.settings, workspace.store, name, older_than=older_than, at=at)
    if not (do and plan.gone):
        return plan, None
    record_event(
        workspace.audit,
        "expiry",
        principal=os_user(),
        dataset=name,
        snapshot=plan.after.number,
        retention_seconds=plan.retention_seconds,
        runs=[one.run for one in plan.gone],
        rows=sum(one.rows for one in plan.gone),
    )
    snapshot = expire(workspace.store, plan, at=at)
    sign_audit(workspace)
    return plan, None if snapshot is None else snapshot.number


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
    """
    if dataset is not None:
        _require_known(workspace, dataset)
    store, files = workspace.store, open_files(workspace.settings.storage)

    def sign(run: str) -> datetime | None:
        try:
            events = workspace.ledger.state(run).events
        except NotFound:  # somebody cleared old runs away
            return None
        return parse_time(events[-1]["at"]) if events else None

    found = find_garbage(store, files, sign=sign, grace=grace, at=at, dataset=dataset)
    new = [one for one in found if one.marked_at is None and not one.may_go(at, grace)]
    going = [one for one in found if one.may_go(at, grace)]
    if do:
        # so that a grace of nothing needs one call, not two
        new = [mark(store, one, at=at) for one in new]
        going += [one for one in new if one.may_go(at, grace)]
        new = [one for one in new if not one.may_go(at, grace)]
        _delete(workspace, going)
        if going:
            sign_audit(workspace)
    return Collected(
        marked=tuple(new),
        waiting=tuple(one for one in found if one.marked_at is not None and not one.may_go(at, grace)),
        deleted=tuple(going),
    )


def _delete(workspace: Workspace, going: Iterable[Garbage]) -> None:
    files = open_files(workspace.settings.storage)
    for one in going:
        record_event(
            workspace.audit,
            "collection",
            principal=os_user(),
            dataset=one.dataset or None,
            run=one.run or None,
            reason=str(one.reason),
            files=len(one.files),
            size_bytes=one.size_bytes,
        )
        sweep(files, workspace.store, one)


def _require_known(workspace: Workspace, name: str) -> None:
    declared, made = dataset_names(workspace.settings, workspace.store)
    if name not in (*declared, *made):
        raise NotFound(f"no dataset '{name}'.{near_match(name, [*declared, *made])}")


def require_resumable(workspace: Workspace, run: Run, job: Job) -> None:
    """Nothing, unless what `run` pinned expired since, or what it wrote was given up.

    Raises
    ------
    NotFound : which, when, why.
    """
    if not isinstance(job, TrainJob):
        require_unmarked(workspace.store, job.output, run.id)
    for pinned in run.inputs.values():
        snapshot = read_snapshot(workspace.store, pinned["dataset"])
        if snapshot is not None and snapshot.content_digest != pinned["content_digest"]:
            require_unexpired(workspace.store, pinned["dataset"], pinned["content_digest"])
