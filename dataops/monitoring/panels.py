"""Charts of one run: figures in, a bokeh model out. They know no page, so a report and a live page can both show them.

1. A chart never is the only place of a number: the page writes them all out beside it.
2. Colour never is the only difference: candidates have markers of their own, bars have labels.
3. Names are shown through `wording.plain`, as text.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from bokeh.models import ColumnDataSource, FactorRange, HoverTool, NumeralTickFormatter, Range1d
from bokeh.models.annotations import LabelSet, Span
from bokeh.plotting import figure

from dataops.monitoring import wording
from dataops.monitoring.sections import Figures, Reading, Slices, phases

FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
INK, QUIET, LINE = "#1f2933", "#52606d", "#e4e7eb"
BLUE, BRICK = "#2a6f97", "#b5473c"
OUTCOME_COLOURS = {
    "passed": BLUE,
    "filtered_by_policy": "#7b8794",
    "filtered_by_job": "#b8c2cc",
    "dropped": "#dd9f3d",
    "quarantined": BRICK,
}
CANDIDATE_STYLES = (
    (BLUE, "circle"),
    ("#c2571a", "diamond"),
    ("#4b7f52", "square"),
    ("#7a4f93", "triangle"),
    ("#6b5b2e", "inverted_triangle"),
    ("#8a1c4a", "star"),
)
ROW_HEIGHT = 28
SMALLEST_DOT, LARGEST_DOT = 7, 24


def phase_panel(figures: Figures) -> figure:
    """Seconds by phase, in order from the top."""
    shown = phases(figures)
    labels = _distinct([wording.plain(phase.name) for phase in shown])
    source = ColumnDataSource(
        {
            "phase": labels,
            "seconds": [phase.seconds for phase in shown],
            "text": [wording.duration(phase.seconds) + (" failed" if phase.failed else "") for phase in shown],
            "colour": [BRICK if phase.failed else BLUE for phase in shown],
        }
    )
    longest = max((phase.seconds for phase in shown), default=0.0)
    plot = _plot(
        height=len(shown) * ROW_HEIGHT + 50,
        x_range=Range1d(start=0, end=longest * 1.12 or 1),
        y_range=FactorRange(factors=labels[::-1]),
    )
    bars = plot.hbar(y="phase", right="seconds", height=0.62, color="colour", source=source)
    plot.add_layout(_labels(source, x="seconds", y="phase", align="left", offset=6))
    plot.add_tools(HoverTool(renderers=[bars], tooltips=[("phase", "@phase"), ("time", "@text")]))
    plot.xaxis.axis_label = "seconds"
    plot.ygrid.grid_line_color = None
    return plot


def receipt_panel(reading: Reading) -> figure:
    """What became of the rows of one input: one bar, cut by outcome."""
    plot = _plot(height=84, x_range=Range1d(start=0, end=reading.read or 1), y_range=Range1d(start=-0.5, end=0.5))
    left = 0
    for share in reading.shares:
        source = ColumnDataSource(
            {"left": [left], "right": [left + share.rows], "rows": [share.rows], "share": [share.share]}
        )
        bar = plot.hbar(
            y=0, left="left", right="right", height=0.8, color=OUTCOME_COLOURS[share.outcome], line_color=None,
            source=source,
        )  # fmt: skip
        tooltips = [("rows", "@rows{0,0}"), (share.label, "@share")]
        plot.add_tools(HoverTool(renderers=[bar], tooltips=tooltips))
        left += share.rows
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.yaxis.visible = False
    plot.ygrid.grid_line_color = None
    return plot


def slice_panel(slices: Slices) -> figure:
    """A metric by slice value: a dot for each candidate, its area growing with the rows."""
    labels = dict(zip(slices.values, _distinct([wording.plain(value) for value in slices.values]), strict=True))
    per_candidate = 20 if len(slices.candidates) > 1 else ROW_HEIGHT
    height = max(1, len(labels)) * max(ROW_HEIGHT, per_candidate * len(slices.candidates)) + 84
    plot = _plot(height=height, y_range=FactorRange(factors=list(labels.values())[::-1]))
    largest = max((point.rows for point in slices.points), default=0) or 1
    for number, candidate in enumerate(slices.candidates):
        colour, marker = CANDIDATE_STYLES[number % len(CANDIDATE_STYLES)]
        shown = [point for point in slices.points if point.candidate == candidate and point.value is not None]
        offset = (number - (len(slices.candidates) - 1) / 2) * 0.6 / max(1, len(slices.candidates))
        source = ColumnDataSource(
            {
                "place": [(labels[point.slice_value], -offset) for point in shown],
                "slice": [labels[point.slice_value] for point in shown],
                "value": [point.value for point in shown],
                "rows": [point.rows for point in shown],
                "size": [_dot(point.rows, largest) for point in shown],
                "candidate": [wording.plain(candidate)] * len(shown),
            }
        )
        dots = plot.scatter(
            "value", "place", size="size", marker=marker, fill_color=colour, fill_alpha=0.75, line_color="white",
            legend_label=wording.plain(candidate), source=source,
        )  # fmt: skip
        _add_slice_hover(plot, dots, slices)
        if candidate in slices.overall:
            plot.add_layout(
                Span(location=slices.overall[candidate], dimension="height", line_color=colour, line_dash="dashed")
            )
    plot.xaxis.axis_label = wording.metric_name(slices.metric)
    plot.xaxis.formatter = NumeralTickFormatter(format="0.000")
    _place_legend(plot)
    return plot


def score_panel(figures: Figures) -> figure:
    """Rows by score, in equal bins from 0 to 1, each with its number."""
    counts = figures["result"]["scores"]
    edges = [number / len(counts) for number in range(len(counts) + 1)]
    source = ColumnDataSource(
        {
            "left": edges[:-1],
            "right": edges[1:],
            "middle": [(low + high) / 2 for low, high in pairwise(edges)],
            "rows": counts,
            "text": [wording.count(count) for count in counts],
            "bin": [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)],
        }
    )
    plot = _plot(
        height=300, x_range=Range1d(start=0, end=1), y_range=Range1d(start=0, end=max(counts, default=0) * 1.1 or 1)
    )
    bars = plot.quad(left="left", right="right", bottom=0, top="rows", color=BLUE, line_color="white", source=source)
    plot.add_layout(_labels(source, x="middle", y="rows", align="center", offset=0))
    plot.add_tools(HoverTool(renderers=[bars], tooltips=[("score", "@bin"), ("rows", "@text")]))
    plot.xaxis.axis_label, plot.yaxis.axis_label = "score", "rows"
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.xgrid.grid_line_color = None
    return plot


def _plot(*, height: int, **ranges: Any) -> figure:
    plot = figure(
        height=height, sizing_mode="stretch_width", toolbar_location=None, tools="", min_border_right=24, **ranges
    )
    plot.outline_line_color = None
    plot.background_fill_color = plot.border_fill_color = None
    for axis in plot.axis:
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color, axis.major_label_text_color = QUIET, INK
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
        axis.axis_line_color = axis.minor_tick_line_color = axis.major_tick_line_color = None
    plot.grid.grid_line_color = LINE
    return plot


def _labels(source: ColumnDataSource, *, x: str, y: str, align: str, offset: int) -> LabelSet:
    return LabelSet(
        x=x, y=y, text="text", source=source, x_offset=offset, text_align=align,
        text_baseline="middle" if align == "left" else "bottom",
        text_font=FONT, text_font_size="11px", text_color=INK,
    )  # fmt: skip


def _add_slice_hover(plot: figure, dots: Any, slices: Slices) -> None:
    value = (wording.metric_name(slices.metric), "@value{0.0000}")
    tooltips = [(wording.plain(slices.column), "@slice"), ("candidate", "@candidate"), value, ("rows", "@rows{0,0}")]
    plot.add_tools(HoverTool(renderers=[dots], tooltips=tooltips))


def _place_legend(plot: figure) -> None:
    legend = plot.legend[0] if plot.legend else None
    if legend is not None:
        legend.orientation, legend.border_line_color, legend.background_fill_color = "horizontal", None, None
        legend.label_text_font, legend.label_text_font_size, legend.label_text_color = FONT, "12px", INK
        plot.add_layout(legend, "above")


def _dot(rows: int, largest: int) -> float:
    """A diameter in pixels whose square grows with the rows."""
    return max(SMALLEST_DOT, LARGEST_DOT * math.sqrt(rows / largest))


def _distinct(labels: list[str]) -> list[str]:
    """`labels`, told apart where shortening made them equal."""
    seen: dict[str, int] = {}
    result = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        result.append(label if seen[label] == 1 else f"{label} #{seen[label]}")
    return result
