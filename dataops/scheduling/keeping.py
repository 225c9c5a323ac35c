"""What people do to schedules: pause, resume, stop an open slot, ask for slots of the past, or take that back.

1. Each is one entry of the schedule's journal, decided on the newest one: of a person and a script that write at once
   one is first, and the other looks again.
2. What a person did is on the audit at once, with who and why; a scheduler script needn't be alive for that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dataops.declarations.jobs import find_job
from dataops.declarations.promotion import read_promotion
from dataops.declarations.schedule_steps import JobStep, PromoteStep
from dataops.declarations.schedule_steps import name_of as step_name
from dataops.declarations.schedules import (
    DeclaredSchedule,
    SchedulesRead,
    read_schedules,
)
from dataops.errors import Conflict, DataopsError, InvalidInput, NotFound, near_match
from dataops.runs.audit import signed
from dataops.runs.workspace import Workspace, os_user
from dataops.scheduling.backfill import BackfillSlot, UsedVersion, ask_for, plan_backfill, used_versions
from dataops.scheduling.book import Book, Head, book_names, event_of
from dataops.scheduling.deciding import decide
from dataops.scheduling.events import Event, Paused, Resumed, Stopping, Unwanted, WantedSlot
from dataops.scheduling.slot_history import slot_history
from dataops.scheduling.slot_times import slot_times_of
from dataops.scheduling.state import ScheduleState

_TRIES = 50  # each that loses is one that somebody else won


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was written. `note`: what kept the audit from being told or signed."""

    state: ScheduleState
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The slots of a stretch; `asked` of them were asked for now. `note` as in `Kept`."""

    slots: tuple[BackfillSlot, ...]
    used: tuple[UsedVersion, ...]
    asked: int = 0
    note: str | None = None


def find_schedule(workspace: Workspace, name: str) -> DeclaredSchedule:
    """The schedule `name` of the workspace.

    Raises
    ------
    NotFound : there is none, with the near match.
    InvalidInput : there is none, and a file that can't be read may hold it.
    """
    read = read_schedules(workspace.settings.workspace)
    if name in read.schedules:
        return read.schedules[name]
    raise unknown_schedule(name, read)


def unknown_schedule(name: str, read: SchedulesRead) -> DataopsError:
    """What to raise of a schedule that none of the files that were read declares."""
    if read.broken:
        listed = "\n".join(read.broken.values())
        return InvalidInput(f"no schedule '{name}' in the files that can be read; these can't:\n{listed}")
    known = near_match(name, read.schedules) or " None is declared: write one into schedules/."
    return NotFound(f"no schedule '{name}'.{known}")


def pause(workspace: Workspace, name: str, *, reason: str, at: datetime) -> Kept:
    """The schedule `name`, paused: what is open goes on, nothing else is begun.

    Raises
    ------
    NotFound : no such schedule.
    Conflict : it is paused already.
    """
    return _write(workspace, name, lambda _head: Paused(at=at, by=os_user(), reason=reason), at=at)


def resume(workspace: Workspace, name: str, *, reason: str, at: datetime) -> Kept:
    """The schedule `name`, going on: slots of the meantime never come.

    Raises
    ------
    NotFound : no such schedule.
    Conflict : it isn't paused.
    InvalidInput : its own file says so.
    """
    declared = find_schedule(workspace, name)

    def resumed(head: Head) -> Event:
        if declared.schedule.paused or (head.state and head.state.paused and head.state.paused.declared):
            where = declared.document.where(("paused",))
            raise InvalidInput(f"schedule '{name}' is paused by its own file ({where}): take `paused: true` out there")
        return Resumed(at=at, by=os_user(), reason=reason)

    return _write(workspace, name, resumed, at=at)


def stop(workspace: Workspace, name: str, key: str, *, reason: str, at: datetime) -> Kept:
    """The schedule `name` with its open slot `key` on its way to an end: whoever holds it stops its step.

    Raises
    ------
    NotFound : no such slot is open.
    Conflict : somebody stops it already.
    """

    def stopping(head: Head) -> Event:
        _require_open(name, head.state, key)
        return Stopping(at=at, by=os_user(), key=key, reason=reason)

    _require_open(name, Book(workspace.store, name).head().state, key)
    return _write(workspace, name, stopping, at=at)


def _require_open(name: str, state: ScheduleState | None, key: str) -> None:
    if state is None or key not in state.open:
        listed = ", ".join(sorted(state.open)) if state is not None else ""
        raise NotFound(f"slot {key} of schedule '{name}' isn't open: {listed or 'none is'}")


def take_back(
    workspace: Workspace, name: str, *, first: datetime | None, last: datetime | None, reason: str, at: datetime
) -> tuple[Kept, tuple[WantedSlot, ...]]:
    """The schedule `name` without the slots that somebody asked for from `first` to `last` (None: without a bound) and
    nobody began, and these slots.

    Raises
    ------
    NotFound : no such schedule.
    """
    taken: list[WantedSlot] = []

    def unwanted(head: Head) -> Event | None:
        waiting = () if head.state is None else head.state.wanted
        taken[:] = [one for one in waiting if (first or one.nominal) <= one.nominal <= (last or one.nominal)]
        keys = tuple(one.key for one in taken)
        return Unwanted(at=at, by=os_user(), keys=keys, reason=reason) if keys else None

    return _write(workspace, name, unwanted, at=at), tuple(taken)


def backfill(
    workspace: Workspace,
    name: str,
    *,
    first: datetime,
    last: datetime,
    at: datetime,
    stale: bool = False,
    hindsight: str | None = None,
    reason: str = "",
    do: bool = True,
) -> Asked:
    """The slots of `name` from `first` to `last`, with what is missing asked for; without `do` nothing is.

    Raises
    ------
    NotFound : no such schedule.
    InvalidInput : hindsight without a label, too many slots, a schedule of occasions. Nothing was asked for.
    """
    declared = find_schedule(workspace, name)
    slots: list[BackfillSlot] = []
    book, happened = Book(workspace.store, name), list[Event]()
    used: tuple[UsedVersion, ...] = ()

    def wanted(head: Head) -> Event | None:
        nonlocal used
        state = head.state or _first_state(declared, at)
        folder = workspace.settings.workspace
        used = used_versions(declared.schedule, workspace.registry, state.promoted, workspace=folder, now=at)
        last_number = head.entry.number if head.entry is not None else 0
        happened.extend(event_of(book.read(number)) for number in range(len(happened) + 1, last_number + 1))
        told = slot_history(happened)
        slots[:] = plan_backfill(declared.schedule, state, told, first=first, last=last, now=at, stale=stale, used=used)
        return ask_for(slots, at=at, by=os_user(), hindsight=hindsight, reason=reason) if do else None

    if not do:
        wanted(book.head())
        return Asked(slots=tuple(slots), used=used)
    kept = _write(workspace, name, wanted, at=at)
    asked = sum(one.runs_now for one in slots)
    return Asked(slots=tuple(slots), used=used, asked=asked, note=kept.note)


def _first_state(declared: DeclaredSchedule, at: datetime) -> ScheduleState:
    """Where the schedule would stand if a script saw it now."""
    from dataops.scheduling.applying import apply

    event = decide(declared.schedule, None, (), now=at, script=os_user())
    assert event is not None  # noqa: S101 - the first event of a schedule is that it began
    return apply(None, event)


def _write(workspace: Workspace, name: str, say: Callable[[Head], Event | None], *, at: datetime) -> Kept:
    """The book of `name` with what `say` has to say of its head, and the audit that was told of it.

    A schedule that no script has seen yet is begun first.
    """
    book, account = Book(workspace.store, name), os_user()
    if book.head().state is None:
        declared = find_schedule(workspace, name)
        _append(
            book, lambda head: decide(declared.schedule, None, (), now=at, script=account) if not head.state else None
        )
    state = _append(book, say)
    with signed(workspace) as signing, suppress(DataopsError):  # else a script that looks tells it
        book.head()
        book.tell(workspace.audit, account=account, owes=lambda event: event.by == account)
        _append(book, lambda _head: book.owed(at=at, by=account))
    return Kept(state=state, note=signing.note)


def _append(book: Book, say: Callable[[Head], Event | None]) -> ScheduleState:
    """The state after what `say` says of the newest head; as it is where that is nothing."""
    for _ in range(_TRIES):
        head = book.head()
        event = say(head)
        if event is None and head.state is not None:
            return head.state
        after = None if event is None else book.append(event, after=head)
        if after is not None and after.state is not None:
            return after.state
    raise Conflict(f"schedule '{book.name}' is written to without a rest by somebody else; try again")


def known_names(workspace: Workspace) -> list[str]:
    """The schedules that are declared, or ever were."""
    return sorted({*read_schedules(workspace.settings.workspace).schedules, *book_names(workspace.store)})


def require_steps(workspace: Path, declared: DeclaredSchedule) -> None:
    """Nothing, if every job and every promotion file that the steps name is there and can be read.

    Raises
    ------
    InvalidInput, NotFound : all that is wrong, each with the line of the step.
    """
    findings = []
    example = datetime(2026, 1, 31, 7, 30, tzinfo=UTC)
    for number, step in enumerate(declared.schedule.steps):
        try:
            if isinstance(step, JobStep):
                find_job(workspace / step.file, step.job, slot_times_of(declared.schedule, example))
            elif isinstance(step, PromoteStep):
                read_promotion(workspace / step.rules)
        except DataopsError as error:
            findings.append(f"{declared.document.where(('steps', number))}: {step_name(step)}: {error}")
    if findings:
        raise InvalidInput("\n".join(findings))
