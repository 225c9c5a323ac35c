from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import Integrity
from dataops.features.encoder import Encoded
from dataops.training import linear_passes
from dataops.training.linear_layout import Coordinates, Layout
from dataops.training.linear_look import look_at, merge_looks
from dataops.training.linear_losses import LOGISTIC
from dataops.training.linear_passes import (
    Adding,
    Moments,
    grid_of,
    merge_sums,
    moments_of,
    product_grid_of,
    sum_up,
)
from dataops.training.parts import EncodedPart

MEAN, SCALE = np.array([40.0, 900.0, 0.0]), np.array([0.1, 1 / 300, 1.0])


@pytest.fixture
def layout(encoder) -> Layout:
    return Layout.of(encoder)


def adding_of(parts, layout, *, factors=(1.0, 1.0)) -> Adding:
    look = merge_looks([look_at(part) for part in parts])
    bounds, weight = look.bounds(layout), 4 * sum(look.by_class)
    within = np.r_[1.0, (bounds[layout.numeric] + MEAN) * SCALE, np.ones(sum(layout.sizes))]
    return Adding(
        loss=LOGISTIC.name,
        first=layout.first,
        factors=factors,
        grid=grid_of(bounds * weight),
        mean=MEAN,
        scale=SCALE,
        product_grid=product_grid_of(within, weight, LOGISTIC.largest_curvature),
    )


def one_hot(part: EncodedPart, layout: Layout, mean=0.0, scale=1.0) -> np.ndarray:
    codes = [np.eye(size)[part.encoded.codes[:, place]] for place, size in enumerate(layout.sizes)]
    return np.hstack([np.ones((part.rows, 1)), (part.encoded.numeric.astype(np.float64) - mean) * scale, *codes])


def coefficients_of(layout: Layout) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(layout.length) / 100


@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.5, 3.0)])
def test_a_pass_adds_up_what_dense_columns_add_up_to(make_part, layout, monkeypatch, factors):
    monkeypatch.setattr(linear_passes, "BLOCK_ROWS", 100)
    parts, at = [make_part(0, 333, weighted=True), make_part(1, 8, weighted=True)], coefficients_of(layout)
    found = merge_sums([sum_up(parts, (adding_of(parts, layout, factors=factors), at, True))], layout)

    dense, scaled = (np.vstack([one_hot(part, layout, *more) for part in parts]) for more in ((), (MEAN, SCALE)))
    target = np.concatenate([part.target for part in parts])
    weight = np.concatenate([part.weight for part in parts]) * np.where(target == 1, factors[1], factors[0])
    chance = 1 / (1 + np.exp(-dense @ at))
    assert found.weight == pytest.approx(weight.sum(), rel=1e-13)
    expected = -(weight * np.where(target == 1, np.log(chance), np.log(1 - chance))).sum() / weight.sum()
    assert found.loss == pytest.approx(expected, rel=1e-12)
    gradient = dense.T @ (weight * (chance - target)) / weight.sum()
    assert found.gradient == pytest.approx(gradient, rel=1e-11, abs=1e-11)
    curvature = scaled.T @ (scaled * (weight * chance * (1 - chance))[:, None]) / weight.sum()
    assert found.curvature == pytest.approx(curvature, rel=1e-11, abs=1e-11)


def test_the_gradient_is_the_slope_of_the_loss(make_part, layout):
    parts, at = [make_part(0, 200, weighted=True)], coefficients_of(layout)
    adding = adding_of(parts, layout)

    def loss(point):
        return merge_sums([sum_up(parts, (adding, point, False))], layout).loss

    gradient = merge_sums([sum_up(parts, (adding, at, False))], layout).gradient
    for place in range(layout.length):
        step = np.zeros(layout.length)
        step[place] = 1e-6
        slope = (loss(at + step) - loss(at - step)) / 2e-6
        assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_sums_are_the_same_to_the_bit_in_any_order_and_grouping_of_units(make_part, layout):
    parts, at = [make_part(seed, rows) for seed, rows in enumerate((300, 7, 0, 150, 1))], coefficients_of(layout)
    adding = adding_of(parts, layout)
    expected = merge_sums([sum_up(parts, (adding, at, True))], layout)
    for order in itertools.islice(itertools.permutations(range(5)), 0, 120, 17):
        cut = 1 + order[0] % 4
        groups = [[parts[unit] for unit in units] for units in (order[:cut], order[cut:])]
        found = merge_sums([sum_up(group, (adding, at, True)) for group in groups], layout)
        assert found.loss == expected.loss
        assert found.gradient.tobytes() == expected.gradient.tobytes()
        assert found.curvature.tobytes() == expected.curvature.tobytes()


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    grain=st.integers(-60, 60),
    seed=st.integers(0, 99),
)
def test_multiples_of_a_grid_add_up_exactly_in_any_order(values, grain, seed):
    parts = np.ldexp(np.array(values), grain)
    grid = grid_of(np.array([np.abs(parts).sum()]))
    rounded = np.rint(parts / grid) * grid
    assert np.abs(rounded - parts).max() <= grid[0] / 2
    shuffled = np.random.default_rng(seed).permutation(rounded)
    one, other = 0.0, 0.0
    for left, right in zip(rounded, shuffled, strict=True):
        one, other = one + left, other + right
    assert one == other


def test_margins_far_from_zero_neither_overflow_nor_lose_the_loss(make_part, layout):
    part, at = make_part(0, 50), np.zeros(layout.length)
    at[0] = 1e4
    with np.errstate(all="raise", under="ignore"):
        found = merge_sums([sum_up([part], (adding_of([part], layout), at, True))], layout)
    negatives = int((part.target == 0).sum())
    assert found.loss * 50 == pytest.approx(1e4 * negatives)
    assert found.gradient[0] * 50 == negatives


def test_moments_are_weighted_sums_and_squares(make_part, layout):
    part = make_part(3, 500, weighted=True)
    found = moments_of([part], Moments(layout=layout, factors=(2.0, 1.0), grid=np.full(layout.length + 3, 1e-9)))
    weight = part.weight * np.where(part.target == 1, 1, 2)
    dense = one_hot(part, layout)
    assert found[: layout.length] == pytest.approx(weight @ dense, rel=1e-9)
    assert found[layout.length :] == pytest.approx(weight @ dense[:, layout.numeric] ** 2, rel=1e-9)


def test_rows_that_may_not_be_written_to_are_taken(make_part, layout):
    part, at = make_part(0, 50), coefficients_of(layout)
    adding = adding_of([part], layout)
    expected = sum_up([part], (adding, at, False)).gradient
    for array in (part.encoded.values, part.target, at, adding.first, adding.grid):
        array.flags.writeable = False
    assert np.array_equal(sum_up([part], (adding, at, False)).gradient, expected)


@pytest.mark.parametrize("code", [-1, 40])
def test_a_code_without_a_coefficient_is_refused_before_it_is_a_place_in_memory(make_part, layout, code):
    part = make_part(0, 50)
    part.encoded.values[7, -1] = code
    with pytest.raises(Integrity, match="a code is beyond those of its column"):
        look_at(part).bounds(layout)


def test_parts_of_another_encoder_are_refused(layout):
    values = np.zeros((2, 1), np.float32)
    part = EncodedPart(encoded=Encoded(values=values, n_numeric=1, unknown={}), target=np.zeros(2, np.float32))
    with pytest.raises(Integrity, match="1 columns don't belong to an encoder of 5"):
        look_at(part).bounds(layout)


def test_a_gradient_by_coordinate_is_that_of_the_coefficients_which_they_stand_for(layout):
    random = np.random.default_rng(0)
    coordinates = Coordinates(
        mean=np.r_[0.0, random.standard_normal(layout.length - 1)], scale=random.random(layout.length) + 0.5
    )
    gradient, point = random.standard_normal((2, layout.length))
    for place in range(layout.length):
        step = np.zeros(layout.length)
        step[place] = 1.0
        moved = coordinates.coefficients(point + step) - coordinates.coefficients(point)
        assert coordinates.gradient(gradient)[place] == pytest.approx(gradient @ moved)


def test_the_weight_of_a_class_is_the_same_for_any_cut_of_the_rows(make_part):
    """Also where it is a hair below a power of two, at which grids of sums take another step."""
    part = make_part(0, 2_000)
    weight = np.random.default_rng(0).lognormal(0, 20, part.rows).astype(np.float32)
    found = set()
    for edges in ([0, 2_000], [0, 1, 2_000], [0, 700, 1_300, 2_000], range(0, 2_001, 40)):
        cut = [slice(*pair) for pair in itertools.pairwise(edges)]
        looks = [look_at(rows_of(part, some, weight)) for some in cut]
        found |= {(merge_looks(order).by_class, merge_looks(order).weight) for order in (looks, looks[::-1])}
    assert len(found) == 1
    ((negative, positive), whole) = found.pop()
    assert negative == math.fsum(weight[part.target == 0].tolist())
    assert positive == math.fsum(weight[part.target == 1].tolist())
    assert whole == math.fsum(weight.tolist())


def rows_of(part: EncodedPart, some: slice, weight: np.ndarray) -> EncodedPart:
    return EncodedPart(encoded=part.encoded.of_rows(some), target=part.target[some], weight=weight[some])
