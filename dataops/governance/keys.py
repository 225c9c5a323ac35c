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
import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

from dataops.errors import AlreadyExists, Conflict, Format, Integrity, InvalidInput, NotFound, Storage
from dataops.records import decode_record, encode_record, format_time, new_nonce
from dataops.storage.disk import sync_folder

SECRET_BYTES = 32  # as long as the output of SHA-256: a shorter one would be the weakest part
MAX_SECRET_BYTES = 1024
_KEY_ID = re.compile(r"key-\d{8}t\d{12}z-[0-9a-f]{12}")


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
    key_id = _key_id(at, secret)
    _make_folder(folder)
    existing = _key_ids(folder)
    if key_id in existing:
        raise AlreadyExists(f"key {key_id} exists in {folder}: nothing was written")
    if existing and existing[-1] > key_id:
        raise Conflict(
            f"the current key {existing[-1]} is later than {key_id}: check this machine's clock, then try again"
        )
    body = {"id": key_id, "created_at": format_time(at), "secret": secret.hex()}
    _write_once(folder, key_id, encode_record("key", 1, body))
    return key_id


def current_key_id(folder: Path) -> str:
    """The id of the key made last.

    Raises
    ------
    NotFound : no folder, or no key in it.
    InvalidInput : others may open the folder.
    """
    _require_private_folder(folder)
    key_ids = _key_ids(folder)
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
    if not _KEY_ID.fullmatch(key_id):
        raise InvalidInput("not a key id: expected the form key-<date>t<time>z-<12 hex digits>")
    _require_private_folder(folder)
    secret = _secret_in(_read_private(folder / f"{key_id}.json"), key_id)
    if not hmac.compare_digest(_check_value(secret), key_id.rpartition("-")[2]):
        raise Integrity(
            f"key file {key_id} does not hold the secret that its id was made for: bring it back from its backup"
        )
    return secret


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


def _key_id(at: datetime, secret: bytes) -> str:
    if at.tzinfo is None:
        raise InvalidInput("a key's time must have a zone")
    return f"key-{at.astimezone(UTC).strftime('%Y%m%dt%H%M%S%fz')}-{_check_value(secret)}"


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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Storage(f"key folder {folder} can't be made: {error.strerror}") from None
    _require_private_folder(folder)


def _require_private_folder(folder: Path) -> None:
    try:
        status = folder.stat()
    except FileNotFoundError:
        raise NotFound(f"no key folder {folder}: make one with `dataops keys init`") from None
    except OSError as error:
        raise Storage(f"key folder {folder} can't be read: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidInput(f"{folder} is no folder: settings must name the folder that holds the key files")
    _require_private(status, folder, 0o700)


def _require_private(status: os.stat_result, path: Path, mode: int) -> None:
    if status.st_mode & 0o077:
        raise InvalidInput(
            f"{path} may be opened by others (mode {stat.S_IMODE(status.st_mode):04o}): `chmod {mode:o} {path}`"
        )
    if status.st_uid not in {os.geteuid(), 0}:
        raise InvalidInput(
            f"{path} belongs to another user (uid {status.st_uid}): keys must belong to the user that runs the workers"
        )


def _read_private(path: Path) -> bytes:
    """The file's bytes, its mode checked on the open file (so nobody can swap it between check and read)."""
    try:
        with path.open("rb") as file:
            _require_private(os.fstat(file.fileno()), path, 0o600)
            return file.read(8 * MAX_SECRET_BYTES)
    except FileNotFoundError:
        raise NotFound(
            f"no key {path.stem} in {path.parent}: copy its file there, or make a new key with `dataops keys init`"
        ) from None
    except OSError as error:
        raise Storage(f"key file {path} can't be read: {error.strerror}") from None


def _key_ids(folder: Path) -> list[str]:
    """Ids of the keys in `folder`, oldest first: the ids sort by time."""
    return sorted(path.stem for path in folder.glob("key-*.json") if _KEY_ID.fullmatch(path.stem))


def _write_once(folder: Path, key_id: str, data: bytes) -> None:
    """A whole key file or none: written beside its place, linked into it, durable before this returns."""
    temporary = folder / f".{new_nonce()}.tmp"
    try:
        _write_private(temporary, data)
        (folder / f"{key_id}.json").hardlink_to(temporary)
        sync_folder(folder)
    except FileExistsError:
        raise AlreadyExists(f"key {key_id} exists in {folder}: nothing was written") from None
    except OSError as error:
        raise Storage(f"key {key_id} can't be written to {folder}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
