"""Signatures of model versions: who vouches for which manifest, and what a reader makes of it.

1. A signature lies beside what it signs, under the id of its key: several keys may sign one version, each once.
2. It speaks of a model, a version, the digest of the manifest and the time of signing: copied to another version or
   model it is worth nothing.
3. A reader asks for the signatures of the keys that it trusts, by their ids, and takes a version for which one is good.
   What else lies there is never parsed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from dataops.errors import Format, Integrity, InvalidInput, NotFound
from dataops.governance.signing import (
    SIGNER_ID,
    Signature,
    Signer,
    SigningKey,
    Worth,
    explain_worth,
    judge_signature,
    judge_term,
)
from dataops.records import Record, canonical_bytes, decode_record, encode_record, format_time, is_canonical, parse_time
from dataops.registry.trust import Trust
from dataops.storage.objects import Store

CONTEXT = "dataops/model-version/1"
FOLDER = "signatures"
MAX_SIGNATURE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What is signed: the manifest with this digest is that of `version` of `model`."""

    model: str
    version: int
    manifest: str

    @property
    def reference(self) -> str:
        """How people name it: ``income@3``."""
        return f"{self.model}@{self.version}"

    def payload(self, signed_at: str) -> bytes:
        """The bytes that are signed."""
        return canonical_bytes(
            {"model": self.model, "version": self.version, "manifest": self.manifest, "signed_at": signed_at}
        )

    def key(self, key_id: str) -> str:
        """Where the signature by the key of that id lies in the registry."""
        return f"{self.model}/versions/{self.version}/{FOLDER}/{key_id}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSignature:
    """A signature of a version, and when it was made."""

    signed: Signed
    signed_at: str
    signature: Signature

    def to_bytes(self) -> bytes:
        """The signature as a record."""
        body: Record = {
            "model": self.signed.model,
            "version": self.signed.version,
            "manifest": self.signed.manifest,
            "signed_at": self.signed_at,
            **self.signature.record(),
        }
        return encode_record("model-signature", 1, body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The signature that `data` holds; whether it is good is another question.

        Raises
        ------
        Format : not the signature of a version.
        """
        record = decode_record(data, "model-signature", 1)
        if not is_canonical(data, record):
            raise Format("its bytes are not those of the signature that it holds")
        try:
            signed = Signed(model=record["model"], version=record["version"], manifest=record["manifest"])
            signed_at = format_time(parse_time(record["signed_at"]))
            signature = Signature.from_record({name: record[name] for name in ("key_id", "context", "value")})
        except (KeyError, TypeError, ValueError) as error:
            raise Format(f"not the signature of a version: {type(error).__name__}") from None
        return cls(signed=signed, signed_at=signed_at, signature=signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the signature by one key is worth; `signed_at` is None where that can't be read."""

    key_id: str
    worth: Worth
    signed_at: datetime | None = None

    @property
    def words(self) -> str:
        """The same for people."""
        return explain_worth(self.worth, self.key_id)


def make_signature(signed: Signed, key: SigningKey, *, at: datetime) -> VersionSignature:
    """The signature of `signed` by `key`, made at the time `at`; raises as `sign`."""
    signed_at = format_time(at)
    return VersionSignature(signed=signed, signed_at=signed_at, signature=key.sign(signed.payload(signed_at), CONTEXT))


def put_signature(store: Store, signed: Signed, key: SigningKey, *, at: datetime) -> None:
    """`signed` is signed by `key`: now, or by an earlier try.

    Raises
    ------
    Integrity : something else lies there.
    """
    place = signed.key(key.key_id)
    if store.put_if_absent(place, make_signature(signed, key, at=at).to_bytes()):
        return
    data = store.get_at_most(place, MAX_SIGNATURE_BYTES)
    try:
        made_at = parse_time(VersionSignature.from_bytes(data).signed_at)
        same = make_signature(signed, key, at=made_at).to_bytes() == data  # equal input, equal signature: RFC 8032
    except Format:
        same = False
    if not same:
        raise Integrity(f"{place} is not the signature of {signed.reference} by that key: delete it and sign again")


def require_signing(trust: Trust, key: SigningKey | None, *, at: datetime) -> None:
    """Nothing, if what `key` signs at the time `at` counts by `trust`; no key signs nothing, which is fine.

    Raises
    ------
    Integrity : it doesn't, and readers would refuse what it signed.
    """
    if key is None or trust.signers is None:
        return
    worth = judge_term(_signer(trust.signers, key.key_id), at)
    if worth is not Worth.GOOD:
        raise Integrity(
            f"nothing can be signed here that counts: {explain_worth(worth, key.key_id)}. "
            "`dataops keys rotate --kind signing` makes a key that counts"
        )


def judge_signatures(store: Store, signed: Signed, signers: Iterable[Signer], *, others: bool = False) -> list[Judged]:
    """What the signatures of `signed` by the keys of `signers` are worth, in their order; keys that didn't sign aren't
    in it. With `others`, also the ids of keys that aren't theirs.
    """
    known = tuple(signers)
    found = [judged for signer in known if (judged := _judge(store, signed, signer)) is not None]
    if not others:
        return found
    ids = {signer.id for signer in known}
    return found + [
        Judged(key_id=key_id, worth=Worth.UNKNOWN) for key_id in signature_ids(store, signed) if key_id not in ids
    ]


def signature_ids(store: Store, signed: Signed) -> list[str]:
    """The ids of the keys under which something lies beside the version, sorted."""
    folder = f"{signed.model}/versions/{signed.version}/{FOLDER}"
    stems = [key.removeprefix(f"{folder}/").removesuffix(".json") for key in store.list_with_links(folder)]
    return [stem for stem in stems if SIGNER_ID.fullmatch(stem)]


def is_signature(name: str) -> bool:
    """Whether a file of that name, as seen from a version's folder, is where a signature lies."""
    folder, _, file = name.partition("/")
    return folder == FOLDER and file.endswith(".json") and bool(SIGNER_ID.fullmatch(file.removesuffix(".json")))


def require_trusted(store: Store, signed: Signed, trust: Trust) -> tuple[str, ...]:
    """The ids of the keys whose signatures of `signed` are good by `trust`; none where none is asked for.

    Raises
    ------
    Integrity : one is asked for, and none is good; the message says what there is, and what to do.
    """
    if trust.signers is None:
        return ()
    judged = judge_signatures(store, signed, trust.signers)
    if good := tuple(one.key_id for one in judged if one.worth is Worth.GOOD):
        return good
    raise Integrity(explain_untrusted(signed, judge_signatures(store, signed, trust.signers, others=True)))


def explain_untrusted(signed: Signed, judged: Iterable[Judged]) -> str:
    """Why a reader doesn't take `signed`, and what to do."""
    said = "; ".join(one.words for one in judged) or "it is not signed"
    return (
        f"{signed.reference} is not to be trusted: {said}. Who may sign can look at it and vouch for it: "
        f"`dataops model sign {signed.reference}`"
    )


def _judge(store: Store, signed: Signed, signer: Signer) -> Judged | None:
    try:
        data = store.get_at_most(signed.key(signer.id), MAX_SIGNATURE_BYTES)
        found = VersionSignature.from_bytes(data)
    except NotFound:
        return None
    except (Format, Integrity, InvalidInput):  # no signature, too large for one, or a symbolic link
        return Judged(key_id=signer.id, worth=Worth.BAD)
    at = parse_time(found.signed_at)
    if found.signed != signed or found.signature.key_id != signer.id:
        return Judged(key_id=signer.id, worth=Worth.BAD, signed_at=at)
    # over what the reader sees, not over what the record says of itself
    payload = signed.payload(found.signed_at)
    worth = judge_signature(found.signature, payload, context=CONTEXT, signers=[signer], at=at)
    return Judged(key_id=signer.id, worth=worth, signed_at=at)


def _signer(signers: Iterable[Signer], key_id: str) -> Signer | None:
    return next((one for one in signers if one.id == key_id), None)
