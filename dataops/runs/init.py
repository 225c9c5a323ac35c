"""A new workspace: what it takes to run a job, with nobody allowed anything yet."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from dataops.declarations.signers import add_signer
from dataops.declarations.templates import template_folder
from dataops.errors import AlreadyExists, InvalidInput
from dataops.governance.keys import SECRET_BYTES, create_key
from dataops.governance.signing import SECRET_BYTES as SIGNING_BYTES
from dataops.governance.signing import create_signing_key
from dataops.records import now_utc
from dataops.runs.workspace import os_user

ROLES = ("data_science", "operations")
FOLDERS = ("catalog", "contracts", "policies/tests", "jobs", "schedules")

SETTINGS = """\
# Where this workspace keeps what. Relative paths are relative to this folder.
storage: storage      # datasets, runs, quarantine, audit
registry: registry    # model versions: share this folder with applications
keys: keys            # key files: for the workers' user only
anchors: anchors      # copies of the audit's signed checkpoints: better on another disk
cluster: cluster/local.yaml
"""

PRINCIPALS = """\
# Users of the operating system, and their roles. Policies speak of roles.
principals:
  {user}: {{roles: [{roles}]}}
"""

IGNORED = "storage/\nregistry/\nkeys/\nanchors/\nclusters/\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWorkspace:
    """What `init_workspace` made."""

    folder: Path
    principal: str
    roles: tuple[str, ...]
    key_id: str
    signer_id: str


def init_workspace(folder: Path) -> NewWorkspace:
    """A workspace in `folder`, which may exist; nothing in it is overwritten.

    Raises
    ------
    AlreadyExists : it is a workspace already.
    InvalidInput : it is a file.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is a file; a workspace is a folder")
    if (folder / "dataops.yaml").exists():
        raise AlreadyExists(f"{folder} is a workspace already")
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    user = os_user()
    _write_if_absent(
        folder / "principals.yaml", PRINCIPALS.format(user=json.dumps(user, ensure_ascii=False), roles=", ".join(ROLES))
    )
    _write_if_absent(folder / ".gitignore", IGNORED)
    if not (folder / "cluster").exists():
        shutil.copytree(template_folder() / "cluster", folder / "cluster")
    key_id = create_key(folder / "keys", at=now_utc(), secret=secrets.token_bytes(SECRET_BYTES))
    signing_key = create_signing_key(
        folder / "keys", at=now_utc(), secret=secrets.token_bytes(SIGNING_BYTES), owner=user
    )
    add_signer(folder, signing_key)
    # last: a folder with settings is a whole workspace
    _write_if_absent(folder / "dataops.yaml", SETTINGS)
    return NewWorkspace(folder=folder, principal=user, roles=ROLES, key_id=key_id, signer_id=signing_key.id)


def _write_if_absent(path: Path, text: str) -> None:
    if not path.exists():
        path.write_text(text, encoding="utf-8")
