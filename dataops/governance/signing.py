"""Signatures: Ed25519 keys in private files, and the signers whose public keys a workspace trusts.

1. A signing key is a file beside the pseudonym keys, under the same rules (`key_files`). Its id is the time it was made
   and the beginning of its public key's digest, so a swapped or damaged file is found before it signs.
2. A *signer* is a public key that somebody trusts, with an owner and a term. Who may write the list decides whom to
   trust: a public key that comes along with a signature proves nothing, so none does.
3. What is signed is the payload together with a *context*, which says what the signature is for. One made for a
   checkpoint of the audit is worth nothing as one of a model version.
4. A signature is judged at the time that it says it was made at. Whoever holds a key can write an earlier time: revoke
   a lost key from the moment it may have been lost at.
5. Old keys go on verifying; the one made last signs.
6. The library is loaded by who signs or verifies: whoever only knows what a signer is, as workers do, needs none of it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dataops.errors import Format, Integrity, InvalidInput, NotFound
from dataops.governance.key_files import (
    key_id_at,
    list_key_ids,
    made_at,
    make_folder,
    read_private,
    require_later,
    require_private_folder,
    write_once,
)
from dataops.records import Record, decode_record, digest_bytes, encode_record, format_time

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SECRET_BYTES = 32  # RFC 8032, section 5.1.5
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
SIGNER_ID = re.compile(r"signer-\d{8}t\d{12}z-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature: by which key, for what, and its 64 bytes."""

    key_id: str
    context: str
    value: bytes

    def record(self) -> Record:
        """The signature as JSON."""
        return {"key_id": self.key_id, "context": self.context, "value": base64.b64encode(self.value).decode()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The signature that `record` holds.

        Raises
        ------
        Format : not the record of a signature.
        """
        try:
            key_id, context, value = (record[name] for name in ("key_id", "context", "value"))
            signature = cls(key_id=str(key_id), context=str(context), value=base64.b64decode(value, validate=True))
        except (KeyError, TypeError, ValueError) as error:
            raise Format(f"not the record of a signature: {type(error).__name__}") from None
        if len(record) != len(cls.__slots__) or len(signature.value) != SIGNATURE_BYTES:
            raise Format(f"not the record of a signature: expected key_id, context and {SIGNATURE_BYTES} bytes")
        return signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A public key that is trusted: whose it is, from when, until when (excluded), and since when no more."""

    id: str
    public_key: bytes
    owner: str
    start: datetime
    until: datetime | None = None
    revoked: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key that this process may sign with.

    Attributes
    ----------
    key_id : its id.
    folder : where its file lies, which is read for each signature; None for a key that has no file here.
    content : what its file would hold, of a key that has none; never shown.
    """

    key_id: str
    folder: Path | None = None
    content: bytes | None = field(default=None, repr=False)

    def sign(self, payload: bytes, context: str) -> Signature:
        """The signature of `payload` for `context`; raises as `sign`."""
        if self.folder is not None:
            return sign(self.folder, self.key_id, payload, context)
        key = _key_in(self.content or b"", self.key_id)
        return Signature(key_id=self.key_id, context=context, value=key.sign(_message(payload, context)))


class Worth(StrEnum):
    """What a signature is worth."""

    GOOD = "good"
    MISSING = "unsigned"
    BAD = "bad_signature"
    UNKNOWN = "unknown_signer"
    REVOKED = "revoked_signer"
    OUT_OF_TERM = "signer_out_of_term"


def create_signing_key(folder: Path, *, at: datetime, secret: bytes, owner: str) -> Signer:
    """The public side of a new signing key in `folder`, which from now on is the current one.

    Parameters
    ----------
    folder
        Made with mode 0700 where it doesn't exist.
    at
        Aware time of making, later than that of the current signing key.
    secret
        32 random bytes.

    Raises
    ------
    InvalidInput : a secret of another length, or a folder that others may open.
    Conflict, AlreadyExists : as `require_later`.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if len(secret) != SECRET_BYTES or not any(secret):
        raise InvalidInput(f"a signing key has {SECRET_BYTES} random bytes of secret, not {len(secret)} or zeros")
    public_key = Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    key_id = key_id_at("signer", at, _check_value(public_key))
    make_folder(folder)
    require_later(key_id, list_key_ids(folder, SIGNER_ID), folder)
    body = {"id": key_id, "created_at": format_time(at), "public_key": encode_key(public_key), "secret": secret.hex()}
    write_once(folder, key_id, encode_record("signing-key", 1, body))
    return Signer(id=key_id, public_key=public_key, owner=owner, start=made_at(key_id))


def current_signing_key(folder: Path) -> str:
    """The id of the signing key made last.

    Raises
    ------
    NotFound : no folder, or no signing key in it.
    InvalidInput : others may open the folder.
    """
    require_private_folder(folder)
    if key_ids := list_key_ids(folder, SIGNER_ID):
        return key_ids[-1]
    raise NotFound(f"no signing key in {folder}: make one with `dataops keys init`")


def parse_signing_key(text: str) -> SigningKey:
    """The key of which `text` is the file's content: for machines that get their secrets from outside.

    Raises
    ------
    InvalidInput : it holds no signing key; nothing of it is quoted.
    """
    try:
        record = decode_record(text.encode(), "signing-key", 1)
        key = SigningKey(key_id=str(record.get("id")), content=text.encode())
        _key_in(key.content or b"", key.key_id)
    except (Format, Integrity):
        raise InvalidInput("expected the content of a signing key's file, as `dataops keys init` makes it") from None
    return key


def sign(folder: Path, key_id: str, payload: bytes, context: str) -> Signature:
    """The signature of `payload` for `context`, by the key of that id.

    Raises
    ------
    InvalidInput : not the id of a signing key, no context, or a file or folder that others may open.
    NotFound : no such key here.
    Integrity : the file holds no key, or another one.
    """
    if not SIGNER_ID.fullmatch(key_id):
        raise InvalidInput("not the id of a signing key: expected signer-<date>t<time>z-<12 hex digits>")
    require_private_folder(folder)
    key = _key_in(read_private(folder / f"{key_id}.json"), key_id)
    return Signature(key_id=key_id, context=context, value=key.sign(_message(payload, context)))


def read_public_key(folder: Path, key_id: str) -> bytes:
    """The public side of the key of that id; raises as `sign`."""
    if not SIGNER_ID.fullmatch(key_id):
        raise InvalidInput("not the id of a signing key: expected signer-<date>t<time>z-<12 hex digits>")
    require_private_folder(folder)
    return _key_in(read_private(folder / f"{key_id}.json"), key_id).public_key().public_bytes_raw()


def judge_signature(
    signature: Signature, payload: bytes, *, context: str, signers: Iterable[Signer], at: datetime
) -> Worth:
    """What `signature` is worth for `payload` in `context`, made at the time `at`, to who trusts `signers`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signer = next((one for one in signers if one.id == signature.key_id), None)
    if signer is None:
        return Worth.UNKNOWN
    try:
        if signature.context != context:
            return Worth.BAD
        Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signature.value, _message(payload, context))
    except (InvalidSignature, ValueError):
        return Worth.BAD
    return judge_term(signer, at)


def judge_term(signer: Signer | None, at: datetime) -> Worth:
    """What a signature that `signer` really made at the time `at` is worth; None is a key that nobody lists."""
    if signer is None:
        return Worth.UNKNOWN
    if signer.revoked is not None and at >= signer.revoked:
        return Worth.REVOKED
    within = signer.start <= at and (signer.until is None or at < signer.until)
    return Worth.GOOD if within else Worth.OUT_OF_TERM


def verify(signature: Signature, payload: bytes, context: str, signers: Iterable[Signer], at: datetime) -> Signer:
    """The signer who signed `payload` for `context` at the time `at`.

    Raises
    ------
    Integrity : the signature isn't one of a trusted key, or not of this payload; the message says which.
    """
    known = {one.id: one for one in signers}
    worth = judge_signature(signature, payload, context=context, signers=known.values(), at=at)
    if worth is not Worth.GOOD:
        raise Integrity(explain_worth(worth, signature.key_id))
    return known[signature.key_id]


def explain_worth(worth: Worth, key_id: str) -> str:
    """What a signature by the key of that id is worth, in words."""
    key = key_id if SIGNER_ID.fullmatch(key_id) else "of an id that no key has"
    return {
        Worth.GOOD: f"signed by key {key}",
        Worth.MISSING: "it is not signed",
        Worth.BAD: f"its signature is not one of key {key} over these bytes",
        Worth.UNKNOWN: f"it is signed by key {key}, which is not in signers.yaml",
        Worth.REVOKED: f"it is signed by key {key}, which was revoked by then",
        Worth.OUT_OF_TERM: f"it is signed by key {key} outside of the time that signers.yaml trusts it for",
    }[worth]


def encode_key(public_key: bytes) -> str:
    """A public key as people write it: base64."""
    return base64.b64encode(public_key).decode()


def decode_key(text: str) -> bytes:
    """The public key that `encode_key` wrote.

    Raises
    ------
    InvalidInput : not base64 of 32 bytes.
    """
    try:
        public_key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        public_key = b""
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise InvalidInput(f"expected a public key: base64 of {PUBLIC_KEY_BYTES} bytes")
    return public_key


def names_key(key_id: str, public_key: bytes) -> bool:
    """Whether `key_id` is the id of a signing key with this public side."""
    return bool(SIGNER_ID.fullmatch(key_id)) and key_id.rpartition("-")[2] == _check_value(public_key)


def _message(payload: bytes, context: str) -> bytes:
    """What Ed25519 signs; context and payload carry their length, so no context runs over into a payload."""
    if not context:
        raise InvalidInput("a signature needs a context: what it is for")
    parts = [context.encode(), payload]
    return b"dataops/signature/1" + b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def _check_value(public_key: bytes) -> str:
    return digest_bytes(public_key).removeprefix("sha256:")[:12]


def _key_in(data: bytes, key_id: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(decode_record(data, "signing-key", 1)["secret"]))
    except (Format, KeyError, TypeError, ValueError):
        # Not chained and without the parser's words: they could quote the file
        raise Integrity(f"key file {key_id} holds no usable signing key: bring it back from its backup") from None
    if not names_key(key_id, key.public_key().public_bytes_raw()):
        raise Integrity(
            f"key file {key_id} does not hold the key that its id was made for: bring it back from its backup"
        )
    return key
