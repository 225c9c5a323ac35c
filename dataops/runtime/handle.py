"""The handle: the version that an alias names, kept up to date while an application uses it.

1. The next version is read, checked and tried beside the one that serves; then one reference changes. No call waits for
   that, and each is answered by one version.
2. Whatever fails (the registry is away, a signature, a golden row), the last good version goes on serving, and
   `last_error` says why.
3. What the alias names is decided by `following`: generations only go up, and what was refused isn't read at each look.
4. Threads may share a handle. After a fork the child looks for new versions by itself, from its first call on.
5. Nothing is written but heartbeats, where an application's name is given, and what was seen, where a folder is.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import weakref
from datetime import datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dataops.errors import InvalidInput
from dataops.records import Record, now_utc
from dataops.registry.aliases import CHAMPION
from dataops.registry.trust import Trust, TrustFile, read_trust
from dataops.registry.versions import ModelVersion, Registry
from dataops.runtime.beating import Beating
from dataops.runtime.following import Following
from dataops.runtime.ratchet import Ratchet
from dataops.runtime.serving import Predictions, Serving
from dataops.storage.disk import local_folder
from dataops.storage.objects import open_store

_CLOSING = 5.0
"""Seconds that closing waits for a look that is under way."""


class Handle:
    """The version that an alias names; made by `load`."""

    def __init__(
        self, following: Following, *, name: str, every: float | None, jitter: float, beating: Beating | None
    ) -> None:
        self._following, self._name, self._beating = following, name, beating
        self._every, self._jitter = every, jitter
        self._looking, self._starting = threading.Lock(), threading.Lock()
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self._error: Exception | None = None
        self._serving = following.next(None)
        self._looked_at = now_utc()
        self._beat()
        _revived_after_fork().add(self)
        self._watch()

    def predict(self, data: Any) -> Predictions:
        """The probability of each row of `data`, the number that a regression predicts, or the number of its cluster,
        ``(n_rows,)`` float32.

        NaN for a row that the model's ``where`` leaves out: it says nothing about such rows.

        Parameters
        ----------
        data : an Arrow table or record batch, a DataFrame, or a list of dicts with a key for each column.

        Raises
        ------
        InvalidInput : a column is missing, or of another type than the model was trained on.
        """
        return self.serving.predict(data)

    async def predict_async(self, data: Any) -> Predictions:
        """As `predict`, on another thread: the event loop goes on meanwhile."""
        return await asyncio.to_thread(self.predict, data)

    @property
    def serving(self) -> Serving:
        """The version that answers now; it stays the same for who holds on to it: to say which one gave an answer."""
        if self._watcher is None:
            self._watch()
        return self._serving

    @property
    def version(self) -> ModelVersion:
        """Which version answers now."""
        return self.serving.version

    @property
    def generation(self) -> int:
        """The generation of the alias that it serves by."""
        return self.serving.move.generation

    @property
    def last_error(self) -> Exception | None:
        """Why what the alias names now isn't served, or couldn't be looked at; None where the last look went well."""
        return self._error

    @property
    def looked_at(self) -> datetime:
        """When the last look ended, well or not: much longer ago than it looks every so often, the registry hangs."""
        return self._looked_at

    @property
    def heartbeat_error(self) -> Exception | None:
        """Why no heartbeat is written; None where they are, or none is asked for."""
        return None if self._beating is None else self._beating.failure

    def explain_signature(self) -> Record:
        """What the model takes and gives, JSON types.

        ``inputs``: columns with their Arrow types. ``derived``: what is made of them. ``only``: the condition for a row
        to have an answer, or None. ``task``: binary, regression or clusters. ``output``: what
        the numbers mean.
        """
        return self.serving.signature()

    def refresh(self) -> bool:
        """Looks now; whether another version or generation serves from here on.

        Raises
        ------
        NotFound, Integrity, Format, Storage, Compute : what is named now can't be served; the one before goes on.
        """
        return self._look()

    def close(self) -> None:
        """Looks no more, and takes its heartbeat away: after the look that is under way, if that takes long.

        What serves goes on answering.
        """
        self._stop.set()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(_CLOSING)
            if self._watcher.is_alive():  # a registry that hangs would hang here too; the look ends with it
                return
        if self._beating is not None:
            self._beating.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(self, *, patient: bool = False) -> bool:
        """As `refresh`; with `patient`, a version that was refused isn't read again at each look (`following`)."""
        with self._looking:
            try:
                found = self._following.next(self._serving, patient=patient)
            except Exception as error:
                self._error = error
                raise
            else:
                self._error = None
                changed, self._serving = found is not self._serving, found
            finally:
                self._looked_at = now_utc()
                self._beat()
        return changed

    def _beat(self) -> None:
        if self._beating is None:
            return
        if self._stop.is_set():  # closed while it looked
            self._beating.end()
        else:
            self._beating.beat(self._serving, self._error, now=self._looked_at)

    def _watch(self) -> None:
        """From now on a thread looks every so often; one for each process."""
        if self._every is None or self._stop.is_set():
            return
        with self._starting:
            if self._watcher is None:
                arguments = (weakref.ref(self), self._stop, self._every, self._jitter)
                name = f"dataops-{self._name}"
                self._watcher = threading.Thread(target=_look_for_ever, args=arguments, name=name, daemon=True)
                self._watcher.start()

    def _revive(self) -> None:
        """In a process that was forked: no thread came along, and locks may be held by threads that are not there."""
        self._looking, self._starting = threading.Lock(), threading.Lock()
        closed, self._stop = self._stop.is_set(), threading.Event()
        if closed:
            self._stop.set()
        self._watcher = None
        if self._beating is not None:
            self._beating.begin()


def load(
    registry: str | Path,
    model: str,
    alias: str = CHAMPION,
    *,
    trust: Trust | str | Path | None = None,
    every: float | None = 30.0,
    jitter: float = 0.1,
    state: str | Path | None = None,
    app: str | None = None,
    threads: int = 1,
) -> Handle:
    """A handle on the version that `alias` of `model` names; it follows the alias until it is closed.

    Parameters
    ----------
    registry
        The registry's folder or URL. It is only read, but for heartbeats.
    trust
        What the application takes: a `Trust`, the path of a file of signers, which is read again where it changed, or
        `UNSIGNED`. It must be given, and comes from the application's own configuration.
    every, jitter
        Seconds from one look to the next, and by what part of that it may come earlier, so that many processes don't
        look at once. None: it looks only when `refresh` is called.
    state
        A folder of the application's own, where the highest generation that it saw is kept over restarts: it refuses
        to go back behind it. One for each registry.
    app
        The application's name, for its heartbeats; None for no heartbeats.
    threads
        Native threads for one call. More than one starts a pool of threads: fork before, not after.

    Raises
    ------
    InvalidInput : no trust, one that lies in the registry, or an interval that can't be.
    NotFound : no such registry, model or alias.
    Integrity, Format, Storage, Compute : the version can't be served; there is none before it.
    """
    url = str(registry)
    if trust is None:
        raise InvalidInput(
            "say whom this application trusts: trust=<path of its own signers.yaml>, or trust=UNSIGNED where all who "
            "can write the registry are trusted. What lies in the registry can't say it"
        )
    if (every is not None and every <= 0) or not 0 <= jitter <= 1:
        raise InvalidInput(f"every={every}, jitter={jitter}: expected seconds above 0, and a part from 0 to 1")
    _require_outside(url, trust=None if isinstance(trust, Trust) else trust, state=state)
    following = Following(
        Registry(open_store(url, read_only=True), trust if isinstance(trust, Trust) else read_trust(trust)),
        model,
        alias,
        signers=None if isinstance(trust, Trust) else TrustFile(trust),
        ratchet=Ratchet(model, alias, None if state is None else open_store(str(state))),
        threads=threads,
    )
    beating = None if app is None else Beating(url, model, alias, app, every=every or 0.0)
    return Handle(following, name=f"{model}@{alias}", every=every, jitter=jitter, beating=beating)


def _require_outside(registry: str, **given: str | Path | None) -> None:
    for name, path in given.items():
        if path is not None and _lies_in(str(path), registry):
            raise InvalidInput(
                f"{name}={path} lies in the registry, where its writers could change it: put it elsewhere"
            )


def _lies_in(place: str, registry: str) -> bool:
    folder, inner = local_folder(registry), local_folder(place)
    if folder is not None and inner is not None:
        return inner.resolve().is_relative_to(folder.resolve())
    return f"{place.rstrip('/')}/".startswith(f"{registry.rstrip('/')}/")


def _look_for_ever(handle: weakref.ref[Handle], stop: threading.Event, every: float, jitter: float) -> None:
    """Looks again and again, until `stop` or until nobody has the handle any more."""
    while not stop.wait(every * (1 - jitter * random.random())):  # noqa: S311 - spreads load, keeps no secret
        found = handle()
        if found is None:
            return
        try:
            found._look(patient=True)  # noqa: SLF001 - of this module
        except Exception as error:  # noqa: BLE001 - it is the handle's last error, and the next look may go well
            _forget_frames(error)
        del found


def _forget_frames(error: BaseException | None) -> None:
    """What was read while `error` came about, and the handle itself, aren't held by it any more."""
    while error is not None:
        error.__traceback__, error = None, error.__context__


@cache
def _revived_after_fork() -> weakref.WeakSet[Handle]:
    """The handles of this process, each of which is revived in a process that is forked."""
    handles: weakref.WeakSet[Handle] = weakref.WeakSet()

    def revive() -> None:
        for handle in handles:
            handle._revive()  # noqa: SLF001 - of this module

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=revive)
    return handles
