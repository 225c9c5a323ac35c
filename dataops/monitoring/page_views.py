"""What the dashboard's page says, as HTML: runs of a board as people read them.

1. Pure: a board and the time in, text out.
2. All text of runs is escaped: names are users' text, and whoever is on the cluster may send it.
3. The same figures are told in the same words as in the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataops.declarations.inputs import INPUT
from dataops.monitoring import comparison, sections, wording
from dataops.monitoring.drift import Drift
from dataops.monitoring.drift import drift as drift_of
from dataops.monitoring.searches import searches
from dataops.monitoring.sections import KeyFigure, Reading, Share
from dataops.monitoring.shown import DONE, RUNNING, TROUBLES, Board, ShownPhase, ShownRun

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
MOST_FEATURES = 8  # of the table of drift


def style() -> str:
    """The style sheet of all that follows."""
    return (TEMPLATES / "page.css").read_text(encoding="utf-8")


def runs_text(board: Board, now: float) -> str:
    """All runs of the board: those that go on with their phases, those that ended in a table."""
    runs = board.newest_first
    return _render(
        "page_runs.html",
        now=now,
        runs=runs,
        running=[(run, _live_shares(run)) for run in runs if run.state == RUNNING],
        ended=[(run, _tally(run)) for run in runs if run.state != RUNNING],
    )


def head_text(run: ShownRun | None, wanted: str, now: float) -> str:
    """The head of a run's page, or that there is no such run."""
    return _render("page_head.html", run=run, wanted=wanted, keys=_key_figures(run, now) if run else ())


def phases_text(run: ShownRun, now: float) -> str:
    """The phases, each with how far it is."""
    return _render("page_phases.html", run=run, now=now)


def rows_text(run: ShownRun) -> str:
    """What became of rows, what governance decided, and what else happened."""
    figures = _without_searches(run)
    live = run.state != DONE
    if live and run.counts:
        phase = next(one for one in reversed(run.phases) if one.counts)
        readings = [(f"in phase '{phase.name}'", reading) for reading in _live_readings(run)]
    else:
        readings = [(one.title, one) for one in sections.readings(figures)]
    title = "What became of rows" + (" so far" if live else "")
    title = title if any(reading.read is not None for _, reading in readings) else "What there is to read"
    decided = sections.governance(figures)
    return _render("page_rows.html", run=run, title=title, readings=readings, governance=decided)


def results_text(run: ShownRun) -> str | None:
    """How good candidates are, trials of searches, and drift; None where the run has none of them."""
    figures = as_figures(run)
    judged, drifted, searched = comparison.metrics(figures), drift_of(figures), searches(figures)
    if judged is None and not searched and not _is_told(drifted):
        return None
    return _render("page_results.html", metrics=judged, slices=(), drift=drifted, searches=searched, most=MOST_FEATURES)


def title_text(title: str) -> str:
    """The title of a chart."""
    return _render("page_title.html", title=title)


def _is_told(drifted: Drift | None) -> bool:
    return drifted is not None and not drifted.unknown


def as_figures(run: ShownRun) -> dict[str, Any]:
    """`run` in the form that the report's sections and charts take."""
    figures = _without_searches(run)
    if "searches" not in figures["result"] and run.searches:
        figures["result"] = {**figures["result"], "searches": _searches(run)}
    return figures


def _without_searches(run: ShownRun) -> dict[str, Any]:
    """The same, but for the trials that are known only from messages: they take long where there are many."""
    phases = [
        {"phase": one.name, "seconds": one.seconds, "outcome": one.outcome}
        for one in run.phases
        if one.outcome and one.seconds is not None
    ]
    asked = {"inputs": [], "reads": {}, "result": {}, "linked_rows": 0, **run.figures}
    told = {"run": run.run, "job": run.job, "kind": run.kind, "state": run.state, "error": run.error}
    return {**asked, **told, "phases": phases}


def _searches(run: ShownRun) -> dict[str, Any]:
    """The searches as a result has them, as far as they got."""
    from dataops.declarations.metrics import Metric

    found: dict[str, Any] = {}
    for candidate, trials in run.searches.items():
        metric = run.metrics.get(candidate, "")
        sign = 1 if metric not in list(Metric) or Metric(metric).higher_is_better else -1
        done = [one for one in trials.values() if one["outcome"] == DONE and one["figure"] is not None]
        best = max(done, key=lambda one: (sign * one["figure"], -one["trial"]), default=None)
        in_order = [trials[number] for number in sorted(trials)]
        found[candidate] = {"metric": metric, "best": best and best["trial"], "trials": in_order}
    return found


def _live_readings(run: ShownRun) -> Sequence[Reading]:
    """What became of rows so far, in the newest phase that counted them."""
    given = {"name": INPUT, "dataset": "", "purpose": ""}
    return sections.readings({"inputs": [given], "reads": {INPUT: {"counts": run.counts}}}) if run.counts else ()


def _live_shares(run: ShownRun) -> tuple[Share, ...]:
    return next((reading.shares for reading in _live_readings(run)), ())


def _key_figures(run: ShownRun, now: float) -> Sequence[KeyFigure]:
    if run.state == DONE:
        return sections.key_figures(_without_searches(run))
    shown = [KeyFigure(label="time", value=wording.duration(run.elapsed(now)))]
    phase = run.phase
    if phase is None:
        return shown
    done = phase.share
    label = "phase" if run.state == RUNNING else "last phase"
    shown.append(KeyFigure(label=label, value=wording.plain(phase.name)))
    if phase.outcome is None and done is not None:
        shown.append(KeyFigure(label="of it done", value=f"{100 * done:.0f}%"))
    if (left := phase.left(now)) is not None and run.state == RUNNING:
        shown.append(KeyFigure(label="of it left, about", value=wording.duration(left)))
    if rate := phase.rate(now):
        shown.append(KeyFigure(label="rows per second", value=wording.count(rate)))
    return shown


def _tally(run: ShownRun) -> tuple[str, ...]:
    """Rows read, passed, filtered, set aside and masked columns of a run that ended; blank where they aren't known."""
    try:
        return _tallied(run)
    except Exception:  # noqa: BLE001  # figures of another release, or of who knows whom: the other runs show
        return ("", "", "", "", "")


def _tallied(run: ShownRun) -> tuple[str, ...]:
    readings = sections.readings(_without_searches(run))
    known = [one for one in readings if one.read is not None] or list(_live_readings(run))
    masked = sum(len(one.figures["masked"]) for one in readings)
    if not known:
        return ("", "", "", "", "")
    kinds = (("passed",), ("filtered_by_policy", "filtered_by_job"), ("dropped", "quarantined", "failed"))
    counts = [sum(one.read or 0 for one in known), *(sum(one.rows(*kind) for one in known) for kind in kinds), masked]
    return tuple(wording.count(number) for number in counts)


def phase_told(phase: ShownPhase, now: float) -> str:
    """How far a phase is, in words: units, rows, rate, time left."""
    told = [phase.said] if phase.said else []
    if phase.units:
        done = "" if phase.outcome == DONE else f"{wording.count(phase.units_done)} of "
        told.append(f"{done}{wording.count(phase.units)} unit{'' if phase.units == 1 else 's'}")
    if phase.rows_done:
        of = f" of {wording.count(phase.rows)}" if phase.rows and phase.outcome is None else ""
        told.append(f"{wording.count(phase.rows_done)}{of} rows")
    if rate := phase.rate(now):
        told.append(f"{wording.count(rate)} rows/s")
    told.append(wording.duration(phase.elapsed(now)))
    if (left := phase.left(now)) is not None:
        told.append(f"about {wording.duration(left)} left")
    return ", ".join(told) + (f", {phase.outcome}" if phase.outcome and phase.outcome != DONE else "")


def board_record(board: Board, now: float) -> dict[str, Any]:
    """The board as JSON: runs newest first, with times as UTC text."""
    return {"format": "board-1", "at": _moment(now), "runs": [run_record(one, now) for one in board.newest_first]}


def run_record(run: ShownRun, now: float) -> dict[str, Any]:
    """A run as JSON."""
    return {
        "run": run.run,
        "job": run.job,
        "kind": run.kind,
        "state": run.state,
        "began": _moment(run.began),
        "ended": None if run.ended is None else _moment(run.ended),
        "seconds": round(run.elapsed(now), 3),
        "error": run.error,
        "workers": run.workers,
        "threads": run.threads,
        "phases": [_phase_record(one, now) for one in run.phases],
        "counts": dict(run.counts),
        "troubles": dict(run.troubles),
        "notes": [{"at": _moment(at), "what": text} for at, text in run.notes],
    }


def _phase_record(phase: ShownPhase, now: float) -> dict[str, Any]:
    rate, left, share = phase.rate(now), phase.left(now), phase.share
    return {
        "phase": phase.name,
        "outcome": phase.outcome,
        "units": phase.units,
        "units_done": phase.units_done,
        "rows": phase.rows,
        "rows_done": phase.rows_done,
        "seconds": round(phase.elapsed(now), 3),
        "share": None if share is None else round(share, 4),
        "rows_per_second": None if rate is None else round(rate, 1),
        "seconds_left": None if left is None else round(left, 1),
        "said": phase.said,
        "counts": dict(phase.counts),
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"


def _size(run: ShownRun) -> str:
    """The cluster that it is on."""
    workers, threads = run.workers, run.threads
    if not workers:
        return "no cluster yet"
    each = " each" * (workers > 1)
    return f"{workers:,} worker{'s' * (workers > 1)} with {threads:,} thread{'s' * (threads > 1)}{each}"


def _render(name: str, **context: Any) -> str:
    return _templates().get_template(name).render(context)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    names = ("count", "percent", "duration", "metric", "metric_name")
    filters: Mapping[str, Any] = {name: getattr(wording, name) for name in names}
    environment.filters |= {**filters, "told": phase_told, "clock": _clock, "size": _size}
    environment.globals["words"] = TROUBLES
    return environment


def _visible(value: Any) -> Any:
    return wording.visible(value) if type(value) is str else value
