"""Aliases: names such as ``champion`` that move from version to version, with their whole history.

1. An alias is a journal; where it points is its last entry. A move appends, so nobody's move is lost, and going back to
   an older version is a new entry as well: generations only go up.
2. A move says who, why, and which verdict allowed it, and names the version by number and by digest of its manifest.
3. An alias never points at a version that isn't there, or that is no longer what was promoted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dataops.declarations.references import DEFAULT_ALIAS, parse_model_reference
from dataops.errors import Integrity, InvalidInput, NotFound, near_match
from dataops.records import parse_time, require_name
from dataops.registry.versions import ModelVersion, Registry
from dataops.storage.journal import ANY, After, Entry, Journal

CHAMPION = DEFAULT_ALIAS


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """One generation of an alias: it points at `version`, since `moved_at`, because of `reason`."""

    model: str
    alias: str
    version: int
    version_digest: str
    actor: str
    reason: str
    verdict_digest: str | None
    entry: Entry

    @property
    def generation(self) -> int:
        """1 for the first; higher is newer."""
        return self.entry.number

    @property
    def moved_at(self) -> datetime:
        """When the move was recorded, by the clock of the one who moved it."""
        return parse_time(self.entry.written_at)


def current(registry: Registry, model: str, alias: str = CHAMPION) -> AliasMove | None:
    """The last move of `alias`, or None where it was never set."""
    entry = _journal(registry, model, alias).tail()
    return None if entry is None else _parse_move(entry, model, alias)


def history(registry: Registry, model: str, alias: str = CHAMPION) -> Iterator[AliasMove]:
    """Every move of `alias`, oldest first."""
    return (_parse_move(entry, model, alias) for entry in _journal(registry, model, alias).entries())


def move(
    registry: Registry,
    model: str,
    alias: str,
    version: int,
    *,
    actor: str,
    reason: str,
    verdict_digest: str | None = None,
    after: AliasMove | Literal[After.ANY] | None = ANY,
) -> AliasMove:
    """The new generation of `alias`, which points at `version`.

    Parameters
    ----------
    registry, model, alias, version
        What moves where.
    actor, reason
        Who moves it and why; neither may be empty.
    verdict_digest
        Of the verdict that allowed it.
    after
        The move that this decision was made upon (None: there was none yet). By default it holds whatever was there.

    Raises
    ------
    NotFound : no such version.
    Conflict : `after` is no longer the last move.
    """
    require_reason(actor, reason)
    journal = _journal(registry, model, alias)
    found = registry.find(model, version)
    body = {
        "model": model,
        "alias": alias,
        "version": version,
        "version_digest": found.digest,
        "actor": actor,
        "reason": reason,
        "verdict": verdict_digest,
    }
    last = after.entry if isinstance(after, AliasMove) else after
    return _parse_move(journal.append(body, after=last), model, alias)


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
    Integrity : that version is no longer what the alias was moved to.
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


def list_aliases(registry: Registry, model: str) -> list[str]:
    """The aliases of `model` that were ever set, sorted."""
    prefix = f"{require_name(model, 'model')}/aliases"
    return sorted({key.removeprefix(f"{prefix}/").split("/")[0] for key in registry.store.list(prefix)})


def _require_alias(alias: str) -> str:
    if alias.isdecimal():
        raise InvalidInput(f"{alias!r} can't name an alias: a number means the version of that number")
    return require_name(alias, "alias")


def _journal(registry: Registry, model: str, alias: str) -> Journal:
    return Journal(registry.store, f"{require_name(model, 'model')}/aliases/{_require_alias(alias)}", "alias")


def _parse_move(entry: Entry, model: str, alias: str) -> AliasMove:
    body = entry.body
    try:
        if (body["model"], body["alias"]) != (model, alias):
            raise Integrity(
                f"generation {entry.number} of {model}@{alias} was written for another alias: the folder was moved"
            )
        return AliasMove(
            model=model,
            alias=alias,
            version=int(body["version"]),
            version_digest=str(body["version_digest"]),
            actor=str(body["actor"]),
            reason=str(body["reason"]),
            verdict_digest=None if body["verdict"] is None else str(body["verdict"]),
            entry=entry,
        )
    except (KeyError, TypeError, ValueError):
        raise Integrity(
            f"generation {entry.number} of {model}@{alias} lacks a field or holds one of another type"
        ) from None


def _unset(registry: Registry, model: str, alias: str) -> str:
    models = registry.list_models()
    if model not in models:
        known = near_match(model, models) or " It has no models yet: run a train job."
        return f"the registry has no model {model!r}.{known}"
    known = near_match(alias, list_aliases(registry, model)) or " It has no aliases yet: promote a version."
    return f"model {model!r} has no {alias}.{known}"
