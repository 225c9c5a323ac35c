"""What runs on a host of a cluster: its Dask scheduler, or its workers, for as long as somebody asks for them.

1. ``python -m dataops.engine.agent`` is told what to do by one line of JSON on stdin. Certificates and values of the
   environment come that way alone: no disk holds them, and no command line.
2. Its stdin is its life line. All that it started ends when stdin ends, or when nothing came through it for
   `abandoned_seconds`: the driver died, or was cut off for good.
3. A worker that ended is started again, whatever its exit code: Dask's own end with 0 when they were cut off. How many
   will be there is told, and told again when one doesn't start or does after all.
4. It listens where it can be reached: a scheduler on the address that its driver logged in to, a worker on the one from
   which the scheduler is reached. Pages and figures of Dask's, which go unencrypted, stay on loopback.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from dataops.declarations.clusters import Shape
from dataops.engine.certs import read_certificates, security
from dataops.engine.embedded import environment_of_workers, usable_cores
from dataops.engine.spill import spill_folder
from dataops.records import now_utc

PAUSE_SECONDS = 2.0
LOOPBACK = "127.0.0.1:0"
_LOOK_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class Lifeline:
    """The stdin of an agent: while somebody is at the other end, it goes on."""

    abandoned_seconds: float
    ended: asyncio.Event
    heard: float = field(default_factory=time.monotonic)

    def listen(self, stdin: IO[bytes], loop: asyncio.AbstractEventLoop) -> None:
        """Starts a thread that listens until `stdin` ends."""

        def listening() -> None:
            with suppress(OSError):
                while stdin.readline():
                    self.heard = time.monotonic()
            with suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(self.ended.set)

        threading.Thread(target=listening, name="lifeline", daemon=True).start()

    async def cut(self) -> None:
        """Back when nobody is there any more."""
        while time.monotonic() - self.heard < self.abandoned_seconds:
            if await self.ends_within(_LOOK_SECONDS):
                return
        self.ended.set()

    async def ends_within(self, seconds: float) -> bool:
        """Whether it ended within so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), seconds)
        return self.ended.is_set()


async def obey(order: Mapping[str, Any], stdin: IO[bytes], tell: IO[str]) -> None:
    """Does what `order` says until nobody is at the other end of `stdin` any more; tells by lines of JSON."""
    lifeline = Lifeline(abandoned_seconds=order["abandoned_seconds"], ended=asyncio.Event())
    lifeline.listen(stdin, asyncio.get_running_loop())
    watching = asyncio.create_task(lifeline.cut())
    try:
        if order["role"] == "scheduler":
            await _schedule(order, lifeline, tell)
        else:
            await _work(order, lifeline, tell)
    finally:
        watching.cancel()


async def _schedule(order: Mapping[str, Any], lifeline: Lifeline, tell: IO[str]) -> None:
    from distributed import Scheduler

    secured = _security(order)
    async with Scheduler(
        host=order.get("host") or reached_at(os.environ),
        port=0,
        protocol="tls://" if secured else "tcp://",
        security=secured,
        dashboard_address=order["dashboard"],
    ) as scheduler:
        _say(tell, scheduler=scheduler.address, dashboard=scheduler.identity()["services"].get("dashboard"))
        await _first(lifeline.ended.wait(), scheduler.finished())


async def _work(order: Mapping[str, Any], lifeline: Lifeline, tell: IO[str]) -> None:
    workers, threads = Shape(**order["shape"]).resolve(usable_cores())
    workers = order["workers"] or workers
    kept = Kept(workers=workers, tell=tell)
    kept.say()
    with spill_folder(order["local_directory"]) as spill, environment_of_workers(threads, keep=order["keep"]):
        words = {
            "nthreads": threads,
            "memory_limit": order["memory_limit"],
            "local_directory": str(spill),
            "security": _security(order),
            "host": address_towards(order["scheduler"]),
            "resources": {order["place"]: 1},  # no task asks for it: it says whose the worker is (`engine.adapting`)
            "dashboard_address": LOOPBACK,  # Dask opens it with or without a dashboard, and with TLS as well
        }
        await asyncio.gather(*(_keep(number, order["scheduler"], words, lifeline, kept) for number in range(workers)))


@dataclass(slots=True, kw_only=True)
class Kept:
    """The workers of an agent, and why some of them don't start, by their numbers."""

    workers: int
    tell: IO[str]
    troubles: dict[int, str] = field(default_factory=dict)

    def say(self) -> None:
        """Tells how many will be there, as far as that is known."""
        ails = {"trouble": next(iter(self.troubles.values()))} if self.troubles else {}
        _say(self.tell, workers=self.workers - len(self.troubles), **ails)


async def _keep(number: int, scheduler: str, words: Mapping[str, Any], lifeline: Lifeline, kept: Kept) -> None:
    """A worker of `scheduler`, and another one whenever it ended."""
    from distributed import Nanny

    while not lifeline.ended.is_set():
        try:
            async with Nanny(scheduler, **words) as nanny:
                if kept.troubles.pop(number, ""):
                    kept.say()
                await _first(lifeline.ended.wait(), nanny.finished())
        except Exception as error:  # noqa: BLE001  # whatever it is, the next one may come up
            kept.troubles[number] = f"a worker didn't start ({type(error).__name__})"
            kept.say()
        await lifeline.ends_within(PAUSE_SECONDS)


async def _first(*awaited: Coroutine[Any, Any, Any]) -> None:
    """Back when the first of them is done."""
    tasks = [asyncio.ensure_future(one) for one in awaited]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def reached_at(environ: Mapping[str, str]) -> str:
    """The address of this host that whoever logged in to it used; loopback without a login."""
    told = environ.get("SSH_CONNECTION", "").split()
    return told[2] if len(told) == 4 else "127.0.0.1"  # client, its port, server, its port


def address_towards(scheduler: str) -> str:
    """The address of this host from which `scheduler` is reached."""
    host, _, port = scheduler.rpartition("//")[2].rpartition(":")
    family, kind, _, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as looking:
        looking.connect(place)  # a datagram socket sends nothing: it only finds the way
        return str(looking.getsockname()[0])


def _security(order: Mapping[str, Any]) -> Any:
    """What connections are made with: certificates as they stand in the order, or in a folder that it names."""
    certs = order["certs"]
    if isinstance(certs, str):
        certs = read_certificates(Path(certs), at=now_utc(), roles=(order["role"],))
    return security(certs) if certs else None


def _say(tell: IO[str], **told: Any) -> None:
    with suppress(OSError):  # nobody listens any more
        tell.write(json.dumps(told) + "\n")
        tell.flush()


def main() -> None:
    """Reads an order from stdin, and obeys it."""
    tell = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    stdin = sys.stdin.buffer
    order = json.loads(stdin.readline())
    os.environ.update(order["environment"])
    logging.getLogger("distributed").setLevel(logging.CRITICAL)

    import dask

    dask.config.set(order["config"])
    code = 1
    try:
        asyncio.run(obey(order, stdin, tell))
        code = 0
    except Exception as error:  # noqa: BLE001  # the driver shows the last line
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)  # in order, Python would wait for the thread that still listens to stdin


if __name__ == "__main__":
    main()
