"""The quickstart, typed from its first line to its last: from a folder of Parquet to scores."""

from __future__ import annotations

import json
import os
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
from click.testing import CliRunner, Result

from dataops.cli.main import main as command_line
from dataops.engine.connect import Connection
from tests.compat.writing import cluster_in_process
from tests.docs.documents import ROOT

PAGE = ROOT / "docs" / "quickstart.md"
ROWS = 400
"""In each file."""


def write_flights(folder: Path, seed: int, *, files: int = 2, partitioned: bool = False) -> None:
    """Flights as in vega-datasets' ``flights-3m.parquet``; in a folder per month, if `partitioned`."""
    rng = np.random.default_rng(seed)
    for number in range(files):
        target = folder / f"month={number + 1}" if partitioned else folder
        target.mkdir(parents=True, exist_ok=True)
        distance = rng.integers(100, 3000, ROWS)
        minutes = rng.integers(0, 28 * 24 * 60, ROWS)
        columns = {
            "date": pa.array(np.datetime64(f"2001-0{number + 1}-01T00:00", "us") + minutes.astype("timedelta64[m]")),
            "delay": rng.normal(distance / 100, 4).round().astype("int16"),
            "distance": distance.astype("int16"),
            "origin": rng.choice(["JFK", "LGA"], ROWS),
            "destination": rng.choice(["BOS", "LAX", "SFO"], ROWS),
        }
        pq.write_table(pa.table(columns), target / f"flights-{seed}-{number}.parquet")


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


def call(*words: str) -> Result:
    return CliRunner().invoke(command_line, list(words), prog_name="dataops")


def type_page() -> list[str]:
    """Writes the page's files and types its commands; the answers, by command."""
    answers = []
    for step, text in steps():
        if step.startswith("write "):
            Path(step.removeprefix("write ")).write_text(text)
        elif text.startswith("cd "):
            os.chdir(text.removeprefix("cd "))
        else:
            words = shlex.split(text)
            assert words[0] == "dataops"
            result = call(*words[1:])
            assert result.exit_code == 0, f"{text}\n{result.output}"
            answers.append(" ".join(words[1:3]))
    return answers


@pytest.mark.usefixtures("standing")
@pytest.mark.parametrize("partitioned", [False, True], ids=["one folder", "hive partitions"])
def test_the_page_leads_from_parquet_to_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, partitioned: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    write_flights(tmp_path / "data" / "flights", 1, partitioned=partitioned)
    write_flights(tmp_path / "data" / "flights_new", 2, partitioned=partitioned)
    typed = type_page()
    assert {"init flights", "dataset add", "job run", "model promote", "dataset verify", "audit verify"} <= set(typed)
    shown = json.loads(call("dataset", "show", "flights", "--json").stdout)
    names = ["date", "delay", "distance", "origin", "destination", *(["month"] if partitioned else [])]
    assert [column["column"] for column in shown["columns"]] == names
    # nothing in a flight hints at a person
    assert {column["classification"] for column in shown["columns"]} == {"unclassified"}
    scores = [pq.read_table(path) for path in Path("storage/datasets/late_scores").rglob("*.parquet")]
    assert sum(table.num_rows for table in scores) == 2 * ROWS
    assert scores[0].column_names == ["date", "origin", "destination", "probability", "prediction"]


@pytest.mark.usefixtures("standing")
def test_what_the_page_says_beside_its_commands_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_flights(tmp_path / "data" / "flights", 1)
    write_flights(tmp_path / "data" / "flights_new", 2)
    type_page()
    # "When nothing changed, it says so": and does nothing
    again = call("job", "run", "jobs/flights.yaml", "late_scores")
    assert "nothing changed since run late_scores-" in again.stderr
    # "it takes the files as they lie there then"
    write_flights(tmp_path / "data" / "flights_new", 3, files=1)
    third = json.loads(call("job", "run", "jobs/flights.yaml", "late_scores", "--json").stdout)
    assert third["result"]["reads"]["input"]["counts"]["passed"] == 3 * ROWS
    assert json.loads(call("dataset", "verify", "late_scores", "--json").stdout)["findings"] == []
    # "`late` alone means the better candidate ... by the first rule"
    models = json.loads(call("model", "list", "--json").stdout)
    best = max(models, key=lambda version: version["metrics"]["holdout"]["roc_auc"])
    assert best["aliases"] == ["champion"]
    # "The verdict is kept in the registry, also when it says no, and the answer says where"
    Path("jobs/promotion.yaml").write_text("model: late\nrules: [{metric: roc_auc, minimum: 0.9999}]\n")
    refused = call("model", "promote", "late@1", "--reason", "trying")
    assert refused.exit_code == 5
    verdict = Path("registry") / refused.stderr.rpartition("verdict: ")[2].strip()
    assert "0.9999" in verdict.read_text()
    # "What no rule allows is denied"
    Path("policies/flights.yaml").unlink()
    denied = call("job", "run", "jobs/flights.yaml", "late", "--again")
    assert denied.exit_code == 7
    assert "there is no policy yet" in denied.stderr
