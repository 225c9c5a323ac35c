"""Requests to the example application while versions change: shared by its tests and its benchmark."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from dataops.registry.aliases import MoveKind
from tests.runtime.examples import ROWS, expected, make_registry, promote, wait_until

ROOT = Path(__file__).parent.parent.parent
APP = ROOT / "examples" / "app" / "app.py"
EVERY = 1.0
# A process in which these can't be imported, as if they weren't installed; then the example as it is.
WITHOUT = """
import runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"dask", "distributed", "dask_ml", "pandas", "sklearn", "scipy", "bokeh", "click"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
path, sys.argv = sys.argv[1], sys.argv[1:]
runpy.run_path(path, run_name="__main__")
"""


@contextmanager
def serving(models: Path, *options: str) -> Iterator[int]:
    """The port of the example application in a process of its own."""
    with running([sys.executable, "-c", WITHOUT, str(APP), str(models), "income", "--unsigned", *options]) as port:
        yield port


@contextmanager
def running(command: Sequence[str]) -> Iterator[int]:
    """The port of the example application that `command` starts."""
    command = [*command, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert "@" in said, said
            yield int(said.rpartition(":")[2])
        finally:
            process.terminate()


class Client:
    """One connection after the other to the application; `ask` gives status and answer."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body), dict(headers or {}))
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def score(self) -> str:
        """The version that answered, once its answer is found to be that version's."""
        status, answer = self.ask("POST", "/score", ROWS)
        assert status == 200, answer
        want = expected(float(answer["version"].removeprefix("income@")))
        assert np.allclose(answer["probabilities"], want, atol=1e-6), answer
        return str(answer["version"])


class Traffic:
    """Requests from `threads` threads until it ends: when each was answered, by which version, or why it failed."""

    def __init__(self, client: Client, threads: int) -> None:
        self.answers: list[tuple[float, float, str]] = []
        self.failures: list[str] = []
        self._client, self._done = client, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._done.is_set():
            begun = time.monotonic()
            try:
                version = self._client.score()
            except (AssertionError, OSError, ValueError, http.client.HTTPException) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                continue
            ended = time.monotonic()
            self.answers.append((ended, ended - begun, version))

    def first_after(self, moment: float, version: str) -> float | None:
        """Seconds from `moment` to the first answer by `version`."""
        return next((ended - moment for ended, _, one in list(self.answers) if ended > moment and one == version), None)


def change_versions(models: Path, traffic: Traffic, rounds: int) -> list[float]:
    """How long each promotion of version 2, and each rollback to 1, took to reach the application."""
    registry, took = make_registry(models), []
    for turn in range(2 * rounds):
        version, kind = (2, MoveKind.PROMOTED) if turn % 2 == 0 else (1, MoveKind.ROLLED_BACK)
        promote(registry, version, kind=kind)
        moment, name = time.monotonic(), f"income@{version}"
        wait_until(lambda moment=moment, name=name: traffic.first_after(moment, name) is not None)  # type: ignore[misc]
        took.append(traffic.first_after(moment, name) or 0.0)
    return took
