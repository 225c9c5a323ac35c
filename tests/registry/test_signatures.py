"""Signed versions: what a reader takes, and what it doesn't, whatever lies in the registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dataops.errors import Format, Integrity, InvalidInput, NotFound
from dataops.governance.signing import Signer, SigningKey, Worth
from dataops.records import canonical_bytes
from dataops.registry.signatures import CONTEXT, MAX_SIGNATURE_BYTES, VersionSignature
from dataops.registry.trust import UNSIGNED, Trust, read_trust
from dataops.registry.versions import Registry
from dataops.storage.objects import MemoryStore, PosixStore, Store
from tests.registry.examples import AT, MODEL, make_key, make_package
from tests.storage.faulty import MODES, Crash, FaultyStore, Mode, crash_points

HOUR = timedelta(hours=1)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def signed(keys: Path) -> tuple[Registry, SigningKey, Signer]:
    """A registry with version 1 of income, signed at `AT`, its key and who that is."""
    key, signer = make_key(keys)
    registry = Registry(MemoryStore(), Trust(signers=(signer,)))
    registry.register("income", make_package(), at=AT, key=key)
    return registry, key, signer


def trusting(registry: Registry, *signers: Signer) -> Registry:
    return Registry(registry.store, Trust(signers=signers))


def replace_bytes(store: Store, key: str, data: bytes) -> None:
    store.delete(key)
    assert store.put_if_absent(key, data)


def signature_at(key: SigningKey, version: int = 1, model: str = "income") -> str:
    return f"{model}/versions/{version}/signatures/{key.key_id}.json"


def refused(registry: Registry, match: str, version: int = 1, model: str = "income") -> None:
    """Neither found nor read, by nobody who asks for signatures; and the message says what to do."""
    for look in (registry.find, registry.read):
        with pytest.raises(Integrity, match=match) as caught:
            look(model, version)
        assert f"`dataops model sign {model}@{version}`" in str(caught.value)


def test_a_signed_version_is_read_by_who_trusts_the_key_and_says_by_whom(signed):
    registry, key, _ = signed
    loaded = registry.read("income", 1)
    assert loaded.signed_by == (key.key_id,)
    assert loaded.package == make_package()
    assert loaded.version == registry.find("income", 1) == Registry(registry.store).find("income", 1)
    assert Registry(registry.store).read("income", 1).signed_by == ()


def test_the_signature_lies_beside_the_version_under_the_id_of_its_key(signed):
    registry, key, _ = signed
    found = VersionSignature.from_bytes(registry.store.get(signature_at(key)))
    assert (found.signed.model, found.signed.version, found.signed.manifest) == (
        "income",
        1,
        registry.find("income", 1).digest,
    )
    assert (found.signed_at, found.signature.context) == ("2026-01-31T12:00:00.000000Z", CONTEXT)


def test_the_signature_is_there_before_the_version_exists(keys):
    key, _ = make_key(keys)
    puts: list[str] = []

    class Noting(MemoryStore):
        def _create(self, key: str, data: bytes) -> bool:
            puts.append(key)
            return super()._create(key, data)

    Registry(Noting()).register("income", make_package(), at=AT, key=key)
    assert puts[-2:] == [signature_at(key), "income/versions/1/manifest.json"]


def test_an_unsigned_version_is_nothing_to_who_asks_for_signatures(signed):
    registry, _, _ = signed
    registry.register("income", make_package("other"), at=AT)
    refused(registry, "income@2 is not to be trusted: it is not signed", version=2)
    assert Registry(registry.store, UNSIGNED).read("income", 2).package == make_package("other")
    assert [one.version for one in registry.versions("income")] == [1, 2]


def test_a_reader_that_trusts_nobody_takes_nothing(signed):
    registry, _, _ = signed
    refused(trusting(registry), "which is not in signers.yaml")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"revoked": AT}, "was revoked by then"),
        ({"until": AT}, "outside of the time"),
        ({"start": AT + HOUR}, "outside of the time"),
    ],
)
def test_a_key_that_did_not_count_when_it_signed_signs_nothing(signed, changed, message):
    registry, _, signer = signed
    refused(trusting(registry, replace(signer, **changed)), message)


@pytest.mark.parametrize("changed", [{"revoked": AT + HOUR}, {"until": AT + HOUR}])
def test_what_a_key_signed_while_it_counted_stays_signed(signed, changed):
    registry, key, signer = signed
    assert trusting(registry, replace(signer, **changed)).read("income", 1).signed_by == (key.key_id,)


def test_a_key_that_nobody_lists_is_unknown(signed, tmp_path):
    registry, key, _ = signed
    _, other = make_key(tmp_path / "others", number=2)
    refused(trusting(registry, other), f"signed by key {key.key_id}, which is not in signers.yaml")


def test_a_key_of_another_owner_under_the_same_id_signs_nothing(signed, tmp_path):
    registry, _, signer = signed
    _, other = make_key(tmp_path / "others", number=2)
    refused(trusting(registry, replace(signer, public_key=other.public_key)), "is not one of key")


def test_a_signature_of_another_version_is_worth_nothing_here(signed):
    registry, key, _ = signed
    registry.register("income", make_package("other"), at=AT)
    registry.store.put_if_absent(signature_at(key, 2), registry.store.get(signature_at(key, 1)))
    refused(registry, "is not one of key", version=2)


def test_a_signature_of_another_model_is_worth_nothing_here(signed):
    registry, key, _ = signed
    registry.register("delay", make_package(), at=AT)
    registry.store.put_if_absent(signature_at(key, model="delay"), registry.store.get(signature_at(key)))
    refused(registry, "is not one of key", model="delay")


def test_a_whole_folder_under_another_name_is_refused(signed):
    registry, _, _ = signed
    for key in registry.store.list("income"):
        registry.store.put_if_absent(key.replace("income/", "delay/"), registry.store.get(key))
    refused(registry, "is not one of key", model="delay")
    with pytest.raises(Integrity, match="the folder was moved"):
        Registry(registry.store).read("delay", 1)


def test_a_manifest_that_was_made_anew_has_no_signature_whoever_signed_the_old_one(signed):
    """Who may write the folder, and has no key, can make a version that is whole, but not one that is signed."""
    registry, _, _ = signed
    forged = Registry(MemoryStore())
    forged.register("income", make_package("forged"), at=AT)
    for name in ("program.json", "model.json", "metrics.json", "card.md", "manifest.json"):
        replace_bytes(registry.store, f"income/versions/1/{name}", forged.store.get(f"income/versions/1/{name}"))
    assert Registry(registry.store).read("income", 1).package == make_package("forged")
    refused(registry, "is not one of key")


def edit(name: str, value: object) -> Callable[[dict[str, object]], bytes]:
    return lambda record: canonical_bytes({**record, name: value})


@pytest.mark.parametrize(
    "change",
    [
        edit("signed_at", "2026-01-30T12:00:00.000000Z"),
        edit("signed_at", "yesterday"),
        edit("context", "dataops/alias-move/1"),
        edit("manifest", "sha256:" + "0" * 64),
        edit("version", 2),
        edit("version", "1"),
        edit("key_id", "signer-20260131t120000000000z-0123456789ab"),
        edit("value", "AAAA"),
        edit("value", 5),
        lambda record: canonical_bytes({k: v for k, v in record.items() if k != "signed_at"}),
        lambda record: canonical_bytes(record) + b" ",
        lambda _: b"{}",
        lambda _: b"\x80\x04",
        lambda _: b"[" * 2000,
        lambda record: canonical_bytes({**record, "more": "x" * MAX_SIGNATURE_BYTES}),
    ],
)
def test_whatever_is_done_to_a_signature_it_is_no_signature_any_more(signed, change):
    registry, key, _ = signed
    record = json.loads(registry.store.get(signature_at(key)))
    replace_bytes(registry.store, signature_at(key), change(record))
    refused(registry, "is not one of key")


def test_one_good_signature_is_enough_whatever_lies_beside_it(signed, keys):
    registry, key, signer = signed
    newer, other = make_key(keys, AT + HOUR, number=2)
    registry.store.put_if_absent(signature_at(newer), b"rubbish")
    registry.store.put_if_absent(
        signature_at(replace(key, key_id=other.id.replace("signer-2026", "signer-2025"))), b"x"
    )
    both = trusting(registry, signer, other)
    assert both.read("income", 1).signed_by == (key.key_id,)
    judged = {one.key_id: one.worth for one in both.judge("income", 1, (signer, other))}
    assert judged[key.key_id] is Worth.GOOD
    assert judged[newer.key_id] is Worth.BAD
    assert sorted(judged.values()) == [Worth.BAD, Worth.GOOD, Worth.UNKNOWN]


@pytest.mark.parametrize("name", ["signatures/evil.pkl", "signatures/signer-1.json", "signatures/a/b.json"])
def test_only_signatures_lie_among_signatures(signed, name):
    registry, _, _ = signed
    registry.store.put_if_absent(f"income/versions/1/{name}", b"x")
    with pytest.raises(Integrity, match="which the manifest doesn't list"):
        registry.read("income", 1)


def test_signing_again_heals_what_a_revoked_key_left(signed, keys):
    registry, _, signer = signed
    newer, other = make_key(keys, AT + HOUR, number=2)
    after = trusting(registry, replace(signer, revoked=AT), other)
    refused(after, "was revoked by then")
    after.sign("income", 1, newer, at=AT + HOUR)
    assert after.read("income", 1).signed_by == (newer.key_id,)
    after.sign("income", 1, newer, at=AT + 2 * HOUR)
    assert len(registry.store.list("income/versions/1/signatures")) == 2


def test_nothing_is_signed_that_is_not_whole(signed, keys):
    registry, _, signer = signed
    newer, other = make_key(keys, AT + HOUR, number=2)
    replace_bytes(registry.store, "income/versions/1/model.json", MODEL.replace(b"0.5", b"0.6"))
    with pytest.raises(Integrity, match="another SHA-256"):
        trusting(registry, signer, other).sign("income", 1, newer, at=AT + HOUR)
    assert signature_at(newer) not in registry.store.list("income")


def test_a_version_that_was_exchanged_since_it_was_looked_at_is_not_signed(signed, keys):
    registry, _, signer = signed
    newer, other = make_key(keys, AT + HOUR, number=2)
    options = {"at": AT + HOUR, "version_digest": "sha256:" + "0" * 64}
    with pytest.raises(Integrity, match=r"income@1 was exchanged since it was looked at; nothing was signed"):
        trusting(registry, signer, other).sign("income", 1, newer, **options)
    assert signature_at(newer) not in registry.store.list("income")


def test_a_place_that_somebody_took_before_is_named(signed, keys):
    registry, _, signer = signed
    newer, other = make_key(keys, AT + HOUR, number=2)
    registry.store.put_if_absent(signature_at(newer), b"rubbish")
    with pytest.raises(Integrity, match="delete it and sign again"):
        trusting(registry, signer, other).sign("income", 1, newer, at=AT + HOUR)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"revoked": AT}, "revoked"), ({"until": AT}, "outside of the time"), (None, "not in signers.yaml")],
)
def test_a_key_whose_signature_nobody_would_take_signs_nothing(keys, changed, message):
    key, signer = make_key(keys)
    signers = () if changed is None else (replace(signer, **changed),)
    registry = Registry(MemoryStore(), Trust(signers=signers))
    with pytest.raises(Integrity, match=message):
        registry.register("income", make_package(), at=AT, key=key)
    assert registry.store.list("") == []


def test_registering_again_with_the_same_key_changes_nothing(signed):
    registry, key, _ = signed
    before = {name: registry.store.get(name) for name in registry.store.list("")}
    registry.register("income", make_package(), at=AT + HOUR, key=key)
    assert {name: registry.store.get(name) for name in registry.store.list("")} == before


def test_a_crash_between_signature_and_manifest_is_finished_under_a_rotated_key(keys):
    """The old key signed and died before the version existed; the new one, made later, registers the same again."""
    key, signer = make_key(keys)
    newer, other = make_key(keys, AT + HOUR, number=2)
    store = MemoryStore()

    class Dying(FaultyStore):
        def _create(self, key: str, data: bytes) -> bool:
            if key.endswith("manifest.json"):
                raise Crash
            return super()._create(key, data)

    with pytest.raises(Crash):
        Registry(Dying(store, 0)).register("income", make_package(), at=AT, key=key)
    assert signature_at(key) in store.list("")
    after = Registry(store, Trust(signers=(replace(signer, until=AT + HOUR), other)))
    assert after.versions("income") == []
    made = after.register("income", make_package(), at=AT + 2 * HOUR, key=newer)
    assert (made.version, made.registered_at) == (1, AT)
    assert after.read("income", 1).signed_by == (key.key_id, newer.key_id)
    only_new = Registry(store, Trust(signers=(replace(signer, revoked=AT), other)))
    assert only_new.read("income", 1).signed_by == (newer.key_id,)


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_operation_of_a_signed_registration_never_leaves_a_version_that_nobody_signed(keys, mode: Mode):
    key, signer = make_key(keys)
    trust = Trust(signers=(signer,))

    def attempt(fail_at: int) -> bool:
        store = MemoryStore()
        dying = FaultyStore(store, fail_at, mode)
        with suppress(Crash):
            Registry(dying, trust).register("income", make_package(), at=AT, key=key)
        registry = Registry(store, trust)
        assert all(registry.read("income", number).signed_by for number in registry.numbers("income"))
        made = registry.register("income", make_package(), at=AT + HOUR, key=key)
        assert registry.numbers("income") == [made.version]
        assert registry.read("income", made.version).signed_by == (key.key_id,)
        return dying.fault.operations >= fail_at

    crash_points(attempt, at_least=9)


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_while_signing_leaves_a_signature_or_none(keys, mode: Mode):
    key, signer = make_key(keys)
    trust = Trust(signers=(signer,))

    def attempt(fail_at: int) -> bool:
        store = MemoryStore()
        Registry(store).register("income", make_package(), at=AT)
        dying = FaultyStore(store, fail_at, mode)
        with suppress(Crash):
            Registry(dying, trust).sign("income", 1, key, at=AT)
        registry = Registry(store, trust)
        with suppress(Integrity):
            assert registry.read("income", 1).signed_by == (key.key_id,)
        registry.sign("income", 1, key, at=AT + HOUR)
        assert registry.read("income", 1).signed_by == (key.key_id,)
        return dying.fault.operations >= fail_at

    crash_points(attempt, at_least=4)


def test_a_format_that_the_reader_does_not_take_is_refused_unread(signed):
    registry, _, signer = signed
    picky = Registry(registry.store, Trust(signers=(signer,), formats=frozenset({"xgboost-ubj/1"})))
    registry.store.delete("income/versions/1/model.json")
    for look in (picky.find, picky.read):
        with pytest.raises(Format, match=r"linear-json/1, which its reader doesn't take"):
            look("income", 1)


def test_a_version_larger_than_the_reader_takes_is_refused_before_a_file_of_it_is_read(signed):
    registry, _, signer = signed
    read: list[str] = []

    class Noting(MemoryStore):
        def get(self, key: str) -> bytes:
            read.append(key)
            return super().get(key)

    small = Registry(
        Noting(registry.store.url.removeprefix("memory://")), Trust(signers=(signer,), max_model_bytes=100)
    )
    with pytest.raises(Integrity, match="their reader takes at most 100"):
        small.read("income", 1)
    assert all(key.endswith("manifest.json") or "/signatures/" in key for key in read)


def test_a_file_that_grew_is_not_read_beyond_what_its_manifest_says(signed, tmp_path):
    registry, _, signer = signed
    store = PosixStore(tmp_path / "registry")
    for name in registry.store.list(""):
        store.put_if_absent(name, registry.store.get(name))
    with (tmp_path / "registry/income/versions/1/model.json").open("r+b") as file:
        file.truncate(1 << 40)  # a sparse file: reading it whole would fill the memory
    with pytest.raises(Integrity, match=rf"model\.json has more than the {len(MODEL)} bytes"):
        Registry(store, Trust(signers=(signer,))).read("income", 1)


@pytest.mark.parametrize("name", ["manifest.json", "model.json", "extra.bin", "signatures"])
def test_a_symbolic_link_in_a_version_is_never_followed(signed, tmp_path, name):
    registry, _, signer = signed
    store = PosixStore(tmp_path / "registry")
    for key in registry.store.list(""):
        store.put_if_absent(key, registry.store.get(key))
    folder = tmp_path / "registry/income/versions/1"
    if (folder / name).exists():
        (folder / name).rename(tmp_path / "elsewhere")
    else:
        (tmp_path / "elsewhere").write_bytes(b"x")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises((Integrity, InvalidInput)):
        Registry(store, Trust(signers=(signer,))).read("income", 1)


def test_trust_is_read_from_a_file_and_a_missing_one_is_no_leave_to_take_anything(tmp_path, signed):
    from dataops.declarations.signers import add_signer

    registry, key, signer = signed
    with pytest.raises(NotFound):
        read_trust(tmp_path / "signers.yaml")
    add_signer(tmp_path, signer)
    assert read_trust(tmp_path / "signers.yaml") == Trust(signers=(signer,))
    assert Registry(registry.store, read_trust(tmp_path / "signers.yaml")).read("income", 1).signed_by == (key.key_id,)


def test_a_trust_that_makes_no_sense_is_refused():
    with pytest.raises(InvalidInput, match="no loader here reads"):
        Trust(signers=None, formats=frozenset({"pickle/1"}))
    with pytest.raises(InvalidInput, match="positive number"):
        Trust(signers=None, max_model_bytes=0)


def test_signing_again_does_not_say_done_where_an_older_signature_of_the_key_does_not_count(keys):
    key, signer = make_key(keys)
    registry = Registry(MemoryStore(), Trust(signers=(signer,)))
    Registry(registry.store).register("income", make_package(), at=AT - HOUR, key=key)  # a clock that is late
    refused(registry, "outside of the time")
    with pytest.raises(Integrity, match="delete it and sign again"):
        registry.sign("income", 1, key, at=AT)
    registry.store.delete(signature_at(key))
    registry.sign("income", 1, key, at=AT)
    assert registry.read("income", 1).signed_by == (key.key_id,)
