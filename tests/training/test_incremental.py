"""Estimators that learn from one part of the rows after another."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

pytest.importorskip("skops.io", reason="the extra skops isn't installed")

from sklearn.linear_model import SGDClassifier
from sklearn.metrics import roc_auc_score

from dataops.errors import Compute, InvalidInput
from dataops.features.encoder import Encoded, Encoder, NumericColumn
from dataops.models.predictor import SKLEARN, load_predictor
from dataops.training import incremental
from dataops.training.fitting import Fitting
from dataops.training.incremental import BATCH_ROWS, IncrementalTrainer, fit_incremental
from dataops.training.parts import EncodedPart, PartsOnCluster
from dataops.training.scaling import spread_of, spread_of_parts
from dataops.training.spilled import spill_part

DESCENT = {"estimator": "sgd", "epochs": 2}
NETWORK = {"estimator": "mlp", "epochs": 2, "hidden_layer_sizes": [6], "learning_rate_init": 0.01}
ROWS = (900, 0, 1400, 1, 700)


@pytest.fixture(scope="module")
def units(make_part):
    return [make_part(seed, rows, weighted=True) for seed, rows in enumerate(ROWS)]


def fit(parts: PartsOnCluster, params: dict, seed: int = 3) -> bytes:
    model_format, data = IncrementalTrainer().fit(parts, params, seed)
    assert model_format == SKLEARN
    return data


def plain(columns: np.ndarray, target: np.ndarray) -> tuple[EncodedPart, Encoder]:
    """Numbers alone."""
    names = [f"n{number}" for number in range(columns.shape[1])]
    encoded = Encoded.of(columns.astype(np.float32), np.empty((len(columns), 0), np.int32))
    encoder = Encoder(
        numeric=tuple(NumericColumn(name=name, fill=0.0, mean=0.0, scale=1.0) for name in names), categorical=()
    )
    return EncodedPart(encoded=encoded, target=target.astype(np.float32)), encoder


def put(client, units: list[EncodedPart], encoder: Encoder) -> PartsOnCluster:
    futures = tuple(client.submit(lambda given: given, part, pure=False) for part in units)
    return PartsOnCluster(client=client, futures=futures, rows=tuple(part.rows for part in units), encoder=encoder)


@pytest.mark.parametrize(
    "params", [DESCENT | {"average": True, "class_weight": "balanced"}, NETWORK], ids=["descent", "network"]
)
def test_the_same_bytes_wherever_parts_lie(mortal_cluster, units, place, params):
    spread = fit(place(mortal_cluster, units, workers=[0, 1, 1, 0, 1]), params)
    together = fit(place(mortal_cluster, units, workers=[1] * 5), params)
    assert spread == together
    assert fit(place(mortal_cluster, units, workers=[1] * 5), params, seed=4) != together


def test_it_learns_what_scikit_learn_learns_from_the_same_rows(cluster, units, place):
    fitted = fit_incremental(place(cluster, units), DESCENT | {"scale": False, "alpha": 0.01}, 3)
    model = SGDClassifier(loss="log_loss", alpha=0.01, shuffle=False, random_state=3)
    for epoch in range(2):
        for unit, part in enumerate(units):
            order = np.random.default_rng([3, epoch, unit]).permutation(part.rows)
            order = order[part.weight[order] > 0]
            if len(order):
                rows, target = part.encoded.values[order].astype(np.float64), part.target[order]
                weight = part.weight[order].astype(np.float64)
                model.partial_fit(rows, target, classes=[0, 1], sample_weight=weight)
    assert fitted.coef_ == pytest.approx(model.coef_, rel=1e-12)
    assert fitted.intercept_ == pytest.approx(model.intercept_, rel=1e-12)


def test_batches_of_a_unit_are_learnt_from_one_after_another(cluster, make_part, place, monkeypatch):
    part = make_part(1, 3000)
    assert part.rows < BATCH_ROWS
    learning = incremental.Learning(seed=0, factors=(1.0, 1.0), spread=None)
    whole = list(incremental.batches(part, learning, (0, 0)))
    monkeypatch.setattr(incremental, "BATCH_ROWS", 1000)
    cut = list(incremental.batches(part, learning, (0, 0)))
    assert [len(target) for _, target, _ in cut] == [1000] * 3
    assert (np.concatenate([values for values, _, _ in cut]) == whole[0][0]).all()
    assert sorted(whole[0][0][:, 1]) == sorted(part.encoded.values[:, 1])


@pytest.mark.parametrize("params", [DESCENT, NETWORK], ids=["descent", "network"])
def test_a_worker_killed_during_the_fit_changes_nothing(mortal_cluster, units, place, monkeypatch, params):
    calls = []

    def kill_at_the_second_look(*given, **more):
        if more["what"] == "learn":
            calls.append(given)
            if len(calls) == 2:
                os.kill(next(iter(pids.values())), signal.SIGKILL)
        return gather(*given, **more)

    gather = incremental.gather
    monkeypatch.setattr(incremental, "STEPS_AT_A_TIME", 2)
    undisturbed = fit(place(mortal_cluster, units, workers=[0, 1, 0, 1, 0]), params)
    parts = place(mortal_cluster, units, workers=[0, 1, 0, 1, 0])
    pids = mortal_cluster.run(os.getpid)
    monkeypatch.setattr(incremental, "gather", kill_at_the_second_look)
    disturbed = fit(parts, params)
    assert len(calls) == 4
    assert mortal_cluster.run(os.getpid) != pids
    assert disturbed == undisturbed


def test_a_step_leaves_the_model_that_it_got_as_it_was(units):
    learning = incremental.Learning(seed=0, factors=(1.0, 1.0), spread=None)
    empty = incremental.Learnt(model=SGDClassifier(loss="log_loss", shuffle=False, random_state=0))
    first = incremental.learn_part(empty, units[0], learning, (0, 0))
    before = first.model.coef_.copy()
    again = [incremental.learn_part(first, units[2], learning, (0, 2)).model.coef_ for _ in range(2)]
    assert not hasattr(empty.model, "coef_")
    assert (first.model.coef_ == before).all()
    assert (again[0] == again[1]).all()
    assert (again[0] != before).any()


def test_parts_on_disk_give_the_same_bytes(cluster, units, place, tmp_path):
    spilled = [spill_part(part, str(tmp_path)) for part in units]
    futures = tuple(cluster.submit(lambda given: given, part, pure=False) for part in spilled)
    held = place(cluster, units)
    on_disk = PartsOnCluster(client=cluster, futures=futures, rows=held.rows, encoder=held.encoder)
    assert fit(on_disk, DESCENT) == fit(held, DESCENT)


def test_rows_of_weight_0_teach_nothing(cluster, units, place):
    def disturbed(part: EncodedPart) -> EncodedPart:
        without = part.weight == 0
        values = part.encoded.values.copy()
        return EncodedPart(
            encoded=Encoded(values=values, n_numeric=3, unknown={}),
            target=np.where(without, 1 - part.target, part.target).astype(np.float32),
            weight=part.weight,
        )

    assert fit(place(cluster, [disturbed(part) for part in units]), NETWORK) == fit(place(cluster, units), NETWORK)


def test_what_it_learns_tells_rows_apart_and_is_told(cluster, make_part, place):
    told = []
    fitting = Fitting(rounds=told.append)
    parts = place(cluster, [make_part(seed, 2000) for seed in range(3)])
    given = PartsOnCluster(
        client=cluster, futures=parts.futures, rows=parts.rows, encoder=parts.encoder, fitting=fitting
    )
    held_out = make_part(9, 2000)
    model = load_predictor(SKLEARN, fit(given, DESCENT | {"epochs": 3, "alpha": 0.01}))
    # 0.75 is what the rows hold
    assert roc_auc_score(held_out.target, model.predict(held_out.encoded)) > 0.7
    assert [rounds.done for rounds in told] == [1, 2, 3]
    assert fitting.facts["losses"] == [rounds.loss for rounds in told]
    assert told[-1].loss < np.log(2)


def test_scaling_is_that_of_scikit_learn(cluster, units, place):
    rows = np.concatenate([part.encoded.values for part in units]).astype(np.float64)
    rows[:, 2] = 0
    for spread, expected in (
        (spread_of_parts(place(cluster, units)), np.concatenate([part.encoded.values for part in units])),
        (spread_of(rows), rows),
    ):
        assert spread.mean == pytest.approx(expected.mean(axis=0, dtype=np.float64), rel=1e-12)
        deviation = expected.std(axis=0, dtype=np.float64)
        assert spread.scale == pytest.approx(np.where(deviation == 0, 1, deviation), rel=1e-9)
        assert spread.scaler().transform(expected).mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-5)


def test_a_constant_column_and_a_thousand_columns_are_learnt_from(cluster):
    random = np.random.default_rng(0)
    wide = random.standard_normal((600, 1000))
    wide[:, 5] = 7.25
    part, encoder = plain(wide, wide[:, 0] > 0)
    model = load_predictor(SKLEARN, fit(put(cluster, [part], encoder), DESCENT))
    assert roc_auc_score(part.target, model.predict(part.encoded)) > 0.9
    assert model.estimator["model"].coef_[0, 5] == 0


def test_rows_that_cannot_be_trained_on_are_refused(cluster):
    numbers = np.ones((4, 2))
    for rows, words in ((0, "there are no rows"), (1, "one class only"), (4, "one class only")):
        part, encoder = plain(numbers[:rows], np.ones(rows))
        with pytest.raises(InvalidInput, match=words):
            fit(put(cluster, [part], encoder), DESCENT)
    with pytest.raises(InvalidInput, match="there are no rows"):
        fit(put(cluster, [], encoder), DESCENT)
    two, encoder = plain(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([0.0, 1.0]))
    assert load_predictor(SKLEARN, fit(put(cluster, [two], encoder), NETWORK)).predict(two.encoded).shape == (2,)


class _Overflowing:
    def partial_fit(self, *_given, **_more):
        raise ValueError("Floating-point under-/overflow occurred at epoch #1.")


class _Wild:
    coef_ = np.array([[1.0, np.nan]])

    def partial_fit(self, *_given, **_more):
        return self


@pytest.mark.parametrize("model", [_Overflowing(), _Wild()])
def test_a_fit_that_leaves_the_range_of_numbers_says_so(units, model):
    learning = incremental.Learning(seed=0, factors=(1.0, 1.0), spread=None)
    with pytest.raises(Compute, match="left the range of numbers; lower the learning rate"):
        incremental.learn_part(incremental.Learnt(model=model), units[0], learning, (0, 0))


@pytest.mark.parametrize(
    ("said", "family", "words"),
    [
        ("Input X contains infinity or a value too large", Compute, "left the range of numbers"),
        ("The least populated class in y has only 1 member: 4711", InvalidInput, "too few rows of a class"),
        ("loss 4711 isn't one", Compute, "refused to fit these rows with these parameters"),
    ],
)
def test_what_scikit_learn_refuses_is_told_by_its_cause_and_without_its_values(units, said, family, words):
    class Refusing:
        def partial_fit(self, *_given, **_more):
            raise ValueError(said)

    learning = incremental.Learning(seed=0, factors=(1.0, 1.0), spread=None)
    with pytest.raises(family, match=words) as refused:
        incremental.learn_part(incremental.Learnt(model=Refusing()), units[0], learning, (0, 0))
    assert "4711" not in str(refused.value)
    assert not refused.value.may_pass


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "estimator: expected one of sgd, mlp, found None"),
        ({"estimator": "random_forest"}, "there is no estimator 'random_forest'"),
        ({"estimator": "sgd", "loss": "hinge"}, "loss: expected one of log_loss, modified_huber, found 'hinge'"),
        ({"estimator": "mlp", "epochs": 0, "max_iter": 5}, "unknown parameter 'max_iter'.*; epochs: expected a whole"),
        ({"estimator": "mlp", "hidden_layer_sizes": [0]}, "a list of 1 to 8 whole numbers"),
    ],
)
def test_wrong_parameters_are_refused(params, words):
    with pytest.raises(InvalidInput, match=words):
        IncrementalTrainer().require_params(params)


def test_without_skops_nothing_is_begun(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skops.io", None)
    with pytest.raises(Compute, match=r"install dataops\[skops\]"):
        IncrementalTrainer().require_params(DESCENT)
