"""A cluster on hosts that are reached by SSH: an agent on each, which ends with the driver.

1. SSH is the ``ssh`` of the machine, with its settings, keys and known hosts; it asks nothing, and logs in to no host
   whose key isn't known.
2. The Dask scheduler runs on the first host that answers. Each cluster has certificates of its own, which go through
   SSH to its agents and nowhere else.
3. A host that is lost is logged in to again and again, and has no say in whether the run goes on: what its workers had
   in hand is done by others. Cuts shorter than `abandoned_seconds` leave its agent where it is.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from dataops.declarations.cluster_values import is_loopback
from dataops.declarations.clusters import AgentsFile, Shape, SlurmFile, SshFile
from dataops.engine.adapting import adapting
from dataops.engine.certs import DAYS, Certificates, new_certificates, only, read_certificates, security
from dataops.engine.keeping import BEATS, Beating, Place, kept
from dataops.engine.profile import dask_config
from dataops.engine.remote import Agent
from dataops.engine.standing import Standing, as_it_is
from dataops.errors import Compute, InvalidInput
from dataops.records import now_utc

CONNECT_SECONDS = 15
ANSWER_SECONDS = 60.0
FORWARD_TRIES = 2
ECHO = b"dataops forwards\n"


@contextmanager
def start(
    cluster: SshFile, shape: Shape, *, workers: int | None = None, certs: Certificates | None = None
) -> Iterator[Standing]:
    """The cluster on the hosts of the file, until the context ends.

    Parameters
    ----------
    workers : worker processes of each host, instead of what `shape` says.
    certs : what its connections are encrypted with; empty: they aren't. None: as the file says.

    Raises
    ------
    InvalidInput : a variable that hosts should get isn't set; no usable certificates.
    Compute : no host answers.
    """
    if shutil.which("ssh") is None:
        raise Compute("there is no `ssh` on this machine; install an OpenSSH client")
    certs = certificates(cluster) if certs is None else certs
    order = common_order(cluster)
    with Beating(cluster.abandoned_seconds) as beating:
        host, said = _start_scheduler(cluster, order, certs, beating)
        address = str(said["scheduler"])
        words = worker_order(cluster, order, shape, workers, address, certs)
        commands = {host: command(cluster, host) for host in cluster.hosts}
        with (
            kept(commands, words, beating, taken=cluster.minimum) as places,
            _dashboard(cluster, host, said.get("dashboard")) as dashboard,
        ):
            yield standing_at(address, cluster, certs, places, dashboard)


def worker_order(
    cluster: SshFile | SlurmFile,
    order: Mapping[str, Any],
    shape: Shape,
    workers: int | None,
    address: str,
    certs: Certificates,
) -> dict[str, Any]:
    """What an agent is told that keeps workers of the Dask scheduler at `address`."""
    return {
        **order,
        "role": "worker",
        "scheduler": address,
        "certs": only(certs, "worker"),
        "workers": workers,
        "shape": shape.model_dump(),
        "keep": shape is not cluster.train,
        "memory_limit": cluster.memory_limit,
        "local_directory": cluster.local_directory,
    }


def standing_at(
    address: str, cluster: SshFile | SlurmFile, certs: Certificates, places: Sequence[Place], dashboard: str | None
) -> Standing:
    """What a cluster comes to whose workers are kept on `places`."""
    return Standing(
        scheduler=address,
        called=f"the Dask scheduler at {address}",
        security=security(only(certs, "client")) if certs else None,
        wanted=lambda: sum(place.wanted for place in places),
        seconds=cluster.start_seconds,
        trouble=lambda: "; ".join(f"{place.name}: {place.trouble}" for place in places if place.trouble),
        dashboard=dashboard,
        adapting=partial(adapting, places=places, bounds=cluster.adapt) if cluster.adapt else as_it_is,
    )


def certificates(cluster: AgentsFile, *, days: int = DAYS) -> Certificates:
    """Those of the file's folder, else new ones for `days`, which are known to this cluster alone; none where it is
    insecure.
    """
    if cluster.certs is not None:
        return read_certificates(Path(cluster.certs), at=now_utc())
    return {} if cluster.insecure else new_certificates(at=now_utc(), days=days)


def common_order(cluster: SshFile | SlurmFile) -> dict[str, Any]:
    """What every agent of `cluster` is told, whatever its role.

    Raises
    ------
    InvalidInput : a variable that hosts should get isn't set.
    """
    missing = [name for name in cluster.environment if name not in os.environ]
    if missing:
        raise InvalidInput(f"environment: {', '.join(missing)}: not set here, and hosts should get it")
    return {
        "config": dask_config(cluster),
        "environment": {name: os.environ[name] for name in cluster.environment},
        "abandoned_seconds": cluster.abandoned_seconds,
    }


def command(cluster: SshFile, host: str) -> list[str]:
    """What logs in to `host` and starts an agent there."""
    agent = f"exec {shlex.quote(cluster.python or sys.executable)} -m dataops.engine.agent"
    return [*_login(cluster), "-o", "ClearAllForwardings=yes", "--", host, agent]


def _login(cluster: SshFile) -> list[str]:
    alive = max(1, int(cluster.abandoned_seconds / BEATS))
    settings = [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        f"ConnectTimeout={CONNECT_SECONDS}",
        f"ServerAliveInterval={alive}",
        f"ServerAliveCountMax={BEATS}",
        # the connection is the agent's life line: one that people's own settings share would live and die with theirs
        "ControlMaster=no",
        "ControlPath=none",
    ]
    if cluster.known_hosts is not None:
        settings.append(f'UserKnownHostsFile="{cluster.known_hosts}"')
    if cluster.key is not None:
        settings.append("IdentitiesOnly=yes")
    options = [word for setting in settings for word in ("-o", setting)]
    chosen = {"-l": cluster.user, "-p": cluster.port, "-i": cluster.key}
    options += [str(word) for option, value in chosen.items() if value is not None for word in (option, value)]
    return ["ssh", "-T", "-a", "-x", *options]


@contextmanager
def _dashboard(cluster: SshFile, host: str, port: int | None) -> Iterator[str | None]:
    """Where the dashboard is seen from here: one that is on loopback there, through SSH; None: where Dask says."""
    if port is None or not is_loopback(f"//{cluster.dashboard}"):
        yield None
        return
    with ExitStack() as stack:
        for _ in range(FORWARD_TRIES):
            here = _free_port()
            forward = ["-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}"]
            if stack.enter_context(_forwarding([*_login(cluster), *forward, "--", host, "exec cat"])):
                yield f"http://127.0.0.1:{here}/status"
                return
        yield f"on {host}, port {port} of its loopback; it couldn't be brought here"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as looking:
        return int(looking.getsockname()[1])


@contextmanager
def _forwarding(command: Sequence[str]) -> Iterator[bool]:
    """Whether `command`, an ``ssh`` that runs a ``cat``, forwards: it runs nothing before it listens, and ends where it
    can't listen, as when somebody took the port.
    """
    process = subprocess.Popen(  # noqa: S603  # words that our files were checked for, and no shell
        command,
        stdin=subprocess.PIPE,  # ends with the driver, and `cat` with it
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield _echoes(process)
    finally:
        process.terminate()
        process.communicate()


def _echoes(process: subprocess.Popen[bytes]) -> bool:
    """Whether what is said to `process` comes back within seconds; a login may say something before."""
    assert process.stdin is not None  # noqa: S101  # for the type checker
    assert process.stdout is not None  # noqa: S101
    ends, heard = time.monotonic() + CONNECT_SECONDS, b""
    with suppress(OSError):
        process.stdin.write(ECHO)
        process.stdin.flush()
        while ECHO not in heard and (left := ends - time.monotonic()) > 0:
            if not select.select([process.stdout], [], [], left)[0]:
                break
            said = os.read(process.stdout.fileno(), 4096)
            if not said:
                break
            heard = (heard + said)[-8192:]
    return ECHO in heard


def _start_scheduler(
    cluster: SshFile, order: Mapping[str, Any], certs: Certificates, beating: Beating
) -> tuple[str, Mapping[str, Any]]:
    """The first host that answers, and what the Dask scheduler that was started there says of itself."""
    words = {**order, "role": "scheduler", "dashboard": cluster.dashboard, "certs": only(certs, "scheduler")}
    troubles = []
    for host in cluster.hosts:
        try:
            agent = Agent(command(cluster, host), words)
        except OSError as error:
            raise Compute(f"no `ssh` can be started here ({error.strerror})") from None
        beating.add(agent)
        said = agent.hear(min(ANSWER_SECONDS, cluster.start_seconds)) or {}
        if "scheduler" in said:
            return host, said
        troubles.append(f"{host}: {agent.trouble or 'no answer'}")
        beating.drop(agent)
    raise Compute(f"on no host a Dask scheduler could be started: {'; '.join(troubles)}")
