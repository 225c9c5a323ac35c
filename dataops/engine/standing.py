"""What each kind of cluster comes to: enough to connect to it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

ANSWER_SECONDS = 30.0


def _nothing() -> str:
    return ""


def as_it_is(client: Client) -> AbstractContextManager[None]:  # noqa: ARG001  # others need it
    """A cluster that neither grows nor shrinks."""
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A cluster that is there.

    Attributes
    ----------
    scheduler : the address of its Dask scheduler, or a cluster of Dask's own.
    called : how messages call it.
    security : what connections to it are made with; None: unencrypted ones.
    workers, threads : worker processes, all of which are there, and threads in each; None where they have to be waited
        for and counted.
    wanted : worker processes that are waited for; None: one will do.
    seconds : how long they are waited for, and for an answer of the Dask scheduler.
    trouble : why workers may be missing, as far as that is known by now.
    dashboard : where people see the dashboard from here, or why they don't; None: where Dask says that it is.
    adapting : has it grow and shrink, as far as it does, until the context ends.
    """

    scheduler: Any
    called: str
    security: Security | None = None
    workers: int | None = None
    threads: int = 0
    wanted: Callable[[], int] = lambda: 1
    seconds: float = ANSWER_SECONDS
    trouble: Callable[[], str] = _nothing
    dashboard: str | None = None
    adapting: Callable[[Client], AbstractContextManager[None]] = as_it_is
