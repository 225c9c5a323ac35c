"""What a job would read, and what the policies say of every column, before anything runs."""

from __future__ import annotations

from typing import Any

from dataops.datasets.access import GovernedInput, totals
from dataops.declarations.jobs import Job
from dataops.errors import DataopsError
from dataops.runs.execute import plan_job
from dataops.runs.workspace import Workspace


def explain_job(workspace: Workspace, job: Job, *, source: str) -> dict[str, Any]:
    """The inputs of `job` as its reader would get them, and why the job would be refused, if it would.

    Raises
    ------
    NotFound, AccessDenied, InvalidInput : an input that can't be opened at all.
    """
    inputs = workspace.open_inputs(job)
    refused, exit_code = None, 0
    try:
        plan_job(workspace, job, inputs, source=source)
    except DataopsError as error:
        refused, exit_code = str(error), error.exit_code
    return {
        "job": job.name,
        "kind": job.job,
        "inputs": [_explained(name, given) for name, given in inputs.items()],
        "refused": refused,
        "exit_code": exit_code,
    }


def _explained(name: str, given: GovernedInput) -> dict[str, Any]:
    rows, size_bytes = totals(given.units)
    classes = {column.name: column.classification for column in given.dataset.contract.columns}
    return {
        "input": name,
        "dataset": given.dataset.name,
        "snapshot": given.dataset.snapshot.number,
        "purpose": given.grant.purpose,
        "zone": given.dataset.zone,
        "as": f"{given.grant.principal} ({', '.join(given.grant.roles)})",
        "units": len(given.units),
        "rows": rows,
        "size_bytes": size_bytes,
        "row_filters": "; ".join(given.grant.effect.filters) or "none",
        "contract_rules": len(given.dataset.contract.rules),
        "columns": [
            {
                "column": decision.column,
                "verdict": decision.verdict.value,
                "mask": str(decision.mask) if decision.mask else "",
                "classification": classes[decision.column],
                "rules": ", ".join(decision.rules) or "no rule allows it",
            }
            for decision in given.grant.decisions
        ],
    }
