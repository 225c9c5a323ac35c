"""Cluster files: where and with how many processes jobs run.

1. Scoring is many small tasks of native code: one process per core, one thread each. Training moves partitions
   together, so few processes with more threads. A file says both shapes; a run takes the one of its kind.
2. ``auto`` is resolved against a machine's cores by `Shape.resolve`, a pure function: the same file and cores give
   the same shape.
3. A file says its kind in ``kind``, and has the keys of that kind and no others. What leaves the machine is encrypted,
   unless the file says ``insecure: true``.
4. ``config`` goes to Dask as it stands and wins over our defaults; it is visible to others (``ps``, the dashboard),
   so secrets have no place in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue

from dataops.declarations.cluster_values import (
    Host,
    JobMemory,
    Memory,
    SchedulerAddress,
    ServerAddress,
    Variable,
    Walltime,
    Word,
    is_loopback,
)
from dataops.declarations.declaration import Declaration, Text, find_repeats
from dataops.declarations.loader import Finding, read_document, validate
from dataops.errors import InvalidInput, near_match

MAX_THREADS_PER_PROCESS = 8

Count = Annotated[int, Field(ge=1, le=10_000)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=604_800)]


class Shape(Declaration):
    """How many worker processes, and how many threads in each."""

    workers: Count | Literal["auto"] = "auto"
    """Worker processes, 1 to 10000; `auto`: as many as the cores allow with these threads. Default: `auto`."""
    threads: Count | Literal["auto"] = 1
    """Threads per process, 1 to 10000; `auto`: the cores, shared out among the workers. Default: 1."""

    def resolve(self, cores: int) -> tuple[int, int]:
        """Worker processes and threads per process on a machine with `cores` cores, each at least 1.

        Both ``auto`` gives the fewest processes with at most eight threads each.
        """
        if self.workers == "auto" and self.threads == "auto":
            workers = -(-cores // MAX_THREADS_PER_PROCESS)
            return max(1, workers), max(1, cores // max(1, workers))
        if self.workers == "auto":
            return max(1, cores // int(self.threads)), int(self.threads)
        threads = cores // self.workers if self.threads == "auto" else self.threads
        return self.workers, max(1, threads)


class ClusterFile(Declaration):
    """What every cluster file has; each kind adds its keys."""

    paths: ClassVar[tuple[str, ...]] = ()
    """Keys that hold a path, relative to the workspace."""

    kind: str
    record: bool = True
    """Whether runs are recorded: which task ran where and when, and how the workers fared, for reports and
    comparisons. Default: true."""
    config: dict[str, JsonValue] = Field(default_factory=dict)
    """Dask configuration for this cluster, with Dask's own keys, dotted or nested. Default: none."""


class StartedFile(ClusterFile):
    """What the file of a cluster has that dataops starts itself."""

    score: Shape = Shape(workers="auto", threads=1)
    """The shape for preparing and rescoring. Default: a process per core with one thread."""
    train: Shape = Shape(workers="auto", threads="auto")
    """The shape for training and evaluating. Default: the fewest processes with at most eight threads each."""
    memory_limit: Memory = "auto"
    """Memory per worker process, e.g. `4 GB` or `512 MiB`; a worker that goes beyond is restarted. `auto`: its share
    of the machine. Default: `auto`."""
    dashboard: ServerAddress = "127.0.0.1:0"
    """Address and port of the dashboard; port 0 takes a free one. It asks for no password: keep it on its machine.
    Default: `127.0.0.1:0`."""
    local_directory: Text | None = None
    """Folder for what workers spill from memory (governed data, unencrypted), private to you. Default: a fresh
    temporary folder."""
    idle_seconds: Seconds = 3600.0
    """Seconds without a task after which a cluster ends that `dataops cluster start` started. Default: 3600."""


class LocalFile(StartedFile):
    """`kind: local`: an embedded Dask cluster on this machine, started for a run and stopped with it."""

    paths: ClassVar[tuple[str, ...]] = ("local_directory",)

    kind: Literal["local"] = "local"
    """The kind of cluster: `local`, processes on this machine. Default: `local`."""


class RemoteFile(ClusterFile):
    """What the file of a cluster has that isn't, or not only, on this machine."""

    network: Literal["reliable", "unreliable"] = "reliable"
    """How long silence is taken for loss: `reliable`, 30 seconds; `unreliable`, 12, so that what a host did that was
    cut off is done elsewhere sooner, and short cuts cost more. Default: `reliable`."""
    start_seconds: Seconds = 120.0
    """Seconds to wait for workers at the start of a run; it goes on with those that are there, if any. Default: 120."""
    certs: Text | None = None
    """Folder with certificates, as `dataops cluster certs` makes one. Off this machine nothing goes unencrypted without
    `insecure`. Default: none."""
    insecure: bool = False
    """Whether data and code may travel unencrypted, and whoever reaches a port may run code as you: only in a network
    that nobody else is in. Default: false."""


class AddressFile(RemoteFile):
    """`kind: address`: a cluster that somebody else started, and that goes on after a run."""

    paths: ClassVar[tuple[str, ...]] = ("scheduler_file", "certs")

    kind: Literal["address"]
    """The kind of cluster: `address`, a Dask scheduler that runs already."""
    address: SchedulerAddress | None = None
    """Where its Dask scheduler listens, e.g. `tls://10.0.0.1:8786`. This or `scheduler_file`."""
    scheduler_file: Text | None = None
    """The file in which its Dask scheduler wrote where it listens: that of `dask scheduler --scheduler-file`, or of
    `dataops cluster start`. Default: none."""

    def check(self) -> Iterator[Finding]:
        """One of two ways to find it, and encryption off the machine."""
        if (self.address is None) == (self.scheduler_file is None):
            yield Finding(place=(), message="expected one of 'address' and 'scheduler_file'")
        if self.address is not None:
            yield from (Finding(place=("address",), message=one) for one in refused_address(self, self.address))


class Adapt(Declaration):
    """Between which bounds a cluster grows and shrinks by its work."""

    minimum: Count = 1
    """How many hosts or jobs have workers at all times, 1 to 10000, and are waited for at the start. Default: 1."""
    spare_seconds: Annotated[float, Field(ge=1, le=604_800)] = 60.0
    """Seconds, 1 or more, after which a host or job is given back whose workers do and hold nothing. Default: 60."""


class AgentsFile(RemoteFile, StartedFile):
    """What the file of a cluster has on whose machines agents keep workers."""

    python: Text | None = None
    """The Python on the machines that has this very dataops. Default: the path of the one that runs here."""
    environment: Annotated[tuple[Variable, ...], Field(max_length=100)] = ()
    """Names of variables that the processes there get from the environment here, such as `AWS_ACCESS_KEY_ID`; no
    command line and no configuration shows their values. Default: none."""
    abandoned_seconds: Annotated[float, Field(ge=10, le=604_800)] = 120.0
    """Seconds, 10 or more, after which processes end whose machine hears nothing of the driver any more. Default: 120.
    """
    adapt: Adapt | None = None
    """Lets the cluster grow while tasks wait, up to all its hosts or jobs, and shrink when there is less to do.
    Default: all of them, all the time."""

    @property
    def minimum(self) -> int | None:
        """How many hosts or jobs have workers from the start; None: all."""
        return None if self.adapt is None else self.adapt.minimum

    def refused_adapt(self, places: int) -> Iterator[Finding]:
        """A minimum above the number of hosts or jobs."""
        if self.adapt is not None and self.adapt.minimum > places:
            yield Finding(place=("adapt", "minimum"), message=f"there are no more than {places}")


class SshFile(AgentsFile):
    """`kind: ssh`: a cluster on hosts that are reached by SSH, started for a run and stopped with it. Each gets the
    processes of the shape; the Dask scheduler runs on the first one that answers.
    """

    paths: ClassVar[tuple[str, ...]] = ("certs", "key", "known_hosts")

    kind: Literal["ssh"]
    """The kind of cluster: `ssh`, processes on other machines."""
    hosts: Annotated[tuple[Host, ...], Field(min_length=1, max_length=1000)]
    """Names or addresses of the hosts, as `ssh` takes them; settings of `~/.ssh/config` hold. Required."""
    user: Word | None = None
    """User to log in as. Default: as `ssh` does."""
    port: Port | None = None
    """Port of the SSH servers. Default: as `ssh` does."""
    key: Text | None = None
    """File with the private key to log in with. Default: as `ssh` does."""
    known_hosts: Text | None = None
    """File with the hosts' keys. A host whose key isn't known is refused. Default: as `ssh` does."""

    def check(self) -> Iterator[Finding]:
        """No host twice, and no minimum beyond them."""
        yield from find_repeats(self.hosts, ("hosts",))
        yield from self.refused_adapt(len(self.hosts))


class SlurmFile(AgentsFile):
    """`kind: slurm`: a cluster in jobs of Slurm, started for a run and stopped with it.

    The Dask scheduler runs on this machine, where `srun` is; each job has the processes of the shape.
    """

    paths: ClassVar[tuple[str, ...]] = ("certs",)

    kind: Literal["slurm"]
    """The kind of cluster: `slurm`, processes in jobs of Slurm."""
    host: Host
    """The address of this machine that Slurm's nodes reach. Required."""
    jobs: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many jobs, 1 to 1000, each on a node of its own choice of Slurm's. One that ends, by its time or by
    somebody's hand, is submitted again. Default: 1."""
    queue: Word | None = None
    """Slurm's partition. Default: Slurm's."""
    account: Word | None = None
    """The account that is charged. Default: Slurm's."""
    walltime: Walltime | None = None
    """How long a job may last, as Slurm writes it, such as `02:00:00`. Default: Slurm's."""
    cores: Count = 1
    """Cores of a job, 1 to 10000. Default: 1."""
    memory: JobMemory | None = None
    """Memory of a job, such as `8G`, as Slurm writes it. Default: Slurm's."""

    def check(self) -> Iterator[Finding]:
        """No minimum beyond the jobs."""
        yield from self.refused_adapt(self.jobs)


KINDS: Mapping[str, type[ClusterFile]] = {
    "local": LocalFile,
    "address": AddressFile,
    "ssh": SshFile,
    "slurm": SlurmFile,
}


def shape_of(cluster: ClusterFile, *, training: bool) -> Shape | None:
    """The shape in which a run starts `cluster`; None for one that stands already."""
    if not isinstance(cluster, StartedFile):
        return None
    return cluster.train if training else cluster.score


def refused_address(cluster: RemoteFile, address: str) -> Iterator[str]:
    """Why nothing is sent to the Dask scheduler at `address`, if so."""
    encrypted = address.startswith("tls://")
    if encrypted and cluster.certs is None:
        yield "a cluster with TLS takes certificates: name their folder in 'certs'"
    elif not encrypted and cluster.certs is not None:
        yield "with 'certs' the address begins with tls://"
    elif not encrypted and not cluster.insecure and not is_loopback(address):
        yield (
            "data would leave this machine unencrypted: use tls:// with 'certs' (`dataops cluster certs`), or say "
            "'insecure: true'"
        )


def read_cluster(path: Path, *, workspace: Path | None = None) -> ClusterFile:
    """The cluster file at `path`, its relative paths below `workspace` where that is given.

    Raises
    ------
    InvalidInput : all findings, each with file, line and path.
    """
    document = read_document(path)
    kind: Any = document.value.get("kind", "local") if isinstance(document.value, dict) else "local"
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        where = document.where(("kind",))
        raise InvalidInput(f"{where}: kind: unknown kind of cluster.{near_match(str(kind), KINDS)}")
    cluster = validate(document, model)
    return cluster if workspace is None else _placed(cluster, workspace)


def _placed(cluster: ClusterFile, workspace: Path) -> ClusterFile:
    written = {name: getattr(cluster, name) for name in cluster.paths}
    found = {name: str(workspace / Path(path).expanduser()) for name, path in written.items() if path is not None}
    return cluster.model_copy(update=found)
