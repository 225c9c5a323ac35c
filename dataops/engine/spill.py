"""The folder that the workers of an embedded cluster spill to: private, and wiped.

1. Only its owner can look into it: spilled data lies there in the clear.
2. It is wiped when its cluster ends. A driver that was killed wipes nothing, so the next one wipes what it left: a
   folder whose lock nobody holds has no driver any more (the system lets go of a dead process's locks).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "dataops-spill-"
LOCK = ".lock"


@contextmanager
def spill_folder(base: str | None = None) -> Iterator[Path]:
    """A folder of one's own below `base` (by default the system's for temporary files), wiped at the end."""
    parent = Path(base or tempfile.gettempdir())
    _wipe_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with (folder / f"{LOCK}.new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # held before it can be seen, so that nobody takes it for a dead driver's
            (folder / f"{LOCK}.new").rename(folder / LOCK)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wipe_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        if _abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    """Whether `folder` is ours and its driver is dead; one without a lock yet is being made just now."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        with (folder / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
