"""What a job would read and why, what of it the policies hide, what will be checked, and how long it may take: before
anything runs, from footers and records alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from dataops.datasets.access import GovernedInput, totals
from dataops.datasets.footers import expect
from dataops.declarations.jobs import Job
from dataops.errors import DataopsError
from dataops.governance.checking import columns_of_rules
from dataops.governance.contract import Rule
from dataops.governance.expressions import parse_expression
from dataops.runs.execute import plan_job
from dataops.runs.ledger import State, job_of
from dataops.runs.workspace import Workspace

PAST_RUNS = 5
READ, CHECKED, NOT_READ = "read", "checked", ""


def explain_job(workspace: Workspace, job: Job, *, source: str) -> dict[str, Any]:
    """The inputs of `job` as its reader would get them, and why the job would be refused, if it would.

    Raises
    ------
    NotFound, AccessDenied, InvalidInput : an input that can't be opened at all.
    """
    inputs = workspace.open_inputs(job)
    planned, refused, exit_code = None, None, 0
    try:
        planned = plan_job(workspace, job, inputs, source=source)
    except DataopsError as error:
        refused, exit_code = str(error), error.exit_code
    wanted = planned.columns_read() if planned else {}
    seconds, past_runs = _estimate(workspace, job, inputs)
    return {
        "job": job.name,
        "kind": job.job,
        "inputs": [_explained(name, given, wanted.get(name, ())) for name, given in inputs.items()],
        "estimated_seconds": seconds,
        "past_runs": past_runs,
        "refused": refused,
        "exit_code": exit_code,
    }


def _explained(name: str, given: GovernedInput, wanted: tuple[str, ...]) -> dict[str, Any]:
    rows, _ = totals(given.units)
    effect, contract = given.grant.effect, given.dataset.contract
    filters = [parse_expression(text, where="row filter of the policy") for text in effect.filters]
    checked = {*columns_of_rules(contract), *(name for one in filters for name in one.columns)}
    expected = expect(given.source.url, contract, given.units, {*wanted, *checked}, filters)
    return {
        "input": name,
        "dataset": given.dataset.name,
        "snapshot": given.dataset.snapshot.number,
        "purpose": given.grant.purpose,
        "zone": given.dataset.zone,
        "as": f"{given.grant.principal} ({', '.join(given.grant.roles)})",
        "until": given.grant.expires_at,
        "units": len(given.units),
        "rows": rows,
        "rows_at_most": expected.rows,
        "stored_bytes": expected.stored_bytes,
        "read_bytes": expected.read_bytes,
        "row_filters": list(effect.filters),
        "min_group_size": effect.min_group_size,
        "contract": f"{contract.name} {contract.version}",
        "contract_rules": [_rule(rule) for rule in contract.rules],
        "columns": [
            {
                "column": decision.column,
                "used": READ if decision.column in wanted else CHECKED if decision.column in checked else NOT_READ,
                "verdict": decision.verdict.value,
                "mask": str(decision.mask) if decision.mask else "",
                "classification": decision.classification,
                "rules": list(decision.rules),
                "reason": decision.reason,
            }
            for decision in given.grant.decisions
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    limit = f"{rule.max_percent:g} percent" if rule.max_percent is not None else rule.max_rows
    return {"rule": rule.id, "kind": rule.kind.value, "action": rule.action.value, "limit": limit}


def _estimate(workspace: Workspace, job: Job, inputs: Mapping[str, GovernedInput]) -> tuple[float | None, int]:
    """Seconds that the job's phases may take, and how many finished runs of it that is taken from: their median time
    for a row.
    """
    rows = sum(totals(given.units)[0] for given in inputs.values())
    per_row = []
    for run_id in reversed([one for one in workspace.ledger.ids() if job_of(one) == job.name]):
        state = workspace.ledger.state(run_id)
        read = sum(pinned["rows"] for pinned in state.run.inputs.values())
        if state.state is State.DONE and read:
            per_row.append(sum(state.phase_seconds().values()) / read)
        if len(per_row) == PAST_RUNS:
            break
    return (median(per_row) * rows if per_row else None), len(per_row)
