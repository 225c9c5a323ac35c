"""What only a process can show: signals, exit codes, what reaches the terminal, results apart from progress."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.line.people import make_workspace

CALL = [sys.executable, "-c", "from dataops.cli.main import main; main()"]
PREPARE = ["job", "run", "jobs/people.yaml", "people_ready", "--workers", "1"]


def environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DATAOPS_")}


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CALL, *arguments], cwd=folder, env=environ(), capture_output=True, text=True, timeout=120, check=False
    )


def test_an_interrupted_run_says_how_to_go_on_and_does(tmp_path, dataops):
    folder = make_workspace(tmp_path / "people", files=2)
    with subprocess.Popen(
        [*CALL, *PREPARE],
        cwd=folder,
        env=environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a suite that runs in a shell's background has interrupts ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - before any thread
    ) as driver:
        assert driver.stderr is not None
        seen = ""
        for line in driver.stderr:
            seen += line
            if "dashboard" in line:
                break
        os.killpg(driver.pid, signal.SIGINT)  # as a terminal does: to the driver and all its workers
        out, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    resume = re.search(r"error: stopped\n`dataops (job resume (\S+))` goes on", err)
    assert resume is not None, err
    assert not list((folder / "storage" / "datasets").glob("people_ready/snapshots/*"))
    shown = dataops("job", "show", resume[2], "--json", "-w", str(folder)).json
    assert (shown["state"], shown["error"]) == ("failed", "KeyboardInterrupt: interrupted")
    resumed = run([*resume[1].split(), "--json", "--quiet", "--workers", "1"], folder)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["state"] == "done"
    assert resumed.stderr == ""


def test_a_parquet_file_with_broken_pages_fails_the_run_and_publishes_nothing(tmp_path, dataops):
    folder = make_workspace(tmp_path / "people", files=1)
    part = folder / "data" / "people_old" / "part-000.parquet"
    column = pq.read_metadata(part).row_group(0).column(3)
    data = bytearray(part.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xa5" * column.total_compressed_size
    part.write_bytes(data)
    ran = run([*PREPARE, "--json"], folder)
    assert ran.returncode in {8, 10, 11}
    assert "Traceback" not in ran.stderr
    assert "part-000.parquet" in json.loads(ran.stdout)["error"]["message"]
    assert "secret" not in ran.stdout + ran.stderr
    assert not list((folder / "storage" / "datasets").glob("people_ready/snapshots/*"))
    assert [run["state"] for run in dataops("job", "list", "--json", "-w", str(folder)).json] == ["failed"]


def test_a_reader_that_leaves_early_makes_no_noise(tmp_path):
    folder = make_workspace(tmp_path / "people", files=1)
    with subprocess.Popen(
        [*CALL, "dataset", "list", "--json"],
        cwd=folder,
        env=environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as lister:
        assert lister.stdout is not None
        assert lister.stderr is not None
        lister.stdout.close()
        assert lister.stderr.read() == ""


@pytest.mark.parametrize("noun", ["job", "dataset", "model"])
def test_lists_of_a_new_workspace_say_what_to_do(noun, tmp_path, dataops):
    made = dataops("init", str(tmp_path / "new"), "--json").json
    assert Path(made["workspace"]) == tmp_path / "new"
    listed = dataops(noun, "list", "-w", str(tmp_path / "new"))
    assert listed.code == 0
    assert len(listed.out.splitlines()) == 1
    assert "no " in listed.out
    assert dataops(noun, "list", "-w", str(tmp_path / "new"), "--json").json == []
    assert dataops("audit", "verify", "-w", str(tmp_path / "new"), "--json").json["records"] == 0
