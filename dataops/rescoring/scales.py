"""What a task's predictions are in a rescore: which columns come of them, which are valid, and how rows are counted.

Whoever scores asks `scale_of` once and knows no task by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.declarations.metrics import Task
from dataops.declarations.outputs import Output
from dataops.errors import Integrity
from dataops.features.columns import Floats32
from dataops.features.encoder import Encoded
from dataops.features.profile import score_histogram
from dataops.models.centres import CentresModel, numbers
from dataops.models.predictor import Predictor

Edges = Sequence[float] | None
Answers = tuple[Floats32, Floats32 | None]
"""Predictions, and what stands behind them (`Predictor.margins`), where a column comes of it; float32 (n_rows,)."""

THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What the predictions of one task are.

    Attributes
    ----------
    types : the columns that can come of them; the first ones come where a job names none.
    default : how many those are.
    answers : what a model gives for rows, of which these outputs are made.
    threshold : from which on a prediction is true, where a job says none; None where there is none.
    valid : which predictions, float32 (n_rows,), are some.
    what : what the others aren't, for a message.
    histogram : rows in bins, by the edges that `by_cells` says, or by bins that need none.
    by_cells : whether these are the edges of the cells that the version was judged in, instead of its deciles.
    compares : whether predictions of two models say something of each other.
    """

    task: Task
    types: Mapping[Output, pa.DataType]
    default: int
    threshold: float | None
    answers: Callable[[Predictor, Encoded, Collection[Output]], Answers]
    valid: Callable[[Floats32], npt.NDArray[np.bool_]]
    what: str
    histogram: Callable[[Floats32, Edges], list[int]]
    by_cells: bool = False
    compares: bool = True

    def outputs(self, asked: Sequence[Output] | None) -> tuple[Output, ...]:
        """The outputs that a job asks for, or those that come where it doesn't say."""
        return tuple(self.types)[: self.default] if asked is None else tuple(asked)


def scale_of(task: Task) -> Scale:
    """What predictions of `task` are."""
    return SCALES[task]


def deciles(predictions: Floats32, edges: Sequence[float]) -> npt.NDArray[np.int8]:
    """The decile of each row, int8 (n_rows,), 1 to 10: one more than the number of `edges` that it reaches."""
    return (np.searchsorted(np.array(edges, np.float32), predictions, side="right") + 1).astype(np.int8)


def _by_decile(predictions: Floats32, edges: Edges) -> list[int]:
    """Rows of each decile; all in one bin where the model has no deciles."""
    if edges is None:
        return [len(predictions)]
    counts: list[int] = np.bincount(deciles(predictions, edges) - 1, minlength=len(edges) + 1).tolist()
    return counts


def _by_cell(predictions: Floats32, edges: Edges) -> list[int]:
    """Rows of each cell between `edges`."""
    counts: list[int] = np.bincount(
        np.searchsorted(np.array(edges or (), np.float32), predictions, side="right"), minlength=len(edges or ()) + 1
    ).tolist()
    return counts


def _answers(predictor: Predictor, rows: Encoded, outputs: Collection[Output]) -> Answers:
    return predictor.predict(rows), predictor.margins(rows) if Output.MARGIN in outputs else None


def _nearest(predictor: Predictor, rows: Encoded, _: Collection[Output]) -> Answers:
    if not isinstance(predictor, CentresModel):
        raise Integrity(f"a model of format {predictor.format} has no centres, and its lineage says that it has")
    nearest = predictor.nearest(rows)
    return numbers(nearest), nearest["distance"]


PROBABILITIES = Scale(
    task=Task.BINARY,
    types={
        Output.PROBABILITY: pa.float32(),
        Output.PREDICTION: pa.bool_(),
        Output.MARGIN: pa.float32(),
        Output.DECILE: pa.int8(),
    },
    default=2,
    threshold=THRESHOLD,
    answers=_answers,
    valid=lambda found: (found >= 0) & (found <= 1),  # nan is neither
    what="probabilities",
    histogram=lambda found, _: score_histogram(found),
)
NUMBERS = Scale(
    task=Task.REGRESSION,
    types={Output.PREDICTION: pa.float32(), Output.DECILE: pa.int8()},
    default=1,
    threshold=None,
    answers=_answers,
    valid=np.isfinite,
    what="finite numbers",
    histogram=_by_decile,
)
NEAREST_CENTRES = Scale(
    task=Task.CLUSTERS,
    types={Output.CLUSTER: pa.int32(), Output.DISTANCE: pa.float32()},
    default=2,
    threshold=None,
    answers=_nearest,
    valid=np.isfinite,
    what="clusters at a distance that float32 holds",
    histogram=_by_cell,
    by_cells=True,
    compares=False,
)
SCALES: Mapping[Task, Scale] = {one.task: one for one in (PROBABILITIES, NUMBERS, NEAREST_CENTRES)}
