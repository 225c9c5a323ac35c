"""The whole registry verified: one damage hides no other, and each is named where it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dataops.errors import NotFound
from dataops.governance.signing import Signer, SigningKey
from dataops.registry.aliases import move
from dataops.registry.garbage import Asked, collect
from dataops.registry.trust import Trust
from dataops.registry.verify import verify_alias, verify_model, verify_registry, verify_version
from dataops.registry.versions import Registry
from dataops.storage.objects import MemoryStore, PosixStore
from tests.registry.examples import AT, make_key, make_package, put_verdict

DAY = timedelta(days=1)


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Registry, SigningKey, Signer]:
    """Three signed versions; champion went from 1 to 2, with a verdict; challenger is 3."""
    key, signer = make_key(tmp_path / "keys")
    registry = Registry(MemoryStore(), Trust(signers=(signer,)))
    for run in ("a", "b", "c"):
        registry.register("income", make_package(run), at=AT, key=key)
    for version in (1, 2):
        move_to(registry, version, key, verdict_digest=put_verdict(registry, version))
    move_to(registry, 3, key, alias="challenger")
    return registry, key, signer


def move_to(registry: Registry, version: int, key: SigningKey | None, alias: str = "champion", **options):
    return move(registry, "income", alias, version, actor="ada", reason="better", key=key, **options)


def broken(registry: Registry) -> list[str]:
    return [str(one) for one in verify_model(registry, "income").broken]


def change(registry: Registry, key: str, data: bytes | None) -> None:
    registry.store.delete(key)
    if data is not None:
        registry.store.put_if_absent(key, data)


def test_a_whole_registry_has_nothing_to_say(signed):
    registry, _, _ = signed
    found = verify_model(registry, "income")
    size = sum(one.size_bytes for n in (1, 2, 3) for one in registry.read_manifest("income", n).files.values())
    assert (found.versions, found.moves, found.bytes_read, found.findings) == (3, 3, size, ())
    assert verify_version(registry, "income", 2).findings == verify_alias(registry, "income", "champion").findings == ()


@pytest.mark.parametrize("name", ["program.json", "model.json", "metrics.json", "card.md"])
def test_every_file_that_was_changed_or_taken_is_named(signed, name):
    registry, _, _ = signed
    data = registry.store.get(f"income/versions/1/{name}")
    change(registry, f"income/versions/1/{name}", data[:-1] + b"x")
    change(registry, f"income/versions/3/{name}", None)
    first, third = broken(registry)
    assert first.startswith("income@1: ")
    assert f"{name} has another SHA-256" in first
    assert third == f"income@3: {name} of income version 3 is missing"


def test_a_changed_manifest_and_a_file_too_many_are_named(signed):
    registry, _, _ = signed
    change(registry, "income/versions/1/manifest.json", b"{}")
    registry.store.put_if_absent("income/versions/3/extra.pkl", b"\x80")
    found = broken(registry)
    assert any(one.startswith("income@1: ") and "is not one of key" in one for one in found)
    assert any(one.startswith("income@3: ") and "extra.pkl" in one for one in found)
    assert not any(one.startswith("income@2: ") for one in found)


def test_a_version_that_nobody_signed_is_a_finding_and_a_signature_that_does_not_count_beside_one_a_warning(
    signed, tmp_path
):
    registry, key, signer = signed
    newer, other = make_key(tmp_path / "keys", AT + DAY, number=2)
    both = Registry(registry.store, Trust(signers=(replace(signer, revoked=AT), other)))
    both.sign("income", 2, newer, at=AT + DAY)
    found = verify_version(both, "income", 2)
    assert found.broken == ()
    assert [one.message.partition(":")[0] for one in found.warnings] == ["a signature beside a good one doesn't count"]
    assert key.key_id in found.warnings[0].message
    assert "income@1 is not to be trusted" in str(verify_version(both, "income", 1).broken[0])


def test_the_last_move_must_be_trusted_and_an_old_one_is_a_warning(signed):
    registry, key, _ = signed
    move_to(Registry(registry.store), 1, None)
    assert broken(registry) == ["income@champion: generation 3: it is not signed"]
    move_to(registry, 1, key)
    found = verify_model(registry, "income")
    assert found.broken == ()
    assert [str(one) for one in found.warnings] == ["income@champion: generation 3: it is not signed"]


def test_a_history_that_was_edited_is_named(signed):
    registry, _, _ = signed
    key = "income/aliases/champion/0000000001.json"
    change(registry, key, registry.store.get(key).replace(b"better", b"bettre"))
    assert any("income@champion: " in one and "altered" in one for one in broken(registry))
    change(registry, key, None)
    assert any("are missing" in one for one in broken(registry))


@pytest.mark.parametrize(("data", "said"), [(None, "is missing"), (b"[]", "was changed")])
def test_a_verdict_that_a_move_names_must_be_the_one(signed, data, said):
    registry, _, _ = signed
    for name in registry.store.list("income/verdicts"):
        change(registry, name, data)
    assert broken(registry) == [
        f"income@champion: generation {number}: the verdict that allowed it {said}" for number in (1, 2)
    ]


def test_a_move_to_a_version_that_is_gone_is_named_unless_it_was_deleted_in_order(signed):
    registry, key, _ = signed
    move_to(registry, 3, key)
    for at in (AT + 30 * DAY, AT + 40 * DAY):
        collect(registry, "income", Asked(keep=1, grace=DAY), actor="bob", at=at)
    assert registry.numbers("income") == [2, 3]
    assert verify_model(registry, "income").findings == ()
    for name in registry.store.list("income/versions/2"):
        registry.store.delete(name)
    assert broken(registry) == [
        "income@champion: generation 2: income has no version 2; its newest is 3 (`dataops model list` shows them all)"
    ]


def test_what_was_cut_off_or_marked_is_a_warning(signed):
    registry, key, _ = signed
    registry.store.put_if_absent("income/versions/7/claim.json", b"{}")
    registry.register("income", make_package("d"), at=AT, key=key)
    registry.register("income", make_package("e"), at=AT, key=key)
    collect(registry, "income", Asked(keep=1, grace=DAY), actor="bob", at=AT + 30 * DAY)
    found = verify_model(registry, "income")
    assert found.broken == ()
    assert [str(one) for one in found.warnings] == [
        "income@8: marked to be deleted since 2026-03-02 12:00 UTC, by bob",
        "income/versions/7: its registration was cut off; registering the same package again finishes it",
    ]


def test_a_model_whose_every_manifest_was_taken_away_is_not_forgotten(signed):
    registry, _, _ = signed
    for version in (1, 2, 3):
        change(registry, f"income/versions/{version}/manifest.json", None)
    said = [str(one) for one in verify_registry(registry).broken]
    assert any(one.startswith("income@champion: generation 2") for one in said)


def test_a_link_hides_no_other_damage(tmp_path):
    registry = Registry(PosixStore(tmp_path / "registry"))
    for run in ("a", "b"):
        registry.register("income", make_package(run), at=AT)
    move_to(registry, 2, None)
    folder = tmp_path / "registry/income"
    (folder / "versions/1/card.md").rename(tmp_path / "card.md")
    (folder / "versions/1/card.md").symlink_to(tmp_path / "card.md")
    (folder / "aliases/beta").symlink_to(folder / "aliases/champion")
    (folder / "versions/2/model.json").unlink()
    said = [str(one) for one in verify_registry(registry).broken]
    assert [one.partition(":")[0] for one in said] == ["income@1", "income@2", "income@beta"]
    assert all("symbolic link" in one for one in (said[0], said[2]))
    assert registry.register("income", make_package("c"), at=AT).version == 3


def test_a_model_that_is_not_there_is_named(signed):
    registry, _, _ = signed
    with pytest.raises(NotFound, match="Did you mean 'income'"):
        verify_model(registry, "incom")
