"""Places on which workers are kept: while their cluster stands, an agent is there, or another one is tried."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from dataops.engine.remote import Agent

AGAIN_SECONDS = 10.0
BEATS = 8  # of the time after which an agent takes itself for abandoned


class Beating:
    """Agents that hear from time to time that their driver is still there, and end with the context."""

    def __init__(self, abandoned_seconds: float) -> None:
        self._seconds = abandoned_seconds / BEATS
        self._agents: list[Agent] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="beats", daemon=True)

    def add(self, agent: Agent) -> None:
        """Let `agent` hear, from now on."""
        self._agents.append(agent)

    def drop(self, agent: Agent) -> None:
        """End `agent`."""
        self._agents.remove(agent)
        agent.close()
        agent.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for agent in self._agents:
            agent.close()
        for agent in self._agents:
            agent.wait()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stopped.wait(self._seconds):
            for agent in tuple(self._agents):
                agent.beat()


class Place:
    """A place for workers: what is lost there is started again, unless it rests.

    Attributes
    ----------
    wanted : workers that it will have, as far as that is known: 1 before it answers, 0 while it doesn't, while none
        starts there, or while it rests.
    trouble : why it doesn't answer, or why a worker doesn't start.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        order: Mapping[str, Any],
        beating: Beating,
        *,
        resting: bool = False,
    ) -> None:
        self.name, self._command, self._order, self._beating = name, command, {**order, "place": name}, beating
        self.wanted, self.trouble = 0 if resting else 1, ""
        self._stopped, self._taken = threading.Event(), threading.Event()
        self._telling = threading.Lock()  # whoever ends it for good isn't who gives it back
        if not resting:
            self._taken.set()
        self._agent: Agent | None = None
        self._thread = threading.Thread(target=self._keep, name=f"workers on {name}", daemon=True)
        self._thread.start()

    @property
    def rests(self) -> bool:
        """Whether no workers are wanted there now."""
        return not self._taken.is_set()

    def take(self) -> None:
        """Have workers there."""
        with self._telling:
            if self.rests:
                self.wanted, self.trouble = 1, ""
                self._taken.set()

    def rest(self) -> None:
        """Begin to end the workers there, until it is taken again; nothing, where it was stopped."""
        with self._telling:
            if self._stopped.is_set():
                return
            self._taken.clear()
            self.wanted, self.trouble = 0, ""
            if self._agent is not None:
                self._agent.close()

    def stop(self) -> None:
        """Begin to end what is there, for good."""
        with self._telling:
            self._stopped.set()
            self._taken.set()  # nothing waits for it any more
        if self._agent is not None:
            self._agent.close()

    def join(self) -> None:
        """Back when it has ended."""
        self._thread.join()

    def _keep(self) -> None:
        while not self._stopped.is_set():
            self._taken.wait()
            if self._stopped.is_set():
                return
            try:
                self._agent = agent = Agent(self._command, self._order)
            except (OSError, RuntimeError) as error:  # no process or thread more: too many of them, of files, no memory
                broken = True
                self._ails(f"nothing can be started here ({getattr(error, 'strerror', error)})")
            else:
                self._beating.add(agent)
                try:
                    broken = self._listen(agent)
                finally:
                    self._beating.drop(agent)
            if broken and not self.rests:
                self._stopped.wait(AGAIN_SECONDS)

    def _listen(self, agent: Agent) -> bool:
        """Whether `agent` ended without having been told to: one that was may still end when another is wanted."""
        while not agent.closed and self._taken.is_set() and not self._stopped.is_set():
            said = agent.hear(1.0)
            if said is None or agent.closed:
                continue
            if not said:
                self._ails(agent.trouble or "the connection ended")
                return True
            if not self.rests:
                self.wanted = said.get("workers", self.wanted)
                self.trouble = said.get("trouble", "")  # it answers: what was before is over
        return False

    def _ails(self, trouble: str) -> None:
        if not self.rests:  # what ends so was told to
            self.wanted, self.trouble = 0, trouble


@contextmanager
def kept(
    commands: Mapping[str, Sequence[str]],
    order: Mapping[str, Any],
    beating: Beating,
    *,
    taken: int | None = None,
) -> Iterator[Sequence[Place]]:
    """A place for each of `commands`, by name; all end with the context.

    Parameters
    ----------
    taken : how many have workers from the beginning, and the rest when they are taken; None: all.
    """
    places = [
        Place(name, command, order, beating, resting=taken is not None and number >= taken)
        for number, (name, command) in enumerate(commands.items())
    ]
    try:
        yield places
    finally:
        for place in places:
            place.stop()
        for place in places:
            place.join()
