"""A crash at every storage operation of every deed on the registry: as before it or as after it, and done by doing it
again.

`FaultyStore` counts reads and writes of the registry; `FaultyDisk` counts every call that changes the disk, and says
what the next process finds, and what a power cut leaves at its best and worst.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dataops.declarations.promotion import Promotion
from dataops.errors import Conflict, Integrity, NotFound
from dataops.governance.signing import SigningKey
from dataops.promotion.evidence import Sources
from dataops.promotion.findings import Called
from dataops.promotion.promote import promote
from dataops.registry.aliases import alias_journal, current, history, last_move, list_aliases, move
from dataops.registry.garbage import LEAST_GRACE, Asked, collect
from dataops.registry.moves import MoveKind
from dataops.registry.pins import pin, pins, unpin
from dataops.registry.rollback import rollback
from dataops.registry.tombstones import deletions, marked
from dataops.registry.trust import Trust
from dataops.registry.verify import verify_model
from dataops.registry.versions import Registry
from dataops.registry.vouching import vouch
from dataops.runtime.ratchet import Ratchet
from dataops.storage.objects import MemoryStore, PosixStore, Store
from tests.registry.examples import AT, make_key, make_package
from tests.storage.faulty import MODES, Crash, FaultyDisk, FaultyStore, Mode, crash_points, trees_after

LATER = AT + timedelta(days=30)
DUE = LATER + timedelta(days=7)
ASKED = Asked(keep=1, grace=timedelta(days=7))
GATES = Promotion.model_validate({"model": "income", "rules": [{"metric": "roc_auc", "minimum": 0.85}]})


@dataclass(frozen=True)
class Keys:
    """The key that signs, another, and the trust of a reader in both."""

    key: SigningKey
    other: SigningKey
    trust: Trust


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (key, first), (other, second) = (make_key(tmp_path / name, number=n) for n, name in ((1, "one"), (2, "two")))
    return Keys(key, other, Trust(signers=(first, second)))


def prepared(store: Store, keys: Keys) -> Registry:
    """Four signed versions, of which the second was champion and the third is."""
    registry = Registry(store, keys.trust)
    for run in "abcd":
        registry.register("income", make_package(run), at=AT, key=keys.key)
    for version in (2, 3):
        move(registry, "income", "champion", version, actor="ada", reason="better", key=keys.key)
    return registry


@dataclass(frozen=True)
class Deed:
    """What somebody does, and does again where it isn't known to be done; before it, what was done and acknowledged."""

    do: Callable[[Registry, Keys], Any]
    before: Callable[[Registry, Keys], Any] = lambda _registry, _keys: None
    at_least: int = 4
    on_disk: int = 6


def register(registry: Registry, keys: Keys) -> None:
    registry.register("income", make_package("new"), at=AT, key=keys.key)


def register_first(registry: Registry, keys: Keys) -> None:
    registry.register("delay", make_package("new"), at=AT, key=keys.key)


def sign_again(registry: Registry, keys: Keys) -> None:
    registry.sign("income", 1, keys.other, at=LATER)


def move_once(registry: Registry, keys: Keys) -> None:
    last = last_move(registry, "income")
    if last is None or last.version != 4:
        options = {"actor": "ada", "reason": "better", "key": keys.key, "after": last}
        move(registry, "income", "champion", 4, **options)


def set_first(registry: Registry, keys: Keys) -> None:
    if last_move(registry, "income", "shadow") is None:
        options: Any = {"kind": MoveKind.SET, "after": None}
        move(registry, "income", "shadow", 4, actor="ada", reason="to compare", key=keys.key, **options)


def promote_once(registry: Registry, keys: Keys) -> None:
    promote(
        registry,
        "income",
        4,
        promotion=GATES,
        actor="ada",
        reason="better",
        key=keys.key,
        sources=Sources(call=lambda *_: Called(rows=16, seconds=0.1, memory_mb=1.0)),  # in this very process
        clock=lambda: LATER,
    )


def roll_back(registry: Registry, keys: Keys) -> None:
    seen = list(history(registry, "income"))[1]  # of which its caller knows
    with suppress(Conflict):  # done already
        rollback(registry, "income", actor="bob", reason="worse", key=keys.key, after=seen)


def vouch_for_it(registry: Registry, keys: Keys) -> None:
    last = last_move(registry, "income")
    assert last is not None
    vouch(registry, last, actor="ada", key=keys.other)


def pin_it(registry: Registry, _keys: Keys) -> None:
    pin(registry, "income", 1, actor="ana", reason="the annual report")


def unpin_it(registry: Registry, _keys: Keys) -> None:
    with suppress(NotFound):  # done already
        unpin(registry, "income", 1, actor="ana", reason="it is out")


def mark_it(registry: Registry, _keys: Keys) -> None:
    collect(registry, "income", ASKED, actor="bob", at=LATER)


def delete_it(registry: Registry, _keys: Keys) -> None:
    """A second call ends what a first one left that died."""
    for at in (DUE, DUE + LEAST_GRACE):
        collect(registry, "income", ASKED, actor="bob", at=at)


def mark_and_pin(registry: Registry, keys: Keys) -> None:
    mark_it(registry, keys)
    pin_it(registry, keys)


def mark_and_use(registry: Registry, keys: Keys) -> None:
    """Marked, and then moved to by somebody who looked before the mark came."""
    move(registry, "income", "shadow", 1, actor="ada", reason="x", key=keys.key, kind=MoveKind.SET)
    stones = registry.store
    moved = stones.list("income/aliases/shadow")
    kept = {key: stones.get(key) for key in moved}
    for key in moved:
        stones.delete(key)
    mark_it(registry, keys)
    for key, data in kept.items():
        stones.put_if_absent(key, data)


DEEDS = {
    "register": Deed(register, at_least=12, on_disk=50),
    "register the first version": Deed(register_first, at_least=12, on_disk=50),
    "sign again": Deed(sign_again, at_least=7),
    "move": Deed(move_once),
    "set the first": Deed(set_first),
    "promote": Deed(promote_once, at_least=12, on_disk=12),
    "roll back": Deed(roll_back, at_least=10),
    "vouch": Deed(vouch_for_it, before=promote_once),
    "pin": Deed(pin_it),
    "pin what is marked": Deed(pin_it, before=mark_it),
    "unpin": Deed(unpin_it, before=pin_it),
    "mark": Deed(mark_it, at_least=15),
    "delete": Deed(delete_it, before=mark_it, at_least=30, on_disk=20),
    "spare": Deed(delete_it, before=mark_and_use, at_least=20, on_disk=1),
}


def seen_by_readers(store: Store, keys: Keys) -> Any:
    """All that anybody reads there, each byte checked; a number that a dead writer took is nobody's business."""
    registry = Registry(store, keys.trust)
    found: dict[str, Any] = {}
    for model in registry.list_models():
        loaded = [registry.read(model, number) for number in registry.numbers(model)]
        found[model] = [(one.package.lineage["run"], one.signed_by) for one in loaded]
        for alias in list_aliases(registry, model):
            moves = list(history(registry, model, alias))
            assert alias_journal(registry, model, alias).verify() == []
            assert [one.generation for one in moves] == list(range(1, len(moves) + 1))
            found[f"{model}@{alias}"] = [(one.version, one.kind, one.actor, one.reason, one.trusted) for one in moves]
            with suppress(Integrity):  # one that isn't trusted is a finding of `trusted`
                current(registry, model, alias)
        found[f"pins of {model}"] = sorted(pins(registry, model))
    return found


def marks(store: Store) -> Any:
    """What is to be deleted, or was."""
    stones = [number for number in range(1, 7) if marked(store, "income", number)]
    return stones, [one.version for one in deletions(store, "income")]


def copy_of(store: MemoryStore) -> MemoryStore:
    made = MemoryStore()
    made._records.update(store._records)
    return made


@pytest.mark.parametrize("mode", MODES[:2])  # nothing here can be half done: on a disk it can, below
@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_a_process_that_dies_at_any_operation_leaves_the_old_or_the_new(deed: Deed, mode: Mode, keys: Keys) -> None:
    store = MemoryStore()
    deed.before(prepared(store, keys), keys)
    done = copy_of(store)
    deed.do(Registry(done, keys.trust), keys)
    old, new = seen_by_readers(store, keys), seen_by_readers(done, keys)
    deed.do(Registry(done, keys.trust), keys)  # also where nothing happened, again is once
    assert (seen_by_readers(done, keys), marks(done)) == (new, marks(done))
    assert verify_model(Registry(done, keys.trust), "income").broken == ()

    def attempt(fail_at: int) -> bool:
        found = copy_of(store)
        dying = FaultyStore(found, fail_at, mode)
        acknowledged = False
        with suppress(Crash):
            deed.do(Registry(dying, keys.trust), keys)
            acknowledged = True
        assert seen_by_readers(found, keys) in ([new] if acknowledged else [old, new])
        deed.do(Registry(found, keys.trust), keys)
        assert (seen_by_readers(found, keys), marks(found)) == (new, marks(done))
        return dying.fault.operations >= fail_at

    crash_points(attempt, at_least=deed.at_least)


QUICK = {"move", "delete"}
"""The deeds whose every call on the disk is looked at each time; the others take longer together."""


@pytest.mark.parametrize(
    ("deed", "mode"),
    [
        pytest.param(
            deed,
            mode,
            id=f"{name}-{mode}",
            marks=[] if name in QUICK and mode == "torn" else [pytest.mark.faults],
        )
        for name, deed in DEEDS.items()
        for mode in MODES
    ],
)
def test_a_power_cut_at_any_call_on_the_disk_leaves_the_old_or_the_new(
    deed: Deed, mode: Mode, keys: Keys, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    deed.before(prepared(PosixStore(start), keys), keys)
    done = PosixStore(shutil.copytree(start, tmp_path / "done"))
    deed.do(Registry(done, keys.trust), keys)
    old, new = seen_by_readers(PosixStore(start), keys), seen_by_readers(done, keys)

    def attempt(fail_at: int) -> bool:
        place = tmp_path / str(fail_at)
        root = Path(shutil.copytree(start, place / "models"))
        acknowledged = False
        with FaultyDisk(root, fail_at, mode) as disk, suppress(Crash):
            deed.do(Registry(PosixStore(root), keys.trust), keys)
            acknowledged = True
        for case, tree in trees_after(disk, place):
            found = PosixStore(tree)
            assert seen_by_readers(found, keys) in ([new] if acknowledged else [old, new]), case
            deed.do(Registry(found, keys.trust), keys)
            assert (seen_by_readers(found, keys), marks(found)) == (new, marks(done)), case
        shutil.rmtree(place)
        return disk.fault.operations >= fail_at

    crash_points(attempt, at_least=deed.on_disk)


@pytest.mark.parametrize("mode", MODES)
def test_a_reader_that_dies_while_it_notes_what_it_saw_forgets_nothing_that_it_followed(mode: Mode, keys: Keys) -> None:
    registry = prepared(MemoryStore(), keys)
    move_once(registry, keys)
    moves = list(history(registry, "income"))

    def attempt(fail_at: int) -> bool:
        kept = MemoryStore()
        Ratchet("income", "champion", kept).advance(moves[0])
        dying = FaultyStore(kept, fail_at, mode)
        followed = False
        with suppress(Crash):
            Ratchet("income", "champion", dying).advance(moves[1])
            followed = True
        seen = Ratchet("income", "champion", kept).seen()
        assert seen is not None
        assert seen.generation in ((2,) if followed else (1, 2))
        Ratchet("income", "champion", kept).advance(moves[1])
        with pytest.raises(Integrity, match="generation 2 was seen before"):
            Ratchet("income", "champion", kept).advance(moves[0])
        Ratchet("income", "champion", kept).advance(moves[2])
        assert kept.list("") == ["income/champion/0000000003.json"]
        return dying.fault.operations >= fail_at

    crash_points(attempt, at_least=4)
