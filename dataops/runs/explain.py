"""What a job would read and why, what of it the policies hide, what will be checked, and how long it may take: before
anything runs, from footers and records alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from statistics import median
from typing import Any

from dataops.datasets.access import GovernedInput, totals
from dataops.datasets.footers import expect
from dataops.declarations.inputs import INPUT
from dataops.declarations.jobs import Job
from dataops.errors import DataopsError
from dataops.governance.checking import columns_of_rules
from dataops.governance.contract import Column, Rule
from dataops.governance.expressions import parse_expression
from dataops.governance.rule_words import asked
from dataops.preparation.join_plan import Joined, JoinPlan
from dataops.preparation.prepare import PreparePlan
from dataops.preparation.split import SPLIT_COLUMN
from dataops.rescoring.kernels import known_kernels
from dataops.rescoring.linking import spelled
from dataops.rescoring.plan import ScorePlan
from dataops.runs.ledger import State, job_of
from dataops.runs.linking import find_links, linkable
from dataops.runs.planning import plan_job
from dataops.runs.workspace import Workspace
from dataops.storage.files import open_files

PAST_RUNS = 5
ABOUT = 0.2  # runs whose rows differ by so much of ours took about as long
LEAST_ROWS = 10_000  # what fewer rows take says little of what more would
READ, CHECKED, NOT_READ = "yes", "for checks", "no"


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
    units = None
    if planned and isinstance(planned.plan, ScorePlan):
        units = _units(workspace, planned.plan, planned.inputs[INPUT])
    return {
        "job": job.name,
        "kind": job.job,
        "inputs": [_explained(name, given, wanted.get(name, ())) for name, given in inputs.items()],
        "output": _made(planned.plan) if planned else None,
        "units": units,
        "reasons": _reasons(workspace, inputs),
        **_estimate(workspace, job, inputs, linked=_linked_rows(units)),
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
        "arrivals": dict(given.taken.counts) if given.taken else None,
        "rows": rows,
        "rows_at_most": expected.rows,
        "stored_bytes": expected.stored_bytes,
        "read_bytes": expected.read_bytes,
        "files": expected.files,
        "files_looked_at": expected.files_looked_at,
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


def _units(workspace: Workspace, plan: ScorePlan, given: GovernedInput) -> dict[str, Any]:
    """For each unit why it would be scored, or that it wouldn't, since a run scored it before; counted, and one by one.

    What somebody deletes until the job runs is scored all the same, and so is what another library scores once a run
    measured it.
    """
    files, store = open_files(workspace.settings.storage), workspace.store
    wanted = linkable(store, plan, given, known_kernels(store, plan, given.units))
    found = find_links(store, files, plan.job.output, wanted)
    rows = {unit.id: unit.rows for unit in given.units}
    counts: dict[str, list[int]] = {}
    for unit, why in found.reasons.items():
        count = counts.setdefault(spelled(why), [0, 0])
        count[0], count[1] = count[0] + 1, count[1] + rows[unit]
    most_first = sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))
    return {
        "reasons": [{"reason": why, "units": units, "rows": of_them} for why, (units, of_them) in most_first],
        "units": [
            {
                "unit": unit.id,
                "file": unit.fragment.shown,
                "rows": unit.rows,
                "reasons": list(found.reasons[unit.id]),
                "run": found.links[unit.id].run if unit.id in found.links else None,
            }
            for unit in given.units
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "rule": rule.id,
        "asks": asked(rule),
        "kind": rule.kind.value,
        "action": rule.action.value,
        "max_rows": rule.max_rows,
        "max_percent": rule.max_percent,
    }


def _reasons(workspace: Workspace, inputs: Mapping[str, GovernedInput]) -> dict[str, str]:
    """The reasons that the policies give for the rules that decided, by ``<policy>/<rule>``."""
    decided = {rule for given in inputs.values() for decision in given.grant.decisions for rule in decision.rules}
    given = {f"{policy.name}/{rule.id}": rule.reason for policy in workspace.reader().policies for rule in policy.rules}
    return {rule: given[rule] for rule in sorted(decided) if given.get(rule)}


def _made(plan: object) -> dict[str, Any] | None:
    match plan:
        case PreparePlan():
            return _output(plan)
        case JoinPlan():
            return _joined_output(plan)
    return None


def _joined_output(plan: JoinPlan) -> dict[str, Any]:
    """What a join job makes, and how the rows of each dataset travel."""
    job = plan.job
    made_of = {name: [*job.group_by, *one.columns] for name, one in job.aggregations.items()}
    for one in plan.joins:
        counted = {
            name: [f"{one.join.dataset}.{it}" for it in how.columns] for name, how in one.join.aggregations.items()
        }
        own = {name: [f"{one.join.dataset}.{source}"] for name, source in one.join.named.items()}
        found_by = [*one.join.on, *([one.join.asof.at] if one.join.asof else [])]
        made_of |= {name: [*sources, *found_by] for name, sources in {**own, **counted}.items()}
    return {
        "dataset": job.output,
        "columns": [_column(column, made_of.get(column.name, (column.name,))) for column in plan.columns],
        "joins": [_join(one) for one in plan.joins],
    }


def _join(one: Joined) -> dict[str, Any]:
    join = one.join
    keys = [name if name == other else f"{name} = {other}" for name, other in zip(join.on, join.keys, strict=True)]
    return {
        "dataset": join.dataset,
        "on": keys,
        "how": join.how,
        "expect": join.expect,
        "as_of": join.asof.at if join.asof else "any time, also later" if join.aggregate else "",
        "buckets": one.buckets,
    }


def _column(column: Column, made_of: Sequence[str]) -> dict[str, Any]:
    return {
        "column": column.name,
        "made_of": list(made_of),
        "classification": column.classification,
        "masked": bool(column.masks),
    }


def _output(plan: PreparePlan) -> dict[str, Any]:
    """What a prepare job makes: each column, and the columns that it is made of."""
    derived = {name: expression.columns for name, expression in plan.steps.derive}
    split = {SPLIT_COLUMN: plan.job.split.key_columns} if plan.job.split else {}
    return {
        "dataset": plan.job.output,
        "columns": [_column(column, {**split, **derived}.get(column.name, (column.name,))) for column in plan.columns],
    }


def _linked_rows(units: Mapping[str, Any] | None) -> int:
    """Rows of units that would be taken over."""
    return sum(unit["rows"] for unit in units["units"] if unit["run"] is not None) if units else 0


def _estimate(workspace: Workspace, job: Job, inputs: Mapping[str, GovernedInput], *, linked: int) -> dict[str, Any]:
    """Seconds that the job's phases may take, by the newest finished runs of it that read about as many rows, else by
    the time for a row of those that were large enough to tell; None where there is neither. Rows that are taken over
    (`linked` of ours) are read by nobody.
    """
    rows = sum(totals(given.units)[0] for given in inputs.values()) - linked
    past = list(islice(_past(workspace, job), PAST_RUNS))
    alike = [seconds for read, seconds in past if abs(read - rows) <= ABOUT * rows]
    if alike:
        return {"estimated_seconds": median(alike), "past_runs": len(alike), "is_scaled": False}
    large = [seconds / read for read, seconds in past if read >= LEAST_ROWS]
    estimated = median(large) * rows if large else None
    return {"estimated_seconds": estimated, "past_runs": len(large), "is_scaled": bool(large)}


def _past(workspace: Workspace, job: Job) -> Iterator[tuple[int, float]]:
    """Rows and seconds of the job's finished runs, the newest first; a replay reads a few rows of many files. Rows that
    a run took over aren't counted: it didn't read them.
    """
    for run_id in reversed([one for one in workspace.ledger.ids() if job_of(one) == job.name]):
        state = workspace.ledger.state(run_id)
        read = sum(pinned["rows"] for pinned in state.run.inputs.values())
        if state.state is State.DONE and read and not state.run.replay_of:
            linked = max((event["rows"] for event in state.events if event["event"] == "units_linked"), default=0)
            yield read - linked, sum(state.phase_seconds().values())
