"""Data files: Parquet and other large files, below one URL.

1. A data file is written once, under a name that no other attempt uses, and never changed. Two attempts that share a
   name have been seen to give readable files with wrong rows.
2. When `write` returns, the file and its name are on the disk. When it fails, the file is gone.
3. A file counts only when a record names it (manifest, snapshot): what a crash leaves behind is never read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from dataops.errors import InvalidInput, NotFound
from dataops.storage.disk import Disk, hide_values, local_folder, redact, storage_errors, sync_folder, write_new

HIDDEN = (".", "_")  # Hive's and Spark's convention: temporary files, logs and markers are no data
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStat:
    """A file as it was found: `path` relative to the URL of its `DataFiles`."""

    path: str
    size_bytes: int
    mtime_ns: int


FileStats = list[FileStat]  # `list` is a method below


class Ends(NamedTuple):
    """How a file of `size_bytes` begins and ends."""

    size_bytes: int
    head: bytes
    tail: bytes


def check_path(path: str) -> str:
    """`path`, if it can name a data file: looser than a key, since sources come with names of their own.

    Raises
    ------
    InvalidInput : absolute, an empty, ``.`` or ``..`` segment, or characters that don't print.
    """
    if not path.isprintable() or any(segment in ("", ".", "..") for segment in path.split("/")):
        raise InvalidInput(
            f"{hide_values(path)[:200]!a} can't be the path of a data file: expected names joined by '/', none of "
            "them empty, '.' or '..', all characters printable"
        )
    return path


class DataFiles(ABC):
    """The data files below one URL; all paths are relative to it. Cheap to make and to pickle; made by `open_files`."""

    url: str
    far = False
    """Whether each read is a request over a network: few large ones are better than many small ones."""

    @abstractmethod
    def list(self, folder: str, suffix: str = ".parquet", *, unnamed: Callable[[str], None] | None = None) -> FileStats:
        """The files below `folder` (``""``: the root), at any depth, sorted by path.

        Nothing whose name starts with ``.`` or ``_`` is among them.

        Parameters
        ----------
        unnamed : told of each path that can't name a data file, in characters that print; without it, one is an error.

        Raises
        ------
        NotFound : no such folder. (A source that isn't there must not look like one without rows.)
        InvalidInput : a path that can't name a data file, and nobody to be told of it.
        """

    @abstractmethod
    def stat(self, path: str) -> FileStat:
        """Size and time of the file `path`.

        Raises
        ------
        NotFound : no such file.
        """

    @abstractmethod
    def write(self, path: str, write: Callable[[IO[bytes]], Any]) -> int:
        """The size in bytes of the new file `path`, lasting, with what `write` put into its stream.

        Raises
        ------
        AlreadyExists : a file of that name; it stays as it is. (Where a reply can be lost, one of other bytes.)
        Storage : the disk failed or is full; nothing is left under that name.
        """

    @abstractmethod
    def delete(self, path: str) -> None:
        """No file is at `path` any more; none there is fine."""

    def open(self, path: str) -> pa.NativeFile:
        """The file `path` for reading at any offset.

        Raises
        ------
        NotFound : no such file.
        """
        return self.open_found(path)[1]

    @abstractmethod
    def open_found(self, path: str) -> tuple[FileStat, pa.NativeFile]:
        """What `stat` and `open` give of the file `path`, in one look where that can be.

        Raises
        ------
        NotFound : no such file.
        """

    def read_ends(self, path: str, head: int, tail: int) -> Ends:
        """The size of the file `path`, its first `head` bytes and its last `tail`; all of them, where there are fewer.

        Raises
        ------
        NotFound : no such file.
        """
        with self.open(path) as opened, self._errors("reading", path):
            size_bytes = opened.size()
            first = bytes(opened.read(head))
            opened.seek(max(0, size_bytes - tail))
            return Ends(size_bytes, first, bytes(opened.read(tail)))

    def sha256(self, path: str) -> str:
        """``sha256:<hex>`` of the bytes of the file `path`."""
        running = hashlib.sha256()
        with self.open(path) as stream, self._errors("reading", path):
            while chunk := stream.read(_CHUNK_BYTES):
                running.update(chunk)
        return "sha256:" + running.hexdigest()

    @contextmanager
    def _errors(self, doing: str, path: str) -> Iterator[None]:
        where = f"{hide_values(path) or 'the folder'} in {redact(self.url)}"
        with storage_errors(f"{doing} {where}"):
            try:
                yield
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise NotFound(f"there is no file {where}") from None


class PosixFiles(DataFiles):
    """Data files in a folder of a POSIX file system."""

    def __init__(self, root: Path) -> None:
        self._disk = Disk(root.absolute())
        self.url = root.absolute().as_uri()

    def __reduce__(self) -> tuple[type[PosixFiles], tuple[Path]]:
        return type(self), (self._disk.root,)

    def list(  # noqa: D102 - the seam says it
        self, folder: str, suffix: str = ".parquet", *, unnamed: Callable[[str], None] | None = None
    ) -> FileStats:
        top = self._disk.locate(check_path(folder.removesuffix("/")) if folder else "")
        with self._errors("listing", folder):
            if not top.is_dir():
                hint = "; that is a file: name the folder that it lies in" if top.is_file() else ""
                raise NotFound(f"there is no folder {folder or 'at'} {'in ' if folder else ''}{self.url}{hint}")
            found = [path for path in self._disk.walk(top, HIDDEN) if path.name.endswith(suffix)]
            stats = []
            for path in found:
                relative = self._disk.relative(path)
                if unnamed is not None and not relative.isprintable():
                    unnamed(ascii(relative)[1:-1])
                else:
                    stats.append(_stat(check_path(relative), path.stat()))
        return sorted(stats, key=lambda stat: stat.path)

    def stat(self, path: str) -> FileStat:  # noqa: D102
        located = self._disk.locate(check_path(path))
        with self._errors("reading the size of", path):
            status = located.stat()
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
            return _stat(path, status)

    def open_found(self, path: str) -> tuple[FileStat, pa.NativeFile]:  # noqa: D102
        found = self.stat(path)  # refuses what is no file, or reached through a link
        with self._errors("opening", path):
            return found, pa.OSFile(str(self._disk.locate(path)), "rb")

    def read_ends(self, path: str, head: int, tail: int) -> Ends:  # noqa: D102
        folder, _, name = check_path(path).rpartition("/")
        located = f"{self._disk.locate(folder)}/{name}"
        try:  # of 100,000 small files the time goes to what is done around the reads
            opened = os.open(located, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                size_bytes = os.fstat(opened).st_size
                last = os.pread(opened, tail, max(0, size_bytes - tail))
                first = last[:head] if size_bytes <= tail else os.pread(opened, head, 0)
            finally:
                os.close(opened)
        except OSError:
            self._disk.locate(path)  # a link is refused as such
            with self._errors("reading", path):
                raise
        return Ends(size_bytes, first, last)

    def write(self, path: str, write: Callable[[IO[bytes]], Any]) -> int:  # noqa: D102
        located = self._disk.locate(check_path(path))
        with storage_errors(f"writing {hide_values(path)} in {self.url}"):
            self._disk.make_folder(located.parent)
            return write_new(located, write, sync_name=True).st_size

    def delete(self, path: str) -> None:  # noqa: D102
        located = self._disk.locate(check_path(path))
        with storage_errors(f"deleting {hide_values(path)} in {self.url}"):
            try:
                located.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            sync_folder(located.parent)


def open_files(url: str) -> DataFiles:
    """The data files below `url` (a path, ``file://`` or ``s3://``). Touches no disk.

    Raises
    ------
    InvalidInput : a scheme that isn't supported.
    """
    folder = local_folder(url)
    if folder is None:
        scheme = url.partition("://")[0]
        if scheme == "s3":
            from dataops.storage.s3_files import S3Files

            return S3Files(url)
        raise InvalidInput(f"data files can't be read from {scheme}:// URLs; expected a path, file:// or s3://")
    return PosixFiles(folder)


def _stat(path: str, status: os.stat_result) -> FileStat:
    return FileStat(path=path, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)
