"""Poisoned rows in a town, and the processes that they are poison to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataops.features.program import FeatureProgram

# hours that nobody works, and what they do to whoever scores them
HOURS = {
    "kills": 7001.0,
    "crashes": 7002.0,
    "aborts": 7003.0,
    "hangs": 7004.0,
    "fills": 7005.0,
    "raises": 7006.0,
    "kills together": 7007.0,
    "kills dictionaries": 7008.0,
    "waits": 7009.0,
    "dawdles": 7010.0,
}
REASONS = {
    "kills": "SIGKILL",
    "crashes": "SIGSEGV",
    "aborts": "SIGABRT",
    "hangs": "TimeoutError",
    "fills": "MemoryError",
    "raises": "TypeError",
    "kills dictionaries": "SIGKILL",
}


def poison_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poisoned rows do what they do to every process that is started from here on; not to this one."""
    folder = str(Path(__file__).parent / "poisoned")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("POISON", json.dumps(HOURS))


def poison_rows(file: Path, rows: Mapping[int, str]) -> None:
    """Make `rows` of `file`, each of whom is of age, do what they are said to do."""
    table = pq.read_table(file)
    hours, age = table.column("hours").to_pylist(), table.column("age").to_pylist()
    for row, deed in rows.items():
        hours[row], age[row] = HOURS[deed], 40
    columns = {"hours": pa.array(hours, pa.float64()), "age": pa.array(age, pa.int32())}
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    pq.write_table(table, file, row_group_size=len(table))


def fail_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that raise do so in this process."""
    run = FeatureProgram.run

    def refuse(program: FeatureProgram, table: Any, *others: Any, **named: Any) -> Any:
        hours = table.column("hours").to_pylist() if "hours" in table.column_names else []
        if HOURS["raises"] in hours:
            raise TypeError(f"CANARY {hours}")
        return run(program, table, *others, **named)

    monkeypatch.setattr(FeatureProgram, "run", refuse)
