"""What is done to each unit of a rescore: the part of its plan that workers are told.

It holds no declaration: to read one takes libraries that take longer to load than many a unit to score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dataops.declarations.metrics import Task
from dataops.declarations.outputs import Output
from dataops.features.program import FeatureProgram
from dataops.registry.versions import ModelVersion
from dataops.rescoring.monitored import Monitored, slices_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredModel:
    """A model version that is applied, as the input needs it.

    Attributes
    ----------
    name : a challenger's name in the job; `OWN` for the job's own model.
    program : whole for raw data, without steps for data that the model's preparation made.
    program_digest : of `program`; models of equal programs share their encoded rows.
    decile_edges : nine rising predictions; None where the version has none.
    score_edges : of the cells that its predictions were counted in when it was judged; () where they weren't.
    monitored : how its rows are counted for drift; None where they aren't.
    """

    name: str
    version: ModelVersion
    program: FeatureProgram
    program_digest: str
    decile_edges: tuple[float, ...] | None = None
    score_edges: tuple[float, ...] = ()
    monitored: Monitored | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPlan:
    """What is done to each unit; the job's own model comes first.

    Attributes
    ----------
    read : columns that are read.
    keep : those of them that are written beside the scores.
    outputs : what each model gives.
    threshold : the probability from which on a prediction is true; None for numbers.
    sort_by : columns by which the rows of each part are sorted.
    output : the dataset of scores.
    task : that of all models.
    """

    models: tuple[ScoredModel, ...]
    read: tuple[str, ...]
    keep: tuple[str, ...]
    outputs: tuple[Output, ...]
    threshold: float | None
    sort_by: tuple[str, ...]
    output: str
    task: Task

    @property
    def challengers(self) -> tuple[str, ...]:
        """The names of the other models."""
        return tuple(one.name for one in self.models[1:])

    @property
    def slices(self) -> Mapping[str, tuple[str, ...]]:
        """Column -> the values by which impact is told, as the job's own model was judged by."""
        return slices_of({one.name: one.monitored for one in self.models})
