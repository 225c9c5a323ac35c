"""Checkpoints: signed statements of how far the audit went and what its last record was, each kept in two places.

1. A checkpoint says how many records a journal had, the digests of the last one and of the one before, and when; an
   Ed25519 key signs that. From inside, a chain can't show that its end was cut off or that it was written anew as a
   whole: a checkpoint can.
2. It is put once, under its count, in the journal's own store and, as a copy of the same bytes, with the *anchors*: a
   place that whoever may write the journal should not be able to change. The copy comes last, so a checkpoint that only
   the anchors know was taken out of the journal's store.
3. Nothing is signed that contradicts the last checkpoint: a forged history gets no new signature.
4. A checkpoint is trusted for its signature by a key of ``signers.yaml``, never for where it lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from dataops.errors import Conflict, Format, Integrity, InvalidInput
from dataops.governance.signing import Signature, Signer, SigningKey, Worth, explain_worth, judge_signature
from dataops.records import (
    Record,
    canonical_bytes,
    decode_record,
    encode_record,
    format_time,
    is_canonical,
    parse_time,
)
from dataops.storage.journal import Entry, Journal
from dataops.storage.objects import Store

CONTEXT = "dataops/audit-checkpoint/1"
CHECKPOINTS_PREFIX = "audit/checkpoints"
ANCHORS_PREFIX = "checkpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed statement about a journal.

    Attributes
    ----------
    count : how many records the journal had, at least 1.
    head : digest of record `count`.
    previous : digest of the record before it; None for the first.
    """

    count: int
    head: str
    previous: str | None
    written_at: str
    signature: Signature

    @property
    def payload(self) -> bytes:
        """The bytes that are signed."""
        return _payload(self.count, self.head, self.previous, self.written_at)

    def to_bytes(self) -> bytes:
        """The checkpoint as a record."""
        body: Record = {
            "count": self.count,
            "head": self.head,
            "previous": self.previous,
            "written_at": self.written_at,
            "signature": self.signature.record(),
        }
        return encode_record("checkpoint", 1, body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The checkpoint that `data` holds; whether its signature is good is another question.

        Raises
        ------
        Format : not a checkpoint.
        """
        record = decode_record(data, "checkpoint", 1)
        if not is_canonical(data, record):  # a key twice, bytes at the end: the signature speaks of the parsed fields
            raise Format("its bytes are not those of the checkpoint that it holds")
        try:
            checkpoint = cls(
                count=_whole(record["count"]),
                head=_text(record["head"]),
                previous=None if record["previous"] is None else _text(record["previous"]),
                written_at=_text(record["written_at"]),
                signature=Signature.from_record(_mapping(record["signature"])),
            )
            parse_time(checkpoint.written_at)
        except (KeyError, TypeError, ValueError) as error:
            raise Format(f"not a checkpoint: {type(error).__name__}") from None
        return checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What lies at one place for checkpoints: the count that its key says, and the bytes, or why they aren't read."""

    count: int
    data: bytes
    fault: str = ""

    def checkpoint(self) -> Checkpoint:
        """What is there.

        Raises
        ------
        Format : no checkpoint, or that of another count.
        """
        if self.fault:
            raise Format(self.fault)
        checkpoint = Checkpoint.from_bytes(self.data)
        if checkpoint.count != self.count:
            raise Format(f"it is the checkpoint of record {checkpoint.count}")
        return checkpoint


def write_checkpoint(
    journal: Journal,
    store: Store,
    anchors: Store | None,
    *,
    key: SigningKey,
    signers: Sequence[Signer],
    at: datetime,
) -> Checkpoint | None:
    """The checkpoint of the journal as it is now, in `store` and with the `anchors`; None for an empty journal.

    Parameters
    ----------
    anchors
        The store of the copies; None where it can't be reached: the caller says so.
    key
        Signs it.
    signers
        Whose earlier checkpoints count.

    Raises
    ------
    Integrity : the journal doesn't go on from its last checkpoint; that, or the key, isn't to be trusted: nothing was
        put.
    Conflict : with the anchors there is another checkpoint of the same count.
    InvalidInput, NotFound : as `sign`.
    Storage : one of the stores failed.
    """
    last = [last_trusted(store, CHECKPOINTS_PREFIX, signers)]
    last += [last_trusted(anchors, ANCHORS_PREFIX, signers)] if anchors else []
    tail = journal.tail()
    _require_continued(journal, tail, [one for one in last if one])
    if tail is None:
        return None
    checkpoint = last[0]  # also when an earlier try died before the copy
    if checkpoint is None or checkpoint.count < tail.number:
        written_at = format_time(at)
        signature = key.sign(_payload(tail.number, tail.digest, tail.previous, written_at), CONTEXT)
        mine = Checkpoint(
            count=tail.number, head=tail.digest, previous=tail.previous, written_at=written_at, signature=signature
        )
        worth = judge_checkpoint(mine, signers)
        if worth is not Worth.GOOD:  # one that proves nothing would stand there for ever
            raise Integrity(f"{explain_worth(worth, key.key_id)}; `dataops keys rotate --kind signing` makes another")
        checkpoint = _put(store, mine)
    if anchors and not anchors.put_if_absent(_key(ANCHORS_PREFIX, checkpoint.count), checkpoint.to_bytes()):
        raise Conflict(f"with the anchors there is another checkpoint of record {checkpoint.count}")
    return checkpoint


def last_trusted(store: Store, prefix: str, signers: Sequence[Signer]) -> Checkpoint | None:
    """The last checkpoint below `prefix` whose signature is good; those of keys that were revoked since don't count.

    Raises
    ------
    Integrity : before one was found there was one that is no checkpoint, or that no known key signed.
    """
    for key in reversed([key for key in store.list(prefix) if key.endswith(".json")]):
        try:
            checkpoint = Checkpoint.from_bytes(store.get(key))
        except Format:
            raise Integrity(f"{key} is no checkpoint") from None
        worth = judge_checkpoint(checkpoint, signers)
        if worth is Worth.GOOD:
            return checkpoint
        if worth in (Worth.BAD, Worth.UNKNOWN):
            raise Integrity(f"{key} is not to be trusted: {explain_worth(worth, checkpoint.signature.key_id)}")
    return None


def judge_checkpoint(checkpoint: Checkpoint, signers: Sequence[Signer]) -> Worth:
    """What the checkpoint's signature is worth."""
    at = parse_time(checkpoint.written_at)
    return judge_signature(checkpoint.signature, checkpoint.payload, context=CONTEXT, signers=signers, at=at)


def read_kept(store: Store, prefix: str) -> dict[int, Kept]:
    """What lies below `prefix`, by the count that its key says; keys that no checkpoint has are passed over."""
    found = {}
    for key in store.list_with_links(prefix):
        stem = key.removeprefix(f"{prefix}/").removesuffix(".json")
        if stem.isdecimal() and key == _key(prefix, int(stem)):
            found[int(stem)] = _kept(store, key, int(stem))
    return found


def _kept(store: Store, key: str, count: int) -> Kept:
    try:
        return Kept(count=count, data=store.get(key))
    except InvalidInput as error:  # a symbolic link
        return Kept(count=count, data=b"", fault=str(error))


def _require_continued(journal: Journal, tail: Entry | None, known: Sequence[Checkpoint]) -> None:
    """Nothing, if the journal holds what the checkpoints know, and every later record follows the one before."""
    count = tail.number if tail else 0
    for checkpoint in known:
        if checkpoint.count > count:
            raise Integrity(f"the audit has {count} records, and a checkpoint of it knows {checkpoint.count}")
        if journal.read(checkpoint.count).digest != checkpoint.head:
            raise Integrity(f"record {checkpoint.count} of the audit is not the one that its checkpoint knows")
    last = max((checkpoint.count for checkpoint in known), default=1)
    if tail is not None and tail not in journal.entries(last):
        raise Integrity(f"record {tail.number} of the audit does not follow those before it")


def _put(store: Store, mine: Checkpoint) -> Checkpoint:
    """The checkpoint that is kept under the count of `mine`: another run may have ended at the same record."""
    key = _key(CHECKPOINTS_PREFIX, mine.count)
    if store.put_if_absent(key, mine.to_bytes()):
        return mine
    present = Checkpoint.from_bytes(store.get(key))
    if (present.count, present.head) != (mine.count, mine.head):
        raise Integrity(f"record {mine.count} of the audit is not the one that its checkpoint knows")
    return present


def _key(prefix: str, count: int) -> str:
    return f"{prefix}/{count:010d}.json"


def _payload(count: int, head: str, previous: str | None, written_at: str) -> bytes:
    return canonical_bytes({"count": count, "head": head, "previous": previous, "written_at": written_at})


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return value
