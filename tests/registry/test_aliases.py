from __future__ import annotations

import os
from contextlib import suppress

import pytest

from dataops.errors import Conflict, Integrity, InvalidInput, NotFound
from dataops.registry.aliases import (
    MAX_MOVE_BYTES,
    current,
    history,
    list_aliases,
    move,
    resolve,
    resolve_reference,
)
from dataops.registry.versions import Registry
from dataops.storage.objects import MemoryStore, PosixStore
from tests.registry.examples import AT, make_package
from tests.storage.faulty import MODES, Crash, FaultyStore, Mode, crash_points


def filled(store):
    registry = Registry(store)
    for run in ("a", "b", "c"):
        registry.register("income", make_package(run), at=AT)
    return registry


@pytest.fixture(params=["memory", "posix"])
def registry(request, tmp_path):
    return filled(MemoryStore() if request.param == "memory" else PosixStore(tmp_path))


def move_to(registry, version, **options):
    return move(registry, "income", "champion", version, actor="ada", reason="better", **options)


def test_an_alias_points_where_it_was_last_moved(registry):
    move_to(registry, 1)
    moved = move_to(registry, 3, verdict_digest="sha256:00")
    assert resolve(registry, "income").version == 3
    assert current(registry, "income") == moved
    assert (moved.generation, moved.actor, moved.reason, moved.verdict_digest) == (2, "ada", "better", "sha256:00")


def test_going_back_is_a_higher_generation_and_history_keeps_all(registry):
    for version in (1, 2, 1):
        move_to(registry, version)
    moves = list(history(registry, "income"))
    assert [(m.generation, m.version) for m in moves] == [(1, 1), (2, 2), (3, 1)]
    assert moves == sorted(moves, key=lambda m: m.moved_at)
    assert resolve(registry, "income").version == 1


def test_references_name_champion_alias_or_number(registry):
    move_to(registry, 2)
    move(registry, "income", "challenger", 3, actor="ada", reason="try")
    found = [resolve_reference(registry, f"income{end}").version for end in ("", "@champion", "@challenger", "@1")]
    assert found == [2, 2, 3, 1]
    assert list_aliases(registry, "income") == ["challenger", "champion"]


@pytest.mark.parametrize(
    "text", ["", "@champion", "income@", "income@@3", "income@0", "income@-1", "../x@1", "income@a/b"]
)
def test_a_reference_that_names_nothing_is_refused(registry, text):
    with pytest.raises(InvalidInput):
        resolve_reference(registry, text)


def test_an_alias_may_not_look_like_a_version(registry):
    with pytest.raises(InvalidInput, match="a number means the version"):
        move(registry, "income", "3", 1, actor="ada", reason="x")
    assert list_aliases(registry, "income") == []


def test_what_is_not_there_is_named_with_its_near_match(registry):
    with pytest.raises(NotFound, match="no aliases yet: promote"):
        resolve(registry, "income")
    move_to(registry, 1)
    with pytest.raises(NotFound, match="Did you mean 'champion'"):
        resolve_reference(registry, "income@champoin")
    with pytest.raises(NotFound, match="Did you mean 'income'"):
        resolve_reference(registry, "incomes")


def test_an_alias_never_points_at_a_version_that_is_not_there(registry):
    with pytest.raises(NotFound):
        move_to(registry, 9)
    assert current(registry, "income") is None


@pytest.mark.parametrize("who_and_why", [{"actor": " "}, {"reason": ""}])
def test_a_move_without_who_or_why_is_refused(registry, who_and_why):
    with pytest.raises(InvalidInput, match=r"who|why"):
        move(registry, "income", "champion", 1, **{"actor": "ada", "reason": "better", **who_and_why})
    assert current(registry, "income") is None


def test_a_move_decided_on_an_old_state_is_a_conflict(registry):
    first = move_to(registry, 1, after=None)
    move_to(registry, 2, after=first)
    with pytest.raises(Conflict):
        move_to(registry, 3, after=first)
    with pytest.raises(Conflict):
        move_to(registry, 3, after=None)
    assert [m.version for m in history(registry, "income")] == [1, 2]


def test_a_version_swapped_under_an_alias_is_refused(registry):
    move_to(registry, 1)
    other = Registry(MemoryStore())
    other.register("income", make_package("other"), at=AT)
    for key in registry.store.list("income/versions/1"):
        registry.store.delete(key)
    for key in other.store.list("income/versions/1"):
        registry.store.put_if_absent(key, other.store.get(key))
    assert registry.read("income", 1).package == make_package("other")
    with pytest.raises(Integrity, match="its manifest has changed"):
        resolve(registry, "income")


def test_a_move_that_is_larger_than_any_is_neither_read_nor_made(registry):
    move_to(registry, 1)
    with pytest.raises(InvalidInput, match="in fewer words"):
        move(registry, "income", "champion", 2, actor="ada", reason="x" * MAX_MOVE_BYTES)
    assert [m.version for m in history(registry, "income")] == [1]
    registry.store.put_if_absent("income/aliases/champion/0000000002.json", b" " * (MAX_MOVE_BYTES + 1))
    with pytest.raises(Integrity, match="has more than the"):
        resolve(registry, "income")


def test_a_pipe_where_a_move_should_be_holds_nobody_up(tmp_path):
    registry = Registry(PosixStore(tmp_path))
    registry.register("income", make_package(), at=AT)
    move_to(registry, 1)
    os.mkfifo(tmp_path / "income/aliases/champion/0000000002.json")
    assert resolve(registry, "income").version == 1


def test_a_history_copied_to_another_alias_is_refused(registry):
    move_to(registry, 1)
    for key in registry.store.list("income/aliases/champion"):
        registry.store.put_if_absent(key.replace("champion", "challenger"), registry.store.get(key))
    with pytest.raises(Integrity, match="written for another alias"):
        current(registry, "income", "challenger")


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_storage_operation_of_a_move_leaves_the_old_or_the_new_champion(mode: Mode):
    def attempt(fail_at: int) -> bool:
        registry = filled(MemoryStore())
        move_to(registry, 1)
        dying = FaultyStore(registry.store, fail_at, mode)
        with suppress(Crash):
            move_to(Registry(dying), 2)
        assert [m.version for m in history(registry, "income")] in ([1], [1, 2])
        assert move_to(registry, 3).version == resolve(registry, "income").version == 3
        return dying.fault.operations >= fail_at

    crash_points(attempt, at_least=4)
