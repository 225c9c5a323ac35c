import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dataops.features.thresholds import Thresholds

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
NEAR = st.sampled_from([0.0, -0.0, 1.0, 1.0000001, -1.0, 1e-45, -1e-45, 3.4e38, -3.4e38, 7.0, 7.5])


def rising(values: list[float]) -> np.ndarray:
    return np.unique(np.array(values, np.float32))


@settings(max_examples=200)
@given(st.lists(FLOATS | NEAR, max_size=40), hnp.arrays(np.float32, st.integers(0, 50), elements=FLOATS | NEAR))
def test_a_value_reaches_what_it_is_no_less_than(thresholds: list[float], values: np.ndarray) -> None:
    asked = rising(thresholds)
    values = np.concatenate([values, np.array(thresholds, np.float32)])
    found = Thresholds(asked)
    assert found.n == len(asked)
    assert found.reached(values).tolist() == (values[:, None] >= asked).sum(axis=1).tolist()


@pytest.mark.parametrize("bits", range(8, 24))
def test_those_that_lie_close_together_are_told_apart_too(bits: int) -> None:
    """In the smallest table, in larger ones, some in one bucket, and too many for any."""
    asked = (1.0 + np.arange(40) * 2.0 ** -(bits - 1)).astype(np.float32)
    values = (1.0 + np.arange(-4, 90) * 2.0**-bits).astype(np.float32)
    assert Thresholds(asked).reached(values).tolist() == np.searchsorted(asked, values, "right").tolist()


def test_there_may_be_more_than_a_table_holds() -> None:
    asked = np.arange(40_000, dtype=np.float32)
    values = np.array([-1.0, 0.0, 39_998.5, 50_000.0], np.float32)
    assert Thresholds(asked).reached(values).tolist() == [0, 1, 39_999, 40_000]
