"""Ed25519 signatures: bound to a context, made by private files, worth what the list of signers says."""

from __future__ import annotations

import json
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import AlreadyExists, Conflict, Format, Integrity, InvalidInput, NotFound
from dataops.governance.key_files import made_at
from dataops.governance.keys import create_key, current_key_id
from dataops.governance.signing import (
    Signature,
    Signer,
    SigningKey,
    Worth,
    create_signing_key,
    current_signing_key,
    judge_signature,
    names_key,
    parse_signing_key,
    sign,
    verify,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
SECRET = bytes(range(1, 33))
# RFC 8032, section 7.1, test 1
RFC_SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def signer(folder: Path) -> Signer:
    return create_signing_key(folder, at=NOON, secret=SECRET, owner="ana")


def test_a_signature_is_that_of_its_signer(folder: Path, signer: Signer) -> None:
    signature = sign(folder, signer.id, b"payload", "test/1")
    assert verify(signature, b"payload", "test/1", [signer], LATER) == signer
    assert Signature.from_record(json.loads(json.dumps(signature.record()))) == signature


def test_the_public_key_is_ed25519s(folder: Path) -> None:
    assert create_signing_key(folder, at=NOON, secret=RFC_SECRET, owner="rfc").public_key == RFC_PUBLIC


def test_what_is_signed_says_its_context_and_how_long_each_part_is(folder: Path, signer: Signer) -> None:
    signature = sign(folder, signer.id, b"payload", "test/1")
    message = b"dataops/signature/1" + (6).to_bytes(8, "big") + b"test/1" + (7).to_bytes(8, "big") + b"payload"
    Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signature.value, message)


@given(
    payload=st.binary(max_size=20),
    other=st.binary(max_size=20),
    contexts=st.tuples(*[st.text(min_size=1, max_size=8)] * 2),
    flipped=st.integers(0, 511),
)
def test_only_the_very_payload_and_context_are_signed(
    tmp_path_factory: pytest.TempPathFactory, payload: bytes, other: bytes, contexts: tuple[str, str], flipped: int
) -> None:
    folder = tmp_path_factory.mktemp("k") / "keys"
    signer = create_signing_key(folder, at=NOON, secret=SECRET, owner="ana")
    context, second = contexts
    signature = sign(folder, signer.id, payload, context)

    def judge(signature: Signature, payload: bytes, context: str) -> Worth:
        return judge_signature(signature, payload, context=context, signers=[signer], at=LATER)

    assert judge(signature, payload, context) is Worth.GOOD
    assert (judge(signature, other, context) is Worth.GOOD) == (other == payload)
    renamed = Signature(key_id=signer.id, context=second, value=signature.value)
    assert (judge(renamed, payload, second) is Worth.GOOD) == (second == context)
    value = bytearray(signature.value)
    value[flipped // 8] ^= 1 << flipped % 8
    assert judge(Signature(key_id=signer.id, context=context, value=bytes(value)), payload, context) is Worth.BAD


def test_a_signature_for_one_use_is_none_for_another(folder: Path, signer: Signer) -> None:
    signature = sign(folder, signer.id, b"payload", "dataops/audit-checkpoint/1")
    with pytest.raises(Integrity, match="not one of key"):
        verify(signature, b"payload", "dataops/model-version/1", [signer], LATER)


@pytest.mark.parametrize(
    ("changed", "worth"),
    [
        ({}, Worth.GOOD),
        ({"start": LATER}, Worth.GOOD),
        ({"start": LATER + timedelta(seconds=1)}, Worth.OUT_OF_TERM),
        ({"until": LATER}, Worth.OUT_OF_TERM),
        ({"until": LATER + timedelta(seconds=1)}, Worth.GOOD),
        ({"revoked": LATER}, Worth.REVOKED),
        ({"revoked": LATER + timedelta(seconds=1)}, Worth.GOOD),
        ({"revoked": NOON, "until": NOON}, Worth.REVOKED),
        ({"id": "signer-20260131t120000000000z-0123456789ab"}, Worth.UNKNOWN),
        ({"public_key": RFC_PUBLIC}, Worth.BAD),
        ({"public_key": b"short"}, Worth.BAD),
    ],
)
def test_a_signature_is_worth_what_the_list_says(
    folder: Path, signer: Signer, changed: dict[str, object], worth: Worth
) -> None:
    signature = sign(folder, signer.id, b"payload", "test/1")
    listed = Signer(**{**{name: getattr(signer, name) for name in signer.__slots__}, **changed})  # type: ignore[arg-type]
    assert judge_signature(signature, b"payload", context="test/1", signers=[listed], at=LATER) is worth
    if worth is not Worth.GOOD:
        with pytest.raises(Integrity):
            verify(signature, b"payload", "test/1", [listed], LATER)


def test_a_key_that_comes_as_text_signs_as_its_file_does_and_is_never_shown(folder: Path, signer: Signer) -> None:
    text = (folder / f"{signer.id}.json").read_text()
    held = parse_signing_key(text)
    assert held.sign(b"payload", "test/1") == sign(folder, signer.id, b"payload", "test/1")
    assert SigningKey(folder=folder, key_id=signer.id).sign(b"p", "test/1") == held.sign(b"p", "test/1")
    secret = json.loads(text)["secret"]
    assert secret not in repr(held)
    for wrong in (
        "",
        "{}",
        text[:-3],
        text.replace(secret, "00" * 32),
        text.replace(signer.id, signer.id[:-12] + "0" * 12),
    ):
        with pytest.raises(InvalidInput, match="expected the content of a signing key") as caught:
            parse_signing_key(wrong)
        assert secret not in str(caught.value)


def test_nobody_listed_means_nobody_trusted(folder: Path, signer: Signer) -> None:
    signature = sign(folder, signer.id, b"payload", "test/1")
    with pytest.raises(Integrity, match=r"not in signers\.yaml"):
        verify(signature, b"payload", "test/1", [], LATER)


def test_the_id_says_when_and_names_the_public_key(folder: Path, signer: Signer) -> None:
    assert signer.id.startswith("signer-20260131t120000000000z-")
    assert made_at(signer.id) == NOON == signer.start
    assert names_key(signer.id, signer.public_key)
    assert not names_key(signer.id, RFC_PUBLIC)
    assert not names_key("signer-x", signer.public_key)


def test_both_kinds_of_keys_lie_in_one_folder(folder: Path, signer: Signer) -> None:
    pseudonyms = create_key(folder, at=NOON - timedelta(days=9), secret=b"k" * 32)
    assert current_key_id(folder) == pseudonyms
    assert current_signing_key(folder) == signer.id
    assert {path.stem for path in folder.iterdir()} == {pseudonyms, signer.id}


def test_only_the_owner_may_open_it(folder: Path, signer: Signer) -> None:
    path = folder / f"{signer.id}.json"
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    path.chmod(0o640)
    with pytest.raises(InvalidInput, match="chmod 600"):
        sign(folder, signer.id, b"payload", "test/1")
    path.chmod(0o600)
    folder.chmod(0o755)
    with pytest.raises(InvalidInput, match="chmod 700"):
        sign(folder, signer.id, b"payload", "test/1")
    with pytest.raises(InvalidInput, match="chmod 700"):
        current_signing_key(folder)
    with pytest.raises(InvalidInput, match="chmod 700"):
        create_signing_key(folder, at=LATER, secret=RFC_SECRET, owner="ana")


def test_rotation_makes_the_later_one_current_and_the_earlier_goes_on_verifying(folder: Path, signer: Signer) -> None:
    early = sign(folder, signer.id, b"payload", "test/1")
    second = create_signing_key(folder, at=LATER, secret=RFC_SECRET, owner="ana")
    assert current_signing_key(folder) == second.id
    assert verify(early, b"payload", "test/1", [signer, second], LATER) == signer
    with pytest.raises(AlreadyExists):
        create_signing_key(folder, at=LATER, secret=RFC_SECRET, owner="ana")
    with pytest.raises(Conflict, match="clock"):
        create_signing_key(folder, at=NOON - timedelta(days=1), secret=b"x" * 32, owner="ana")
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("secret", [b"", b"short", bytes(range(31)), bytes(32), bytes(range(64))])
def test_what_is_no_secret_makes_no_key(folder: Path, secret: bytes) -> None:
    with pytest.raises(InvalidInput, match="32 random bytes"):
        create_signing_key(folder, at=NOON, secret=secret, owner="ana")
    assert not folder.exists()


@pytest.mark.parametrize("key_id", ["", "../x", "signer-1", "key-20260131t120000000000z-0123456789ab"])
def test_what_is_no_id_of_a_signing_key_reaches_no_path(folder: Path, signer: Signer, key_id: str) -> None:
    with pytest.raises(InvalidInput, match="not the id"):
        sign(folder, key_id, b"payload", "test/1")


def test_without_a_key_the_way_out_is_named(folder: Path) -> None:
    with pytest.raises(NotFound, match="keys init"):
        current_signing_key(folder)
    folder.mkdir(mode=0o700)
    with pytest.raises(NotFound, match="keys init"):
        current_signing_key(folder)
    with pytest.raises(NotFound):
        sign(folder, "signer-20260131t120000000000z-0123456789ab", b"payload", "test/1")


def test_a_swapped_or_broken_file_signs_nothing_and_no_error_holds_the_secret(folder: Path, signer: Signer) -> None:
    second = create_signing_key(folder, at=LATER, secret=RFC_SECRET, owner="ana")
    path = folder / f"{signer.id}.json"
    stored = path.read_bytes()
    other = (folder / f"{second.id}.json").read_bytes()
    for content in (other, b"", b"{}", stored[:-9], stored + b"x", stored.replace(SECRET.hex().encode(), b"zz")):
        path.write_bytes(content)
        with pytest.raises(Integrity) as caught:
            sign(folder, signer.id, b"payload", "test/1")
        told = "".join(traceback.format_exception(caught.value)).encode() + pickle.dumps(caught.value)
        assert SECRET.hex().encode()[:16] not in told
        assert RFC_SECRET.hex().encode()[:16] not in told


def test_nothing_is_signed_without_saying_what_for(folder: Path, signer: Signer) -> None:
    with pytest.raises(InvalidInput, match="context"):
        sign(folder, signer.id, b"payload", "")


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"key_id": "x", "context": "y", "value": "zz!"},
        {"key_id": "x", "context": "y", "value": "AAAA"},
        {"key_id": "x", "context": "y", "value": None},
        {"key_id": "x", "context": "y", "value": "A" * 86 + "==", "more": 1},
    ],
)
def test_what_is_no_signature_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(Format):
        Signature.from_record(record)


def test_no_public_side_holds_the_secret(folder: Path, signer: Signer) -> None:
    signature = sign(folder, signer.id, b"payload", "test/1")
    told = repr(signer) + repr(signature) + json.dumps(signature.record())
    assert SECRET.hex()[:12] not in told
    assert repr(SECRET)[2:20] not in told
