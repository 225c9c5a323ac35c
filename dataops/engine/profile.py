"""What Dask is told of a cluster: how long silence is taken for loss, and how often what was lost is tried again. Pure.

Our values come first, then those of the network, then the file's own ``config``, which wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataops.declarations.clusters import ClusterFile, RemoteFile

ALWAYS: Mapping[str, Any] = {
    # children of a long-lived driver inherit neither its locks nor its threads
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.scheduler.allowed-failures": 1,
    "distributed.deploy.lost-worker-timeout": "1 day",
    # by Dask's defaults, a hundred and fifty times a second, the two take a twentieth of a worker that does units
    "distributed.worker.profile.interval": "100ms",
    "distributed.admin.tick.interval": "100ms",
}
REMOTE: Mapping[str, Any] = {
    # a worker that was cut off takes all that it had in hand with it, and isn't the fault of any of it
    "distributed.scheduler.allowed-failures": 3,
    "distributed.scheduler.no-workers-timeout": "10 minutes",
    # moving a task that writes a file runs it twice
    "distributed.scheduler.work-stealing": False,
    # a connection that broke is tried again
    "distributed.comm.retry.count": 2,
    "distributed.scheduler.worker-ttl": "15 minutes",  # native code may hold the interpreter for minutes
}
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "reliable": {"distributed.comm.timeouts.tcp": "30s", "distributed.comm.timeouts.connect": "15s"},
    # Dask refuses a `tcp` below 11 seconds
    "unreliable": {"distributed.comm.timeouts.tcp": "12s", "distributed.comm.timeouts.connect": "5s"},
}


def dask_config(cluster: ClusterFile) -> dict[str, Any]:
    """Dask's configuration for `cluster`, by dotted keys; those of the file as they stand there."""
    remote = {**REMOTE, **NETWORKS[cluster.network]} if isinstance(cluster, RemoteFile) else {}
    return {**ALWAYS, **remote, **cluster.config}
