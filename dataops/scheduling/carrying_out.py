"""Carrying out a submission: what its process does before the run begins.

1. The request is read anew, from the inbox: nobody tells this process whose it is.
2. The job runs as its submitter: the roles and policies of that person count, and no right of the account that runs it.
   The audit says who acts for whom before anything is read.
3. A run of the submission's id that somebody else began is not gone on with.
4. What this account may write and the submitter may not, is lent for what is the submitter's own: a dataset that is
   new, or that a run of theirs made. A version of a model is added to those that are there, and this account's key
   doesn't sign it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dataops.datasets.snapshot import read_snapshot
from dataops.declarations.clusters import ClusterFile
from dataops.declarations.jobs import DeclaredJob, WritingJob, job_in
from dataops.errors import AccessDenied
from dataops.governance.audit import record_event
from dataops.runs.workspace import Workspace, os_user
from dataops.scheduling.intake import open_intake
from dataops.scheduling.requests import CLUSTER_FOLDER


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOut:
    """What to run: `workspace` acts for the submitter."""

    workspace: Workspace
    declared: DeclaredJob
    cluster: ClusterFile
    again: bool


def submission_arguments(submission_id: str) -> tuple[str, ...]:
    """What the process that carries out a submission is told, as arguments of ``dataops``."""
    return ("job", "run", "--submission", submission_id, "--json")


def open_submission(workspace: Workspace, submission_id: str) -> CarriedOut:
    """The submission that a script took, to be run under its own id.

    Raises
    ------
    NotFound : nobody took it, it has ended, or its writer took it away.
    AccessDenied : it isn't what was taken, this account may not act for its writer, or somebody else began its run or
        made the dataset that it would write.
    InvalidInput, Format, Integrity : it can't be read, or isn't right any more.
    Storage : the audit can't be told: nothing may be read.
    """
    asked = open_intake(workspace).to_carry_out(submission_id)
    request, principal = asked.request, asked.principal
    declared = job_in(request.text, request.source, request.job)
    name = request.cluster
    place = None if name is None else str(workspace.settings.workspace / CLUSTER_FOLDER / name)
    cluster = workspace.cluster(place)
    begun = workspace.ledger.find(submission_id)
    if begun is not None and begun.run.principal != principal:
        raise AccessDenied(f"run {submission_id} was begun by '{begun.run.principal}', and '{principal}' submitted it")
    acting = replace(workspace, acting_for=principal)
    if acting.submitter is not None:
        _require_own_output(acting, declared)
    acting.reader()  # who lost all roles since is told so, and nothing is on record as done for them
    record_event(
        workspace.audit,
        "submission",
        principal=os_user(),
        run=submission_id,
        submitter=principal,
        request=asked.digest,
        **({} if asked.signature is None else {"key": asked.signature.key_id}),
    )
    return CarriedOut(workspace=acting, declared=declared, cluster=cluster, again=request.again)


def _require_own_output(workspace: Workspace, declared: DeclaredJob) -> None:
    """Nothing, if the job writes no dataset that a run of somebody else than its submitter made."""
    job = declared.job
    made = read_snapshot(workspace.store, job.output) if isinstance(job, WritingJob) else None
    if made is None or not isinstance(job, WritingJob):
        return
    run = workspace.ledger.find(made.manifests[-1].run)
    maker = "nobody that is known" if run is None else f"'{run.run.principal}'"
    if run is None or run.run.principal != workspace.principal:
        raise AccessDenied(
            f"{declared.document.source}: output: '{job.output}' was made by a run of {maker}, and "
            f"'{workspace.principal}' submitted this: what others read is not replaced so; choose another name"
        )
