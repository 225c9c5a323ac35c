"""The catalog and the principals: which datasets there are, and who people are.

1. A dataset is a name for a place, a zone and a contract; jobs and policies use the name only.
2. A URL holds no credentials: those belong to the environment of the workers.
3. A contract is named by its path inside the workspace, which it can't leave.
4. A user that isn't listed has no roles, and without roles the policies give nothing.
5. A user's keys stand beside the roles: who says what somebody may do says by what they are known, and who is taken out
   is known by nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from dataops.declarations.declaration import DatasetName, Declaration, RoleName, Text
from dataops.declarations.loader import Finding, read_document, validate
from dataops.declarations.signers import KeyId, Moment, PublicKey, parse_moment
from dataops.errors import InvalidInput
from dataops.governance.grant import Zone
from dataops.governance.key_files import made_at
from dataops.governance.signing import Signer, decode_key, names_key


def _require_no_credentials(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidInput("not a URL or path") from None
    if "@" in parts.netloc or "\x00" in url:
        raise InvalidInput("holds credentials; leave them out and set them in the environment of the workers")
    return url


def _require_inside(path: str) -> str:
    """A relative posix path that stays inside the workspace."""
    parts = PurePosixPath(path).parts
    if "\\" in path or "\x00" in path or not parts or ".." in parts or path.startswith(("/", "~")) or "://" in path:
        raise InvalidInput("expected a path inside the workspace, like 'contracts/census.yaml'")
    return path


class CatalogEntry(Declaration):
    """A dataset of the catalog."""

    name: DatasetName
    """The dataset's name: lower-case letters, digits, `_` and `-`, 63 characters at most."""
    url: Annotated[Text, AfterValidator(_require_no_credentials)]
    """Where its Parquet files lie: a folder, absolute or relative to the workspace, or a URL."""
    zone: Zone
    """`historical` (collected before, for training) or `production` (what applications produce now)."""
    contract: Annotated[Text, AfterValidator(_require_inside)]
    """The contract's file, relative to the workspace: `contracts/census.yaml`."""
    description: str = ""
    """What the data is, in a sentence. Default: empty."""


class SubmittingKey(Declaration):
    """A key that signs what its user submits, and nothing else."""

    id: KeyId
    """The key's id, as `dataops keys submitting` shows it."""
    public_key: PublicKey
    """The public key: base64 of its 32 bytes."""
    until: Moment | None = None
    """Until when it signs (excluded). Default: no end."""
    revoked: Moment | None = None
    """From when on nothing that it signed is taken. Default: not revoked."""

    def check(self) -> Iterator[Finding]:
        """The id must be the public key's own."""
        if not names_key(self.id, decode_key(self.public_key)):
            yield Finding(place=("public_key",), message=f"is not the public key of {self.id}")

    def signer(self, user: str) -> Signer:
        """The key as one of `user`; it signs from when it was made."""
        return Signer(
            id=self.id,
            public_key=decode_key(self.public_key),
            owner=user,
            start=made_at(self.id),
            until=parse_moment(self.until) if self.until else None,
            revoked=parse_moment(self.revoked) if self.revoked else None,
        )


class Principal(Declaration):
    """What a user may act as."""

    roles: tuple[RoleName, ...]
    """Names of roles, as the policies use them; an empty list gives nothing."""
    keys: tuple[SubmittingKey, ...] = ()
    """Public keys whose signatures are this user's, on what is submitted. Default: none."""


class Principals(Declaration):
    """Users of this workspace and their roles."""

    principals: dict[Annotated[str, Field(min_length=1, max_length=255)], Principal]
    """Operating system user to roles."""

    def check(self) -> Iterator[Finding]:
        """A key is one user's, and stands here once."""
        seen: set[str] = set()
        for user, principal in self.principals.items():
            for place, key in enumerate(principal.keys):
                if key.id in seen:
                    yield Finding(place=("principals", user, "keys", place), message=f"{key.id} is listed twice")
                seen.add(key.id)

    def submitters(self) -> tuple[Signer, ...]:
        """The keys of all users, each with whose it is as its `owner`."""
        return tuple(key.signer(user) for user, principal in self.principals.items() for key in principal.keys)

    def roles_of(self, user: str) -> tuple[str, ...]:
        """The roles of `user`; none for a user that isn't listed."""
        principal = self.principals.get(user)
        return principal.roles if principal else ()


def read_entry(path: Path) -> CatalogEntry:
    """The dataset described in the file at `path`.

    Raises
    ------
    InvalidInput : all findings, each with file, line and path.
    """
    return validate(read_document(path), CatalogEntry)


def read_principals(path: Path) -> Principals:
    """The users and roles in the file at `path`.

    Raises
    ------
    InvalidInput : all findings, each with file, line and path.
    """
    return validate(read_document(path), Principals)
