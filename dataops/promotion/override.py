"""Overrides: a person who promotes what its gates refuse says why and until when, and the verdict keeps both.

1. What failed stays in the verdict as it was: an override adds who takes it upon themselves, why, and an end.
2. It is about figures. Whether a version is whole, readable and signed is no gate, so nobody can override it.
3. An alias doesn't move by itself: when an override has ended, whoever looks at the alias is told, also where a
   rollback brought the version back.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Self

from dataops.errors import DataopsError, InvalidInput
from dataops.promotion.verdict import verdict_key
from dataops.records import Record, digest_bytes, format_time, parse_time
from dataops.registry.aliases import history
from dataops.registry.moves import AliasMove, MoveKind
from dataops.registry.versions import Registry

LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Why a version is promoted against its gates, and when that ends."""

    why: str
    until: datetime

    def require(self, now: datetime) -> None:
        """Nothing, unless it says nothing or ends too soon or too late.

        Raises
        ------
        InvalidInput : it does.
        """
        if not self.why.strip():
            raise InvalidInput("an override says why: give it")
        if not now < self.until <= now + LONGEST:
            raise InvalidInput(
                f"an override ends after now and within {LONGEST.days} days, not at {format_time(self.until)}: "
                "choose another day"
            )

    def record(self, actor: str) -> Record:
        """What the verdict keeps: the person too."""
        return {"why": self.why, "by": actor, "until": format_time(self.until)}

    @classmethod
    def from_record(cls, record: Any) -> Self | None:
        """What `record()` wrote; None for a verdict that was not overridden."""
        return None if record is None else cls(why=str(record["why"]), until=parse_time(record["until"]))


def parse_override(why: str | None, until: str | None, *, now: datetime) -> Override | None:
    """The override with that reason, up to the end of the day `until`, UTC; None where neither is given.

    Parameters
    ----------
    until : ``2026-12-31``, or ``30d``: so many days after `now`.

    Raises
    ------
    InvalidInput : one without the other, or not a day.
    """
    if why is None and until is None:
        return None
    if why is None or until is None:
        raise InvalidInput("an override says why and until when: give --override WHY and --until DATE")
    try:
        days = re.fullmatch(r"([0-9]{1,4})d", until)
        day = now + timedelta(days=int(days[1])) if days else datetime.strptime(until, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInput(f"{until!r} is no day: write it as 2026-12-31, or as 30d for 30 days from now") from None
    return Override(why=why, until=datetime.combine(day, time(23, 59, 59), UTC))


def override_of(registry: Registry, move: AliasMove) -> Override | None:
    """The override by which `move` was made, or that by which the version was promoted that it went back to; None where
    the gates held, or where the verdict can't be read.
    """
    try:
        move = _promotion_behind(registry, move)
        if move.verdict_digest is None:
            return None
        data = registry.store.get(f"{verdict_key(move.model, move.verdict_digest)}.json")
        if digest_bytes(data) != move.verdict_digest:
            return None
        return Override.from_record(json.loads(data).get("override"))
    except (DataopsError, ValueError, KeyError, TypeError):
        return None


def tell_ended(registry: Registry, move: AliasMove, *, now: datetime) -> str | None:
    """That the override ended by which `move` was made, and what to do; None where there is none, or it holds."""
    found = override_of(registry, move)
    if found is None or now <= found.until:
        return None
    return (
        f"{move.model}@{move.version} was promoted against its gates until {found.until:%Y-%m-%d}, which is over: "
        f"promote it anew, or another version, or `dataops model rollback {move.model}`"
    )


def _promotion_behind(registry: Registry, move: AliasMove) -> AliasMove:
    """`move`, or where it is a rollback the promotion that it went back to: the last that is trusted; where none is, as
    after its key was revoked, the first.
    """
    if move.kind is not MoveKind.ROLLED_BACK:
        return move
    found = move
    for one in history(registry, move.model, move.alias):
        if one.generation >= move.generation:
            break
        same = one.kind is MoveKind.PROMOTED and one.version_digest == move.version_digest
        if same and (one.trusted or found is move):
            found = one
    return found
