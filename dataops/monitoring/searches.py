"""What a page shows of a train run's searches: every trial, which one was best, and how losses fell by rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, NumeralTickFormatter
from bokeh.plotting import figure

from dataops.monitoring import wording
from dataops.monitoring.panels import BLUE, BRICK, THEN
from dataops.monitoring.panels import _plot as plain_plot

HEIGHT = 240


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
        outcome=trial["outcome"] or "not ended",
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


def search_panel(search: ShownSearch) -> figure:
    """The loss on the rows that trials don't learn from, by rounds: a line for each trial, the best one in colour."""
    plot = plain_plot(height=HEIGHT)
    for trial in sorted(search.trials, key=lambda one: one.best):  # the best one last: over the others
        rounds, losses = zip(*trial.curve, strict=True) if trial.curve else ((), ())
        source = ColumnDataSource(
            {
                "rounds": rounds,
                "loss": losses,
                "trial": [trial.number] * len(rounds),
                "outcome": [trial.outcome] * len(rounds),
            }
        )
        colour = BLUE if trial.best else BRICK if trial.outcome == "pruned" else THEN
        plot.line("rounds", "loss", source=source, line_color=colour, line_width=2.5 if trial.best else 1.2)
        dots = plot.scatter("rounds", "loss", source=source, size=7 if trial.best else 4, color=colour)
        told = [("trial", "@trial (@outcome)"), ("rounds", "@rounds{0,0}"), ("loss", "@loss{0.0000}")]
        plot.add_tools(HoverTool(renderers=[dots], tooltips=told))
    plot.xaxis.axis_label, plot.yaxis.axis_label = "rounds", "loss on rows held out"
    plot.xaxis.formatter, plot.yaxis.formatter = (
        NumeralTickFormatter(format="0,0"),
        NumeralTickFormatter(format="0.000"),
    )
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
    return plot
