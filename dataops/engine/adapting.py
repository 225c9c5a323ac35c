"""Clusters that grow while tasks wait, and shrink when there is less to do. `Adapting`, which decides, is pure.

1. One grows when tasks wait that no thread has in hand: to twice as many places (hosts, jobs), and not again before
   those had some time to come. No more are ever to come than tasks wait, however long that takes (in Slurm's queue). So
   a thousand are there within minutes, and what asks for little gets little.
2. One shrinks by places whose workers neither did nor held anything for some time, and not while tasks wait: rule 1
   would take them again. What is held is never moved: a training that keeps its rows in the memory of workers keeps the
   workers.
3. A place that doesn't answer, or where no worker starts, doesn't count: another one is taken for it.
"""

from __future__ import annotations

import logging
import threading
import time
from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataops.declarations.clusters import Adapt
from dataops.engine.keeping import Place
from dataops.engine.standing import ANSWER_SECONDS

if TYPE_CHECKING:
    from distributed import Client

LOOK_SECONDS = 1.0
GROW_SECONDS = 10.0  # between growing and growing more: an SSH login and a worker take some

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a Dask scheduler has to do now.

    Attributes
    ----------
    waiting : tasks that could be done, and that no thread has in hand.
    used : the places whose workers do or hold something.
    come : the places that have workers.
    """

    waiting: int
    used: frozenset[str]
    come: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be done: the places to `take`, and those to give back (`rest`)."""

    take: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Adapting:
    """Which of the `places` a cluster has, by a clock that never goes back.

    Attributes
    ----------
    places : by name, in the order in which they are taken; they are given back from the end.
    taken : those that it has now.
    grown : when it last grew.
    used : when a place last did or held something, or was taken.
    """

    bounds: Adapt
    places: Sequence[str]
    taken: set[str]
    grown: float = float("-inf")
    used: dict[str, float] = field(default_factory=dict)

    def look(self, load: Load, now: float, *, ailing: frozenset[str] = frozenset()) -> Change:
        """What is to be done about `load`.

        Parameters
        ----------
        ailing : places that are taken and don't answer, or on which no worker starts.
        """
        answering = [name for name in self.places if name in self.taken - ailing]
        for name in answering:
            self.used.setdefault(name, now)
            if name in load.used:
                self.used[name] = now
        free = [name for name in self.places if name not in self.taken]
        missing = self.bounds.minimum - len(answering)
        if now - self.grown >= GROW_SECONDS:
            to_come = len(set(answering) - load.come)
            missing = max(missing, min(max(len(answering), 1), load.waiting - to_come))
        if take := free[: max(0, missing)]:
            return self._take(take, now)
        spare = self._spare(answering, now) if not load.waiting else ()
        for name in spare:
            self.taken.discard(name)
            self.used.pop(name, None)
        return Change(rest=spare)

    def _take(self, names: Sequence[str], now: float) -> Change:
        self.taken.update(names)
        self.used.update(dict.fromkeys(names, now))
        self.grown = now
        return Change(take=tuple(names))

    def _spare(self, answering: Sequence[str], now: float) -> tuple[str, ...]:
        idle = [name for name in answering if now - self.used[name] >= self.bounds.spare_seconds]
        more_than_enough = max(0, len(answering) - self.bounds.minimum)
        return tuple(idle[::-1][:more_than_enough])


@contextmanager
def adapting(client: Client, places: Sequence[Place], bounds: Adapt) -> Iterator[None]:
    """The cluster of `client` takes and gives back `places` until the context ends."""
    state = Adapting(
        bounds=bounds,
        places=[place.name for place in places],
        taken={place.name for place in places if not place.rests},
    )
    ended = threading.Event()
    thread = threading.Thread(target=_adapt, args=(client, places, state, ended), name="adapting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LOOK_SECONDS)  # one that still waits for an answer is let go: it changes nothing any more


def _adapt(client: Client, places: Sequence[Place], state: Adapting, ended: threading.Event) -> None:
    by_name = {place.name: place for place in places}
    while not ended.wait(LOOK_SECONDS):
        try:
            waiting, used, come = _ask(client, _look)
        except (Exception, CancelledError) as error:  # noqa: BLE001  # nobody answers: the next look may find out more
            _log.debug("the Dask scheduler wasn't asked how busy it is (%s)", type(error).__name__)
            continue
        if ended.is_set():
            return
        load = Load(waiting=waiting, used=frozenset(used), come=frozenset(come))
        # where one worker of several doesn't start, the others are there
        ails = {place.name for place in places if place.trouble and not (place.wanted and place.name in load.come)}
        change = state.look(load, time.monotonic(), ailing=frozenset(ails))
        for name in change.take:
            by_name[name].take()
        for name in change.rest:
            _retire(client, name)
            by_name[name].rest()


def _retire(client: Client, place: str) -> None:
    """Nothing is handed to the workers of `place` any more."""
    try:
        _ask(client, _retire_place, place)
    except (Exception, CancelledError) as error:  # noqa: BLE001  # what it has in hand is then done again elsewhere
        _log.debug("workers of %s go without notice (%s)", place, type(error).__name__)


def _ask(client: Client, question: Any, *arguments: Any) -> Any:
    return client.sync(
        client._run_on_scheduler,  # noqa: SLF001  # without `_` it waits for an answer as long as it takes
        question,
        *arguments,
        callback_timeout=ANSWER_SECONDS,
    )


def _look(dask_scheduler: Any) -> tuple[int, list[str], list[str]]:
    waiting, used, come = len(dask_scheduler.queued) + len(dask_scheduler.unrunnable), set(), set()
    for worker in dask_scheduler.workers.values():
        come.update(worker.resources)
        waiting += max(0, len(worker.processing) - worker.nthreads)
        if worker.processing or worker.has_what:
            used.update(worker.resources)
    return waiting, sorted(used), sorted(come)


async def _retire_place(place: str, dask_scheduler: Any) -> None:
    names = [address for address, worker in dask_scheduler.workers.items() if place in worker.resources]
    await dask_scheduler.retire_workers(workers=names, close_workers=False, remove=True)
