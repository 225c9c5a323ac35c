"""Streams: processes side by side, of which none outlives the others' failure."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dataops.bench.course import side_by_side
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
