"""What workers of the embedded cluster are told when they start, also those that start again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distributed.diagnostics.plugin import WorkerPlugin

from dataops.engine.collecting import collect_rarely

if TYPE_CHECKING:
    from distributed import Client, Worker


class Starting(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """Has Python look for garbage rarely, see `collecting`. No preload: those are the user's to name."""

    name = "dataops-starting"
    idempotent = True

    def setup(self, worker: Worker) -> None:  # noqa: ARG002  # Dask's name
        """What Dask calls in each worker."""
        collect_rarely()


def set_up_workers(client: Client) -> None:
    """Have all its workers set up, now and later."""
    client.register_plugin(Starting())
