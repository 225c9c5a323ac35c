"""Aliases: names such as ``champion`` that move from version to version, with their whole history.

1. An alias is a journal; where it points is its last entry. A move appends, so nobody's move is lost, and going back to
   an older version is a new entry as well: generations only go up.
2. A move says who, why, of which kind, and which verdict allowed it, and names the version by number and by digest of
   its manifest. It is decided after a known entry, and says after which.
3. A signature covers all of that, with alias and generation: an entry that is put under another alias, at another
   generation or after another entry isn't what was signed. A reader follows a move only if it trusts its signature, and
   one by a key that was revoked since only where its place in the history bears out the time that it claims.
4. An alias never points at a version that isn't there, or that is no longer what was promoted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from dataops.declarations.references import DEFAULT_ALIAS, parse_model_reference
from dataops.errors import Conflict, Integrity, InvalidInput, NotFound, near_match
from dataops.governance.signing import SigningKey, Worth
from dataops.records import NAME_PATTERN, format_time, now_utc, require_name
from dataops.registry.moves import AliasMove, MoveKind, parse_move, signed_body, withdrawn_keys
from dataops.registry.signatures import require_signing
from dataops.registry.tombstones import require_kept
from dataops.registry.trust import Trust
from dataops.registry.versions import ModelVersion, Registry
from dataops.storage.journal import ANY, After, Entry, Journal

CHAMPION = DEFAULT_ALIAS
MAX_MOVE_BYTES = 1 << 18
"""What is larger is no move of an alias: applications refuse it before they parse it."""


def current(registry: Registry, model: str, alias: str = CHAMPION) -> AliasMove | None:
    """The last move of `alias`, or None where it was never set.

    Raises
    ------
    Integrity : its signature isn't one that the reader trusts; the message says what to do.
    """
    last = last_move(registry, model, alias)
    return last if last is None else require_trusted_move(last)


def require_trusted_move(last: AliasMove) -> AliasMove:
    """`last`, if its reader trusts it.

    Raises
    ------
    Integrity : it doesn't; the message says what to do.
    """
    if last.trusted:
        return last
    model, named = last.model, "" if last.alias == CHAMPION else f" --alias {last.alias}"
    keeps = (
        f"promote {model}@{last.version}" if last.alias == CHAMPION else f"alias {model}@{last.version} {last.alias}"
    )
    raise Integrity(
        f"generation {last.generation} of {model}@{last.alias} is not to be trusted: {last.words}. `dataops model "
        f"history {model}{named}` shows who made it, `dataops model rollback {model}{named}` takes it back; `dataops "
        f"model {keeps}` moves there anew, once that version is signed"
    )


def last_move(registry: Registry, model: str, alias: str = CHAMPION) -> AliasMove | None:
    """The last move of `alias`, trusted or not: to look at, and to decide after. Nothing is loaded by it."""
    entry = alias_journal(registry, model, alias).tail()
    if entry is None:
        return None
    last = parse_move(entry, model, alias, registry.trust)
    if last.trusted and last.signed_by in withdrawn_keys(registry.trust):  # its time must be what its place says
        *_, last = history(registry, model, alias)
    return last


def require_move(registry: Registry, model: str, alias: str = CHAMPION) -> AliasMove:
    """As `last_move`, of an alias that was set.

    Raises
    ------
    NotFound : no such model or alias.
    """
    last = last_move(registry, model, alias)
    if last is None:
        raise NotFound(_unset(registry, model, alias))
    return last


def history(registry: Registry, model: str, alias: str = CHAMPION) -> Iterator[AliasMove]:
    """Every move of `alias`, oldest first, each with what its signature is worth.

    Whoever has a lost key can write any time into what it signs, but not its place: a move by a key that was revoked
    since counts only where none before it was made later, by a key that still counts.
    """
    withdrawn, latest = withdrawn_keys(registry.trust), None
    for entry in alias_journal(registry, model, alias).entries():
        one = parse_move(entry, model, alias, registry.trust)
        if one.worth is Worth.GOOD and one.signed_by in withdrawn:
            late = latest is not None and one.moved_at < latest
            one = replace(one, worth=Worth.REVOKED) if late else one
        elif one.worth is Worth.GOOD:
            latest = max(latest or one.moved_at, one.moved_at)
        yield one


def move_at(registry: Registry, model: str, alias: str, at: datetime) -> AliasMove | None:
    """The move that held at the time `at`, trusted or not; None before the first."""
    found = None
    for one in history(registry, model, alias):
        found = one if one.moved_at <= at else found
    return found


def move(
    registry: Registry,
    model: str,
    alias: str,
    version: int,
    *,
    actor: str,
    reason: str,
    version_digest: str | None = None,
    verdict_digest: str | None = None,
    kind: MoveKind = MoveKind.PROMOTED,
    key: SigningKey | None = None,
    at: datetime | None = None,
    after: AliasMove | Literal[After.ANY] | None = ANY,
) -> AliasMove:
    """The new generation of `alias`, which points at `version`.

    Parameters
    ----------
    registry, model, alias, version
        What moves where.
    actor, reason
        Who moves it and why; neither may be empty.
    version_digest
        Of the version that was decided on. Default: whatever has that number now.
    verdict_digest
        Of the verdict that allowed it.
    kind
        What the move is; a rollback goes back along those that were promotions.
    key
        Signs the move. A registry whose trust asks for signatures takes none without.
    at
        The time of the move. Default: now.
    after
        The move that this decision was made upon (None: there was none yet). By default it holds whatever was there.

    Raises
    ------
    NotFound : no such version.
    Conflict : `after` is no longer the last move, or the version is marked to be deleted.
    Integrity : the version, or what the key signs, isn't trusted; there is no key, and readers ask for signatures; or
        the version was exchanged since the decision.
    """
    require_reason(actor, reason)
    moved_at = at or now_utc()
    _require_key(registry.trust, key, at=moved_at)
    journal = alias_journal(registry, model, alias)
    body = {
        "model": model,
        "alias": alias,
        "version": version,
        "version_digest": _require_movable(registry, model, version, version_digest).digest,
        "actor": actor,
        "reason": reason,
        "verdict": verdict_digest,
        "kind": kind.value,
        "moved_at": format_time(moved_at),
    }
    entry = _append(journal, body, key, after=after.entry if isinstance(after, AliasMove) else after)
    return parse_move(entry, model, alias, registry.trust)


def _require_movable(registry: Registry, model: str, version: int, version_digest: str | None) -> ModelVersion:
    """The version, if an alias may be moved to it; raises as `move`."""
    found = registry.find(model, version)
    if version_digest not in (None, found.digest):
        raise Integrity(f"{found.reference} is no longer what was decided on: its manifest has changed since")
    require_kept(registry.store, model, version)
    return found


def _append(
    journal: Journal, body: Mapping[str, Any], key: SigningKey | None, *, after: Entry | Literal[After.ANY] | None
) -> Entry:
    """The entry that holds `body`, signed by `key` where it stands."""
    if not isinstance(after, After):
        return journal.append(signed_body(body, after, key), after=after)
    while True:
        last = journal.tail()
        try:
            return journal.append(signed_body(body, last, key), after=last)
        except Conflict:
            continue  # each round that loses is one that somebody else won


def _require_key(trust: Trust, key: SigningKey | None, *, at: datetime) -> None:
    if key is None and trust.signers is not None:
        raise Integrity(
            "readers of this registry ask for signatures, and there is no signing key here: `dataops keys init` makes "
            "one"
        )
    require_signing(trust, key, at=at)


def require_reason(actor: str, reason: str) -> None:
    """Raises InvalidInput where nobody, or nothing, is given as who and why."""
    missing = [what for what, text in (("who", actor), ("why", reason)) if not text.strip()]
    if missing:
        raise InvalidInput(f"an alias moves only with a record of {' and '.join(missing)}: give it")


def resolve(registry: Registry, model: str, alias: str = CHAMPION) -> ModelVersion:
    """The version that `alias` points at.

    Raises
    ------
    NotFound : no such model or alias.
    Integrity : the last move, or the version, isn't trusted; or that version is no longer what the alias was moved to.
    """
    last = current(registry, model, alias)
    if last is None:
        raise NotFound(_unset(registry, model, alias))
    return version_of(registry, last)


def version_of(registry: Registry, last: AliasMove) -> ModelVersion:
    """The version that a move names; raises as `resolve`."""
    version = registry.find(last.model, last.version)
    if version.digest != last.version_digest:
        raise Integrity(
            f"{version.reference} is not the version that {last.alias} was moved to: its manifest has changed"
        )
    return version


def resolve_reference(registry: Registry, text: str) -> ModelVersion:
    """The version that ``income@champion``, ``income@3`` or ``income`` means.

    Raises
    ------
    InvalidInput : not a reference.
    NotFound, Integrity : as `resolve`.
    """
    reference = parse_model_reference(text)
    if reference.version is not None:
        return registry.find(reference.model, reference.version)
    return resolve(registry, reference.model, reference.alias or CHAMPION)


def require_follows(registry: Registry, last: AliasMove, *, generation: int, digest: str) -> None:
    """Nothing, if the entry of that `generation` and `digest` is part of the history that `last` ends.

    Raises
    ------
    Integrity : it isn't: the history was written anew since that entry was read.
    """
    digests: list[str] = []
    for entry in alias_journal(registry, last.model, last.alias).entries(generation):
        digests.append(entry.digest)
        if entry.number == last.generation:
            break
    if digests[:1] != [digest] or digests[-1] != last.entry.digest:
        raise Integrity(
            f"generation {last.generation} of {last.model}@{last.alias} does not follow generation {generation} as it "
            "was read before: its history was written anew"
        )


def list_aliases(registry: Registry, model: str) -> list[str]:
    """The aliases of `model` that were ever set, sorted; folders of names that no alias has aren't any."""
    prefix = f"{require_name(model, 'model')}/aliases"
    names = {key.removeprefix(f"{prefix}/").split("/")[0] for key in registry.store.list_with_links(prefix)}
    return sorted(name for name in names if NAME_PATTERN.fullmatch(name) and not name.isdecimal())


def _require_alias(alias: str) -> str:
    if alias.isdecimal():
        raise InvalidInput(f"{alias!r} can't name an alias: a number means the version of that number")
    return require_name(alias, "alias")


def alias_journal(registry: Registry, model: str, alias: str) -> Journal:
    """The journal that the alias is."""
    prefix = f"{require_name(model, 'model')}/aliases/{_require_alias(alias)}"
    return Journal(registry.store, prefix, "alias", max_bytes=MAX_MOVE_BYTES)


def _unset(registry: Registry, model: str, alias: str) -> str:
    models = registry.list_models()
    if model not in models:
        known = near_match(model, models) or " It has no models yet: run a train job."
        return f"the registry has no model {model!r}.{known}"
    known = near_match(alias, list_aliases(registry, model)) or " It has no aliases yet: promote a version."
    what = CHAMPION if alias == CHAMPION else f"alias {alias!r}"
    return f"model {model!r} has no {what}.{known}"
