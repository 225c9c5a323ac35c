"""Garbage: versions that nobody needs any more go, in two steps.

1. Needed is: the newest versions, a young one, what an alias points at, what it pointed at in its last generations,
   where a rollback of it would go, what is pinned, what an application runs. Everything that may name a version is
   asked, and where one of these can't be read, nothing is deleted.
2. The first call *condemns* what isn't needed; one that comes a grace later deletes it. In between no alias moves to
   it, `pin` saves it, and what came to be needed again is spared.
3. Before the first file goes, a record says that the version is deleted, and all is asked once more: who pins looks for
   that record after the pin, so of the two at least one sees the other.
4. A deletion that was cut off is brought to its end by the next call. The number of a version isn't used again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dataops.errors import InvalidInput
from dataops.models.package import MANIFEST
from dataops.records import require_name
from dataops.registry.aliases import history, list_aliases
from dataops.registry.claims import CLAIM, content_key
from dataops.registry.heartbeats import read_heartbeats
from dataops.registry.pins import pins
from dataops.registry.rollback import way_back
from dataops.registry.tombstones import (
    Tombstone,
    begin_deletion,
    call_off_deletion,
    condemn,
    condemned,
    deletions,
    spare,
)
from dataops.registry.versions import ModelVersion, Registry

Needed = Mapping[int, str]

LEAST_GRACE = timedelta(hours=1)
"""Whoever moves an alias looked for a mark before: longer ago than any move takes."""
RUNNING = timedelta(days=1)
"""How long after its last heartbeat an application counts as one that runs a version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be kept.

    Attributes
    ----------
    keep
        How many of the newest versions, and of the last generations of each alias; at least 1.
    grace
        How long after its registration a version isn't touched, and how long after it was condemned it isn't deleted.
    used
        By whom a version is used, where its caller knows more than the registry.
    """

    keep: int
    grace: timedelta
    used: Needed = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.keep < 1 or self.grace < LEAST_GRACE:
            raise InvalidInput("expected to keep at least 1 version, and a grace of at least an hour")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What becomes of a model's versions; in a dry run, what would.

    Attributes
    ----------
    kept : why, by number.
    condemned : now; `waiting` were before, and their grace isn't over.
    deleted : their grace is over, or their deletion was cut off.
    spared : were condemned, and are needed again.
    """

    model: str
    kept: Needed
    condemned: tuple[Tombstone, ...]
    waiting: tuple[Tombstone, ...]
    deleted: tuple[Tombstone, ...]
    spared: tuple[Tombstone, ...]


def plan_collection(registry: Registry, model: str, asked: Asked, *, actor: str, at: datetime) -> Collection:
    """What `collect` would do now; nothing is changed.

    Raises
    ------
    Integrity, Format : something that may name a version can't be read.
    """
    store, versions = registry.store, registry.versions(require_name(model, "model"))
    needed = needed_versions(registry, model, versions, asked, at=at)
    stones = {one.version: condemned(store, model, one.version) for one in versions}
    unfinished = {one.version: one for one in deletions(store, model) if _left(registry, model, one.version)}
    found: dict[str, list[Tombstone]] = {"condemned": [], "waiting": [], "deleted": [], "spared": []}
    for one in versions:
        stone = stones[one.version]
        if begun := unfinished.pop(one.version, None):
            found["spared" if one.version in needed else "deleted"].append(begun)
        elif stone is None:
            found["condemned"] += [] if one.version in needed else [_stone(one, actor=actor, at=at)]
        elif one.version in needed:
            found["spared"].append(stone)
        else:
            found["deleted" if at - stone.at >= asked.grace else "waiting"].append(stone)
    found["deleted"] += unfinished.values()
    return Collection(model=model, kept=needed, **{name: tuple(stones) for name, stones in found.items()})


def collect(registry: Registry, model: str, asked: Asked, *, actor: str, at: datetime) -> Collection:
    """What became of the versions of `model`.

    Raises
    ------
    Integrity, Format : as `plan_collection`.
    """
    plan, store = plan_collection(registry, model, asked, actor=actor, at=at), registry.store
    for stone in plan.spared:
        call_off_deletion(store, model, stone.version)
    for stone in plan.condemned:
        condemn(store, stone)
    going = [Tombstone(model=model, version=one.version, digest=one.digest, at=at, actor=actor) for one in plan.deleted]
    for stone in going:
        begin_deletion(store, stone)
    needed = needed_versions(registry, model, registry.versions(model), asked, at=at) if going else {}
    spared = tuple(stone for stone in plan.deleted if stone.version in needed)
    gone = tuple(stone for stone in plan.deleted if stone.version not in needed)
    for stone in spared:
        call_off_deletion(store, model, stone.version)
    for stone in gone:
        _remove(registry, model, stone.version)
    return Collection(
        model=model,
        kept={**plan.kept, **needed},
        condemned=plan.condemned,
        waiting=plan.waiting,
        deleted=gone,
        spared=plan.spared + spared,
    )


def needed_versions(
    registry: Registry, model: str, versions: Iterable[ModelVersion], asked: Asked, *, at: datetime
) -> dict[int, str]:
    """Why versions of `model` are needed, by number; one that isn't is left out."""
    known = sorted(versions, key=lambda one: one.version)
    needed: dict[int, str] = {}
    for one in known:
        if at - one.registered_at < asked.grace:
            needed[one.version] = f"registered {one.registered_at:%Y-%m-%d %H:%M}"
    for one in known[-asked.keep :]:
        needed[one.version] = f"of the newest {asked.keep}"
    for alias in list_aliases(registry, model):
        needed |= _named(registry, model, alias, asked.keep)
    needed |= asked.used
    beats = (beat for beat in read_heartbeats(registry.store, model) if at - beat.at < RUNNING)
    needed |= {beat.version: f"{beat.app} on {beat.host} runs it" for beat in beats}
    needed |= {number: f"pinned by {pin.actor}: {pin.reason}" for number, pin in pins(registry, model).items()}
    there = {one.version for one in known}
    return {number: because for number, because in sorted(needed.items()) if number in there}


def _named(registry: Registry, model: str, alias: str, keep: int) -> dict[int, str]:
    """What an alias points at, did lately, and would after a rollback; trusted or not, it counts."""
    moves = list(history(registry, model, alias))
    named = {one.version: f"{alias}: of its last {keep} generations" for one in moves[-keep:]}
    back, _ = way_back(moves, {stone.version for stone in deletions(registry.store, model)})
    if back is not None:
        named[back.version] = f"{alias}: a rollback goes there"
    return named | {one.version: f"{alias}: points at it" for one in moves[-1:]}


def _stone(version: ModelVersion, *, actor: str, at: datetime) -> Tombstone:
    return Tombstone(model=version.model, version=version.version, digest=version.digest, at=at, actor=actor)


def _left(registry: Registry, model: str, version: int) -> list[str]:
    """The keys of a version's folder, but for its claim."""
    folder = f"{model}/versions/{version}"
    return [key for key in registry.store.list_with_links(folder) if key != f"{folder}/{CLAIM}"]


def _remove(registry: Registry, model: str, version: int) -> None:
    """No file of the version is left; a crash leaves one that is gone for readers and writers alike."""
    manifest, left = f"{model}/versions/{version}/{MANIFEST}", _left(registry, model, version)
    spare(registry.store, model, version)  # before the files: as long as one is left, the next call comes here again
    if manifest in left:
        # first what leads a writer of the same package here, then what makes it a version
        registry.store.delete(content_key(model, registry.read_manifest(model, version).content))
        registry.store.delete(manifest)
    for key in left:
        registry.store.delete(key)
