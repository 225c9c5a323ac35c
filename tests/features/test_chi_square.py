"""Chi-square tails and quantiles are scipy's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import chdtrc, chdtri

from dataops.features.chi_square import upper_quantile, upper_tail


@given(freedom=st.integers(1, 400), x=st.floats(0, 5_000))
def test_the_tail_is_scipys(freedom: int, x: float) -> None:
    assert upper_tail(freedom, x) == pytest.approx(chdtrc(freedom, x), rel=1e-9, abs=1e-300)


@given(freedom=st.integers(1, 400), chance=st.floats(1e-12, 0.999))
def test_the_quantile_is_scipys(freedom: int, chance: float) -> None:
    assert upper_quantile(freedom, chance) == pytest.approx(chdtri(freedom, chance), rel=1e-9)


def test_far_out_the_tail_is_nothing() -> None:
    assert upper_tail(66, 1e15) == upper_tail(3, 1e308) == 0.0
    assert upper_tail(5, 0.0) == 1.0
