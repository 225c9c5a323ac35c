"""What happened in the nights, read back from the records that the scheduler script and the jobs left."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from dataops.runs.ledger import RunState, job_of
from dataops.runs.workspace import Workspace
from dataops.scheduling.book import Book, book_names, event_of
from dataops.scheduling.conditions import largest_psi
from dataops.scheduling.events import Claimed, Ended, StepEnded

ZONE = ZoneInfo("America/New_York")
SCORES, REALISED = "flight_scores", "flight_realised"
LONGEST = 200  # characters of a decision, where a line tells it
TOLD = ("promoted", "refused", "rolled_back", "failed", "stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What somebody decided: `who` is a schedule or a person, `key` names the entry of a schedule that says so."""

    at: datetime
    who: str
    what: str
    kind: str = "person"
    key: str = ""

    @property
    def told(self) -> str:
        """A line for people: of a refusal the first reason."""
        first, *reasons = (line.strip() for line in self.what.splitlines())
        told = f"{first}; {reasons[0]}" if reasons else first
        return f"{self.who}: {told if len(told) <= LONGEST else f'{told[:LONGEST]} ...'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one version came to on the flights of two weeks, as known on `day`; `role` is ``champion`` or else."""

    day: date
    version: int
    role: str
    figure: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A day's scores: by which versions, of how many flights, and how far these were from those that the champion was
    judged on: `psi` of the scores, `most` of the column that moved most.
    """

    day: date
    champion: int
    challenger: int | None
    rows: int
    psi: float | None
    most: float | None
    column: str


def decisions(workspace: Workspace, *, after: Collection[str] = ()) -> list[Decision]:
    """What the schedules decided, in the order of their slots, but for the entries that `after` names."""
    known = set(after)
    found = [one for name in book_names(workspace.store) for one in _of_book(workspace, name)]
    return sorted((one for one in found if one.key not in known), key=lambda one: (one.at, one.key))


def _of_book(workspace: Workspace, name: str) -> Iterator[Decision]:
    nominal: dict[str, datetime] = {}
    for entry in Book(workspace.store, name).entries(newest_first=False):
        event, key = event_of(entry), f"{name}/{entry.number:06d}"
        if isinstance(event, Claimed):
            nominal[event.key] = event.nominal
        elif isinstance(event, StepEnded) and (told := _told(event)):
            yield Decision(at=nominal[event.key], who=name, what=told, kind=event.outcome, key=key)
        elif isinstance(event, Ended) and event.outcome != "done":
            yield Decision(
                at=nominal[event.key], who=name, what=f"slot {event.outcome}: {event.reason}", kind="failed", key=key
            )


def _told(event: StepEnded) -> str:
    """What a step did that people want to hear of; "" for the others."""
    why = str(event.facts.get("why", event.error or ""))
    if event.outcome in TOLD:
        return f"{event.outcome.replace('_', ' ')}: {why.partition('verdict:')[0].strip()}"
    return why if event.outcome == "done" and "alias" in event.facts else ""


def runs_of(workspace: Workspace, job: str, day: date | None = None) -> Iterator[tuple[date, RunState]]:
    """The runs of `job` that slots came to, in their order, with the day in New York of each; of `day` alone."""
    nominal: dict[str, datetime] = {}
    for entry in Book(workspace.store, "nightly").entries(newest_first=False):
        event = event_of(entry)
        if isinstance(event, Claimed):
            nominal[event.key] = event.nominal
        elif isinstance(event, StepEnded) and event.outcome == "done" and job_of(event.facts.get("run", "")) == job:
            due = nominal[event.key].astimezone(ZONE).date()
            if day in (None, due):
                yield due, workspace.ledger.state(event.facts["run"])


def judged(workspace: Workspace) -> list[Judged]:
    """What each version came to, day by day."""
    return [one for day, state in runs_of(workspace, REALISED) for one in _judged(day, state)]


def _judged(day: date, state: RunState) -> Iterator[Judged]:
    for one in state.result["versions"]:
        role = "champion" if one["candidate"].split(" ")[0] == "own" else "challenger"
        figure: Any = one["metrics"]["realised"]["overall"].get("roc_auc")
        if figure is not None:
            yield Judged(day=day, version=one["version"], role=role, figure=figure, rows=one["judged"])


def scored(workspace: Workspace) -> list[Scored]:
    """What was scored, day by day."""
    return [_scored(day, state) for day, state in runs_of(workspace, SCORES)]


def _scored(day: date, state: RunState) -> Scored:
    own, beside = state.run.model or {}, state.run.challengers.get("next") or {}
    most, column = largest_psi(state.result) or (None, "")
    columns = (state.result.get("drift") or {}).get("columns", ())
    challenger = beside.get("version")
    return Scored(
        day=day,
        champion=own["version"],
        challenger=None if challenger == own["version"] else challenger,
        rows=state.result["reads"]["input"]["counts"]["passed"],
        psi=next((one.get("psi") for one in columns if one["kind"] == "score"), None),
        most=most,
        column=column,
    )


def headline(workspace: Workspace, day: date) -> str:
    """One line of a day: who scored how many flights, and how well the champion did on those of two weeks."""
    runs = list(runs_of(workspace, SCORES, day))
    if not runs:
        return f"{day}  nothing was scored"
    today = _scored(*runs[0])
    beside = "" if today.challenger is None else f", {today.challenger} beside it"
    known = [one for found in runs_of(workspace, REALISED, day) for one in _judged(*found)]
    known = [one for one in known if one.role == "champion" and one.version == today.champion]
    told = f"ROC AUC {known[0].figure:.4f} on {known[0].rows:,}" if known else "not judged yet"
    return f"{day}  {today.rows:,} flights by version {today.champion}{beside}; {told}"
