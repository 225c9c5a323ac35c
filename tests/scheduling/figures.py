"""A workspace with versions of a model, and runs on record that say how these did: nothing is trained or scored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataops.declarations.schedules import Schedule, schedule_digest, schedule_record
from dataops.records import format_time
from dataops.registry.aliases import move
from dataops.registry.moves import AliasMove, MoveKind
from dataops.runs.init import init_workspace
from dataops.runs.ledger import Run
from dataops.runs.workspace import Workspace, open_workspace
from dataops.scheduling.state import OpenSlot, StepState
from tests.line.people import give_roles
from tests.registry.examples import make_metrics, make_package

NOW = datetime(2026, 3, 10, 6, tzinfo=UTC)
MODEL = "income"
RULES = "model: income\nrules:\n  - {metric: roc_auc, minimum: 0.5}\n"


def make_workspace(folder: Path, versions: int = 3) -> Workspace:
    """Versions 1 to `versions` of ``income``, each better on paper than the one before, each of a run of its own."""
    init_workspace(folder)
    give_roles(folder, "data_science")
    (folder / "jobs/promotion.yaml").write_text(RULES)
    (folder / "signers.yaml").unlink()  # moves of these tests are of other days than the keys
    workspace = open_workspace(str(folder), {})
    for number in range(1, versions + 1):
        package = make_package(f"run-{number}", make_metrics(roc_auc=0.7 + number / 100))
        workspace.registry.register(MODEL, package, at=NOW, key=workspace.signing_key())
    return workspace


def moved(
    workspace: Workspace,
    version: int,
    *,
    alias: str = "champion",
    kind: MoveKind = MoveKind.PROMOTED,
    reason: str = "by hand",
    at: datetime = NOW,
) -> AliasMove:
    return move(
        workspace.registry,
        MODEL,
        alias,
        version,
        actor="ana",
        reason=reason,
        kind=kind,
        key=workspace.signing_key(),
        at=at,
    )


def judged(
    workspace: Workspace, figures: Mapping[str, tuple[int, float, int]], *, at: datetime = NOW, job: str = "later"
) -> str:
    """The id of an evaluate run that found of each candidate (``own``, ``next``): version, ROC AUC, rows judged."""
    found = [
        {
            "candidate": candidate,
            "model": MODEL,
            "version": version,
            "digest": workspace.registry.find(MODEL, version).digest,
            "judged": rows,
            "metrics": {"realised": {"rows": rows, "overall": {"roc_auc": figure}, "slices": {}}},
        }
        for candidate, (version, figure, rows) in figures.items()
    ]
    return on_record(workspace, job, "evaluate", {"versions": found, "primary_metric": "roc_auc"}, at=at)


def on_record(workspace: Workspace, job: str, kind: str, result: Mapping[str, Any], *, at: datetime = NOW) -> str:
    """The id of a run that is done, with this result."""
    taken = sum(run.startswith(f"{job}-") for run in workspace.ledger.ids())
    run = Run(
        id=f"{job}-{at:%Y%m%dt%H%M%S}-{taken:06x}",
        job=job,
        kind=kind,
        declaration={},
        source="jobs/x.yaml",
        principal="ana",
        roles=(),
        inputs={},
        model=None,
        code={"digest": "sha256:0"},
        work_digest=f"sha256:{taken:064x}",
        created_at=format_time(at),
    )
    workspace.ledger.start(run, {})
    workspace.ledger.finish(run, result)
    return run.id


def run_of(job: str, number: int, at: datetime) -> Run:
    """A rescore of `job` that nobody put on record yet."""
    return Run(
        id=f"{job}-{at:%Y%m%dt%H%M%S}-{number:06x}",
        job=job,
        kind="rescore",
        declaration={},
        source="jobs/x.yaml",
        principal="ana",
        roles=(),
        inputs={},
        model=None,
        code={"digest": "sha256:0"},
        work_digest=f"sha256:{number:064x}",
        created_at=format_time(at),
    )


def make_schedule(*steps: Mapping[str, Any], **keys: Any) -> Schedule:
    """A schedule of these steps."""
    when = keys.pop("when", {"cron": "0 6 * * *"})
    return Schedule.model_validate({"name": "nightly", "when": when, "steps": list(steps), **keys}, strict=False)


def open_slot(schedule: Schedule, *outcomes: str | None, at: datetime = NOW) -> OpenSlot:
    """The slot of `at`, whose first steps came to `outcomes`."""
    states = [StepState(outcome=one, attempt=one is not None) for one in outcomes]  # type: ignore[arg-type]
    states += [StepState() for _ in schedule.steps[len(states) :]]
    return OpenSlot(
        key=f"{at:%Y%m%dt%H%M%S}z",
        nominal=at,
        cause="due",
        digest=schedule_digest(schedule),
        declaration=schedule_record(schedule),
        holder="script",
        claimed_at=at,
        not_before=at,
        steps=tuple(states),
    )
