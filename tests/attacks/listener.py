"""What anybody with a Dask client or the dashboard could hear: keys, graphs, names, transitions, logs, pages."""

from __future__ import annotations

import pickle
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin

PAGES = (
    "info/main/workers.html",
    "info/main/logs.html",
    "info/main/exceptions.html",
    "json/counts.json",
    "dataops",
    "dataops.json",
)


class Listener(SchedulerPlugin):
    """Keeps all that Dask's scheduler is told of tasks: keys, annotations, what to run on what, errors."""

    name = "listener"

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.keys: list[bytes] = []

    def update_graph(self, scheduler: Any, *, tasks: Any, annotations: Any, **_: Any) -> None:
        self.keys += [repr(tasks).encode(), repr(annotations).encode()]
        for key in tasks:
            self.heard.append(pickle.dumps(scheduler.tasks[key].run_spec) if key in scheduler.tasks else b"")

    def transition(self, key: Any, start: str, finish: str, *args: Any, **rest: Any) -> None:
        self.heard.append(repr((key, start, finish, args, rest)).encode())


def from_dask(client: Client, listener: Listener) -> dict[str, bytes]:
    """All that the cluster said and was told, by kind."""
    scheduler = client.cluster.scheduler
    logs = [client.get_worker_logs(n=10_000), client.get_scheduler_logs(n=10_000), client.get_worker_logs(nanny=True)]
    events = {topic: list(entries) for topic, entries in scheduler.get_events().items()}
    return {
        "dask graph": b"\n".join(listener.heard),
        "dask keys": b"\n".join(listener.keys),
        "dask names": repr((scheduler.task_prefixes, scheduler.task_groups)).encode(),
        "dask logs": repr(logs).encode(),
        "dask events": repr(events).encode(),
        "dask pages": b"\n".join(map(_page, [client.dashboard_link.removesuffix("status") + one for one in PAGES])),
    }


def _page(url: str) -> bytes:
    with suppress(urllib.error.URLError, ValueError), urllib.request.urlopen(url, timeout=60) as page:  # noqa: S310
        return bytes(page.read())
    return b""
