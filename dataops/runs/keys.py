"""The workspace's keys: made, listed, rotated. Pseudonym keys and signing keys lie in one folder, each of its kind.

Keys for submitting are their users' own (`submitting_keys`), and are only listed here.

1. `make_missing_keys` gives a workspace what it lacks; only `rotate_key` makes a key where there is one.
2. A new signing key is added to ``signers.yaml`` at once: signatures by a key that nobody lists prove nothing.
3. Older keys stay: what was signed goes on being verified, and what was made under an older pseudonym key can still be
   joined with what else was.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from dataops.declarations.catalog import read_principals
from dataops.declarations.signers import add_signer, read_signers
from dataops.errors import AlreadyExists, NotFound
from dataops.governance.audit import record_event
from dataops.governance.key_files import list_key_ids, made_at, require_private_folder
from dataops.governance.keys import KEY_ID, SECRET_BYTES, create_key
from dataops.governance.signing import SECRET_BYTES as SIGNING_BYTES
from dataops.governance.signing import SIGNER_ID, Signer, create_signing_key
from dataops.records import now_utc
from dataops.runs.submitting_keys import held_keys, submitting_folder
from dataops.runs.workspace import Workspace, os_user


class KeyKind(StrEnum):
    """What a key is for."""

    PSEUDONYM = "pseudonym"
    SIGNING = "signing"
    SUBMITTING = "submitting"


_IDS = {KeyKind.PSEUDONYM: KEY_ID, KeyKind.SIGNING: SIGNER_ID}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFact:
    """A key, as far as anybody may know it.

    Attributes
    ----------
    current : whether it is the one in use.
    trusted : of a signing key, what ``signers.yaml`` says of it, of one for submitting ``principals.yaml``; None for a
        pseudonym key.
    owner : of a key that is listed, whose it is.
    here : whether its file is in this workspace's folder, of one for submitting in this user's; another's may be listed
        only.
    """

    id: str
    kind: KeyKind
    since: datetime
    current: bool
    here: bool
    trusted: str | None = None
    owner: str | None = None


def make_missing_keys(workspace: Workspace) -> dict[KeyKind, str]:
    """The ids of the keys that were made, by kind: of each kind of which there was none.

    Raises
    ------
    AlreadyExists : there is a key of each kind.
    InvalidInput : the folder or ``signers.yaml`` is wrong.
    """
    folder = Path(workspace.settings.keys)
    missing = [kind for kind, ids in _IDS.items() if not list_key_ids(folder, ids)]
    if not missing:
        raise AlreadyExists(f"{folder} holds a key of each kind, and nothing was made; `dataops keys list` shows them")
    return {kind: _make(workspace, kind) for kind in missing}


def rotate_key(workspace: Workspace, kind: KeyKind) -> str:
    """The id of a new key of `kind`, which is used from the next run on.

    Raises
    ------
    NotFound : there is none of that kind yet.
    Conflict : this machine's clock went back.
    """
    folder = Path(workspace.settings.keys)
    require_private_folder(folder)
    if not list_key_ids(folder, _IDS[kind]):
        raise NotFound(f"no {kind} key in {folder} yet: `dataops keys init` makes one")
    key_id = _make(workspace, kind)
    record_event(workspace.audit, "key_rotated", principal=os_user(), kind=kind.value, key=key_id)
    return key_id


def list_keys(workspace: Workspace) -> list[KeyFact]:
    """The keys of the workspace, the signers that it trusts, and the keys for submitting, by kind and age."""
    folder = Path(workspace.settings.keys)
    signers = {one.id: one for one in read_signers(workspace.settings.workspace)}
    if folder.exists():
        require_private_folder(folder)
    facts = []
    for kind, pattern in _IDS.items():
        ids = list_key_ids(folder, pattern)
        listed = sorted({*ids, *signers}) if kind is KeyKind.SIGNING else ids
        facts += [_fact(key_id, kind, ids, signers.get(key_id)) for key_id in listed]
    path = workspace.settings.workspace / "principals.yaml"
    submitters = {one.id: one for one in (read_principals(path).submitters() if path.exists() else ())}
    held = held_keys(submitting_folder(os.environ))
    current = [one for one in held if one in submitters]
    known = sorted({*held, *submitters})
    return facts + [_fact(one, KeyKind.SUBMITTING, held, submitters.get(one), current[-1:]) for one in known]


def _make(workspace: Workspace, kind: KeyKind) -> str:
    folder = Path(workspace.settings.keys)
    if kind is KeyKind.PSEUDONYM:
        return create_key(folder, at=now_utc(), secret=secrets.token_bytes(SECRET_BYTES))
    read_signers(workspace.settings.workspace)  # a file that is wrong is told before a key is made
    made = create_signing_key(folder, at=now_utc(), secret=secrets.token_bytes(SIGNING_BYTES), owner=os_user())
    add_signer(workspace.settings.workspace, made)
    return made.id


def _fact(
    key_id: str, kind: KeyKind, ids: list[str], signer: Signer | None, current: list[str] | None = None
) -> KeyFact:
    return KeyFact(
        id=key_id,
        kind=kind,
        since=made_at(key_id),
        current=key_id in (ids[-1:] if current is None else current),
        here=key_id in ids,
        trusted=None if kind is KeyKind.PSEUDONYM else _trust(signer),
        owner=signer.owner if signer else None,
    )


def _trust(signer: Signer | None) -> str:
    if signer is None:
        return "not listed"
    if signer.revoked:
        return f"revoked {signer.revoked:%Y-%m-%d %H:%M}"
    return f"until {signer.until:%Y-%m-%d %H:%M}" if signer.until else "yes"
