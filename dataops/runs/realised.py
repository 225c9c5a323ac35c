"""Realised performance of a model over time, from the runs that measured it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dataops.declarations.metrics import HOLDOUT, REALISED, point_of
from dataops.errors import DataopsError, NotFound, near_match
from dataops.registry.versions import Registry
from dataops.runs.ledger import State
from dataops.runs.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Realised:
    """How well one version did where outcomes came.

    Attributes
    ----------
    as_challenger : its name in the job that scored with it; ``own`` for the job's own model; with the version behind
        where the scores are of several.
    judged, scored : rows with a known outcome, of so many that it scored.
    metrics : overall, by name; `slices` by column and value.
    promised : what it had on held-out rows when it was trained; None where that isn't on record.
    """

    run: str
    at: str
    version: int
    as_challenger: str
    scores: str
    labels: str
    judged: int
    scored: int
    primary_metric: str
    metrics: Mapping[str, Any]
    slices: Mapping[str, Any]
    promised: Mapping[str, Any] | None


def realised_of(workspace: Workspace, model: str) -> tuple[Realised, ...]:
    """What runs measured of `model`, the oldest first.

    Raises
    ------
    NotFound : no such model.
    """
    known = workspace.registry.list_models()
    if model not in known:
        raise NotFound(f"no model '{model}'.{near_match(model, known)}")
    return tuple(_measured(workspace, model))


def _measured(workspace: Workspace, model: str) -> Iterator[Realised]:
    for run_id in workspace.ledger.ids():
        if workspace.ledger.read(run_id).kind != "evaluate":
            continue
        state = workspace.ledger.state(run_id)
        if state.state is not State.DONE:
            continue
        told = state.result["realised"]
        for one in state.result["versions"]:
            if one["model"] == model:
                figures = one["metrics"][REALISED]
                yield Realised(
                    run=run_id,
                    at=state.run.created_at,
                    version=one["version"],
                    as_challenger=one["candidate"],
                    scores=f"{told['scores']['dataset']} {told['scores']['snapshot']}",
                    labels=f"{told['labels']['dataset']} {told['labels']['snapshot']}",
                    judged=one.get(
                        "judged", told["judged"]
                    ),  # runs of an older release judged one version for all rows
                    scored=one.get("scored", told["scored"]),
                    primary_metric=state.result["primary_metric"],
                    metrics=figures["overall"],
                    slices=figures["slices"],
                    promised=_promised(workspace.registry, model, one["version"], figures),
                )


def _promised(registry: Registry, model: str, version: int, realised: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Figures of the rows held out, without those that are taken at another point than the realised ones."""
    report: Mapping[str, Any] = {}
    with suppress(DataopsError):  # a version that was taken away promises nothing any more
        report = registry.read(model, version).package.metrics.get(HOLDOUT, {})
    if "overall" not in report:
        return None
    overall: Mapping[str, Any] = report["overall"]
    return {name: figure for name, figure in overall.items() if point_of(name, report) == point_of(name, realised)}
