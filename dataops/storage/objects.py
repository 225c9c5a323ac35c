"""The Store: immutable records, each under a key, and one rule on which all correctness rests.

1. *Put-if-absent*: of all writers of a key, one wins; what it wrote is complete, lasts, and is never overwritten.
   `link()` gives it on POSIX, a conditional put on S3. Nothing stronger is assumed (docs/adr/0003-put-if-absent.md).
2. "It is there already" is read back and compared, so that a lost reply doesn't turn our own success into a conflict.
   Who must know that *it* won, rather than that its bytes are there, puts a nonce into them.
3. A key is a relative path of plain ASCII names. No key is also the folder of another.
4. A store that ignores the condition is found out before a process puts its first record there, and refused. Who only
   reads needs no right to write.
5. No record is written twice, so on a disk none can be written by others than its owner: `get_owned` says who that is,
   of the very bytes that it gives.
"""

from __future__ import annotations

import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dataops.errors import DataopsError, Integrity, InvalidInput, NotFound, Storage, near_match
from dataops.records import new_nonce
from dataops.storage.disk import (
    Disk,
    link_new,
    local_folder,
    name_of_user,
    open_regular,
    redact,
    storage_errors,
    sync_folder,
    write_new,
    writer_of,
)

Keys = list[str]  # `list` is a method below

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=:,-]{0,199}")
_KEY_LENGTH = 900  # S3 allows 1024 bytes; leaves room for the prefix of the store
_TRIES = 3
_TEMPORARY = ".tmp-"  # no key starts with a dot, so no listing shows one
_MODE = 0o644  # whatever the umask: who may rewrite a record in place could speak for its owner

_memory: dict[str, dict[str, bytes]] = {}
_memory_lock = threading.Lock()
_probed: set[str] = set()
_proving = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A record with the user that wrote it.

    Attributes
    ----------
    owner : the user's name (``uid 4242`` for one without); None where the store can't tell.
    is_own : whether it is the user that this process runs as.
    changed_at : since when it is as it is, by the clock of its disk: nobody can make that earlier; None where the store
        can't tell.
    """

    data: bytes
    owner: str | None = None
    is_own: bool = False
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A record as a listing shows it, unread: `key`, and `owner`, `is_own` and `changed_at` as `Owned` has them. By
    the time that it is read another one may lie there: what it is worth, `get_owned` says.
    """

    key: str
    owner: str | None = None
    is_own: bool = False
    changed_at: datetime | None = None


Names = list[Named]


def check_key(key: str) -> str:
    """`key`, if it can name a record.

    Raises
    ------
    InvalidInput : absolute, an empty or ``..`` segment, a character outside the list, or too long.
    """
    if len(key) > _KEY_LENGTH or not all(_SEGMENT.fullmatch(segment) for segment in key.split("/")):
        raise InvalidInput(
            f"{key[:200]!r} can't be a key: expected names joined by '/', each of letters, digits and any of _.@+=:,- "
            f"(not first, but for _), 200 characters at most, {_KEY_LENGTH} in all"
        )
    return key


class Store(ABC):
    """Immutable records by key. Holds no connection or lock: cheap to make and to pickle.

    A backend gives `get`, `list`, `delete` and `_create`, and passes the suite in ``tests/storage/store_suite.py``.
    """

    url: str
    is_proved = True
    """Whether nothing has to be tried out before the first record is put."""
    tells_writers = True
    """Whether `get_owned` can tell who wrote a record, or all are of who looks; else it refuses."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The bytes under `key`: complete, and the same for ever.

        Raises
        ------
        NotFound : nothing is there.
        """

    def get_at_most(self, key: str, max_bytes: int) -> bytes:
        """The bytes under `key`, which are no more than `max_bytes`: for who can't trust what lies there.

        A backend that can tell the size before it reads does so.

        Raises
        ------
        NotFound : nothing is there.
        Integrity : there are more.
        """
        data = self.get(key)
        if len(data) > max_bytes:
            raise too_large(key, max_bytes)
        return data

    def get_owned(self, key: str, max_bytes: int) -> Owned:
        """The bytes under `key`, as `get_at_most` gives them, and who wrote them: both of one look, so that no other
        record can take its place in between. A store that keeps no owners names none.

        Raises
        ------
        NotFound : nothing is there, or a link, whose owner says nothing.
        Integrity : there are more bytes; or others than the owner may have written them.
        """
        return Owned(data=self.get_at_most(key, max_bytes))

    def place(self) -> str:
        """What tells this store from any other that a record could be moved or linked to and keep its owner.

        On a disk the number of the root's inode: only folders of one disk can have one file, and no two of them have
        one number, wherever the disk is mounted.
        """
        return self.url

    @abstractmethod
    def list(self, prefix: str) -> Keys:
        """The keys below the folder `prefix` (``""``: all), at any depth, sorted; none when there is no folder."""

    def list_with_links(self, prefix: str) -> Keys:
        """As `list`, and where that refuses symbolic links, these too, which `get` refuses: for who judges all keys."""
        return self.list(prefix)

    def names(self) -> Keys:
        """The keys without a folder, sorted, links too: for who can't trust what folders lie there."""
        return [key for key in self.list_with_links("") if "/" not in key]

    def names_owned(self, start: str = "") -> Names:
        """As `names`, of those that start so, each with whose it is, as far as that can be told without reading it: for
        who must choose which to read.
        """
        return [Named(key=key) for key in self.names() if key.startswith(start)]

    @abstractmethod
    def delete(self, key: str) -> None:
        """Nothing is under `key` any more; nothing there is fine. For leftovers and collected garbage only."""

    def folders(self, prefix: str) -> Keys:
        """The names of the folders directly below the folder `prefix`, sorted: a look that doesn't grow with what is in
        them. One whose records were all deleted may still be named.
        """
        folder = f"{folder_of(prefix)}/" if prefix else ""
        below = (key.removeprefix(folder) for key in self.list_with_links(prefix))
        return sorted({name.split("/")[0] for name in below if "/" in name})

    @abstractmethod
    def _create(self, key: str, data: bytes) -> bool:
        """Whether `data` was put under `key` now; False when something was there. All or nothing, and lasting."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Whether `key` holds exactly `data` now: True also when an earlier try had put it, False for other bytes.

        Raises
        ------
        Storage : the store failed three times; the record may be there or not, and trying again tells. Or it doesn't
            keep the one rule, and nothing was put.
        """
        check_key(key)
        if not self.is_proved:
            prove(self)
        failure: NotFound | Storage | None = None
        for _ in range(_TRIES):
            try:
                return self._create(key, data) or self.get(key) == data
            except (NotFound, Storage) as error:  # deleted since it was found there; or failed, or the reply was lost
                failure = error
        raise Storage(f"{key} could not be put in {_TRIES} tries; the last: {failure}") from None


class PosixStore(Store):
    """Records as files below `root`, on a file system with hard links (local disk, NFSv4)."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.url = self.root.as_uri()
        self._disk = Disk(self.root)

    def make_root(self) -> None:
        """The root folder exists."""
        with storage_errors(f"making the folder {self.url}"):
            self._disk.make_folder()

    def get(self, key: str) -> bytes:  # noqa: D102 - the seam says it
        return self._read(key, None)

    def get_at_most(self, key: str, max_bytes: int) -> bytes:  # noqa: D102
        return self._read(key, max_bytes)

    def _read(self, key: str, max_bytes: int | None) -> bytes:
        path = self._disk.locate(check_key(key))
        with self._errors("reading", key):
            try:
                if max_bytes is None:
                    return path.read_bytes()
                with os.fdopen(open_regular(path), "rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    # of what was opened, and no more than that: it can't be another one, nor grow, in between
                    data = b"" if size > max_bytes else file.read(size + 1)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise NotFound(f"there is no {key} in {self.url}") from None
        if max(size, len(data)) > max_bytes:
            raise too_large(key, max_bytes)
        return data

    def get_owned(self, key: str, max_bytes: int) -> Owned:  # noqa: D102
        path = self._disk.locate(check_key(key))
        with self._errors("reading", key):
            try:
                descriptor = open_regular(path, follow=False)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise NotFound(f"there is no {key} in {self.url}") from None
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                owner = writer_of(status, key)
                data = b"" if status.st_size > max_bytes else file.read(status.st_size + 1)
        if max(status.st_size, len(data)) > max_bytes:
            raise too_large(key, max_bytes)
        changed_at = datetime.fromtimestamp(status.st_ctime, UTC)
        return Owned(data=data, owner=owner, is_own=status.st_uid == os.getuid(), changed_at=changed_at)

    def place(self) -> str:  # noqa: D102
        with self._errors("looking at", "the folder"):
            return f"inode {self._disk.locate('').stat().st_ino}"

    def list(self, prefix: str) -> Keys:  # noqa: D102
        return self._listed(prefix, links=False)

    def names(self) -> Keys:  # noqa: D102
        with self._errors("listing", "the folder"), os.scandir(self._disk.locate("")) as found:
            shown = [entry for entry in found if not entry.name.startswith(".")]
            return sorted(entry.name for entry in shown if entry.is_symlink() or entry.is_file(follow_symlinks=False))

    def names_owned(self, start: str = "") -> Names:  # noqa: D102
        own, owners, found = os.getuid(), dict[int, str](), []
        with self._errors("listing", "the folder"):
            for key in self.names():
                if not key.startswith(start):
                    continue
                try:
                    status = os.lstat(f"{self.root}/{key}")
                except FileNotFoundError:  # taken away since it was listed
                    continue
                owner = owners.get(status.st_uid) or owners.setdefault(status.st_uid, name_of_user(status.st_uid))
                changed_at = datetime.fromtimestamp(status.st_ctime, UTC)
                found.append(Named(key=key, owner=owner, is_own=status.st_uid == own, changed_at=changed_at))
        return found

    def list_with_links(self, prefix: str) -> Keys:  # noqa: D102
        return self._listed(prefix, links=True)

    def _listed(self, prefix: str, *, links: bool) -> Keys:
        folder = self._disk.locate(folder_of(prefix))
        with self._errors("listing", prefix):
            found = self._disk.walk(folder, (".",), links=links) if folder.is_dir() else ()
            return sorted(self._disk.relative(path) for path in found)

    def folders(self, prefix: str) -> Keys:  # noqa: D102
        folder = self._disk.locate(folder_of(prefix))
        with self._errors("listing", prefix):
            try:
                with os.scandir(folder) as found:
                    shown = [entry for entry in found if not entry.name.startswith(".")]
                    return sorted(entry.name for entry in shown if entry.is_dir(follow_symlinks=False))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def delete(self, key: str) -> None:  # noqa: D102
        path = self._disk.locate(check_key(key))
        with self._errors("deleting", key):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            sync_folder(path.parent)

    def _create(self, key: str, data: bytes) -> bool:
        """Temporary file, sync, `link()`, sync of the folder.

        The folder is synced for the loser as well: it may go on to say that the record is there.
        """
        target = self._disk.locate(key)
        temporary = target.with_name(_TEMPORARY + new_nonce())
        with self._errors("writing", key):
            self._disk.make_folder(target.parent)
            write_new(temporary, lambda stream: stream.write(data), sync_name=False, mode=_MODE)
            try:
                linked = link_new(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(target.parent)
        return linked

    @contextmanager
    def _errors(self, doing: str, key: str) -> Iterator[None]:
        with storage_errors(f"{doing} {key} in {self.url}"):
            yield


class MemoryStore(Store):
    """Records in this process, shared by all stores of one name: for tests, and what the others are measured by."""

    def __init__(self, name: str | None = None) -> None:
        self._name = new_nonce() if name is None else name
        self.url = f"memory://{self._name}"

    @property
    def _records(self) -> dict[str, bytes]:
        return _memory.setdefault(self._name, {})

    def get(self, key: str) -> bytes:  # noqa: D102
        try:
            return self._records[check_key(key)]
        except KeyError:
            raise NotFound(f"there is no {key} in {self.url}") from None

    def list(self, prefix: str) -> Keys:  # noqa: D102
        folder = folder_of(prefix)
        with _memory_lock:
            return sorted(key for key in self._records if not folder or key.startswith(folder + "/"))

    def delete(self, key: str) -> None:  # noqa: D102
        with _memory_lock:
            self._records.pop(check_key(key), None)

    def _create(self, key: str, data: bytes) -> bool:
        with _memory_lock:
            if key in self._records:
                return False
            self._records[key] = bytes(data)
            return True


class ReadOnlyStore(Store):
    """Another store, of which nothing can be changed: it was not probed."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.url = inner.url
        self.tells_writers = inner.tells_writers

    def get(self, key: str) -> bytes:  # noqa: D102
        return self._inner.get(key)

    def get_at_most(self, key: str, max_bytes: int) -> bytes:  # noqa: D102
        return self._inner.get_at_most(key, max_bytes)

    def get_owned(self, key: str, max_bytes: int) -> Owned:  # noqa: D102
        return self._inner.get_owned(key, max_bytes)

    def place(self) -> str:  # noqa: D102
        return self._inner.place()

    def names(self) -> Keys:  # noqa: D102
        return self._inner.names()

    def names_owned(self, start: str = "") -> Names:  # noqa: D102
        return self._inner.names_owned(start)

    def list(self, prefix: str) -> Keys:  # noqa: D102
        return self._inner.list(prefix)

    def list_with_links(self, prefix: str) -> Keys:  # noqa: D102
        return self._inner.list_with_links(prefix)

    def folders(self, prefix: str) -> Keys:  # noqa: D102
        return self._inner.folders(prefix)

    def delete(self, key: str) -> None:  # noqa: D102
        raise self._refusal(key)

    def _create(self, key: str, data: bytes) -> bool:  # noqa: ARG002 - the seam's signature
        raise self._refusal(key)

    def _refusal(self, key: str) -> Storage:
        return Storage(f"{self.url} was opened for reading only: {key} stays as it is")


def open_store(url: str, *, read_only: bool = False) -> Store:
    """The store at `url`: a path, ``file://``, ``s3://`` or ``memory://``. A missing folder is made, a bucket isn't.

    It is probed when its first record is put, once in a process (`prove`). With `read_only` nothing is made, probed or
    ever written.

    Raises
    ------
    InvalidInput : a scheme without a store.
    NotFound : `read_only`, and there is no such folder.
    Storage : the folder can't be made.
    """
    store = _store_at(url)
    if read_only:
        if isinstance(store, PosixStore) and not store.root.is_dir():
            if store.root.exists():
                raise Storage(f"opening {store.url} failed: it is no folder")
            raise NotFound(f"there is no folder {store.url}")
        return ReadOnlyStore(store)
    if isinstance(store, PosixStore):
        store.make_root()
    store.is_proved = store.url in _probed
    return store


def prove(store: Store) -> None:
    """Nothing, when `store` may be written: it is probed unless this process did so already.

    Raises
    ------
    Storage : it can't be written, or doesn't keep the one rule.
    """
    with _proving:
        if store.url not in _probed:
            probe(_store_at(store.url))
            _probed.add(store.url)
    store.is_proved = True


def probe(store: Store) -> None:
    """Nothing, when `store` keeps the one rule: of two puts the second is told no, and the first one's bytes stay.

    Some S3 look-alikes accept the condition and ignore it; two writers would both win every race there.

    Raises
    ------
    Storage : it doesn't, and must not be used.
    """
    key = f"probe-{new_nonce()}"
    first, second = b"first", b"second"
    try:
        kept = (
            store.put_if_absent(key, first)
            and not store.put_if_absent(key, second)
            and store.put_if_absent(key, first)  # there already, and read back
        )
    except BaseException:
        with suppress(DataopsError):  # what went wrong first is what there is to say
            store.delete(key)
        raise
    store.delete(key)
    if not kept:
        raise Storage(
            f"{redact(store.url)} can't be used: it doesn't keep the first of two records put under one key, "
            "so two writers could both win. Expected a file system with hard links or a store with conditional puts"
        )


def _store_at(url: str) -> Store:
    folder = local_folder(url)
    if folder is not None:
        return PosixStore(folder)
    scheme, _, rest = url.partition("://")
    if scheme == "memory":
        return MemoryStore(rest)
    if scheme == "s3":
        from dataops.storage.s3 import S3Store

        return S3Store(url)
    raise InvalidInput(
        f"there is no store for {scheme}:// URLs; expected a path, file://, s3:// or memory://."
        + near_match(scheme, ("file", "memory", "s3"))
    )


def too_large(key: str, max_bytes: int) -> Integrity:
    """What is said of a record that has more than `max_bytes`."""
    return Integrity(f"{key} has more than the {max_bytes} bytes that may be there: it isn't what was written")


def folder_of(prefix: str) -> str:
    """`prefix` without a closing slash, checked."""
    return check_key(prefix.removesuffix("/")) if prefix else ""
