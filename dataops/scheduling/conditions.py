"""Conditions of steps: whether a step of a slot is done, and in words why.

1. A condition speaks of earlier steps of the same slot, or of figures that runs left. Nothing is measured for it.
2. What isn't known doesn't hold, and the words say what isn't known: no figure is no reason to act.
3. Figures are those of the newest run that is done, by when it began.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dataops.declarations.schedule_steps import (
    EARLIER,
    ChangedIf,
    DriftIf,
    DriftLimit,
    FigureIf,
    JobStep,
    Step,
    name_of,
)
from dataops.declarations.schedule_steps import Figure as FigureBound
from dataops.declarations.schedules import schedule_from_record
from dataops.registry.aliases import current
from dataops.runs.guarding import Figure, own_figure
from dataops.runs.promotion_evidence import done_runs
from dataops.runs.workspace import Workspace
from dataops.scheduling.state import OpenSlot


def holds(workspace: Workspace, step: Step, slot: OpenSlot) -> tuple[bool, str]:
    """Whether the condition of `step` holds in `slot`, and why, in words; a step without one always does.

    Raises
    ------
    Integrity : of a figure of a champion whose move isn't trusted.
    Storage : the runs can't be read.
    """
    match step.condition:
        case None:
            return True, ""
        case str() as word:
            return _earlier(word, slot)
        case ChangedIf(changed=job):
            return _changed(job, slot)
        case FigureIf(figure=asked):
            return _figure(workspace, asked)
        case DriftIf(drift=limit):
            return _drift(workspace, limit)


def _earlier(word: str, slot: OpenSlot) -> tuple[bool, str]:
    told = {"promoted": "promoted a version", "refused": "had a promotion refused", "rolled_back": "rolled back"}
    assert word in EARLIER  # noqa: S101  # a declaration holds no other
    found = [name_of(step) for step, state in _steps(slot) if state == word]
    return bool(found), f"{found[0]} {told[word]}" if found else f"no step before {told[word]}"


def _changed(job: str, slot: OpenSlot) -> tuple[bool, str]:
    outcomes = [outcome for step, outcome in _steps(slot) if isinstance(step, JobStep) and step.job == job]
    if "done" in outcomes:
        return True, f"{job} did new work"
    return False, f"{job} did no new work: {', '.join(str(one or 'not begun') for one in outcomes) or 'no such step'}"


def _steps(slot: OpenSlot) -> list[tuple[Step, str | None]]:
    """The steps of the slot with what came of each, None for what hasn't ended."""
    steps = schedule_from_record(slot.declaration).steps
    return [(step, state.outcome) for step, state in zip(steps, slot.steps, strict=True)]


def _figure(workspace: Workspace, asked: FigureBound) -> tuple[bool, str]:
    champion = current(workspace.registry, asked.model)
    if champion is None:
        return False, f"{asked.model} has no champion, so nothing judged it"
    state = next(done_runs(workspace.ledger, asked.job, kind="evaluate"), None)
    if state is None:
        return False, f"no run of job '{asked.job}' is done"
    reference = f"{asked.model}@{champion.version}"
    found = own_figure(state, champion.version_digest, asked.metric)
    if found is None:
        return False, f"{state.run.id} judged no row that {reference} scored as champion"
    return _within(found, asked, reference)


def _within(found: Figure, asked: FigureBound, reference: str) -> tuple[bool, str]:
    """Whether the figure is below or above its bound."""
    if found.rows < asked.min_rows:
        few = f"{found.run} judged {found.rows:,} rows of {reference}"
        return False, f"{few}, and fewer than {asked.min_rows:,} don't count"
    if found.value is None:
        return False, f"{found.run} has no {asked.metric} of {reference}"
    told = f"{asked.metric} of {reference} is {found.value:.4f} on {found.rows:,} rows"
    if asked.below is not None:
        low = found.value < asked.below
        return low, f"{told}, {'below' if low else 'not below'} {asked.below:g}"
    bound = asked.above if asked.above is not None else math.inf
    high = found.value > bound
    return high, f"{told}, {'above' if high else 'not above'} {bound:g}"


def _drift(workspace: Workspace, limit: DriftLimit) -> tuple[bool, str]:
    state = next(done_runs(workspace.ledger, limit.job, kind="rescore"), None)
    if state is None:
        return False, f"no run of job '{limit.job}' is done"
    found = largest_psi(state.result)
    if found is None:
        return False, f"{state.run.id} doesn't say how far data moved"
    psi, column = found
    told = f"psi of {column} is {psi:.3f} in {state.run.id}"
    return psi >= limit.psi, f"{told}, {'from' if psi >= limit.psi else 'below'} {limit.psi:g} on"


def largest_psi(result: Mapping[str, Any]) -> tuple[float, str] | None:
    """The largest population stability index that a rescore's result tells, and of which column; None where it tells
    none: an older version, or too few rows.
    """
    columns = (result.get("drift") or {}).get("columns", ())
    known = [(float(one["psi"]), str(one["column"])) for one in columns if one.get("psi") is not None]
    return max(known, default=None)
