"""What is on record of clusters that stand: where each is, and which process holds it.

1. ``clusters/<name>.json`` of the workspace says where one is. It is a scheduler file of Dask's with keys of ours, so
   that a file of the kind ``address`` finds it; ``clusters/<name>-certs/`` beside it has what a client needs.
2. Both are there while the process is: it takes them away at its end. What a killed one left is told from what stands
   by a lock, which the system lets go of with the process. The lock's file says whose it is: who ends a cluster ends
   that process, and no other that has its number by now.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dataops.declarations.clusters import AddressFile, ClusterFile
from dataops.engine.certs import expiry, only, write_certificates
from dataops.engine.connect import Held
from dataops.errors import AlreadyExists, InvalidInput, NotFound, near_match
from dataops.records import format_time, now_utc

FOLDER = "clusters"
STATUS_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stood:
    """What is on record of a standing cluster.

    Attributes
    ----------
    process, host : the process that holds it, by its id, and its machine.
    """

    name: str
    kind: str
    address: str
    dashboard: str
    host: str
    process: int
    started_at: str


def is_held(folder: Path, stood: Stood) -> bool | None:
    """Whether a process of this machine holds a cluster of the name of `stood`; None where that is on another one."""
    return None if stood.host != socket.gethostname() else holder(folder, stood.name) is not None


def holder(folder: Path, name: str) -> int | None:
    """The process of this machine that holds a cluster `name`, or will; 0: it doesn't say; None: none does."""
    with suppress(FileNotFoundError), _lock(folder, name).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            said = lock.read().strip()
            return int(said) if said.isdecimal() else 0
    return None


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """No other process of this machine holds a cluster `name` meanwhile; the lock's file says which one does."""
    (folder / FOLDER).mkdir(exist_ok=True)
    with _lock(folder, name).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyExists(f"cluster '{name}' is being started or stands already") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


@contextmanager
def on_record(folder: Path, name: str, cluster: ClusterFile, found: Held) -> Iterator[Stood]:
    """What is on record of the cluster `name` meanwhile, which is that of `cluster`, held by this process."""
    path, secrets = _place(folder, name), _certs(folder, name)
    stood = Stood(
        name=name,
        kind=cluster.kind,
        address=found.address,
        dashboard=found.dashboard,
        host=socket.gethostname(),
        process=os.getpid(),
        started_at=format_time(now_utc()),
    )
    shutil.rmtree(secrets, ignore_errors=True)
    if found.certs:
        write_certificates(secrets, only(found.certs, "client"))
    new = path.with_suffix(".new")
    told = {field: getattr(stood, field) for field in Stood.__slots__}
    new.write_text(json.dumps({"type": "Scheduler", **told}, indent=2), encoding="utf-8")
    new.replace(path)
    try:
        yield stood
    finally:
        path.unlink(missing_ok=True)
        shutil.rmtree(secrets, ignore_errors=True)


def _place(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.json"


def _certs(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}-certs"


def _lock(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.lock"


def find(folder: Path, name: str) -> Stood | None:
    """What is on record of the cluster `name`; None for nothing."""
    try:
        told = json.loads(_place(folder, name).read_text(encoding="utf-8"))
        return Stood(**{field: told[field] for field in Stood.__slots__})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidInput(f"{_place(folder, name)}: no record of a cluster; remove it if nobody needs it") from None


def names(folder: Path) -> list[str]:
    """The clusters that are on record."""
    return sorted(path.stem for path in (folder / FOLDER).glob("*.json"))


def as_file(folder: Path, stood: Stood) -> AddressFile:
    """A cluster file that finds `stood`."""
    certs = _certs(folder, stood.name)
    return AddressFile(
        kind="address",
        scheduler_file=str(_place(folder, stood.name)),
        certs=str(certs) if certs.is_dir() else None,
        insecure=not certs.is_dir(),
        start_seconds=STATUS_SECONDS,
    )


def certs_until(folder: Path, stood: Stood) -> datetime | None:
    """When the certificates of `stood` end; None where it has none, or they can't be read."""
    try:
        return expiry((_certs(folder, stood.name) / "client.pem").read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError):
        return None


def find_known(folder: Path, name: str) -> Stood:
    """What is on record of the cluster `name`.

    Raises
    ------
    NotFound : nothing is.
    """
    stood = find(folder, name)
    if stood is None:
        raise NotFound(f"no cluster '{name}' was started in this workspace.{near_match(name, names(folder))}")
    return stood


def forget(folder: Path, stood: Stood) -> None:
    """Takes away what a process that was killed left of `stood`."""
    if find(folder, stood.name) == stood and holder(folder, stood.name) is None:
        _place(folder, stood.name).unlink(missing_ok=True)
        shutil.rmtree(_certs(folder, stood.name), ignore_errors=True)


def record_of(stood: Stood) -> Mapping[str, Any]:
    """`stood` as JSON values."""
    return {field: getattr(stood, field) for field in Stood.__slots__}
