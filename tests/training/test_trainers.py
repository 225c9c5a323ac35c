from __future__ import annotations

import pytest

from dataops.errors import InvalidInput
from dataops.training.boosting import BoostingTrainer
from dataops.training.logistic import LogisticTrainer
from dataops.training.trainers import load_trainer, number, whole


@pytest.mark.parametrize(("name", "kind"), [("logistic", LogisticTrainer), ("xgboost", BoostingTrainer)])
def test_trainers_are_found_by_entry_point(name, kind):
    assert isinstance(load_trainer(name), kind)


def test_an_unknown_trainer_is_refused_with_its_near_match():
    with pytest.raises(InvalidInput, match=r"no trainer 'xgbost'. Did you mean 'xgboost'"):
        load_trainer("xgbost")


@pytest.mark.parametrize("value", [True, 1.0, "3", None, 0, 11])
def test_what_is_no_whole_number_in_bounds_is_refused(value):
    with pytest.raises(ValueError, match="a whole number from 1 to 10"):
        whole(1, 10)(value)


@pytest.mark.parametrize("value", [False, "1", None, float("nan"), float("inf"), -0.1, 0])
def test_what_is_no_number_in_bounds_is_refused(value):
    with pytest.raises(ValueError, match="a number above 0 to 1"):
        number(0, 1, above=True)(value)


def test_a_whole_number_is_a_number():
    assert number(0, 5)(3) == 3.0
