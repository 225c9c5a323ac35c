"""Streams: processes side by side, of which none outlives the others' failure."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataops.bench.course import STREAM, seconds_of_streams, side_by_side
from dataops.errors import Compute


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_each_stream_tells_its_own_result() -> None:
    ended: list[int] = []
    told = side_by_side([python(f"print({{}} or '{{\"run\": {n}}}')") for n in (1, 2)], ended=lambda: ended.append(1))
    assert told == [{"run": 1}, {"run": 2}]
    assert ended == [1, 1]


def test_a_stream_that_fails_says_why_and_the_others_end(tmp_path: Path) -> None:
    failing = python("import sys; print('error: no such job\\nnote', file=sys.stderr); sys.exit(3)")
    lasting = python(
        f"import os, pathlib, time; pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    with pytest.raises(Compute, match=r"stream 1 of 2: no such job$"):
        side_by_side([failing, lasting], ended=lambda: None)
    told = (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else ""
    if told:  # else it ended before it had begun
        with pytest.raises(ProcessLookupError):
            os.kill(int(told), 0)


def events(started: float, ready: float, done: float) -> dict[str, float]:
    return {"run_started": started, "cluster_ready": ready, "run_done": done}


def test_planning_of_streams_counts_once_where_it_is_side_by_side_and_their_start_does_not() -> None:
    side = [events(13.0, 20.0, 30.0), events(14.0, 21.0, 32.0)]
    assert seconds_of_streams([10.0, 11.0], side) == (14 - 10) + (32 - 20)
    apart = [events(11.0, 20.0, 30.0), events(16.0, 21.0, 32.0)]
    assert seconds_of_streams([10.0, 15.0], apart) == 1 + 1 + 12
    late = [events(11.0, 12.0, 30.0), events(15.0, 21.0, 32.0)]
    assert seconds_of_streams([10.0, 14.0], late) == 1 + 20  # one planned while the other was at work


def test_a_stream_notes_when_it_was_asked_and_is_the_command_line_from_then_on(tmp_path: Path) -> None:
    asked, before = tmp_path / "asked", time.time()
    told = subprocess.run([*STREAM, str(asked), "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("python -m dataops.cli.main, version")
    assert before < float(asked.read_text()) < time.time()
