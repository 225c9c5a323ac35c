"""Score columns: what a model gives for each row, and what each column is called.

1. The job's own model has the bare names; a challenger's end in ``_<its name>``.
2. All columns of a model are made of one margin or probability per row, so that they never contradict each other.
3. A decile counts from 1 (least probable) to 10, by nine edges fixed when the model was judged: the same probability is
   in the same decile in every run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.declarations.rescore import Output, column_name

TYPES: Mapping[Output, pa.DataType] = {
    Output.PROBABILITY: pa.float32(),
    Output.PREDICTION: pa.bool_(),
    Output.MARGIN: pa.float32(),
    Output.DECILE: pa.int8(),
}

Floats32 = npt.NDArray[np.float32]


def score_columns(
    outputs: Sequence[Output],
    probability: Floats32,
    margin: Floats32 | None,
    *,
    model: str,
    threshold: float,
    decile_edges: Sequence[float] | None,
) -> dict[str, pa.Array]:
    """Column -> values, in the order of `outputs`.

    Parameters
    ----------
    probability : float32 (n_rows,), of the positive class.
    margin : float32 (n_rows,), log odds; given where `outputs` asks for it.
    decile_edges : nine rising probabilities; given where `outputs` asks for deciles.
    """
    made: dict[str, pa.Array] = {}
    for output in outputs:
        values: npt.NDArray[np.generic]
        match output:
            case Output.PROBABILITY:
                values = probability
            case Output.PREDICTION:
                values = is_positive(probability, threshold)
            case Output.MARGIN:
                assert margin is not None  # noqa: S101  # asked for, so made
                values = margin
            case Output.DECILE:
                assert decile_edges is not None  # noqa: S101  # the plan refuses a model without
                values = deciles(probability, decile_edges)
        made[column_name(output, model)] = pa.array(values, TYPES[output])
    return made


def is_positive(probability: Floats32, threshold: float) -> npt.NDArray[np.bool_]:
    """Which rows reach `threshold`, bool (n_rows,); compared as float32, as they are stored."""
    return probability >= np.float32(threshold)


def deciles(probability: Floats32, edges: Sequence[float]) -> npt.NDArray[np.int8]:
    """The decile of each row, int8 (n_rows,), 1 to 10: one more than the number of `edges` that it reaches."""
    return (np.searchsorted(np.array(edges, np.float32), probability, side="right") + 1).astype(np.int8)
