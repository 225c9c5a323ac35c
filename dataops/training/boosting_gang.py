"""The driver's side of boosting: a rank on each worker, started together, driven in step, given up together.

1. Ranks talk to each other directly, so one that is lost loses them all: `WorkersLost` says so, and the caller decides.
2. What is asked of ranks while they train goes to them by Dask's ``run``: a worker that Dask has paused still answers.
3. Where a rank is lost the others are ended with their workers, which their nannies start again; where one fails, those
   that wait for it. Neither library promises anything of a process that lost a peer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from dataops.engine.memory import give_back
from dataops.engine.workers import known_workers
from dataops.errors import Compute, DataopsError
from dataops.records import new_nonce
from dataops.training.boosting_ranks import (
    Advance,
    Order,
    Rank,
    Seat,
    advance_rank,
    end_rank,
    holds_any,
    start_rank,
    turn_output_away,
    turn_output_back,
)
from dataops.training.failures import lasting, told_failure
from dataops.training.parts import PartsOnCluster, submit

if TYPE_CHECKING:
    from distributed import Client, Future

POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0
PAUSED_SECONDS = 60.0
RESTART_SECONDS = 60

Meet = Callable[["Client", Sequence[str]], Sequence[Mapping[str, Any]]]
"""How ranks find each other: from the workers' addresses in the order of ranks, what each of them is told."""

_log = logging.getLogger(__name__)


class WorkersLost(Exception):
    """Workers that held ranks are gone; `count` of them."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


@dataclass(kw_only=True)
class Gang:
    """Ranks on workers: a context manager that starts them and leaves none behind.

    Attributes
    ----------
    placed : the worker of each unit; the order of workers is that of ranks.
    name : what messages call the library.
    """

    parts: PartsOnCluster
    placed: Mapping[int, str]
    name: str
    kind: type[Rank]
    meet: Meet
    order: Order
    _names: dict[str, str] = field(default_factory=dict)
    _kept: dict[str, list[int]] = field(default_factory=dict)

    @property
    def workers(self) -> list[str]:
        """Addresses in the order of ranks."""
        return list(dict.fromkeys(self.placed.values()))

    def __enter__(self) -> Self:
        nonce = new_nonce()
        self._names = {worker: f"{self.name}-{nonce}-{rank}" for rank, worker in enumerate(self.workers)}
        try:
            self._start()
        except OSError as error:  # a worker that has just gone
            self._end()
            raise self._judge(error) from None
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def advance(self, rounds: int, *, save: bool) -> list[Advance]:
        """What `rounds` more rounds came to, by rank.

        Raises
        ------
        WorkersLost : one at least is gone.
        Compute : the library failed.
        """
        answers = self._ask(partial(advance_rank, save=save), self._names, rounds)
        return [answers[worker] for worker in self.workers]

    def release_parts(self) -> None:
        """Let the parts go, and wait until their memory is free."""
        keys = {future.key for future in self.parts.futures}
        for future in self.parts.futures:
            future.release()
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and any(answer is True for answer in self._ask(holds_any, keys).values()):
            time.sleep(POLL_SECONDS / 10)

    def _start(self) -> None:
        client, workers = self.parts.client, self.workers
        threads = client.nthreads(workers)
        if set(threads) != set(workers):
            raise WorkersLost(len(set(workers) - set(threads)))
        meetings = self.meet(client, workers)
        # native code says who got which rank or port, whatever its verbosity
        self._kept = client.run(turn_output_away, workers=workers)
        futures = []
        for rank, (worker, meeting) in enumerate(zip(workers, meetings, strict=True)):
            seat = Seat(
                name=self._names[worker], rank=rank, ranks=len(workers), threads=threads[worker], meeting=meeting
            )
            units = [self.parts.futures[unit] for unit, where in self.placed.items() if where == worker]
            futures.append(
                submit(
                    client,
                    start_rank,
                    self.kind,
                    seat,
                    self.order,
                    units,
                    key=f"start-{seat.name}",
                    workers=[worker],
                    allow_other_workers=False,
                )
            )
        self._await(dict(zip(workers, futures, strict=True)))

    def _await(self, futures: Mapping[str, Future[Any]]) -> None:
        """Wait until all ranks are made."""
        from distributed import wait

        paused_since: float | None = None
        while any(future.status == "pending" for future in futures.values()):
            if self._gone() or any(future.status not in ("pending", "finished") for future in futures.values()):
                break
            paused_since = self._look_for_paused(paused_since)
            # wait() asks for the current client; what is cancelled is seen by its status
            with suppress(TimeoutError, CancelledError), self.parts.client.as_current():
                wait(list(futures.values()), timeout=POLL_SECONDS)
        if any(future.status != "finished" for future in futures.values()):
            failed = [future.exception() for future in futures.values() if future.status == "error"]
            self._give_up(
                failed[0] if failed else None,
                lambda: {worker for worker, future in futures.items() if future.status == "pending"},
            )

    def _look_for_paused(self, since: float | None) -> float | None:
        """Since when a worker takes no tasks, for all of its memory is in use; None: all of them do."""
        known = known_workers(self.parts.client)
        paused = [worker for worker in self.workers if known.get(worker, {}).get("status") == "paused"]
        if not paused:
            return None
        self.parts.client.run(give_back, workers=paused, on_error="ignore")
        now = time.monotonic()
        if since is not None and now - since > PAUSED_SECONDS:
            why = (
                f"{self.name}: a worker uses so much memory that Dask has paused it for {PAUSED_SECONDS:.0f} seconds; "
                "raise `memory_limit` in the cluster file, or take more workers"
            )
            raise lasting(Compute(why))
        return since or now

    def _ask(self, function: Callable[..., Any], *given: Any) -> dict[str, Any]:
        """What each rank's worker answers to ``function(*given)``.

        Raises
        ------
        WorkersLost, Compute : see `advance`; one that fails leaves the others waiting for it, so they are ended.
        """
        answers: dict[str, Any] = {}

        def ask(worker: str) -> None:
            try:
                answers.update(self.parts.client.run(function, *given, workers=[worker]))
            except Exception as error:  # noqa: BLE001 - told to whoever waits
                answers[worker] = error

        asking = {worker: Thread(target=ask, args=(worker,), daemon=True) for worker in self.workers}
        for thread in asking.values():
            thread.start()
        while len(answers) < len(asking):
            for thread in asking.values():
                thread.join(POLL_SECONDS / len(asking))
            if _failed(answers) or (len(answers) < len(asking) and self._gone()):
                break
        if failed := _failed(answers):
            self._give_up(failed[0], lambda: asking.keys() - answers.keys())
        if len(answers) < len(asking):
            self._give_up(None, lambda: asking.keys() - answers.keys())
        return answers

    def _give_up(self, error: BaseException | None, busy: Callable[[], AbstractSet[str]]) -> NoReturn:
        """Raise what a rank's `error` comes to, once no rank is `busy` any more.

        Where a worker is lost the others are ended with it: XGBoost ends a process that lost a peer when it comes to
        it, which may be in the middle of what is tried next.
        """
        found = self._judge(error)
        lost = isinstance(found, WorkersLost)
        deadline = time.monotonic() + (0 if lost else GRACE_SECONDS)
        while time.monotonic() < deadline and busy() - self._gone():
            time.sleep(POLL_SECONDS)
        if left := sorted((set(self.workers) if lost else busy()) - self._gone()):
            self._restart(left)
        raise found

    def _judge(self, error: BaseException | None) -> Exception:
        """What a rank's failure is: lost workers where there are some, else ours, or the library's."""
        if isinstance(error, DataopsError):
            return error
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:  # the scheduler may not have seen yet that a worker is gone
            if gone := self._gone() or self._silent():
                return WorkersLost(len(gone))
            if error is not None and not isinstance(error, OSError):
                break
            time.sleep(POLL_SECONDS)
        if error is None:
            return Compute(f"{self.name} failed with no answer; the workers' logs say where")
        return told_failure(error, what=self.name)

    def _gone(self) -> set[str]:
        """Workers that the scheduler has dropped."""
        return set(self.workers) - set(self.parts.client.nthreads())

    def _silent(self) -> set[str]:
        """Workers that don't answer, which the scheduler may not have seen yet."""
        answers = self.parts.client.run(_answer, workers=self.workers, on_error="return")
        return {worker for worker, answer in answers.items() if answer is not True}

    def _restart(self, workers: Sequence[str]) -> None:
        """End ranks with their workers."""
        _log.info("%s: %d workers are started again, since another's rank is lost", self.name, len(workers))
        try:
            self.parts.client.restart_workers(list(workers), timeout=RESTART_SECONDS, raise_for_error=False)
        except Exception as error:  # noqa: BLE001 - workers without a nanny; theirs is whoever started them
            _log.warning("%s: workers can't be started again here (%s)", self.name, type(error).__name__)

    def _end(self) -> None:
        client = self.parts.client
        there = [worker for worker in client.nthreads() if worker in self._names]  # a dead one is waited for, 30 s
        if not there:
            return
        client.run(end_rank, self._names, workers=there, on_error="ignore")
        kept = [worker for worker in there if worker in self._kept]
        client.run(turn_output_back, self._kept, workers=kept, on_error="ignore")


def _failed(answers: Mapping[str, Any]) -> list[BaseException]:
    return [answer for answer in list(answers.values()) if isinstance(answer, BaseException)]


def _answer() -> bool:
    return True
