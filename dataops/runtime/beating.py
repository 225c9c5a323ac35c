"""Heartbeats of this process: written where it may, and never in the way of an answer.

1. It beats when something changed, and otherwise once in `EVERY` seconds.
2. Where nothing can be written (a mount that can only be read) it doesn't, and that is no error.
3. It writes in the registry, and nowhere else where a symbolic link leads out of it.
4. A process that closes its model takes its heartbeat away; one that is forked beats under a name of its own.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import datetime

from dataops.errors import DataopsError
from dataops.records import new_nonce, require_name
from dataops.registry.heartbeats import FOLDER, MAX_HEARTBEAT_BYTES, Heartbeat, heartbeat_key, host_name
from dataops.runtime.serving import Serving
from dataops.storage.disk import Disk, local_folder
from dataops.storage.objects import Store, open_store

EVERY = 60.0
_TEXT = MAX_HEARTBEAT_BYTES // 8  # characters of an error: four bytes each at most, and room for the rest


class Beating:
    """The heartbeats of this process for one model of the registry at `url`.

    `failure` is why the last one couldn't be written; None where it was.
    """

    def __init__(self, url: str, model: str, alias: str, app: str, *, every: float) -> None:
        self._url, self._model, self._alias, self._app = url, model, alias, require_name(app, "application")
        self._every = max(EVERY, every)
        self._store: Store | None = None
        self.failure: DataopsError | None = None
        self.begin()

    def begin(self) -> None:
        """From now on this is another process."""
        self._process, self._number = new_nonce()[:12], 0
        self._last: Heartbeat | None = None

    def beat(self, serving: Serving, error: Exception | None, *, now: datetime) -> None:
        """Says what is served, if that changed or was not said for long."""
        beat = Heartbeat(
            app=self._app,
            host=host_name(socket.gethostname()),
            process=self._process,
            model=self._model,
            alias=self._alias,
            version=serving.version.version,
            version_digest=serving.version.digest,
            generation=serving.move.generation,
            since=serving.since,
            at=now,
            every=self._every,
            error=None if error is None else _words(error),
        )
        last = self._last
        if last is not None and replace(beat, at=last.at) == last and self._is_recent(last.at, now):
            return
        try:
            self._put(beat)
            self.failure = None
        except DataopsError as failure:
            self.failure = failure

    def end(self) -> None:
        """Nothing of this process is said any more."""
        if self._number and self._store is not None:
            try:
                self._store.delete(self._key(self._number))
            except DataopsError as failure:
                self.failure = failure
        self.begin()

    def _is_recent(self, at: datetime, now: datetime) -> bool:
        """Whether `at` is within an interval before `now`; a clock that was put back would else silence it for long."""
        return 0 <= (now - at).total_seconds() < self._every

    def _put(self, beat: Heartbeat) -> None:
        if self._store is None:
            self._store = _open_folder(self._url, f"{self._model}/{FOLDER}")
        number = self._number + 1
        self._store.put_if_absent(self._key(number), beat.to_bytes())
        if self._number:
            self._store.delete(self._key(self._number))
        self._number, self._last = number, beat

    def _key(self, number: int) -> str:
        return heartbeat_key(self._app, socket.gethostname(), self._process, number)


def _open_folder(url: str, place: str) -> Store:
    """The folder of heartbeats alone: an application need not be able to write anything else."""
    root = local_folder(url)
    if root is not None:
        Disk(root).locate(place)  # the registry's writers could else have it write, and delete, where they may not
    return open_store(f"{url.rstrip('/')}/{place}")


def _words(error: Exception) -> str:
    """Our own errors in their words; of others only what they are, since they may quote what was read."""
    text = f"{type(error).__name__}: {error}" if isinstance(error, DataopsError) else type(error).__name__
    return text[:_TEXT]
