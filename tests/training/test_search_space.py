"""Points of a search's space: by seed and number alone, and only such as the trainer takes."""

from __future__ import annotations

import math

import pytest

from dataops.declarations.search import Search
from dataops.errors import InvalidInput
from dataops.training.boosting import BoostingTrainer
from dataops.training.logistic import LogisticTrainer
from dataops.training.search import require_search
from dataops.training.search_space import corners, grid_point, random_point, require_space

SPACE = Search(
    space={
        "depth": {"int": [3, 5]},
        "rate": {"log": [0.01, 1]},
        "share": {"float": [0, 1]},
        "kind": {"one_of": ["a", None]},
    }
).dimensions


def test_a_grid_has_every_point_once():
    space = Search(method="grid", space={"a": {"int": [1, 3]}, "b": {"one_of": ["x", "y"]}})
    points = [grid_point(space.dimensions, number) for number in range(space.most_trials)]
    assert points[:3] == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}]
    assert {(point["a"], point["b"]) for point in points} == {(a, b) for a in (1, 2, 3) for b in ("x", "y")}


def test_a_random_point_depends_on_seed_and_number_alone():
    points = [random_point(SPACE, 7, number) for number in range(50)]
    assert points[::-1] == [random_point(SPACE, 7, number) for number in reversed(range(50))]
    assert points != [random_point(SPACE, 8, number) for number in range(50)]
    assert {point["depth"] for point in points} == {3, 4, 5}
    assert {point["kind"] for point in points} == {"a", None}
    assert all(0.01 <= point["rate"] <= 1 and 0 <= point["share"] <= 1 for point in points)
    magnitudes = [math.log10(point["rate"]) for point in points]
    assert sum(one < -1 for one in magnitudes) in range(15, 36)  # evenly by magnitude: about half


def test_everything_that_a_trainer_refuses_of_a_space_is_said_once():
    space = {
        "max_depth": {"int": [0, 3]},
        "learning_rate": {"log": [0.1, 5]},
        "rouns": {"int": [1, 9]},
        "max_bin": {"one_of": [256, "many"]},
    }
    with pytest.raises(InvalidInput) as raised:
        require_space(BoostingTrainer(), {"rounds": 3}, Search(space=space).dimensions)
    told = str(raised.value)
    for part in ("max_depth: expected", "found 0", "found 5", "unknown parameter 'rouns'", "found 'many'"):
        assert part in told
    assert told.count("unknown parameter") == 1
    assert told.startswith("search: ")


def test_a_pruner_needs_a_trainer_that_tells_its_rounds_and_their_number():
    pruned = Search(pruner="asha", space={"l2": {"log": [0.1, 1]}})
    with pytest.raises(InvalidInput, match="logistic doesn't tell how it does by rounds"):
        require_search(pruned, LogisticTrainer(), "logistic", {})
    pruned = Search(pruner="asha", space={"max_depth": {"int": [1, 3]}})
    with pytest.raises(InvalidInput, match="say `rounds`"):
        require_search(pruned, BoostingTrainer(), "xgboost", {})
    require_search(pruned, BoostingTrainer(), "xgboost", {"rounds": 9})


def test_corners_have_every_end_and_stay_few():
    few = Search(space={"a": {"int": [1, 5]}, "b": {"one_of": ["x", "y", "z"]}}).dimensions
    assert len(corners(few)) == 6
    assert corners(few)[0] == {"a": 5, "b": "x"}
    many = Search(space={f"p{number}": {"int": [1, 5]} for number in range(12)}).dimensions
    found = corners(many)
    assert len(found) <= 48
    assert dict.fromkeys((one.name for one in many), 5) in found
    assert dict.fromkeys((one.name for one in many), 1) in found
