"""Progress: plain lines where nobody watches, a bar in a terminal, nothing when quiet."""

from __future__ import annotations

import io
from types import SimpleNamespace

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


def test_one_unit_is_no_units() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.start("score", 1)
        progress.advance(1, 1000)
        progress.stop(ok=True)
    assert "1 unit, 1,000 rows" in stream.getvalue()


def test_a_failed_phase_says_so() -> None:
    stream = io.StringIO()
    _phase(Progress(stream), ok=False)
    assert stream.getvalue().rstrip().endswith("s, failed")


def test_quiet_says_nothing() -> None:
    for stream in (io.StringIO(), Terminal()):
        _phase(Progress(stream, quiet=True))
        assert stream.getvalue() == ""


class Clock:
    """A clock that goes on when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(shown, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_a_long_phase_speaks_now_and_then_with_rows_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    progress = Progress(stream)
    progress.start("score", 5000, 500_000)
    for clock.now in (4.0, 8.0, 12.0, 16.0, 20.0):
        progress.advance(10, 1000)
    assert stream.getvalue().splitlines() == [
        "  score        30 of 5,000 units, 3,000 of 500,000 rows, 250 rows/s, 33:08 left",
    ]


def test_what_was_done_before_counts_for_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    progress = Progress(stream)
    progress.start("score", 10, 4000)
    progress.advance(6, 0)
    clock.now = 20.0
    progress.advance(1, 1000)
    assert stream.getvalue().split("score")[1].strip() == "7 of 10 units, 1,000 of 4,000 rows, 50 rows/s, 1:00 left"


def test_hours_are_told_as_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    progress = Progress(stream)
    progress.start("score", 10, 7326)
    clock.now = 20.0
    progress.advance(1, 20)
    assert stream.getvalue().rstrip().endswith("1 rows/s, 2:01:46 left")


def test_without_rows_only_units_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    progress = Progress(stream)
    progress.start("survey", 10)
    clock.now = 20.0
    progress.advance(1, 0)
    assert stream.getvalue().split() == ["survey", "1", "of", "10", "units"]


def test_a_bar_says_the_same_and_is_not_drawn_for_each_of_many_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    clock, stream = Clock(monkeypatch), Terminal()
    with Progress(stream) as progress:
        progress.start("score", 2000, 20_000)
        for clock.now in (0.01, 0.02, 0.03, 10.0):
            progress.advance(500, 5000)
        assert progress._bars is not None
        (task,) = progress._bars.tasks
        assert (task.completed, task.total) == (20_000, 20_000)
        assert task.fields["figures"] == "2,000 of 2,000 units, 20,000 of 20,000 rows, 2,000 rows/s, 0:00 left"


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (120, "500 of 2,000 units, 5,000 of 20,000 rows, 500 rows/s, 0:30 left"),
        (80, "500 rows/s, 0:30 left"),
        (60, "0:30 left"),
    ],
)
def test_in_a_narrow_terminal_the_bar_stays_and_time_left_goes_last(
    columns: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    clock, stream = Clock(monkeypatch), Terminal()
    with Progress(stream) as progress:
        progress.start("score", 2000, 20_000)
        clock.now = 10.0
        progress.advance(500, 5000)
        assert progress._bars is not None
        assert progress._bars.tasks[0].fields["figures"] == told
        progress._bars.refresh()
    lines = [line for line in stream.getvalue().splitlines() if "left" in line]
    assert all("\u2501" in line and "\u2026" not in line for line in lines[-1:])


def test_what_goes_by_rounds_tells_time_left_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    progress = Progress(stream)
    progress.start("fit xgboost", 0)
    clock.now = 20.0
    progress.tell("50 of 200 rounds, loss 0.2000", 50, 200)
    clock.now = 80.0
    progress.tell("200 of 200 rounds, loss 0.1000", 200, 200)
    progress.stop(ok=True)
    assert stream.getvalue().splitlines() == [
        "  fit xgboost  50 of 200 rounds, loss 0.2000, 1:00 left",
        "  fit xgboost  200 of 200 rounds, loss 0.1000",
        "  fit xgboost  200 of 200 rounds, loss 0.1000, 80.0 s",
    ]


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
