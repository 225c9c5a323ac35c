"""Joining a cluster: its workers are there, and run the very code that runs here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dataops.engine.code import code_identity, told_apart
from dataops.engine.standing import ANSWER_SECONDS, Standing
from dataops.errors import Compute

if TYPE_CHECKING:
    from distributed import Client

_LOOK_SECONDS = 0.2
_NAMED = 3


def wait_for_workers(client: Client, found: Standing) -> list[int]:
    """Threads of each worker, once as many are there as are wanted, or some when the time is over.

    Raises
    ------
    Compute : none is there, or nobody answers.
    """
    ends = time.monotonic() + found.seconds
    while True:
        threads = list(_ask(client, found, client.scheduler.ncores, workers=None).values())
        if len(threads) >= max(1, found.wanted()):
            return threads
        if time.monotonic() >= ends:
            break
        time.sleep(_LOOK_SECONDS)
    if not threads:
        trouble = found.trouble()
        raise Compute(
            f"{found.called} has no worker after {found.seconds:g} seconds" + (f": {trouble}" if trouble else "")
        )
    return threads


def require_same_code(client: Client, here: Mapping[str, str]) -> None:
    """Nothing, if all workers run the code that is called `here`.

    Raises
    ------
    Compute : one has other code, or none.
    """
    found = ask_workers(client, code_identity)
    other = {address: said for address, said in found.items() if not isinstance(said, Mapping) or said != here}
    if other:
        told = ", ".join(f"{address} ({_told(said, here)})" for address, said in list(other.items())[:_NAMED])
        raise Compute(
            f"{len(other)} of {len(found)} workers run other code than this process: {told}; units would come out "
            "otherwise. Install the same dataops with the same libraries there"
        )


def _told(said: Any, here: Mapping[str, str]) -> str:
    if not isinstance(said, Mapping):
        return f"no dataops that answers: {type(said).__name__}"
    return told_apart(said, here)


def ask_workers(client: Client, function: Any, *arguments: Any) -> dict[str, Any]:
    """What `function(*arguments)` returns on each worker, by address: an exception where it raises one."""
    try:
        answers: dict[str, Any] = client.sync(
            client._run,  # noqa: SLF001  # `run` waits for an answer as long as it takes
            function,
            *arguments,
            on_error="return",
            callback_timeout=ANSWER_SECONDS,
        )
    except Exception as error:  # noqa: BLE001  # whatever it is, nobody answers
        raise Compute(f"the workers don't answer ({type(error).__name__})") from None
    return answers


def _ask(client: Client, found: Standing, question: Any, **words: Any) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = client.sync(question, callback_timeout=ANSWER_SECONDS, **words)
    except Exception as error:  # noqa: BLE001  # whatever it is, nobody answers
        raise Compute(f"{found.called} doesn't answer ({type(error).__name__})") from None
    return answer
