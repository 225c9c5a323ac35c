"""``signers.yaml``: the public keys whose signatures a workspace trusts, and until when.

1. The file is the trust: a key that isn't listed signs nothing here, whatever it says of itself.
2. People write it; `dataops keys` only adds a line to its end, and nothing where that would not be the file's next
   signer.
3. An entry is never taken out while something signed by it is still to be verified: it is given an end (``until``) or
   revoked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from dataops.declarations.declaration import Declaration, Text, find_repeats
from dataops.declarations.loader import Finding, parse_yaml, read_document, validate
from dataops.errors import InvalidInput, Storage
from dataops.governance.signing import SIGNER_ID, Signer, decode_key, encode_key, names_key
from dataops.records import format_time

SIGNERS_FILE = "signers.yaml"

_HEADER = """\
# Public keys whose signatures this workspace trusts. `dataops keys` adds a line for each signing key that it makes.
# until: a time up to which a key signs. revoked: from when on nothing that it signed counts.
signers:
"""


def _require_signer_id(text: str) -> str:
    if not SIGNER_ID.fullmatch(text):
        raise InvalidInput("not the id of a signing key: expected signer-<date>t<time>z-<12 hex digits>")
    return text


def _require_key(text: str) -> str:
    decode_key(text)
    return text


def _require_time(text: str) -> str:
    parse_moment(text)
    return text


Moment = Annotated[str, AfterValidator(_require_time)]
KeyId = Annotated[str, AfterValidator(_require_signer_id)]
PublicKey = Annotated[str, AfterValidator(_require_key)]


class TrustedKey(Declaration):
    """A public key that is trusted."""

    id: KeyId
    """The key's id, as `dataops keys list` shows it."""
    public_key: PublicKey
    """The public key: base64 of its 32 bytes."""
    owner: Text
    """Whose it is."""
    start: Moment = Field(alias="from")
    """From when on it signs."""
    until: Moment | None = None
    """Until when it signs (excluded); what it signed before stays good. Default: no end."""
    revoked: Moment | None = None
    """From when on nothing that it signed counts: the moment at which it may have been lost. Default: not revoked."""

    def check(self) -> Iterator[Finding]:
        """The id must be the public key's own."""
        if not names_key(self.id, decode_key(self.public_key)):
            yield Finding(place=("public_key",), message=f"is not the public key of {self.id}")

    def signer(self) -> Signer:
        """The entry as a value."""
        return Signer(
            id=self.id,
            public_key=decode_key(self.public_key),
            owner=self.owner,
            start=parse_moment(self.start),
            until=parse_moment(self.until) if self.until else None,
            revoked=parse_moment(self.revoked) if self.revoked else None,
        )


class TrustedKeys(Declaration):
    """The keys that this workspace trusts."""

    signers: tuple[TrustedKey, ...]
    """The keys; an empty list trusts nobody."""

    def check(self) -> Iterator[Finding]:
        """No key stands here twice."""
        return find_repeats([one.id for one in self.signers], ("signers",))


def parse_moment(text: str, *, end_of_day: bool = False) -> datetime:
    """The aware time that `text` says: ``2026-01-31`` (its first moment in UTC, or with `end_of_day` the first of the
    next day), or RFC 3339 with a zone, ``2026-01-31T12:00:00Z``.

    Raises
    ------
    InvalidInput : neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput("expected a date like 2026-01-31 or a time like 2026-01-31T12:00:00Z") from None
    if len(text) == len("2026-01-31") and text.count("-") == 2:
        return moment.replace(tzinfo=UTC) + timedelta(days=end_of_day)
    if moment.tzinfo is None:
        raise InvalidInput("expected a time with its zone, like 2026-01-31T12:00:00Z")
    return moment.astimezone(UTC)


def read_signers(workspace: Path) -> tuple[Signer, ...]:
    """The keys that the workspace trusts, in the order of its file; none without a file.

    Raises
    ------
    InvalidInput : all findings, each with file, line and path.
    """
    path = workspace / SIGNERS_FILE
    return read_signers_file(path) if path.exists() else ()


def read_signers_file(path: Path) -> tuple[Signer, ...]:
    """The keys that the file at `path` lists, in its order.

    Raises
    ------
    NotFound : no such file.
    InvalidInput : all findings, each with file, line and path.
    """
    return tuple(one.signer() for one in validate(read_document(path), TrustedKeys).signers)


def add_signer(workspace: Path, signer: Signer) -> None:
    """`signer` stands in the workspace's file, after those that stood there.

    Raises
    ------
    InvalidInput : the file is wrong, or doesn't end with its list of signers: the message has the line to add.
    Storage : the disk failed.
    """
    path = workspace / SIGNERS_FILE
    line = (
        f"  - {{id: {signer.id}, public_key: {encode_key(signer.public_key)}, owner: {_quoted(signer.owner)}, "
        f"from: {format_time(signer.start)}}}\n"
    )
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        known = read_signers(workspace) if before else ()
        added = ("" if before else _HEADER) + ("\n" if before and not before.endswith("\n") else "") + line
        _require_added(before + added, (*known, signer), path, line)
        # One write at the end of the file: of two who add at once, none takes the other's line away
        with path.open("a", encoding="utf-8") as file:
            file.write(added)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Storage(f"{path} can't be written: {error.strerror}") from None


def _require_added(text: str, expected: tuple[Signer, ...], path: Path, line: str) -> None:
    try:
        (document,) = parse_yaml(text, str(path))
        found = tuple(one.signer() for one in validate(document, TrustedKeys).signers)
    except (InvalidInput, ValueError):
        found = ()
    if found != expected:
        raise InvalidInput(
            f"{path}: a key can't be added at its end by itself, so it isn't trusted yet. Below `signers:` add\n{line}"
        )


def _quoted(text: str) -> str:
    """`text` as a YAML scalar that no reader takes for anything else."""
    import json

    return json.dumps(text, ensure_ascii=False)
