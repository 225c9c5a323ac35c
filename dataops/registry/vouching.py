"""Vouching: the last move of an alias again, signed by the key of today, before the key that signed it is revoked.

1. Only a move that its reader trusts is vouched for. One that nobody signed, or whose key is lost, may be anybody's:
   who wants its version promotes it, which asks the gates; who doesn't rolls it back.
2. A promotion is vouched for together with the verdict that allowed it: there, unchanged, of this version and this
   alias, and no refusal that nobody took upon themselves.
"""

from __future__ import annotations

import json
from datetime import datetime

from dataops.errors import Integrity, InvalidInput, NotFound
from dataops.governance.signing import SigningKey
from dataops.records import digest_bytes
from dataops.registry.aliases import move, require_trusted_move, version_of
from dataops.registry.moves import AliasMove, MoveKind
from dataops.registry.versions import Registry

MAX_VERDICT_BYTES = 1 << 24


def vouch(registry: Registry, last: AliasMove, *, actor: str, key: SigningKey, at: datetime | None = None) -> AliasMove:
    """The last move of an alias, signed by `key`: `last` itself where it is, or where nobody asks for signatures; else
    the same move again.

    It is of the kind that `last` was, so that a rollback finds its way as before.

    Raises
    ------
    Conflict : the alias moved since.
    Integrity : the move, its verdict or the version isn't trusted, or the key doesn't count.
    """
    require_trusted_move(last)
    if registry.trust.signers is None or last.signed_by == key.key_id:
        return last
    fault = "" if last.verdict_digest is None and last.kind is not MoveKind.PROMOTED else verdict_fault(registry, last)
    if fault:
        raise Integrity(
            f"generation {last.generation} of {last.model}@{last.alias} can't be vouched for: {fault}. `dataops model "
            f"history {last.model}` shows who made it, `dataops model rollback {last.model}` takes it back"
        )
    version = version_of(registry, last)
    return move(
        registry,
        last.model,
        last.alias,
        version.version,
        version_digest=version.digest,
        actor=actor,
        reason=f"vouches for generation {last.generation}, of {last.actor}: {last.reason}",
        verdict_digest=last.verdict_digest,
        kind=last.kind,
        key=key,
        at=at,
        after=last,
    )


def verdict_fault(registry: Registry, move: AliasMove) -> str:
    """What is wrong with the verdict that allowed `move`, in words; "" for nothing."""
    if move.verdict_digest is None:
        return "it names no verdict"
    try:
        key = f"{move.model}/verdicts/{move.verdict_digest.removeprefix('sha256:')}.json"
        data = registry.store.get_at_most(key, MAX_VERDICT_BYTES)
    except NotFound:
        return "the verdict that allowed it is missing"
    except (Integrity, InvalidInput) as error:
        return str(error)
    if digest_bytes(data) != move.verdict_digest:
        return "the verdict that allowed it was changed"
    return _what_it_lacks(data, move)


def _what_it_lacks(data: bytes, move: AliasMove) -> str:
    """Why the verdict in `data` doesn't allow `move`, in words; "" if it does."""
    try:
        record = json.loads(data)
        named = [record[name] for name in ("model", "version", "version_digest")]
        alias, allowed = record["alias"], record["passed"] is True or record.get("override") is not None
    except (ValueError, KeyError, TypeError, RecursionError):
        return "the verdict that allowed it is none"
    if named != [move.model, move.version, move.version_digest]:
        return "the verdict that allowed it is of another version"
    if alias != move.alias:
        return "the verdict that allowed it is of another alias"
    return "" if allowed else "the verdict that allowed it is a refusal"
