"""Whose a request or stop in the inbox is: read, judged, and told apart before it is read.

1. A signed one is its signer's, on any store (`signed`). One without a signature is the owner's of its file, where the
   store tells that (`requests`); else it is nobody's.
2. Who reads judges anew, by the keys that count now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from dataops.errors import AccessDenied, Format, Integrity, InvalidInput, NotFound, Storage
from dataops.governance.signing import Signature
from dataops.records import digest_bytes
from dataops.scheduling.lying import Lying, tell_apart
from dataops.scheduling.requests import MAX_STOP_BYTES, Request, Stop, request_key, writer_of_request
from dataops.scheduling.signed import MAX_SIGNED_BYTES, STOP, Signing, is_signed, read_name, read_signed
from dataops.scheduling.submissions import Submission, SubmissionState
from dataops.storage.objects import Owned, Store

NO_REQUEST = (AccessDenied, Format, Integrity, InvalidInput)
"""What reading raises of a file that is nobody's request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was read: whose it is, the digest of its bytes, since when it has been there, and the signature
    that says whose it is; None: its file's owner does.
    """

    request: Request
    principal: str
    digest: str
    since: datetime
    signature: Signature | None = None

    def submission(self) -> Submission:
        """The submission that it asks for, while nobody took it."""
        return Submission(
            id=self.request.id,
            state=SubmissionState.SUBMITTED,
            principal=self.principal,
            request=self.request,
            request_digest=self.digest,
        )


class Whose:
    """The inbox's own folder, as `account` reads it, who knows the keys of `signing`."""

    def __init__(self, requests: Store, *, account: str, signing: Signing, clock: Callable[[], datetime]) -> None:
        self._requests = requests
        self._account = account
        self._signing = signing
        self._clock = clock

    def lying(self, submission_id: str = "") -> Lying:
        """What lies there now, unread: all of it, or of one submission."""
        now = self._clock()
        account = self._account if self._requests.tells_writers else None
        files = self._requests.names_owned(submission_id)
        return tell_apart(files, account, lambda name: self._signing.writer_of_name(name, now))

    def writer_of_stop(self, submission_id: str, key: str) -> str | None:
        """Who wrote the stop under `key`; None where it is none, or no longer there."""
        if (name := read_name(key)) is not None:
            is_stop = (name.id, name.what) == (submission_id, STOP)
            return self._signing.writer_of_name(name, self._clock()) if is_stop else None
        inbox = self._requests.place()
        try:
            owned = self._requests.get_owned(key, MAX_STOP_BYTES)
            return writer_of_request(
                Stop.from_bytes(owned.data), owned, key_id=submission_id, inbox=inbox, account=self._account
            )
        except (NotFound, Storage, *NO_REQUEST):
            return None

    def asked(self, submission_id: str, *, was_taken: bool = False) -> Asked:
        """The request of the submission, if it is somebody's.

        Parameters
        ----------
        was_taken : whether a script took it in time; a signed one is of no age then.

        Raises
        ------
        NotFound : nothing lies there.
        AccessDenied, Format, Integrity, InvalidInput : it is nobody's.
        """
        owned, signature = self._lying_request(submission_id), None
        if is_signed(owned.data):
            request, signature = read_signed(owned.data)
            principal = self._signing.writer_of_request(
                request, signature, key_id=submission_id, now=self._clock(), was_taken=was_taken
            )
        else:
            request, inbox = Request.from_bytes(owned.data), self._requests.place()
            principal = writer_of_request(request, owned, key_id=submission_id, inbox=inbox, account=self._account)
        return Asked(
            request=request,
            principal=principal,
            digest=digest_bytes(owned.data),
            since=owned.changed_at or request.submitted_at,
            signature=signature,
        )

    def _lying_request(self, submission_id: str) -> Owned:
        """The request's bytes with who wrote them, or signed bytes, which say that by themselves."""
        key = request_key(submission_id)
        if self._requests.tells_writers:
            try:
                return self._requests.get_owned(key, MAX_SIGNED_BYTES)
            except Integrity:  # of nobody that can be told, as on a disk that can't tell accounts apart; or too large
                data = self._requests.get_at_most(key, MAX_SIGNED_BYTES)
                if not is_signed(data):
                    raise
                return Owned(data=data)
        data = self._requests.get_at_most(key, MAX_SIGNED_BYTES)
        return Owned(data=data) if is_signed(data) else self._requests.get_owned(key, MAX_SIGNED_BYTES)
