"""Storage that fails on purpose, at the k-th operation.

Modes: ``before`` (nothing was done), ``after`` (done, but the reply is lost), ``torn`` (half done, where that can be).
An `error` of `Crash` stands for the death of the process: from then on nothing works, no clean-up runs. Any other error
is one that the caller sees and lives on with.

`FaultyStore` and `FaultyFiles` fail at the seams; `FaultyDisk` fails below them, at each call that changes a POSIX
disk, and can say what a power cut would leave: only what was synced.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO, Any, Literal, Self, TypeVar

import pyarrow as pa

from dataops.storage.files import DataFiles, FileStat, FileStats
from dataops.storage.objects import Keys, PosixStore, Store

Mode = Literal["before", "after", "torn"]
MODES: tuple[Mode, ...] = ("before", "after", "torn")
T = TypeVar("T")


class Crash(BaseException):
    """The process dies here. No `except Exception` catches it, like a kill."""


class Fault:
    """Counts operations and fails the one numbered `fail_at` (0: none)."""

    def __init__(self, fail_at: int, mode: Mode, error: Callable[[], BaseException]) -> None:
        self.fail_at, self.mode, self.error = fail_at, mode, error
        self.operations = 0
        self.dead = False

    def step(self, do: Callable[[], T], tear: Callable[[], Any] = lambda: None) -> T:
        if self.dead:
            raise Crash
        self.operations += 1
        if self.operations != self.fail_at:
            return do()
        if self.mode == "torn":
            tear()
        if self.mode == "after":
            with suppress(Exception):  # an answer of "not there" is lost too
                do()
        failure = self.error()
        self.dead = isinstance(failure, Crash)
        raise failure


def crash_points(attempt: Callable[[int], bool], *, at_least: int) -> None:
    """`attempt(k)` for k = 1, 2, ... until one ran through without meeting its fault (returns False)."""
    for k in count(1):
        if not attempt(k):
            assert k > at_least, f"only {k - 1} operations were seen: the fault is not injected where it should be"
            return


class FaultyStore(Store):
    def __init__(
        self, inner: Store, fail_at: int, mode: Mode = "before", error: Callable[[], BaseException] = Crash
    ) -> None:
        self.inner, self.url = inner, inner.url
        self.fault = Fault(fail_at, mode, error)

    def get(self, key: str) -> bytes:
        return self.fault.step(lambda: self.inner.get(key))

    def list(self, prefix: str) -> Keys:
        return self.fault.step(lambda: self.inner.list(prefix))

    def delete(self, key: str) -> None:
        self.fault.step(lambda: self.inner.delete(key))

    def _create(self, key: str, data: bytes) -> bool:
        return self.fault.step(lambda: self.inner._create(key, data), lambda: self._tear(key, data))

    def _tear(self, key: str, data: bytes) -> None:
        """What a kill leaves of a put half done: nothing under the key, on a disk half a temporary file."""
        if isinstance(self.inner, PosixStore):
            target = self.inner.root / key
            target.parent.mkdir(parents=True, exist_ok=True)
            (target.parent / ".tmp-torn").write_bytes(data[: len(data) // 2])


class FaultyFiles(DataFiles):
    def __init__(
        self, inner: DataFiles, fail_at: int, mode: Mode = "before", error: Callable[[], BaseException] = Crash
    ) -> None:
        self.inner, self.url = inner, inner.url
        self.fault = Fault(fail_at, mode, error)

    def list(self, folder: str, suffix: str = ".parquet", *, unnamed: Callable[[str], None] | None = None) -> FileStats:
        return self.fault.step(lambda: self.inner.list(folder, suffix, unnamed=unnamed))

    def stat(self, path: str) -> FileStat:
        return self.fault.step(lambda: self.inner.stat(path))

    def open_found(self, path: str) -> tuple[FileStat, pa.NativeFile]:
        return self.fault.step(lambda: self.inner.open_found(path))

    def sha256(self, path: str) -> str:
        return self.fault.step(lambda: self.inner.sha256(path))

    def delete(self, path: str) -> None:
        self.fault.step(lambda: self.inner.delete(path))

    def write(self, path: str, write: Callable[[IO[bytes]], Any]) -> int:
        return self.fault.step(lambda: self.inner.write(path, write), lambda: self._tear(path, write))

    def _tear(self, path: str, write: Callable[[IO[bytes]], Any]) -> None:
        """What a kill leaves: a file of that name with the first half of its bytes."""
        if self.fault.error is Crash:
            whole = io.BytesIO()
            write(whole)
            self.inner.write(path, lambda stream: stream.write(whole.getvalue()[: whole.tell() // 2]))


class FaultyDisk:
    """While entered, the calls of this process that change the disk below `root` are counted, and the k-th fails.

    It keeps what a power cut can't take: a folder's names as of its last fsync, a file's bytes as of its last fsync.
    """

    def __init__(
        self, root: Path, fail_at: int, mode: Mode = "before", error: Callable[[], BaseException] = Crash
    ) -> None:
        self.root = root
        self.fault = Fault(fail_at, mode, error)
        self._real = {name: getattr(os, name) for name in ("open", "fdopen", "fsync", "link", "unlink", "mkdir")}
        self._paths: dict[int, Path] = {}
        self._synced_names: dict[int, dict[str, int]] = {}
        self._synced_bytes: dict[int, bytes] = {}

    def __enter__(self) -> Self:
        for folder, _, files in os.walk(self.root):
            self._note_folder(Path(folder))
            for name in files:
                self._note_file(Path(folder, name))
        for name in self._real:
            setattr(os, name, getattr(self, f"_{name}"))
        return self

    def __exit__(self, *exc_info: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def after_power_cut(self, place: Path, *, names: Literal["synced", "all"]) -> Path:
        """The tree that a power cut leaves, built at `place`: bytes not synced are gone; names not synced may stay."""
        place.mkdir(parents=True)
        if names == "all":
            for folder, _, files in os.walk(self.root):
                below = place / Path(folder).relative_to(self.root)
                below.mkdir(exist_ok=True)
                for name in files:
                    (below / name).write_bytes(self._synced_bytes.get(Path(folder, name).stat().st_ino, b""))
        else:
            self._rebuild(place, self.root.stat().st_ino)
        return place

    def _rebuild(self, place: Path, folder: int) -> None:
        for name, inode in self._synced_names[folder].items():
            if inode in self._synced_names:
                (place / name).mkdir()
                self._rebuild(place / name, inode)
            else:
                (place / name).write_bytes(self._synced_bytes.get(inode, b""))

    def _note_folder(self, folder: Path) -> None:
        with os.scandir(folder) as entries:
            self._synced_names[folder.stat().st_ino] = {entry.name: entry.inode() for entry in entries}

    def _note_file(self, path: Path) -> None:
        self._synced_bytes[path.stat().st_ino] = path.read_bytes()

    def _below(self, path: Any) -> bool:
        return Path(path).is_relative_to(self.root)

    def _open(self, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        def do() -> int:
            descriptor: int = self._real["open"](path, flags, *args, **kwargs)
            if not isinstance(path, int) and self._below(path):
                self._paths[descriptor] = Path(path)
                if flags & os.O_CREAT:
                    self._synced_bytes.pop(Path(path).stat().st_ino, None)  # the number of a removed file comes back
            return descriptor

        return self.fault.step(do) if flags & os.O_CREAT and self._below(path) else do()

    def _fdopen(self, descriptor: int, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        stream = self._real["fdopen"](descriptor, mode, *args, **kwargs)
        writes = descriptor in self._paths and not mode.startswith("r")
        return _FaultyStream(stream, self.fault) if writes else stream

    def _fsync(self, descriptor: int) -> None:
        def do() -> None:
            self._real["fsync"](descriptor)
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            (self._note_folder if is_folder else self._note_file)(self._paths[descriptor])

        if descriptor in self._paths:
            self.fault.step(do)

    def _link(self, source: Any, target: Any, **kwargs: Any) -> None:
        self.fault.step(lambda: self._real["link"](source, target, **kwargs))

    def _unlink(self, path: Any, **kwargs: Any) -> None:
        self.fault.step(lambda: self._real["unlink"](path, **kwargs))

    def _mkdir(self, path: Any, *args: Any, **kwargs: Any) -> None:
        def do() -> None:
            self._real["mkdir"](path, *args, **kwargs)
            self._synced_names[Path(path).stat().st_ino] = {}

        self.fault.step(do)


class _FaultyStream:
    def __init__(self, stream: IO[bytes], fault: Fault) -> None:
        self._stream, self._fault = stream, fault

    def write(self, data: bytes) -> int:
        return self._fault.step(lambda: self._stream.write(data), lambda: self._stream.write(data[: len(data) // 2]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stream.close()


def trees_after(disk: FaultyDisk, place: Path) -> Iterator[tuple[str, Path]]:
    """What may be found after the fault: by the next process, and after a power cut at its best and worst."""
    yield "power cut, names kept", disk.after_power_cut(place / "kept", names="all")
    yield "power cut, names lost", disk.after_power_cut(place / "lost", names="synced")
    yield "process ended", disk.root
