"""What people do to models beside training and promoting them: sign, roll back, name, pin, verify, let go.

1. What changes anything stands in the audit before it happens, with who and why, and what came of it after; both are
   signed at once.
2. The person is the operating system's user, the key the workspace's current one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dataops.declarations.references import DEFAULT_ALIAS, parse_model_reference
from dataops.errors import InvalidInput, NotFound
from dataops.governance.signing import SigningKey
from dataops.records import now_utc, parse_time
from dataops.registry.aliases import last_move, move, require_move, resolve, resolve_reference
from dataops.registry.garbage import Asked, Collection, collect, plan_collection
from dataops.registry.moves import AliasMove, MoveKind
from dataops.registry.pins import Pin, pin, unpin
from dataops.registry.rollback import rollback
from dataops.registry.verify import Verified, verify_alias, verify_model, verify_registry, verify_version
from dataops.registry.versions import ModelVersion
from dataops.registry.vouching import vouch
from dataops.runs.audit import CameOfIt, announced, signed
from dataops.runs.ledger import State
from dataops.runs.workspace import Workspace, os_user

_REASON_LENGTH = 300  # what the audit takes; the registry keeps all of it
_ALIVE = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A move of an alias; `before` is the one that held until then. `note`: what kept the audit from being signed."""

    move: AliasMove
    before: AliasMove | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedModel:
    """A version that is signed, by which key, and the alias that was vouched for, if one was."""

    version: ModelVersion
    key_id: str
    move: AliasMove | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """What was said of a version. `note`: what kept the audit from being signed."""

    pin: Pin
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedVersions:
    """What became of a model's versions. `note`: what kept the audit from being signed."""

    collection: Collection
    note: str | None = None


def sign_reference(workspace: Workspace, reference: str) -> SignedModel:
    """The version that `reference` means, signed by the workspace's key once every byte of it was checked.

    Where it is named by an alias, the alias and its version have to be trusted already, and its last move is vouched
    for as well: who follows a name signs nothing that others put there.

    Raises
    ------
    NotFound : no such version or alias, or no signing key here.
    Integrity, Format : the version isn't whole, what the key signs counts for nobody here, or what the alias names
        isn't trusted.
    """
    registry, key = workspace.registry, _require_key(workspace)
    asked = parse_model_reference(reference)
    last = require_move(registry, asked.model, asked.alias or DEFAULT_ALIAS) if asked.version is None else None
    named = resolve(registry, last.model, last.alias) if last else None
    version = named.version if named else asked.version or 0
    facts = {"model": asked.model, "version": version, "alias": last.alias if last else None, "key": key.key_id}
    with signed(workspace) as signing, announced(workspace, "model_sign", facts) as came:
        digest = named.digest if named else None  # by a name, what is trusted by now, and not what lies there next
        found = registry.sign(asked.model, version, key, at=now_utc(), version_digest=digest)
        came.facts["version_digest"] = found.digest
        vouched = None if last is None else vouch(registry, last, actor=os_user(), key=key)
        if vouched is not None:
            came.facts["generation"] = vouched.generation
    return SignedModel(version=found, key_id=key.key_id, move=vouched, note=signing.note)


def roll_back(
    workspace: Workspace, model: str, *, reason: str, alias: str = DEFAULT_ALIAS, after: AliasMove | None = None
) -> Moved:
    """The move of `alias` back to the version that was promoted before; raises as `rollback`.

    Parameters
    ----------
    after : the move that is taken back, as its caller decided on it. Default: the last one.
    """
    before, actor = after or require_move(workspace.registry, model, alias), os_user()
    facts = {"model": model, "alias": alias, "reason": reason[:_REASON_LENGTH]}
    with signed(workspace) as signing, announced(workspace, "model_rollback", facts) as came:
        key = workspace.signing_key()
        made = rollback(workspace.registry, model, alias, actor=actor, reason=reason, key=key, after=before)
        _tell(came, made)
    return Moved(move=made, before=before, note=signing.note)


def set_alias(workspace: Workspace, reference: str, alias: str, *, reason: str) -> Moved:
    """The move of `alias`, any but the champion, to the version that `reference` means.

    Raises
    ------
    InvalidInput : the champion (it is promoted or rolled back), a name that no alias can have, or no reason.
    NotFound, Integrity, Conflict : as `move`.
    """
    if alias == DEFAULT_ALIAS:
        raise InvalidInput(
            f"'{alias}' is not set by hand: `dataops model promote` moves it where the gates allow it, `dataops model "
            "rollback` takes a promotion back"
        )
    registry, actor = workspace.registry, os_user()
    version = resolve_reference(registry, reference)
    before = last_move(registry, version.model, alias)
    facts = {
        "model": version.model,
        "alias": alias,
        "version": version.version,
        "reason": reason[:_REASON_LENGTH],
    }
    with signed(workspace) as signing, announced(workspace, "model_alias", facts) as came:
        key = workspace.signing_key()
        made = move(
            registry,
            version.model,
            alias,
            version.version,
            version_digest=version.digest,
            actor=actor,
            reason=reason,
            kind=MoveKind.SET,
            key=key,
            after=before,
        )
        _tell(came, made)
    return Moved(move=made, before=before, note=signing.note)


def pin_version(workspace: Workspace, reference: str, *, reason: str) -> Pinned:
    """The pin of the version that `reference` means; raises as `pin`."""
    return _pin(workspace, reference, reason, pinned=True)


def unpin_version(workspace: Workspace, reference: str, *, reason: str) -> Pinned:
    """What says that the version needn't stay for its pin; raises as `unpin`."""
    return _pin(workspace, reference, reason, pinned=False)


def _pin(workspace: Workspace, reference: str, reason: str, *, pinned: bool) -> Pinned:
    registry, asked = workspace.registry, parse_model_reference(reference)
    if asked.version is not None:  # signed or not: who pins it wants it to stay, not to be loaded
        found = registry.read_manifest(asked.model, asked.version)
        model, version = found.model, found.version
    else:
        named = resolve_reference(registry, reference)
        model, version = named.model, named.version
    facts = {"model": model, "version": version, "reason": reason[:_REASON_LENGTH]}
    event, say = ("model_pin", pin) if pinned else ("model_unpin", unpin)
    with signed(workspace) as signing, announced(workspace, event, facts) as came:
        made = say(registry, model, version, actor=os_user(), reason=reason)
        came.facts["version"] = version
    return Pinned(pin=made, note=signing.note)


def collect_versions(
    workspace: Workspace, model: str, *, keep: int, grace: timedelta, at: datetime, do: bool
) -> CollectedVersions:
    """What becomes of the versions of `model` that nobody needs; without `do`, what would.

    Raises
    ------
    NotFound : no such model.
    AccessDenied : `do`, and the user hasn't the role ``steward``; nothing was marked or deleted.
    InvalidInput : less than one version to keep, or no grace.
    Integrity, Format : something that may name a version can't be read; nothing was marked or deleted.
    """
    registry, actor = workspace.registry, os_user()
    if do:
        workspace.require_steward(
            "letting versions go can't be undone (without --yes anybody may look at what would go)"
        )
    if not registry.numbers(model):
        registry.read_manifest(model, 1)  # says that there is no such model, and which one is near
    asked = Asked(keep=keep, grace=grace, used=_used_by_runs(workspace, model, since=at - _ALIVE))
    plan = plan_collection(registry, model, asked, actor=actor, at=at)
    if not (do and (plan.marked or plan.deleted or plan.spared or plan.forgotten)):
        return CollectedVersions(collection=plan)
    facts = {
        "model": model,
        "keep": keep,
        "grace_seconds": int(grace.total_seconds()),
        **_told(plan),
    }
    with signed(workspace) as signing, announced(workspace, "model_gc", facts) as came:
        done = collect(registry, model, asked, actor=actor, at=at)
        came.facts |= _told(done)
    return CollectedVersions(collection=done, note=signing.note)


def _told(collection: Collection) -> dict[str, object]:
    """What the audit is told of a collection."""
    named = {"condemned": collection.marked, "deleted": collection.deleted, "spared": collection.spared}
    numbers = {name: [stone.version for stone in stones] for name, stones in named.items()}  # the audit's old word
    return {**numbers, "heartbeats": len(collection.forgotten)}


def verify_models(workspace: Workspace, reference: str | None) -> Verified:
    """What is wrong with the registry: all of it, one model (``income``), or one version and the alias that names it
    (``income@3``, ``income@champion``).

    Raises
    ------
    NotFound : no such model, version or alias.
    """
    registry = workspace.registry
    if reference is None:
        return verify_registry(registry)
    if "@" not in reference:
        return verify_model(registry, parse_model_reference(reference).model)
    asked = parse_model_reference(reference)
    if asked.version is not None:
        registry.read_manifest(asked.model, asked.version)
        return verify_version(registry, asked.model, asked.version)
    last = require_move(registry, asked.model, asked.alias or DEFAULT_ALIAS)
    return verify_version(registry, last.model, last.version) + verify_alias(registry, last.model, last.alias)


def _used_by_runs(workspace: Workspace, model: str, *, since: datetime) -> dict[int, str]:
    """The versions of `model` that runs score with which aren't done and said something lately."""
    used: dict[int, str] = {}
    for run in workspace.ledger.ids():
        state = workspace.ledger.state(run)
        last = parse_time(state.events[-1]["at"] if state.events else state.run.created_at)
        if state.state is State.DONE or last < since:
            continue
        pinned = [*([state.run.model] if state.run.model else []), *state.run.challengers.values()]
        used |= {int(one["version"]): f"run {run} uses it" for one in pinned if one["model"] == model}
    return used


def _require_key(workspace: Workspace) -> SigningKey:
    key = workspace.signing_key()
    if key is None:
        raise NotFound(f"there is no signing key in {workspace.settings.keys}: `dataops keys init` makes one")
    return key


def _tell(came: CameOfIt, made: AliasMove) -> None:
    came.facts |= {"alias": made.alias, "version": made.version, "generation": made.generation}
