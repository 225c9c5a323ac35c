"""Records: canonical JSON, digests, names and ids.

1. A record is one JSON object with a ``format`` (``dataops/<kind>/<version>``); a reader refuses a kind or version it
   doesn't know.
2. Its bytes are canonical (sorted keys, no spaces, UTF-8, no NaN), so equal values have equal bytes and digests.
3. A digest is written ``sha256:<64 hex digits>``: the algorithm is part of it.
4. Names that reach a path match one grammar, so that no name can leave its folder.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from dataops.errors import Format, InvalidInput

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

Record = dict[str, Any]


def canonical_bytes(value: Any) -> bytes:
    """`value` (JSON types only) as canonical JSON.

    Raises
    ------
    InvalidInput : a value that JSON can't hold exactly (NaN, infinity, another type).
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"not representable as canonical JSON: {error}") from None


def digest_bytes(data: bytes) -> str:
    """``sha256:<hex>`` of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """``sha256:<hex>`` of the canonical JSON of `value`."""
    return digest_bytes(canonical_bytes(value))


def merkle_root(digests: Iterable[str]) -> str:
    """One digest over an ordered list of digests (RFC 6962 shape: leaves and nodes are hashed under different
    prefixes).
    """
    level = [hashlib.sha256(b"\x00" + leaf.encode()).digest() for leaf in digests]
    if not level:
        return digest_bytes(b"")
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [hashlib.sha256(b"\x01" + b"".join(pair)).digest() if len(pair) == 2 else pair[0] for pair in pairs]
    return "sha256:" + level[0].hex()


def encode_record(kind: str, version: int, body: Mapping[str, Any]) -> bytes:
    """The canonical bytes of `body` as a record of ``dataops/<kind>/<version>``."""
    return canonical_bytes({**body, "format": f"dataops/{kind}/{version}"})


def decode_record(data: bytes, kind: str, version: int) -> Record:
    """The record in `data`.

    Raises
    ------
    Format : not a JSON object, another kind, or another version.
    """
    expected = f"dataops/{kind}/{version}"
    try:
        record: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise Format(f"expected a record of format {expected}, found {len(data)} bytes that are not JSON") from None
    found = record.get("format") if isinstance(record, dict) else None
    if found != expected:
        raise Format(f"expected a record of format {expected}, found {found!r}")
    return dict(record)


def is_canonical(data: bytes, record: Mapping[str, Any]) -> bool:
    """Whether `data` is exactly what `record` is written as: no key twice, no byte more. A digest of the record vouches
    for no other bytes.
    """
    try:
        return canonical_bytes(record) == data
    except InvalidInput:  # NaN and the like: nothing that we ever wrote
        return False


def require_name(name: str, what: str) -> str:
    """`name`, if it may name a `what` (``dataset``, ``model`` ...): lower-case letters, digits, ``_`` and ``-``, 63 at
    most.

    Raises
    ------
    InvalidInput : it may not.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidInput(
            f"{name!r} can't name a {what}: use lower-case letters, digits, '_' and '-', starting with a letter or "
            "digit, 63 characters at most"
        )
    return name


def new_nonce() -> str:
    """A random id (32 hex digits) that marks one writer's attempt."""
    return uuid.uuid4().hex


def now_utc() -> datetime:
    """The present time, aware, in UTC."""
    return datetime.now(UTC)


def format_time(moment: datetime) -> str:
    """`moment` as ``2026-01-31T12:00:00.000000Z``.

    Raises
    ------
    InvalidInput : a time without a zone.
    """
    if moment.tzinfo is None:
        raise InvalidInput("a time without a zone can't be recorded")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The aware UTC time that `format_time` wrote."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
