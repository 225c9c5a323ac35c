"""Score columns: what a model gives for each row, and what each column is called.

1. The job's own model has the bare names; a challenger's end in ``_<its name>``.
2. All columns of a model are made of one margin or prediction per row, so that they never contradict each other.
3. A decile counts from 1 (the least) to 10, by nine edges fixed when the model was judged: the same prediction is
   in the same decile in every run.
4. Which columns there are, and of which types, is the task's: see `scales`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.declarations.metrics import Task
from dataops.declarations.outputs import Output, column_name
from dataops.features.columns import Floats32
from dataops.rescoring.scales import deciles, scale_of


def score_columns(
    outputs: Sequence[Output],
    predictions: Floats32,
    margin: Floats32 | None,
    *,
    model: str,
    threshold: float | None,
    decile_edges: Sequence[float] | None,
    task: Task = Task.BINARY,
) -> dict[str, pa.Array]:
    """Column -> values, in the order of `outputs`.

    Parameters
    ----------
    predictions : float32 (n_rows,): probabilities of the positive class, numbers, or numbers of clusters.
    margin : float32 (n_rows,), log odds, or distances; given where `outputs` asks for it.
    threshold : from which on a prediction is true; None for numbers, which are predictions as they are.
    decile_edges : nine rising predictions; given where `outputs` asks for deciles.
    """
    made: dict[str, pa.Array] = {}
    for output in outputs:
        values: npt.NDArray[np.generic]
        match output:
            case Output.PROBABILITY:
                values = predictions
            case Output.PREDICTION:
                values = predictions if threshold is None else is_positive(predictions, threshold)
            case Output.CLUSTER:
                values = predictions.astype(np.int32)
            case Output.MARGIN | Output.DISTANCE:
                assert margin is not None  # noqa: S101  # asked for, so made
                values = margin
            case Output.DECILE:
                assert decile_edges is not None  # noqa: S101  # the plan refuses a model without
                values = deciles(predictions, decile_edges)
        made[column_name(output, model)] = pa.array(values, scale_of(task).types[output])
    return made


def is_positive(probability: Floats32, threshold: float) -> npt.NDArray[np.bool_]:
    """Which rows reach `threshold`, bool (n_rows,); compared as float32, as they are stored."""
    return probability >= np.float32(threshold)
