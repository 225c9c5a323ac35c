"""From a step of a slot to the process that does it, and from how that ended to what is said of the step.

1. A step whose condition doesn't hold is skipped, and says why; a step that has nothing to do begins no process.
2. A job's process gets the slot's times and its run's id: whoever starts it again comes to the same run.
3. What may pass is tried again as the schedule declares. A run that can't go on, because what it began with changed
   since, is begun anew: at once where a script took it over, since nobody's attempt failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from dataops.declarations.schedule_steps import JobStep, Step
from dataops.declarations.schedules import schedule_from_record
from dataops.errors import Conflict, DataopsError
from dataops.runs.workspace import Workspace
from dataops.scheduling.conditions import holds
from dataops.scheduling.events import StepEnded, StepRetry
from dataops.scheduling.moving import StepResult, came_of, carry_out
from dataops.scheduling.slot_times import slot_arguments, slot_times_of
from dataops.scheduling.state import OpenSlot, ScheduleState
from dataops.scheduling.stepping import after_attempt
from dataops.scheduling.telling import step_of
from dataops.scheduling.working import INTERRUPTED, Result, StepCommand

MAX_ERROR = 4000


def skipped(workspace: Callable[[], Workspace], slot: OpenSlot, number: int) -> str | None:
    """Why the step's condition doesn't hold, in words; None where it holds, or it has none.

    Parameters
    ----------
    workspace : gives it; a step without a condition needs none.

    Raises
    ------
    DataopsError : what it speaks of can't be read.
    """
    step = step_of(slot, number)
    if step.condition is None:
        return None
    is_to_be_done, why = holds(workspace(), step, slot)
    return None if is_to_be_done else why


def command_of(
    folder: Path, slot: OpenSlot, number: int, *, run: str, state: ScheduleState, now: datetime
) -> StepCommand | StepResult:
    """The process that does the step, or what came of it where there is nothing to do.

    Parameters
    ----------
    folder : the workspace.
    run : the run's id, and what the process is logged under.
    """
    step = step_of(slot, number)
    if not isinstance(step, JobStep):
        return carry_out(folder, step, slot, now=now, promoted=state.promoted, run=run)
    times = slot_times_of(schedule_from_record(slot.declaration), slot.nominal)
    words = ("job", "run", step.file, step.job, "--run", run, *slot_arguments(times, slot.hindsight))
    return StepCommand(run=run, arguments=(*words, "--json", "--workspace", str(folder)))


def ended(
    slot: OpenSlot, number: int, result: Result, *, now: datetime, by: str, was_taken_over: bool
) -> StepEnded | StepRetry:
    """What is said of the step whose process came to `result`.

    Parameters
    ----------
    was_taken_over : the process went on with what another script had begun.
    """
    found = _came_of(step_of(slot, number), slot, result)
    if found.outcome == "failed" and slot.stopping is not None:
        return StepEnded(at=now, by=by, key=slot.key, step=number, outcome="stopped", error=slot.stopping.reason)
    anew = found.outcome == "failed" and found.may_pass and result.family == Conflict.__name__
    if anew and was_taken_over:
        error = _error(found)
        return StepRetry(at=now, by=by, key=slot.key, step=number, next_try_at=now, error=error, anew=True)
    return said(slot, number, found, now=now, by=by, anew=anew)


def said(
    slot: OpenSlot, number: int, found: StepResult, *, now: datetime, by: str, anew: bool = False
) -> StepEnded | StepRetry:
    """What is said of a step that came to `found`; of one that failed, its attempt has begun."""
    if found.outcome == "failed":
        may_pass, error = found.may_pass, _error(found)
        return after_attempt(slot, step=number, error=error, may_pass=may_pass, now=now, by=by, anew=anew)
    return StepEnded(at=now, by=by, key=slot.key, step=number, outcome=found.outcome, facts=dict(found.facts))


def not_held(slot: OpenSlot, number: int, why: str, *, now: datetime, by: str) -> StepEnded:
    """That a step is skipped, and why."""
    return StepEnded(at=now, by=by, key=slot.key, step=number, outcome="skipped", facts={"why": why})


def failed(error: DataopsError) -> StepResult:
    """What a step came to that failed before a process could be begun."""
    told = f"{type(error).__name__}: {error}"
    return StepResult(outcome="failed", why=told, error=told, may_pass=error.may_pass)


def was_interrupted(result: Result) -> bool:
    """Whether the process was stopped from outside, and didn't end by itself."""
    return result.exit_code < 0 or result.exit_code == INTERRUPTED


def _error(found: StepResult) -> str:
    return (found.error or "it said nothing")[:MAX_ERROR]


def _came_of(step: Step, slot: OpenSlot, result: Result) -> StepResult:
    if not isinstance(step, JobStep):
        return came_of(step, slot, result)
    if result.exit_code:
        error = result.error or "it said nothing"
        told = f"{result.family}: {error}" if result.family else error
        return StepResult(outcome="failed", why=error, error=told, may_pass=result.may_pass)
    is_unchanged = result.answer.get("skipped") is True
    return StepResult(outcome="unchanged" if is_unchanged else "done", why="", facts=_facts(result.answer))


def _facts(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What a slot keeps of a run: which it was, and what it made."""
    result = answer.get("result")
    made = result if isinstance(result, Mapping) else {}
    named = {name: made[name] for name in ("dataset", "snapshot") if isinstance(made.get(name), str | int)}
    run = answer.get("run")
    return {**({"run": run} if isinstance(run, str) else {}), **named}
