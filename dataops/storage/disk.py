"""One folder of a POSIX file system, with what makes a write last and a name safe.

1. What was written is on the disk when the call returns: the file is synced, then the folder that holds its name, and
   every folder that was made on the way. A name never shows bytes that aren't synced yet.
2. No path leaves the folder: it is relative, without empty, ``.`` or ``..`` segments, and no symbolic link below the
   folder is followed. Else whoever may drop a file into one dataset could read another with the worker's rights.
3. The operating system's errors become `Storage`; a message never holds credentials that a URL carried, nor the value
   that a Hive folder (``column=value``) has in its name: not everybody may see that column.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from dataops.errors import AlreadyExists, DataopsError, Integrity, InvalidInput, Storage

_ADVICE = {
    errno.ENOSPC: "; free space there and run again",
    errno.EDQUOT: "; free space there or raise the quota, and run again",
    errno.EACCES: "; the account that runs this needs to read and write there",
    errno.EROFS: "; give a storage folder that can be written",
}

_NOBODY = 65_534


def redact(text: str) -> str:
    """`text` with user, password, query and fragment cut from every URL in it."""
    without_user = re.sub(r"://[^/\s]\S*@", "://", text)
    return re.sub(r"(://[^\s?#]*)[?#]\S*", r"\1", without_user)


def hide_values(path: str) -> str:
    """`path` without what stands behind the ``=`` of its segments."""
    return re.sub(r"=[^/]*", "=...", path)


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """A block in which an OSError becomes `Storage`, its message starting with `doing` (``"writing x in y"``)."""
    try:
        yield
    except DataopsError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else hide_values(redact(str(error)))[:200]
        raise Storage(f"{doing} failed: {reason}{_ADVICE.get(error.errno or 0, '')}") from None


def local_folder(url: str) -> Path | None:
    """The absolute folder that `url` (a path or ``file://``) names; None for a URL of another scheme.

    Raises
    ------
    InvalidInput : empty, with a NUL, or a ``file://`` URL with a host, query or fragment.
    """
    if not url or "\0" in url:
        raise InvalidInput("expected the path or URL of a folder, found an empty one or one with a NUL character")
    if "://" not in url:
        return Path(url).absolute()
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not parts.path:
        raise InvalidInput(f"expected file:///folder/..., without host, query or fragment; found {redact(url)}")
    return Path(unquote(parts.path))


def sync_folder(folder: Path) -> None:
    """The names in `folder` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: Path, write: Callable[[IO[bytes]], Any], *, sync_name: bool, mode: int = 0o666) -> os.stat_result:
    """The status of the new file `path` once all that `write` put into its stream is on the disk.

    The file is removed again when anything fails. With `sync_name` its name is on the disk as well. Its permissions are
    those of `mode` that the process (umask) and the folder leave.

    Raises
    ------
    AlreadyExists : there is a file of that name; it stays as it is.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise AlreadyExists(f"there is a file {path.name} already, and no file is written twice") from None
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as stream:
            write(stream)
        os.fsync(descriptor)  # the descriptor that wrote: a later one can miss an error of writing back
        if sync_name:
            sync_folder(path.parent)
        return os.fstat(descriptor)
    except BaseException:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def open_regular(path: Path, *, follow: bool = True) -> int:
    """A descriptor for reading the regular file at `path`.

    It never waits: a named pipe is opened only once somebody writes into it. Without `follow`, a link that took the
    file's place since its path was looked at isn't there either.

    Raises
    ------
    FileNotFoundError : nothing of that kind is there.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileNotFoundError(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    return descriptor


def writer_of(status: os.stat_result, what: str) -> str:
    """The user that alone can have written the file of that `status`: by name, or ``uid 4242`` where it has none.

    Parameters
    ----------
    what : the file, for messages.

    Raises
    ------
    Integrity : others may write into it, or the file system says no more than that it is somebody else's.
    """
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Integrity(
            f"{what} may be written by others than its owner (mode {stat.S_IMODE(status.st_mode):04o}), so nobody can "
            "tell who wrote it"
        )
    if status.st_uid == _NOBODY:  # also what users are called that a container or a network disk can't tell apart
        raise Integrity(f"{what} belongs to 'nobody', so nobody can tell who wrote it")
    return name_of_user(status.st_uid)


def name_of_user(number: int) -> str:
    """The name of the user of that number; ``uid 4242`` for one without."""
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return f"uid {number}"


def link_new(source: Path, target: Path) -> bool:
    """Whether `target` became a name of the file `source` now; False when that name was taken."""
    try:
        target.hardlink_to(source)
    except FileExistsError:
        return False
    except OSError:
        # NFS can make the link and lose the reply; only our own link shares the file with our unique source name
        if target.exists() and target.samefile(source):
            return True
        raise
    return True


class Disk:
    """The folder `root`: paths below it, durable folders, a walk over its files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._base = Path(os.path.realpath(root))  # the root itself may be a link: that is the operator's choice
        self._durable: set[Path] = set()

    def __reduce__(self) -> tuple[type[Disk], tuple[Path]]:
        """The root alone: another machine may reach it through other links, and has synced nothing yet."""
        return type(self), (self.root,)

    def locate(self, path: str) -> Path:
        """The absolute path of `path`, which has been checked for its segments; ``""`` is the root.

        Raises
        ------
        InvalidInput : it leads through a symbolic link.
        """
        located = str(self._base).rstrip("/")  # its own links were followed once: they are the operator's choice
        for segment in path.split("/") if path else ():
            located = f"{located}/{segment}"
            if os.path.islink(located):  # noqa: PTH114  # the many operations of a large run spend their time here
                raise _link_refused(path)
        return Path(located or "/")

    def relative(self, path: Path) -> str:
        """`path` as seen from the root, with forward slashes."""
        return str(path).removeprefix(str(self._base)).lstrip("/")  # `Path.relative_to` takes most of a long listing

    def make_folder(self, folder: Path | None = None) -> None:
        """`folder` (default: the root) exists and so it will after a power cut."""
        folder = folder or self._base
        above = not folder.is_relative_to(self._base) or folder == self._base
        if folder.is_dir() and (above or folder in self._durable):
            return
        # One that somebody else made counts only once we synced it: they may be cut off before they do
        self.make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
        self._durable.add(folder)

    def walk(self, folder: Path, hidden: tuple[str, ...], *, links: bool = False) -> Iterator[Path]:
        """The files in and below `folder`, but nothing whose name starts with one of `hidden`.

        Raises
        ------
        InvalidInput : a symbolic link among them, unless `links` asks for them: none is followed.
        """
        try:
            with os.scandir(folder) as found:
                entries = list(found)
        except FileNotFoundError:  # gone since its parent was read
            return
        for entry in entries:
            if entry.name.startswith(hidden):
                continue
            if entry.is_symlink():
                if links:
                    yield Path(entry.path)
                    continue
                raise _link_refused(self.relative(Path(entry.path)))
            if entry.is_dir(follow_symlinks=False):
                yield from self.walk(Path(entry.path), hidden, links=links)
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def _link_refused(path: str) -> InvalidInput:
    return InvalidInput(
        f"{hide_values(path)!r} is, or leads through, a symbolic link, which is not followed below a storage or "
        "dataset folder: put the files themselves there, or name the folder that holds them"
    )
