"""What an operator wants to know of a workspace: what is late, running, failed, waiting and why; who promised what.

1. What needs a person comes first, each with the command that says more. Without any, all is fine.
2. Nothing is written, and no run's whole journal is read: a workspace of hundreds of runs and schedules answers as one
   of a few does.
3. A part that can't be looked at (a damaged registry, a broken file) is itself something that needs a person, and hides
   no other part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from dataops.declarations.schedules import SchedulesRead, read_schedules
from dataops.errors import DataopsError
from dataops.records import Record, format_time
from dataops.registry.aliases import CHAMPION, current
from dataops.runs.workspace import Workspace
from dataops.scheduling.beats import Beat, is_gone, last_polled, looks_alive, read_beats
from dataops.scheduling.book import Book, book_names
from dataops.scheduling.concerns import Concern, concerns
from dataops.scheduling.inbox import open_inbox
from dataops.scheduling.promises import Freshness, dataset_promises, schedule_promise
from dataops.scheduling.recent import Drifted, RecentRun, newest_runs, recent_drift, recent_runs
from dataops.scheduling.standing import Mood, Standing, broken, stand
from dataops.scheduling.state import ScheduleState
from dataops.scheduling.stuck import stuck
from dataops.scheduling.submissions import Submission

MAX_SUBMISSIONS = 100
_SHOWN_SCRIPTS = timedelta(days=1)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """Which version of a model counts, since when and who made it so; `version` None where none does, or none that is
    trusted (`problem`).
    """

    model: str
    version: int | None
    since: datetime | None = None
    actor: str | None = None
    kind: str | None = None
    reason: str | None = None
    problem: str | None = None

    def record(self) -> Record:
        """JSON values."""
        body = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**body, "since": None if self.since is None else format_time(self.since)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that is told of a workspace at one moment."""

    workspace: str
    at: datetime
    schedules: tuple[Standing, ...] = ()
    scripts: tuple[Beat, ...] = ()
    polled: Beat | None = None
    submissions: tuple[Submission, ...] = ()
    freshness: tuple[Freshness, ...] = ()
    champions: tuple[Champion, ...] = ()
    drift: tuple[Drifted, ...] = ()
    runs: tuple[RecentRun, ...] = ()
    unreadable: tuple[Concern, ...] = ()
    stuck: tuple[Concern, ...] = ()
    concerns: tuple[Concern, ...] = field(default=())

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody has to look."""
        return bool(self.concerns)

    def record(self) -> Record:
        """JSON values."""
        return {
            "workspace": self.workspace,
            "at": format_time(self.at),
            "needs_a_person": self.needs_a_person,
            "concerns": [one.record() for one in self.concerns],
            "schedules": [one.record() for one in self.schedules],
            "scripts": [script_record(one, self.at) for one in self.scripts],
            "last_polled_at": format_time(self.polled.polled_at) if self.polled and self.polled.polled_at else None,
            "submissions": [submission_record(one) for one in self.submissions],
            "freshness": [one.record(self.at) for one in self.freshness],
            "champions": [one.record() for one in self.champions],
            "drift": [one.record() for one in self.drift],
            "runs": [one.record() for one in self.runs],
        }


def look(workspace: Workspace, *, now: datetime) -> Status:
    """How the workspace is at `now`."""
    parts = _Parts()
    store, no_beats, no_runs = workspace.store, list[Beat](), dict[str, list[str]]()
    read = parts.take("schedules", lambda: read_schedules(workspace.settings.workspace), SchedulesRead())
    states = _states(workspace, read, parts)
    beats = parts.take("scheduler scripts", lambda: read_beats(store), no_beats)
    by_job = parts.take("runs", lambda: newest_runs(store), no_runs)
    found = Status(
        workspace=workspace.settings.workspace.name,
        at=now,
        schedules=tuple(_standings(read, states, now, parts)),
        scripts=tuple(one for one in beats if not one.ended or now - one.at <= _SHOWN_SCRIPTS),
        polled=last_polled(beats),
        submissions=parts.take("submissions", lambda: tuple(_submissions(workspace, parts)), ()),
        freshness=parts.take("promises", lambda: _freshness(workspace, read, states), ()),
        champions=parts.take("the registry", lambda: _champions(workspace), ()),
        stuck=tuple(stuck(store, states, now)),
        drift=parts.take("drift", lambda: tuple(recent_drift(store, by_job)), ()),
        runs=parts.take("runs", lambda: tuple(recent_runs(store, by_job)), ()),
    )
    told = replace(found, unreadable=tuple(parts.concerns))
    return replace(told, concerns=tuple(concerns(told)))


def look_at_schedules(workspace: Workspace, *, now: datetime) -> tuple[Standing, ...]:
    """How each schedule is, and each file that can't be read.

    Raises
    ------
    Storage, Integrity, Format : the schedules' journals can't be read at all.
    """
    parts = _Parts()
    read = read_schedules(workspace.settings.workspace)
    return tuple(_standings(read, _states(workspace, read, parts), now, parts))


class _Parts:
    """Parts of a page, each of which may fail alone."""

    def __init__(self) -> None:
        self.concerns: list[Concern] = []

    def take(self, about: str, read: Callable[[], T], otherwise: T) -> T:
        """What `read` gives; `otherwise`, with a concern, where it can't be read."""
        try:
            return read()
        except (DataopsError, OSError) as error:
            self.concerns.append(Concern(about=about, says=f"can't be read: {error}"))
            return otherwise


def _states(workspace: Workspace, read: SchedulesRead, parts: _Parts) -> dict[str, ScheduleState | None]:
    """Where each schedule stands that is declared, or ever was."""
    known = parts.take("schedules", lambda: book_names(workspace.store), list[str]())
    return {
        name: parts.take(f"schedule {name}", partial(_state_of, workspace, name), None)
        for name in sorted({*read.schedules, *known})
    }


def _state_of(workspace: Workspace, name: str) -> ScheduleState | None:
    return Book(workspace.store, name).head().state


def _standings(
    read: SchedulesRead, states: dict[str, ScheduleState | None], now: datetime, parts: _Parts
) -> Iterator[Standing]:
    for file, message in read.broken.items():
        yield broken(file, message)
    for name, state in states.items():
        declared = read.schedules.get(name)
        if declared is None and (state is None or (read.broken and not state.open)):
            continue  # perhaps of the file that can't be read
        schedule, at = (declared.schedule, declared.file) if declared is not None else (None, None)
        unknown = Standing(name=name, file=at, owner=None, mood=Mood.BROKEN, says="its journal can't be read")
        yield parts.take(f"schedule {name}", partial(stand, schedule, state, now=now, file=at), unknown)


def _submissions(workspace: Workspace, parts: _Parts) -> Iterator[Submission]:
    """The oldest submissions that haven't ended."""
    inbox = open_inbox(workspace, read_only=True)
    for one in inbox.unfinished()[:MAX_SUBMISSIONS]:
        found = parts.take(f"submission {one}", partial(inbox.state, one), None)
        if found is not None and not found.has_ended:
            yield found


def _freshness(
    workspace: Workspace, read: SchedulesRead, states: dict[str, ScheduleState | None]
) -> tuple[Freshness, ...]:
    root = workspace.settings.workspace
    made = [schedule_promise(one, states.get(name), workspace=root) for name, one in read.schedules.items()]
    return (*dataset_promises(workspace.settings, workspace.store), *(one for one in made if one is not None))


def _champions(workspace: Workspace) -> tuple[Champion, ...]:
    return tuple(_champion(workspace, model) for model in workspace.registry.store.folders(""))


def _champion(workspace: Workspace, model: str) -> Champion:
    try:
        move = current(workspace.registry, model, CHAMPION)
    except DataopsError as error:
        return Champion(model=model, version=None, problem=str(error))
    if move is None:
        return Champion(model=model, version=None)
    return Champion(
        model=model,
        version=move.version,
        since=move.moved_at,
        actor=move.actor,
        kind=move.kind.value,
        reason=move.reason,
    )


def script_record(beat: Beat, now: datetime) -> Record:
    """A script as JSON values."""
    return {
        "script": beat.script,
        "host": beat.host,
        "pid": beat.pid,
        "account": beat.account,
        "version": beat.version,
        "since": format_time(beat.since),
        "at": format_time(beat.at),
        "polled_at": None if beat.polled_at is None else format_time(beat.polled_at),
        "holds": beat.holds,
        "ended": beat.ended,
        "troubles": dict(beat.troubles),
        "alive": looks_alive(beat, now),
        "gone": is_gone(beat),
    }


def submission_record(one: Submission) -> Record:
    """A submission as JSON values."""
    times = {name: getattr(one, name) for name in ("submitted_at", "taken_at", "started_at")}
    told: dict[str, Any] = {name: None if at is None else format_time(at) for name, at in times.items()}
    return {"id": one.id, "state": one.state.value, "principal": one.principal, "script": one.script, **told}
