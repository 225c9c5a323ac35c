"""Rows to predictions: a feature program and a predictor as one function that loses no row.

Where rows are scored by the million (`rescoring`), rows that the program's ``where`` drops are gone. Whoever asks for
the scores of certain rows wants as many answers: a row that was dropped has the answer NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.features.columns import column_of, require_columns
from dataops.features.encoder import Encoded
from dataops.features.program import FeatureProgram
from dataops.models.predictor import Predictor

_PLACE = "\0place"  # no source column is called so


def score_table(program: FeatureProgram, predictor: Predictor, table: pa.Table) -> npt.NDArray[np.float32]:
    """``(n_rows,)`` float32: the prediction of each row of `table`, NaN for a row that the program's ``where`` drops.

    Raises
    ------
    InvalidInput : a source column is missing, twice there, or of another type than the model was trained on.
    """
    return answer_table(program, predictor.predict, table)


def answer_table(
    program: FeatureProgram, answer: Callable[[Encoded], npt.NDArray[np.float32]], table: pa.Table
) -> npt.NDArray[np.float32]:
    """What `answer` gives for each row of `table`, as `score_table`."""
    require_columns(table.column_names, program.source_columns(), what="the model")
    rows = pa.table({name: column_of(table, name) for name in program.source_columns()})
    if program.steps.where is None:
        return answer(program.run(rows)[1])
    # which rows were kept is only known by a column that goes along
    places = pa.array(np.arange(rows.num_rows, dtype=np.int64))
    kept, encoded = program.run(rows.append_column(_PLACE, places))
    scores = np.full(rows.num_rows, np.nan, np.float32)
    scores[kept.column(_PLACE).to_numpy()] = answer(encoded)
    return scores
