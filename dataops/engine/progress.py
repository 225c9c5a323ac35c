"""Progress on stderr: a bar per phase in a terminal, plain lines elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """What a person sees of a run's phases."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._console = Console(file=stream, stderr=False, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._phase, self._total, self._units, self._rows = "", 0, 0, 0
        self._started = self._spoken = 0.0

    def say(self, line: str) -> None:
        """A line for people."""
        if not self._quiet:
            self._console.print(line, markup=False)

    def start(self, phase: str, total: int) -> None:
        """Show that `phase` begins; `total` is its number of units (0: unknown)."""
        self._phase, self._total, self._units, self._rows = phase, total, 0, 0
        self._started = self._spoken = time.monotonic()
        if self._quiet or not self._console.is_terminal:
            return
        self._bars = Bars(
            TextColumn("  {task.description:<12}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._bars.start()
        self._task = self._bars.add_task(phase, total=total or None, rate="")

    def advance(self, units: int, rows: int) -> None:
        """Count `units` and `rows` as done."""
        self._units += units
        self._rows += rows
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=self._units, rate=self._rate())
        elif time.monotonic() - self._spoken > SECONDS_BETWEEN_LINES:
            self._spoken = time.monotonic()
            self.say(f"  {self._phase:<12} {self._units} of {self._total} units {self._rate()}")

    def stop(self, *, ok: bool) -> None:
        """Show that the phase ended."""
        self._close()
        seconds = time.monotonic() - self._started
        units = f"{self._units} units, " if self._total else ""
        rows = f"{self._rows:,} rows, " if self._rows else ""
        self.say(f"  {self._phase:<12} {units}{rows}{seconds:.1f} s{'' if ok else ', failed'}")

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = self._task = None

    def _rate(self) -> str:
        seconds = time.monotonic() - self._started
        return f"{self._rows / seconds:,.0f} rows/s" if self._rows and seconds > 0 else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
