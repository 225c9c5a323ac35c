"""The page of all records: the newest against its limits and peers, and how every phase went from commit to commit."""

from __future__ import annotations

import html
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bokeh.embed import components
from bokeh.models import ColumnDataSource, DataRange1d, FactorRange, HoverTool
from bokeh.models.annotations import Whisker
from bokeh.palettes import Category10
from bokeh.plotting import figure
from bokeh.resources import Resources
from history import label
from pace import LIMIT
from questions import BY_NAME
from results_table import NOISE, judged, measured_on, newest, number

MANY = 15  # rows of a table that is folded
LINES = 10  # of a chart: those with the most seconds
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; font-src data:"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1d2733; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } .missed { color: #b3261e; font-weight: 600; }
.noisy { background: #fdecea; padding: .5rem 1rem; border-radius: .4rem; } .said { color: #5a6675; }
"""
Record = Mapping[str, Any]


def page(records: Sequence[Record]) -> str:
    """The page, HTML."""
    latest = newest(records)
    figures: list[Any] = []
    parts = [_head(latest)]
    for question in sorted({one["question"] for one in records} - {NOISE}):
        parts += _question(question, [one for one in records if one["question"] == question], latest[question], figures)
    scripts = divs = ""
    if figures:
        scripts, found = components(figures)
        for number, div in enumerate(found):
            parts = [part.replace(f"<!--chart {number}-->", div) for part in parts]
        divs = Resources(mode="inline", components=["bokeh"]).render_js()
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Benchmarks</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}</style>{divs}</head>'
        f"<body>{body}{scripts}</body></html>\n"
    )


def _head(latest: Mapping[str, Record]) -> str:
    said = " ".join(map(_text, measured_on(latest)))
    worst = max((one[NOISE]["worst"] for one in latest.values() if NOISE in one), default=0.0)
    noisy = f'<p class="noisy">The machine was too noisy: {worst:.0%}. Some figures say little.</p>'
    return f"<h1>Benchmarks</h1>{noisy if worst > LIMIT else ''}<p class='said'>{said}</p>"


def _question(question: str, records: Sequence[Record], latest: Record, figures: list[Any]) -> list[str]:
    asked = BY_NAME[question].asked if question in BY_NAME else ""
    of = ", ".join(f"{key} {value}" for key, value in latest["versions"].items())
    data = latest.get("data") or {}
    rows = f"{data['rows']:,} rows; " if "rows" in data else ""
    said = f"{rows}commit {latest['commit']}, {latest['measured_at']}; {of}"
    parts = [f"<h2>{_text(question)}</h2><p>{_text(asked)}</p>"]
    parts.append(f'<p class="said">{_text(said)}</p>')
    parts += [_ratios(latest), _costs(latest)]
    for name, some in _comparable(records).items():
        chart = _history(name, some)
        if chart is not None:
            parts.append(f"<!--chart {len(figures)}-->")
            figures.append(chart)
    return parts


def _ratios(record: Record) -> str:
    """A table of ratios and figures, each with what was asked of it."""
    limits, told = record.get("limits", {}), {**record["ratios"], **record.get("figures", {})}
    if not told:
        return ""
    lines = []
    for name, one in told.items():
        numbers = "".join(f'<td class="n">{number(one[key])}</td>' for key in ("median", "min", "max"))
        asked, missed = judged(name, one["median"], limits.get(name))
        verdict = f'<td class="missed">{asked}: missed</td>' if missed else f"<td>{asked}</td>"
        lines.append(f"<tr><td>{_text(name)}</td>{numbers}{verdict}</tr>")
    head = "<tr><th></th><th>median</th><th>min</th><th>max</th><th>asked</th></tr>"
    table = f"<table>{head}{''.join(lines)}</table>"
    return table if len(lines) <= MANY else f"<details><summary>{len(lines)} figures</summary>{table}</details>"


def _costs(record: Record) -> str:
    """A table of what each contestant took, where the record says so."""
    costs = record.get("costs") or {}
    if not costs:
        return ""
    kinds = list(dict.fromkeys(kind for one in costs.values() for kind in one if kind != "versions"))
    lines = []
    for name, one in costs.items():
        numbers = "".join(f'<td class="n">{number(one[kind]) if kind in one else ""}</td>' for kind in kinds)
        versions = ", ".join(f"{key} {value}" for key, value in (one.get("versions") or {}).items())
        lines.append(f'<tr><td>{_text(name)}</td>{numbers}<td class="said">{_text(versions)}</td></tr>')
    head = "".join(f"<th>{_text(kind)}</th>" for kind in kinds)
    return f"<table><tr><th></th>{head}<th>of</th></tr>{''.join(lines)}</table>"


def _comparable(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by options and machine, each group in the order of time."""
    found: dict[str, list[Record]] = {}
    for one in sorted(records, key=lambda one: str(one["measured_at"])):
        machine = one["machine"]
        found.setdefault(f"{label(one)}, {machine['cores']} cores of {machine['processor']}", []).append(one)
    return found


def _history(name: str, records: Sequence[Record]) -> Any:
    """Seconds of each phase, record by record: the median, and from the least to the greatest; None without any."""
    middles: dict[str, float] = {}
    for one in records:
        for phase, seconds in one["phases"].items():
            if seconds:
                middles[phase] = statistics.median(seconds)
    kept = sorted(middles, key=lambda phase: -middles[phase])[:LINES]
    if not kept:
        return None
    places = [f"{number + 1}. {one['commit']}" for number, one in enumerate(records)]
    more = f"; the {LINES} longest of {len(middles)} phases" if len(middles) > LINES else ""
    chart = figure(
        title=f"{name}: seconds by commit{more}",
        x_range=FactorRange(factors=places),
        height=320,
        sizing_mode="stretch_width",
        toolbar_location=None,
        y_axis_label="seconds",
        y_range=DataRange1d(start=0),
    )
    for phase, colour in zip(kept, Category10[10], strict=False):
        _line(chart, phase, colour, places, records)
    chart.xaxis.major_label_orientation = 0.8
    chart.add_layout(chart.legend[0], "right")
    chart.legend.click_policy = "hide"
    return chart


def _line(chart: Any, phase: str, colour: str, places: Sequence[str], records: Sequence[Record]) -> None:
    data: dict[str, Any] = {key: [] for key in ("place", "median", "low", "high", "at", "repeats")}
    for place, one in zip(places, records, strict=True):
        if seconds := one["phases"].get(phase):
            row = (place, statistics.median(seconds), min(seconds), max(seconds), one["measured_at"], len(seconds))
            for key, value in zip(data, row, strict=True):
                data[key].append(value)
    source = ColumnDataSource(data)
    chart.line("place", "median", source=source, color=colour, legend_label=phase)
    dots = chart.scatter("place", "median", source=source, color=colour, size=6, legend_label=phase)
    chart.add_layout(Whisker(base="place", lower="low", upper="high", source=source, line_color=colour))
    shown = [
        ("phase", phase.replace("@", "(at)")),
        ("median", "@median{0.000} s"),
        ("from", "@low{0.000} to @high{0.000} s"),
    ]
    chart.add_tools(HoverTool(renderers=[dots], tooltips=[*shown, ("repeats", "@repeats"), ("measured", "@at")]))


def _text(value: object) -> str:
    return html.escape(str(value))
