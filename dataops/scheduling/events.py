"""What can happen to a schedule: the events of its journal. `dataops.scheduling.state` says what follows from each.

Every event has a time, by the clock of whoever decided it, and says who that was: the id of a scheduler script, or a
person. Events are written as JSON (`event_record`), each with the word that tells its kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from dataops.errors import Format, InvalidInput
from dataops.records import Record, format_time, parse_time

Cause = Literal["due", "catch_up", "queue", "occasion", "backfill"]
"""Why a slot was claimed: in time, late, after waiting for another, on an occasion, because a person asked."""
StepOutcome = Literal["done", "unchanged", "skipped", "refused", "promoted", "rolled_back", "failed", "stopped"]
SlotOutcome = Literal["done", "failed", "stopped", "missed"]

CLOSED = ConfigDict(extra="forbid", strict=True)
_LATER = frozenset({"times", "numbers"})


def _read_time(value: Any) -> Any:
    if isinstance(value, str):
        return parse_time(value)
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("a time without a zone")
    return value.astimezone(UTC) if isinstance(value, datetime) else value


Time = Annotated[datetime, BeforeValidator(_read_time), PlainSerializer(format_time, return_type=str)]
"""An aware UTC time, as `dataops.records.format_time` writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSlot:
    """A slot that a person asked for, and that nobody claimed yet.

    Attributes
    ----------
    key, nominal : of the slot.
    cause : ``backfill``.
    hindsight : the label under which it may use a model of later; None where it needs none.
    again : 0 for the runs that the slot has by itself, of which those that failed are resumed; n for the n-th others.
    number, facts : of an occasion.
    """

    __pydantic_config__ = CLOSED
    key: str
    nominal: Time
    cause: Cause = "backfill"
    hindsight: str | None = None
    again: int = 0
    number: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    __pydantic_config__ = CLOSED
    at: Time
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _SlotEvent(_Event):
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _StepEvent(_SlotEvent):
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun(_Event):
    """A schedule was seen for the first time; its slots count from `since` on. `times` are its `when`, `start` and
    `end`; None in entries of older releases.
    """

    event: Literal["begun"] = "begun"
    name: str
    digest: str
    when: str
    since: Time
    times: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed(_Event):
    """Its declaration is another one, `times` as in `Begun`. Where also `when` is, its slots count from `since` on, and
    what had come due before was passed over by entries of its own; older releases counted what waited in `dropped`.
    """

    event: Literal["changed"] = "changed"
    digest: str
    when: str
    since: Time
    dropped: int = 0
    times: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed(_SlotEvent):
    """A slot is open from now on; `by` holds it. `number` is that of its occasion, `declaration` the schedule's record.
    It begins no step before `not_before`. `numbers` holds that number alone where it is a time.
    """

    event: Literal["claimed"] = "claimed"
    nominal: Time
    cause: Cause
    digest: str
    declaration: Mapping[str, Any]
    not_before: Time
    number: int | None = None
    numbers: tuple[int, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    hindsight: str | None = None
    again: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passed(_Event):
    """Slots `first` to `last` (their times; of occasions, up to `number`) never come: `count` of them. `numbers` are
    those of occasions that are numbered by times.
    """

    count: int
    first: Time
    last: Time
    reason: str
    number: int | None = None
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped(_Passed):
    """Slots were left out on purpose: another was open, the schedule was paused, a newer one took their place."""

    event: Literal["skipped"] = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed(_Passed):
    """Slots came due and nobody was there in time."""

    event: Literal["missed"] = "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued(_Event):
    """Slots up to `until`, `count` of them from `first` on, will be claimed one after another."""

    event: Literal["queued"] = "queued"
    cause: Literal["catch_up", "queue"]
    count: int
    first: Time
    until: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBegun(_StepEvent):
    """An attempt at a step began, `attempt` counts from 1, under the run `run` (None for a step that is no run)."""

    event: Literal["step_begun"] = "step_begun"
    attempt: int
    run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded(_StepEvent):
    """A step has its outcome. `facts` of a promotion and a rollback name `model` and `version`."""

    event: Literal["step_ended"] = "step_ended"
    outcome: StepOutcome
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRetry(_StepEvent):
    """An attempt failed, and another comes at `next_try_at`: under the same run, or `anew` under one of its own."""

    event: Literal["step_retry"] = "step_retry"
    next_try_at: Time
    error: str
    anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver(_SlotEvent):
    """`by` holds an open slot from now on, since the script that held it, `held_by`, is gone."""

    event: Literal["taken_over"] = "taken_over"
    held_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping(_SlotEvent):
    """An open slot is to end as soon as its step is stopped, with `outcome`."""

    event: Literal["stopping"] = "stopping"
    reason: str
    outcome: Literal["stopped", "failed"] = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(_SlotEvent):
    """An open slot is over."""

    event: Literal["ended"] = "ended"
    outcome: SlotOutcome
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(_Event):
    """A person asked for slots, `reason` says why."""

    event: Literal["wanted"] = "wanted"
    slots: tuple[WantedSlot, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwanted(_Event):
    """Slots that a person had asked for, by their keys, don't come after all."""

    event: Literal["unwanted"] = "unwanted"
    keys: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(_Event):
    """No slot is claimed from now on; `declared` where the schedule's own file says so."""

    event: Literal["paused"] = "paused"
    reason: str = ""
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(_Event):
    """Slots are claimed again; those of the meantime never come."""

    event: Literal["resumed"] = "resumed"
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(_Event):
    """The audit knows the entries up to number `number`. Any other entry may say the same beside its event."""

    event: Literal["told"] = "told"
    number: int


Event: TypeAlias = (
    Begun
    | Changed
    | Claimed
    | Skipped
    | Missed
    | Queued
    | StepBegun
    | StepEnded
    | StepRetry
    | TakenOver
    | Stopping
    | Ended
    | Wanted
    | Unwanted
    | Paused
    | Resumed
    | Told
)


@cache
def _adapter() -> TypeAdapter[Event]:
    return TypeAdapter(Annotated[Event, Field(discriminator="event")])


def event_record(event: Event) -> Record:
    """`event` as JSON values; keys that came later, and that say nothing, are left out.

    Raises
    ------
    InvalidInput : a value of another type than its field, such as a time without a zone.
    """
    try:
        record: Record = _adapter().dump_python(event, mode="json", warnings="error")
    except PydanticSerializationError as error:
        raise InvalidInput(f"an event holds what can't be recorded: {error}") from None
    return {key: value for key, value in record.items() if value or key not in _LATER}


def event_from_record(record: Mapping[str, Any]) -> Event:
    """The event that `event_record` made `record` of.

    Raises
    ------
    Format : not such a record.
    """
    try:
        return _adapter().validate_json(json.dumps(record))
    except (ValidationError, TypeError, ValueError):
        found = record.get("event") if isinstance(record, Mapping) else None
        raise Format(f"expected the record of an event of a schedule, found one of {found!r} with other keys") from None
