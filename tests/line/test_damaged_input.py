"""A whole rescore over files that were damaged under it: every one is named, and nothing of it is published."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dataops.datasets.snapshot import read_snapshot
from dataops.errors import DataopsError, Integrity
from dataops.runs.execute import Outcome
from tests.line.running import Line


@pytest.fixture
def copy(line: Line, outcomes: dict[str, Outcome], tmp_path: Path) -> Line:
    """The finished line at another path, to damage."""
    folder = tmp_path / "damaged"
    shutil.copytree(line.folder, folder)
    return Line(folder=folder, connection=line.connection)


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    """`path` changed, with its time kept."""
    before = path.stat().st_mtime_ns
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=(before, before))


def in_pages(data: bytes) -> bytes:
    return data[:40] + bytes(byte ^ 0x55 for byte in data[40:400]) + data[400:]


def scores(copy: Line) -> tuple[int, list[str]]:
    snapshot = read_snapshot(copy.workspace.store, "people_scores")
    assert snapshot is not None
    return snapshot.number, [manifest.run for manifest in snapshot.manifests]


def test_damage_that_no_footer_tells_ends_the_run_and_kills_no_worker(copy: Line) -> None:
    before = scores(copy)
    workers = set(copy.connection.client.scheduler_info()["workers"])
    for path in sorted((copy.folder / "data" / "people_new").glob("*.parquet")):
        damage(path, in_pages)
    with pytest.raises(DataopsError, match=r"part-00\d\.parquet can't be decoded") as refusal:
        copy.run("people_scores", again=True)
    assert "secret" not in str(refusal.value)
    assert scores(copy) == before
    assert set(copy.connection.client.scheduler_info()["workers"]) == workers


def test_all_files_that_are_no_parquet_any_more_are_named_before_anything_is_read(copy: Line) -> None:
    before, runs = scores(copy), set(copy.workspace.ledger.ids())
    first, second, third, _ = sorted((copy.folder / "data" / "people_new").glob("*.parquet"))
    damage(first, lambda data: data[:-100])
    second.write_bytes(b"PARE" + second.read_bytes()[4:-4] + b"PARE")
    damage(third, lambda _: b"")
    with pytest.raises(Integrity, match="3 of 4 files") as refusal:
        copy.run("people_scores", again=True)
    assert all(path.name in str(refusal.value) for path in (first, second, third))
    assert scores(copy) == before
    assert set(copy.workspace.ledger.ids()) == runs
