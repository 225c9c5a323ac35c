from __future__ import annotations

import os
import re
import signal
import sys
from dataclasses import replace

import lightgbm as library
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dataops.errors import Compute, InvalidInput
from dataops.models.lightgbm import read_text
from dataops.models.predictor import load_predictor
from dataops.training import boosting_rounds, lightgbm
from dataops.training.boosting_ranks import HeldOut, Order, Seat
from dataops.training.lightgbm import LightGbmRank, LightGbmTrainer, cut_trees, fit_lightgbm, join_trees
from dataops.training.trainers import load_trainer

FEW = {"rounds": 20, "num_leaves": 8}


@pytest.fixture(scope="module")
def units(make_part):
    return [make_part(seed, 600) for seed in range(4)] + [make_part(9, 0), make_part(10, 1)]


@pytest.fixture(scope="module")
def held_out(make_part):
    return make_part(100, 4000)


@pytest.fixture(scope="module")
def trained(held_out):
    """Five trees of LightGBM's own, and their text down to the end of the trees."""
    rows = library.Dataset(held_out.encoded.values, label=held_out.target)
    booster = library.train({"objective": "binary", "verbosity": -1, "num_leaves": 5}, rows, num_boost_round=5)
    text = booster.model_to_string()
    return booster, text[: text.index("\nend of trees\n")].encode() + b"\nend of trees\n"


def auc(model: bytes, part) -> float:
    return roc_auc_score(part.target, load_predictor("lightgbm-text/1", model).predict(part.encoded))


def test_it_is_found_by_its_name():
    assert isinstance(load_trainer("lightgbm"), LightGbmTrainer)


def test_it_is_as_good_as_lightgbm_on_one_machine(cluster, units, place, held_out):
    model_format, model = LightGbmTrainer().fit(place(cluster, units), FEW, seed=1)
    rows = library.Dataset(
        np.concatenate([unit.encoded.values for unit in units]), label=np.concatenate([unit.target for unit in units])
    )
    alone = library.train({"objective": "binary", "num_leaves": 8, "verbosity": -1}, rows, num_boost_round=20)
    expected = roc_auc_score(held_out.target, alone.predict(held_out.encoded.values))
    assert model_format == "lightgbm-text/1"
    assert auc(model, held_out) == pytest.approx(expected, abs=0.01)
    assert expected > 0.7


def test_the_same_cluster_gives_the_same_bytes_wherever_parts_lay(cluster, units, place):
    first = fit_lightgbm(place(cluster, units, workers=[0, 1, 0, 1, 0, 1]), FEW, 3)
    second = fit_lightgbm(place(cluster, units, workers=[1, 1, 1, 0, 0, 0]), FEW, 3)
    assert first == second
    assert b"machines" not in first
    assert first.endswith(b"\nend of trees\n")


def test_a_monotone_feature_never_turns(cluster, units, place, held_out):
    params = {**FEW, "monotone_constraints": {"hours": 1}, "num_leaves": 31}
    model = load_predictor("lightgbm-text/1", fit_lightgbm(place(cluster, units), params, 0))
    rows = held_out.encoded
    low = model.predict(rows)
    rows.numeric[:, 2] += 0.5
    high = model.predict(rows)
    rows.numeric[:, 2] -= 0.5
    assert (high >= low).all()
    assert (high > low).any()


def test_wrong_parameters_are_said_at_once():
    with pytest.raises(InvalidInput) as refused:
        LightGbmTrainer().require_params({"max_depht": 3, "bagging_fraction": 0, "objective": "x", "num_leaves": 1})
    message = str(refused.value)
    assert "unknown parameter 'max_depht'. Did you mean 'max_depth'?" in message
    assert "unknown parameter 'objective'" in message
    assert "bagging_fraction: expected a number above 0 to 1, found 0" in message
    assert "num_leaves: expected a whole number from 2 to 131072, found 1" in message


def test_where_lightgbm_is_not_installed_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(Compute, match=r"install dataops\[lightgbm\], on the workers too"):
        LightGbmTrainer().require_params({})


def test_the_first_trees_of_a_model_are_a_model(trained, held_out):
    booster, text = trained
    rows = held_out.encoded.values
    for rounds in (1, 3, 5):
        cut = cut_trees(text, rounds)
        read_text(cut)  # which looks at every count and offset
        found = library.Booster(model_str=cut.decode()).predict(rows, raw_score=True)
        assert (found == booster.predict(rows, raw_score=True, num_iteration=rounds)).all()
    assert cut_trees(text, 5) == text


def test_two_models_one_after_the_other_add_up(trained, held_out):
    booster, text = trained
    rows = held_out.encoded.values
    joined = join_trees(cut_trees(text, 2), text)
    read_text(joined)
    both = booster.predict(rows, raw_score=True) + booster.predict(rows, raw_score=True, num_iteration=2)
    assert library.Booster(model_str=joined.decode()).predict(rows, raw_score=True) == pytest.approx(both, abs=1e-12)


def test_what_goes_on_after_a_loss_draws_other_rows_than_the_first_round(make_part):
    """A lost worker is no reason to see the same rows twice as often."""
    part = make_part(0, 3000)
    params = {"objective": "binary", "bagging_fraction": 0.5, "bagging_freq": 1, "verbosity": -1, "seed": 7}
    seat = Seat(name="one", rank=0, ranks=1, threads=1, meeting={})

    def rows_drawn(saved, seed=7):
        order = Order(
            params={**params, "seed": seed},
            metric="binary_logloss",
            held_out=HeldOut(),
            class_weights=None,
            saved=saved,
        )
        rank = LightGbmRank(seat, order, [part])
        model = rank.advance(1, save=True).model
        found = re.findall(r"^internal_count=(\d+)", model.decode(), re.MULTILINE)
        return model, int(found[-1])

    first, drawn = rows_drawn(None)
    again = [rows_drawn(first)[1] for _ in range(2)]
    assert again[0] == again[1] != drawn


def test_a_fit_without_any_gain_left_ends(cluster, place, make_part):
    part = make_part(0, 60)
    part.encoded.values[:, 1:] = 0
    part.encoded.values[:, 0] = part.target
    parts = place(cluster, [part])
    fit_lightgbm(parts, {"rounds": 5000, "min_data_in_leaf": 5, "learning_rate": 1, "min_gain_to_split": 0.01}, 0)
    assert 1 <= parts.fitting.facts["rounds"] < 5000


def test_a_fit_goes_on_from_the_last_round_where_a_worker_is_killed(
    mortal_cluster, units, place, held_out, monkeypatch, tmp_path, caplog
):
    mark = tmp_path / "killed"

    class Killing(LightGbmRank):
        def advance(self, rounds, *, save):
            if self._booster.num_trees() == 5 and self._saved is None:
                try:
                    mark.touch(exist_ok=False)
                except FileExistsError:
                    return super().advance(rounds, save=save)
                os.kill(os.getpid(), signal.SIGKILL)
            return super().advance(rounds, save=save)

    undisturbed = fit_lightgbm(place(mortal_cluster, units), FEW, 0)
    boost = boosting_rounds.boost
    monkeypatch.setattr(lightgbm, "boost", lambda library, *given: boost(replace(library, rank=Killing), *given))
    monkeypatch.setattr(boosting_rounds, "CHUNK_SECONDS", 0)  # so that each round is kept
    disturbed = fit_lightgbm(place(mortal_cluster, units), FEW, 0)
    assert mark.exists()
    assert "workers lost in attempt 1 of 3, after round 5" in caplog.text
    assert library.Booster(model_str=disturbed.decode()).num_trees() == 20
    assert auc(disturbed, held_out) == pytest.approx(auc(undisturbed, held_out), abs=0.001)
