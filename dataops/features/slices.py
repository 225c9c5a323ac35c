"""Slices: rows by the value of a column that figures are told by.

1. A value is text, whatever the column's type; null is the value `MISSING_VALUE`.
2. A row's place is that of its value among those that are known, or behind them all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

MISSING_VALUE = "(missing)"
OTHERS = "(others)"


def slice_texts(values: pa.Array | pa.ChunkedArray) -> pa.DictionaryArray:
    """`values` as text with a dictionary."""
    texts = pc.fill_null(pc.cast(values, pa.string()), MISSING_VALUE)
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    return texts.dictionary_encode()


def slice_places(values: pa.Array | pa.ChunkedArray, known: Sequence[str]) -> npt.NDArray[np.int32]:
    """The place of each row's value in `known`, int32 (n_rows,); ``len(known)`` for any other."""
    texts = slice_texts(values)
    found = pc.fill_null(pc.index_in(texts.dictionary, value_set=pa.array(known, pa.string())), len(known))
    places = np.append(found.to_numpy(zero_copy_only=False), len(known)).astype(np.int32)
    taken: npt.NDArray[np.int32] = places[texts.indices.to_numpy(zero_copy_only=False)]
    return taken
