"""Which workers a cluster has, as its scheduler knows it now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client


def known_workers(client: Client) -> Mapping[str, Mapping[str, Any]]:
    """What the scheduler knows of each worker, by address.

    Asked of it directly: `Client.scheduler_info` gives what lies in a field of the client, which a callback overwrites
    every two seconds with no workers at all; whoever reads it just then sees an empty cluster.
    """
    found: Mapping[str, Mapping[str, Any]] = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
    return found
