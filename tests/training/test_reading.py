"""How rows of a governed table become rows to learn from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dataops.training import reading


def test_weights_may_be_any_numbers():
    """Whole ones above 2**24 have no float32 of their own, and are the nearest one."""
    found = reading._numbers(pa.chunked_array([pa.array([1, 2**24 + 1, 2**63 - 1, None])]))
    assert found.dtype == np.float32
    assert found[:3].tolist() == [1, 2**24, 2.0**63]
    assert np.isnan(found[3])
