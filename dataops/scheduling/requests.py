"""Requests: what somebody wants run, put into the inbox for a scheduler script; and whose they are.

::

    <storage>/inbox/<id>.json                 what to run
    <storage>/inbox/<id>.stop-<nonce>.json    that it is not to be run, or no longer

1. A request is its writer's: the user of the operating system that owns the file, and that alone can have written it.
   What the request says of that is only compared. Who names another principal is refused, not believed.
2. It says its own id and the inbox that it was put into. A file that was moved, renamed or linked to from elsewhere
   keeps its owner, and asks for nothing.
3. An id of a submission looks like no other run's (`-s1a2b3c` at its end), so nobody can ask under the id that a
   schedule's run will have.
4. A request names no file of its writer's: the job's text is in it, and a cluster file is one of the workspace's.
   Cluster files decide what runs in the workers, so only who may write ``cluster/`` writes them.
5. Whatever lies in the inbox is read up to a bound, never followed and never waited for.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from dataops.declarations.loader import MAX_SIZE_BYTES
from dataops.errors import AccessDenied, Format, InvalidInput
from dataops.records import (
    Record,
    decode_record,
    encode_record,
    format_time,
    is_canonical,
    parse_time,
    require_name,
)
from dataops.storage.objects import Owned

INBOX_FOLDER = "inbox"
CLUSTER_FOLDER = "cluster"
MAX_REQUEST_BYTES = 4 * MAX_SIZE_BYTES  # JSON writes some characters of the text as two
MAX_STOP_BYTES = 4096
MAX_SOURCE_LENGTH = 300

_ID = re.compile(r"([a-z0-9][a-z0-9_-]{0,62})-\d{8}t\d{6}-s[0-9a-f]{6}")
_STOP = re.compile(r"(?P<id>.+)\.stop-[0-9a-f]{12}\.json")
_CLUSTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.ya?ml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One job that somebody wants run, once.

    Attributes
    ----------
    id : of the submission, and of the run that will come of it.
    inbox : which inbox it was put into (`Store.place`).
    job : the name of the job.
    text, source : of the job file, all of it, and what its writer calls it, for messages.
    cluster : the name of a file in the workspace's ``cluster/``; None: the one that the settings name.
    again : do the work even if a finished run did the same.
    principal : who its writer says to be.
    submitted_at : by its writer's clock.
    """

    id: str
    inbox: str
    job: str
    text: str
    source: str
    cluster: str | None
    again: bool
    principal: str
    submitted_at: datetime

    def record(self) -> Record:
        """It as JSON values."""
        body: Record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**body, "submitted_at": format_time(self.submitted_at)}

    def to_bytes(self) -> bytes:
        """The stored record.

        Raises
        ------
        InvalidInput : it has more bytes than a request may have.
        """
        data = encode_record("submission-request", 1, self.record())
        if len(data) > MAX_REQUEST_BYTES:
            raise InvalidInput(
                f"{self.source}: a request for it has {len(data):,} bytes, and {MAX_REQUEST_BYTES:,} are taken: put "
                "the job into a file of its own"
            )
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The request that `to_bytes` wrote.

        Raises
        ------
        Format : it didn't.
        InvalidInput : something in it can't be what it should name.
        """
        return cls.from_record(_decoded(data, "submission-request"))

    @classmethod
    def from_record(cls, body: Mapping[str, Any]) -> Self:
        """The request that `record` gave; refusals as `from_bytes`."""
        if set(body) != set(cls.__dataclass_fields__) or not _are_texts(body):
            raise Format("expected a request with the keys of this release, found one with others, or values of others")
        try:
            submitted_at = parse_time(body["submitted_at"])
        except ValueError:
            raise Format("a request's submitted_at is no time as this project writes it") from None
        require_submission_id(body["id"], body["job"])
        _require_source(body["source"])
        if body["cluster"] is not None:
            require_cluster_name(body["cluster"])
        return cls(**{**body, "submitted_at": submitted_at})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """That somebody wants a submission not to run, or no longer."""

    id: str
    inbox: str
    principal: str
    asked_at: datetime

    def to_bytes(self) -> bytes:
        """The stored record."""
        body: Record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return encode_record("submission-stop", 1, {**body, "asked_at": format_time(self.asked_at)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The stop that `to_bytes` wrote.

        Raises
        ------
        Format : it didn't.
        """
        body = _decoded(data, "submission-stop")
        if set(body) != set(cls.__dataclass_fields__) or not all(isinstance(value, str) for value in body.values()):
            raise Format("expected a stop with the keys of this release, found one with others")
        try:
            return cls(**{**body, "asked_at": parse_time(body["asked_at"])})
        except ValueError:
            raise Format("a stop's asked_at is no time as this project writes it") from None


def writer_of_request(said: Request | Stop, owned: Owned, *, key_id: str, inbox: str, account: str) -> str:
    """The principal whose request, or stop, lies in the inbox.

    Parameters
    ----------
    said, owned : what it says, and the record that it was read from.
    key_id, inbox : the submission that its name is about, and the inbox that it lies in.
    account : the user that this process runs as. A store that keeps no owners takes requests of this one alone.

    Raises
    ------
    AccessDenied : it isn't the writer's, or wasn't meant for this place.
    """
    writer = account if owned.is_own or owned.owner is None else owned.owner
    if said.id != key_id:
        raise AccessDenied(f"the request {key_id} says that it is {said.id}: it was moved, copied or linked to")
    if said.inbox != inbox:
        raise AccessDenied(f"the request {key_id} was put into another inbox: it was moved, copied or linked to")
    if said.principal != writer:
        raise AccessDenied(
            f"the request {key_id} says that it is of '{said.principal}', and '{writer}' wrote it: everybody asks for "
            "themselves"
        )
    return writer


def new_submission_id(job: str, at: datetime) -> str:
    """``<job>-<UTC time>-s<6 random hex digits>``."""
    return f"{job}-{at.strftime('%Y%m%dt%H%M%S')}-s{secrets.token_hex(3)}"


def is_submission_id(text: str) -> bool:
    """Whether `text` is the id of a submission."""
    return _ID.fullmatch(text) is not None


def require_submission_id(text: str, job: str | None = None) -> str:
    """`text`, if it is the id of a submission, and one of `job` where that is given.

    Raises
    ------
    InvalidInput : it isn't.
    """
    found = _ID.fullmatch(text)
    if found is None:
        raise InvalidInput(f"{text[:200]!r} is no id of a submission: they look like income-20260131t120000-s1a2b3c")
    if job is not None and found[1] != require_name(job, "job"):
        raise InvalidInput(f"the submission {text} is of a job '{found[1]}', and asks for '{job}'")
    return text


def request_key(submission_id: str) -> str:
    """Where the request lies in the inbox."""
    return f"{require_submission_id(submission_id)}.json"


def new_stop_key(submission_id: str) -> str:
    """Where one more stop may lie: under a name that nobody can have taken to keep others from asking."""
    return f"{require_submission_id(submission_id)}.stop-{secrets.token_hex(6)}.json"


def stopped_by_key(key: str) -> str | None:
    """The submission that the stop under `key` is about; None for a key of no stop."""
    found = _STOP.fullmatch(key)
    return found["id"] if found and is_submission_id(found["id"]) else None


def requested_by_key(key: str) -> str | None:
    """The submission whose request lies under `key`; None for a key of no request."""
    name = key.removesuffix(".json")
    return name if name != key and is_submission_id(name) else None


def require_cluster_name(name: str) -> str:
    """`name`, if it can be the name of a file in the workspace's ``cluster/``.

    Raises
    ------
    InvalidInput : it can't.
    """
    if not _CLUSTER.fullmatch(name):
        raise InvalidInput(
            f"{name[:200]!r} is no cluster file of the workspace: expected the name of one in cluster/, such as "
            "local.yaml. A job that is submitted runs on a cluster that operations declared"
        )
    return name


def _decoded(data: bytes, kind: str) -> Record:
    """The record in `data`, without its format: read by us as by everybody else, so no key is there twice."""
    record = decode_record(data, kind, 1)
    if not is_canonical(data, record):
        raise Format(f"expected the canonical bytes of a {kind}, found others")
    record.pop("format")
    return record


def _require_source(source: str) -> None:
    if not source or len(source) > MAX_SOURCE_LENGTH or not source.isprintable():
        raise InvalidInput(f"a job file is called by {MAX_SOURCE_LENGTH} characters at most, all of which print")


def _are_texts(body: Mapping[str, Any]) -> bool:
    texts = {name: value for name, value in body.items() if name not in ("again", "cluster")}
    return (
        all(isinstance(value, str) for value in texts.values())
        and isinstance(body["again"], bool)
        and isinstance(body["cluster"], str | None)
        and len(body["text"].encode("utf-8", "surrogatepass")) <= MAX_SIZE_BYTES
    )
