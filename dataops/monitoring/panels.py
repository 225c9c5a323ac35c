"""Charts of one run: figures in, a bokeh model out. They know no page, so a report and a live page can both show them.

1. A chart never is the only place of a number: the page writes them all out beside it.
2. Colour never is the only difference: candidates have markers of their own, bars have labels.
3. Names are shown through `wording.plain`, as text.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bokeh.core.properties import value
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    FactorRange,
    FixedTicker,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.models.annotations import LabelSet, Span
from bokeh.plotting import figure

from dataops.monitoring import wording
from dataops.monitoring.comparison import Slices
from dataops.monitoring.drift import Drift
from dataops.monitoring.sections import Figures, Reading, Scores, phases

FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
INK, QUIET, LINE = "#1f2933", "#52606d", "#e4e7eb"
BLUE, BRICK, THEN = "#2a6f97", "#b5473c", "#b8c2cc"
OUTCOME_COLOURS = {
    "passed": BLUE,
    "filtered_by_policy": "#7b8794",
    "filtered_by_job": "#b8c2cc",
    "dropped": "#dd9f3d",
    "quarantined": BRICK,
    "failed": "#6b2737",
}
CANDIDATE_STYLES = (
    (BLUE, "circle"),
    ("#c2571a", "square"),
    ("#4b7f52", "triangle"),
    ("#7a4f93", "diamond"),
    ("#6b5b2e", "inverted_triangle"),
    ("#8a1c4a", "star"),
)
_THEN_AND_NOW = [("score", "@bin"), ("then", "@then{0.00}%"), ("now", "@now{0.00}%")]
ROW_HEIGHT = 28
CANDIDATE_HEIGHT = 16
SMALLEST_DOT, LARGEST_DOT = 6, 20  # pixels across


def phase_panel(figures: Figures) -> figure:
    """Seconds by phase, in order from the top."""
    shown = phases(figures)
    labels = list(_distinct(wording.plain(phase.name) for phase in shown))
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
    plot.add_layout(_labels(source, x="seconds", y="phase", align="left", offset=(6, 0)))
    plot.add_tools(HoverTool(renderers=[bars], tooltips=[("phase", "@phase"), ("time", "@text")]))
    plot.xaxis.axis_label = "seconds"
    plot.ygrid.grid_line_color = None
    return plot


def receipt_panel(reading: Reading) -> figure:
    """What became of the rows of one input: one bar, cut by outcome."""
    ends = list(itertools.accumulate((share.rows for share in reading.shares), initial=0))
    source = ColumnDataSource(
        {
            "left": ends[:-1],
            "right": ends[1:],
            "outcome": [share.label for share in reading.shares],
            "rows": [share.rows for share in reading.shares],
            "share": [share.share for share in reading.shares],
            "colour": [OUTCOME_COLOURS[share.outcome] for share in reading.shares],
        }
    )
    plot = _plot(height=84, x_range=Range1d(start=0, end=ends[-1] or 1), y_range=Range1d(start=-0.5, end=0.5))
    bar = plot.hbar(y=0, left="left", right="right", height=0.8, color="colour", line_color=None, source=source)
    tooltips = [("rows", "@outcome"), ("number", "@rows{0,0}"), ("of those read", "@share")]
    plot.add_tools(HoverTool(renderers=[bar], tooltips=tooltips))
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.yaxis.visible = False
    plot.ygrid.grid_line_color = None
    return plot


def slice_panel(slices: Slices) -> figure:
    """A metric by slice value: a dot for each candidate, its area growing with the rows; dashed, the metric overall."""
    labels = dict(zip(slices.judged, _distinct(wording.plain(name) for name in slices.judged), strict=True))
    row_height = max(ROW_HEIGHT, CANDIDATE_HEIGHT * len(slices.candidates))
    low, high = slices.axis
    plot = _plot(
        height=len(labels) * row_height + 92,
        x_range=Range1d(start=low, end=high),
        y_range=FactorRange(factors=list(labels.values())[::-1]),
    )
    names = _distinct(wording.plain(candidate) for candidate in slices.candidates)
    for number, (candidate, name) in enumerate(zip(slices.candidates, names, strict=True)):
        colour, marker = CANDIDATE_STYLES[number % len(CANDIDATE_STYLES)]
        if candidate in slices.overall:
            overall = slices.overall[candidate]
            plot.add_layout(Span(location=overall, dimension="height", line_color=colour, line_dash="dashed"))
        dots = plot.scatter(
            "value",
            "place",
            size="size",
            marker=marker,
            fill_color=colour,
            fill_alpha=0.8,
            line_color="white",
            legend_label=name,
            source=_slice_source(slices, number, labels, name),
        )
        plot.add_tools(HoverTool(renderers=[dots], tooltips=_slice_tooltips(slices)))
    plot.xaxis.axis_label = wording.plain(wording.metric_name(slices.metric))
    plot.xaxis.formatter = NumeralTickFormatter(format="0.000")
    plot.xaxis.ticker = BasicTicker(desired_num_ticks=4)
    _place_legend(plot)
    return plot


def _slice_source(slices: Slices, place: int, labels: Mapping[str, str], name: str) -> ColumnDataSource:
    """The dots of one candidate, moved up or down within the row so that candidates don't hide each other."""
    candidate, n_candidates = slices.candidates[place], len(slices.candidates)
    shift = (0.5 - (place + 0.5) / n_candidates) * 0.6
    largest = max((point.rows for point in slices.points), default=1) or 1
    shown = [(p, p.value) for p in slices.points if p.candidate == candidate and p.value is not None]
    return ColumnDataSource(
        {
            "place": [(labels[point.slice_value], shift) for point, _ in shown],
            "slice": [labels[point.slice_value] for point, _ in shown],
            "value": [number for _, number in shown],
            "rows": [point.rows for point, _ in shown],
            "size": [max(SMALLEST_DOT, LARGEST_DOT * math.sqrt(point.rows / largest)) for point, _ in shown],
            "candidate": [name] * len(shown),
        }
    )


def _slice_tooltips(slices: Slices) -> list[tuple[str, str]]:
    return [
        (wording.plain(slices.column), "@slice"),
        ("candidate", "@candidate"),
        (wording.plain(wording.metric_name(slices.metric)), "@value{0.0000}"),
        ("rows", "@rows{0,0}"),
    ]


def score_panel(scores: Scores) -> figure:
    """Rows by score, in equal bins from 0 to 1, by decile or by cluster, each with its number."""
    counts = [rows for _, rows in scores.bins]
    width = 1 / len(counts)
    middles = [(number + 0.5) * width for number in range(len(counts))]
    source = ColumnDataSource(
        {
            "middle": middles,
            "rows": counts,
            "text": [wording.short_count(rows) for rows in counts],
            "bin": [name for name, _ in scores.bins],
        }
    )
    plot = _plot(height=300, x_range=Range1d(start=0, end=1), y_range=Range1d(start=0, end=max(counts) * 1.1 or 1))
    bars = plot.vbar(x="middle", width=width * 0.92, top="rows", color=BLUE, line_color=None, source=source)
    plot.add_layout(_labels(source, x="middle", y="rows", align="center", offset=(0, 2)))
    plot.add_tools(HoverTool(renderers=[bars], tooltips=[("score", "@bin"), ("rows", "@rows{0,0}")]))
    plot.xaxis.axis_label, plot.yaxis.axis_label = "score", "rows"
    plot.xaxis.ticker = FixedTicker(ticks=[tenth / 10 for tenth in range(11)])
    if scores.positive is None:
        plot.xaxis.axis_label, plot.xaxis.ticker = scores.by, FixedTicker(ticks=middles)
        names = (name.removeprefix(f"{scores.by} ") for name, _ in scores.bins)
        plot.xaxis.major_label_overrides = dict(zip(middles, names, strict=True))
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.xgrid.grid_line_color = None
    return plot


def drift_panel(drift: Drift) -> figure:
    """Shares of rows by score, those that the model was judged on and those of today, in equal bins from 0 to 1."""
    width = 1 / len(drift.scores)
    now = [after for _, _, after in drift.scores]
    source = ColumnDataSource(
        {
            "left": [(number + 0.28) * width for number in range(len(now))],
            "right": [(number + 0.72) * width for number in range(len(now))],
            "then": [before for _, before, _ in drift.scores],
            "now": now,
            "bin": [name for name, _, _ in drift.scores],
        }
    )
    highest = max((*source.data["then"], *now))
    plot = _plot(height=260, x_range=Range1d(start=0, end=1), y_range=Range1d(start=0, end=highest * 1.1))
    for side, top, colour, name in (("left", "then", THEN, "then: judged on"), ("right", "now", BLUE, "now")):
        bars = plot.vbar(
            x=side, top=top, width=width * 0.42, color=colour, line_color=None, legend_label=name, source=source
        )
        plot.add_tools(HoverTool(renderers=[bars], tooltips=_THEN_AND_NOW))
    plot.xaxis.axis_label, plot.yaxis.axis_label = "score", "percent of rows"
    plot.xaxis.ticker = FixedTicker(ticks=[tenth / 10 for tenth in range(11)])
    plot.xgrid.grid_line_color = None
    _place_legend(plot)
    return plot


def _plot(*, height: int, **ranges: Any) -> figure:
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        min_border_left=24,
        min_border_right=24,
        **ranges,
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


def _labels(source: ColumnDataSource, *, x: str, y: str, align: str, offset: tuple[int, int]) -> LabelSet:
    return LabelSet(
        x=x,
        y=y,
        text="text",
        source=source,
        x_offset=offset[0],
        y_offset=offset[1],
        text_align=align,
        text_baseline="middle" if align == "left" else "bottom",
        text_font=value(FONT),
        text_font_size="11px",
        text_color=INK,
    )


def _place_legend(plot: figure) -> None:
    legend = plot.legend[0] if plot.legend else None
    if legend is not None:
        legend.orientation, legend.border_line_color, legend.background_fill_color = "horizontal", None, None
        legend.label_text_font, legend.label_text_font_size, legend.label_text_color = FONT, "12px", INK
        plot.add_layout(legend, "above")


def _distinct(labels: Iterable[str]) -> Iterator[str]:
    """`labels`, told apart where shortening made them equal: an axis takes each once."""
    taken: set[str] = set()
    for label in labels:
        names = itertools.chain([label], (f"{label} #{number}" for number in itertools.count(2)))
        taken.add(name := next(name for name in names if name not in taken))
        yield name
