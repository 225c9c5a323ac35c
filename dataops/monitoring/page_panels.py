"""Charts of a run that goes on: what workers did by time, how losses fall, and when which version was champion.

As `panels`: figures in, a bokeh model out. That of workers is kept and given new numbers, the others are made anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bokeh.models import (
    AdaptiveTicker,
    BasicTicker,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.plotting import figure

from dataops.monitoring import wording
from dataops.monitoring.flow import OTHERS, Flow
from dataops.monitoring.panels import BLUE, CANDIDATE_STYLES, FONT, INK
from dataops.monitoring.panels import _place_legend as place_legend
from dataops.monitoring.panels import _plot as basic_plot

WORKER_COLOURS = (BLUE, "#7fb2cf", "#4b7f52", "#a9c9a4", "#7a4f93", "#c3abd0", "#c2571a", "#b8c2cc")
HEIGHT = 190
SHORTEST_REIGN = 60.0  # seconds that the newest champion is drawn for at least
MOST_TICKS = 12
ROWS, BYTES = "rows a second", "MB a second"
_FORMATS = {ROWS: "0.[0]a", BYTES: "0,0.[00]"}
_UNITS = {ROWS: 1.0, BYTES: 1e6}


class FlowChart:
    """Rows or bytes a second by worker, stacked, by time since the run began.

    Attributes
    ----------
    figure : the bokeh model; it is made anew when `show` says so.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._workers: tuple[str, ...] = ()
        self._of: Flow | None = None
        self._source = ColumnDataSource({"at": []})
        self.figure = self._made()

    def show(self, flow: Flow, began: float) -> bool:
        """Take the numbers of `flow`; whether there is a new figure for them."""
        if flow is self._of:
            return False
        self._of = flow
        starts, rates = _shown(flow)
        place, unit = (0 if self._what == ROWS else 1), _UNITS[self._what]
        cells = [[cell / unit for cell in one[place]] for one in rates.values()]
        data: dict[str, Any] = {f"w{number}": column for number, column in enumerate(cells)}
        data["at"] = [start - began + flow.width / 2 for start in starts]
        data["width"] = [flow.width * 0.94] * len(starts)
        data["total"] = [sum(column) for column in zip(*cells, strict=True)]
        data["until"] = [start - began for start in starts]
        is_new = tuple(rates) != self._workers
        if is_new:
            self._workers, self._source = tuple(rates), ColumnDataSource(data)
            self.figure = self._made()
        else:
            self._source.data = data
        highest, end = max(data["total"], default=0.0), max(data["at"], default=0.0) + flow.width / 2
        first = min(0.0, min(data["until"], default=0.0))
        self.figure.y_range.update(end=highest * 1.08 or 1)
        self.figure.x_range.update(start=first, end=end or 1)
        return is_new

    def _made(self) -> figure:
        plot = basic_plot(height=HEIGHT, x_range=Range1d(start=0, end=1), y_range=Range1d(start=0, end=1))
        names = [f"w{number}" for number in range(len(self._workers))]
        if names:
            bars = plot.vbar_stack(
                names,
                x="at",
                width="width",
                color=list(WORKER_COLOURS[: len(names)]),
                line_color=None,
                source=self._source,
                **self._legend(),
            )
            told = [("time", "@until{00:00:00}"), ("all", f"@total{{{_FORMATS[self._what]}}}")]
            shown = [(name, f"@w{at}{{{_FORMATS[self._what]}}}") for at, name in enumerate(self._workers)]
            plot.add_tools(HoverTool(renderers=[*bars], tooltips=[*told, *shown]))
            _flatten_legend(plot)
        plot.xaxis.formatter = NumeralTickFormatter(format="00:00:00")
        plot.xaxis.ticker = AdaptiveTicker(base=60, mantissas=[1, 2, 5, 10, 15, 30], min_interval=1)
        plot.yaxis.formatter = NumeralTickFormatter(format=_FORMATS[self._what])
        plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
        plot.yaxis.axis_label = self._what
        plot.xgrid.grid_line_color = None
        return plot

    def _legend(self) -> dict[str, Any]:
        """The workers' names, above the first of the charts that stand below each other."""
        if self._what != ROWS:
            return {}
        return {"legend_label": list(self._workers)}


def _flatten_legend(plot: figure) -> None:
    legend: Any = plot.legend[0] if plot.legend else None
    if legend is not None:
        legend.orientation, legend.border_line_color, legend.background_fill_color = "horizontal", None, None
        legend.label_text_font, legend.label_text_font_size, legend.label_text_color = FONT, "11px", INK
        legend.padding, legend.margin, legend.spacing, legend.glyph_width = 0, 0, 10, 12
        plot.add_layout(legend, "above")


def _shown(flow: Flow) -> tuple[list[float], dict[str, tuple[list[float], list[float]]]]:
    """The rates of the first workers by name, and those of all others together."""
    starts, rates = flow.by_worker()
    most = len(WORKER_COLOURS)
    alone = list(rates)[: most if len(rates) <= most else most - 1]
    named = {_name(flow, worker): rates[worker] for worker in alone}
    rest = [worker for worker in rates if worker not in alone]
    if rest:
        summed = [[sum(cells) for cells in zip(*(rates[one][place] for one in rest), strict=True)] for place in (0, 1)]
        named[OTHERS if OTHERS in rest else f"{len(rest)} {OTHERS}"] = (summed[0], summed[1])
    return starts, named


def _name(flow: Flow, worker: str) -> str:
    """What a worker is called: its number, as in the report of where time went."""
    return OTHERS if worker == OTHERS else f"worker {flow.workers.index(worker) + 1}"


def curve_panel(curves: Mapping[str, Sequence[tuple[int, float]]]) -> figure:
    """The loss of fits that go by rounds, a line for each candidate."""
    plot = basic_plot(height=HEIGHT + 20)
    for number, (candidate, points) in enumerate(curves.items()):
        colour, marker = CANDIDATE_STYLES[number % len(CANDIDATE_STYLES)]
        rounds, losses = zip(*points, strict=True) if points else ((), ())
        name = wording.plain(candidate)
        source = ColumnDataSource({"rounds": rounds, "loss": losses, "candidate": [name] * len(rounds)})
        plot.line("rounds", "loss", source=source, line_color=colour, line_width=2, legend_label=name)
        dots = plot.scatter("rounds", "loss", source=source, size=5, color=colour, marker=marker, legend_label=name)
        told = [("candidate", "@candidate"), ("rounds", "@rounds{0,0}"), ("loss", "@loss{0.0000}")]
        plot.add_tools(HoverTool(renderers=[dots], tooltips=told))
    place_legend(plot)
    plot.xaxis.axis_label, plot.yaxis.axis_label = "rounds", "loss"
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.yaxis.formatter = NumeralTickFormatter(format="0.000")
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
    return plot


def champion_panel(champions: Sequence[Mapping[str, Any]], until: float) -> figure:
    """Which version was champion when: a step for each move, the last one going on to `until` (seconds since 1970)."""
    moments = [datetime.fromisoformat(one["at"]).timestamp() for one in champions]
    versions = [int(one["version"]) for one in champions]
    end = max(until, moments[-1] + SHORTEST_REIGN)
    margin = (end - moments[0]) * 0.03
    source = ColumnDataSource(
        {
            "at": [at * 1000 for at in moments],
            "version": versions,
            "kind": [wording.plain(str(one["kind"]).replace("_", " ")) for one in champions],
            "when": [wording.moment(one["at"]) for one in champions],
        }
    )
    plot = basic_plot(
        height=HEIGHT - 50 + 16 * len(set(versions)),
        x_axis_type="datetime",
        x_range=Range1d(start=(moments[0] - margin) * 1000, end=(end + margin) * 1000),
        y_range=Range1d(start=min(versions) - 0.6, end=max(versions) + 0.9),
    )
    steps = ColumnDataSource({"at": [*source.data["at"], end * 1000], "version": [*versions, versions[-1]]})
    plot.step("at", "version", source=steps, mode="after", line_color=BLUE, line_width=3)
    dots = plot.scatter("at", "version", source=source, size=9, color=BLUE)
    plot.add_tools(HoverTool(renderers=[dots], tooltips=[("version", "@version"), ("", "@kind"), ("", "@when")]))
    plot.yaxis.ticker = FixedTicker(ticks=sorted(set(versions))[-MOST_TICKS:])
    plot.yaxis.axis_label = "version"
    return plot
