"""Keyed 64-bit hashes of rows, for counting and finding equal ones over a whole dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa


def keyed_hashes(columns: Sequence[pa.ChunkedArray], *, key: bytes) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """uint64 (n_rows,): equal for rows whose canonical values are equal (the form of `pseudonyms`), else as by chance."""
    raise NotImplementedError
