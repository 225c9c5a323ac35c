"""What both boosting trainers do: rounds, rows held out, weights, and rows that are hard to train on."""

from __future__ import annotations

from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from xgboost import Booster

from dataops.errors import Compute, InvalidInput
from dataops.features.encoder import Encoded, Encoder, NumericColumn
from dataops.models.predictor import load_predictor
from dataops.training import boosting_rounds
from dataops.training.boosting import BoostingTrainer
from dataops.training.boosting_ranks import held_out_rows
from dataops.training.fitting import Fitting
from dataops.training.groups import row_groups
from dataops.training.lightgbm import LightGbmTrainer
from dataops.training.parts import EncodedPart

TRAINERS = {"xgboost": BoostingTrainer, "lightgbm": LightGbmTrainer}
FEW = {"xgboost": {"rounds": 12, "max_depth": 3}, "lightgbm": {"rounds": 12, "num_leaves": 8}}
EAGER = {
    "xgboost": {"rounds": 150, "learning_rate": 1, "max_depth": 6},
    "lightgbm": {"rounds": 150, "learning_rate": 1, "min_data_in_leaf": 5},
}


@pytest.fixture(params=sorted(TRAINERS))
def name(request):
    return request.param


@pytest.fixture
def fit(name):
    def run(parts, **params):
        return TRAINERS[name]().fit(parts, {**FEW[name], **params}, 7)

    return run


@pytest.fixture(scope="module")
def units(make_part):
    made = [make_part(seed, 500) for seed in range(4)] + [make_part(9, 0), make_part(10, 1)]
    return [
        replace(part, groups=row_groups(f"file {number}", np.arange(part.rows))) for number, part in enumerate(made)
    ]


def rounds_of(fitted):
    model_format, model = fitted
    if model_format == "xgboost-ubj/1":
        return Booster(model_file=bytearray(model)).num_boosted_rounds()
    return lightgbm.Booster(model_str=model.decode()).num_trees()


def losses(fitted, part):
    scores = load_predictor(*fitted).predict(part.encoded).astype(np.float64)
    return -np.log(np.where(part.target == 1, scores, 1 - scores))


def narrow(values, target):
    """A part of numbers alone, and its encoder."""
    values = np.asarray(values, np.float32)
    columns = tuple(NumericColumn(name=f"n{i}", fill=0.0, mean=0.0, scale=1.0) for i in range(values.shape[1]))
    codes = np.zeros((len(values), 0), np.int32)
    part = EncodedPart(encoded=Encoded.of(numeric=values, codes=codes), target=np.asarray(target, np.float32))
    return part, Encoder(numeric=columns, categorical=())


# early stopping


def test_a_fit_ends_where_the_rows_held_out_gain_no_more(cluster, units, place, name):
    fitting, told = Fitting(), []
    parts = replace(place(cluster, units), fitting=replace(fitting, rounds=told.append))
    fitted = TRAINERS[name]().fit(parts, {**EAGER[name], "early_stopping": 5}, 0)
    facts = parts.fitting.facts
    assert rounds_of(fitted) == facts["rounds"] < facts["rounds_trained"] < 150
    assert facts["rounds_trained"] - facts["rounds"] >= 5
    held_out = [held_out_rows(part, 4) for part in units]
    assert facts["held_out_rows"] == sum(int(rows.sum()) for rows in held_out)
    each = np.concatenate([losses(fitted, part)[rows] for part, rows in zip(units, held_out, strict=True)])
    assert facts["held_out_loss"] == pytest.approx(each.mean(), abs=1e-5)
    assert told[-1].done == facts["rounds_trained"]
    assert all(one.held_out for one in told)


def test_a_model_too_large_to_come_with_each_chunk_is_kept_whole(cluster, units, place, name, monkeypatch):
    """It ends by patience between two times at which the model comes: what is registered is the best round all the
    same.
    """
    params = {**EAGER[name], "early_stopping": 5, "learning_rate": 0.1}
    whole = TRAINERS[name]().fit(place(cluster, units), params, 0)
    monkeypatch.setattr(boosting_rounds, "KEPT_BYTES", 20_000)
    monkeypatch.setattr(boosting_rounds, "CHUNK_SECONDS", 0)  # a round at a time
    seen, take = [], boosting_rounds.Trained.take

    def watched(self, told, *, saved):
        seen.append(saved)
        take(self, told, saved=saved)

    monkeypatch.setattr(boosting_rounds.Trained, "take", watched)
    parts = place(cluster, units)
    fitted = TRAINERS[name]().fit(parts, params, 0)
    assert not seen[-1]  # the model didn't come with the last chunk
    assert rounds_of(fitted) == parts.fitting.facts["rounds"]
    assert fitted == whole


def test_rows_held_out_are_never_trained_on(cluster, units, place, fit):
    """Their targets turned round change what is measured, and not one bit of the first round."""
    turned = []
    for part in units:
        rows = held_out_rows(part, 8)
        turned.append(replace(part, target=np.where(rows, 1 - part.target, part.target)))
    params = {"rounds": 1, "early_stopping": 1, "held_out": 0.25}
    first, other = place(cluster, units), place(cluster, turned)
    assert fit(first, **params) == fit(other, **params)
    assert first.fitting.facts["held_out_loss"] < other.fitting.facts["held_out_loss"]


def test_the_same_rows_are_held_out_wherever_a_file_is_cut(make_part):
    part = make_part(0, 200)
    whole = replace(part, groups=row_groups("a file", np.arange(200)))
    cut = [
        replace(
            part,
            encoded=part.encoded.of_rows(slice(start, start + 50)),
            target=part.target[start : start + 50],
            slices={},
            groups=row_groups("a file", np.arange(start, start + 50)),
        )
        for start in range(0, 200, 50)
    ]
    assert (held_out_rows(whole, 4) == np.concatenate([held_out_rows(one, 4) for one in cut])).all()
    assert 5 < held_out_rows(whole, 4).sum() < 60


def test_how_many_rounds_are_trained_at_a_time_changes_no_bit(cluster, units, place, fit, name, monkeypatch):
    drawn = {"xgboost": {"subsample": 0.7}, "lightgbm": {"bagging_fraction": 0.7}}[name]
    params = {"early_stopping": 5, **drawn}
    at_once = fit(place(cluster, units), **params)
    monkeypatch.setattr(boosting_rounds, "CHUNK_SECONDS", 0)
    assert fit(place(cluster, units), **params) == at_once


def test_too_few_rows_to_hold_out_are_refused(cluster, place, make_part, fit):
    part = make_part(0, 12)
    part = replace(part, groups=np.full(12, 31, np.uint8))
    part.target[:6], part.target[6:] = 0, 1
    with pytest.raises(InvalidInput, match="of 12 rows none of weight above 0 is held out for early_stopping"):
        fit(place(cluster, [part]), early_stopping=3)
    part = replace(part, groups=np.where(part.target == 1, 0, 31).astype(np.uint8))
    with pytest.raises(InvalidInput, match="holds 6 rows out for early_stopping, and the other 6 are of one class"):
        fit(place(cluster, [part]), early_stopping=3)


def test_held_out_without_early_stopping_and_classes_weighed_twice_are_refused(name):
    with pytest.raises(InvalidInput, match="held_out: rows are held out for early_stopping, which isn't given"):
        TRAINERS[name]().require_params({"held_out": 0.2})
    with pytest.raises(InvalidInput, match="class_weight and scale_pos_weight both weigh the classes"):
        TRAINERS[name]().require_params({"class_weight": "balanced", "scale_pos_weight": 3})
    with pytest.raises(InvalidInput, match="scale_pos_weight: expected 'balanced' or a number above 0 to 1e"):
        TRAINERS[name]().require_params({"scale_pos_weight": "even"})
    with pytest.raises(InvalidInput, match="class_weight: expected one of balanced, null, found 'even'"):
        TRAINERS[name]().require_params({"class_weight": "even"})


# weights and chance


def test_a_unit_of_weight_is_whatever_it_is(cluster, make_part, place, fit):
    parts = [make_part(seed, 300, weighted=True) for seed in range(2)]
    heavier = [replace(part, weight=part.weight * 1024) for part in parts]
    assert fit(place(cluster, parts)) == fit(place(cluster, heavier))


def test_a_row_of_weight_two_is_two_rows(cluster, make_part, place, name):
    part = make_part(3, 400)
    twice = EncodedPart(
        encoded=Encoded(values=np.repeat(part.encoded.values, 2, axis=0), n_numeric=3, unknown={}),
        target=np.repeat(part.target, 2),
    )
    weighted = replace(part, weight=np.full(400, 2, np.float32))
    # what regularises counts in rows, so it is left out
    none = {"xgboost": {"min_child_weight": 0, "reg_lambda": 0, "max_bin": 1024}}
    none["lightgbm"] = {"min_data_in_leaf": 0, "min_sum_hessian_in_leaf": 0, "max_bin": 1023}
    params = {**FEW[name], **none[name], "rounds": 1, "learning_rate": 0.1}
    one, other = (
        load_predictor(*TRAINERS[name]().fit(place(cluster, [given]), params, 0)) for given in (weighted, twice)
    )
    assert np.abs(one.predict(part.encoded) - other.predict(part.encoded)).mean() < 0.005  # bins differ a little


@pytest.mark.parametrize("balanced", [{"class_weight": "balanced"}, {"scale_pos_weight": "balanced"}])
def test_balanced_classes_count_the_same(cluster, make_part, place, fit, balanced):
    part = make_part(1, 4000)
    rare = np.flatnonzero(part.target == 1)[::10]
    rows = np.sort(np.concatenate([np.flatnonzero(part.target == 0), rare]))
    few = EncodedPart(encoded=part.encoded.of_rows(rows), target=part.target[rows])
    plain, even = (load_predictor(*fit(place(cluster, [few]), **params)) for params in ({}, balanced))
    assert plain.predict(few.encoded).mean() < 0.15
    assert even.predict(few.encoded).mean() > plain.predict(few.encoded).mean() + 0.15


def test_chance_begins_at_the_seed(cluster, units, place, name):
    drawn = {"xgboost": {"subsample": 0.5}, "lightgbm": {"bagging_fraction": 0.5}}[name]
    models = [TRAINERS[name]().fit(place(cluster, units), {**FEW[name], **drawn}, seed) for seed in (1, 1, 2)]
    assert models[0] == models[1] != models[2]


# what is told


def test_rounds_and_the_loss_so_far_are_told(cluster, units, place, name, monkeypatch):
    monkeypatch.setattr(boosting_rounds, "CHUNK_SECONDS", 0)
    told = []
    parts = replace(place(cluster, units), fitting=Fitting(rounds=told.append))
    fitted = TRAINERS[name]().fit(parts, FEW[name], 0)
    assert [(one.done, one.of, one.held_out) for one in told] == [(done, 12, False) for done in range(1, 13)]
    assert parts.fitting.facts == {"rounds": 12}
    each = np.concatenate([losses(fitted, part) for part in units])
    assert told[-1].loss == pytest.approx(each.mean(), abs=1e-5)
    assert told[-1].loss < told[0].loss


def test_nothing_is_told_about_fewer_rows_than_the_policies_show(cluster, units, place, name):
    told = []
    fitting = Fitting(rounds=told.append, least=1000)
    parts = replace(place(cluster, units), fitting=fitting)
    TRAINERS[name]().fit(parts, {**FEW[name], "early_stopping": 3}, 0)
    assert fitting.facts.keys() == {"rounds", "rounds_trained"}
    assert told
    assert all(one.loss is None and one.losses == () for one in told)


def test_who_listens_may_end_it(cluster, units, place, name):
    def end(told):
        raise Compute("the run takes too long")

    with pytest.raises(Compute, match="the run takes too long"):
        TRAINERS[name]().fit(replace(place(cluster, units), fitting=Fitting(rounds=end)), FEW[name], 0)


# rows that are hard to train on


def test_one_class_no_rows_one_row_and_infinite_values_are_refused(cluster, make_part, place, fit):
    one_class = make_part(0, 30)
    one_class.target[:] = 0
    with pytest.raises(InvalidInput, match=r"one class only \(0 positive and 30 negative"):
        fit(place(cluster, [one_class]))
    with pytest.raises(InvalidInput, match="there are no rows"):
        fit(place(cluster, [make_part(0, 0), make_part(0, 0)]))
    with pytest.raises(InvalidInput, match="the target has one class only"):
        fit(place(cluster, [make_part(0, 1)]))
    infinite = make_part(0, 30)
    infinite.encoded.values[3, 1] = np.inf
    with pytest.raises(InvalidInput, match="feature 'wage' is infinite or not a number in 1 of 30 rows"):
        fit(place(cluster, [infinite]))


def test_two_rows_on_two_workers_make_a_model(cluster, place, fit):
    rows = [narrow([[value, 1.0]], [value]) for value in (0.0, 1.0)]
    parts = replace(place(cluster, [part for part, _ in rows], workers=[0, 1]), encoder=rows[0][1])
    scores = load_predictor(*fit(parts)).predict(rows[0][0].encoded)
    assert np.isfinite(scores).all()


def test_more_workers_than_rows_do(cluster, place, fit):
    part, encoder = narrow([[0.0], [1.0]], [0.0, 1.0])
    empty, _ = narrow(np.zeros((0, 1)), [])
    parts = replace(place(cluster, [part, empty, empty]), encoder=encoder)
    assert np.isfinite(load_predictor(*fit(parts)).predict(part.encoded)).all()


def test_a_constant_column_and_one_that_was_all_null_are_never_split(cluster, make_part, place, fit, name):
    part = make_part(2, 1500)
    part.encoded.values[:, 0] = 3.5  # what was null everywhere is one number everywhere, once it is filled
    part.encoded.values[:, 1] = 0.0
    _, model = fit(place(cluster, [part]))
    if name == "xgboost":
        used = Booster(model_file=bytearray(model)).get_score(importance_type="weight")
        assert used
        assert not {"f0", "f1"} & set(used)
    else:
        used = lightgbm.Booster(model_str=model.decode()).feature_importance()
        assert used[:2].tolist() == [0, 0]
        assert used.sum() > 0


def test_constant_columns_alone_give_the_base_rate(cluster, place, fit):
    part, encoder = narrow(np.ones((400, 2)), np.arange(400) % 4 == 0)
    fitted = fit(replace(place(cluster, [part]), encoder=encoder))
    assert load_predictor(*fitted).predict(part.encoded) == pytest.approx(np.full(400, 0.25), abs=0.02)


def test_a_thousand_columns_are_trained_on(cluster, place, name):
    random = np.random.default_rng(0)
    values = random.standard_normal((600, 1000))
    made = [narrow(values[rows], values[rows, 700] > 0) for rows in (slice(0, 300), slice(300, 600))]
    parts = replace(place(cluster, [part for part, _ in made], workers=[0, 1]), encoder=made[0][1])
    fitted = TRAINERS[name]().fit(parts, {**FEW[name], "rounds": 3}, 0)
    scores = load_predictor(*fitted).predict(made[0][0].encoded)
    assert ((scores > 0.5) == (made[0][0].target == 1)).mean() > 0.97
