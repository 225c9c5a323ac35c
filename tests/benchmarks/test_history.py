"""Records are kept whole, whoever else writes or is cut off."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.scripts import loaded

history, measuring, pace = loaded("history"), loaded("measuring"), loaded("pace")


def write(path: Path, **more: Any) -> None:
    ratios = {"a/b": measuring.Spread.of([1.0, 2.0])}
    told = {"question": "q", "quick": False, "runs": {"much": list(range(100))}}
    history.write_record(path, told, ratios, phases={"fit": [1.23456789]}, **more)


def test_a_record_says_what_was_measured_on_what(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path / "q.json", data={"rows": 3, "digest": "sha256:0"}, cluster=(2, 1))
    record = json.loads((tmp_path / "q.json").read_text())
    [line] = history.read_history(tmp_path / "history.jsonl")
    assert line == {key: record[key] for key in line}
    assert record["runs"]
    assert "runs" not in line
    assert line["phases"] == {"fit": [1.235]}
    assert line["cluster"] == {"workers": 2, "threads": 1}
    assert line["data"]["rows"] == 3
    assert len(line["pace"]) == 2 * pace.PIECES  # before and after
    assert {"python", "dask", "distributed", "pyarrow", "numpy", "scikit-learn", "xgboost", "pandas"} <= {
        *line["versions"]
    }
    assert line["machine"]["cores"] >= 1
    assert line["commit"]
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["question"] == "q"
    assert last["ratios"]["a/b"]["median"] == 1.5


def test_a_record_is_of_the_commit_and_the_load_that_its_script_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others commit while it runs, and it is load itself."""
    monkeypatch.setattr(history, "_begun", [])
    monkeypatch.setattr(history, "pace", lambda _: [1.0])
    monkeypatch.setattr(history, "commit", lambda: "first")
    monkeypatch.setattr(history.os, "getloadavg", lambda: (0.5, 0.5, 0.5))
    history.arguments("", "q", quick="")
    monkeypatch.setattr(history, "pace", lambda _: [2.0])
    monkeypatch.setattr(history, "commit", lambda: "second")
    monkeypatch.setattr(history.os, "getloadavg", lambda: (9.0, 9.0, 9.0))
    write(tmp_path / "q.json")
    [line] = history.read_history(tmp_path / "history.jsonl")
    assert line["commit"] == "first"
    assert line["machine"]["load_before"] == [0.5, 0.5, 0.5]
    assert line["pace"] == [1.0, 2.0]


def append_many(path: Path, who: int) -> None:
    for number in range(50):
        history.append_line(path, {"format": history.FORMAT, "measured_at": f"{number}", "who": who, "x": "y" * 9000})


def test_lines_of_several_processes_at_once_are_all_whole(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    started = [multiprocessing.get_context("fork").Process(target=append_many, args=(path, who)) for who in range(3)]
    for one in started:
        one.start()
    for one in started:
        one.join()
        assert one.exitcode == 0
    assert len(history.read_history(path)) == 150


def test_a_line_that_was_cut_off_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    first = {"format": history.FORMAT, "measured_at": "1"}
    history.append_line(path, first)
    with path.open("a") as file:
        file.write('{"format": "dataops/ben')
    second = {"format": history.FORMAT, "measured_at": "2"}
    history.append_line(path, second)
    history.append_line(path, {"format": "another/1"})
    assert history.read_history(path) == [first, second]


def test_data_are_known_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    first = history.data_of_files([tmp_path / "b", tmp_path / "a"], 2)
    assert first == history.data_of_files([tmp_path / "a", tmp_path / "b"], 2)
    (tmp_path / "b").write_bytes(b"3")
    assert first != history.data_of_files([tmp_path / "a", tmp_path / "b"], 2)


def test_noise_is_what_pairs_of_the_same_work_stray_by() -> None:
    assert pace.noise([1.0, 1.0] * 15) == 0
    steady = [1.0, 1.05] * 10
    assert abs(pace.noise(steady) - 0.05) < 1e-9
    assert pace.noise([*steady, 1.0, 5.0]) < 0.1  # one pair of eleven
    assert pace.noise([1.0, 1.5] * 10) > pace.LIMIT
