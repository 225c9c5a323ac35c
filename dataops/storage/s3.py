"""Records on S3, or on what speaks its protocol.

1. *Put-if-absent* is a put with ``If-None-Match: *``. Where the reply is lost, the put is sent again, and is told that
   something is there: `Store.put_if_absent` reads that back, and finds our own bytes.
2. A server that takes the condition and ignores it is found out by the probe, and refused (`objects.prove`).
3. Nothing tells whose a record is: `get_owned` refuses, so that nobody is taken at their word. A signature tells it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from dataops.errors import AccessDenied, NotFound
from dataops.storage.objects import Keys, Named, Names, Store, check_key, folder_of, too_large
from dataops.storage.s3_client import client, code_of, parse_place, s3_errors


class S3Store(Store):
    """Records as objects below ``s3://bucket/prefix``. Holds no connection: pickles as its URL."""

    tells_writers = False

    def __init__(self, url: str) -> None:
        self._place = parse_place(url)
        self.url = self._place.url

    def __reduce__(self) -> tuple[type[S3Store], tuple[str], dict[str, bool]]:
        return type(self), (self.url,), {"is_proved": self.is_proved}

    def get(self, key: str) -> bytes:  # noqa: D102 - the seam says it
        return self._read(key, None)

    def get_at_most(self, key: str, max_bytes: int) -> bytes:  # noqa: D102
        return self._read(key, max_bytes)

    def _read(self, key: str, max_bytes: int | None) -> bytes:
        with self._errors("reading", check_key(key)):
            found = client(self._place).get(key)
            if max_bytes is not None and found.meta["size"] > max_bytes:
                raise too_large(key, max_bytes)
            return bytes(found.bytes())

    def get_owned(self, key: str, max_bytes: int) -> NoReturn:  # noqa: ARG002 - the seam's signature
        """Nothing: any account that may write there could have written it, in anybody's name.

        Raises
        ------
        AccessDenied : always.
        """
        raise AccessDenied(
            f"{self.url} doesn't tell who wrote {check_key(key)}: what is submitted on S3 has to be signed, by a key "
            "that principals.yaml lists (`dataops keys submitting`)"
        )

    def list(self, prefix: str) -> Keys:  # noqa: D102
        folder = folder_of(prefix)
        with self._errors("listing", folder):
            listed = client(self._place).list(folder or None)
            return sorted(one["path"] for page in listed for one in page if _is_shown(one["path"]))

    def names(self) -> Keys:  # noqa: D102
        with self._errors("listing", ""):
            found = client(self._place).list_with_delimiter()
            return sorted(one["path"] for one in found["objects"] if _is_shown(one["path"]))

    def names_owned(self, start: str = "") -> Names:
        """As `Store.names_owned`: nobody's, each with when it was put, by the server's clock."""
        with self._errors("listing", ""):
            found = client(self._place).list_with_delimiter()
            files = [Named(key=one["path"], changed_at=one["last_modified"]) for one in found["objects"]]
        return sorted(
            (one for one in files if _is_shown(one.key) and one.key.startswith(start)), key=lambda one: one.key
        )

    def folders(self, prefix: str) -> Keys:  # noqa: D102
        folder = folder_of(prefix)
        with self._errors("listing", folder):
            found = client(self._place).list_with_delimiter(folder or None)
        names = (path.rpartition("/")[2] for path in found["common_prefixes"])
        return sorted(name for name in names if not name.startswith("."))

    def delete(self, key: str) -> None:  # noqa: D102
        with self._errors("deleting", check_key(key)):
            try:
                client(self._place).delete(key)
            except FileNotFoundError as error:  # some servers say so
                if code_of(str(error)) == "NoSuchBucket":
                    raise

    def _create(self, key: str, data: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError

        with self._errors("writing", key):
            try:
                client(self._place).put(key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    @contextmanager
    def _errors(self, doing: str, key: str) -> Iterator[None]:
        try:
            with s3_errors(f"{doing} {key}{' in ' if key else ''}{self.url}"):
                yield
        except FileNotFoundError:
            raise NotFound(f"there is no {key} in {self.url}") from None


def _is_shown(path: str) -> bool:
    """Whether it can be a record: some servers list the prefix itself, and other programs may leave hidden objects."""
    return path != "" and not any(name.startswith(".") for name in path.split("/"))
