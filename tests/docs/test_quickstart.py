"""The quickstart, typed from its first line to its last: from a folder of Parquet to scores."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dataops.cli.main import main as command_line
from dataops.engine.connect import Connection
from tests.compat.writing import cluster_in_process
from tests.docs.documents import ROOT

PAGE = ROOT / "docs" / "quickstart.md"
ROWS = 400


def write_flights(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    distance = rng.integers(100, 3000, ROWS)
    columns = {
        "date": [dt.date(2026, 1, 1 + number % 28) for number in range(ROWS)],
        "delay": rng.normal(distance / 100, 4),
        "distance": distance,
        "origin": rng.choice(["JFK", "LGA"], ROWS),
        "destination": rng.choice(["BOS", "LAX", "SFO"], ROWS),
    }
    pq.write_table(pa.table(columns), folder / "flights.parquet")


def steps() -> Iterator[tuple[str, str]]:
    """``("type", command)`` and ``("write <file>", text)``, in the order of the page."""
    text, named = PAGE.read_text(), ""
    for found in re.finditer(r"Write `([^`]+)`|^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if found[1]:
            named = found[1]
        elif found[2] == "yaml":
            yield f"write {named}", found[3]
        else:
            yield from (("type", line.removeprefix("$ ")) for line in found[3].splitlines())


@pytest.fixture
def standing() -> Iterator[None]:
    """The jobs of the page run on one worker in this process; the clusters that jobs start have tests of their own."""
    with cluster_in_process() as connection:

        @contextmanager
        def joined(*_: object, **__: object) -> Iterator[Connection]:
            yield connection

        with patch("dataops.runs.execute.connect", joined):
            yield


@pytest.mark.usefixtures("standing")
def test_the_page_leads_from_parquet_to_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_flights(tmp_path / "data" / "flights", 1)
    write_flights(tmp_path / "data" / "flights_new", 2)
    typed = []
    for step, text in steps():
        if step.startswith("write "):
            Path(step.removeprefix("write ")).write_text(text)
        elif text.startswith("cd "):
            monkeypatch.chdir(text.removeprefix("cd "))
        else:
            words = shlex.split(text)
            assert words[0] == "dataops"
            result = CliRunner().invoke(command_line, words[1:])
            assert result.exit_code == 0, f"{text}\n{result.output}"
            typed.append(" ".join(words[1:3]))
    assert {"init flights", "dataset add", "job run", "model promote", "dataset verify", "audit verify"} <= set(typed)
    scores = [pq.read_table(path) for path in Path("storage/datasets/late_scores").rglob("*.parquet")]
    assert sum(table.num_rows for table in scores) == ROWS
    assert scores[0].column_names == ["date", "origin", "destination", "probability", "prediction"]
