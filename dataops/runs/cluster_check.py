"""Whether a cluster can do the jobs of a workspace: asked of every worker, judged here."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataops.declarations.clusters import AgentsFile, ClusterFile, RemoteFile, shape_of
from dataops.engine.certs import expiry
from dataops.engine.code import code_identity
from dataops.engine.connect import joined
from dataops.engine.examine import examine
from dataops.engine.joining import ask_workers
from dataops.errors import DataopsError
from dataops.records import new_nonce, now_utc
from dataops.runs.workspace import Workspace

CLOCKS_MAY_DIFFER_SECONDS = 5.0
FREE_BYTES = 2_000_000_000
_SOON_DAYS = 7
_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found.

    Attributes
    ----------
    address : of the Dask scheduler.
    workers : by address, what each found (`engine.examine`), and ``clock_off``: seconds that its clock is off ours.
    wrong : what has to be mended, in words; nothing: the cluster can be worked on.
    notes : what is good to know.
    """

    address: str
    encrypted: bool
    workers: Mapping[str, Mapping[str, Any]]
    wrong: tuple[str, ...]
    notes: tuple[str, ...]


def check_cluster(workspace: Workspace, cluster: ClusterFile, *, workers: int | None = None) -> Checked:
    """What every worker of `cluster`, which is started if it has to be, finds.

    Raises
    ------
    Compute : there is no cluster, or nobody answers.
    """
    if isinstance(cluster, AgentsFile):
        cluster = cluster.model_copy(update={"adapt": None})  # every host and job is asked, and not the first few
    settings, key = workspace.settings, f"probe-{new_nonce()}"
    places = {"storage": settings.storage, "registry": settings.registry, "keys": settings.keys}
    with joined(cluster, shape_of(cluster, training=False), workers=workers) as client:
        asked = time.time()
        found = ask_workers(client, examine, places, key)
        answered = time.time()
        address = str(client.scheduler.address)
        strangers = address.startswith("tls://") and is_open(address)
    with suppress(DataopsError):
        workspace.store.delete(key)
    told = {name: _with_clock(said, asked, answered) for name, said in found.items()}
    wrong = [f"{name}: {one}" for name, said in told.items() for one in wrong_with(said)]
    wrong.extend(_raced(told))
    if strangers:
        wrong.append(f"{address} answers who has no certificate of this cluster")
    return Checked(
        address=address,
        encrypted=address.startswith("tls://"),
        workers=told,
        wrong=tuple(wrong),
        notes=tuple(_notes(cluster)),
    )


def _with_clock(said: Any, asked: float, answered: float) -> dict[str, Any]:
    if not isinstance(said, Mapping):
        return {"failed": type(said).__name__}
    off = max(asked - said["time"], said["time"] - answered, 0.0)
    return {**said, "clock_off": round(off, 3)}


def wrong_with(said: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a worker that `said` what it found."""
    if "failed" in said:
        yield f"can't be asked ({said['failed']}): is this very dataops installed there?"
        return
    here = code_identity()
    if said["code"] != dict(here):
        yield f"runs other code (dataops {said['code']['version']}, here {here['version']}) or other libraries"
    if said["clock_off"] > CLOCKS_MAY_DIFFER_SECONDS:
        yield f"its clock is {said['clock_off']:.0f} seconds off: grants end and times of records are compared"
    if said["free_bytes"] < FREE_BYTES:
        yield f"{said['free_bytes'] / 1e9:.1f} GB are free where it spills, and {FREE_BYTES / 1e9:.0f} are asked for"
    for place in ("storage", "registry", "keys"):
        if not said[place]["ok"]:
            yield f"doesn't reach the {place}: {said[place]['reason']}"


def _raced(told: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Of all that put one key at once, one is the first, or they don't have one storage."""
    first = [said["storage"]["found"] for said in told.values() if said.get("storage", {}).get("ok")]
    if first and sum(first) != 1:
        yield f"{sum(first)} of {len(first)} workers were the first to put one record: they don't share one storage"


def is_open(address: str) -> bool:
    """Whether the TLS server at `address` talks to a client without a certificate."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS) as plain,
            context.wrap_socket(plain) as wrapped,
        ):
            return bool(wrapped.recv(1))
    except OSError:
        return False


def _notes(cluster: ClusterFile) -> Iterator[str]:
    if not isinstance(cluster, RemoteFile):
        return
    if cluster.insecure:
        yield "insecure: true: whoever reaches its ports may run code as you"
    if cluster.certs is not None:
        ends = expiry((Path(cluster.certs) / "client.pem").read_text(encoding="ascii"))
        days = (ends - now_utc()).days if ends else 0
        if days < _SOON_DAYS:
            yield f"its certificates end in {days} days"
