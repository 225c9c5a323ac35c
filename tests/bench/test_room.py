"""Training that can't fit is told before anything is made, where the workers' memory is known."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from dataops.bench.room import require_room
from dataops.bench.run import run_bench
from dataops.bench.sizes import size_of
from dataops.declarations.clusters import AddressFile, LocalFile, Shape
from dataops.engine.progress import Progress
from dataops.errors import Compute

ONE = Shape(workers=1, threads=1)


def local(memory: str) -> LocalFile:
    return LocalFile(kind="local", memory_limit=memory, train=ONE)


def test_a_scale_that_does_not_fit_names_the_memory_that_does() -> None:
    with pytest.raises(Compute, match=r"memory_limit") as refused:
        require_room(size_of(10, 0), local("4 GiB"), workers=None)
    told = re.search(r"give each worker ([0-9,]+) MB", str(refused.value))
    assert told is not None
    enough = int(told[1].replace(",", "")) + 1
    require_room(size_of(10, 0), local(f"{enough} MB"), workers=None)
    with pytest.raises(Compute):
        require_room(size_of(10, 0), local(f"{enough - 10} MB"), workers=None)


def test_more_workers_and_smaller_scales_fit() -> None:
    require_room(size_of(10, 0), local("4 GiB"), workers=4)
    require_room(size_of(1, 0), local("4 GiB"), workers=None)


def test_of_a_cluster_that_stands_nothing_is_said() -> None:
    require_room(size_of(1000, 0), AddressFile(kind="address", address="tcp://127.0.0.1:8786"), workers=None)


def test_nothing_was_made_when_it_is_refused(tmp_path: Path) -> None:
    cluster, folder = tmp_path / "small.yaml", tmp_path / "bench"
    cluster.write_text("kind: local\nmemory_limit: 512 MiB\ntrain: {workers: 1, threads: 1}\n")
    with pytest.raises(Compute, match="doesn't fit, and nothing was started"):
        run_bench(
            folder,
            size_of(1, 0),
            cluster=str(cluster),
            storage=None,
            workers=None,
            streams=2,
            keep=False,
            progress=Progress(io.StringIO(), quiet=True),
        )
    assert [path.name for path in folder.iterdir()] == ["bench.json"]
