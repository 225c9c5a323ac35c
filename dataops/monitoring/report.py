"""The page of one run: everything about it that people look at, in one HTML file that works offline.

1. The page asks nobody: no outside address is in it, and its content security policy forbids what isn't in it.
2. Names are users' text: the template escapes them, charts get them as data, and no script but ours has the nonce.
3. Scripts carry bokeh's version in their names, so that the reports of old runs outlive an upgrade.
4. Same figures, same bytes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataops.monitoring import comparison, drift, recorded_words, sections, wording
from dataops.records import canonical_bytes
from dataops.storage.disk import storage_errors, write_new

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def render_report(figures: Mapping[str, Any], *, scripts: str | None) -> str:
    """The page that shows `figures`.

    Parameters
    ----------
    figures : of one run, JSON types; see `dataops.runs.report.report_figures`.
    scripts : relative URL of the folder that `write_scripts` filled; None puts the scripts into the page, which then
        stands alone (and weighs over a megabyte).
    """
    from dataops.monitoring.recorded_panels import colour_of
    from dataops.monitoring.searches import searches

    charts, lines = _charts(figures), recorded_words.phase_lines(figures)
    return (
        _templates()
        .get_template("report.html")
        .render(
            figures=figures,
            phases=sections.phases(figures),
            phase_lines=lines,
            waits=any(line.waited != "-" for line in lines),
            remarks=recorded_words.remarks(figures),
            colour_of=colour_of,
            key_figures=sections.key_figures(figures),
            readings=sections.readings(figures),
            metrics=comparison.metrics(figures),
            slices=comparison.slices(figures),
            governance=sections.governance(figures),
            searches=searches(figures),
            scores=sections.scores(figures),
            unknown_categories=sections.unknown_categories(figures),
            drift=drift.drift(figures),
            digests=sections.digests(figures),
            charts=charts,
            chart_data=_script_safe(json.dumps(list(charts.values()), separators=(",", ":"))),
            style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
            start=(TEMPLATES / "start.js").read_text(encoding="utf-8"),
            script_url=None if scripts is None else f"{scripts}/{_script_name()}",
            script_text=_script_text() if scripts is None else None,
            nonce=hashlib.sha256(b"nonce:" + canonical_bytes(figures)).hexdigest()[:32],
        )
    )


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        name: getattr(wording, name)
        for name in ("count", "percent", "duration", "moment", "metric", "metric_name", "size")
    }
    return environment


def _shown(value: Any) -> Any:
    """What the template is about to write: text, unless it is markup of our own, with all of it visible."""
    return wording.visible(value) if type(value) is str else value


def write_scripts(folder: Path) -> None:
    """`folder` holds the scripts that reports need; it is made if need be, and what is there already is left."""
    target, data = folder / _script_name(), _script_text().encode()
    with storage_errors(f"writing the reports' scripts into {folder}"):
        if target.exists() and target.read_bytes() == data:
            return
        folder.mkdir(parents=True, exist_ok=True)
        attempt = folder / f".{target.name}-{secrets.token_hex(8)}"
        try:
            write_new(attempt, lambda stream: stream.write(data), sync_name=False)
            attempt.replace(target)
        finally:
            attempt.unlink(missing_ok=True)


def _script_name() -> str:
    import bokeh

    return f"bokeh-{bokeh.__version__}.min.js"


def _script_text() -> str:
    import bokeh

    text = (Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js").read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _charts(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The charts by the id of their place in the page, as bokeh's JSON items."""
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    from dataops.monitoring import panels
    from dataops.monitoring.searches import search_panel, searches

    models: dict[str, Any] = {}
    if figures["phases"]:
        models["phases"] = panels.phase_panel(figures)
    for number, reading in enumerate(sections.readings(figures)):
        if reading.read:
            models[f"receipts-{number}"] = panels.receipt_panel(reading)
    for number, one in enumerate(comparison.slices(figures)):
        if one.judged:
            models[f"slices-{number}"] = panels.slice_panel(one)
    if (scores := sections.scores(figures)) is not None:
        models["scores"] = panels.score_panel(scores)
    if (drifted := drift.drift(figures)) is not None and drifted.scores:
        models["drift"] = panels.drift_panel(drifted)
    for number, search in enumerate(searches(figures)):
        if search.has_curves:
            models[f"search-{number}"] = search_panel(search)
    models |= _recorded_charts(figures.get("recorded") or {})
    return {place: _numbered(json_item(model, ID(place)), place) for place, model in models.items()}


def _recorded_charts(recorded: Mapping[str, Any]) -> dict[str, Any]:
    from dataops.monitoring import recorded_panels

    models: dict[str, Any] = {}
    if recorded.get("stream", {}).get("lane"):
        models["stream"] = recorded_panels.stream_panel(recorded)
    if recorded.get("rate", {}).get("at"):
        models["rate"] = recorded_panels.rate_panel(recorded)
    if recorded.get("memory"):
        models["memory"] = recorded_panels.memory_panel(recorded)
    return models


def _numbered(item: Any, place: str) -> Any:
    """`item` with ids that depend on it alone; bokeh counts up through a process."""
    names: dict[str, str] = {}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: names.setdefault(part, f"{place}-{len(names)}") if key in ("id", "root_id") else renamed(part)
                for key, part in value.items()
            }
        return [renamed(part) for part in value] if isinstance(value, list) else value

    return renamed(item)


def _script_safe(text: str) -> str:
    """JSON that can stand within a script element: no tag can begin or end in it."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
