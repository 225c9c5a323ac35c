"""Tombstones of model versions: what will be deleted is named before it is, and what was deleted stays named.

1. A version that nobody needs is *marked*: a tombstone says when and by whom. It can be read as before, and `pin` takes
   the mark away; no alias moves to it.
2. A grace later it is *deleted*: a second record is put first. It is of one process, which goes on only while the mark
   is there that it decided upon; who takes a mark away looks for that record after. So of two who decide otherwise at
   the same time, the one that deletes gives way, or the other one is told.
3. Once the first file is gone that record stays for ever, and whoever finds files left takes them away. The number
   stays taken, by its claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dataops.errors import Conflict, Integrity, NotFound
from dataops.records import Record, decode_record, encode_record, format_time, parse_time
from dataops.storage.objects import Store

FOLDER = "tombstones"
_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A version that is marked, or deleted: which one, since when, by whom."""

    model: str
    version: int
    digest: str
    at: datetime
    actor: str


def mark(store: Store, stone: Tombstone) -> Tombstone:
    """The mark that the version will be deleted: this one, or the one that was there first."""
    key = _marked_key(stone.model, stone.version)
    store.put_if_absent(key, encode_record("model-tombstone", 1, _body(stone)))
    return marked(store, stone.model, stone.version) or stone


def marked(store: Store, model: str, version: int) -> Tombstone | None:
    """Since when the version is marked, and by whom; None where it isn't."""
    return _read(store, _marked_key(model, version), "model-tombstone", model, version)


def deleted(store: Store, model: str, version: int) -> Tombstone | None:
    """Since when the version is deleted, and by whom; None where it isn't."""
    return _read(store, _deleted_key(model, version), "model-deletion", model, version)


def unmark(store: Store, model: str, version: int) -> None:
    """The version isn't marked any more; whoever needs it looks for its deletion after."""
    store.delete(_marked_key(model, version))


def begin_deletion(store: Store, stone: Tombstone) -> bool:
    """Whether the record is there that says that the version is deleted, and is this one; False: another one is."""
    key = _deleted_key(stone.model, stone.version)
    return store.put_if_absent(key, encode_record("model-deletion", 1, _body(stone)))


def call_off_deletion(store: Store, model: str, version: int) -> None:
    """The version isn't deleted: for who began that, or whose beginner died, before any file went."""
    store.delete(_deleted_key(model, version))


def require_undeleted(store: Store, model: str, version: int) -> None:
    """Nothing, if the version isn't deleted.

    Raises
    ------
    Conflict : it is, or is being so.
    """
    if (gone := deleted(store, model, version)) is not None:
        raise Conflict(f"{model}@{version} is being deleted since {gone.at:%Y-%m-%d %H:%M} UTC, by {gone.actor}")


def require_kept(store: Store, model: str, version: int) -> None:
    """Nothing, if the version is neither deleted nor to be.

    Raises
    ------
    Conflict : it is; the message says what to do.
    """
    require_undeleted(store, model, version)
    if (stone := marked(store, model, version)) is not None:
        raise Conflict(
            f"{model}@{version} is to be deleted since {stone.at:%Y-%m-%d %H:%M} UTC, as {stone.actor} marked it: "
            f'`dataops model pin {model}@{version} --reason "..."` keeps it'
        )


def deletions(store: Store, model: str) -> list[Tombstone]:
    """The versions that are deleted, by number."""
    names = (key.split("/")[-1].removesuffix("-deleted.json") for key in store.list(f"{model}/{FOLDER}"))
    numbers = sorted(int(name) for name in names if name.isdecimal())
    found = (deleted(store, model, number) for number in numbers)
    return [one for one in found if one is not None]


def explain_missing(store: Store, model: str, version: int) -> str:
    """Why the version isn't there, if it is known: that it was deleted, when and by whom; else ""."""
    gone = deleted(store, model, version)
    return f" It was deleted at {gone.at:%Y-%m-%d %H:%M} UTC, by {gone.actor}." if gone else ""


def _marked_key(model: str, version: int) -> str:
    return f"{model}/{FOLDER}/{version}.json"


def _deleted_key(model: str, version: int) -> str:
    return f"{model}/{FOLDER}/{version}-deleted.json"


def _body(stone: Tombstone) -> Record:
    return {
        "model": stone.model,
        "version": stone.version,
        "digest": stone.digest,
        "at": format_time(stone.at),
        "actor": stone.actor,
    }


def _read(store: Store, key: str, kind: str, model: str, version: int) -> Tombstone | None:
    try:
        record = decode_record(store.get_at_most(key, _MAX_BYTES), kind, 1)
    except NotFound:
        return None
    try:
        stone = Tombstone(
            model=str(record["model"]),
            version=int(record["version"]),
            digest=str(record["digest"]),
            at=parse_time(record["at"]),
            actor=str(record["actor"]),
        )
    except (KeyError, TypeError, ValueError):
        raise Integrity(f"{key} lacks a field or holds one of another type") from None
    if (stone.model, stone.version) != (model, version):
        raise Integrity(f"{key} speaks of {stone.model}@{stone.version}: it was moved")
    return stone
