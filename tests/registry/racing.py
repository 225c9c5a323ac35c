"""One of several processes that promote, or read, in one registry: started by the tests.

``racing.py writer FOLDER SIGNERS KEYS NAME PROMOTIONS``, ``racing.py reader|handle FOLDER SIGNERS READS``. Each says
"ready", waits for a line, and ends with a line of JSON. A reader also waits for the end of its input: it reads until
then, and at least so many times.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataops.governance.signing import SigningKey, current_signing_key
from dataops.registry.aliases import current, move, version_of
from dataops.registry.trust import read_trust
from dataops.registry.versions import Registry
from dataops.runtime import load
from dataops.storage.objects import open_store

VERSIONS = 3
Sight = tuple[int, str, int]
"""A generation, the digest of its entry, and the version it names."""


def write(folder: str, signers: str, keys: str, name: str, promotions: str) -> list[int]:
    """The generations that its promotions became."""
    registry = Registry(open_store(folder), read_trust(signers))
    key = SigningKey(folder=Path(keys), key_id=current_signing_key(Path(keys)))
    wait_for_the_start()
    made = [
        move(registry, "income", "champion", n % VERSIONS + 1, actor=name, reason=f"{name} {n}", key=key)
        for n in range(int(promotions))
    ]
    return [one.generation for one in made]


def read(folder: str, signers: str, reads: str) -> dict[str, Any]:
    """What `current` showed; the version is read whole now and then."""
    trust, numbers = read_trust(signers), iter(range(1 << 40))

    def look() -> Sight:
        registry = Registry(open_store(folder, read_only=True), trust)  # as a process that has just begun
        last = current(registry, "income")
        assert last is not None, "there is a champion from the start"
        version = version_of(registry, last)
        if next(numbers) % 20 == 0:
            assert registry.read("income", version.version).version == version
        return last.generation, last.entry.digest, last.version

    return watched(look, int(reads))


def serve(folder: str, signers: str, reads: str) -> dict[str, Any]:
    """What an application's handle served."""
    with load(folder, "income", trust=signers, every=None) as handle:

        def look() -> Sight:
            handle.refresh()
            serving = handle.serving
            assert serving.version.version == serving.move.version
            return serving.move.generation, serving.move.entry.digest, serving.version.version

        return watched(look, int(reads))


def watched(look: Callable[[], Sight], reads: int) -> dict[str, Any]:
    wait_for_the_start()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
    sights: list[Sight] = []
    count, while_writing = 0, 0
    while not (ended.is_set() and count >= reads):
        while_writing += not ended.is_set()
        sight = look()
        count += 1
        if not sights or sights[-1] != sight:
            sights.append(sight)
    sights.append(look())  # begun after the last promotion
    return {"reads": count + 1, "while_writing": while_writing, "sights": sights}


def wait_for_the_start() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    sys.stdout.write(json.dumps({"writer": write, "reader": read, "handle": serve}[what](*arguments)))
