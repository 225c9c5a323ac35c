"""The guard of a champion: rolled back where it does worse on outcomes than it may, while it is on probation.

1. Judged is the newest run that is done of one evaluate job, if it began after the promotion, on the rows that the
   version scored as the job's own model: what it did as champion, and not what it did beside another.
2. Who was promoted is on probation for some time; who came back by a rollback was champion before, and isn't.
3. What isn't known yet is no reason: no run, too few outcomes, or no such figure keep the champion, and say so.
4. The rollback is of the very move that was judged, says with which figures, of how many rows and of which run, and is
   an ordinary one: announced to the audit, signed, back along promotions.
5. A guard that is called again for one reason tells what it did: whoever died in between does nothing twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from dataops.declarations.metrics import REALISED, Metric
from dataops.errors import InvalidInput
from dataops.records import parse_time
from dataops.registry.aliases import current, history, require_move
from dataops.registry.moves import AliasMove, MoveKind
from dataops.registry.rollback import way_back
from dataops.registry.tombstones import deletions
from dataops.runs.ledger import RunState
from dataops.runs.models import Moved, roll_back
from dataops.runs.promotion_evidence import done_runs
from dataops.runs.workspace import Workspace

OWN = "own"
"""What figures of an evaluate job call the version that scored as a job's own model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What a champion has to show on outcomes while it is on probation.

    Attributes
    ----------
    job : the evaluate job that measures it.
    minimum, maximum : bounds on the figure; None for none.
    max_loss : how much worse than the champion before it, on the rows that that one scored, in the metric's unit; where
        the same run judged both.
    within : how long after its promotion; None: always.
    min_rows : rows that have to be judged at least.
    """

    job: str
    metric: Metric
    minimum: float | None = None
    maximum: float | None = None
    max_loss: float | None = None
    within: timedelta | None = None
    min_rows: int = 100

    def require(self) -> None:
        """Nothing, if it bounds something.

        Raises
        ------
        InvalidInput : it doesn't.
        """
        if self.minimum is None and self.maximum is None and self.max_loss is None:
            raise InvalidInput("a guard bounds something: give a minimum, a maximum or a max_loss")


class Kept(StrEnum):
    """What became of a champion; STUCK: it does badly, and there is nothing to go back to."""

    KEPT = "kept"
    UNKNOWN = "unknown"
    ROLLED_BACK = "rolled_back"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """What a guard came to: `judged` is the champion's move that it judged, `moved` the rollback, if one was made."""

    outcome: Kept
    why: str
    judged: AliasMove
    moved: Moved | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one run measured of a version where it was the job's own model."""

    run: str
    value: float | None
    rows: int


def guard_champion(
    workspace: Workspace, model: str, guard: Guard, *, now: datetime, since: datetime | None = None, by: str = ""
) -> Guarded:
    """The champion of `model`, judged and rolled back where it has to be.

    Parameters
    ----------
    now, since, by : as `judge_champion`.

    Raises
    ------
    InvalidInput, NotFound, Integrity : as `judge_champion`.
    Conflict : somebody moved the champion meanwhile.
    """
    found = judge_champion(workspace, model, guard, now=now, since=since, by=by)
    if found.outcome is not Kept.ROLLED_BACK or found.judged.kind is MoveKind.ROLLED_BACK:
        return found
    return replace(found, moved=roll_back(workspace, model, reason=found.why, after=found.judged))


def judge_champion(
    workspace: Workspace, model: str, guard: Guard, *, now: datetime, since: datetime | None = None, by: str = ""
) -> Guarded:
    """What has to become of the champion of `model`; nothing is moved.

    Parameters
    ----------
    now : until when probation is counted.
    since : when it became champion. Default: the time of the move.
    by : who guards, in words; it stands at the beginning of the rollback's reason. Where the last move is a rollback
        for this very reason, that is told.

    Raises
    ------
    InvalidInput : a guard that bounds nothing.
    NotFound : no such model or champion.
    Integrity : the champion's move isn't trusted.
    """
    guard.require()
    last = current(workspace.registry, model) or require_move(workspace.registry, model)
    if last.kind is MoveKind.ROLLED_BACK and by and last.reason.startswith(f"{by}: "):
        return Guarded(outcome=Kept.ROLLED_BACK, why=last.reason, judged=last)
    if last.kind is not MoveKind.PROMOTED:
        return Guarded(outcome=Kept.KEPT, why="it is champion again by a rollback: no probation", judged=last)
    if guard.within is not None and now - (since or last.moved_at) > guard.within:
        return Guarded(outcome=Kept.KEPT, why=f"{_days(guard.within)} of probation are over", judged=last)
    outcome, why = _judge(workspace, guard, last)
    return Guarded(outcome=outcome, why=f"{by}: {why}" if by and outcome is Kept.ROLLED_BACK else why, judged=last)


def _judge(workspace: Workspace, guard: Guard, last: AliasMove) -> tuple[Kept, str]:
    """What has to become of the champion on probation, and why."""
    state = next(done_runs(workspace.ledger, guard.job, kind="evaluate"), None)
    figure = None if state is None else own_figure(state, last.version_digest, guard.metric)
    unknown = _unknown(figure, guard, last)
    if unknown or state is None or figure is None or figure.value is None:
        return Kept.UNKNOWN, unknown
    if parse_time(state.run.created_at) < last.moved_at:  # both are of records, by no clock of slots
        reference = f"{last.model}@{last.version}"
        return Kept.UNKNOWN, f"{figure.run}, the newest of job '{guard.job}', began before {reference} was promoted"
    told = f"{guard.metric} is {figure.value:.4f} on {figure.rows:,} rows of {figure.run}"
    before = _before(workspace, last)
    worse = _worse(figure.value, guard) or _lost(before, state, figure.value, guard)
    if not worse:
        return Kept.KEPT, told
    if before is None:
        return Kept.STUCK, f"{told}, {worse}, and there is nothing to go back to"
    return Kept.ROLLED_BACK, f"{told}, {worse}"


def own_figure(state: RunState, version_digest: str, metric: Metric) -> Figure | None:
    """What an evaluate run that is done found of a version on the rows that it scored as the job's own model; None
    where it judged none of these.
    """
    own = (one for one in state.result["versions"] if one["candidate"].split(" ")[0] == OWN)
    found = next((one for one in own if one["digest"] == version_digest), None)
    if found is None:
        return None
    value = number(found["metrics"][REALISED]["overall"], metric)
    return Figure(run=state.run.id, value=value, rows=found["judged"])


def number(figures: Mapping[str, Any], metric: Metric) -> float | None:
    """The figure; None where there is none, or none that is defined."""
    value = figures.get(metric)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _unknown(figure: Figure | None, guard: Guard, champion: AliasMove) -> str:
    """Why nobody knows how the champion does; "" if somebody does."""
    reference = f"{champion.model}@{champion.version}"
    if figure is None:
        return f"job '{guard.job}' judged no row that {reference} scored as champion yet"
    if figure.rows < guard.min_rows:
        few = f"{figure.run} judged {figure.rows:,} rows that {reference} scored as champion"
        return f"{few}, and fewer than {guard.min_rows:,} don't count"
    return "" if figure.value is not None else f"{figure.run} has no {guard.metric} of {reference}"


def _worse(value: float, guard: Guard) -> str:
    """How the figure is out of bounds, in words; "" where it isn't."""
    if guard.minimum is not None and value < guard.minimum:
        return f"below {guard.minimum:g}"
    if guard.maximum is not None and value > guard.maximum:
        return f"above {guard.maximum:g}"
    return ""


def _before(workspace: Workspace, champion: AliasMove) -> AliasMove | None:
    """The promotion that a rollback of `champion` goes back to; None where there is none."""
    known = [one for one in history(workspace.registry, champion.model) if one.generation <= champion.generation]
    return way_back(known, {stone.version for stone in deletions(workspace.registry.store, champion.model)})[0]


def _lost(before: AliasMove | None, state: RunState, value: float, guard: Guard) -> str:
    """How the champion does worse than the version before it did, in words; "" where it doesn't, or nobody knows."""
    if guard.max_loss is None or before is None:
        return ""
    then = own_figure(state, before.version_digest, guard.metric)
    if then is None or then.value is None or then.rows < guard.min_rows:
        return ""
    loss = then.value - value if guard.metric.higher_is_better else value - then.value
    if loss <= guard.max_loss:
        return ""
    reference = f"{before.model}@{before.version}"
    return f"and {reference} before it had {then.value:.4f}: {loss:.4f} worse, and {guard.max_loss:g} are allowed"


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):g} days"
