"""The datasets that policies may speak of, from entries, contracts, manifests and job files; no data file is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataops.datasets.access import origins_of, todays_contract
from dataops.datasets.catalog import open_dataset, read_contract, read_entry
from dataops.declarations.jobs import Job, WritingJob, input_of
from dataops.declarations.join import JoinJob
from dataops.declarations.rescore import RescoreJob, score_names
from dataops.governance.policy_world import KnownDataset
from dataops.preparation.split import SPLIT_COLUMN
from dataops.runs.workspace import Workspace


def known_dataset(workspace: Workspace, name: str, *, declared: bool) -> KnownDataset:
    """The dataset `name` by the contract of its catalog entry (`declared`), or by the manifest of whoever made it.

    Raises
    ------
    NotFound, InvalidInput : its entry or contract isn't there, or is wrong.
    """
    if not declared:
        dataset = open_dataset(workspace.settings, workspace.store, name)
        contract = todays_contract(workspace.settings, dataset)
        return KnownDataset(name=name, zone=dataset.zone, contract=contract, made_from=origins_of(dataset))
    root = workspace.settings.workspace
    entry = read_entry(root, name)
    return KnownDataset(
        name=name, zone=entry.zone, contract=read_contract(root / entry.contract), source=entry.contract
    )


def with_promised(jobs: Sequence[Job], known: Mapping[str, KnownDataset]) -> dict[str, KnownDataset]:
    """`known` and the outputs of jobs that nobody made yet, each in its input's zone; not what comes of nothing."""
    found = dict(known)
    making = [job for job in jobs if isinstance(job, WritingJob)]
    for _ in making:  # as many rounds as a chain can be long
        for job in making:
            name = input_of(job)
            if name in found and job.output not in found:
                promised = _promised_names(job, found[name])
                found[job.output] = KnownDataset(name=job.output, zone=found[name].zone, promised=promised)
    return found


def _promised_names(job: WritingJob, given: KnownDataset) -> tuple[str, ...]:
    """The columns that `job` writes, as far as they are read from `given`."""
    if isinstance(job, RescoreJob):
        return (*job.keep, *score_names(job))
    columns = [column.name for column in given.contract.columns] if given.contract else given.promised
    if isinstance(job, JoinJob):
        kept = job.group_by or (columns if job.columns is None else job.columns)
        return (*kept, *job.aggregate, *(name for join in job.joins for name in (*join.named, *join.aggregate)))
    kept = job.columns if job.columns is not None else (*columns, *job.derive)
    return (*kept, SPLIT_COLUMN) if job.split else tuple(kept)
