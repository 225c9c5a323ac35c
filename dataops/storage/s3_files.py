"""Data files on S3, or on what speaks its protocol.

1. A file appears when all of it is there: in one conditional put, or when the last of its parts is accepted. What a
   write that was cut off leaves is no file; parts without a file go by the bucket's own rule for such
   (docs/guides/object-storage.md).
2. A file is what its size, its time and its ETag say: S3 gives times in whole seconds, so the part of a second in
   `FileStat.mtime_ns` is made of the ETag. One that is exchanged while it is read is found out: S3 compares the ETag.
3. What is asked for is read, and nothing around it; but its end comes with the first look, since Parquet begins there.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from dataops.errors import AlreadyExists, NotFound, Storage
from dataops.storage.disk import hide_values
from dataops.storage.files import HIDDEN, DataFiles, Ends, FileStat, FileStats, check_path
from dataops.storage.s3_client import client, code_of, parse_place, s3_errors

if TYPE_CHECKING:
    from obstore.store import S3Store as Client

_NANOSECONDS = 1_000_000_000
_END_BYTES = 64 * 1024  # most footers have room in it
_LARGEST_PUT = 32 << 20
_PART_BYTES = 16 << 20
_AT_ONCE = 4  # parts
_REFUSES_RANGE = re.compile(r"InvalidRange|NotPartial|status code: 416")


class S3Files(DataFiles):
    """Data files as objects below ``s3://bucket/prefix``. Holds no connection: pickles as its URL."""

    far = True

    def __init__(self, url: str) -> None:
        self._place = parse_place(url)
        self.url = self._place.url

    def __reduce__(self) -> tuple[type[S3Files], tuple[str]]:
        return type(self), (self.url,)

    @property
    def _client(self) -> Client:
        return client(self._place)

    def list(  # noqa: D102 - the seam says it
        self, folder: str, suffix: str = ".parquet", *, unnamed: Callable[[str], None] | None = None
    ) -> FileStats:
        top = check_path(folder.removesuffix("/")) if folder else ""
        with self._doing("listing", top):
            everything = [one for page in self._client.list(top or None) for one in page]
        if not everything:
            hint = "; that is a file: name the folder that it lies in" if top and self._is_file(top) else ""
            raise NotFound(f"there is no folder {top or 'at'} {'in ' if top else ''}{self.url}{hint}")
        stats = []
        for one in _without_folders(everything):
            path = one["path"]
            if not path.endswith(suffix) or _is_hidden(path.removeprefix(top)):
                continue
            if unnamed is not None and not path.isprintable():
                unnamed(ascii(path)[1:-1])
            else:
                stats.append(_stat(check_path(path), one))
        return sorted(stats, key=lambda stat: stat.path)

    def _is_file(self, path: str) -> bool:
        try:
            self.stat(path)
        except NotFound:
            return False
        return True

    def stat(self, path: str) -> FileStat:  # noqa: D102
        with self._doing("reading the size of", check_path(path)):
            return _stat(path, self._client.head(path))

    def open_found(self, path: str) -> tuple[FileStat, pa.NativeFile]:  # noqa: D102
        opened = self._opened(path)
        return opened.stat, pa.PythonFile(opened, mode="r")

    def read_ends(self, path: str, head: int, tail: int) -> Ends:  # noqa: D102
        opened = self._opened(path, max(1, tail))
        first = bytes(opened.read(head))
        opened.seek(max(0, opened.size() - tail))
        return Ends(opened.size(), first, bytes(opened.read(tail)))

    def _opened(self, path: str, end_bytes: int = _END_BYTES) -> _Opened:
        with self._doing("opening", check_path(path)):
            return _Opened(self, path, *_read_end(self._client, path, end_bytes))

    def read_range(self, path: str, start: int, stop: int, e_tag: str | None) -> pa.Buffer:
        """The bytes of the file `path` from `start` up to `stop`, if it still is the one of that ETag.

        Raises
        ------
        Integrity : it isn't.
        """
        options: Any = {"range": (start, stop)} | ({} if e_tag is None else {"if_match": e_tag})
        with self._doing("reading", path):
            return pa.py_buffer(self._client.get(path, options=options).bytes())

    def write(self, path: str, write: Callable[[IO[bytes]], Any]) -> int:  # noqa: D102
        sink: Any = _Collected()
        write(sink)
        chunks, size_bytes = sink.chunks, sum(map(len, sink.chunks))
        with self._doing("writing", check_path(path)):
            if size_bytes <= _LARGEST_PUT:
                self._put(path, chunks)
            else:
                self._put_parts(path, chunks)
        return size_bytes

    def _put(self, path: str, chunks: Sequence[bytes]) -> None:
        from obstore.exceptions import AlreadyExistsError

        whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        try:
            self._client.put(path, whole, mode="create", use_multipart=False)
        except AlreadyExistsError:  # perhaps by us: the first answer was lost
            self._require_same(path, [whole])

    def _require_same(self, path: str, chunks: Sequence[bytes]) -> None:
        """Nothing, if the file `path` holds these very bytes."""
        if self.stat(path).size_bytes != sum(map(len, chunks)) or self.sha256(path) != _sha256(chunks):
            raise _twice(path) from None

    def _put_parts(self, path: str, chunks: Sequence[bytes]) -> None:
        """No condition can be set on parts: names are not used twice, so a look suffices."""
        if self._is_file(path):
            raise _twice(path)
        try:
            self._client.put(path, iter(chunks), chunk_size=_PART_BYTES, max_concurrency=_AT_ONCE)
        except FileNotFoundError as error:  # the upload is gone: completed, perhaps, and the first answer was lost
            if code_of(str(error)) == "NoSuchBucket":
                raise
            if not self._is_file(path):
                raise Storage(f"writing {hide_values(path)} in {self.url} failed: its parts are gone") from None
            self._require_same(path, chunks)

    def delete(self, path: str) -> None:  # noqa: D102
        with self._doing("deleting", check_path(path)):
            try:
                self._client.delete(path)
            except FileNotFoundError as error:  # some servers say so
                if code_of(str(error)) == "NoSuchBucket":
                    raise

    @contextmanager
    def _doing(self, doing: str, path: str) -> Iterator[None]:
        with self._errors(doing, path), s3_errors(f"{doing} {hide_values(path) or 'the folder'} in {self.url}"):
            yield


class _Opened(io.RawIOBase):
    """A file that is read by ranges; its end was read when it was opened."""

    def __init__(self, files: S3Files, path: str, found: Any, end: pa.Buffer) -> None:
        super().__init__()
        self._files, self._path, self._e_tag = files, path, found["e_tag"]
        self._size, self._end, self._at = found["size"], end, 0
        self.stat = _stat(path, found)
        self._end_start = self._size - end.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def size(self) -> int:
        return int(self._size)

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int | None = -1) -> Any:
        """A buffer of the next `size` bytes; of fewer at the end."""
        start = min(self._at, self._size)
        stop = self._size if size is None or size < 0 else min(start + size, self._size)
        self._at = stop
        if start >= self._end_start:
            return self._end.slice(start - self._end_start, stop - start)
        return self._files.read_range(self._path, start, stop, self._e_tag) if stop > start else pa.py_buffer(b"")


class _Collected(io.RawIOBase):
    """What is written into it, kept as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: list[Any] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        chunk = data if isinstance(data, bytes | pa.Buffer) else bytes(data)
        self.chunks.append(memoryview(chunk).cast("B"))  # Arrow's are signed
        self._at += len(self.chunks[-1])
        return len(self.chunks[-1])


def _read_end(client: Client, path: str, end_bytes: int) -> tuple[Any, pa.Buffer]:
    """What the file is, and its last `end_bytes`, in one request but for an empty file, whose end S3 refuses."""
    from obstore.exceptions import GenericError

    try:
        found = client.get(path, options={"range": {"suffix": end_bytes}})
        return found.meta, pa.py_buffer(found.bytes())
    except GenericError as error:
        if not _REFUSES_RANGE.search(str(error)):
            raise
        stat = client.head(path)
        if stat["size"]:
            raise
        return stat, pa.py_buffer(b"")


def _stat(path: str, found: Any) -> FileStat:
    return FileStat(path=path, size_bytes=found["size"], mtime_ns=_time_ns(found["last_modified"], found["e_tag"]))


def _time_ns(modified: datetime, e_tag: str | None) -> int:
    part = hashlib.sha256((e_tag or "").encode()).digest()[:8]
    return int(modified.timestamp()) * _NANOSECONDS + int.from_bytes(part, "big") % _NANOSECONDS


def _without_folders(found: list[Any]) -> list[Any]:
    """`found` without the empty objects that some programs put where a folder is."""
    folders = {path.rpartition("/")[0] for path in (one["path"] for one in found)}
    return [one for one in found if one["size"] or one["path"] not in folders]


def _is_hidden(path: str) -> bool:
    return any(name.startswith(HIDDEN) for name in path.split("/"))


def _sha256(chunks: Sequence[Any]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return "sha256:" + digest.hexdigest()


def _twice(path: str) -> AlreadyExists:
    name = hide_values(path).rpartition("/")[2]
    return AlreadyExists(f"there is a file {name} already, and no file is written twice")
