"""Signed requests: whose they are where no file's owner tells it, and on any store.

::

    <storage>/identity.json                          what storage this is: put once
    <storage>/inbox/<id>.json                        the request and a signature over it
    <storage>/inbox/<id>.by.<key>.<signature>.json   whose it is, in its name: told by a listing, unread
    <storage>/inbox/<id>.stop.<key>.<signature>.json that its user wants it stopped: the name is all of it

1. What is signed is the whole request: id, job, text, principal, time, and the inbox with the storage's own number. So
   it asks for nothing under another id, elsewhere, or in anybody else's name.
2. A signature is for one thing, which its context says. One over a name is none over a request, nor the other way
   round, and neither is one of a checkpoint or of a model version.
3. The keys that count stand in ``principals.yaml``, below the user that they speak for. A key has to be good when it
   signed, by its own clock, and when somebody looks: one that was revoked, or whose user is gone, asks for nothing.
4. A request may be taken for `GOOD_FOR`, and is not of the future by more than `CLOCKS_DIFFER`. That it has ended is
   for ever in its journal, so nobody brings it back.
5. A signature has one spelling, so nobody makes a second name of one.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NoReturn

from dataops.errors import AccessDenied, Format, NotFound
from dataops.governance.signing import (
    SIGNATURE_BYTES,
    Signature,
    Signer,
    SigningKey,
    Worth,
    judge_signature,
    judge_term,
)
from dataops.records import canonical_bytes, decode_record, encode_record, is_canonical, new_nonce
from dataops.scheduling.requests import MAX_REQUEST_BYTES, Request, is_submission_id, require_submission_id
from dataops.storage.objects import Store

GOOD_FOR = timedelta(days=7)
"""How long after it was signed a request may be taken."""
CLOCKS_DIFFER = timedelta(minutes=10)
"""How far the clock of who signs may be ahead of the scheduler script's."""
MAX_SIGNED_BYTES = MAX_REQUEST_BYTES + 1024
REQUEST_CONTEXT = "dataops/submission-request/1"
NAME_CONTEXT = "dataops/submission-name/1"
BY, STOP = "by", "stop"
IDENTITY_KEY = "identity.json"

_BEGINNING = encode_record("submission-signed", 1, {})[:-1]
_NAME = re.compile(r"(?P<id>.+)\.(?P<what>by|stop)\.(?P<key>[0-9a-f]{12})\.(?P<value>[A-Za-z0-9_-]{86})\.json")
_MAX_IDENTITY_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedName:
    """What the name of a file in the inbox claims: that the holder of the key whose id ends in `check` says `what` of a
    submission.
    """

    id: str
    what: str
    check: str
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Who may sign for one inbox.

    Attributes
    ----------
    place : which inbox of which storage that is; None: it has no identity yet, and nothing signed counts.
    signers : the keys that ``principals.yaml`` lists, each with its user as `owner`.
    key, user : what this process signs with, and as whom; None: it signs nothing.
    """

    place: str | None = None
    signers: tuple[Signer, ...] = ()
    key: SigningKey | None = None
    user: str | None = None

    def signed_request(self, request: Request) -> bytes:
        """`request` with the signature of this process's key: what lies in the inbox."""
        signature = self._key.sign(request.to_bytes(), REQUEST_CONTEXT)
        return encode_record("submission-signed", 1, {"request": request.record(), "signature": signature.record()})

    def signed_name(self, submission_id: str, what: str) -> str:
        """The name of the file that says `what` of a submission, by this process's key."""
        signature = self._key.sign(_said(submission_id, what, self.place), NAME_CONTEXT)
        value = base64.urlsafe_b64encode(signature.value).decode().rstrip("=")
        return f"{require_submission_id(submission_id)}.{what}.{_check(self._key.key_id)}.{value}.json"

    def writer_of_name(self, name: SignedName, now: datetime) -> str | None:
        """The user whose key signed a file's name, and counts at `now`; None where there is none."""
        if self.place is None:
            return None
        said = _said(name.id, name.what, self.place)
        for signer in self.signers:
            if _check(signer.id) == name.check and _worth(signer, now) is Worth.GOOD:
                signature = Signature(key_id=signer.id, context=NAME_CONTEXT, value=name.value)
                if _is_name_of(signature, said, signer):
                    return signer.owner
        return None

    def writer_of_request(
        self, request: Request, signature: Signature, *, key_id: str, now: datetime, was_taken: bool = False
    ) -> str:
        """The principal who signed `request`.

        Parameters
        ----------
        key_id : the submission that its file's name is about.
        now : when it is looked at.
        was_taken : whether it was taken in time, so that its age says nothing any more.

        Raises
        ------
        AccessDenied : it is no request of a user of this workspace, to this inbox, of these days.
        """
        signer = next((one for one in self.signers if one.id == signature.key_id), None)
        if signer is None:
            _refuse(key_id, "is signed by a key that principals.yaml doesn't list")
        at = request.submitted_at
        if not _is_genuine(signature, request.to_bytes(), REQUEST_CONTEXT, signer):
            _refuse(key_id, "has a signature that isn't one of its key over this request")
        if request.principal != signer.owner:
            _refuse(key_id, "is signed by one user and names another")
        if request.id != key_id:
            _refuse(key_id, "was signed under another id")
        if self.place is None or request.inbox != self.place:
            _refuse(key_id, "was signed for another workspace's inbox")
        for worth in (judge_term(signer, at), _worth(signer, now)):
            if worth is not Worth.GOOD:
                _refuse(key_id, _OF_KEY[worth])
        if at > now + CLOCKS_DIFFER:
            _refuse(key_id, "was signed at a time that has not come yet; check the clock of the machine that signed")
        if not was_taken and now - at > GOOD_FOR:
            _refuse(key_id, f"was signed more than {GOOD_FOR.days} days ago: submit it again")
        return signer.owner

    @property
    def _key(self) -> SigningKey:
        assert self.key is not None  # noqa: S101  # who has none is told before
        return self.key


_OF_KEY = {
    Worth.REVOKED: "is signed by a key that principals.yaml has revoked",
    Worth.OUT_OF_TERM: "is signed by a key outside of the time that principals.yaml gives it",
}


def is_signed(data: bytes) -> bool:
    """Whether `data` says to be a signed request."""
    return data.startswith(_BEGINNING)


def read_signed(data: bytes) -> tuple[Request, Signature]:
    """The request and the signature that `Signing.signed_request` wrote; nothing of them is judged.

    Raises
    ------
    Format, InvalidInput : it didn't.
    """
    record = decode_record(data, "submission-signed", 1)
    request, signature = record.get("request"), record.get("signature")
    if not is_canonical(data, record) or len(record) != 3 or not isinstance(request, dict):
        raise Format("expected the canonical bytes of a signed request, found others")
    if not isinstance(signature, dict):
        raise Format("expected the canonical bytes of a signed request, found others")
    return Request.from_record(request), Signature.from_record(signature)


def read_name(key: str) -> SignedName | None:
    """What the name `key` of a file claims; None for one that isn't signed."""
    found = _NAME.fullmatch(key)
    if found is None or not is_submission_id(found["id"]):
        return None
    value = base64.urlsafe_b64decode(found["value"] + "==")
    if len(value) != SIGNATURE_BYTES or base64.urlsafe_b64encode(value).decode().rstrip("=") != found["value"]:
        return None
    return SignedName(id=found["id"], what=found["what"], check=found["key"], value=value)


def name_bytes() -> bytes:
    """What lies under a signed name, which says all by itself."""
    return encode_record("submission-name", 1, {})


def find_identity(store: Store) -> str | None:
    """The number that this storage alone has; None where it wasn't given one.

    Raises
    ------
    Format, Integrity : what lies there isn't one.
    """
    try:
        record = decode_record(store.get_at_most(IDENTITY_KEY, _MAX_IDENTITY_BYTES), "storage-identity", 1)
    except NotFound:
        return None
    found = record.get("id")
    if not isinstance(found, str) or not re.fullmatch(r"[0-9a-f]{16,64}", found):
        raise Format(f"{IDENTITY_KEY} of the storage holds no identity")
    return found


def give_identity(store: Store) -> str:
    """The number that this storage alone has, from now on at the latest.

    Raises
    ------
    Storage : it has none, and this account may not write there.
    """
    found = find_identity(store)
    if found is None:
        store.put_if_absent(IDENTITY_KEY, encode_record("storage-identity", 1, {"id": new_nonce()}))
        found = find_identity(store)  # of two who give it one, that of the first
    assert found is not None  # noqa: S101  # a record is never deleted
    return found


def signing_place(identity: str | None, place: str) -> str | None:
    """What signed bytes say of an inbox: its storage's number, and where it is."""
    return None if identity is None else f"{identity} {place}"


def _worth(signer: Signer, now: datetime) -> Worth:
    """What the key of `signer` is worth now; the clock of who made it may be ahead."""
    return judge_term(signer, max(now, signer.start) if signer.start - now <= CLOCKS_DIFFER else now)


def _is_genuine(signature: Signature, payload: bytes, context: str, signer: Signer) -> bool:
    """Whether the key of `signer` made `signature`, whenever that was."""
    worth = judge_signature(signature, payload, context=context, signers=(signer,), at=signer.start)
    return worth not in (Worth.BAD, Worth.UNKNOWN)


@lru_cache(maxsize=20_000)
def _is_name_of(signature: Signature, payload: bytes, signer: Signer) -> bool:
    """Whether the key of `signer` signed a name; kept, as one look after another asks."""
    return _is_genuine(signature, payload, NAME_CONTEXT, signer)


def _said(submission_id: str, what: str, place: str | None) -> bytes:
    return canonical_bytes({"id": submission_id, "inbox": place, "what": what})


def _check(key_id: str) -> str:
    return key_id.rpartition("-")[2]


def _refuse(key_id: str, why: str) -> NoReturn:
    raise AccessDenied(f"the request {key_id} {why}")
