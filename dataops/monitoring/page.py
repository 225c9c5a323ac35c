"""The page on the Dask dashboard: a plugin of the Dask scheduler that keeps a board of runs, and shows it.

1. Drivers register it after they connect, so that clusters that others started get it too; once is enough. It needs
   dataops on the scheduler's machine.
2. No function of Dask is replaced. ``template_variables``, ``BokehApplication`` and ``DaskBokehTornado`` are names of
   Dask's modules without a promise: without them there is no page, and the JSON and the metrics stay.
3. It costs the scheduler little: a message is folded when it comes, a page is drawn only while somebody looks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin

from dataops.engine.noted import PHASE
from dataops.engine.telling import TOPIC, UNITS
from dataops.monitoring import metrics
from dataops.monitoring.board import OWN, apply
from dataops.monitoring.flow import Done
from dataops.monitoring.shown import Board

if TYPE_CHECKING:
    from distributed import Scheduler

NAME = "dataops-page"
PATH = "dataops"
PLACE_OF_TAB = 1  # after Dask's own first page
SECONDS_BETWEEN_FLUSHES = 1.0

_log = logging.getLogger("dataops.page")


class PagePlugin(SchedulerPlugin):  # type: ignore[misc]  # Dask publishes no types
    """Keeps the board of the runs on a Dask scheduler, and serves it.

    Attributes
    ----------
    board : what is known by now.
    """

    idempotent = True

    def __init__(self) -> None:
        self.name = NAME
        self.board = Board()
        self._done: dict[str, list[Done]] = {}
        self._flushed = 0.0
        self._app: Any = None

    async def start(self, scheduler: Scheduler) -> None:
        """Begin to listen, and serve what there is to see."""
        self._scheduler = scheduler
        _serve_json(scheduler, self)
        self._app = _serve_page(scheduler)
        metrics.watch(self)

    async def close(self) -> None:
        """End what would go on in a process that outlives its scheduler."""
        metrics.forget(self)
        if self._app is not None:
            with suppress(Exception):
                self._app.stop()

    def log_event(self, topic: str, msg: Any) -> None:
        """Take a message of a driver."""
        if topic != TOPIC or not isinstance(msg, Mapping) or msg.get("event") in OWN:
            return
        if msg.get("event") == "phase_ended":
            self.flush()
        if msg.get("event") == "run_shown":  # workers are numbered as the recorder does it: those that are there first
            msg = {**msg, "there": list(self._scheduler.workers)}
        self.board = apply(self.board, msg, time.time())

    def transition(self, key: Any, start: str, finish: str, *_: Any, **told: Any) -> None:
        """Note a task over units that ended: by whom, from when to when, how much."""
        if finish != "memory" or start != "processing":
            return
        task = self._scheduler.tasks.get(key)
        size = task and task.annotations and task.annotations.get(UNITS)
        if not size:
            return
        run = task.annotations.get(PHASE, ("",))[0]
        for one in told.get("startstops") or ():
            if one["action"] == "compute":
                done = Done(
                    worker=str(told.get("worker", "")),
                    start=one["start"],
                    stop=one["stop"],
                    rows=size["rows"],
                    size_bytes=size["bytes"],
                )
                self._done.setdefault(run, []).append(done)
        if time.time() - self._flushed > SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def flush(self) -> None:
        """Put on the board what tasks did since the last time."""
        self._flushed = time.time()
        done, self._done = self._done, {}
        for run, tasks in done.items():
            self.board = apply(self.board, {"event": "worked", "run": run, "tasks": tasks}, self._flushed)

    def add_client(self, scheduler: Scheduler, client: str) -> None:  # noqa: ARG002  # Dask's names
        """Note that a driver is there; a connection that broke comes back under the same name."""
        self.board = apply(self.board, {"event": "client_came", "client": client}, time.time())

    def remove_client(self, scheduler: Scheduler, client: str) -> None:  # noqa: ARG002  # Dask's names
        """Note that a driver is gone; what it hadn't ended is lost."""
        self.board = apply(self.board, {"event": "client_left", "client": client}, time.time())


def page_address(dashboard: str) -> str:
    """Where people find the page, from the address of Dask's own."""
    return dashboard.removesuffix("/status") + f"/{PATH}"


def _serve_json(scheduler: Scheduler, plugin: PagePlugin) -> None:
    from distributed.http.utils import RequestHandler

    from dataops.monitoring.page_views import board_record

    class Json(RequestHandler):  # type: ignore[misc]  # Dask publishes no types
        def get(self) -> None:
            plugin.flush()
            self.set_header("Cache-Control", "no-store")
            self.write(board_record(plugin.board, time.time()))

    prefix = _prefix(scheduler)
    scheduler.http_application.add_handlers(r".*", [(rf"{prefix}/{PATH}\.json", Json, {"dask_server": scheduler})])


def _serve_page(scheduler: Scheduler) -> Any:
    """The application of the page; None where the scheduler has no dashboard, or one that we don't know."""
    from tornado.ioloop import IOLoop

    main = _dashboard(scheduler)
    if main is None:
        _log.info("this Dask scheduler has no dashboard, so there is no page")
        return None
    try:
        from distributed.dashboard.core import BokehApplication
        from distributed.dashboard.scheduler import template_variables

        from dataops.monitoring.page_document import page

        variables = template_variables(scheduler)  # kept by Dask: the list that the pages' navigation reads
        app = BokehApplication({f"/{PATH}": page}, scheduler, prefix=main.prefix, template_variables=variables)
        scheduler.http_application.add_application(app)
        app.initialize(IOLoop.current())
        app.start()
    except Exception as error:  # noqa: BLE001  # another Dask than the one we know: no page is no harm
        _log.warning("no page on this dashboard: %s", type(error).__name__)
        return None
    if PATH not in variables["pages"]:
        variables["pages"].insert(PLACE_OF_TAB, PATH)
    return app


def _dashboard(scheduler: Scheduler) -> Any:
    """Dask's own application for pages; None where it has none."""
    applications = getattr(scheduler.http_application, "applications", ())
    return next((one for one in applications if hasattr(one, "app_paths") and hasattr(one, "prefix")), None)


def _prefix(scheduler: Scheduler) -> str:
    main = _dashboard(scheduler)
    return "" if main is None else str(main.prefix).rstrip("/")
