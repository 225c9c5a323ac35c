"""What a page shows of a train run's searches: every trial, which one was best, and how losses fell by rounds.

The chart is kept and given new numbers where a page goes on; a page that is at its end shows it once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, NumeralTickFormatter
from bokeh.plotting import figure

from dataops.monitoring import wording
from dataops.monitoring.panels import BLUE, BRICK, THEN
from dataops.monitoring.panels import _plot as plain_plot

HEIGHT = 240
_BEST, _NOT_ENDED = "the best", "not ended"
_KINDS = {  # colour, width of the line and size of the dots; the last one over the others
    "failed": (THEN, 1.2, 4),
    _NOT_ENDED: (THEN, 1.2, 4),
    "done": (THEN, 1.2, 4),
    "pruned": (BRICK, 1.2, 4),
    _BEST: (BLUE, 2.5, 7),
}
_GAP = (math.nan, math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTrial:
    """One trial; `params` and `figure` in words, `curve` as rounds and losses."""

    number: int
    params: str
    outcome: str
    figure: str
    why: str
    seconds: float
    best: bool
    curve: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSearch:
    """The search of one candidate."""

    candidate: str
    metric: str
    trials: tuple[ShownTrial, ...]

    @property
    def has_curves(self) -> bool:
        """Whether there is a loss by rounds to draw."""
        return any(len(one.curve) > 1 for one in self.trials)


def searches(figures: Mapping[str, Any]) -> tuple[ShownSearch, ...]:
    """The searches of a run, by candidate."""
    return tuple(
        ShownSearch(
            candidate=candidate,
            metric=search["metric"],
            trials=tuple(_shown(one, best=one["trial"] == search["best"]) for one in search["trials"]),
        )
        for candidate, search in sorted(figures["result"].get("searches", {}).items())
    )


def _shown(trial: Mapping[str, Any], *, best: bool) -> ShownTrial:
    return ShownTrial(
        number=trial["trial"],
        params=spell_params(trial["params"]),
        outcome=trial["outcome"] or _NOT_ENDED,
        figure="" if trial["figure"] is None else wording.metric(trial["figure"]),
        why=trial["why"] or "",
        seconds=trial["seconds"],
        best=best,
        curve=tuple((rounds, loss) for rounds, loss in trial["curve"]),
    )


def spell_params(params: Mapping[str, Any]) -> str:
    """``depth 3, rate 0.1235``."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in params.items()
    )


class SearchChart:
    """The loss on the rows that trials don't learn from, by rounds: a line for each trial, the best one on top.

    As many models for one trial as for a thousand: trials of one kind are one line, broken between them.

    Attributes
    ----------
    figure : the bokeh model; `show` gives it new numbers.
    """

    def __init__(self) -> None:
        self._sources = {kind: ColumnDataSource(_columns(())) for kind in _KINDS}
        self.figure = self._made()

    def show(self, search: ShownSearch) -> None:
        """Take the curves of `search`; what is as it was isn't sent again."""
        for kind, source in self._sources.items():
            data = _columns([one for one in search.trials if _kind(one) == kind])
            if not all(np.array_equal(data[name], source.data[name], equal_nan=True) for name in data):
                source.data = data

    def _made(self) -> figure:
        plot, dots = plain_plot(height=HEIGHT), []
        for kind, source in self._sources.items():
            colour, width, size = _KINDS[kind]
            plot.line("rounds", "loss", source=source, line_color=colour, line_width=width)
            dots.append(plot.scatter("rounds", "loss", source=source, size=size, color=colour, name=kind))
        told = [("trial", "@trial ($name)"), ("rounds", "@rounds{0,0}"), ("loss", "@loss{0.0000}")]
        plot.add_tools(HoverTool(renderers=[*dots], tooltips=told))
        plot.xaxis.axis_label, plot.yaxis.axis_label = "rounds", "loss on rows held out"
        plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
        plot.yaxis.formatter = NumeralTickFormatter(format="0.000")
        plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
        return plot


def search_panel(search: ShownSearch) -> figure:
    """The chart of `search`."""
    chart = SearchChart()
    chart.show(search)
    return chart.figure


def _kind(trial: ShownTrial) -> str:
    if trial.best:
        return _BEST
    return trial.outcome if trial.outcome in _KINDS else _NOT_ENDED


def _columns(trials: Sequence[ShownTrial]) -> dict[str, Any]:
    """Rounds, losses and numbers of `trials`, one after another, with a gap (nan) after each."""
    points = [(*point, one.number) for one in trials for point in (*one.curve, _GAP)]
    table = np.array(points, dtype=np.float64).reshape(len(points), 3)
    return {name: np.ascontiguousarray(table[:, place]) for place, name in enumerate(("rounds", "loss", "trial"))}
