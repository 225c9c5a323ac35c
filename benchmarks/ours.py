"""Our own rescore as the benchmarks run it: a job of a workspace in a process of its own, and the parts it made."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from measuring import Watched, watch

from dataops.datasets.snapshot import read_snapshot
from dataops.declarations.jobs import find_job
from dataops.engine.progress import Progress
from dataops.runs.execute import Options, Outcome, run_job
from dataops.runs.workspace import Workspace

_HERE = Path(__file__).parent
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join((str(_HERE / "peers"), str(_HERE.parent)))}


def run_here(workspace: Workspace, name: str) -> Outcome:
    """The job of the workspace is done, in this process."""
    found = find_job(workspace.settings.workspace / "jobs" / "jobs.yaml", name)
    options, progress = Options(cluster=workspace.cluster(None)), Progress(sys.stderr, quiet=True)
    return run_job(workspace, found.job, source=found.document.source, options=options, progress=progress)


def run_apart(
    workspace: Workspace,
    name: str,
    *flags: str,
    python: Path | None = None,
    env: Mapping[str, str] = ENVIRONMENT,
) -> Watched:
    """The job of the workspace is done, in a process that is watched."""
    script = str(_HERE / "peers" / "with_dataops.py")
    home = str(workspace.settings.workspace)
    return watch([str(python or sys.executable), script, home, name, *flags], env=env)


def parts_of(workspace: Workspace, dataset: str) -> Sequence[str]:
    """The parts of the newest snapshot, in the order of the plan."""
    snapshot = read_snapshot(workspace.store, dataset)
    if snapshot is None:
        raise AssertionError(f"nothing was published as {dataset}")
    home = Path(workspace.settings.storage.removeprefix("file://")) / "datasets" / dataset
    return [str(home / fragment.path) for one in snapshot.manifests[-1:] for fragment in one.fragments]
