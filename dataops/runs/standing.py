"""Clusters that stand until they are stopped, or have done nothing for long: each is held by a process.

1. Where one is, and who holds it, is on record (`stood`).
2. Also on this machine connections are encrypted: other users of it could run code as the cluster's, else. Nobody is
   let in any more once its certificates ended; it ends then as well, and says so.
3. A Dask scheduler that doesn't answer for a while is busy. It is lost where its client is without a connection for
   some looks in a row.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import TYPE_CHECKING

from dataops.declarations.clusters import AgentsFile, ClusterFile, SshFile, StartedFile
from dataops.engine.certs import MAX_DAYS, Certificates, end_of, new_certificates
from dataops.engine.connect import held, reached
from dataops.engine.idle import Activity, Idle, activity
from dataops.engine.ssh import certificates
from dataops.errors import AlreadyExists, Compute, Conflict, DataopsError, InvalidInput
from dataops.records import now_utc, require_name
from dataops.runs.stood import Stood, as_file, find, find_known, forget, holder, is_held, locked, on_record

if TYPE_CHECKING:
    from distributed import Client

LOOK_SECONDS = 1.0
AWAY_LOOKS = 10  # in a row without a connection: the Dask scheduler is lost
SILENT_SECONDS = 900.0  # without an answer, though connected; native code may hold its interpreter for minutes
START_SECONDS = 180.0  # for a start without its workers
HOST_SECONDS = 80.0  # for each further host that doesn't answer
_STOP_SECONDS = 60.0


def name_of(file: Path, name: str | None) -> str:
    """What a cluster of `file` is called: `name`, or as the file is."""
    return require_name(name if name is not None else file.stem, "cluster")


def hold(
    folder: Path,
    cluster: ClusterFile,
    *,
    name: str,
    training: bool,
    workers: int | None,
    stopped: Callable[[float], bool],
    told: Callable[[Stood], None],
) -> str:
    """Why it ended: ``stopped`` or ``idle``. The cluster stands meanwhile, and is found at `folder` (a workspace's).

    Parameters
    ----------
    training : takes the shape `train` of the file, and not `score`.
    stopped : waits for so many seconds; whether somebody wants an end.
    told : called once it is there.

    Raises
    ------
    InvalidInput : the file is of a cluster that somebody else started.
    AlreadyExists : one of this name stands.
    Compute : it can't be started, or was lost.
    """
    if not isinstance(cluster, StartedFile):
        raise InvalidInput(f"a cluster of the kind '{cluster.kind}' is started by somebody else")
    require_free(folder, name)
    certs = _certificates(cluster)
    shape = cluster.train if training else cluster.score
    with (
        locked(folder, name),
        held(cluster, shape, workers=workers, certs=certs) as found,
        on_record(folder, name, cluster, found) as stood,
    ):
        told(stood)
        idle = Idle(limit_seconds=cluster.idle_seconds, since=time.monotonic())
        return stand(found.client, name, idle=idle, certs_end=end_of(certs), stopped=stopped)


def _certificates(cluster: StartedFile) -> Certificates:
    """Those of the file's folder, else new ones that last as long as any may; none where it is insecure."""
    if isinstance(cluster, AgentsFile):
        return certificates(cluster, days=MAX_DAYS)
    return new_certificates(at=now_utc(), days=MAX_DAYS)


def stand(
    client: Client, name: str, *, idle: Idle, certs_end: datetime | None, stopped: Callable[[float], bool]
) -> str:
    """Why the cluster of `client` ended: ``stopped`` or ``idle``.

    Parameters
    ----------
    certs_end : when its certificates end; None: it has none.
    stopped : as of `hold`.

    Raises
    ------
    Compute : it was lost, or its certificates ended.
    """
    away, heard = 0, time.monotonic()
    while not stopped(LOOK_SECONDS):
        away = 0 if client.status == "running" else away + 1
        found = _asked(client) if away == 0 else None
        now = time.monotonic()
        heard = heard if found is None else now
        if away == AWAY_LOOKS or now - heard >= SILENT_SECONDS:
            raise Compute(f"the Dask scheduler of cluster '{name}' was lost; start it again")
        if certs_end is not None and now_utc() >= certs_end and found is not None and not found.busy:
            raise Compute(
                f"the certificates of cluster '{name}' ended on {certs_end:%Y-%m-%d}: nobody is let in any more; start "
                "it again, with new ones where its file names a folder"
            )
        if idle.is_over(found, now):
            return "idle"
    return "stopped"


def _asked(client: Client) -> Activity | None:
    """What the cluster does now; None where it doesn't say so within seconds."""
    try:
        return activity(client)
    except Compute:
        return None


def require_free(folder: Path, name: str) -> None:
    """Nothing, if no cluster `name` stands.

    Raises
    ------
    AlreadyExists : one does, here or on another machine.
    """
    earlier = find(folder, name)
    if earlier is not None and is_held(folder, earlier) is not False:
        raise AlreadyExists(f"cluster '{name}' stands already, at {earlier.address}; `dataops cluster stop {name}`")


def look(folder: Path, name: str) -> tuple[Stood, Activity | None]:
    """What is on record of the cluster `name`, and what it does now, be it without workers; None: it doesn't answer.

    Raises
    ------
    NotFound : nothing is on record.
    """
    stood = find_known(folder, name)
    try:
        with reached(as_file(folder, stood)) as client:
            return stood, activity(client)
    except DataopsError:
        return stood, None


def start_limit(cluster: ClusterFile) -> float:
    """Seconds after which a start of `cluster` hangs: longer than it waits for its hosts and its workers."""
    hosts = len(cluster.hosts) if isinstance(cluster, SshFile) else 1
    return START_SECONDS + HOST_SECONDS * (hosts - 1) + float(getattr(cluster, "start_seconds", 0.0))


def wait_for_start(folder: Path, name: str, process: Popen[bytes], log: Path, seconds: float) -> Stood:
    """The cluster `name`, once `process` holds it.

    Raises
    ------
    Compute : `process` ended, or took longer than `seconds` and was ended; with the end of its `log`.
    """
    ends = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < ends:
        stood = find(folder, name)
        if stood is not None and stood.process == process.pid:
            return stood
        time.sleep(0.1)
    _end(process)
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    raise Compute(f"cluster '{name}' didn't start: {lines[-1].removeprefix('error: ') if lines else 'it said nothing'}")


def _end(process: Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except TimeoutExpired:
        process.kill()
        process.wait()


def stop(folder: Path, name: str) -> Stood:
    """The cluster `name`, once it has ended; what a killed process left of one is taken away.

    Raises
    ------
    NotFound : nothing is on record.
    Conflict : it is held by a process on another machine, or is just being started by another one.
    Compute : it doesn't end.
    """
    stood = find_known(folder, name)
    if stood.host != socket.gethostname():
        raise Conflict(f"cluster '{name}' is held by process {stood.process} on {stood.host}: stop it there")
    if (by := holder(folder, name)) not in (None, stood.process):
        raise Conflict(
            f"cluster '{name}' is being started{f' by process {by}' if by else ''}: process {stood.process}, which is "
            "on record, held an earlier one; try again"
        )
    if by is not None:
        _stop(folder, stood)
    forget(folder, stood)
    return stood


def _stop(folder: Path, stood: Stood) -> None:
    with suppress(ProcessLookupError):
        os.kill(stood.process, signal.SIGTERM)
    ends = time.monotonic() + _STOP_SECONDS
    while (still := holder(folder, stood.name) == stood.process) and time.monotonic() < ends:
        time.sleep(0.1)
    if still:
        raise Compute(f"cluster '{stood.name}' (process {stood.process}) doesn't end")
