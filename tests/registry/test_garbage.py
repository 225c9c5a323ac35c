"""What goes and what stays: nothing that somebody may need, in two steps, whatever dies or comes in between."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from dataops.errors import Conflict, Format, Integrity, InvalidInput, NotFound
from dataops.registry.aliases import move
from dataops.registry.garbage import LEAST_GRACE, Asked, Collection, collect, plan_collection
from dataops.registry.heartbeats import FOLDER, Heartbeat, heartbeat_key
from dataops.registry.moves import MoveKind
from dataops.registry.pins import pin, pin_history, pins, unpin
from dataops.registry.rollback import rollback
from dataops.registry.tombstones import Tombstone, begin_deletion, deleted, deletions, marked
from dataops.registry.versions import Registry
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore, PosixStore
from tests.registry.examples import AT, make_package
from tests.storage.faulty import MODES, Crash, FaultyStore, Mode, crash_points

DAY = timedelta(days=1)
LATER = AT + 30 * DAY
"""When nothing that the tests registered is young any more."""
ASKED = Asked(keep=1, grace=7 * DAY)


def filled(versions: int = 6) -> Registry:
    registry = Registry(MemoryStore())
    for run in range(versions):
        registry.register("income", make_package(f"run-{run}"), at=AT)
    return registry


def move_to(registry: Registry, version: int, alias: str = "champion", kind: MoveKind = MoveKind.PROMOTED) -> None:
    move(registry, "income", alias, version, actor="ada", reason="better", kind=kind)


def gc(registry: Registry, at=LATER, actor: str = "bob", **asked: Any) -> Collection:
    return collect(registry, "income", Asked(**({"keep": 1, "grace": 7 * DAY} | asked)), actor=actor, at=at)


def numbers(stones) -> list[int]:
    return [stone.version for stone in stones]


def test_what_nobody_needs_is_marked_first_and_deleted_a_grace_later():
    registry = filled(3)
    first = gc(registry)
    assert (numbers(first.marked), list(first.kept), first.deleted) == ([1, 2], [3], ())
    assert registry.numbers("income") == [1, 2, 3]
    waiting = gc(registry, LATER + 6 * DAY)
    assert (numbers(waiting.waiting), waiting.deleted) == ([1, 2], ())
    assert registry.numbers("income") == [1, 2, 3]
    done = gc(registry, LATER + 7 * DAY)
    assert numbers(done.deleted) == [1, 2]
    assert registry.numbers("income") == [3]
    assert registry.store.list("income/versions") == sorted(
        ["income/versions/1/claim.json", "income/versions/2/claim.json", *registry.store.list("income/versions/3")]
    )
    assert gc(registry, LATER + 8 * DAY).deleted == ()


def test_a_version_that_was_deleted_is_named_with_who_and_when_and_its_number_is_not_used_again():
    registry = filled(2)
    gc(registry)
    gc(registry, LATER + 7 * DAY)
    with pytest.raises(NotFound, match=r"income has no version 1; .* It was deleted at 2026-03-09 12:00 UTC, by bob"):
        registry.read("income", 1)
    assert [(one.version, one.actor) for one in deletions(registry.store, "income")] == [(1, "bob")]
    assert registry.register("income", make_package("run-0"), at=LATER).version == 3


def test_a_dry_run_changes_nothing_and_says_the_same():
    registry = filled(3)
    keys = registry.store.list("")
    plan = plan_collection(registry, "income", ASKED, actor="bob", at=LATER)
    assert registry.store.list("") == keys
    assert numbers(plan.marked) == numbers(gc(registry).marked) == [1, 2]


def test_what_may_be_needed_stays_and_says_why():
    registry = filled(9)
    for version in (1, 2, 3, 4):
        move_to(registry, version)
    move_to(registry, 5, "challenger", MoveKind.SET)
    pin(registry, "income", 6, actor="ana", reason="the annual report")
    kept = gc(registry, keep=2).kept
    assert kept == {
        3: "champion: a rollback goes there",
        4: "champion: points at it",
        5: "challenger: points at it",
        6: "pinned by ana: the annual report",
        8: "of the newest 2",
        9: "of the newest 2",
    }
    assert [number for number in range(1, 10) if marked(registry.store, "income", number)] == [1, 2, 7]


def test_where_the_next_rollback_goes_stays_also_after_others_were_deleted():
    registry = filled(6)
    for version in (1, 2, 3, 4):
        move_to(registry, version)
    stone = Tombstone(model="income", version=3, digest=registry.find("income", 3).digest, at=AT, actor="bob")
    begin_deletion(registry.store, stone)
    registry.store.delete("income/versions/3/manifest.json")
    assert gc(registry).kept[2] == "champion: a rollback goes there"
    assert rollback(registry, "income", actor="ada", reason="worse").version == 2
    assert gc(registry).kept[1] == "champion: a rollback goes there"


def test_what_an_alias_pointed_at_in_its_last_generations_stays():
    registry = filled(6)
    for version in (1, 2, 3, 4):
        move_to(registry, version, "challenger", MoveKind.SET)
    assert gc(registry, keep=3).kept == {
        2: "challenger: of its last 3 generations",
        3: "challenger: of its last 3 generations",
        4: "challenger: points at it",
        5: "of the newest 3",
        6: "of the newest 3",
    }


def test_a_young_version_stays():
    registry = filled(3)
    assert list(gc(registry, AT + 6 * DAY).kept) == [1, 2, 3]
    assert numbers(gc(registry, AT + 7 * DAY).marked) == [1, 2]


def beat(registry: Registry, version: int, at, process: str = "0123456789ab", number: int = 1) -> str:
    said = Heartbeat(
        app="desk",
        host="h1",
        process=process,
        model="income",
        alias="champion",
        version=version,
        version_digest=registry.find("income", version).digest,
        generation=1,
        since=at,
        at=at,
        every=30.0,
        error=None,
    )
    key = f"income/{FOLDER}/{heartbeat_key('desk', 'h1', process, number)}"
    assert registry.store.put_if_absent(key, said.to_bytes())
    return key


def test_what_an_application_ran_within_a_day_stays():
    registry = filled(3)
    beat(registry, 1, LATER)
    assert gc(registry, LATER + timedelta(hours=23)).kept == {1: "desk on h1 runs it", 3: "of the newest 1"}
    assert numbers(gc(registry, LATER + DAY).marked) == [1]


def test_what_the_caller_knows_to_be_used_stays():
    registry = filled(3)
    assert gc(registry, used={2: "run r uses it", 9: "run q uses it"}).kept == {
        2: "run r uses it",
        3: "of the newest 1",
    }


@pytest.mark.parametrize("need", ["pin", "heartbeat"])
def test_what_came_to_be_needed_after_it_was_marked_is_spared(need):
    registry = filled(3)
    gc(registry)
    due = LATER + 7 * DAY
    if need == "pin":
        pin(registry, "income", 1, actor="ana", reason="keep")
        assert marked(registry.store, "income", 1) is None
    else:
        beat(registry, 1, due)
    done = gc(registry, due)
    assert numbers(done.deleted) == [2]
    assert 1 in done.kept
    assert registry.read("income", 1).package == make_package("run-0")
    assert marked(registry.store, "income", 1) is None


def test_no_alias_moves_to_what_is_marked_and_a_pin_saves_it():
    registry = filled(3)
    gc(registry)
    with pytest.raises(Conflict, match=r"income@1 is to be deleted since .* as bob marked it: .*model pin income@1"):
        move_to(registry, 1)
    assert registry.store.list("income/aliases") == []
    pin(registry, "income", 1, actor="ana", reason="keep")
    move_to(registry, 1)


def test_the_very_package_of_a_marked_version_is_not_registered_into_it():
    registry = filled(3)
    gc(registry)
    with pytest.raises(Conflict, match="income@1 is to be deleted"):
        registry.register("income", make_package("run-0"), at=LATER)


def test_a_pin_that_comes_while_a_version_is_being_deleted_is_seen():
    """After the mark that it is deleted, before its first file goes."""
    registry = filled(3)
    gc(registry)

    class PinnedMeanwhile(MemoryStore):
        def _create(self, key: str, data: bytes) -> bool:
            made = super()._create(key, data)
            if key.endswith("1-deleted.json"):
                with pytest.raises(Conflict, match="is being deleted since"):
                    pin(registry, "income", 1, actor="ana", reason="keep")
            return made

    racing = Registry(PinnedMeanwhile(registry.store.url.removeprefix("memory://")))
    done = gc(racing, LATER + 7 * DAY)
    assert (numbers(done.deleted), numbers(done.spared)) == ([2], [1])
    assert registry.read("income", 1).package == make_package("run-0")
    assert deleted(registry.store, "income", 1) is None
    assert list(pins(registry, "income")) == [1]


class Meanwhile(MemoryStore):
    """The store of `registry`, on which `do` happens once: before it makes, or takes away, the key that ends with
    `name`.
    """

    def __init__(self, registry: Registry, name: str, do: Callable[[], Any]) -> None:
        super().__init__(registry.store.url.removeprefix("memory://"))
        self.name, self.do = name, do

    def _happen(self, key: str) -> None:
        if key.endswith(self.name):
            self.name = "\0"
            self.do()

    def _create(self, key: str, data: bytes) -> bool:
        self._happen(key)
        return super()._create(key, data)

    def delete(self, key: str) -> None:
        self._happen(key)
        super().delete(key)


def test_where_a_rollback_goes_since_a_deletion_was_planned_is_spared():
    registry = filled(6)
    for version in (1, 2, 3):
        move_to(registry, version)
    gc(registry)

    def roll_back() -> int:
        return rollback(registry, "income", actor="ada", reason="worse").version

    assert gc(Registry(Meanwhile(registry, "1-deleted.json", roll_back)), LATER + 7 * DAY).spared[0].version == 1
    assert (registry.numbers("income"), roll_back()) == ([1, 2, 3, 6], 1)


def test_what_a_call_spares_that_keeps_more_another_that_was_about_to_delete_it_leaves():
    registry = filled(3)
    gc(registry)
    due = LATER + 7 * DAY
    told = []
    racing = Meanwhile(registry, "1-deleted.json", lambda: told.append(gc(registry, due, keep=3, actor="ana")))
    done = gc(Registry(racing), due)
    assert numbers(told[0].spared) == [1, 2]
    assert (numbers(done.deleted), numbers(done.spared)) == ([], [1, 2])
    assert done.kept[1] == "another call spared it"
    for number in (1, 2, 3):
        assert registry.read("income", number).package == make_package(f"run-{number - 1}")
    assert deletions(registry.store, "income") == []


def test_who_spares_what_another_call_deletes_is_told_so_and_calls_nothing_off():
    registry = filled(2)
    gc(registry)
    due = LATER + 7 * DAY
    deleting = []
    racing = Meanwhile(registry, "tombstones/1.json", lambda: deleting.append(gc(registry, due, actor="ana")))
    done = gc(Registry(racing), due, keep=2)
    assert numbers(deleting[0].deleted) == [1]
    assert (numbers(done.spared), numbers(done.waiting), list(done.kept)) == ([], [1], [2])
    assert registry.numbers("income") == [2]
    assert registry.store.list("income/versions/1") == ["income/versions/1/claim.json"]
    assert numbers(deletions(registry.store, "income")) == [1]


@pytest.mark.parametrize("name", ["1/manifest.json", "1/model.json"])
def test_a_deletion_that_goes_on_is_left_alone_whatever_another_call_keeps(name):
    registry = filled(2)
    gc(registry)
    due = LATER + 7 * DAY
    told = []
    racing = Meanwhile(registry, name, lambda: told.append(gc(registry, due, keep=2, actor="ana")))
    done = gc(Registry(racing), due)
    assert numbers(done.deleted) == numbers(told[0].waiting) == [1]
    assert (told[0].spared, told[0].deleted, list(told[0].kept)) == ((), (), [2])
    assert registry.store.list("income/versions/1") == ["income/versions/1/claim.json"]


def test_a_deletion_whose_process_died_before_the_first_file_went_is_decided_anew():
    registry = filled(3)
    gc(registry)
    due = LATER + 7 * DAY
    for version in (1, 2):
        digest = registry.find("income", version).digest
        begin_deletion(registry.store, Tombstone(model="income", version=version, digest=digest, at=due, actor="bob"))
    pinned = due + LEAST_GRACE
    beat(registry, 1, pinned)
    done = gc(registry, pinned)
    assert (numbers(done.spared), numbers(done.deleted)) == ([1], [2])
    assert registry.read("income", 1).package == make_package("run-0")
    assert numbers(deletions(registry.store, "income")) == [2]


def test_heartbeats_of_processes_that_are_silent_for_long_go_and_no_others():
    registry = filled(1)
    old = [beat(registry, 1, LATER, "00000000000a", number) for number in (1, 2)]
    fresh = beat(registry, 1, LATER + DAY, "00000000000b")
    damaged = f"income/{FOLDER}/desk@h1/00000000000c-0000000001.json"
    registry.store.put_if_absent(damaged, b"{}")
    at = LATER + 30 * DAY
    assert gc(registry, at - timedelta(seconds=1)).forgotten == ()
    plan = plan_collection(registry, "income", ASKED, actor="bob", at=at)
    assert list(plan.forgotten) == old
    assert len(registry.store.list(f"income/{FOLDER}")) == 4
    assert list(gc(registry, at).forgotten) == old
    assert registry.store.list(f"income/{FOLDER}") == [fresh, damaged]


@pytest.mark.parametrize("link", ["heartbeats", "heartbeats/desk@h1"])
def test_nothing_behind_a_symbolic_link_among_the_heartbeats_is_read_or_taken(tmp_path, link):
    registry = Registry(PosixStore(tmp_path / "models"))
    registry.register("income", make_package(), at=AT)
    key = beat(registry, 1, LATER).removeprefix("income/heartbeats/desk@h1/")
    place, elsewhere = tmp_path / "models/income" / link, tmp_path / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    if link == "heartbeats":
        with pytest.raises(InvalidInput, match="symbolic link"):
            gc(registry, LATER + 99 * DAY)
    else:
        assert gc(registry, LATER + 99 * DAY).forgotten == ()
    assert [path.name for path in elsewhere.rglob("*.json")] == [key]


@pytest.mark.parametrize(
    "damage",
    ["income/aliases/champion/0000000001.json", "income/pins/1/0000000001.json", "income/versions/1/manifest.json"],
)
def test_where_something_that_names_versions_cannot_be_read_nothing_goes(damage):
    registry = filled(3)
    move_to(registry, 1)
    pin(registry, "income", 1, actor="ana", reason="keep")
    registry.store.delete(damage)
    registry.store.put_if_absent(damage, b'{"format":"dataops/alias/1"}')
    keys = registry.store.list("")
    with pytest.raises((Integrity, Format)):
        gc(registry)
    assert registry.store.list("") == keys


@pytest.mark.parametrize("asked", [{"keep": 0}, {"grace": timedelta(minutes=59)}])
def test_keeping_nothing_or_hardly_waiting_is_refused(asked):
    with pytest.raises(InvalidInput):
        Asked(**({"keep": 1, "grace": DAY} | asked))


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_operation_loses_nothing_that_is_needed_and_the_next_call_ends_it(mode: Mode):
    due = LATER + 7 * DAY

    def attempt(fail_at: int) -> bool:
        registry = filled(3)
        move_to(registry, 2)
        gc(registry)
        dying = FaultyStore(registry.store, fail_at, mode)
        with suppress(Crash):
            gc(Registry(dying), due)
        for number in registry.numbers("income"):  # whole, or gone
            assert registry.read("income", number).package == make_package(f"run-{number - 1}")
        assert set(registry.numbers("income")) >= {2, 3}
        gc(registry, due + LEAST_GRACE)
        assert registry.numbers("income") == [2, 3]
        assert registry.store.list("income/versions/1") == ["income/versions/1/claim.json"]
        assert [one.version for one in deletions(registry.store, "income")] == [1]
        assert registry.register("income", make_package("run-0"), at=due).version == 4
        return dying.fault.operations >= fail_at

    crash_points(attempt, at_least=20)


def test_pins_come_and_go_with_who_and_why():
    registry = filled(2)
    made = pin(registry, "income", 1, actor="ana", reason="the annual report")
    assert pin(registry, "income", 1, actor="bob", reason="again") == made
    assert pins(registry, "income") == {1: made}
    unpin(registry, "income", 1, actor="bob", reason="it is out")
    assert pins(registry, "income") == {}
    said = [(one.pinned, one.actor, one.reason) for one in pin_history(registry, "income", 1)]
    assert said == [(True, "ana", "the annual report"), (False, "bob", "it is out")]
    assert Journal(registry.store, "income/pins/1", "pin").verify() == []


def test_a_pin_that_makes_no_sense_is_refused():
    registry = filled(1)
    with pytest.raises(NotFound, match="income has no version 9"):
        pin(registry, "income", 9, actor="ana", reason="x")
    with pytest.raises(NotFound, match="income@1 is not pinned"):
        unpin(registry, "income", 1, actor="ana", reason="x")
    for who, why in ((" ", "x"), ("ana", "")):
        with pytest.raises(InvalidInput, match="who and why"):
            pin(registry, "income", 1, actor=who, reason=why)
    assert registry.store.list("income/pins") == []


def test_a_pin_moved_to_another_version_is_found():
    registry = filled(2)
    pin(registry, "income", 1, actor="ana", reason="x")
    key = "income/pins/1/0000000001.json"
    registry.store.put_if_absent(key.replace("pins/1", "pins/2"), registry.store.get(key))
    with pytest.raises(Integrity, match="written for another version"):
        pins(registry, "income")
