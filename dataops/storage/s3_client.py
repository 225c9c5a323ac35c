"""A place on S3, or on what speaks its protocol; who talks to it (obstore), and what its refusals mean.

1. The place is ``s3://bucket/prefix``. Endpoint, region and credentials come from the ``AWS_*`` variables of the
   process: never from a URL or a file, and no message holds one.
2. What S3 asks to be tried again (503, 500, no answer) is tried again a few times, then it is `Storage`. An answer that
   doesn't come in a minute is none, and after three minutes nothing is tried again.
3. A bucket that isn't there is no empty one: else a journal would begin anew.
4. A process that was forked from one that had used S3 can't use it: its threads are lost. It says so, and doesn't hang.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dataops.errors import DataopsError, Integrity, InvalidInput, Storage, passing
from dataops.storage.disk import redact

if TYPE_CHECKING:
    from obstore.store import S3Store as Client

SCHEME = "s3"
EXTRA = "install it with `pip install 'dataops[s3]'`"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX_LENGTH = 120  # with the longest key that makes the 1,024 bytes that S3 takes
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TIMEOUTS = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)}
_RETRIES = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=180),  # longer than an answer may take, else one that hangs is asked once
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}
_ADVICE = {
    "NoSuchBucket": "make the bucket first, and check the endpoint",
    "InvalidAccessKeyId": "the endpoint knows no such AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the one of AWS_ACCESS_KEY_ID",
    "AccessDenied": "the account that runs this needs rights there (docs/guides/object-storage.md)",
    "ExpiredToken": "AWS_SESSION_TOKEN has expired: get new credentials",
    "RequestTimeTooSkewed": "the clock of this machine is off",
    "PermanentRedirect": "the bucket lies in another region than AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket lies in another region than AWS_REGION",
    "SlowDown": "it asks for fewer requests; try again later",
}
_BY_STATUS = {"401": "InvalidAccessKeyId", "403": "AccessDenied", "301": "PermanentRedirect", "503": "SlowDown"}

_process: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A bucket and a prefix in it (``""``: all of it)."""

    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``."""
        return f"{SCHEME}://{self.bucket}/{self.prefix}".rstrip("/")


def parse_place(url: str) -> Place:
    """The place that `url` names.

    Raises
    ------
    InvalidInput : no bucket, or no name of one; credentials, a query or a fragment; a prefix with an empty, ``.`` or
        ``..`` segment, characters that don't print, or too long.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.rstrip("/")
    if "@" in bucket or "?" in rest or "#" in rest:
        raise InvalidInput(
            f"{redact(url)}: expected {SCHEME}://bucket/prefix without credentials, query or fragment; credentials and "
            "endpoint are AWS_* variables of the environment"
        )
    if scheme != SCHEME or not _BUCKET.fullmatch(bucket):
        raise InvalidInput(f"{redact(url)[:200]!a}: expected {SCHEME}://bucket/prefix with the name of a bucket")
    fine = prefix.isprintable() and not any(one in ("", ".", "..") for one in prefix.split("/"))
    if prefix and (not fine or len(prefix.encode()) > _PREFIX_LENGTH):
        raise InvalidInput(
            f"{redact(url)[:200]!a}: expected a prefix of names joined by '/', none of them empty, '.' or '..', all "
            f"characters printable, {_PREFIX_LENGTH} bytes at most"
        )
    return Place(bucket=bucket, prefix=prefix)


def client(place: Place) -> Client:
    """What talks to S3 about `place`: one per process and environment, so that connections are used again.

    Raises
    ------
    InvalidInput : obstore isn't installed.
    Storage : this process was forked from one that had used S3.
    """
    global _process  # noqa: PLW0603  # of the threads that obstore starts once
    if _process is None:
        _process = os.getpid()
    elif _process != os.getpid():
        raise Storage(
            f"{place.url} can't be reached from a process that was forked from one that had used S3: open it in the "
            "forked processes only, or start them anew (spawn)"
        )
    return _client(place, tuple((name, os.environ[name]) for name in sorted(os.environ) if name.startswith("AWS_")))


@lru_cache(maxsize=32)
def _client(place: Place, variables: tuple[tuple[str, str], ...]) -> Client:
    try:
        from obstore.store import S3Store as Made
    except ImportError:
        raise InvalidInput(f"{SCHEME}:// needs the package obstore: {EXTRA}") from None
    options: Any = dict(_TIMEOUTS)
    given = dict(variables)
    variable = next((name for name in _ENDPOINTS if given.get(name)), None)
    config: Any = {} if variable is None else {"endpoint": given[variable]}
    if variable is not None and _host_of(given[variable], variable) in _LOOPBACK:
        options["allow_http"] = True  # elsewhere only where AWS_ALLOW_HTTP says so
    retries: Any = _RETRIES
    with s3_errors(f"opening {place.url}"):
        return Made(
            place.bucket, prefix=place.prefix or None, config=config, client_options=options, retry_config=retries
        )


def _host_of(endpoint: str, variable: str) -> str | None:
    try:
        return urlsplit(endpoint).hostname
    except ValueError:  # an IPv6 address that has no end, and the like
        raise InvalidInput(f"{variable} is no URL; expected one like http://127.0.0.1:9000") from None


@contextmanager
def s3_errors(doing: str) -> Iterator[None]:
    """A block in which what obstore raises becomes ours, its message starting with `doing`.

    Raises
    ------
    FileNotFoundError : nothing is under that name.
    Integrity : it isn't what it was when it was first looked at.
    InvalidInput : a name that is none, in a listing.
    Storage : all else. The message holds what S3 answered in its own word (``SlowDown``), never an answer's text.
    """
    try:
        yield
    except (DataopsError, FileExistsError):
        raise
    except Exception as error:
        if not _is_obstore(error):
            raise
        raise _told(doing, error) from None


def _is_obstore(error: Exception) -> bool:
    return type(error).__module__.startswith("obstore") or isinstance(error, FileNotFoundError | TimeoutError)


def _told(doing: str, error: Exception) -> Exception:
    text, kind = str(error), type(error).__name__
    code = code_of(text)
    if isinstance(error, FileNotFoundError) and code != "NoSuchBucket":
        return FileNotFoundError(doing)
    if kind == "PreconditionError":
        return passing(Integrity(f"{doing} failed: it was exchanged while it was read"))
    if kind == "InvalidPathError":
        return InvalidInput(f"{doing} failed: an object there has a name with an empty, '.' or '..' segment")
    if code is not None:
        return Storage(f"{doing} failed: {code}{f'; {_ADVICE[code]}' if code in _ADVICE else ''}")
    if "error sending request" in text or "HTTP error" in text:
        return Storage(f"{doing} failed: no answer; check AWS_ENDPOINT_URL (plain http needs AWS_ALLOW_HTTP=true)")
    return Storage(f"{doing} failed: {kind}")


def code_of(text: str) -> str | None:
    """S3's word for what it refused, or what its status stands for."""
    named = re.search(r"<Code>([A-Za-z0-9]{1,60})</Code>", text)
    status = re.search(r"status code: (\d{3})", text)
    if named:
        return named[1]
    return None if status is None else _BY_STATUS.get(status[1], f"HTTP {status[1]}")
