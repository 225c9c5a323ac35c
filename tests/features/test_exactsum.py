from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.features.exactsum import exact_moments

ANY_FINITE = st.floats(allow_nan=False, allow_infinity=False)


def by_fractions(values: list[float]) -> tuple[Fraction, Fraction]:
    exact = [Fraction(value) for value in values]
    return sum(exact, Fraction()), sum((value * value for value in exact), Fraction())


@settings(max_examples=50)
@given(st.lists(ANY_FINITE, max_size=40))
def test_sums_are_those_of_rational_arithmetic(values: list[float]) -> None:
    assert exact_moments(np.array(values, np.float64)) == by_fractions(values)


@pytest.mark.parametrize(
    "values",
    [
        [1e308, -1e308, 1.0],
        [5e-324, -5e-324, 5e-324],
        [1.7976931348623157e308, 1e-300, 2.0**400, 2.0**-400],
        [0.1] * 50_000,
        [1e16, 1.0, -1e16] * 10_000,
    ],
    ids=["cancelling", "subnormal", "all_magnitudes", "many_blocks", "lost_by_naive_sums"],
)
def test_sums_are_exact_at_the_edges_of_float64(values: list[float]) -> None:
    assert exact_moments(np.array(values)) == by_fractions(values)


def test_input_is_left_as_it_was() -> None:
    values = np.array([1e300, 0.1, -3.0])
    values.flags.writeable = False
    exact_moments(values)
    assert values.tolist() == [1e300, 0.1, -3.0]


def test_many_values_of_all_kinds_agree_with_rational_arithmetic() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate(
        [random.normal(size=20_000), random.lognormal(0, 20, 20_000), random.integers(-99, 99, 9_000)]
    )
    assert exact_moments(values) == by_fractions(values.tolist())
