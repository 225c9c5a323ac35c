"""Key files: small secret files that only the user who runs the workers may open, whatever kind of key they hold.

1. A key is one file ``<key id>.json`` of mode 0600 in a folder of mode 0700. A file or folder that anybody else may
   open is refused, not used.
2. A key id says when the key was made, so the ids of a kind sort by time and the last is the current one.
3. A key file is there whole or not at all, and never overwritten.
4. No message quotes a key file.
"""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

from dataops.errors import AlreadyExists, Conflict, InvalidInput, NotFound, Storage
from dataops.records import new_nonce
from dataops.storage.disk import sync_folder

MAX_FILE_BYTES = 8192


def make_folder(folder: Path) -> None:
    """The key folder exists, with mode 0700.

    Raises
    ------
    InvalidInput : it exists, and others may open it.
    Storage : it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Storage(f"key folder {folder} can't be made: {error.strerror}") from None
    require_private_folder(folder)


def require_private_folder(folder: Path) -> None:
    """Nothing, if nobody but its owner, who runs this process, may open the key folder.

    Raises
    ------
    NotFound : there is none.
    InvalidInput : others may open it, or it is another user's.
    """
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


def read_private(path: Path) -> bytes:
    """The file's bytes, its mode checked on the open file (so nobody can swap it between check and read).

    Raises
    ------
    NotFound : no such file.
    InvalidInput : others may open it, or it is another user's.
    Storage : the disk failed.
    """
    try:
        with path.open("rb") as file:
            _require_private(os.fstat(file.fileno()), path, 0o600)
            return file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        raise NotFound(
            f"no key {path.stem} in {path.parent}: copy its file there, or make a new key with `dataops keys init`"
        ) from None
    except OSError as error:
        raise Storage(f"key file {path} can't be read: {error.strerror}") from None


def list_key_ids(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    """Ids of the keys in `folder` that match `pattern`, oldest first: the ids sort by time."""
    return sorted(path.stem for path in folder.glob("*.json") if pattern.fullmatch(path.stem))


def require_later(key_id: str, existing: list[str], folder: Path) -> None:
    """Nothing, if a key of this id may be made beside those that exist.

    Raises
    ------
    Conflict : a later key exists (a clock that went back would make a key that is never used).
    AlreadyExists : this key exists.
    """
    if key_id in existing:
        raise AlreadyExists(f"key {key_id} exists in {folder}: nothing was written")
    if existing and existing[-1] > key_id:
        raise Conflict(
            f"the current key {existing[-1]} is later than {key_id}: check this machine's clock, then try again"
        )


def key_id_at(kind: str, at: datetime, check: str) -> str:
    """``<kind>-<date>t<time>z-<check>``: what names a key; `check` are 12 hex digits that show a swapped file.

    Raises
    ------
    InvalidInput : a time without a zone.
    """
    if at.tzinfo is None:
        raise InvalidInput("a key's time must have a zone")
    return f"{kind}-{at.astimezone(UTC).strftime('%Y%m%dt%H%M%S%fz')}-{check}"


def made_at(key_id: str) -> datetime:
    """When the key of this id was made."""
    return datetime.strptime(key_id.split("-")[1], "%Y%m%dt%H%M%S%fz").replace(tzinfo=UTC)


def write_once(folder: Path, key_id: str, data: bytes) -> None:
    """A whole key file or none: written beside its place, linked into it, durable before this returns.

    Raises
    ------
    AlreadyExists : there is a file of this key.
    Storage : the disk failed.
    """
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
