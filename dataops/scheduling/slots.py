"""Slots: what a schedule is to do once, and the names that follow from it.

1. A slot is (schedule, digest of its declaration, nominal UTC time). Its key names it within its schedule.
2. Run ids, and how long a slot waits, derive from the slot alone: whoever does it again, anywhere, does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from dataops.declarations.schedules import Schedule
from dataops.declarations.times import parse_duration
from dataops.records import digest

MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What a schedule of occasions fires on.

    Attributes
    ----------
    key : names it within its schedule: ``snapshot-17``, ``promotion-3``, ``drift-<run id>``.
    at : when the record says that it happened, aware UTC.
    number : rises from one occasion of the schedule to the next: the snapshot's or the move's number, or a time.
    by_time : the number is a time, by the clock of whoever made it: one with a lower number may come later.
    facts : what its steps may want to know, JSON values.
    """

    key: str
    at: datetime
    number: int
    by_time: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


def number_at(time: datetime) -> int:
    """The number of an occasion that is numbered by its time: microseconds since 1970."""
    return (time - _EPOCH) // MICROSECOND


def key_of(nominal: datetime) -> str:
    """The key of the slot of a clock at `nominal`: ``20261123t023000z``."""
    return nominal.astimezone(UTC).strftime("%Y%m%dt%H%M%Sz")


def run_id_of(
    schedule: str, digest_: str, key: str, nominal: datetime, *, step: int, job: str, attempt: int = 1, again: int = 0
) -> str:
    """The run that step number `step` (from 0) of a slot is: ``<job>-<time>-<6 hex digits of all that names it>``.

    Parameters
    ----------
    schedule, digest_, key, nominal : name the slot; `digest_` is the schedule's when the slot was claimed.
    job : the job's name, or the kind of a step that runs none.
    attempt : the attempt that this run began with, from 1.
    again : as in the claim: 0, or the how many-th other runs of the slot these are.
    """
    identity = digest([schedule, digest_, key, step, attempt, again])
    return f"{job}-{nominal.astimezone(UTC).strftime('%Y%m%dt%H%M%S')}-{identity.removeprefix('sha256:')[:6]}"


def jitter_seconds(schedule: Schedule, key: str) -> float:
    """How long the slot waits: a part of the schedule's jitter, 0 up to less than all of it, in seconds."""
    if schedule.jitter is None:
        return 0.0
    drawn = int(digest(["jitter", schedule.name, key]).removeprefix("sha256:")[:12], 16) / 16**12
    return round(parse_duration(schedule.jitter).total_seconds() * drawn, 3)
