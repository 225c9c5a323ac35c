"""Schedules, declared: when slots come due, what becomes of late and overlapping ones, and the steps of each.

1. A schedule goes by the clock (`cron`, `every`) or by occasions (`snapshot`, `promoted`, `drift`): exactly one.
2. Cron lines have Debian's meaning, in a time zone: see `dataops.scheduling.cron`.
3. What a slot does is told by the digest of its schedule, which leaves out who owns it, whether it is paused, what it
   promises and whom a failure is told: these change nothing that a slot does.
4. A file holds one or more schedules. One that can't be read fails its own schedules, and no others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError

from dataops.declarations.declaration import Declaration, Text
from dataops.declarations.loader import Document, Finding, read_yaml, validate
from dataops.declarations.schedule_steps import Step, find_impossible_conditions
from dataops.declarations.schedule_whens import CronWhen, DriftWhen, EveryWhen, PromotedWhen, SnapshotWhen, When
from dataops.declarations.times import Duration, Moment, end_of, parse_duration, parse_moment
from dataops.errors import DataopsError, Format, InvalidInput
from dataops.records import Record, digest, require_name

__all__ = [
    "SCHEDULES_FOLDER",
    "CatchUpAll",
    "CronWhen",
    "DeclaredSchedule",
    "DriftWhen",
    "EveryWhen",
    "OnFailure",
    "PromotedWhen",
    "Retries",
    "Schedule",
    "SchedulesRead",
    "SnapshotWhen",
    "When",
    "read_schedules",
    "schedule_digest",
    "schedule_from_record",
    "schedule_record",
    "when_digest",
]

SCHEDULES_FOLDER = "schedules"
NOT_DIGESTED = frozenset({"owner", "paused", "promise", "on_failure"})


def _require_schedule(name: str) -> str:
    return require_name(name, "schedule")


_URL = re.compile(r"https?:/+[^\s'/][^\s']*", re.IGNORECASE)


def _require_webhook(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput("expected a URL that begins with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("holds credentials: a schedule file is no place for them")
    return url


class CatchUpAll(Declaration):
    """Every slot that was late, up to a number of them."""

    all: Annotated[int, Field(ge=1, le=10_000)]
    """How many at most, 1 to 10000: the newest; older ones are missed."""


class Retries(Declaration):
    """How often a step that failed is tried again; only where the same may go well later (exit codes 10 and 11)."""

    times: Annotated[int, Field(ge=0, le=100)] = 0
    """How often, at most 100. Default: 0."""
    wait: Duration = "1m"
    """How long before the first; the wait doubles with each. Default: `1m`."""
    at_most: Duration = "1h"
    """How long a wait becomes at most. Default: `1h`."""


class OnFailure(Declaration):
    """Whom a failed slot is told."""

    command: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """A program and its arguments; it gets the slot as JSON on its standard input, and has 30 seconds."""
    webhook: Annotated[Text, AfterValidator(_require_webhook)] | None = None
    """A URL that the slot is posted to as JSON, within 10 seconds."""

    def check(self) -> Iterator[Finding]:
        """Nobody."""
        if self.command is None and self.webhook is None:
            yield Finding(place=(), message="tells nobody: set command or webhook")


class Schedule(Declaration):
    """When a chain of steps runs."""

    name: Annotated[str, AfterValidator(_require_schedule)]
    """The schedule's name, unique in the workspace."""
    owner: Text | None = None
    """Who to ask about it. Default: nobody is named."""
    when: When
    """When slots come due: exactly one of the kinds below."""
    start: Moment | None = None
    """No slot comes before: a date or a time with its zone. Default: when a script first saw the schedule."""
    end: Moment | None = None
    """No slot comes after: a time, or a date, that whole day included. Default: it doesn't end."""
    catch_up: Literal["none", "last", "all"] | CatchUpAll = "last"
    """What becomes of slots that no script was there for: `none`, the `last` one, or `all` runs, oldest first. Of
    occasions that wait, `last` takes the newest, `all` each. Default: `last`."""
    overlap: Literal["skip", "queue", "replace"] | None = None
    """What becomes of a slot that comes due while one of the schedule is open: `skip` leaves it out, `queue` lets it
    wait, `replace` stops the open one. Default: `skip` by the clock, `queue` for occasions."""
    deadline: Duration | None = None
    """How long after its time a slot may begin, and may run. Default: any time."""
    jitter: Duration | None = None
    """A slot waits a part of it, always the same for the same slot. Default: none."""
    retries: Retries = Retries()
    """How often a step that failed is tried again. Default: not at all."""
    paused: bool = False
    """Whether slots are left out for now. Default: `false`."""
    promise: Duration | None = None
    """How old what it makes may become before `dataops status` calls it late. Default: any age."""
    on_failure: OnFailure | None = None
    """Whom a failed slot is told, by one or both. Default: nobody."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=100)]
    """What a slot does, in this order; a step that fails ends it."""

    def check(self) -> Iterator[Finding]:
        """Conditions on what can't have been, times that leave no slot, rules that contradict each other."""
        yield from find_impossible_conditions(self.steps)
        if self.start is not None and self.end is not None and end_of(self.end) <= parse_moment(self.start):
            yield Finding(place=("end",), message=f"{self.end} is not after start {self.start}: no slot would come")
        if self.within is not None and self.jitter is not None and parse_duration(self.jitter) >= self.within:
            message = f"{self.jitter} is no shorter than the deadline of {self.deadline}: slots would be missed unbegun"
            yield Finding(place=("jitter",), message=message)
        if not self.by_clock and self.catch_up == "none":
            message = "occasions that happened while no script ran are still new to the next: expected last or all"
            yield Finding(place=("catch_up",), message=message)
        if self.overlap == "replace" and self.catch_up not in ("none", "last"):
            message = "replace lets nothing but the newest slot run: expected none or last"
            yield Finding(place=("catch_up",), message=message)

    @cached_property
    def digests(self) -> tuple[str, str]:
        """``sha256:...`` of what a slot does and when, and of when alone; a key that says its default counts as left
        out.
        """
        record = self.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=set(NOT_DIGESTED))
        return digest(record), digest(record["when"])

    @property
    def by_clock(self) -> bool:
        """Whether its slots are times of a clock, and not occasions."""
        return isinstance(self.when, CronWhen | EveryWhen)

    @property
    def overlapping(self) -> str:
        """`overlap`, or its default for the kind of schedule."""
        return self.overlap or ("skip" if self.by_clock else "queue")

    @property
    def starts_at(self) -> datetime | None:
        """`start` as a time: slots come from it on."""
        return None if self.start is None else parse_moment(self.start)

    @property
    def ends_at(self) -> datetime | None:
        """The time up to which slots come, itself included."""
        if self.end is None:
            return None
        end = end_of(self.end)
        return end if end == parse_moment(self.end) else end - timedelta(seconds=1)

    @property
    def within(self) -> timedelta | None:
        """`deadline` as a duration."""
        return None if self.deadline is None else parse_duration(self.deadline)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredSchedule:
    """A schedule with the document that declares it, and its file relative to the workspace."""

    schedule: Schedule
    document: Document
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulesRead:
    """Schedules by their names, and what is wrong with each file that can't be read, by its path in the workspace."""

    schedules: Mapping[str, DeclaredSchedule] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)


def read_schedules(workspace: Path) -> SchedulesRead:
    """The schedules of the folder `workspace`, files in the order of their names."""
    schedules: dict[str, DeclaredSchedule] = {}
    broken: dict[str, str] = {}
    for path in sorted((workspace / SCHEDULES_FOLDER).glob("*.y*ml")):
        file = path.relative_to(workspace).as_posix()
        try:
            schedules.update(_read_file(path, file, schedules))
        except DataopsError as error:
            broken[file] = str(error)
        except Exception as error:  # noqa: BLE001 - one file stops no other; its values are nobody's here
            broken[file] = f"{path}: a bug in dataops, please report it: {type(error).__name__} where the file is read"
    return SchedulesRead(schedules=schedules, broken=broken)


def read_schedule_file(path: Path) -> dict[str, DeclaredSchedule]:
    """The schedules of the file at `path`, wherever it lies, in its order.

    Raises
    ------
    NotFound : no such file.
    InvalidInput : findings of all its schedules; a name twice; no schedule at all.
    """
    return _read_file(path, str(path), {})


def _read_file(path: Path, file: str, known: Mapping[str, DeclaredSchedule]) -> dict[str, DeclaredSchedule]:
    """The schedules of one file; `known` are those of the files before it.

    Raises
    ------
    InvalidInput : findings of all its schedules; a name that another schedule has; no schedule at all.
    """
    found: dict[str, DeclaredSchedule] = {}
    findings: list[str] = []
    try:
        documents = read_yaml(path)
    except InvalidInput as error:
        raise InvalidInput(_without_urls(str(error))) from None
    for document in documents:
        try:
            schedule = validate(document, Schedule)
        except InvalidInput as error:
            findings.append(_without_urls(str(error)))
            continue
        if (other := found.get(schedule.name) or known.get(schedule.name)) is not None:
            message = f"a schedule '{schedule.name}' is already declared in {other.document.where(('name',))}"
            findings.append(f"{document.where(('name',))}: name: {message}")
        found.setdefault(schedule.name, DeclaredSchedule(schedule=schedule, document=document, file=file))
    if findings or not found:
        raise InvalidInput("\n".join(findings) or f"{path}: declares no schedule")
    return found


def _without_urls(said: str) -> str:
    """What is said of a file, without the URLs in it: a webhook's is a secret, in a wrong place too."""
    return _URL.sub("...", said)


def schedule_record(schedule: Schedule) -> Record:
    """`schedule` as JSON values for a record, with every default written out."""
    return schedule.model_dump(mode="json", by_alias=True)


def schedule_from_record(record: Mapping[str, Any]) -> Schedule:
    """The schedule that `schedule_record` made `record` of.

    Raises
    ------
    Format : not such a record.
    """
    try:
        return Schedule.model_validate_json(json.dumps(record), strict=True)
    except (ValidationError, TypeError, ValueError):
        raise Format("the record of a schedule holds keys or values that this release does not know") from None


def schedule_digest(schedule: Schedule) -> str:
    """``sha256:...`` of what a slot of `schedule` does and when."""
    return schedule.digests[0]


def when_digest(schedule: Schedule) -> str:
    """``sha256:...`` of when slots of `schedule` come due."""
    return schedule.digests[1]
