"""A version as it serves: loaded once, checked by its golden rows, and never changed.

1. What `registry` read is what is parsed: its signature, sizes and digests were checked before, by the reader's trust.
2. A version that has golden rows answers them as when it was registered, or it doesn't serve.
3. Each call is answered by one version, from its first row to its last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Task
from dataops.errors import Integrity
from dataops.features.program import FeatureProgram
from dataops.models.calibration import calibrated
from dataops.models.golden import check_golden
from dataops.models.native import load_native
from dataops.models.package import Package
from dataops.models.predictor import BOOSTED, Predictor
from dataops.models.scoring import score_table
from dataops.records import Record
from dataops.registry.moves import AliasMove
from dataops.registry.versions import ModelVersion, Registry
from dataops.runtime.rows import table_of

Predictions = npt.NDArray[np.float32]
Probabilities = Predictions
_OUTPUT: Mapping[Task, str] = {
    Task.BINARY: "the probability of the positive class, 0 to 1",
    Task.REGRESSION: "the number that is predicted",
    Task.CLUSTERS: "the number of the cluster, a whole one from 0",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Serving:
    """A version that may answer; `move` made it the one that the alias names, and it serves since `since`."""

    version: ModelVersion
    move: AliasMove
    program: FeatureProgram
    predictor: Predictor
    since: datetime

    def predict(self, data: Any) -> Predictions:
        """``(n_rows,)`` float32: the probability of each row, the number that a regression predicts, or the number of
        its cluster; NaN for a row that the model's ``where`` leaves out.

        Parameters
        ----------
        data : an Arrow table or record batch, a DataFrame, or a list of dicts (`rows.table_of`).

        Raises
        ------
        InvalidInput : a column is missing, or of another type than the model was trained on.
        """
        return score_table(self.program, self.predictor, table_of(data, self.program.schema()))

    def signature(self) -> Record:
        """What the version takes and gives, JSON types: see `Handle.explain_signature`."""
        steps = self.program.steps
        return {
            "model": self.version.model,
            "version": self.version.version,
            "inputs": [{"name": name, "type": kind} for name, kind in self.program.sources],
            "derived": {name: expression.sql for name, expression in steps.derive},
            "only": None if steps.where is None else steps.where.sql,
            "task": str(self.predictor.task),
            "output": f"float32, one per row: {_OUTPUT[self.predictor.task]}"
            + ("" if steps.where is None else "; NaN for a row that `only` is not true for"),
        }


def load_serving(registry: Registry, move: AliasMove, *, since: datetime, threads: int = 1) -> Serving:
    """The version that `move` names, ready to answer.

    Raises
    ------
    NotFound, Integrity, Format : as `Registry.read`; or it isn't the version that was promoted; or it answers its
        golden rows otherwise than when it was registered.
    Compute : the library that reads it isn't installed here.
    """
    loaded = registry.read(move.model, move.version)
    if loaded.version.digest != move.version_digest:
        raise Integrity(
            f"{loaded.version.reference} is not the version that {move.alias} was moved to: its manifest has changed"
        )
    predictor = ready_predictor(loaded.package, threads=threads)
    return Serving(version=loaded.version, move=move, program=loaded.package.program, predictor=predictor, since=since)


def ready_predictor(package: Package, *, threads: int = 1) -> Predictor:
    """The predictor of `package`, which answers its golden rows as it should; raises as `load_serving`."""
    predictor: Predictor | None = None
    if package.model_format == BOOSTED:
        predictor = load_native(package.model, threads)
    predictor = package.predictor(threads) if predictor is None else calibrated(predictor, package.calibration)
    if predictor.task is not package.task:
        raise Integrity(f"the model is one of task {predictor.task}, and its lineage says {package.task}")
    if package.golden is not None:
        check_golden(package.golden, package.program, predictor)
    return predictor
