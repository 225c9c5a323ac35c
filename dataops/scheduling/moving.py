"""Steps that move aliases: a challenge, a promotion and a guard, each an ordinary verb in a process of its own.

1. A step that has nothing to move begins no process: that is decided here, from records, and told with its reason.
2. What a step promotes is gated as ever. A refusal is an outcome, no failure: the verdict is on file, and the next slot
   asks again.
3. Nobody promotes by a schedule what was rolled back: that takes a person.
4. Probation and cool-down count from when a slot of this schedule moved the champion, by the clock of its script, else
   from the time of the move; never from the time that the slot is of. One that was made after what the clock says ends
   no probation and cools nothing down.
5. Each move says by which slot it was made. A slot that is done again after its script died finds what it did, and
   tells it instead of doing it twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dataops.declarations.promotion import Promotion
from dataops.declarations.schedule_steps import ChallengeStep, GuardStep, PromoteStep
from dataops.declarations.times import parse_duration
from dataops.errors import DataopsError, NotFound
from dataops.records import format_time
from dataops.registry.aliases import CHAMPION, history, last_move, resolve_reference
from dataops.registry.moves import AliasMove, MoveKind
from dataops.registry.versions import ModelVersion
from dataops.runs.candidates import best_candidate
from dataops.runs.guarding import Guard, Kept, judge_champion
from dataops.runs.promotion import read_rules
from dataops.runs.workspace import Workspace, open_workspace
from dataops.scheduling.events import StepOutcome
from dataops.scheduling.state import Moved, OpenSlot
from dataops.scheduling.working import Result, StepCommand

MovingStep = ChallengeStep | PromoteStep | GuardStep
REFUSED = 5
"""The exit code of `model promote` where a gate says no, and of conflicts that pass (`may_pass`)."""
MAX_WHY = 2000
_REFERENCE = re.compile(r"@(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What came of a step.

    Attributes
    ----------
    outcome : as `StepEnded` has it.
    why : in words, for the log.
    facts : for `StepEnded`: ``why``, and of what moved ``model``, ``version`` and where they are known more.
    error : what went wrong; None where nothing did.
    may_pass : whether the same may go well later, though nobody mends anything.
    """

    outcome: StepOutcome
    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    may_pass: bool = False


def carry_out(
    folder: Path, step: MovingStep, slot: OpenSlot, *, now: datetime, promoted: Mapping[str, Moved], run: str
) -> StepCommand | StepResult:
    """The process that carries out `step`, or what came of it where there is nothing to do.

    Parameters
    ----------
    folder : the workspace; the process is started in it.
    now : aware UTC.
    promoted : of the schedule's state: the champions that its slots made.
    run : the id that the process is logged under.
    """
    try:
        workspace = open_workspace(str(folder))
        match step:
            case ChallengeStep():
                found = _challenge(workspace, step, slot)
            case PromoteStep():
                found = _promote(workspace, step, slot, now, promoted.get(step.promote))
            case GuardStep():
                found = _guard(workspace, step, slot, now, promoted.get(step.guard))
    except DataopsError as error:
        return _failed(str(error), may_pass=error.may_pass)
    if isinstance(found, StepResult):
        return found
    return StepCommand(run=run, arguments=("model", *found, "--workspace", str(folder), "--json"))


def came_of(step: MovingStep, slot: OpenSlot, result: Result) -> StepResult:
    """What came of the process that `carry_out` gave, told by how it ended."""
    answer = result.answer
    if isinstance(step, PromoteStep) and result.exit_code == REFUSED and not result.may_pass:
        why = (result.error or "refused")[:MAX_WHY]
        named = _REFERENCE.search(why)
        return _told("refused", why, model=step.promote, version=int(named[1]) if named else None)
    if result.exit_code:
        return _failed(result.error or "it said nothing", may_pass=result.may_pass)
    match step:
        case ChallengeStep():
            version = _number(answer.get("version"))
            return _told("done", _said(answer), model=step.challenge, version=version, alias=step.alias)
        case PromoteStep():
            mine = answer.get("moved") is True or answer.get("reason") == _by(slot)
            facts = {"model": step.promote, "version": _number(answer.get("version"))}
            facts |= {"generation": answer.get("generation"), "verdict": answer.get("verdict")}
            return _told("promoted" if mine else "unchanged", _said(answer), **facts)
        case GuardStep():
            why = str(answer.get("why", ""))[:MAX_WHY]
            if answer.get("outcome") != Kept.ROLLED_BACK:
                return _told("unchanged", why)
            facts = {"model": step.guard, "version": _number(answer.get("champion") or answer.get("judged"))}
            return _told("rolled_back", why, **facts)


def _challenge(workspace: Workspace, step: ChallengeStep, slot: OpenSlot) -> Sequence[str] | StepResult:
    registry, model = workspace.registry, step.challenge
    try:
        rules = read_rules(workspace, model)
    except NotFound:  # then the newest is as good as any
        rules = Promotion(model=model, rules=())
    version = registry.find(model, best_candidate(registry, model, rules))
    if why := _taken_back(workspace, version):
        return _told("skipped", why, model=model, version=version.version)
    for alias in (CHAMPION, step.alias):
        last = last_move(registry, model, alias)
        if last is not None and last.trusted and last.version_digest == version.digest:
            is_ours = alias == step.alias and last.reason == _by(slot)
            why = f"{version.reference} is {alias} {'since this slot' if is_ours else 'already'}"
            return _told(
                "done" if is_ours else "unchanged", why, model=model, version=version.version, alias=step.alias
            )
    return ("alias", version.reference, step.alias, "--reason", _by(slot))


def _promote(
    workspace: Workspace, step: PromoteStep, slot: OpenSlot, now: datetime, moved: Moved | None
) -> Sequence[str] | StepResult:
    registry, model = workspace.registry, step.promote
    champion = last_move(registry, model)
    if champion is not None and champion.kind is MoveKind.PROMOTED and champion.reason == _by(slot):
        facts = {"model": model, "version": champion.version, "generation": champion.generation}
        return _told("promoted", f"{model}@{champion.version} was promoted by this slot", **facts)
    if not step.version.isdecimal() and last_move(registry, model, step.version) is None:
        return _told("skipped", f"{model} has no {step.version} yet")
    version = resolve_reference(registry, f"{model}@{step.version}")
    why = (
        _is_champion(version, champion)
        or _taken_back(workspace, version)
        or _frozen(step, now)
        or _cooling(step, champion, now, moved)
    )
    if why:
        return _told("skipped", why, model=model, version=version.version)
    return ("promote", version.reference, "--reason", _by(slot), "--rules", step.rules)


def _is_champion(version: ModelVersion, champion: AliasMove | None) -> str:
    is_it = champion is not None and champion.trusted and champion.version_digest == version.digest
    return f"{version.reference} is champion already" if is_it else ""


def _taken_back(workspace: Workspace, version: ModelVersion) -> str:
    """Why a schedule doesn't promote it: a rollback took it back, and nobody promoted it since; "" where that isn't
    so.
    """
    back: AliasMove | None = None
    before: AliasMove | None = None
    for one in history(workspace.registry, version.model):
        if one.version_digest == version.digest:
            back = None
        elif one.kind is MoveKind.ROLLED_BACK and before is not None and before.version_digest == version.digest:
            back = one
        before = one
    if back is None:
        return ""
    return f"{version.reference} was rolled back (generation {back.generation}): a person may promote it again"


def _frozen(step: PromoteStep, now: datetime) -> str:
    freeze = next((one for one in step.freeze if one.covers(now)), None)
    return "" if freeze is None else f"nothing is promoted from {freeze.since} to {freeze.until}"


def _cooling(step: PromoteStep, champion: AliasMove | None, now: datetime, moved: Moved | None) -> str:
    if step.cool_down is None or champion is None:
        return ""
    since = _champion_since(champion, moved)
    over = since + parse_duration(step.cool_down)
    if not since <= now < over:
        return ""
    return f"the champion changed at {format_time(since)[:16]}: nothing is promoted for {step.cool_down}"


def _champion_since(champion: AliasMove, moved: Moved | None) -> datetime:
    """When the champion became what it is: by the schedule's own time where one of its slots did it."""
    ours = moved is not None and moved.version == champion.version
    return moved.at if ours and moved is not None else champion.moved_at


def _guard(
    workspace: Workspace, step: GuardStep, slot: OpenSlot, now: datetime, moved: Moved | None
) -> Sequence[str] | StepResult:
    champion = last_move(workspace.registry, step.guard)
    if champion is None:
        return _told("skipped", f"{step.guard} has no champion yet")
    asked = Guard(
        job=step.job,
        metric=step.metric,
        minimum=step.minimum,
        maximum=step.maximum,
        max_loss=step.max_loss,
        within=parse_duration(step.within),
        min_rows=step.min_rows,
    )
    since = _champion_since(champion, moved)
    found = judge_champion(workspace, step.guard, asked, now=now, since=since, by=_by(slot))
    if found.outcome in (Kept.UNKNOWN, Kept.STUCK):
        return _told("skipped", found.why, model=step.guard, version=found.judged.version)
    if found.outcome is Kept.KEPT:
        return _told("unchanged", found.why, model=step.guard, version=found.judged.version)
    if found.judged.kind is MoveKind.ROLLED_BACK:
        return _told("rolled_back", found.why, model=step.guard, version=found.judged.version)
    bounds = {"--minimum": step.minimum, "--maximum": step.maximum, "--max-loss": step.max_loss}
    given = [text for name, value in bounds.items() if value is not None for text in (name, repr(value))]
    options = ["--job", step.job, "--metric", str(step.metric), "--min-rows", str(step.min_rows)]
    times = ["--within", step.within, "--since", format_time(since), "--at", format_time(now)]
    return ("guard", step.guard, *options, *given, *times, "--by", _by(slot))


def _by(slot: OpenSlot) -> str:
    """The reason of a move: which slot of which schedule."""
    return f"schedule {slot.schedule}, slot {slot.key}"


def _said(answer: Mapping[str, Any]) -> str:
    before = f" instead of {answer['before']}" if answer.get("before") else ""
    return f"{answer.get('version')} is {answer.get('alias', CHAMPION)}{before}"


def _number(reference: object) -> int | None:
    """The version that ``income@3`` names."""
    found = _REFERENCE.search(str(reference))
    return int(found[1]) if found else None


def _told(outcome: StepOutcome, why: str, **facts: Any) -> StepResult:
    return StepResult(outcome=outcome, why=why, facts={"why": why, **facts})


def _failed(error: str, *, may_pass: bool) -> StepResult:
    return StepResult(outcome="failed", why=error[:MAX_WHY], error=error[:MAX_WHY], may_pass=may_pass)
