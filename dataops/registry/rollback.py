"""Rollback: back to the version that was promoted before, as a new generation.

1. Promotions form a stack: a promotion puts its version on it, a rollback takes versions off. So two rollbacks in a row
   go back by two promotions, not back and forth.
2. Moves by hand (`set`) aren't on it: a rollback from one goes to the version that was promoted last.
3. A promotion that the reader doesn't trust, and one of a version that was deleted, keep their place on the stack, so
   that the others do, and are passed over: the reason of the rollback names them.
4. The version that is gone back to is read whole first.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from typing import Literal

from dataops.errors import Conflict, NotFound
from dataops.governance.signing import SigningKey
from dataops.registry.aliases import CHAMPION, history, move, require_reason, version_of
from dataops.registry.moves import AliasMove, MoveKind
from dataops.registry.tombstones import deletions
from dataops.registry.versions import Registry
from dataops.storage.journal import ANY, After

_NAMED = 3
"""How many promotions that were passed over a reason names."""


def standing_promotions(moves: Iterable[AliasMove]) -> list[AliasMove]:
    """The promotions that no rollback took back, oldest first, trusted or not; `moves` are all moves of an alias in
    their order. A rollback that is trusted stands for the promotion that it went back to, where that isn't.
    """
    stack: list[AliasMove] = []
    for one in moves:
        if one.kind is MoveKind.PROMOTED:
            stack.append(one)
        elif one.kind is MoveKind.ROLLED_BACK and one.trusted and _holds(stack, one):
            while stack[-1].version_digest != one.version_digest:
                stack.pop()
            if not stack[-1].trusted:
                stack[-1] = one
    return stack


def way_back(moves: Sequence[AliasMove], deleted: Container[int]) -> tuple[AliasMove | None, list[AliasMove]]:
    """The promotion that a rollback goes back to, None where there is none, and those that it passes over.

    Parameters
    ----------
    moves : as for `standing_promotions`.
    deleted : the numbers of the versions that aren't there any more, or are about to go.
    """
    stack, passed = standing_promotions(moves), []
    last = moves[-1] if moves else None
    while stack and last is not None and _is_taken_back(stack[-1], last):
        stack.pop()
    while stack and (not stack[-1].trusted or stack[-1].version in deleted):
        passed.append(stack.pop())
    return stack[-1] if stack else None, passed


def _holds(stack: Iterable[AliasMove], move: AliasMove) -> bool:
    """Whether a promotion of the version that `move` goes to is on the stack."""
    return any(one.version_digest == move.version_digest for one in stack)


def _is_taken_back(promotion: AliasMove, last: AliasMove) -> bool:
    """Whether `promotion` is what the alias says now; a move that isn't trusted says nothing but itself."""
    return promotion.entry == last.entry or (last.trusted and promotion.version_digest == last.version_digest)


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
    NotFound : the alias was never set, or nothing that is trusted and still there was promoted before.
    Conflict : somebody moved the alias meanwhile.
    Integrity, Format : the version isn't trusted, or not whole any more.
    """
    require_reason(actor, reason)
    known = list(history(registry, model, alias))
    last = known[-1] if known else None
    if not isinstance(after, After) and (last is None or last.entry != after.entry):
        raise Conflict(f"{model}@{alias} moved since generation {after.generation} was read: look at it again")
    target, passed = way_back(known, {stone.version for stone in deletions(registry.store, model)})
    if target is None:
        raise NotFound(
            f"{model}@{alias} can't be rolled back: no other version was promoted before that still stands and is "
            f"trusted{_spell(passed)}; see `dataops model history {model} --alias {alias}`"
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
        reason=f"{reason}{_spell(passed)}",
        kind=MoveKind.ROLLED_BACK,
        key=key,
        at=at,
        after=last,
    )


def _spell(passed: Sequence[AliasMove]) -> str:
    """What was passed over and why, to be put after a reason; "" for nothing."""
    if not passed:
        return ""
    said = [
        f"generation {one.generation}, {'of a version that was deleted' if one.trusted else one.words}"
        for one in passed[:_NAMED]
    ]
    more = f"; and {len(passed) - _NAMED} more" if len(passed) > _NAMED else ""
    return f" (passed over: {'; '.join(said)}{more})"
