"""What a worker finds where it runs: its code, its clock, and whether it reaches what units need."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dataops.engine.code import code_identity
from dataops.errors import DataopsError

FRAME = ("dask", "distributed", "msgpack", "cloudpickle", "tornado")
"""What both sides of a connection of Dask's must have in the same version."""


def examine(places: Mapping[str, str], key: str) -> dict[str, Any]:
    """What is found in this process: JSON values, and no secret.

    Parameters
    ----------
    places : URLs and paths of a workspace: ``storage``, ``registry``, ``keys``.
    key : a key of the storage that all workers put at once; each puts its own bytes.
    """
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "code": dict(code_identity()),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in FRAME}},
        "time": time.time(),
        "free_bytes": shutil.disk_usage(_spill()).free,
        "storage": _tried(lambda: _put(places["storage"], key)),
        "registry": _tried(lambda: _look(places["registry"])),
        "keys": _tried(lambda: _list(Path(places["keys"]))),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _spill() -> str:
    from distributed import get_worker

    try:
        return str(get_worker().local_directory)
    except ValueError:
        return tempfile.gettempdir()


def _tried(do: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"ok": True, "found": do()}
    except DataopsError as error:
        return {"ok": False, "reason": str(error)}
    except Exception as error:  # noqa: BLE001  # whatever it is: it isn't reached
        return {"ok": False, "reason": type(error).__name__}


def _put(url: str, key: str) -> bool:
    """Whether this process was the first to put `key`; the first put tries out the store's conditional writes."""
    from dataops.storage.objects import open_store

    return open_store(url).put_if_absent(key, f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}".encode())


def _look(url: str) -> int:
    """How many folders the store at `url` has at its top."""
    from dataops.storage.objects import open_store

    return len(open_store(url, read_only=True).folders(""))


def _list(folder: Path) -> int:
    """How many files are in `folder`, each of which can be opened."""
    files = sorted(folder.glob("key-*.json"))
    for path in files:
        path.open("rb").close()
    if not files:
        raise FileNotFoundError
    return len(files)
