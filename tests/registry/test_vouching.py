"""Who vouches for an alias signs what a trusted key signed already, with its verdict, and nothing of others."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dataops.errors import Conflict, Integrity
from dataops.governance.signing import Signer, SigningKey, Worth
from dataops.records import digest_bytes
from dataops.registry.aliases import history, last_move, move, resolve
from dataops.registry.moves import MoveKind
from dataops.registry.trust import Trust
from dataops.registry.verify import verify_alias
from dataops.registry.versions import Registry
from dataops.registry.vouching import vouch
from dataops.storage.objects import MemoryStore
from tests.registry.examples import AT, make_key, make_package, put_verdict

HOUR = timedelta(hours=1)


class Place:
    """Two versions, of which the first was promoted, signed by a key that is about to be revoked."""

    def __init__(self, folder: Path) -> None:
        self.old, self.signer = make_key(folder)
        self.new, self.newer = make_key(folder, AT + HOUR, number=2)
        self.registry = self.seen_with(self.signer, self.newer)
        for run in ("a", "b"):
            self.registry.register("income", make_package(run), at=AT, key=self.old)

    def seen_with(self, *signers: Signer) -> Registry:
        store = self.registry.store if hasattr(self, "registry") else MemoryStore()
        return Registry(store, Trust(signers=signers))

    def promote(self, version: int = 1, **changes: Any) -> None:
        options = {"actor": "ada", "reason": "better", "key": self.old, "at": AT}
        verdict = put_verdict(self.registry, version, **changes)
        move(self.registry, "income", "champion", version, verdict_digest=verdict, **options)

    def vouch(self, key: SigningKey, registry: Registry | None = None):
        last = last_move(registry or self.registry, "income")
        assert last is not None
        return vouch(registry or self.registry, last, actor="bob", key=key)

    @property
    def verdict(self) -> str:
        (key,) = self.registry.store.list("income/verdicts")
        return key


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "keys")


def test_a_move_is_signed_again_by_the_new_key_and_outlives_the_old_one(place: Place) -> None:
    place.promote()
    (first,) = history(place.registry, "income")
    made = place.vouch(place.new)
    assert (made.generation, made.version, made.kind, made.signed_by) == (2, 1, first.kind, place.new.key_id)
    assert made.verdict_digest == first.verdict_digest
    assert made.reason == "vouches for generation 1, of ada: better"
    assert place.vouch(place.new) == made
    place.registry.sign("income", 1, place.new, at=AT + HOUR)
    revoked = place.seen_with(replace(place.signer, revoked=AT), place.newer)
    assert resolve(revoked, "income").version == 1


@pytest.mark.parametrize("worth", [Worth.MISSING, Worth.UNKNOWN, Worth.REVOKED, Worth.OUT_OF_TERM])
def test_nobody_vouches_for_a_move_that_no_trusted_key_signed(place: Place, worth: Worth) -> None:
    place.promote()
    changes = {
        Worth.UNKNOWN: (place.newer,),
        Worth.REVOKED: (replace(place.signer, revoked=AT), place.newer),
        Worth.OUT_OF_TERM: (replace(place.signer, start=AT + timedelta(days=9999)), place.newer),
    }
    if worth is Worth.MISSING:
        move(Registry(place.registry.store), "income", "champion", 2, actor="eve", reason="mine")
    reader = place.seen_with(*changes.get(worth, (place.signer, place.newer)))
    moves = place.registry.store.list("income/aliases")
    with pytest.raises(Integrity, match=r"is not to be trusted: .*`dataops model history income` shows who made it"):
        place.vouch(place.new, reader)
    last = last_move(reader, "income")
    assert last is not None
    assert last.worth is worth
    assert place.registry.store.list("income/aliases") == moves


def test_a_promotion_without_its_verdict_is_not_vouched_for(place: Place) -> None:
    move(place.registry, "income", "champion", 1, actor="ada", reason="no gate", key=place.old, at=AT)
    with pytest.raises(Integrity, match=r"can't be vouched for: it names no verdict.*`dataops model rollback income`"):
        place.vouch(place.new)
    assert len(list(history(place.registry, "income"))) == 1


@pytest.mark.parametrize("damage", ["missing", "changed", "of another version"])
def test_a_promotion_whose_verdict_does_not_bear_it_out_is_neither_vouched_for_nor_whole(
    place: Place, damage: str
) -> None:
    place.promote()
    if damage == "of another version":
        digest = digest_bytes(place.registry.store.get(place.verdict))
        options = {"actor": "ada", "reason": "sly", "verdict_digest": digest, "key": place.old, "at": AT}
        move(place.registry, "income", "champion", 2, **options)
    else:
        data = json.loads(place.registry.store.get(place.verdict))
        name = place.verdict
        place.registry.store.delete(name)
        if damage == "changed":
            place.registry.store.put_if_absent(name, json.dumps(data | {"reason": "fine"}).encode())
    moves = place.registry.store.list("income/aliases")
    with pytest.raises(Integrity, match=f"the verdict that allowed it (is|was) {damage}"):
        place.vouch(place.new)
    assert place.registry.store.list("income/aliases") == moves
    assert any(damage in one.message for one in verify_alias(place.registry, "income", "champion").broken)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"alias": "shadow"}, "is of another alias"),
        ({"passed": False}, "is a refusal"),
        ({"passed": "yes"}, "is a refusal"),
    ],
)
def test_a_verdict_that_allowed_something_else_or_nothing_bears_out_no_promotion(
    place: Place, changes: dict[str, Any], fault: str
) -> None:
    place.promote(**changes)
    with pytest.raises(Integrity, match=f"the verdict that allowed it {fault}"):
        place.vouch(place.new)
    assert len(list(history(place.registry, "income"))) == 1
    assert any(fault in one.message for one in verify_alias(place.registry, "income", "champion").broken)


def test_a_refusal_that_a_person_took_upon_themselves_is_vouched_for(place: Place) -> None:
    place.promote(passed=False, override={"why": "looked at it", "by": "ada", "until": "2026-12-31T23:59:59Z"})
    assert place.vouch(place.new).generation == 2
    assert verify_alias(place.registry, "income", "champion").broken == ()


def test_what_was_set_by_hand_needs_no_verdict(place: Place) -> None:
    options = {"actor": "ada", "reason": "to compare", "key": place.old, "at": AT, "kind": MoveKind.SET}
    last = move(place.registry, "income", "shadow", 2, **options)
    assert vouch(place.registry, last, actor="bob", key=place.new).kind is MoveKind.SET


def test_nobody_vouches_for_a_move_that_is_over(place: Place) -> None:
    place.promote()
    stale = last_move(place.registry, "income")
    assert stale is not None
    place.promote(2)
    with pytest.raises(Conflict):
        vouch(place.registry, stale, actor="bob", key=place.new)
    assert resolve(place.registry, "income").version == 2


def test_where_nobody_asks_for_signatures_nothing_is_vouched_for(place: Place) -> None:
    place.promote()
    plain = Registry(place.registry.store)
    last = last_move(plain, "income")
    assert last is not None
    assert vouch(plain, last, actor="bob", key=place.new) == last
