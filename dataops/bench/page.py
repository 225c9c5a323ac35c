"""The page of a benchmark: the newest result beside those before it, in one HTML file that works offline.

It is made as the reports of runs are (`dataops.monitoring.report`), with their scripts and style: nothing is fetched,
and every number of a chart stands in a table.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataops.bench.results import COUNTED, Phase, Result, comparable
from dataops.bench.sizes import TABLES
from dataops.bench.wording import NOTHING, spell_cluster, spell_rate
from dataops.monitoring import wording
from dataops.monitoring.report import TEMPLATES, _numbered, _script_safe, _script_text
from dataops.records import canonical_bytes

HERE = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A figure in the head of the page."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A phase in the table."""

    name: str
    note: str
    rows: str
    time: str
    startup: str
    rate: str
    before: str
    ratio: str
    counted: str


def render_page(results: Sequence[Result], *, strange: int = 0) -> str:
    """The page of the last of `results`, with the earlier ones; `strange` lines of the file couldn't be read."""
    result, earlier = results[-1], comparable(results[:-1], results[-1])
    before = [one for one in earlier if one.throughput is not None]
    charts = _charts(result, before)
    told = canonical_bytes([one.record() for one in results])
    page: str = _template().render(
        result=result,
        scale=f"{result.scale:g}",
        throughput=spell_rate(result.throughput),
        cluster=spell_cluster(result),
        keys=_keys(result, before),
        lines=[_line(phase, before) for phase in result.phases],
        total=_total(result, before),
        end_to_end=result.end_to_end and f"{spell_rate(result.end_to_end, bare=True)} payments a second",
        earlier=before and f"{len(before):,} valid run{'' if len(before) == 1 else 's'} before",
        alike=all(_alike(one, result) for one in before),
        counted=COUNTED,
        history=[_row(one, result.metric) for one in reversed(results)],
        strange=f"{strange} line{'' if strange == 1 else 's'}" if strange else "",
        data=_data(result),
        machine=_machine(result.machine),
        versions=sorted({**result.versions, "dataops": result.code.get("version", NOTHING)}.items()),
        charts=charts,
        chart_data=_script_safe(json.dumps(list(charts.values()), separators=(",", ":"))),
        style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
        start=(TEMPLATES / "start.js").read_text(encoding="utf-8"),
        script_text=_script_text(),
        nonce=hashlib.sha256(b"nonce:" + told).hexdigest()[:32],
    )
    return page


def _short_cluster(result: Result) -> str:
    kind, workers, threads = (result.cluster.get(name, NOTHING) for name in ("kind", "workers", "threads"))
    return f"{kind}, {workers} x {threads}"


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: wording.visible(value) if type(value) is str else value,
    )
    environment.filters["moment"] = wording.moment
    return environment.get_template("bench.html")


def _alike(one: Result, other: Result) -> bool:
    """Whether both ran on like machines and clusters."""
    return canonical_bytes([dict(one.machine), dict(one.cluster)]) == canonical_bytes(
        [dict(other.machine), dict(other.cluster)]
    )


def _keys(result: Result, before: Sequence[Result]) -> list[Key]:
    usual = _usual([one.throughput for one in before])
    at_work = int(result.cluster.get("workers", 0)) * int(result.cluster.get("threads", 0))
    note = (
        f"rows a second, {spell_rate(result.throughput / at_work, bare=True)} of each thread"
        if at_work and result.throughput
        else ""
    )
    note = f"rows a second, {result.throughput / usual:.2f} times those before" if result.throughput and usual else note
    rows = sum(result.data.get("rows", {}).values())
    counted = sum(phase.seconds for phase in result.phases if phase.name in COUNTED)
    cores = result.machine.get("cores")
    return [
        Key(label="dataops throughput", value=spell_rate(result.throughput, bare=True), note=note),
        Key(
            label="made-up rows",
            value=wording.short_count(rows),
            note=f"{wording.size(result.data.get('size_bytes', 0))} of Parquet",
        ),
        Key(label="phases of the metric", value=wording.duration(counted), note="start-up apart"),
        Key(
            label="end to end", value=spell_rate(result.end_to_end, bare=True), note="payments a second, with start-up"
        ),
        Key(label="in all", value=wording.duration(result.seconds), note=f"on {cores} cores" if cores else ""),
        Key(
            label="checks that hold",
            value=f"{len(result.checks) - len(result.missed)} of {len(result.checks)}",
            note="all must" if result.missed else "",
        ),
    ]


def _usual(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _before(name: str, before: Sequence[Result]) -> float | None:
    """The usual rows a second of the phase `name`."""
    return _usual([phase.rate for one in before for phase in one.phases if phase.name == name and phase.rows])


def _line(phase: Phase, before: Sequence[Result]) -> Line:
    usual = _before(phase.name, before)
    tries = " and ".join(wording.duration(seconds) for seconds in phase.tries)
    return Line(
        name=phase.name,
        note=f"{tries}; the worse counts" if tries else "",
        rows=wording.count(phase.rows),
        time=wording.duration(phase.seconds),
        startup=wording.duration(phase.startup_seconds),
        rate=spell_rate(phase.rate if phase.rows else None, bare=True),
        before=spell_rate(usual, bare=True),
        ratio=f"{phase.rate / usual:.2f}" if usual and phase.rows else NOTHING,
        counted="yes" if phase.name in COUNTED else "no",
    )


def _total(result: Result, before: Sequence[Result]) -> dict[str, str]:
    usual = _usual([one.throughput for one in before])
    return {
        "now": spell_rate(result.throughput, bare=True),
        "before": spell_rate(usual, bare=True),
        "ratio": f"{result.throughput / usual:.2f}" if result.throughput and usual else NOTHING,
    }


def _row(result: Result, metric: int) -> dict[str, Any]:
    rates = {phase.name: phase.rate for phase in result.phases}
    return {
        "at": wording.moment(result.measured_at).removesuffix(" UTC")[:-3],
        "scale": f"{result.scale:g}",
        "seed": result.seed,
        "streams": result.streams,
        "cluster": _short_cluster(result),
        "code": str(result.code.get("digest", NOTHING)).removeprefix("sha256:")[:12],
        "rates": [spell_rate(rates.get(name), bare=True) for name in COUNTED],
        "throughput": spell_rate(result.throughput, bare=True) if result.throughput is not None else "",
        "counted_alike": result.metric == metric,
    }


def _data(result: Result) -> list[tuple[str, str]]:
    known = result.data.get("rows", {})
    rows = [(f"rows of {table}", wording.count(known[table])) for table in TABLES if table in known]
    sizes = [
        (label, wording.size(result.data[name]))
        for name, label in (("size_bytes", "Parquet"), ("decoded_bytes", "in memory"))
        if name in result.data
    ]
    return [*rows, ("files", wording.count(result.data.get("files", 0))), *sizes]


def _machine(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    memory = told.get("memory_bytes")
    facts = {**told, "memory_bytes": wording.size(memory) if memory else NOTHING}
    return [(name.replace("memory_bytes", "memory"), str(value)) for name, value in facts.items()]


def _charts(result: Result, before: Sequence[Result]) -> dict[str, Any]:
    """The charts by the id of their place, as bokeh's JSON items."""
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    from dataops.bench.charts import history_panel, phases_panel

    models = {"phases": phases_panel(result)}
    if before and result.throughput is not None:
        models["history"] = history_panel([*before, result])
    return {place: _numbered(json_item(model, ID(place)), place) for place, model in models.items()}
