"""Moves of an alias: what each says, and what its signature is worth to a reader.

1. A signature covers the whole move: which alias, which version, who, why, when, and where in the history it stands. An
   entry that is put under another alias, at another generation or after another entry isn't what was signed.
2. A move of an old release has no signature and doesn't say where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from dataops.errors import Format, Integrity
from dataops.governance.signing import Signature, SigningKey, Worth, explain_worth, judge_signature
from dataops.records import canonical_bytes, parse_time
from dataops.registry.trust import Trust
from dataops.storage.journal import Entry

CONTEXT = "dataops/alias-move/1"


class MoveKind(StrEnum):
    """What a move was: a promotion, the way back from one, or set by hand."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    SET = "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """One generation of an alias: it points at `version`, since `moved_at`, because of `reason`.

    Attributes
    ----------
    signature : of this move; None for one that was made without a key.
    worth : what the signature is worth to its reader; None for a reader who asks for none.
    """

    model: str
    alias: str
    version: int
    version_digest: str
    actor: str
    reason: str
    verdict_digest: str | None
    kind: MoveKind
    moved_at: datetime
    signature: Signature | None
    worth: Worth | None
    entry: Entry

    @property
    def generation(self) -> int:
        """1 for the first; higher is newer."""
        return self.entry.number

    @property
    def trusted(self) -> bool:
        """Whether its reader takes it."""
        return self.worth in (None, Worth.GOOD)

    @property
    def words(self) -> str:
        """What its signature is worth, for people."""
        return explain_worth(self.worth or Worth.GOOD if self.signature else Worth.MISSING, self.signed_by or "")

    @property
    def signed_by(self) -> str | None:
        """The id of the key that it says it was signed by."""
        return self.signature.key_id if self.signature else None


def withdrawn_keys(trust: Trust) -> frozenset[str]:
    """The ids of the keys that were revoked at some time."""
    return frozenset(one.id for one in trust.signers or () if one.revoked is not None)


def signed_body(body: Mapping[str, Any], last: Entry | None, key: SigningKey | None) -> dict[str, Any]:
    """`body` as it follows `last`, with its signature."""
    placed = {**body, "generation": last.number + 1 if last else 1, "previous": last.digest if last else None}
    return {**placed, "signature": key.sign(canonical_bytes(placed), CONTEXT).record() if key else None}


def parse_move(entry: Entry, model: str, alias: str, trust: Trust) -> AliasMove:
    """The move that `entry` of the journal of `alias` holds, judged by `trust`.

    Raises
    ------
    Integrity : it was written for another alias or another place, or isn't a move.
    """
    body = entry.body
    where = f"generation {entry.number} of {model}@{alias}"
    try:
        if (body["model"], body["alias"]) != (model, alias):
            raise Integrity(f"{where} was written for another alias: the folder was moved")
        if (body.get("generation", entry.number), body.get("previous", entry.previous)) != (
            entry.number,
            entry.previous,
        ):
            raise Integrity(f"{where} was written for another place in its history: it was moved or put in again")
        signature = body.get("signature")
        return AliasMove(
            model=model,
            alias=alias,
            version=int(body["version"]),
            version_digest=str(body["version_digest"]),
            actor=str(body["actor"]),
            reason=str(body["reason"]),
            verdict_digest=None if body["verdict"] is None else str(body["verdict"]),
            kind=MoveKind(body.get("kind", MoveKind.PROMOTED)),
            moved_at=parse_time(body.get("moved_at", entry.written_at)),
            signature=None if signature is None else Signature.from_record(signature),
            worth=_judge(body, trust),
            entry=entry,
        )
    except (KeyError, TypeError, ValueError, Format):
        raise Integrity(f"{where} lacks a field or holds one of another type") from None


def _judge(body: Mapping[str, Any], trust: Trust) -> Worth | None:
    """What the signature in `body` is worth; one that leaves out where it stands in the history proves nothing."""
    if trust.signers is None:
        return None
    if body.get("signature") is None:
        return Worth.MISSING
    if not {"generation", "previous", "moved_at"} <= body.keys():
        return Worth.BAD
    signed = canonical_bytes({name: value for name, value in body.items() if name != "signature"})
    signature, at = Signature.from_record(body["signature"]), parse_time(body["moved_at"])
    return judge_signature(signature, signed, context=CONTEXT, signers=trust.signers, at=at)
