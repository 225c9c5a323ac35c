"""Join jobs of the made-up port, planned and run in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from dataops.datasets.snapshot import Manifest
from dataops.declarations.jobs import find_job
from dataops.declarations.join import JoinJob
from dataops.preparation import join_plan
from dataops.preparation.join import run_join
from dataops.preparation.join_plan import JoinPlan, plan_join
from dataops.runs.workspace import Workspace
from tests.preparation.here import Here

PARTED = {"GIVEN_BYTES": 0, "BUCKET_ROWS": 300}
"""Everything goes by key, through several buckets."""


def job_of(workspace: Workspace, name: str, **changes: Any) -> JoinJob:
    declared = find_job(workspace.settings.workspace / "jobs/port.yaml", name).job
    assert isinstance(declared, JoinJob)
    return JoinJob.model_validate({**declared.model_dump(), **changes})


def plan_of(workspace: Workspace, job: JoinJob, **limits: int) -> tuple[JoinPlan, dict[str, Any]]:
    inputs = workspace.open_inputs(job)
    with (
        patch.multiple(join_plan, **limits) if limits else patch.multiple(join_plan, GIVEN_BYTES=join_plan.GIVEN_BYTES)
    ):
        return plan_join(job, inputs, where="jobs/port.yaml:1"), inputs


def run_of(workspace: Workspace, job: JoinJob, storage: Path, work: Here | None = None, **limits: int) -> Manifest:
    plan, inputs = plan_of(workspace, job, **limits)
    manifest, _, _ = run_join(plan, inputs, work or Here(), storage=str(storage))  # type: ignore[arg-type]
    return manifest


def rows_of(storage: Path, manifest: Manifest) -> pa.Table:
    home = storage / "datasets" / manifest.dataset
    return pa.concat_tables(pq.read_table(home / one.path) for one in manifest.fragments)
