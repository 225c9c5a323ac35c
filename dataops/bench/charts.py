"""Charts of a benchmark: results in, a bokeh model out. The rules of `dataops.monitoring.panels` hold here as well."""

from __future__ import annotations

from collections.abc import Sequence

from bokeh.models import ColumnDataSource, FactorRange, FixedTicker, HoverTool, NumeralTickFormatter, Range1d
from bokeh.plotting import figure

from dataops.bench.results import Result
from dataops.bench.wording import spell_cluster, spell_rate
from dataops.monitoring import wording
from dataops.monitoring.panels import BLUE, ROW_HEIGHT, THEN, _labels, _plot


def phases_panel(result: Result) -> figure:
    """Seconds by phase, in order from the top: the work, and behind it what was started and stopped."""
    names = [phase.name for phase in result.phases]
    ends = [phase.seconds + phase.startup_seconds for phase in result.phases]
    source = ColumnDataSource(
        {
            "phase": names,
            "work": [phase.seconds for phase in result.phases],
            "end": ends,
            "text": [
                f"{wording.duration(phase.seconds)} + {wording.duration(phase.startup_seconds)}"
                for phase in result.phases
            ],
            "took": [wording.duration(phase.seconds) for phase in result.phases],
            "startup": [wording.duration(phase.startup_seconds) for phase in result.phases],
            "rate": [spell_rate(phase.rate if phase.rows else None) for phase in result.phases],
        }
    )
    plot = _plot(
        height=len(names) * ROW_HEIGHT + 50,
        x_range=Range1d(start=0, end=max(ends, default=0) * 1.16 or 1),
        y_range=FactorRange(factors=names[::-1]),
    )
    bars = plot.hbar(y="phase", right="work", height=0.62, color=BLUE, source=source)
    plot.hbar(y="phase", left="work", right="end", height=0.62, color=THEN, source=source)
    plot.add_layout(_labels(source, x="end", y="phase", align="left", offset=(6, 0)))
    tips = [("phase", "@phase"), ("work", "@took"), ("start-up", "@startup"), ("", "@rate")]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    plot.xaxis.axis_label = "seconds"
    plot.ygrid.grid_line_color = None
    return plot


def history_panel(results: Sequence[Result]) -> figure:
    """The throughput of each run, oldest first; the newest is the filled dot."""
    values = [one.throughput or 0.0 for one in results]
    places = list(range(1, len(values) + 1))
    last = len(values) - 1
    source = ColumnDataSource(
        {
            "place": places,
            "value": values,
            "at": [wording.moment(one.measured_at) for one in results],
            "text": [spell_rate(value) for value in values],
            "cluster": [wording.plain(spell_cluster(one)) for one in results],
            "fill": [BLUE if place == last else "white" for place in range(len(values))],
        }
    )
    plot = _plot(
        height=220,
        x_range=Range1d(start=0.5, end=len(values) + 0.5),
        y_range=Range1d(start=0, end=max(values) * 1.15 or 1),
    )
    plot.line("place", "value", color=BLUE, line_width=1.5, source=source)
    dots = plot.scatter("place", "value", size=10, line_color=BLUE, line_width=2, fill_color="fill", source=source)
    tips = [("", "@at"), ("throughput", "@text"), ("", "@cluster")]
    plot.add_tools(HoverTool(renderers=[dots], tooltips=tips))
    shown = places if len(places) <= 20 else places[:: len(places) // 10]
    plot.xaxis.ticker = FixedTicker(ticks=shown)
    plot.xaxis.axis_label = "run, oldest first"
    plot.yaxis.axis_label = "rows a second"
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    return plot
