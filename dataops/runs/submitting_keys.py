"""Keys for submitting: what a person signs requests with, on a machine of their own.

1. The files lie in the person's own folder, not in the workspace: who submits has no need of the workspace's keys, and
   the workspace none of theirs.
2. The file never leaves that folder. What a workspace needs to know is the public line, which its steward puts into
   ``principals.yaml``.
3. Of several keys here the newest one signs that the workspace lists: a new one takes over once it stands there.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dataops.errors import AccessDenied, NotFound
from dataops.governance.key_files import list_key_ids, require_private_folder
from dataops.governance.signing import (
    SECRET_BYTES,
    SIGNER_ID,
    Signer,
    SigningKey,
    create_signing_key,
    encode_key,
    read_public_key,
)
from dataops.records import now_utc
from dataops.runs.workspace import os_user
from dataops.settings import SUBMITTING_VARIABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicLine:
    """The public side of a key: its id, base64 of its 32 bytes, and where its file lies."""

    id: str
    public_key: str
    folder: Path

    def text(self) -> str:
        """What stands below a user's ``keys:`` in ``principals.yaml``."""
        return f"- {{id: {self.id}, public_key: {self.public_key}}}"


def submitting_folder(environ: Mapping[str, str]) -> Path:
    """Where a person's keys for submitting lie: ``DATAOPS_SUBMITTING_KEYS``, else in the user's folder of settings."""
    if chosen := environ.get(SUBMITTING_VARIABLE):
        return Path(chosen).expanduser().absolute()
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "dataops" / "submitting"


def make_key(folder: Path) -> PublicLine:
    """The public line of a new key in `folder`; those that are there stay.

    Raises
    ------
    InvalidInput : others may open the folder.
    Conflict : this machine's clock went back.
    """
    made = create_signing_key(folder, at=now_utc(), secret=secrets.token_bytes(SECRET_BYTES), owner=os_user())
    return PublicLine(id=made.id, public_key=encode_key(made.public_key), folder=folder)


def held_keys(folder: Path) -> list[str]:
    """The ids of the keys in `folder`, oldest first; none where there is no folder.

    Raises
    ------
    InvalidInput : others may open the folder.
    """
    try:
        require_private_folder(folder)
    except NotFound:
        return []
    return list_key_ids(folder, SIGNER_ID)


def public_line(folder: Path, key_id: str) -> PublicLine:
    """The public line of the key of that id.

    Raises
    ------
    NotFound, Integrity, InvalidInput : as a signature by it would.
    """
    return PublicLine(id=key_id, public_key=encode_key(read_public_key(folder, key_id)), folder=folder)


def find_key(submitters: Iterable[Signer], environ: Mapping[str, str] | None = None) -> tuple[SigningKey, str]:
    """The key that signs what is submitted from here, and the user whose it is by ``principals.yaml``.

    Parameters
    ----------
    submitters : the keys that ``principals.yaml`` lists.

    Raises
    ------
    NotFound : there is no key here.
    AccessDenied : the workspace lists none of those that are here.
    """
    folder = submitting_folder(os.environ if environ is None else environ)
    held = held_keys(folder)
    if not held:
        raise NotFound(
            f"there is no key for submitting in {folder}: `dataops keys submitting` makes one, and shows the line of "
            "it that principals.yaml needs"
        )
    listed = {one.id: one.owner for one in submitters}
    for key_id in reversed(held):
        if key_id in listed:
            return SigningKey(key_id=key_id, folder=folder), listed[key_id]
    raise AccessDenied(
        f"principals.yaml lists no key of {folder}, so nobody would know who signed: `dataops keys submitting` shows "
        "the line that whoever keeps it adds"
    )
