"""Many processes promote in one directory while others read: nobody's promotion is lost, and time never goes back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataops.declarations.signers import SIGNERS_FILE, add_signer, read_signers_file
from dataops.registry.aliases import alias_journal, history
from dataops.registry.trust import Trust
from dataops.registry.verify import verify_alias
from dataops.storage.objects import open_store
from tests.registry.racing import VERSIONS
from tests.runtime.examples import make_key, make_registry, promote, register
from tests.storage.s3_server import S3Server


@dataclass(frozen=True)
class Place:
    url: str
    signers: Path
    keys: Path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A signed registry of a few versions, the first of which is champion."""
    return make_place(str(tmp_path / "models"), tmp_path)


@pytest.fixture
def far(tmp_path: Path, s3: S3Server) -> Place:
    """The same on S3."""
    return make_place(f"s3://{s3.make_bucket()}/models", tmp_path)


def make_place(url: str, tmp_path: Path) -> Place:
    made = Place(url, tmp_path / SIGNERS_FILE, tmp_path / "keys")
    key, signer = make_key(made.keys)
    add_signer(tmp_path, signer)
    registry = make_registry(made.url, Trust(signers=(signer,)))
    for number in range(VERSIONS):
        register(registry, float(number), key=key)
    promote(registry, 1, key=key)
    return made


@contextmanager
def racing(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is ready, and gone in the end."""
    command = [sys.executable, "-m", "tests.registry.racing", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def result_of(process: subprocess.Popen[str]) -> Any:
    said = process.communicate("\n")[0]
    assert process.returncode == 0
    return json.loads(said)


def race(place: Place, *, writers: int, promotions: int, readers: int, reads: int) -> list[dict[str, Any]]:
    """What the readers saw, once all that holds for any race was asserted."""
    where = (place.url, place.signers)
    with ExitStack() as stack:
        writing = [
            stack.enter_context(racing("writer", *where, place.keys, f"w{n}", promotions)) for n in range(writers)
        ]
        kinds = ["handle" if n == 0 else "reader" for n in range(readers)]
        reading = [stack.enter_context(racing(kind, *where, reads)) for kind in kinds]
        processes = [*reading, *writing]  # readers first: they see the generation before all others
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            begin(process)
        won = [result_of(process) for process in writing]
        seen = [result_of(process) for process in reading]

    trust = Trust(signers=read_signers_file(place.signers))
    registry = make_registry(place.url, trust)
    moves = list(history(registry, "income"))
    total = 1 + writers * promotions
    assert [one.generation for one in moves] == list(range(1, total + 1))
    assert sorted(number for numbers in won for number in numbers) == list(range(2, total + 1))
    for name, numbers in enumerate(won):  # each its own, in its own order
        assert numbers == sorted(numbers)
        assert [moves[number - 1].reason for number in numbers] == [f"w{name} {n}" for n in range(promotions)]
    assert all(one.trusted for one in moves)
    assert alias_journal(registry, "income", "champion").verify() == []
    assert verify_alias(registry, "income", "champion").findings == ()
    assert not [key for key in open_store(place.url).list("income/aliases") if "champion" not in key]

    happened = {one.generation: (one.entry.digest, one.version) for one in moves}
    for one in seen:
        sights = one["sights"]
        numbers = [number for number, *_ in sights]
        assert numbers == sorted(numbers), "a reader saw time go back"
        assert all(happened[number] == (digest, version) for number, digest, version in sights)
        assert numbers[-1] == total
    return seen


def test_processes_promote_at_once_and_readers_see_whole_generations_that_only_go_up(place: Place) -> None:
    seen = race(place, writers=4, promotions=10, readers=2, reads=20)
    assert all(one["while_writing"] and len(one["sights"]) > 2 for one in seen)


def test_on_s3_processes_promote_at_once_and_nobody_s_promotion_is_lost(far: Place) -> None:
    race(far, writers=2, promotions=4, readers=1, reads=3)


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_on_s3_four_processes_promote_ten_times_each(far: Place) -> None:
    race(far, writers=4, promotions=10, readers=1, reads=5)


@pytest.mark.faults
def test_eight_processes_promote_fifty_times_each_under_twenty_thousand_reads(place: Place) -> None:
    seen = race(place, writers=8, promotions=50, readers=4, reads=5000)
    assert sum(one["reads"] for one in seen) >= 20_000
    assert all(one["while_writing"] > 20 and len(one["sights"]) > 10 for one in seen)
