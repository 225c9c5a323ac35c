"""Signed moves of an alias: a reader follows the one that was signed where it stands, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dataops.errors import Integrity
from dataops.governance.signing import Signer, SigningKey, Worth
from dataops.records import digest, encode_record
from dataops.registry.aliases import current, history, last_move, move, move_at, resolve, resolve_reference
from dataops.registry.moves import MoveKind
from dataops.registry.trust import Trust
from dataops.registry.versions import Registry
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore, Store
from tests.registry.examples import AT, make_key, make_package
from tests.storage.faulty import MODES, Crash, FaultyStore, Mode, crash_points

HOUR = timedelta(hours=1)
CHAMPION = "income/aliases/champion"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def signed(keys: Path) -> tuple[Registry, SigningKey, Signer]:
    """Three signed versions of income, none of them promoted."""
    key, signer = make_key(keys)
    registry = Registry(MemoryStore(), Trust(signers=(signer,)))
    for run in ("a", "b", "c"):
        registry.register("income", make_package(run), at=AT, key=key)
    return registry, key, signer


def move_to(registry: Registry, version: int, key: SigningKey | None, **options: Any):
    return move(registry, "income", "champion", version, actor="ada", reason="better", key=key, **options)


def trusting(registry: Registry, *signers: Signer) -> Registry:
    return Registry(registry.store, Trust(signers=signers))


def rewrite(store: Store, number: int, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Entry `number` of the champion with another body, as who may write the folder would put it: digests fit."""
    key = f"{CHAMPION}/{number:010d}.json"
    fields = {k: v for k, v in json.loads(store.get(key)).items() if k not in ("format", "digest")}
    put_entry(store, CHAMPION, {**fields, "body": change(dict(fields["body"]))})


def put_entry(store: Store, prefix: str, fields: Mapping[str, Any]) -> None:
    key = f"{prefix}/{fields['number']:010d}.json"
    store.delete(key)
    assert store.put_if_absent(key, encode_record("alias", 1, {**fields, "digest": digest(fields)}))


def refused(registry: Registry, match: str, alias: str = "champion") -> None:
    for look in (
        lambda: current(registry, "income", alias),
        lambda: resolve(registry, "income", alias),
        lambda: resolve_reference(registry, f"income@{alias}"),
    ):
        with pytest.raises(Integrity, match=match):
            look()


def test_a_move_says_its_kind_its_place_and_who_signed_it(signed):
    registry, key, _ = signed
    first = move_to(registry, 1, key, at=AT)
    second = move_to(registry, 2, key, at=AT + HOUR, kind=MoveKind.SET)
    assert (second.kind, second.generation, second.worth, second.signed_by) == (MoveKind.SET, 2, Worth.GOOD, key.key_id)
    body = second.entry.body
    assert (body["generation"], body["previous"], body["kind"]) == (2, first.entry.digest, "set")
    assert second.moved_at == AT + HOUR
    assert resolve(registry, "income").version == 2
    assert Journal(registry.store, CHAMPION, "alias").verify() == []


def test_without_a_key_nothing_moves_where_readers_ask_for_signatures(signed):
    registry, _, _ = signed
    with pytest.raises(Integrity, match="there is no signing key here"):
        move_to(registry, 1, None)
    assert registry.store.list("income/aliases") == []


def test_a_key_that_does_not_count_moves_nothing(signed):
    registry, key, signer = signed
    with pytest.raises(Integrity, match="revoked"):
        move_to(trusting(registry, replace(signer, revoked=AT)), 1, key, at=AT)
    assert registry.store.list("income/aliases") == []


def test_nothing_moves_to_a_version_that_nobody_signed(signed):
    registry, key, _ = signed
    registry.register("income", make_package("unsigned"), at=AT)
    with pytest.raises(Integrity, match="income@4 is not to be trusted: it is not signed"):
        move_to(registry, 4, key)
    assert registry.store.list("income/aliases") == []


@pytest.mark.parametrize(
    ("alias", "heals"),
    [
        (
            "champion",
            "`dataops model history income` .*`dataops model rollback income` .*`dataops model promote income@2`",
        ),
        (
            "shadow",
            "`dataops model history income --alias shadow` .* --alias shadow` .*`dataops model alias income@2 shadow`",
        ),
    ],
)
def test_an_unsigned_move_is_not_followed_and_says_what_to_do(signed, alias, heals):
    registry, _, _ = signed
    move(Registry(registry.store), "income", alias, 2, actor="eve", reason="mine")
    refused(registry, f"it is not signed. {heals}", alias)
    assert last_move(registry, "income", alias).worth is Worth.MISSING


@pytest.mark.parametrize(
    ("changed", "worth"),
    [
        ({"revoked": AT}, Worth.REVOKED),
        ({"until": AT}, Worth.OUT_OF_TERM),
        ({"start": AT + HOUR}, Worth.OUT_OF_TERM),
        ({"id": "signer-20260131t120000000000z-0123456789ab"}, Worth.UNKNOWN),
    ],
)
def test_a_move_is_judged_at_its_time_by_the_signers_of_its_reader(signed, changed, worth):
    registry, key, signer = signed
    move_to(registry, 1, key, at=AT)
    reader = trusting(registry, replace(signer, **changed))
    assert [one.worth for one in history(reader, "income")] == [worth]
    refused(reader, "generation 1 of income@champion is not to be trusted")


@pytest.mark.parametrize("changed", [{"revoked": AT + HOUR}, {"until": AT + HOUR}])
def test_a_move_from_before_a_revocation_goes_on_counting(signed, changed):
    registry, key, signer = signed
    move_to(registry, 1, key, at=AT)
    assert resolve(trusting(registry, replace(signer, **changed)), "income").version == 1


def test_who_has_a_lost_key_cannot_move_an_alias_by_writing_an_earlier_time(signed, keys):
    """The key is revoked, a newer one moved the champion since: nothing that claims to be older can come after."""
    registry, lost, signer = signed
    newer, other = make_key(keys, AT + HOUR, number=2)
    move_to(registry, 1, lost, at=AT)
    after = trusting(registry, replace(signer, revoked=AT + 2 * HOUR), other)
    with pytest.raises(Integrity, match="revoked"):
        move_to(after, 3, lost, at=AT + 3 * HOUR)
    move_to(after, 2, newer, at=AT + 3 * HOUR)
    move_to(registry, 3, lost, at=AT + HOUR)  # backdated, to before the revocation
    refused(after, "was revoked by then")
    assert [one.worth for one in history(after, "income")] == [Worth.GOOD, Worth.GOOD, Worth.REVOKED]


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"version_digest": "sha256:" + "0" * 64},
        {"actor": "ada lovelace"},
        {"reason": "worse"},
        {"verdict": "sha256:" + "0" * 64},
        {"kind": "rolled_back"},
        {"moved_at": "2026-01-31T12:00:01.000000Z"},
        {"more": 1},
    ],
)
def test_no_word_of_a_signed_move_can_be_changed(signed, change):
    registry, key, _ = signed
    move_to(registry, 1, key, at=AT)
    rewrite(registry.store, 1, lambda body: body | change)
    refused(registry, "is not one of key")


@pytest.mark.parametrize("name", ["kind", "generation", "previous", "moved_at"])
def test_a_signed_move_that_leaves_something_out_is_not_what_was_signed(signed, name):
    registry, key, _ = signed
    move_to(registry, 1, key, at=AT)
    rewrite(registry.store, 1, lambda body: {k: v for k, v in body.items() if k != name})
    refused(registry, "is not one of key")


def test_a_signature_that_was_taken_off_is_missing(signed):
    registry, key, _ = signed
    move_to(registry, 1, key, at=AT)
    rewrite(registry.store, 1, lambda body: {**body, "signature": None})
    refused(registry, "it is not signed")


@pytest.mark.parametrize("signature", ["x", 1, [], {"key_id": "x"}, {"key_id": 1, "context": 2, "value": 3}])
def test_rubbish_where_a_signature_should_be_is_a_damaged_record(signed, signature):
    registry, key, _ = signed
    move_to(registry, 1, key, at=AT)
    rewrite(registry.store, 1, lambda body: {**body, "signature": signature})
    refused(registry, "generation 1 of income@champion")


def test_a_move_replayed_under_another_alias_is_not_followed(signed):
    registry, key, _ = signed
    move_to(registry, 1, key)
    entry = json.loads(registry.store.get(f"{CHAMPION}/0000000001.json"))
    fields = {k: v for k, v in entry.items() if k not in ("format", "digest")}
    put_entry(registry.store, "income/aliases/challenger", fields)
    refused(registry, "written for another alias", "challenger")
    renamed = {**fields, "body": {**fields["body"], "alias": "challenger"}}
    put_entry(registry.store, "income/aliases/challenger", renamed)
    refused(registry, "is not one of key", "challenger")


def test_an_old_move_put_in_again_at_the_end_is_not_followed(signed):
    """The champion of before the promotion, replayed by who may write the folder: digests fit, the place doesn't."""
    registry, key, _ = signed
    first = move_to(registry, 1, key)
    second = move_to(registry, 2, key)
    fields = {"number": 3, "previous": second.entry.digest, "written_at": "2026-02-01T00:00:00.000000Z", "nonce": "n"}
    put_entry(registry.store, CHAMPION, {**fields, "body": first.entry.body})
    refused(registry, "written for another place in its history")
    moved = {**first.entry.body, "generation": 3, "previous": second.entry.digest}
    put_entry(registry.store, CHAMPION, {**fields, "body": moved})
    refused(registry, "is not one of key")


def test_a_move_after_another_history_than_the_one_that_was_signed_is_not_followed(signed):
    registry, key, _ = signed
    move_to(registry, 1, key)
    move_to(registry, 2, key)
    entry = json.loads(registry.store.get(f"{CHAMPION}/0000000002.json"))
    rewrite(registry.store, 1, lambda body: body | {"version": 3})
    first = json.loads(registry.store.get(f"{CHAMPION}/0000000001.json"))
    fields = {k: v for k, v in entry.items() if k not in ("format", "digest")}
    put_entry(registry.store, CHAMPION, {**fields, "previous": first["digest"]})
    refused(registry, "written for another place in its history")


def test_moves_of_old_releases_read_as_promotions_that_nobody_signed(signed):
    registry, key, _ = signed
    move_to(registry, 1, key)
    new = ("kind", "generation", "previous", "moved_at", "signature")
    rewrite(registry.store, 1, lambda body: {k: v for k, v in body.items() if k not in new})
    (old,) = history(Registry(registry.store), "income")
    assert (old.kind, old.signature, old.worth, old.trusted) == (MoveKind.PROMOTED, None, None, True)
    assert resolve(Registry(registry.store), "income").version == 1
    refused(registry, "it is not signed")


def test_who_was_champion_at_a_time(signed):
    registry, key, _ = signed
    for version in (1, 2, 3):
        move_to(registry, version, key, at=AT + version * HOUR)
    held = [move_at(registry, "income", "champion", AT + hours * HOUR) for hours in (0.5, 1, 2.5, 90)]
    assert [one and one.version for one in held] == [None, 1, 2, 3]


def test_a_conflict_is_decided_again_after_the_move_that_won(signed):
    registry, key, _ = signed

    class Racing(MemoryStore):
        raced = False

        def _create(self, name: str, data: bytes) -> bool:
            if name.endswith("aliases/champion/0000000001.json") and not self.raced:
                self.raced = True
                move_to(registry, 1, key)
            return super()._create(name, data)

    racing = Registry(Racing(registry.store.url.removeprefix("memory://")), registry.trust)
    second = move_to(racing, 2, key)
    assert (second.generation, second.entry.body["generation"], second.worth) == (2, 2, Worth.GOOD)
    assert second.entry.body["previous"] == next(history(registry, "income")).entry.digest


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_operation_of_a_signed_move_leaves_the_old_or_the_new_champion(signed, mode: Mode):
    registry, key, _ = signed
    move_to(registry, 1, key)
    before = {name: registry.store.get(name) for name in registry.store.list("")}

    def attempt(fail_at: int) -> bool:
        store = MemoryStore()
        for name, data in before.items():
            store.put_if_absent(name, data)
        dying, alive = FaultyStore(store, fail_at, mode), Registry(store, registry.trust)
        with suppress(Crash):
            move_to(Registry(dying, registry.trust), 2, key)
        assert [one.version for one in history(alive, "income")] in ([1], [1, 2])
        assert all(one.trusted for one in history(alive, "income"))
        assert move_to(alive, 3, key).version == resolve(alive, "income").version == 3
        return dying.fault.operations >= fail_at

    crash_points(attempt, at_least=4)
