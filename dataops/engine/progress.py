"""Progress on stderr: a bar per phase in a terminal, plain lines elsewhere, nothing when asked to be quiet.

1. What is left is told by rows where their number is known: units differ in size.
2. A bar is drawn a few times a second at most, however fast units land.
3. A bar keeps to its line: where the terminal is narrow, what the bar shows by itself goes first, time left last.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_BARS = 0.1
NAME_WIDTH, BAR_WIDTH, CLOCK_WIDTH, GAPS = 12, 20, 7, 5  # characters of a bar's line, beside the figures


class Progress:
    """What a person sees of a run's phases."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._console = Console(file=stream, stderr=False, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._phase, self._total, self._all_rows, self._units, self._rows, self._told = "", 0, 0, 0, 0, ""
        self._started = self._spoken = 0.0

    def say(self, line: str) -> None:
        """A line for people."""
        if not self._quiet:
            self._console.print(line, markup=False)

    def start(self, phase: str, total: int, rows: int = 0) -> None:
        """Show that `phase` begins.

        Parameters
        ----------
        total : its units; 0: unknown.
        rows : rows of the units that have yet to be done; 0: unknown.
        """
        self._phase, self._total, self._all_rows, self._units, self._rows, self._told = phase, total, rows, 0, 0, ""
        self._started = self._spoken = time.monotonic()
        if self._quiet or not self._console.is_terminal:
            return
        self._bars = Bars(
            TextColumn(f"  {{task.description:<{NAME_WIDTH}}}"),
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._bars.start()
        self._task = self._bars.add_task(phase, total=rows or total or None, figures=self._fitting(self._started))

    def advance(self, units: int, rows: int) -> None:
        """Count `units` and `rows` as done."""
        self._units += units
        self._rows += rows
        now = time.monotonic()
        if now - self._spoken < (SECONDS_BETWEEN_LINES if self._bars is None else SECONDS_BETWEEN_BARS):
            return
        self._spoken = now
        if self._bars is not None and self._task is not None:
            done = self._rows if self._all_rows else self._units
            self._bars.update(self._task, completed=done, figures=self._fitting(now))
        else:
            self.say(f"  {self._phase:<12} {self._figures(now)}")

    def tell(self, figures: str, done: int, total: int) -> None:
        """Show what a phase says of itself that doesn't go by units, and that it did `done` of `total`."""
        self._told = figures
        now = time.monotonic()
        if now - self._spoken < (SECONDS_BETWEEN_LINES if self._bars is None else SECONDS_BETWEEN_BARS):
            return
        self._spoken = now
        left = f", {_clock((now - self._started) * (total - done) / done)} left" if 0 < done < total else ""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done, total=total, figures=figures + left)
        else:
            self.say(f"  {self._phase:<12} {figures}{left}")

    def stop(self, *, ok: bool) -> None:
        """Show that the phase ended."""
        self._close()
        seconds = time.monotonic() - self._started
        units = f"{self._units:,} unit{'' if self._units == 1 else 's'}, " if self._total else ""
        rows = f"{self._rows:,} rows, " if self._rows else ""
        told = f"{self._told}, " if self._told else ""
        self.say(f"  {self._phase:<12} {units}{rows}{told}{seconds:.1f} s{'' if ok else ', failed'}")

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = self._task = None

    def _figures(self, now: float) -> str:
        """Units, rows, rate and time left, as far as they are known."""
        return ", ".join(self._known(now).values())

    def _fitting(self, now: float) -> str:
        """The figures that there is room for beside a bar."""
        figures = self._known(now)
        room = self._console.width - max(NAME_WIDTH, len(self._phase)) - BAR_WIDTH - CLOCK_WIDTH - GAPS
        for least in ("rows", "units", "rate"):
            if len(", ".join(figures.values())) > room:
                figures.pop(least, None)
        return ", ".join(figures.values())

    def _known(self, now: float) -> dict[str, str]:
        if not self._total:
            return {}
        figures = {"units": f"{self._units:,} of {self._total:,} unit{'' if self._total == 1 else 's'}"}
        seconds = now - self._started
        if self._all_rows:
            figures["rows"] = f"{self._rows:,} of {self._all_rows:,} rows"
        if self._rows and seconds > 0:
            rate = self._rows / seconds
            figures["rate"] = f"{rate:,.0f} rows/s"
            if self._all_rows:
                figures["left"] = f"{_clock((self._all_rows - self._rows) / rate)} left"
        return figures

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


def _clock(seconds: float) -> str:
    """``h:mm:ss``, or ``m:ss`` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
