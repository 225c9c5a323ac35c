"""The page as bokeh documents: all runs, or one of them (``?run=ID``), drawn anew while they go on.

1. What is on the page is compared with what should be, and only what differs is sent. The Dask scheduler's loop waits
   meanwhile, so charts of a run that goes on are drawn every few seconds at most, and get new numbers, not new models.
2. A part that can't be drawn says so, and the others stay.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bokeh.layouts import column, row
from bokeh.models import InlineStyleSheet, LayoutDOM
from bokeh.models.widgets import Div

from dataops.monitoring import drift as drifts
from dataops.monitoring import page_views, panels, sections
from dataops.monitoring.bounded import LONGEST_ID
from dataops.monitoring.page_panels import BYTES, ROWS, FlowChart, champion_panel, curve_panel
from dataops.monitoring.searches import SearchChart, searches
from dataops.monitoring.shown import RUNNING, ShownRun

if TYPE_CHECKING:
    from bokeh.document import Document
    from distributed import Scheduler

MILLISECONDS_BETWEEN_TICKS = 500
SECONDS_BETWEEN_DRAWINGS = 3.0  # of charts of a run that goes on, but for what workers do
UNSHOWN = "This part can't be shown: its figures aren't as this release knows them."

_log = logging.getLogger("dataops.page")


def page(scheduler: Scheduler, extra: dict[str, Any], doc: Document) -> None:
    """Fill `doc`, which a browser asked for."""
    from distributed.dashboard.components.scheduler import BOKEH_THEME, env

    from dataops.monitoring.page import NAME

    plugin, wanted = scheduler.plugins[NAME], _wanted(doc)
    view = _RunView(wanted) if wanted else _Overview()
    seen: list[Any] = [None, 0.0]

    def tick() -> None:
        plugin.flush()
        board, now = plugin.board, time.time()
        goes_on = any(run.state == RUNNING for run in board.runs.values())
        if board is not seen[0] or (goes_on and now - seen[1] >= 1):
            seen[:] = board, now
            view.show(board, now)

    tick()
    doc.title = "Dask: dataops"
    doc.template = env.get_template("simple.html")
    doc.template_variables.update(extra)
    doc.theme = BOKEH_THEME
    doc.add_root(view.root)
    doc.add_periodic_callback(tick, MILLISECONDS_BETWEEN_TICKS)


def _wanted(doc: Any) -> str:
    """The run that the address names; nothing where it names none."""
    with suppress(Exception):
        (value, *_) = doc.session_context.request.arguments["run"]
        return bytes(value).decode("utf-8", "replace")[:LONGEST_ID]
    return ""


class _Overview:
    """All runs."""

    def __init__(self) -> None:
        self._text = _text_part()
        self.root = column(self._text, sizing_mode="stretch_width", styles=_PLACED)

    def show(self, board: Any, now: float) -> None:
        _set(self._text, page_views.runs_text(board, now))


class _RunView:
    """One run: its head, phases and rows, what its workers do, and what came of it."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._head, self._phases, self._rows = _text_part(), _text_part(), _text_part()
        self._flows = {what: FlowChart(what) for what in (ROWS, BYTES)}
        self._charts = column(sizing_mode="stretch_width", styles={**_CARD, "align-self": "flex-start"})
        self._late = column(sizing_mode="stretch_width")
        self._drawn_at = 0.0
        self._learning = (_Kept(_Searches(), lambda run: (run.searches, run.figures)), _Kept(_curves, _curves_of))
        self._side = (_Kept(_champions, lambda run: (run.figures, run.ended)),)
        self._results = (_Kept(_scores, _figures_of), _Kept(_Results(), _results_of), _Kept(_drift, _figures_of))
        told = column(self._phases, self._rows, sizing_mode="stretch_width")
        self._body = row(told, self._charts, spacing=12, sizing_mode="stretch_width")
        self.root = column(self._head, self._body, self._late, sizing_mode="stretch_width", styles=_PLACED)
        self._body.visible = False

    def show(self, board: Any, now: float) -> None:
        run = board.runs.get(self._wanted)
        _set(self._head, _text(lambda: page_views.head_text(run, self._wanted, now)))
        self._body.visible = run is not None
        if run is None:
            return
        _set(self._phases, _text(lambda: page_views.phases_text(run, now)))
        _set(self._rows, _text(lambda: page_views.rows_text(run)))
        for chart in self._flows.values():
            chart.show(run.flow, run.began)
        if run.state != RUNNING or now - self._drawn_at >= SECONDS_BETWEEN_DRAWINGS:
            self._drawn_at = now
            for part in (*self._learning, *self._side, *self._results):
                part.draw(run)
        self._place(run)

    def _place(self, run: ShownRun) -> None:
        """Put what there is where it belongs."""
        flows = [chart.figure for chart in self._flows.values()] if run.flow.bins else []
        charts = [*_models(self._learning), *flows, *_models(self._side)]
        for place, models in ((self._charts, charts), (self._late, _models(self._results))):
            if [id(one) for one in place.children] != [id(one) for one in models]:
                place.children = [*models]
        self._charts.visible = bool(charts)


_Draw = Callable[[ShownRun], list[LayoutDOM]]


class _Kept:
    """A part of the page, drawn anew only when what it is made of (`of`) is another.

    Attributes
    ----------
    models : what there is to show.
    """

    def __init__(self, draw: _Draw, of: Callable[[ShownRun], tuple[Any, ...]]) -> None:
        self._draw, self._of = draw, of
        self._made_of: tuple[Any, ...] = ()
        self.models: list[LayoutDOM] = []

    def draw(self, run: ShownRun) -> None:
        now = self._of(run)
        if self._made_of and all(a is b for a, b in zip(now, self._made_of, strict=True)):
            return
        self._made_of = now
        try:
            self.models = self._draw(run)
        except Exception as error:  # noqa: BLE001  # figures of another release, or of who knows whom
            _log.info("a part of the page can't be drawn: %s", type(error).__name__)
            self.models = [_titled(UNSHOWN)]


def _models(parts: Sequence[_Kept]) -> list[LayoutDOM]:
    return [model for part in parts for model in part.models]


def _text(write: Callable[[], str]) -> str:
    """What `write` writes, or that it can't."""
    try:
        return write()
    except Exception as error:  # noqa: BLE001  # as above
        _log.info("a part of the page can't be written: %s", type(error).__name__)
        return page_views.title_text(UNSHOWN)


def _curves(run: ShownRun) -> list[LayoutDOM]:
    if not run.curves:
        return []
    return [_titled("How losses fall"), curve_panel(run.curves)]


class _Searches:
    """The charts of searches, by candidate; they stay, with new numbers."""

    def __init__(self) -> None:
        self._charts: dict[str, tuple[Div, SearchChart]] = {}

    def __call__(self, run: ShownRun) -> list[LayoutDOM]:
        parts: list[LayoutDOM] = []
        for one in searches(page_views.as_figures(run)):
            if not one.has_curves:
                continue
            if one.candidate not in self._charts:
                self._charts[one.candidate] = _titled(f"Trials for {one.candidate}"), SearchChart()
            title, chart = self._charts[one.candidate]
            chart.show(one)
            parts += [title, chart.figure]
        return parts


def _scores(run: ShownRun) -> list[LayoutDOM]:
    scores = sections.scores(page_views.as_figures(run))
    return [] if scores is None else [_card("Scores", panels.score_panel(scores))]


def _drift(run: ShownRun) -> list[LayoutDOM]:
    drifted = drifts.drift(page_views.as_figures(run))
    if drifted is None or not drifted.scores:
        return []
    return [_card("Scores then and now", panels.drift_panel(drifted))]


def _champions(run: ShownRun) -> list[LayoutDOM]:
    moves = run.figures.get("champions")
    until = run.began if run.ended is None else run.ended
    return [_titled("Champions so far"), champion_panel(moves, until)] if moves else []


class _Results:
    """What came of it, as text."""

    def __init__(self) -> None:
        self._part = _text_part()

    def __call__(self, run: ShownRun) -> list[LayoutDOM]:
        text = page_views.results_text(run)
        _set(self._part, text or "")
        return [] if text is None else [self._part]


def _figures_of(run: ShownRun) -> tuple[Any, ...]:
    return (run.figures,)


def _results_of(run: ShownRun) -> tuple[Any, ...]:
    return run.figures, run.searches, run.state


def _curves_of(run: ShownRun) -> tuple[Any, ...]:
    return (run.curves,)


_PLACED = {"padding": "10px 8px 24px", "max-width": "1500px", "margin": "0 auto", "box-sizing": "border-box"}
_CARD = {
    "background": "white",
    "border": "1px solid #e4e7eb",
    "border-radius": "8px",
    "padding": "10px 6px",
    "margin-bottom": "12px",
    "box-sizing": "border-box",
}


def _card(title: str, chart: LayoutDOM) -> LayoutDOM:
    return column(_titled(title), chart, sizing_mode="stretch_width", styles=_CARD)


def _titled(title: str) -> Div:
    part = _text_part()
    part.text = page_views.title_text(title)
    return part


def _text_part(text: str = "") -> Div:
    # no text of ours is a formula: the typesetter would be fetched for one
    return Div(
        text=text,
        disable_math=True,
        margin=0,
        sizing_mode="stretch_width",
        stylesheets=[InlineStyleSheet(css=page_views.style())],
    )


def _set(part: Div, text: str) -> None:
    if part.text != text:
        part.text = text
