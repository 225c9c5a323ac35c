"""The files that a workspace's rescore job reads: more of them, and files that arrive one by one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.line.people import ROWS_PER_FILE, make_people
from tests.runs.offline import JOBS, Offline

FOLLOW = "{dataset: people_new, follow: true}"
ROWS = 40
"""People of a file that arrives."""


def people(seed: int, rows: int = ROWS) -> pa.Table:
    """Other people for each `seed`."""
    return make_people(np.random.default_rng(seed), seed * ROWS_PER_FILE, rows, "secret")


def add_file(town: Offline, number: int = 9) -> None:
    """One more file as large as the others."""
    pq.write_table(people(number, ROWS_PER_FILE), town.folder / "data/people_new" / f"part-{number:03d}.parquet")


def follow(town: Offline, more: str = "") -> None:
    """From now on the job follows, and no file arrived; `more` are lines of its declaration."""
    town.change(JOBS, "input: people_new", f"input: {FOLLOW}{more}")
    (town.folder / "data/people_new/part-000.parquet").unlink()


def arrive(town: Offline, name: str, seed: int, *, age: float = 3600) -> Path:
    """A file of people who came `age` seconds ago."""
    path = town.folder / "data/people_new" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(people(seed), path)
    grow_old(path, age)
    return path


def grow_old(path: Path, age: float = 3600) -> None:
    now = path.stat().st_mtime_ns
    os.utime(path, ns=(now, now - int(age * 1e9)))
