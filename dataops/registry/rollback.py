"""Rollback: back to the version that was promoted before, as a new generation.

1. Promotions form a stack: a promotion puts its version on it, a rollback takes versions off. So two rollbacks in a row
   go back by two promotions, not back and forth.
2. Moves by hand (`set`) aren't on it: a rollback from one goes to the version that was promoted last.
3. Only moves that the reader trusts count, and the version that is gone back to is read whole first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from dataops.errors import Conflict, NotFound
from dataops.governance.signing import SigningKey
from dataops.registry.aliases import CHAMPION, history, move, require_reason, version_of
from dataops.registry.moves import AliasMove, MoveKind
from dataops.registry.versions import Registry
from dataops.storage.journal import ANY, After


def standing_promotions(moves: Iterable[AliasMove]) -> list[AliasMove]:
    """The promotions that no rollback took back, oldest first; `moves` are all moves of an alias in their order."""
    stack: list[AliasMove] = []
    for one in moves:
        if not one.trusted or one.kind is MoveKind.SET:
            continue
        if one.kind is MoveKind.ROLLED_BACK:
            while stack and stack[-1].version_digest != one.version_digest:
                stack.pop()
        if one.kind is MoveKind.PROMOTED or not stack:  # a rollback to a promotion that isn't trusted stands for it
            stack.append(one)
    return stack


def previous_promotion(moves: Iterable[AliasMove]) -> AliasMove | None:
    """The promotion that a rollback goes back to; None where there is none. `moves` as for `standing_promotions`."""
    known = list(moves)
    stack = standing_promotions(known)
    last = known[-1] if known else None
    while stack and last is not None and last.trusted and stack[-1].version_digest == last.version_digest:
        stack.pop()
    return stack[-1] if stack else None


def rollback(
    registry: Registry,
    model: str,
    alias: str = CHAMPION,
    *,
    actor: str,
    reason: str,
    key: SigningKey | None = None,
    at: datetime | None = None,
    after: AliasMove | Literal[After.ANY] = ANY,
) -> AliasMove:
    """The new generation of `alias`, which points at the version that was promoted before.

    Parameters
    ----------
    actor, reason, key, at
        As `move`.
    after
        The move that is taken back, as its caller saw it. By default the last one, whatever it is: called a second time
        after a reply was lost, that goes back twice.

    Raises
    ------
    NotFound : the alias was never set, or nothing that is trusted was promoted before.
    Conflict : somebody moved the alias meanwhile.
    Integrity, Format : the version isn't trusted, or not whole any more.
    """
    require_reason(actor, reason)
    known = list(history(registry, model, alias))
    last = known[-1] if known else None
    if not isinstance(after, After) and (last is None or last.entry != after.entry):
        raise Conflict(f"{model}@{alias} moved since generation {after.generation} was read: look at it again")
    target = previous_promotion(known)
    if target is None:
        raise NotFound(
            f"{model}@{alias} can't be rolled back: no other version was promoted before that still stands and is "
            f"trusted; see `dataops model history {model} --alias {alias}`"
        )
    version = version_of(registry, target)
    registry.read(model, version.version)
    return move(
        registry,
        model,
        alias,
        version.version,
        version_digest=version.digest,
        actor=actor,
        reason=reason,
        kind=MoveKind.ROLLED_BACK,
        key=key,
        at=at,
        after=last,
    )
