"""A cluster in jobs of Slurm: an agent in each, a Dask scheduler beside the driver.

1. A job is an ``srun``, and ends with it: it is told what to do through it, like a host through ``ssh``. No script of a
   job and no command line holds a secret. (Slurm doesn't encrypt what goes through ``srun``: `certs` of the file, on
   the disk that nodes share, are named by their folder instead.)
2. A job that ends, by its time, by its node or by somebody's hand, is submitted again.
3. The Dask scheduler is in an agent as well, on this machine: no job's end ends it.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dataops.declarations.cluster_values import is_loopback
from dataops.declarations.clusters import Shape, SlurmFile
from dataops.engine.certs import Certificates, only
from dataops.engine.keeping import Beating, kept
from dataops.engine.remote import Agent
from dataops.engine.ssh import certificates, common_order, standing_at, worker_order
from dataops.engine.standing import ANSWER_SECONDS, Standing
from dataops.errors import Compute

MODULE = "dataops.engine.agent"


@contextmanager
def start(
    cluster: SlurmFile, shape: Shape, *, workers: int | None = None, certs: Certificates | None = None
) -> Iterator[Standing]:
    """The cluster in the jobs of the file, until the context ends.

    Parameters
    ----------
    workers : worker processes of each job, instead of what `shape` says.
    certs : what its connections are encrypted with, those of the file's folder where it names one; empty: they aren't.
        None: as the file says.

    Raises
    ------
    InvalidInput : a variable that jobs should get isn't set; no usable certificates.
    Compute : there is no Slurm here, or the Dask scheduler doesn't start.
    """
    if shutil.which("srun") is None:
        raise Compute("there is no `srun` on this machine; type this where jobs of Slurm are submitted")
    certs = certificates(cluster) if certs is None else certs
    order = common_order(cluster)
    with Beating(cluster.abandoned_seconds) as beating:
        said = _start_scheduler(cluster, order, certs, beating)
        address, port = str(said["scheduler"]), said.get("dashboard")
        here = port is not None and is_loopback(f"//{cluster.dashboard}")
        words = worker_order(cluster, order, shape, workers, address, certs)
        if cluster.certs is not None:
            words["certs"] = cluster.certs
        commands = {f"job {number + 1}": command(cluster) for number in range(cluster.jobs)}
        with kept(commands, words, beating, taken=cluster.minimum) as places:
            yield standing_at(address, cluster, certs, places, f"http://127.0.0.1:{port}/status" if here else None)


def command(cluster: SlurmFile) -> list[str]:
    """What submits a job and runs an agent in it."""
    chosen = {
        "--partition": cluster.queue,
        "--account": cluster.account,
        "--time": cluster.walltime,
        "--mem": cluster.memory,
    }
    options = [f"{option}={value}" for option, value in chosen.items() if value is not None]
    fixed = ["--job-name=dataops", "--nodes=1", "--ntasks=1", f"--cpus-per-task={cluster.cores}", "--quiet"]
    return ["srun", *fixed, *options, cluster.python or sys.executable, "-m", MODULE]


def _start_scheduler(
    cluster: SlurmFile, order: Mapping[str, Any], certs: Certificates, beating: Beating
) -> Mapping[str, Any]:
    words = {"role": "scheduler", "host": cluster.host, "dashboard": cluster.dashboard}
    agent = Agent([sys.executable, "-m", MODULE], {**order, **words, "certs": only(certs, "scheduler")})
    beating.add(agent)
    said = agent.hear(ANSWER_SECONDS) or {}
    if "scheduler" not in said:
        raise Compute(
            f"the Dask scheduler doesn't start at {shlex.quote(cluster.host)}: {agent.trouble or 'no answer'}"
        )
    return said
