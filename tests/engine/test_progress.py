"""Progress: plain lines where nobody watches, a bar in a terminal, nothing when quiet."""

from __future__ import annotations

import io

import pytest

from dataops.engine import progress as shown
from dataops.engine.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _phase(progress: Progress, *, ok: bool = True) -> None:
    with progress:
        progress.say("[bold]job[/bold]: run r")
        progress.start("score", 2)
        progress.advance(1, 1000)
        progress.advance(1, 1000)
        progress.stop(ok=ok)


def test_elsewhere_a_line_says_what_was_done() -> None:
    stream = io.StringIO()
    _phase(Progress(stream))
    first, last = stream.getvalue().splitlines()
    assert first == "[bold]job[/bold]: run r"
    assert last.split() == ["score", "2", "units,", "2,000", "rows,", last.split()[-2], "s"]


def test_a_failed_phase_says_so() -> None:
    stream = io.StringIO()
    _phase(Progress(stream), ok=False)
    assert stream.getvalue().rstrip().endswith("s, failed")


def test_quiet_says_nothing() -> None:
    for stream in (io.StringIO(), Terminal()):
        _phase(Progress(stream, quiet=True))
        assert stream.getvalue() == ""


def test_a_long_phase_speaks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 11.0, 11.0, 11.0, 12.0, 23.0, 23.0, 23.0, *[30.0] * 9])
    monkeypatch.setattr(shown.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    progress = Progress(stream)
    progress.start("score", 3)
    for _ in range(3):
        progress.advance(1, 10)
    assert 1 <= len(stream.getvalue().splitlines()) <= 2


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    _phase(Progress(stream))
    assert "score" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


def test_an_interrupted_bar_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = Progress(stream)
    progress.start("score", 2)
    with pytest.raises(KeyboardInterrupt), progress:
        raise KeyboardInterrupt
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1
