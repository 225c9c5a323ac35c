"""From a run's records to the page that people look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataops.errors import InvalidInput
from dataops.governance.masking import Mask
from dataops.runs.ledger import RUNS_FOLDER, RunState
from dataops.runs.phases import ended_phases
from dataops.runs.workspace import Workspace
from dataops.storage.disk import local_folder

SCRIPTS_FOLDER = "scripts"


def report_path(workspace: Workspace, run_id: str) -> Path:
    """Where the report of a run lies.

    Raises
    ------
    InvalidInput : the storage is no folder that a browser could open it from.
    """
    folder = local_folder(workspace.settings.storage)
    if folder is None:
        raise InvalidInput(
            f"{workspace.store.url} is no folder for reports; write one with `dataops job report {run_id} "
            "--standalone FILE`"
        )
    return folder / RUNS_FOLDER / run_id / "report.html"


def report_place(workspace: Workspace, run_id: str) -> str | None:
    """Where the report of a run lies, as an outcome says it; None where the storage is no folder."""
    return None if local_folder(workspace.settings.storage) is None else str(report_path(workspace, run_id))


def write_run_report(workspace: Workspace, run_id: str, *, standalone: Path | None = None) -> Path:
    """The page of a run, written from its records; `standalone` needs no other file beside it."""
    from dataops.monitoring.report import render_report, write_scripts
    from dataops.runs.recording import recorded_of

    state = workspace.ledger.state(run_id)
    figures = {**report_figures(state), "recorded": recorded_of(workspace.settings.storage, state)}
    if standalone is not None:
        standalone.write_text(render_report(figures, scripts=None), encoding="utf-8")
        return standalone
    path = report_path(workspace, run_id)
    write_scripts(path.parent.parent / SCRIPTS_FOLDER)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_report(figures, scripts=f"../{SCRIPTS_FOLDER}"), encoding="utf-8")
    return path


def report_figures(state: RunState) -> dict[str, Any]:
    """What the page shows, as JSON; no value of any row is among it."""
    run = state.run
    return {
        "run": run.id,
        "job": run.job,
        "kind": run.kind,
        "state": state.state.value,
        "principal": run.principal,
        "created_at": run.created_at,
        "code": dict(run.code),
        "error": state.error,
        "phases": [
            {
                "phase": one.phase,
                "seconds": one.seconds,
                "outcome": "failed" if one.failed else "done",
                "rows": one.rows,
                "recorded": one.recorded,
            }
            for one in ended_phases(state.events)
        ],
        "inputs": [_input_figures(name, pinned) for name, pinned in run.inputs.items()],
        "reads": dict(state.result.get("reads", {})),
        "linked_rows": max((event["rows"] for event in state.events if event["event"] == "units_linked"), default=0),
        "result": dict(state.result),
    }


def _input_figures(name: str, pinned: Mapping[str, Any]) -> dict[str, Any]:
    grant = pinned["grant"]
    decisions = grant["decisions"]
    return {
        "name": name,
        "dataset": pinned["dataset"],
        "snapshot": pinned["snapshot"],
        "purpose": grant["purpose"],
        "zone": grant["zone"],
        "units": pinned["units"],
        "rows": pinned["rows"],
        "masked": [
            {"column": d["column"], "mask": str(Mask.from_record(d["mask"]))}
            for d in decisions
            if d["verdict"] == "masked"
        ],
        "denied": [d["column"] for d in decisions if d["verdict"] == "denied"],
        "filters": list(grant["effect"]["filters"]),
        "policy": grant["policy_digest"],
        "effect": grant["effect"]["digest"],
    }
