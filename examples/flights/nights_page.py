"""The page of the nights: who was champion, how well that went, how far flights moved, what was decided. One file that
works offline.

1. The page asks nobody: its content security policy forbids what isn't in it.
2. Texts of records are data: the template escapes them, charts get them as JSON, and no script but ours has the nonce.
3. A chart never is the only place of a number: the table of days beside them has all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import bokeh
from bokeh.core.types import ID
from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, DatetimeTickFormatter, HoverTool, Range1d, Span
from bokeh.plotting import figure
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nights_records import Decision, Judged, Scored, judged, scored

from dataops.monitoring.panels import BLUE, BRICK, CANDIDATE_STYLES, FONT, INK, QUIET
from dataops.monitoring.report import TEMPLATES
from dataops.monitoring.wording import visible
from dataops.records import canonical_bytes
from dataops.runs.workspace import Workspace

HERE = Path(__file__).resolve().parent
MILD, STRONG = 0.1, 0.25
DAY = timedelta(days=1)
KINDS = {
    "promoted": "promoted",
    "rolled_back": "rolled back",
    "refused": "refused",
    "failed": "failed",
    "person": "by hand",
    "done": "challenger",
}
MARKS = {"promoted": ("#2f6b3a", "triangle"), "rolled_back": (BRICK, "inverted_triangle"), "refused": ("#c98a1b", "x")}


def write_page(workspace: Workspace, decided: Sequence[Decision], path: Path) -> Path:
    """Where the page lies, once it is written."""
    path.write_text(render(scored(workspace), judged(workspace), decided), encoding="utf-8")
    return path


def render(days: Sequence[Scored], figures: Sequence[Judged], decided: Sequence[Decision]) -> str:
    """The page, HTML."""
    span = at(days[0].day - DAY), at(days[-1].day + 2 * DAY)
    plots = {
        "champions": champions(days, decided, span),
        "realised": performance(at_work(figures, days), span),
        "drift": drift(days, span),
    }
    charts = [json_item(plot, ID(place)) for place, plot in plots.items()]
    told = [asdict(one) for one in (*days, *figures, *decided)]
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=shown
    )
    return environment.get_template("nights_page.html").render(
        days=[row(one, figures) for one in days],
        decisions=[
            {**asdict(one), "kind": KINDS.get(one.kind, one.kind), "mark": one.kind} for one in told_once(decided)
        ],
        keys=keys(days, figures, decided),
        places=list(plots),
        chart_data=script_safe(json.dumps(charts, separators=(",", ":"))),
        style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
        start=(TEMPLATES / "start.js").read_text(encoding="utf-8"),
        script=script_text(),
        nonce=hashlib.sha256(canonical_bytes(json.loads(json.dumps(told, default=str)))).hexdigest()[:32],
    )


def row(one: Scored, figures: Sequence[Judged]) -> dict[str, Any]:
    """A line of the table of days."""
    known = [each for each in figures if each.day == one.day]
    own = next((each for each in known if each.role == "champion" and each.version == one.champion), None)
    other = next((each for each in known if each.role != "champion" and each.version == one.challenger), None)
    return {
        **asdict(one),
        "own": own,
        "other": other,
        "level": 0 if one.psi is None else (one.psi >= MILD) + (one.psi >= STRONG),
    }


def keys(days: Sequence[Scored], figures: Sequence[Judged], decided: Sequence[Decision]) -> dict[str, str]:
    """The strip at the top."""
    count = {kind: sum(one.kind == kind for one in decided) for kind in ("promoted", "refused", "rolled_back")}
    last = [one for one in figures if one.day == days[-1].day and one.version == days[-1].champion]
    return {
        "days": f"{len(days)}",
        "flights scored": f"{sum(one.rows for one in days):,}",
        "promoted by the schedule": f"{count['promoted']}",
        "refused": f"{count['refused']}",
        "rolled back": f"{count['rolled_back']}",
        "champion at the end": f"version {days[-1].champion}" + (f", {last[0].figure:.3f}" if last else ""),
    }


def told_once(decided: Sequence[Decision]) -> list[Decision]:
    """The decisions; refusals of one version on nights in a row as one, with the reasons of the last night."""
    found: list[Decision] = []
    ordered = sorted(decided, key=lambda one: one.at)
    for _, group in groupby(ordered, key=lambda one: (one.kind, one.what.partition(" is ")[0])):
        some = list(group)
        last = some[-1]
        more = f"\n(so on {len(some)} nights, up to {last.at:%d %b})" if len(some) > 1 else ""
        found.append(Decision(at=some[0].at, who=last.who, kind=last.kind, what=f"{last.what}{more}"))
    return found


def champions(days: Sequence[Scored], decided: Sequence[Decision], span: tuple[datetime, datetime]) -> figure:
    """Which version scored as champion, and which challenged it; marks where something was decided."""
    versions = sorted({one.champion for one in days} | {one.challenger for one in days if one.challenger is not None})
    names = {version: f"version {version}" for version in versions}
    plot = make_plot(span, height=60 + 44 * len(versions), y_range=[names[one] for one in reversed(versions)])
    for role, colour, alpha, height in (("champion", BLUE, 1.0, 0.5), ("challenger", "#c2571a", 0.45, 0.24)):
        stays = list(stretches(days, role))
        source = ColumnDataSource(
            {
                "left": [at(first) for _, first, _ in stays],
                "right": [at(last + DAY) for _, _, last in stays],
                "version": [names[version] for version, _, _ in stays],
                "days": [f"{first:%d %b} to {last:%d %b}" for _, first, last in stays],
                "role": [role] * len(stays),
            }
        )
        bars = plot.hbar(
            y="version",
            left="left",
            right="right",
            height=height,
            color=colour,
            alpha=alpha,
            legend_label=role,
            source=source,
        )
        plot.add_tools(HoverTool(renderers=[bars], tooltips=[("", "@version"), ("as", "@role"), ("", "@days")]))
    on_day = {one.day: one.champion for one in days}  # a rollback names no version: it is of the day's champion
    for kind, (colour, marker) in MARKS.items():
        placed = [(one, version_of(one) or on_day.get(one.at.date(), 0)) for one in decided if one.kind == kind]
        found = [(one, version) for one, version in placed if version in names]
        source = ColumnDataSource(
            {
                "x": [one.at for one, _ in found],
                "y": [names[version] for _, version in found],
                "what": [visible(one.what)[:200] for one, _ in found],
            }
        )
        dots = plot.scatter(
            "x", "y", marker=marker, size=11, color=colour, line_width=2, legend_label=KINDS[kind], source=source
        )
        plot.add_tools(HoverTool(renderers=[dots], tooltips=[("", "@what")]))
    plot.ygrid.grid_line_color = None
    return with_legend(plot)


def version_of(one: Decision) -> int:
    """The version that a decision names first; 0 for none."""
    digits = one.what.partition("@")[2]
    number = "".join(digit for digit, _ in zip(digits, range(6), strict=False) if digit.isdigit())
    return int(number) if number else 0


def stretches(days: Sequence[Scored], role: str) -> list[tuple[int, date, date]]:
    """Version, first and last day of each time that one version had the role."""
    found = []
    for version, group in groupby(days, key=lambda one: getattr(one, role)):
        some = list(group)
        if version is not None:
            found.append((version, some[0].day, some[-1].day))
    return found


def at_work(figures: Sequence[Judged], days: Sequence[Scored]) -> list[Judged]:
    """What was found of the day's champion as champion, and of its challenger beside it."""
    roles = {(one.day, one.champion, "champion") for one in days} | {
        (one.day, one.challenger, "challenger") for one in days
    }
    return [one for one in figures if (one.day, one.version, one.role) in roles]


def performance(figures: Sequence[Judged], span: tuple[datetime, datetime]) -> figure:
    """ROC AUC of each version on the outcomes of two weeks: as champion in full, as challenger dashed."""
    values = [one.figure for one in figures]
    low, high = min(values, default=0.4), max(values, default=0.8)
    plot = make_plot(span, height=340, y_range=Range1d(start=min(low - 0.03, 0.45), end=high + 0.03))
    for place, version in enumerate(sorted({one.version for one in figures})):
        colour, marker = CANDIDATE_STYLES[place % len(CANDIDATE_STYLES)]
        for role, dash in (("champion", "solid"), ("challenger", "dashed")):
            some = [one for one in figures if one.version == version and one.role == role]
            for part in unbroken(some):
                source = ColumnDataSource(
                    {
                        "x": [at(one.day) for one in part],
                        "y": [one.figure for one in part],
                        "rows": [one.rows for one in part],
                        "name": [f"version {version} as {role}"] * len(part),
                    }
                )
                plot.line(
                    "x",
                    "y",
                    color=colour,
                    line_dash=dash,
                    line_width=2,
                    legend_label=f"version {version}",
                    source=source,
                )
                size = 5 if role == "champion" else 3
                dots = plot.scatter("x", "y", marker=marker, size=size, color=colour, source=source)
                tips = [("", "@name"), ("ROC AUC", "@y{0.0000}"), ("flights", "@rows{0,0}")]
                plot.add_tools(HoverTool(renderers=[dots], tooltips=tips))
    plot.add_layout(Span(location=0.5, dimension="width", line_color=QUIET, line_dash="dotted"))
    plot.yaxis.axis_label = "ROC AUC, outcomes of two weeks"
    return with_legend(plot)


def unbroken(some: Sequence[Judged]) -> list[list[Judged]]:
    """`some`, cut where days lie between."""
    parts: list[list[Judged]] = [[some[0]]] if some else []
    for before, one in pairwise(some):
        if one.day - before.day > DAY:
            parts.append([])
        parts[-1].append(one)
    return parts


def drift(days: Sequence[Scored], span: tuple[datetime, datetime]) -> figure:
    """The population stability index of the scores, day by day."""
    known = [one for one in days if one.psi is not None]
    top = max((one.psi or 0.0 for one in known), default=1.0)
    plot = make_plot(span, height=240, y_range=Range1d(start=0, end=max(top * 1.1, STRONG * 1.2)))
    source = ColumnDataSource(
        {
            "x": [at(one.day) + DAY / 2 for one in known],
            "y": [one.psi for one in known],
            "most": [one.most for one in known],
            "column": [visible(one.column) for one in known],
            "version": [one.champion for one in known],
            "colour": [
                BRICK if (one.psi or 0) >= STRONG else "#dd9f3d" if (one.psi or 0) >= MILD else BLUE for one in known
            ],
        }
    )
    bars = plot.vbar(x="x", top="y", width=DAY * 0.8, color="colour", line_color=None, source=source)
    tips = [("scores", "@y{0.000}"), ("of version", "@version"), ("moved most", "@column, @most{0.000}")]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    plot.add_layout(Span(location=STRONG, dimension="width", line_color=QUIET, line_dash="dotted"))
    plot.yaxis.axis_label = "stability index of the scores"
    plot.xgrid.grid_line_color = None
    return plot


def at(day: date) -> datetime:
    """The first moment of a day, as charts place it."""
    return datetime.combine(day, time(), UTC)


def make_plot(span: tuple[datetime, datetime], *, height: int, **ranges: Any) -> figure:
    """An empty chart from the first to the last moment of `span`."""
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        x_range=Range1d(*span),
        x_axis_type="datetime",
        min_border_left=70,
        min_border_right=24,
        **ranges,
    )
    plot.outline_line_color = None
    plot.background_fill_color = plot.border_fill_color = None
    plot.xaxis.formatter = DatetimeTickFormatter(days="%d %b", months="%d %b")
    plot.xaxis.ticker.desired_num_ticks = 9
    for axis in plot.axis:
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color, axis.major_label_text_color = QUIET, INK
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
        axis.axis_line_color = axis.minor_tick_line_color = axis.major_tick_line_color = None
    plot.grid.grid_line_color = "#e4e7eb"
    return plot


def with_legend(plot: figure) -> figure:
    """`plot` with its legend above."""
    if plot.legend:
        legend = plot.legend[0]
        legend.orientation, legend.border_line_color, legend.background_fill_color = "horizontal", None, None
        legend.label_text_font, legend.label_text_font_size, legend.label_text_color = FONT, "12px", INK
        plot.add_layout(legend, "above")
    return plot


def shown(value: Any) -> Any:
    """What the template writes: text with all of it visible."""
    return visible(value) if type(value) is str else value


def script_text() -> str:
    """bokeh's own script, as it can stand in a page."""
    text = (Path(bokeh.__file__).parent / "server/static/js/bokeh.min.js").read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def script_safe(text: str) -> str:
    """JSON that can stand within a script element."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
