"""Charts of a run's records, below each other with one axis of time: what each worker did, its memory, rows a second.

`recorded` is what `recorded.recorded_figures` gives. The rules of `panels` hold here as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, NumeralTickFormatter, PrintfTickFormatter, Range1d
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from dataops.monitoring import wording
from dataops.monitoring.panels import BLUE, BRICK, QUIET
from dataops.monitoring.panels import _place_legend as place_legend
from dataops.monitoring.panels import _plot as plain_plot

PHASE_COLOURS = ("#2a6f97", "#dd9f3d", "#4b7f52", "#7a4f93", "#6bb0c9", "#8f6b3e", "#c97ba0", "#52606d")
WAITING = "#c3ccd5"
LINES = (
    (BLUE, "solid"),
    ("#c2571a", "dashed"),
    ("#4b7f52", "dotdash"),
    ("#7a4f93", "dotted"),
    ("#6b5b2e", "dashdot"),
    ("#8a1c4a", "solid"),
)
LEFT = 96  # pixels: as wide for all, so that moments stand below each other
LANE_HEIGHT = 18

Figures = Mapping[str, Any]


def colour_of(number: int) -> str:
    """The colour of a run's phase, by its number."""
    return PHASE_COLOURS[number % len(PHASE_COLOURS)]


def stream_panel(recorded: Figures) -> figure:
    """What each worker did when: a bar for each task, or for several where they are many; its colour is the phase."""
    stream = recorded["stream"]
    scale, unit = _time_axis(recorded)
    lanes: Sequence[int] = stream["lanes"]
    times = list(zip(stream["began"], stream["ended"], strict=True))
    parts = list(zip(stream["phase"], stream["compute"], stream["failed"], strict=True))
    source = ColumnDataSource(
        {
            "lane": stream["lane"],
            "left": [began / scale for began, _ in times],
            "right": [ended / scale for _, ended in times],
            "height": [0.84 if computed else 0.4 for _, computed, _ in parts],
            "colour": [_colour(*part) for part in parts],
            "hatch": ["/" if failed else " " for *_, failed in parts],
            "phase": [wording.plain(stream["names"][phase]) for phase, *_ in parts],
            "what": [_what(computed, failed) for _, computed, failed in parts],
            "tasks": stream["tasks"],
            "worker": [f"worker {lanes[lane] + 1}" for lane in stream["lane"]],
            "time": [f"{wording.duration(ended - began)}, from {began:,.1f} s on" for began, ended in times],
        }
    )
    plot = _timed(recorded, height=len(lanes) * LANE_HEIGHT + 64, y_range=Range1d(start=len(lanes) - 0.4, end=-0.6))
    bars = plot.hbar(
        y="lane", left="left", right="right", height="height", color="colour", line_color=None, hatch_pattern="hatch",
        hatch_color="white", source=source,
    )  # fmt: skip
    tips = [("", "@worker"), ("phase", "@phase"), ("", "@what"), ("tasks", "@tasks{0,0}"), ("time", "@time")]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    middles = _middles(lanes)
    plot.yaxis.ticker = FixedTicker(ticks=list(middles))
    plot.yaxis.major_label_overrides = {place: f"worker {worker + 1}" for place, worker in middles.items()}
    plot.ygrid.grid_line_color = None
    plot.xaxis.axis_label = unit
    return plot


def memory_panel(recorded: Figures) -> figure:
    """Memory of the workers' processes over time; dashed, the limit, where they come near it."""
    scale, unit = _time_axis(recorded)
    lines, limit = recorded["memory"], recorded["memory_limit"]
    most = max((max(line["bytes"]) for line in lines), default=0)
    shows_limit = 0 < limit < 2.5 * most
    highest = max(most, limit if shows_limit else 0)
    size, size_unit = (1e9, "GB") if highest >= 1e9 else (1e6, "MB")
    plot = _timed(recorded, height=210, y_range=Range1d(start=0, end=highest / size * 1.1 or 1))
    for line, (colour, dash) in zip(lines, LINES, strict=False):
        held = [one / size for one in line["bytes"]]
        source = ColumnDataSource({"at": [at / scale for at in line["at"]], "held": held})
        named = {"legend_label": line["name"]} if len(lines) > 1 else {}
        drawn = plot.line("at", "held", color=colour, line_dash=dash, line_width=1.8, source=source, **named)
        tips = [("", line["name"]), ("memory", f"@held{{0.00}} {size_unit}")]
        plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips, mode="vline"))
    if shows_limit:
        plot.add_layout(Span(location=limit / size, dimension="width", line_color=BRICK, line_dash="dashed"))
    plot.yaxis.formatter = PrintfTickFormatter(format=f"%.{1 if highest < 10 * size else 0}f {size_unit}")
    plot.xaxis.axis_label = unit
    if len(lines) > 1:
        place_legend(plot)
        plot.legend.spacing = 18
    return plot


def rate_panel(recorded: Figures) -> figure:
    """Rows a second over time, by when the tasks ran that did them."""
    scale, unit = _time_axis(recorded)
    rate = recorded["rate"]
    ends = [*rate["at"][1:], recorded["seconds"]]
    source = ColumnDataSource(
        {"left": [at / scale for at in rate["at"]], "right": [at / scale for at in ends], "rows": rate["rows"]}
    )
    plot = _timed(recorded, height=190, y_range=Range1d(start=0, end=max(rate["rows"]) * 1.1 or 1))
    bars = plot.quad(left="left", right="right", top="rows", bottom=0, color=BLUE, source=source)
    plot.add_tools(HoverTool(renderers=[bars], tooltips=[("rows a second", "@rows{0,0}")]))
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.xaxis.axis_label = unit
    return plot


def _timed(recorded: Figures, *, height: int, y_range: Range1d) -> figure:
    """An empty plot over the run's time; a dashed line where it was taken up again."""
    scale, _ = _time_axis(recorded)
    end = recorded["seconds"] / scale or 1
    plot = plain_plot(height=height, x_range=Range1d(start=0, end=end), y_range=y_range)
    plot.min_border_left = LEFT
    for start in recorded["attempts"]:
        plot.add_layout(Span(location=start / scale, dimension="height", line_color=QUIET, line_dash="dashed"))
    return plot


def _time_axis(recorded: Figures) -> tuple[float, str]:
    """Seconds in a unit of time, and its name."""
    seconds = recorded["seconds"]
    if seconds < 300:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")


def _colour(phase: int, computed: bool, failed: bool) -> str:  # noqa: FBT001 - what the bar is
    if failed:
        return BRICK
    return colour_of(phase) if computed else WAITING


def _what(computed: bool, failed: bool) -> str:  # noqa: FBT001 - what the bar is
    if failed:
        return "failed"
    return "at work" if computed else "waiting for data"


def _middles(lanes: Sequence[int]) -> dict[float, int]:
    """The place of each worker's name: the middle of its lanes."""
    begins = [place for place, worker in enumerate(lanes) if place == 0 or lanes[place - 1] != worker]
    return {(begin + end - 1) / 2: lanes[begin] for begin, end in pairwise([*begins, len(lanes)])}
