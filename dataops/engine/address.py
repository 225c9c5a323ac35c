"""A cluster that runs already, found by the address of its Dask scheduler."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataops.declarations.cluster_values import require_scheduler_address
from dataops.declarations.clusters import AddressFile, RemoteFile, refused_address
from dataops.engine.certs import read_certificates, security
from dataops.engine.standing import Standing
from dataops.errors import Compute, InvalidInput
from dataops.records import now_utc


@contextmanager
def find(cluster: AddressFile) -> Iterator[Standing]:
    """The cluster at the address that the file says, or at which its scheduler file says.

    Raises
    ------
    Compute : no scheduler file: it is there while the cluster is.
    NotFound : no certificates.
    InvalidInput : they can't be used; what would be sent there would be unencrypted.
    """
    address = cluster.address or scheduler_address(Path(str(cluster.scheduler_file)), cluster)
    secured = None
    if cluster.certs is not None:
        secured = security(read_certificates(Path(cluster.certs), at=now_utc(), roles=("client",)))
    yield Standing(
        scheduler=address,
        called=f"the Dask scheduler at {address}",
        security=secured,
        seconds=cluster.start_seconds,
    )


def scheduler_address(path: Path, cluster: RemoteFile) -> str:
    """The address in the scheduler file at `path`.

    Raises
    ------
    Compute : no such file.
    InvalidInput : it holds no address, or one that `cluster` may not send anything to.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["address"]
        address = require_scheduler_address(found)
    except FileNotFoundError:
        raise Compute(f"{path}: no such file: the cluster doesn't run; `dataops cluster start` writes it") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidInput(f"{path}: holds no address of a Dask scheduler") from None
    for reason in refused_address(cluster, address):
        raise InvalidInput(f"{path}: {address}: {reason}")
    return address
