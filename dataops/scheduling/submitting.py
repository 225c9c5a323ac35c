"""Submitting a job: what can be told before it waits, is told; then the request is put into the inbox.

1. The file and the job are checked as `dataops job run` checks them; the submitter reads no data for that.
2. What the policies refuse as a whole is refused here, as far as the submitter may read them. The process that carries
   the job out decides by all of them, down to the last column.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from dataops.datasets.access import Reader, govern
from dataops.datasets.catalog import is_declared, open_dataset, read_contract, read_entry
from dataops.declarations.clusters import read_cluster
from dataops.declarations.jobs import DeclaredJob, Job, job_in
from dataops.declarations.loader import read_text
from dataops.declarations.policy_files import POLICIES
from dataops.errors import AccessDenied, DataopsError, NotFound, Storage
from dataops.governance.keys import current_key_id
from dataops.governance.policy import decide
from dataops.runs.workspace import Workspace
from dataops.scheduling.inbox import Inbox
from dataops.scheduling.requests import CLUSTER_FOLDER, Request, new_submission_id, require_cluster_name


def submit(
    workspace: Workspace,
    inbox: Inbox,
    file: Path,
    name: str | None,
    *,
    cluster: str | None,
    again: bool,
    now: datetime,
) -> Request:
    """The request for the job `name` of `file`, which lies in the inbox now.

    Parameters
    ----------
    workspace : opened to look at, or more.
    cluster : the name of a file in the workspace's ``cluster/``.

    Raises
    ------
    InvalidInput, NotFound : file, name or cluster are wrong.
    AccessDenied : the policies give the submitter nothing of a dataset that the job reads.
    """
    text = read_text(file)
    declared = job_in(text, str(file), name)
    if cluster is not None:
        read_cluster(workspace.settings.workspace / CLUSTER_FOLDER / require_cluster_name(cluster))
    require_allowed(workspace, declared)
    request = Request(
        id=new_submission_id(declared.job.name, now),
        inbox=inbox.place(),
        job=declared.job.name,
        text=text,
        source=str(file),
        cluster=cluster,
        again=again,
        principal=workspace.principal,
        submitted_at=now,
    )
    inbox.submit(Request.from_bytes(request.to_bytes()))  # whatever a script would refuse is refused here
    return request


def require_allowed(workspace: Workspace, declared: DeclaredJob) -> None:
    """Nothing, if it can't be told that the job is refused to this user: nothing was read, and files may be closed to
    who submits.

    Raises
    ------
    AccessDenied : the user has no role, or no column of a dataset.
    InvalidInput : a policy is wrong: nobody's job runs.
    """
    try:
        reader = workspace.reader()
    except Storage:
        return
    if not os.access(workspace.settings.workspace / POLICIES, os.R_OK | os.X_OK):
        return
    for dataset, purpose in dict.fromkeys(_wanted(declared.job)):
        try:
            _decide(workspace, reader, dataset, purpose)
        except AccessDenied as error:
            raise AccessDenied(f"{declared.document.source}: {error}") from None
        except (DataopsError, OSError):  # what isn't there yet may be made until it runs; else the run says it
            continue


def _wanted(job: Job) -> list[tuple[str, str]]:
    return [(dataset, str(purpose)) for dataset, purpose in job.inputs.values()]


def _decide(workspace: Workspace, reader: Reader, dataset: str, purpose: str) -> None:
    settings = workspace.settings
    if not is_declared(settings, dataset):
        govern(settings, reader, open_dataset(settings, workspace.store, dataset), purpose)
        return
    entry = read_entry(settings.workspace, dataset)
    decide(
        reader.policies,
        principal=reader.principal,
        roles=reader.roles,
        purpose=purpose,
        dataset=dataset,
        zone=entry.zone,
        contract=read_contract(settings.workspace / entry.contract),
        key_id=_key_id(Path(settings.keys)),
        at=reader.asked_at,
    )


def _key_id(folder: Path) -> str | None:
    """The current key; where only the account that runs jobs may look, any name will do to decide by."""
    try:
        return current_key_id(folder)
    except NotFound:
        return None if os.access(folder, os.R_OK | os.X_OK) else "unknown"
    except (DataopsError, OSError):
        return "unknown"
