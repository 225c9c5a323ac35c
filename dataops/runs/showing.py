"""What a run shows of itself on the cluster that it is on: the page on the Dask dashboard.

1. The dashboard asks nobody who he is: there is no person's name in what it gets, no text of a row filter, no value of
   a slice. The report, which lies where storage's rights hold, has them.
2. A cluster that can't show a page does the work as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dataops.engine.connect import Connection
from dataops.engine.progress import Progress
from dataops.engine.telling import Teller
from dataops.errors import DataopsError
from dataops.registry.aliases import history
from dataops.registry.versions import Registry
from dataops.runs.ledger import RunState
from dataops.runs.report import report_figures

MOST_MOVES = 50
RESULT = (
    "dataset", "snapshot", "reads", "scores", "task", "unknown_categories", "model", "searches", "errors",
    "primary_metric",
)  # fmt: skip
INPUT_KEYS = ("name", "dataset", "snapshot", "purpose", "zone", "units", "rows", "masked", "denied")


@contextmanager
def shown(
    connection: Connection, run: str, *, job: str, kind: str, figures: Mapping[str, Any], progress: Progress
) -> Iterator[tuple[Teller, str]]:
    """Who tells the cluster what the run does, and where people can watch it; its end is told as well.

    Parameters
    ----------
    figures : what was asked, as `public_figures` makes it.
    """
    address = _page_of(connection, progress)
    teller = Teller(connection.client, run)
    client = getattr(connection.client, "id", "")
    teller.tell("run_shown", job=job, kind=kind, client=client, figures=figures)
    try:
        yield teller, address
    except BaseException as error:
        teller.tell("run_ended", state="failed", error=spell_error(error))
        raise
    else:
        teller.tell("run_ended", state="done")
    finally:
        teller.close()


def _page_of(connection: Connection, progress: Progress) -> str:
    """The address of the page, or of Dask's own where the cluster can't have ours; as it is where that is none."""
    from dataops.monitoring.page import PagePlugin, page_address

    try:
        connection.client.register_plugin(PagePlugin())
    except Exception as error:  # noqa: BLE001  # an older dataops there, none at all, a cluster that allows no plugins
        progress.say(
            f"  note: no page of this run on the dashboard ({type(error).__name__}); has the Dask scheduler this "
            "release of dataops?"
        )
        return connection.dashboard
    return page_address(connection.dashboard) if "://" in connection.dashboard else connection.dashboard


def spell_error(error: BaseException) -> str:
    """The family of `error` and, where it is ours, its message: another one's may hold values."""
    if isinstance(error, KeyboardInterrupt):
        return "KeyboardInterrupt: interrupted"
    text = str(error) if isinstance(error, DataopsError) else "unexpected; its text may hold values"
    return f"{type(error).__name__}: {text}"


def public_figures(state: RunState, registry: Registry) -> dict[str, Any]:
    """The figures of a report, as far as anybody may see them, and when which version was champion."""
    figures = report_figures(state)
    result = {name: figures["result"][name] for name in RESULT if name in figures["result"]}
    if "versions" in figures["result"]:
        result["versions"] = [_without_slices(one) for one in figures["result"]["versions"]]
    if "drift" in figures["result"]:
        result["drift"] = _drift(figures["result"]["drift"])
    return {
        "created_at": figures["created_at"],
        "inputs": [{**{key: one[key] for key in INPUT_KEYS}, "filters": []} for one in figures["inputs"]],
        "reads": figures["reads"],
        "linked_rows": figures["linked_rows"],
        "result": result,
        "champions": champions(state, registry),
    }


def _without_slices(version: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {
        dataset: {name: value for name, value in one.items() if name != "slices"}
        for dataset, one in version.get("metrics", {}).items()
    }
    return {**version, "metrics": metrics}


def _drift(drift: Mapping[str, Any]) -> dict[str, Any]:
    if "columns" not in drift:
        return dict(drift)
    raised = [{name: one[name] for name in one if name not in ("slice", "value")} for one in drift.get("raised", ())]
    return {**drift, "slices": {}, "raised": raised}


def champions(state: RunState, registry: Registry) -> list[dict[str, Any]]:
    """The newest moves of the champion of the model that the run applies or trains, oldest first."""
    model = state.run.model["model"] if state.run.model else state.run.job if state.run.kind == "train" else None
    if model is None:
        return []
    try:
        moves = list(history(registry, model))
    except DataopsError:  # no champion yet, or a registry that can't be read: the run says so where it matters
        return []
    return [
        {"version": one.version, "at": one.moved_at.isoformat(), "kind": one.kind.value} for one in moves[-MOST_MOVES:]
    ]
