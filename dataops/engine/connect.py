"""From a cluster file to a Dask client.

1. Each kind of cluster has a module of its own: `embedded`, `address`, `ssh`, `slurm`. It starts the cluster, or finds
   it, gives a `Standing`, and leaves nothing behind.
2. A cluster of several machines counts as there when its workers are, and when they run the very code that runs here:
   units are written by workers, and the same inputs have to come to the same bytes.
3. A task whose workers died twice is given up by Dask: units are then done one by one, so that the one that kills
   workers is found within seconds. Off this machine it is four times, since a cut takes all that a worker had in hand.
4. What goes wrong after the connection to the Dask scheduler was lost comes of that, also where it is there again: Dask
   cancels all that a client waits for. The error says so (`Compute.cluster_lost`).
5. How long silence is taken for loss is told in `profile`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataops.declarations.clusters import AddressFile, ClusterFile, LocalFile, Shape, SlurmFile, SshFile, StartedFile
from dataops.engine.certs import Certificates
from dataops.engine.code import code_identity
from dataops.engine.embedded import usable_cores
from dataops.engine.flights import connection_of
from dataops.engine.joining import require_same_code, wait_for_workers
from dataops.engine.profile import dask_config
from dataops.engine.standing import Standing
from dataops.errors import Compute, DataopsError, InvalidInput

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Connection", "connect", "usable_cores"]

CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A client and what people want to know of its cluster.

    Attributes
    ----------
    workers, threads : worker processes, and threads of the one with the most, when it was connected to.
    trouble : why workers were missing then, as far as that is known.
    """

    client: Client
    dashboard: str
    workers: int
    threads: int
    trouble: str = ""


@contextmanager
def connect(cluster: ClusterFile, shape: Shape | None, *, workers: int | None = None) -> Iterator[Connection]:
    """A connection to the cluster that the file describes, closed at the end.

    Parameters
    ----------
    shape : see `declarations.clusters.shape_of`.
    workers : worker processes, of each host, instead of what `shape` says.

    Raises
    ------
    InvalidInput : `workers` of a cluster that stands already.
    Compute : the cluster can't be started or reached, has no worker, or runs other code.
    """
    with _met(cluster, shape, workers) as (client, found):
        from dataops.engine.loosening import loosen

        loosen(client)
        n_workers, threads = found.workers, found.threads
        if n_workers is None:
            counted = wait_for_workers(client, found)
            require_same_code(client, code_identity())
            n_workers, threads = len(counted), max(counted)
        dashboard = found.dashboard or str(client.dashboard_link)
        yield Connection(
            client=client, dashboard=dashboard, workers=n_workers, threads=threads, trouble=found.trouble()
        )


@contextmanager
def joined(cluster: ClusterFile, shape: Shape | None, *, workers: int | None = None) -> Iterator[Client]:
    """A client of the cluster that the file describes once its workers are there, whatever code they run.

    Raises
    ------
    InvalidInput, Compute : as `connect`.
    """
    with _met(cluster, shape, workers) as (client, found):
        wait_for_workers(client, found)
        yield client


@contextmanager
def reached(cluster: AddressFile) -> Iterator[Client]:
    """A client of the Dask scheduler that the file describes, whether it has workers now or not.

    Raises
    ------
    InvalidInput, Compute : as `connect`.
    """
    with _met(cluster, None, None) as (client, _):
        yield client


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A cluster that was started for others to find."""

    client: Client
    address: str
    dashboard: str
    certs: Certificates


@contextmanager
def held(cluster: StartedFile, shape: Shape, *, workers: int | None, certs: Certificates) -> Iterator[Held]:
    """The cluster that the file describes, encrypted with `certs`, until the context ends.

    Raises
    ------
    Compute : it can't be started, or has no worker.
    """
    with _met(cluster, shape, workers, certs) as (client, found):
        wait_for_workers(client, found)
        address, dashboard = str(client.scheduler.address), found.dashboard or str(client.dashboard_link)
        yield Held(client=client, address=address, dashboard=dashboard, certs=certs)


@contextmanager
def _met(
    cluster: ClusterFile, shape: Shape | None, workers: int | None, certs: Certificates | None = None
) -> Iterator[tuple[Client, Standing]]:
    import dask
    import distributed  # noqa: F401  # before: else its defaults would go when what is set here is taken back

    with (
        dask.config.set(dask_config(cluster)),
        standing(cluster, shape, workers=workers, certs=certs) as found,
        _client(found) as client,
    ):
        first = connection_of(client)
        try:
            if isinstance(cluster, LocalFile):
                from dataops.engine.starting import set_up_workers

                set_up_workers(client)
            with found.adapting(client):
                yield client, found
        except Exception as error:
            gone = client.status != "running"
            if _is_lost(error, gone=gone, again=not gone and connection_of(client) is not first):
                raise _lost(error, found) from None
            raise


def _is_lost(error: Exception, *, gone: bool, again: bool) -> bool:
    """Whether `error` came of the loss of the cluster; what is wrong in data or declaration didn't.

    Parameters
    ----------
    gone : whether the client is without a connection now.
    again : whether it lost the one that it began with, and has another one: not all that goes wrong comes of that.
    """
    if isinstance(error, Compute):
        return error.cluster_lost or gone or (again and error.may_pass)
    if isinstance(error, DataopsError):
        return False
    return gone or (again and isinstance(error, (OSError, CancelledError)))


def _lost(error: Exception, found: Standing) -> Compute:
    said = str(error) if isinstance(error, Compute) else f"{found.called} was lost ({type(error).__name__})"
    lost = Compute(said)
    lost.cluster_lost = True
    return lost


def standing(
    cluster: ClusterFile, shape: Shape | None, *, workers: int | None = None, certs: Certificates | None = None
) -> AbstractContextManager[Standing]:
    """The cluster that the file describes, started if it has to be; what was started ends with the context.

    Parameters
    ----------
    certs : what connections of a cluster that is started are encrypted with; None: as its kind does it.

    Raises
    ------
    InvalidInput : `workers` of a cluster that stands already.
    Compute : it can't be started.
    """
    match cluster:
        case LocalFile():
            from dataops.engine import embedded

            return embedded.start(cluster, shape or cluster.score, workers=workers, certs=certs)
        case SshFile():
            from dataops.engine import ssh

            return ssh.start(cluster, shape or cluster.score, workers=workers, certs=certs)
        case SlurmFile():
            from dataops.engine import slurm

            return slurm.start(cluster, shape or cluster.score, workers=workers, certs=certs)
        case AddressFile():
            from dataops.engine import address

            if workers is not None:
                raise InvalidInput("--workers: this cluster runs already, with the workers that it has")
            return address.find(cluster)
    raise InvalidInput(f"a cluster of the kind '{cluster.kind}' isn't known here")


@contextmanager
def _client(found: Standing) -> Iterator[Client]:
    from distributed import Client

    client = Client.__new__(Client)  # at hand also where its making, which waits for an answer, is interrupted
    try:
        Client.__init__(client, found.scheduler, security=found.security, set_as_default=False, timeout=found.seconds)
    except (OSError, ValueError) as error:  # TLS that doesn't match is one of them
        hint = "; are 'certs' those of this cluster?" if found.security else ""
        raise Compute(
            f"{found.called} can't be reached ({type(error).__name__}){hint} `dataops cluster check` says more"
        ) from None
    except KeyboardInterrupt:
        _give_up(client)
        raise
    with client:
        yield client


def _give_up(client: Client) -> None:
    """Close `client`, which is half made: the interpreter would do it at its end, when its loop has ended, and wait for
    that twice as long as a start may take.
    """
    client._timeout = CLOSE_SECONDS  # noqa: SLF001  # that is how long it waits
    with suppress(Exception, CancelledError):
        client.close()
    client.status = "closed"
