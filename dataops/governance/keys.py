"""Keys: secret files that pseudonyms are made with, read by the worker itself.

1. A key is one file ``<key id>.json`` (a record ``dataops/key/1``, mode 0600) in a folder of mode 0700 whose owner runs
   the workers. A file or folder that anybody else may open is refused, not used.
2. A key id is the time it was made and a check value of the secret, so a swapped or damaged file is found before it
   is used.
3. The key made last is the current one. Older ones stay: what they made can still be joined. A new key breaks joins on
   purpose.
4. No secret is used as it is: `derive_key` gives another key for every domain and purpose, so that pseudonyms made
   for training say nothing about those made for scoring.
5. A secret never leaves its file but as bytes in the process that uses it: no record, message, spec or task holds it.
   Records name the key id.
"""

from __future__ import annotations

import hmac
import re
from datetime import datetime
from pathlib import Path

from dataops.errors import Format, Integrity, InvalidInput, NotFound
from dataops.governance.key_files import (
    key_id_at,
    list_key_ids,
    make_folder,
    read_private,
    require_later,
    require_private_folder,
    write_once,
)
from dataops.records import decode_record, encode_record, format_time

SECRET_BYTES = 32  # as long as the output of SHA-256: a shorter one would be the weakest part
MAX_SECRET_BYTES = 1024
KEY_ID = re.compile(r"key-\d{8}t\d{12}z-[0-9a-f]{12}")


def create_key(folder: Path, *, at: datetime, secret: bytes) -> str:
    """The id of a new key file in `folder`, which from now on is the current key.

    Parameters
    ----------
    folder
        Made with mode 0700 where it doesn't exist.
    at
        Aware time of making; it orders the keys, so it must be later than the current key's.
    secret
        At least 32 random bytes.

    Raises
    ------
    InvalidInput : a short secret, or a folder that others may open.
    Conflict : a key that is later than `at` exists (a clock that went back would make a key that is never used).
    AlreadyExists : this key exists.
    """
    _require_secret(secret, "the new key")
    key_id = key_id_at("key", at, _check_value(secret))
    make_folder(folder)
    require_later(key_id, list_key_ids(folder, KEY_ID), folder)
    body = {"id": key_id, "created_at": format_time(at), "secret": secret.hex()}
    write_once(folder, key_id, encode_record("key", 1, body))
    return key_id


def current_key_id(folder: Path) -> str:
    """The id of the key made last.

    Raises
    ------
    NotFound : no folder, or no key in it.
    InvalidInput : others may open the folder.
    """
    require_private_folder(folder)
    key_ids = list_key_ids(folder, KEY_ID)
    if not key_ids:
        raise NotFound(f"no key in {folder}: make one with `dataops keys init`")
    return key_ids[-1]


def read_secret(folder: Path, key_id: str) -> bytes:
    """The secret of key `key_id`, checked against its id; for the process that masks, at the moment it masks.

    Raises
    ------
    InvalidInput : not a key id, or a file or folder that others may open.
    NotFound : no such key here.
    Integrity : the file holds no secret, a short one, or that of another key.
    """
    if not KEY_ID.fullmatch(key_id):
        raise InvalidInput("not a key id: expected the form key-<date>t<time>z-<12 hex digits>")
    require_private_folder(folder)
    secret = _secret_in(read_private(folder / f"{key_id}.json"), key_id)
    if not hmac.compare_digest(_check_value(secret), key_id.rpartition("-")[2]):
        raise Integrity(
            f"key file {key_id} does not hold the secret that its id was made for: bring it back from its backup"
        )
    return secret


def require_usable(folder: Path, key_id: str | None) -> None:
    """Nothing, if `read_secret` gives the key `key_id` or there is none; for who plans, so that no worker finds out."""
    if key_id is not None:
        read_secret(folder, key_id)


def derive_key(secret: bytes, *, domain: str, purpose: str) -> bytes:
    """The 32 byte key of one `domain` (what is pseudonymised: person, account) and one `purpose`.

    HKDF-Expand of RFC 5869 (section 2.3) with SHA-256; the extract step is skipped as its section 3.3 allows, since the
    secret is uniformly random. Both parts carry their length, so ``("ab", "c")`` and ``("a", "bc")`` differ.

    Raises
    ------
    InvalidInput : a short secret, an empty domain or purpose.
    """
    _require_secret(secret, "the key")
    if not domain or not purpose:
        raise InvalidInput("a pseudonym needs a domain and a purpose: one of them is empty")
    parts = [part.encode() for part in (domain, purpose)]
    info = b"dataops/pseudonym/1" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(secret, info + b"\x01", "sha256")


def _check_value(secret: bytes) -> str:
    """48 bits that name the secret and say nothing about it (keyed by the secret itself)."""
    return hmac.digest(secret, b"dataops/key/1/check", "sha256")[:6].hex()


def _require_secret(secret: bytes, what: str) -> None:
    if not SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise InvalidInput(
            f"{what} has {len(secret)} bytes of secret: at least {SECRET_BYTES} random bytes are expected"
        )
    if not any(secret):
        raise InvalidInput(f"{what} is {len(secret)} zero bytes, not a secret: random bytes are expected")


def _secret_in(data: bytes, key_id: str) -> bytes:
    try:
        record = decode_record(data, "key", 1)
        secret = bytes.fromhex(record["secret"])
        _require_secret(secret, f"key file {key_id}")
    except (Format, KeyError, TypeError, ValueError):
        # Not chained and without the parser's words: they could quote the file
        raise Integrity(f"key file {key_id} holds no usable secret: bring it back from its backup") from None
    return secret
