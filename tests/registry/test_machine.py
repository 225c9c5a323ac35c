"""Several people and readers at one registry, in any order, against a plain model of what each deed means.

Whoever moves an alias may have looked long before: each actor decides upon the move that it saw last. Each reader keeps
a ratchet. Time passes in days; garbage is collected with a grace of one week.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dataops.errors import Conflict, DataopsError, Integrity, NotFound
from dataops.registry.aliases import current, history, last_move, list_aliases, move, resolve
from dataops.registry.garbage import Asked, collect
from dataops.registry.moves import AliasMove, MoveKind
from dataops.registry.pins import pin, pins, unpin
from dataops.registry.rollback import rollback
from dataops.registry.tombstones import deletions, marked
from dataops.registry.trust import Trust
from dataops.registry.verify import verify_model
from dataops.registry.versions import Registry
from dataops.runtime.ratchet import Ratchet
from dataops.storage.objects import MemoryStore, ReadOnlyStore
from tests.registry.examples import AT, make_key, make_package

ACTORS = st.sampled_from(["ana", "bob"])
READERS = st.sampled_from(["shop", "bank"])
ALIASES = st.sampled_from(["champion", "shadow"])
PICKS = st.integers(0, 9)
"""A version: mostly one that is there, counted from the newest."""
PACKAGES = st.integers(0, 5)
GRACE = 7
DAY = timedelta(days=1)


@dataclass
class Alias:
    """What the model knows of an alias: each move's version, and the promotions that stand."""

    moves: list[int] = field(default_factory=list)
    stack: list[int] = field(default_factory=list)

    def target(self, deleted: set[int]) -> int | None:
        """Where a rollback goes."""
        left = [*self.stack]
        while left and (left[-1] == self.moves[-1] or left[-1] in deleted):
            left.pop()
        return left[-1] if left else None


@dataclass
class World:
    """The registry as a plain value."""

    day: int = 0
    there: dict[int, tuple[int, int]] = field(default_factory=dict)  # number: package, day
    last: int = 0
    aliases: dict[str, Alias] = field(default_factory=lambda: {"champion": Alias(), "shadow": Alias()})
    pinned: set[int] = field(default_factory=set)
    marked: dict[int, int] = field(default_factory=dict)  # number: day
    deleted: set[int] = field(default_factory=set)

    def chosen(self, pick: int) -> int:
        """The number that `pick` means; one that isn't there for the highest."""
        numbers = sorted(self.there, reverse=True)
        return numbers[pick % len(numbers)] if pick < 9 else min(self.deleted, default=self.last + 1)

    def needed(self, keep: int) -> set[int]:
        found = {number for number, (_, day) in self.there.items() if self.day - day < GRACE}
        found |= set(sorted(self.there)[-keep:]) | self.pinned
        for alias in self.aliases.values():
            found |= set(alias.moves[-keep:])
            if alias.moves and (back := alias.target(self.deleted)):
                found.add(back)
        return found & self.there.keys()

    def refusal(self, version: int) -> type[DataopsError] | None:
        """Why nothing can be moved there."""
        if version not in self.there:
            return NotFound
        return Conflict if version in self.marked else None


@contextmanager
def refused(kind: type[DataopsError] | None) -> Iterator[None]:
    """The block fails in just this way; None: it goes well."""
    found: type[BaseException] | None = None
    try:
        yield
    except DataopsError as error:
        found = type(error)
    assert found is kind


class People(RuleBasedStateMachine):
    """Deeds on the registry and on the model of it."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.key, signer = make_key(Path(self.folder.name))
        self.trust = Trust(signers=(signer,))
        self.store = MemoryStore()
        self.world = World()
        self.looked: dict[tuple[str, str], AliasMove | None] = {}
        self.ratchets: dict[tuple[str, str], Ratchet] = {}
        self.kept = MemoryStore()
        for package in range(4):
            self.register(package)
        for version in (2, 1, 3):
            self.moved("ana", "champion", version, MoveKind.PROMOTED)
        self.world.day = GRACE

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @property
    def registry(self) -> Registry:
        """As a process that has just begun."""
        return Registry(self.store, self.trust)

    @property
    def now(self) -> Any:
        return AT + self.world.day * DAY

    @rule(package=PACKAGES)
    def register(self, package: int) -> None:
        world = self.world
        known = [number for number, (held, _) in world.there.items() if held == package]
        with refused(Conflict if known and known[0] in world.marked else None):
            made = self.registry.register("income", make_package(f"run {package}"), at=self.now, key=self.key).version
            if not known:
                world.last += 1
                world.there[world.last] = (package, world.day)
            assert made == (known or [world.last])[0]

    @rule(actor=ACTORS, alias=ALIASES)
    def look(self, actor: str, alias: str) -> None:
        self.looked[actor, alias] = last_move(self.registry, "income", alias)

    @rule(actor=ACTORS, alias=ALIASES, pick=PICKS, kind=st.sampled_from([MoveKind.PROMOTED, MoveKind.SET]))
    def decide(self, actor: str, alias: str, pick: int, kind: MoveKind) -> None:
        """Moves after what the actor saw, however long ago."""
        version = self.world.chosen(pick)
        seen = self.looked.get((actor, alias))
        stale = (seen.generation if seen else 0) != len(self.world.aliases[alias].moves)
        with refused(self.world.refusal(version) or (Conflict if stale else None)):
            self.moved(actor, alias, version, kind, after=seen)

    @rule(actor=ACTORS, alias=ALIASES, pick=PICKS)
    def promote(self, actor: str, alias: str, pick: int) -> None:
        """Moves whatever is there."""
        version = self.world.chosen(pick)
        with refused(self.world.refusal(version)):
            self.moved(actor, alias, version, MoveKind.PROMOTED)

    def moved(self, actor: str, alias: str, version: int, kind: MoveKind, **options: Any) -> None:
        options |= {"actor": actor, "reason": "better", "kind": kind, "key": self.key, "at": self.now}
        made = move(self.registry, "income", alias, version, **options)
        known = self.world.aliases[alias]
        known.moves.append(version)
        known.stack += [version] if kind is MoveKind.PROMOTED else []
        assert made.generation == len(known.moves)
        self.looked[actor, alias] = made

    @rule(actor=ACTORS, alias=ALIASES)
    def roll_back(self, actor: str, alias: str) -> None:
        known = self.world.aliases[alias]
        target = known.target(self.world.deleted) if known.moves else None
        with refused(NotFound if target is None else self.world.refusal(target)):
            options: Any = {"actor": actor, "reason": "worse", "key": self.key, "at": self.now}
            made = rollback(self.registry, "income", alias, **options)
            assert target is not None
            while known.stack[-1] != target:
                known.stack.pop()
            known.moves.append(target)
            assert (made.version, made.generation) == (target, len(known.moves))
            self.looked[actor, alias] = made

    @rule(actor=ACTORS, pick=PICKS)
    def pin(self, actor: str, pick: int) -> None:
        version = self.world.chosen(pick)
        with refused(None if version in self.world.there else NotFound):
            pin(self.registry, "income", version, actor=actor, reason="needed")
            self.world.pinned.add(version)
            self.world.marked.pop(version, None)

    @rule(actor=ACTORS, pick=PICKS)
    def unpin(self, actor: str, pick: int) -> None:
        version = self.world.chosen(pick)
        with refused(None if version in self.world.pinned else NotFound):
            unpin(self.registry, "income", version, actor=actor, reason="done")
            self.world.pinned.discard(version)

    @rule(actor=ACTORS, keep=st.integers(1, 2), days=st.sampled_from([0, 3, 8, 8]))
    def collect(self, actor: str, keep: int, days: int) -> None:
        world = self.world
        world.day += days
        asked = Asked(keep=keep, grace=GRACE * DAY)
        found = collect(self.registry, "income", asked, actor=actor, at=self.now)
        needed = world.needed(keep)
        spared = {number for number in world.marked if number in needed}
        due = {number for number, day in world.marked.items() if world.day - day >= GRACE} - spared
        fresh = world.there.keys() - needed - world.marked.keys()
        said = ({one.version for one in stones} for stones in (found.spared, found.deleted, found.marked))
        assert tuple(said) == (spared, due, fresh)
        assert found.kept.keys() == needed
        for number in spared | due:
            del world.marked[number]
        for number in due:
            del world.there[number]
        world.deleted |= due
        world.marked |= dict.fromkeys(fresh, world.day)

    @rule(reader=READERS, alias=ALIASES, restarted=st.booleans())
    def read(self, reader: str, alias: str, restarted: bool) -> None:
        """What an application does; it never sees a generation that is lower than one before."""
        registry = Registry(ReadOnlyStore(self.store), self.trust)
        moves = self.world.aliases[alias].moves
        last = current(registry, "income", alias)
        if last is None:
            assert moves == []
            return
        place = (reader, alias)
        if restarted or place not in self.ratchets:
            self.ratchets[place] = Ratchet("income", alias, self.kept)
        self.ratchets[place].advance(last)
        assert (last.generation, last.version) == (len(moves), moves[-1])
        loaded = registry.read("income", last.version)
        assert loaded.package == make_package(f"run {self.world.there[last.version][0]}")
        assert resolve(registry, "income", alias) == loaded.version

    @precondition(lambda self: any(len(one.moves) > 1 for one in self.world.aliases.values()))
    @rule(reader=READERS, back=st.integers(1, 5))
    def an_old_generation_is_shown(self, reader: str, back: int) -> None:
        """A copy of the folder without its last moves: refused by who saw these."""
        for alias, known in self.world.aliases.items():
            ratchet = self.ratchets.get((reader, alias))
            seen = ratchet.seen() if ratchet else None
            moves = list(history(self.registry, "income", alias))[: max(1, len(known.moves) - back)]
            if ratchet and seen and moves and moves[-1].generation < seen.generation:
                with refused(Integrity):
                    ratchet.advance(moves[-1])

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        if not hasattr(self, "world"):
            return
        world, registry = self.world, self.registry
        assert registry.numbers("income") == sorted(world.there)
        assert pins(registry, "income").keys() == world.pinned
        stones = {number for number in range(1, world.last + 1) if marked(self.store, "income", number)}
        assert stones == world.marked.keys()
        assert {one.version for one in deletions(self.store, "income")} == world.deleted
        for alias, known in world.aliases.items():
            assert [one.version for one in history(registry, "income", alias)] == known.moves
            assert not known.moves or known.moves[-1] in world.there, "an alias points at what is gone"
        assert list_aliases(registry, "income") == sorted(name for name, one in world.aliases.items() if one.moves)

    @precondition(lambda self: self.world.there)
    @rule()
    def verify(self) -> None:
        assert verify_model(self.registry, "income").broken == ()


def test_people_and_readers_in_any_order_get_what_the_model_says() -> None:
    looked = settings()
    examples = 20 if looked.max_examples <= 50 else looked.max_examples
    run_state_machine_as_test(People, settings=settings(looked, max_examples=examples, stateful_step_count=40))
