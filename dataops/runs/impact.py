"""What a challenger would change: the figures of a rescore that scored both, and the rows that would move most.

1. Figures are those of the run's result: anybody who may see runs may see them.
2. Which rows move most is read from the run's own scores, under the policies of the day and for the purpose
   ``evaluate``; only while they are part of the dataset. Rows that other runs added to it are none of this run's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.datasets.access import GovernedInput, open_inputs
from dataops.datasets.units import Unit, plan_units
from dataops.declarations.inputs import INPUT
from dataops.declarations.metrics import Task
from dataops.declarations.outputs import OWN, Output, column_name
from dataops.declarations.rescore import RescoreJob
from dataops.errors import Conflict, InvalidInput, NotFound, near_match
from dataops.governance.grant import Purpose
from dataops.runs.ledger import RunState, State
from dataops.runs.look import look_at
from dataops.runs.planning import job_of_run
from dataops.runs.workspace import Workspace

CHANGE = "change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What `challenger` would change in the scores of `run`.

    Attributes
    ----------
    figures : see `dataops.rescoring.impact.impact_figures`.
    movers : rows that would move most, the furthest first; None where nobody asked.
    note : what kept the look at the movers from being signed.
    """

    run: str
    own: str
    challenger: str
    version: str
    figures: Mapping[str, Any]
    movers: tuple[Mapping[str, Any], ...] | None = None
    note: str | None = None


def show_impact(
    workspace: Workspace, run_id: str, *, challenger: str | None = None, movers: int | None = None
) -> Impact:
    """The impact of `challenger` (of the only one, if it isn't named) by the rescore `run_id`.

    Parameters
    ----------
    movers : how many rows to show, at least 1; None shows none and reads none.

    Raises
    ------
    NotFound : no such run or challenger.
    InvalidInput : the run isn't a rescore that is done, or scored no challenger.
    Conflict : movers are asked for, and the run's scores are no longer part of the dataset.
    AccessDenied : movers are asked for, and the policies don't give their columns.
    """
    state = workspace.ledger.state(run_id)
    job = _require_compared(state)
    name = _named(challenger, job)
    shown = Impact(
        run=run_id,
        own=_reference(state.run.model or {}),
        challenger=name,
        version=_reference(state.run.challengers[name]),
        figures=state.result["challengers"][name]["impact"],
    )
    return shown if movers is None else _with_movers(workspace, state, job, shown, movers)


def _require_compared(state: RunState) -> RescoreJob:
    job = job_of_run(state.run)
    if not isinstance(job, RescoreJob) or not job.challengers:
        raise InvalidInput(
            f"run {state.run.id} scored no challenger: name one in its job, for example\n"
            f"  challengers: {{next: {state.run.model['model'] if state.run.model else 'income'}@challenger}}"
        )
    if state.state is not State.DONE:
        raise InvalidInput(f"run {state.run.id} is {state.state}: its figures come when it is done")
    return job


def _named(challenger: str | None, job: RescoreJob) -> str:
    names = list(job.challengers)
    if challenger is None and len(names) == 1:
        return names[0]
    if challenger is None:
        raise InvalidInput(f"the run scored {len(names)} challengers: choose one of {', '.join(names)}")
    if challenger not in names:
        raise NotFound(f"the run scored no challenger '{challenger}'.{near_match(challenger, names)}")
    return challenger


def _reference(pinned: Mapping[str, Any]) -> str:
    return f"{pinned['model']}@{pinned['version']}"


def _with_movers(workspace: Workspace, state: RunState, job: RescoreJob, shown: Impact, movers: int) -> Impact:
    if movers < 1:
        raise InvalidInput(f"{movers} movers: ask for at least 1")
    output = Output.PREDICTION if state.result.get("task") == Task.REGRESSION else Output.PROBABILITY
    if job.outputs is not None and output not in job.outputs:
        kept = "numbers" if output is Output.PREDICTION else "probabilities"
        raise InvalidInput(f"job '{job.name}' doesn't keep {kept}: add `{output}` to its outputs")
    given = open_inputs(
        workspace.settings, workspace.store, workspace.reader(), {INPUT: (job.output, Purpose.EVALUATE)}
    )[INPUT]
    given = replace(given, units=_units_of(state.run.id, given))
    own, other = (column_name(output, name) for name in (OWN, shown.challenger))
    columns = (*job.keep, own, other)
    given.require_columns(columns, where="model impact")
    with look_at(workspace, given, what="impact") as look:
        rows = largest_changes(look.tables(columns), own, other, movers)
    return replace(shown, movers=tuple(rows.to_pylist()), note=look.note)


def _units_of(run: str, given: GovernedInput) -> tuple[Unit, ...]:
    """The units of what `run` added to the dataset."""
    manifests = given.dataset.snapshot.manifests
    for manifest in manifests:
        if manifest.run == run:
            return plan_units(manifest.fragments)
    raise Conflict(
        f"the scores of {run} are no longer part of dataset '{given.dataset.name}', whose newest are those of "
        f"{manifests[-1].run}: ask for that run, or score anew"
    )


def largest_changes(tables: Iterable[pa.Table], own: str, other: str, most: int) -> pa.Table:
    """The `most` rows whose two predictions differ most, the furthest first, equal ones as they came; the change
    (other less own) is the column `CHANGE`.
    """
    best: pa.Table | None = None
    for table in tables:
        change = pc.subtract(pc.cast(table.column(other), pa.float64()), pc.cast(table.column(own), pa.float64()))
        changed = table.append_column(CHANGE, change)
        best = _furthest(changed if best is None else pa.concat_tables([best, changed]), most)
    return pa.table({}) if best is None else best


def _furthest(table: pa.Table, most: int) -> pa.Table:
    distance = np.abs(table.column(CHANGE).to_numpy())
    return table.take(pa.array(np.argsort(-distance, kind="stable")[:most]))
