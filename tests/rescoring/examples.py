"""A model of people's wealth, in each format, and a job that scores new people with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord
from dataops.declarations.outputs import OWN
from dataops.declarations.rescore import RescoreJob
from dataops.features.encoder import CategoricalColumn, Encoder, NumericColumn
from dataops.features.program import FeatureProgram
from dataops.features.steps import RowSteps
from dataops.governance.expressions import parse_expression
from dataops.governance.masking import Mask, MaskKind
from dataops.models.linear import LinearModel
from dataops.models.predictor import BOOSTED, LINEAR
from dataops.records import now_utc
from dataops.registry.versions import LoadedVersion
from dataops.rescoring.plan import ScorePlan, plan_rescore
from dataops.rescoring.score import ScoreContext
from dataops.runs.workspace import Workspace
from tests.registry.examples import make_package

TRADES = ("baker", "clerk", "miller", "smith")
PROGRAM = FeatureProgram(
    sources=(("age", "int32"), ("hours", "double"), ("trade", "string")),
    steps=RowSteps(
        generalise=(("age", Mask(kind=MaskKind.GENERALISE, width=5.0)),),
        where=parse_expression("hours > 25", where="where"),
    ),
    encoder=Encoder(
        numeric=(
            NumericColumn(name="age", fill=40.0, mean=40.0, scale=10.0),
            NumericColumn(name="hours", fill=38.0, mean=38.0, scale=8.0),
        ),
        categorical=(CategoricalColumn(name="trade", categories=TRADES[:3]),),
    ),
)


def _boosted() -> bytes:
    random = np.random.default_rng(1)
    matrix = xgboost.DMatrix(random.random((200, 3), np.float32), label=random.integers(0, 2, 200))
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 2, "nthread": 1}, matrix, 3)
    return bytes(booster.save_raw("ubj"))


MODELS: dict[str, Callable[[], bytes]] = {
    LINEAR: lambda: LinearModel(intercept=0.1, numeric=(0.5, 0.3), categorical=((0.0, 0.2, -0.2, 0.4),)).to_bytes(),
    BOOSTED: _boosted,
}


def register(workspace: Workspace, kind: str = LINEAR, program: FeatureProgram = PROGRAM) -> LoadedVersion:
    """A new version of the model ``wealth``."""
    package = replace(
        make_package(), program=program, model_format=kind, model=MODELS[kind](), lineage={"preparation_digest": "p1"}
    )
    registered = workspace.registry.register("wealth", package, at=now_utc(), key=workspace.signing_key())
    return workspace.registry.read("wealth", registered.version)


def make_job(**changes: Any) -> RescoreJob:
    """A rescore of ``people_new``, with `changes`."""
    declared = {"name": "scores", "job": "rescore", "model": "wealth@1", "input": "people_new", "output": "scores"}
    return RescoreJob.model_validate(declared | {"keep": ["person_id"]} | changes)


def make_plan(
    given: GovernedInput,
    version: LoadedVersion,
    where: str = "j",
    *,
    job: RescoreJob | None = None,
    **others: LoadedVersion,
) -> ScorePlan:
    """The plan of `job` with `version` and its challengers."""
    return plan_rescore(job or make_job(), given, {OWN: version, **others}, where=where)


def make_context(workspace: Workspace, given: GovernedInput, plan: ScorePlan, storage: Path) -> ScoreContext:
    """What a worker gets to score by `plan` into `storage`."""
    return ScoreContext(
        source=given.source, plan=plan.of_units, storage=str(storage), registry=workspace.settings.registry, run="run-1"
    )


def read_part(storage: Path, record: UnitRecord) -> pa.Table:
    """The scores of a unit."""
    assert record.part is not None
    return pq.read_table(storage / "datasets/scores" / record.part.path)
