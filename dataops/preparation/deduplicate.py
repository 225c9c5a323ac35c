"""Which of the rows with equal values stay: the first or the last, by a column or as they come. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.preparation.matching import KeyIndex, ranks


def kept_rows(by: Sequence[pa.ChunkedArray], order: pa.ChunkedArray | None, *, keep: str) -> npt.NDArray[np.bool_]:
    """Whether each row stays, bool (n_rows,).

    Parameters
    ----------
    by : the columns whose values name a row; one with a null among them equals no other, and stays.
    order : orders rows with one name, nulls first; between equal ones, and without it, the table's order
        decides.
    keep : ``first`` or ``last``.
    """
    index = KeyIndex(by)
    keeps = np.ones(len(by[0]), np.bool_)
    rows = index.order
    keeps[rows] = False
    if order is not None:
        rank = ranks(order)
        key = np.repeat(np.arange(index.n_keys), index.counts)
        rows = rows[np.lexsort((rows, rank[rows], key))]
    edges = index.starts[:-1] if keep == "first" else index.starts[1:] - 1
    keeps[rows[edges]] = True
    return keeps
