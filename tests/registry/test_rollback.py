"""Rollback: along the promotions, backwards, and never to what nobody vouches for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import Conflict, Integrity, InvalidInput, NotFound
from dataops.governance.signing import Signer, SigningKey
from dataops.registry.aliases import current, history, last_move, move, resolve
from dataops.registry.moves import MoveKind
from dataops.registry.rollback import rollback, standing_promotions, way_back
from dataops.registry.tombstones import Tombstone, begin_deletion
from dataops.registry.trust import Trust
from dataops.registry.versions import Registry
from dataops.storage.objects import MemoryStore
from tests.registry.examples import AT, make_key, make_package
from tests.storage.faulty import MODES, Crash, FaultyStore, Mode, crash_points


def filled(versions: int = 4) -> Registry:
    registry = Registry(MemoryStore())
    for run in range(versions):
        registry.register("income", make_package(f"run-{run}"), at=AT)
    return registry


def signed_by(key: SigningKey, *signers: Signer) -> Registry:
    registry = Registry(MemoryStore(), Trust(signers=signers))
    for run in range(4):
        registry.register("income", make_package(f"run-{run}"), at=AT, key=key)
    return registry


def trusting(registry: Registry, *signers: Signer) -> Registry:
    return Registry(registry.store, Trust(signers=signers))


def promote(registry: Registry, *versions: int, kind: MoveKind = MoveKind.PROMOTED, **options: Any) -> None:
    for version in versions:
        move(registry, "income", "champion", version, actor="ada", reason="better", kind=kind, **options)


def back(registry: Registry, **options: Any):
    return rollback(registry, "income", actor="bob", reason="worse", **options)


def test_a_rollback_is_a_new_generation_that_points_at_the_version_promoted_before():
    registry = filled()
    promote(registry, 1, 3)
    moved = back(registry)
    assert (moved.version, moved.generation, moved.kind, moved.actor, moved.reason, moved.verdict_digest) == (
        1,
        3,
        MoveKind.ROLLED_BACK,
        "bob",
        "worse",
        None,
    )
    assert resolve(registry, "income").version == 1


def test_a_second_rollback_goes_back_by_one_more():
    registry = filled()
    promote(registry, 1, 2, 3)
    assert [back(registry).version, back(registry).version] == [2, 1]
    with pytest.raises(NotFound, match="can't be rolled back: no other version"):
        back(registry)
    assert resolve(registry, "income").version == 1


def test_a_promotion_after_a_rollback_is_taken_back_to_where_that_had_gone():
    registry = filled()
    promote(registry, 1, 2)
    back(registry)
    promote(registry, 3)
    assert back(registry).version == 1


def test_what_was_set_by_hand_is_no_promotion():
    registry = filled()
    promote(registry, 1, 2)
    promote(registry, 4, kind=MoveKind.SET)
    assert back(registry).version == 2
    assert back(registry).version == 1


def test_a_version_promoted_twice_in_a_row_is_not_rolled_back_to_itself():
    registry = filled()
    promote(registry, 1, 2)
    promote(registry, 3, kind=MoveKind.SET)
    promote(registry, 2)
    assert back(registry).version == 1


@pytest.mark.parametrize("promotions", [(), (1,), (1, 1)])
def test_where_nothing_was_promoted_before_nothing_moves(promotions):
    registry = filled()
    promote(registry, *promotions)
    keys = registry.store.list("")
    with pytest.raises(NotFound):
        back(registry)
    assert registry.store.list("") == keys


def test_without_who_or_why_nothing_moves():
    registry = filled()
    promote(registry, 1, 2)
    with pytest.raises(InvalidInput, match="why"):
        rollback(registry, "income", actor="bob", reason=" ")
    assert resolve(registry, "income").version == 2


def test_a_rollback_of_what_was_seen_does_not_take_back_what_came_since():
    registry = filled()
    promote(registry, 1, 2)
    seen = current(registry, "income")
    promote(registry, 3)
    with pytest.raises(Conflict):
        back(registry, after=seen)
    assert resolve(registry, "income").version == 3
    assert back(registry, after=current(registry, "income")).version == 2


def test_a_version_that_is_damaged_is_not_rolled_back_to():
    registry = filled()
    promote(registry, 1, 2)
    registry.store.delete("income/versions/1/model.json")
    with pytest.raises(Integrity, match=r"model\.json of income version 1 is missing"):
        back(registry)
    assert resolve(registry, "income").version == 2


def test_a_version_that_is_gone_is_not_rolled_back_to():
    registry = filled()
    promote(registry, 1, 2)
    registry.store.delete("income/versions/1/manifest.json")
    with pytest.raises(NotFound, match="income has no version 1"):
        back(registry)
    assert resolve(registry, "income").version == 2


def test_promotions_that_nobody_trusts_are_passed_over_and_what_they_did_is_taken_back(tmp_path):
    key, signer = make_key(tmp_path / "keys")
    registry = signed_by(key, signer)
    promote(registry, 1, 2, key=key)
    promote(Registry(registry.store), 3, 4)
    assert not last_move(registry, "income").trusted
    made = back(registry, key=key)
    assert (made.version, made.reason) == (2, "worse (passed over: generation 3, it is not signed)")
    made = back(registry, key=key)
    assert (made.version, made.reason) == (1, "worse")
    revoked = trusting(registry, replace(signer, revoked=AT))
    with pytest.raises(NotFound, match="still stands and is trusted"):
        back(revoked, key=key)


def test_a_rollback_to_a_promotion_that_is_not_trusted_any_more_stands_and_so_do_those_before(tmp_path):
    lost, lost_signer = make_key(tmp_path / "keys")
    kept, signer = make_key(tmp_path / "kept", number=2)
    registry = signed_by(kept, lost_signer, signer)
    promote(registry, 1, key=kept)
    promote(registry, 2, key=lost, at=AT)
    promote(registry, 3, key=kept)
    assert back(registry, key=kept).version == 2
    reader = trusting(registry, replace(lost_signer, revoked=AT), signer)
    assert [one.version for one in standing_promotions(history(reader, "income"))] == [1, 2]
    promote(reader, 4, key=kept)
    assert back(reader, key=kept).version == 2
    assert back(reader, key=kept).version == 1


def test_a_rollback_that_nobody_trusts_takes_nothing_off(tmp_path):
    key, signer = make_key(tmp_path / "keys")
    registry = signed_by(key, signer)
    promote(registry, 1, 2, 3, key=key)
    promote(Registry(registry.store), 1, kind=MoveKind.ROLLED_BACK)
    assert back(registry, key=key).version == 3


def test_promotions_of_versions_that_were_deleted_are_passed_over_and_named():
    registry = filled()
    promote(registry, 1, 2, 3, 4)
    for version in (2, 3):
        digest = registry.find("income", version).digest
        begin_deletion(registry.store, Tombstone(model="income", version=version, digest=digest, at=AT, actor="bob"))
    registry.store.delete("income/versions/2/manifest.json")
    made = back(registry)
    assert made.version == 1
    assert made.reason == (
        "worse (passed over: generation 3, of a version that was deleted; generation 2, of a version that was deleted)"
    )


def test_where_all_that_was_promoted_before_is_gone_it_says_so():
    registry = filled()
    promote(registry, 1, 2)
    digest = registry.find("income", 1).digest
    begin_deletion(registry.store, Tombstone(model="income", version=1, digest=digest, at=AT, actor="bob"))
    with pytest.raises(NotFound, match=r"passed over: generation 1, of a version that was deleted\); see"):
        back(registry)
    assert resolve(registry, "income").version == 2


def test_a_reason_names_few_of_many_that_were_passed_over(tmp_path):
    key, signer = make_key(tmp_path / "keys")
    registry = signed_by(key, signer)
    promote(registry, 1, key=key)
    promote(Registry(registry.store), *[2, 3] * 4)
    assert back(registry, key=key).reason.endswith("; and 4 more)")


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from([MoveKind.PROMOTED, MoveKind.SET]), st.integers(1, 4)),
            st.just((MoveKind.ROLLED_BACK, 0)),
        ),
        max_size=12,
    )
)
def test_rollbacks_follow_a_stack_of_promotions(steps):
    """Against the plainest model: a list of promoted versions, and the one that the alias points at."""
    registry, stack, points = filled(), [], None
    for kind, version in steps:
        if kind is not MoveKind.ROLLED_BACK:
            promote(registry, version, kind=kind)
            stack += [version] if kind is MoveKind.PROMOTED else []
            points = version
            continue
        while stack and stack[-1] == points:
            stack.pop()
        if not stack:
            with pytest.raises(NotFound):
                back(registry)
            stack = [one.version for one in standing_promotions(history(registry, "income"))]
            continue
        points = stack[-1]
        assert back(registry).version == points
    moves = list(history(registry, "income"))
    assert [one.version for one in standing_promotions(moves)] == stack
    assert (moves[-1].version if moves else None) == points
    target, passed = way_back(moves, ())
    assert target is None or target.version != points
    assert passed == []


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_operation_of_a_rollback_leaves_the_old_or_the_new_champion(mode: Mode):
    def attempt(fail_at: int) -> bool:
        registry = filled(3)
        promote(registry, 1, 2)
        seen = current(registry, "income")
        dying = FaultyStore(registry.store, fail_at, mode)
        with suppress(Crash):
            rollback(Registry(dying), "income", actor="bob", reason="worse", after=seen)
        assert [one.version for one in history(registry, "income")] in ([1, 2], [1, 2, 1])
        with suppress(Conflict):  # done already: who asks again about the same move is told so
            back(registry, after=seen)
        assert [one.version for one in history(registry, "income")] == [1, 2, 1]
        return dying.fault.operations >= fail_at

    crash_points(attempt, at_least=8)
