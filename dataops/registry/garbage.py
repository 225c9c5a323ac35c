"""Garbage: versions that nobody needs any more go, in two steps.

1. Needed is: the newest versions, a young one, what an alias points at, what it pointed at in its last generations,
   where a rollback of it would go, what is pinned, what an application runs. Everything that may name a version is
   asked, and where one of these can't be read, nothing is deleted.
2. The first call *marks* what isn't needed; one that comes a grace later deletes it. In between no alias moves to it,
   `pin` saves it, and what came to be needed again is spared.
3. Before the first file goes, a record says that the version is deleted, and all is asked once more, the mark too: who
   pins, or spares what another call deletes that was asked to keep less, looks for that record after, so of the two at
   least one sees the other.
4. A deletion that was cut off is brought to its end by a later call, or called off where no file is gone yet; one that
   began within `LEAST_GRACE` may be going on, and is left alone. The number of a version isn't used again.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from dataops.errors import InvalidInput
from dataops.models.package import MANIFEST
from dataops.records import require_name
from dataops.registry.aliases import history, list_aliases
from dataops.registry.claims import CLAIM, content_key
from dataops.registry.heartbeats import forgotten_keys, read_heartbeats
from dataops.registry.pins import pins
from dataops.registry.rollback import way_back
from dataops.registry.tombstones import (
    Tombstone,
    begin_deletion,
    call_off_deletion,
    deleted,
    deletions,
    mark,
    marked,
    unmark,
)
from dataops.registry.versions import ModelVersion, Registry

Needed = Mapping[int, str]

LEAST_GRACE = timedelta(hours=1)
"""Longer than any move of an alias takes, which looks for a mark first, and longer than any call deletes."""
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
        How long after its registration a version isn't touched, and how long after it was marked it isn't deleted.
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
    marked : now; `waiting` were before, and their grace isn't over, or another call is deleting them right now.
    deleted : their grace is over, or their deletion was cut off.
    spared : were marked, and are needed again.
    forgotten : keys of the heartbeats of processes that are silent for long; they go as well.
    """

    model: str
    kept: Needed
    marked: tuple[Tombstone, ...]
    waiting: tuple[Tombstone, ...]
    deleted: tuple[Tombstone, ...]
    spared: tuple[Tombstone, ...]
    forgotten: tuple[str, ...]


def plan_collection(registry: Registry, model: str, asked: Asked, *, actor: str, at: datetime) -> Collection:
    """What `collect` would do now; nothing is changed.

    Raises
    ------
    Integrity, Format : something that may name a version can't be read.
    """
    store = registry.store
    begun = {one.version: one for one in deletions(store, require_name(model, "model"))}
    unfinished = {number: stone for number, stone in begun.items() if _left(registry, model, number)}
    going_on = {number: stone for number, stone in unfinished.items() if _goes_on(stone, at)}
    versions = [one for one in registry.versions(model) if one.version not in going_on]
    needed = needed_versions(registry, model, versions, asked, at=at)
    there = {one.version for one in versions}
    cut_off = [stone for number, stone in unfinished.items() if number not in there | going_on.keys()]
    found: dict[str, list[Tombstone]] = {
        "marked": [],
        "waiting": [*going_on.values()],
        "deleted": cut_off,
        "spared": [],
    }
    for one in versions:
        stone = marked(store, model, one.version)
        if stone is None:
            found["marked"] += [] if one.version in needed else [_stone(one, actor=actor, at=at)]
        elif one.version in needed:
            found["spared"].append(stone)
        else:
            found["deleted" if at - stone.at >= asked.grace else "waiting"].append(stone)
    forgotten = tuple(forgotten_keys(store, model, now=at))
    stones = {name: tuple(sorted(stones, key=lambda one: one.version)) for name, stones in found.items()}
    return Collection(model=model, kept=needed, forgotten=forgotten, **stones)


def collect(registry: Registry, model: str, asked: Asked, *, actor: str, at: datetime) -> Collection:
    """What became of the versions of `model`.

    Raises
    ------
    Integrity, Format : as `plan_collection`.
    """
    store, there = registry.store, set(registry.numbers(model))
    for one in deletions(store, model):
        if one.version in there and not _goes_on(one, at):  # whoever began it died before the first file went
            call_off_deletion(store, model, one.version)
    plan = plan_collection(registry, model, asked, actor=actor, at=at)
    for stone in plan.marked:
        mark(store, stone)
    lost = tuple(stone for stone in plan.spared if not _spare(registry, stone))
    ended = _delete(registry, plan, asked, actor=actor, at=at)
    for key in plan.forgotten:
        store.delete(key)
    deleted = tuple(stone for stone in plan.deleted if stone.version in ended.deleted)
    spared = tuple(stone for stone in plan.deleted if stone.version in ended.spared)
    others = tuple(stone for stone in plan.deleted if stone not in deleted + spared)
    kept = {**plan.kept, **ended.spared}
    return replace(
        plan,
        kept={number: why for number, why in sorted(kept.items()) if number not in {one.version for one in lost}},
        waiting=plan.waiting + lost + others,
        deleted=deleted,
        spared=tuple(stone for stone in plan.spared if stone not in lost) + spared,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """What became of what was to be deleted: the numbers that are, and why others aren't."""

    deleted: frozenset[int]
    spared: Needed


def _delete(registry: Registry, plan: Collection, asked: Asked, *, actor: str, at: datetime) -> _Ended:
    """Deletes what `plan` says and nobody needs by now; what another call deletes is in neither."""
    store, model = registry.store, plan.model
    known = {one.version: one for one in registry.versions(model)} if plan.deleted else {}
    gone = {stone.version for stone in plan.deleted if stone.version not in known}
    begun = [
        stone
        for stone in plan.deleted
        if stone.version in known and begin_deletion(store, _stone(known[stone.version], actor=actor, at=at))
    ]
    began = frozenset(stone.version for stone in begun)
    needed = needed_versions(registry, model, known.values(), asked, at=at, began=began) if begun else {}
    spared: dict[int, str] = {}
    for stone in begun:
        if stone.version in needed:
            spared[stone.version] = needed[stone.version]
            unmark(store, model, stone.version)
        elif marked(store, model, stone.version) == stone:
            gone.add(stone.version)
            continue
        else:
            spared[stone.version] = "another call spared it"
        call_off_deletion(store, model, stone.version)
    for number in sorted(gone):
        _remove(registry, model, number)
    return _Ended(deleted=frozenset(gone), spared=spared)


def _spare(registry: Registry, stone: Tombstone) -> bool:
    """Whether the version is spared; False where another call is deleting it, and may have seen the mark before."""
    unmark(registry.store, stone.model, stone.version)
    return deleted(registry.store, stone.model, stone.version) is None


def _goes_on(stone: Tombstone, at: datetime) -> bool:
    """Whether whoever put the record of a deletion may be deleting at the time `at`."""
    return at - stone.at < LEAST_GRACE


def needed_versions(
    registry: Registry,
    model: str,
    versions: Iterable[ModelVersion],
    asked: Asked,
    *,
    at: datetime,
    began: frozenset[int] = frozenset(),
) -> dict[int, str]:
    """Why versions of `model` are needed, by number; one that isn't is left out.

    Parameters
    ----------
    began : those whose deletion the caller itself began and may call off: a rollback may still go there.
    """
    known = sorted(versions, key=lambda one: one.version)
    needed: dict[int, str] = {}
    for one in known:
        if at - one.registered_at < asked.grace:
            needed[one.version] = f"registered {one.registered_at:%Y-%m-%d %H:%M}"
    for one in known[-asked.keep :]:
        needed[one.version] = f"of the newest {asked.keep}"
    gone = {stone.version for stone in deletions(registry.store, model)} - began
    for alias in list_aliases(registry, model):
        needed |= _named(registry, model, alias, asked.keep, gone)
    needed |= asked.used
    beats = (beat for beat in read_heartbeats(registry.store, model) if at - beat.at < RUNNING)
    needed |= {beat.version: f"{beat.app} on {beat.host} runs it" for beat in beats}
    needed |= {number: f"pinned by {pin.actor}: {pin.reason}" for number, pin in pins(registry, model).items()}
    there = {one.version for one in known}
    return {number: because for number, because in sorted(needed.items()) if number in there}


def _named(registry: Registry, model: str, alias: str, keep: int, gone: Container[int]) -> dict[int, str]:
    """What an alias points at, did lately, and would after a rollback; trusted or not, it counts."""
    moves = list(history(registry, model, alias))
    named = {one.version: f"{alias}: of its last {keep} generations" for one in moves[-keep:]}
    back, _ = way_back(moves, gone)
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
    if manifest in left:
        # first what leads a writer of the same package here, then what makes it a version
        registry.store.delete(content_key(model, registry.read_manifest(model, version).content))
        registry.store.delete(manifest)
    unmark(registry.store, model, version)  # before the other files: while one is left, a later call comes here again
    for key in left:
        registry.store.delete(key)
