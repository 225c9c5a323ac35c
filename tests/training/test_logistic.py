from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from distributed import Client, LocalCluster
from sklearn.linear_model import LogisticRegression

from dataops.errors import InvalidInput
from dataops.features.encoder import Encoded, Encoder, NumericColumn
from dataops.models.predictor import load_predictor
from dataops.training import linear, linear_passes
from dataops.training.fitting import Fitting
from dataops.training.linear_layout import Layout
from dataops.training.logistic import LogisticTrainer, fit_logistic
from dataops.training.parts import EncodedPart


def stack(parts) -> EncodedPart:
    weights = [part.weight for part in parts]
    return EncodedPart(
        encoded=Encoded.of(
            numeric=np.concatenate([part.encoded.numeric for part in parts]),
            codes=np.concatenate([part.encoded.codes for part in parts]),
        ),
        target=np.concatenate([part.target for part in parts]),
        weight=None if weights[0] is None else np.concatenate(weights),
    )


def one_hot(part: EncodedPart, layout: Layout) -> np.ndarray:
    columns = [np.eye(size)[part.encoded.codes[:, i]] for i, size in enumerate(layout.sizes)]
    return np.hstack([part.encoded.numeric.astype(np.float64), *columns])


def objective(coefficients: np.ndarray, rows: EncodedPart, layout: Layout, *, l2: float, l1: float = 0.0) -> float:
    """As scikit-learn would say it, made of dense columns."""
    margin = coefficients[0] + one_hot(rows, layout) @ coefficients[1:]
    weight = np.ones(rows.rows) if rows.weight is None else rows.weight.astype(np.float64)
    loss = float(weight @ (np.logaddexp(0, margin) - rows.target * margin))
    return loss + l2 / 2 * float(coefficients[1:] @ coefficients[1:]) + l1 * float(np.abs(coefficients[1:]).sum())


def vector(model) -> np.ndarray:
    return np.concatenate([[model.intercept], model.numeric, *model.categorical])


@pytest.fixture(scope="module")
def units(make_part):
    return [make_part(seed, 700) for seed in range(4)] + [make_part(9, 0), make_part(10, 1)]


@pytest.mark.parametrize(("l2", "weighted"), [(1.0, False), (0.01, True), (50.0, True)])
def test_the_loss_is_that_of_scikit_learn_on_one_hot_columns(cluster, make_part, place, encoder, l2, weighted):
    parts = [make_part(seed, 500, weighted=weighted) for seed in range(3)]
    rows, layout = stack(parts), Layout.of(encoder)
    fitted = fit_logistic(place(cluster, parts), {"l2": l2, "tol": 1e-8})

    dense = one_hot(rows, layout)
    spread = np.r_[dense[:, :3].std(axis=0), np.ones(dense.shape[1] - 3)]  # scikit-learn's search needs it, ours not
    reference = LogisticRegression(C=1 / l2, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    reference.fit(dense, rows.target, sample_weight=rows.weight)
    theirs = np.r_[reference.intercept_, reference.coef_[0]]
    expected = objective(theirs, rows, layout, l2=l2)

    assert fitted.converged
    assert objective(vector(fitted.model), rows, layout, l2=l2) == pytest.approx(expected, rel=1e-9)
    assert fitted.loss == pytest.approx(expected, rel=1e-9)
    assert np.abs((vector(fitted.model)[1:] - theirs[1:]) * spread).max() < 1e-6


@pytest.mark.parametrize(("l1", "l2"), [(5.0, 1.0), (40.0, 0.0)])
@pytest.mark.parametrize("few", [True, False])
def test_an_elastic_net_reaches_the_objective_of_scikit_learn_s_saga(
    cluster, make_part, place, encoder, monkeypatch, l1, l2, few
):
    if not few:
        monkeypatch.setattr(linear, "MOST_COEFFICIENTS", 0)
    part, layout = make_part(1, 1500, weighted=True), Layout.of(encoder)
    numeric = part.encoded.numeric
    numeric[:] = (numeric - numeric.mean(axis=0)) / numeric.std(axis=0)  # saga needs it
    fitted = fit_logistic(place(cluster, [part]), {"l1": l1, "l2": l2, "tol": 1e-7, "max_iter": 1000})

    reference = LogisticRegression(C=1 / (l1 + l2), l1_ratio=l1 / (l1 + l2), solver="saga", tol=1e-7, max_iter=20_000)
    reference.fit(one_hot(part, layout), part.target, sample_weight=part.weight)
    theirs = objective(np.r_[reference.intercept_, reference.coef_[0]], part, layout, l1=l1, l2=l2)
    ours = objective(vector(fitted.model), part, layout, l1=l1, l2=l2)
    assert fitted.converged
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert ours <= theirs * (1 + 1e-9)
    assert fitted.loss == pytest.approx(ours, rel=1e-9)
    if few:
        left_out = vector(fitted.model)[1:] == 0
        assert left_out.sum() >= 5
        assert np.abs(reference.coef_[0][left_out]).max() < 1e-3


@pytest.mark.parametrize("weighted", [False, True])
def test_balanced_classes_are_those_of_scikit_learn(cluster, make_part, place, encoder, weighted):
    parts = [make_part(seed, 400, weighted=weighted) for seed in range(2)]
    rows, layout = stack(parts), Layout.of(encoder)
    fitted = fit_logistic(place(cluster, parts), {"class_weight": "balanced"})
    reference = LogisticRegression(class_weight="balanced", solver="newton-cholesky", tol=1e-12)
    reference.fit(one_hot(rows, layout), rows.target, sample_weight=rows.weight)
    assert fitted.model.intercept == pytest.approx(reference.intercept_[0], rel=1e-5)
    assert vector(fitted.model)[1:] == pytest.approx(reference.coef_[0], abs=1e-5)


def test_a_start_on_a_sample_ends_where_a_start_on_all_rows_does(cluster, make_part, place, monkeypatch):
    parts = place(cluster, [make_part(seed, 4000) for seed in range(3)])
    expected = fit_logistic(parts, {})
    for name, few in {"SAMPLE_ROWS": 3000, "SAMPLE_ROWS_A_COEFFICIENT": 5, "SAMPLE_ROWS_OF_A_CLASS": 50}.items():
        monkeypatch.setattr(linear, name, few)
    sampled = []
    sample_parts = linear.sample_parts
    monkeypatch.setattr(linear, "sample_parts", lambda *given: sampled.append(given) or sample_parts(*given))
    found = fit_logistic(parts, {})
    assert len(sampled) == 1
    assert found.evaluations < expected.evaluations
    assert found.loss == pytest.approx(expected.loss, rel=1e-11)
    assert vector(found.model) == pytest.approx(vector(expected.model), rel=1e-6, abs=1e-8)


def test_without_the_curvature_the_same_model_is_found(cluster, units, place, monkeypatch):
    parts = place(cluster, units)
    expected = fit_logistic(parts, {})
    monkeypatch.setattr(linear, "MOST_COLUMNS", 0)
    found = fit_logistic(parts, {"tol": 1e-9})
    assert found.loss == pytest.approx(expected.loss, rel=1e-9)
    assert vector(found.model) == pytest.approx(vector(expected.model), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("few", [True, False])
def test_the_order_of_units_changes_no_bit(cluster, units, place, monkeypatch, few):
    if not few:
        monkeypatch.setattr(linear, "MOST_COEFFICIENTS", 0)
    expected = fit_logistic(place(cluster, units), {}).model
    assert fit_logistic(place(cluster, [units[unit] for unit in (3, 5, 0, 2, 4, 1)]), {}).model == expected


def test_coefficients_are_bit_equal_for_any_placement_and_number_of_workers(cluster, units, place):
    spread = fit_logistic(place(cluster, units, workers=[0, 1, 0, 1, 0, 1]), {}).model
    lopsided = fit_logistic(place(cluster, units, workers=[1] * 6), {}).model
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as single,
        Client(single, set_as_default=False) as client,
    ):
        alone = fit_logistic(place(client, units), {}).model
    assert spread.to_bytes() == lopsided.to_bytes() == alone.to_bytes()


def test_another_split_of_the_rows_gives_the_same_coefficients_to_1e_6(cluster, units, place):
    split = fit_logistic(place(cluster, units), {"tol": 1e-8}).model
    whole = fit_logistic(place(cluster, [stack(units)]), {"tol": 1e-8}).model
    for ours, theirs in [(split.numeric, whole.numeric), *zip(split.categorical, whole.categorical, strict=True)]:
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def test_the_trained_bytes_load_and_predict(cluster, units, place):
    model_format, model = LogisticTrainer().fit(place(cluster, units), {}, seed=0)
    scores = load_predictor(model_format, model).predict(units[0].encoded)
    positive = units[0].target == 1
    assert model_format == "linear-json/1"
    assert scores[positive].mean() > scores[~positive].mean() + 0.1


def test_a_code_that_no_row_has_gets_no_weight(cluster, make_part, place):
    part = make_part(0, 400)
    seen = EncodedPart(
        encoded=Encoded.of(numeric=part.encoded.numeric, codes=np.maximum(part.encoded.codes, 1)),
        target=part.target,
    )
    model = fit_logistic(place(cluster, [seen]), {"l2": 0.0, "max_iter": 30}).model
    assert [coefficients[0] for coefficients in model.categorical] == [0.0, 0.0]


def test_a_constant_column_gets_no_weight(cluster, make_part, place):
    part = make_part(0, 400)
    part.encoded.numeric[:, 1] = 7.0
    assert fit_logistic(place(cluster, [part]), {"tol": 1e-8}).model.numeric[1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("few", [True, False])
def test_rows_that_can_be_told_apart_perfectly_give_finite_weights(cluster, make_part, place, monkeypatch, few):
    if not few:
        monkeypatch.setattr(linear, "MOST_COEFFICIENTS", 0)
    part = make_part(0, 300)
    part.target[:] = part.encoded.numeric[:, 0] > 40
    free = fit_logistic(place(cluster, [part]), {"l2": 0.0})
    held = fit_logistic(place(cluster, [part]), {"l2": 1e-3})
    assert np.isfinite(vector(free.model)).all()
    assert free.loss < held.loss
    chance = free.model.predict(part.encoded)
    assert (chance[part.target == 1] > 0.5).all()
    assert (chance[part.target == 0] < 0.5).all()


def test_a_thousand_columns_are_fitted(cluster, place):
    random = np.random.default_rng(0)
    numeric = random.standard_normal((600, 1000)).astype(np.float32)
    numeric[:, 17] = 0  # nothing was known of it
    target = (numeric[:, :5].sum(axis=1) > 0).astype(np.float32)
    columns = tuple(NumericColumn(name=f"x{i}", fill=0.0, mean=0.0, scale=1.0) for i in range(1000))
    part = EncodedPart(encoded=Encoded.of(numeric=numeric, codes=np.zeros((600, 0), np.int32)), target=target)
    wide = replace(place(cluster, [part]), encoder=Encoder(numeric=columns, categorical=()))
    fitted = fit_logistic(wide, {"tol": 1e-7})
    exact = numeric.astype(np.float64)
    reference = LogisticRegression(tol=1e-8, max_iter=1000).fit(exact, target)
    margin = reference.decision_function(exact)
    expected = (np.logaddexp(0, margin) - target * margin).sum() + (reference.coef_**2).sum() / 2
    assert fitted.converged
    assert fitted.loss == pytest.approx(expected, rel=1e-6)
    assert fitted.model.numeric[17] == 0.0


def test_huge_unscaled_numbers_are_fitted(cluster, make_part, place):
    part = make_part(0, 400)
    moved = make_part(0, 400)
    moved.encoded.numeric[:, 1] *= 1e15
    moved.encoded.numeric[:, 0] += 1e4
    expected = fit_logistic(place(cluster, [part]), {"l2": 0.0})
    fitted = fit_logistic(place(cluster, [moved]), {"l2": 0.0})
    assert fitted.loss == pytest.approx(expected.loss, rel=1e-3)
    assert fitted.model.numeric[1] * 1e15 == pytest.approx(expected.model.numeric[1], rel=1e-2)


def test_one_row_of_each_class_is_enough(cluster, make_part, place):
    part = make_part(0, 2)
    part.target[:] = [0, 1]
    fitted = fit_logistic(place(cluster, [part]), {})
    low, high = fitted.model.predict(part.encoded)
    assert low < 0.5 < high


def test_one_row_is_refused(cluster, make_part, place):
    with pytest.raises(InvalidInput, match="one class only"):
        fit_logistic(place(cluster, [make_part(0, 1)]), {})


def test_one_class_only_is_refused_with_counts(cluster, make_part, place):
    part = make_part(0, 30)
    part.target[:] = 1
    with pytest.raises(InvalidInput, match=r"one class only \(30 positive and 0 negative"):
        fit_logistic(place(cluster, [part]), {})


def test_no_rows_are_refused(cluster, make_part, place):
    with pytest.raises(InvalidInput, match="there are no rows"):
        fit_logistic(place(cluster, [make_part(0, 0)]), {})


def test_infinite_features_are_refused_by_name(cluster, make_part, place):
    part = make_part(0, 30)
    part.encoded.numeric[3, 2] = np.inf
    with pytest.raises(InvalidInput, match="feature 'hours' is infinite or not a number in 1 of 30 rows"):
        fit_logistic(place(cluster, [part]), {})


def test_a_search_that_is_cut_short_says_so(cluster, units, place):
    said: list[str] = []
    parts = replace(place(cluster, units), fitting=Fitting(say=said.append))
    LogisticTrainer().fit(parts, {"max_iter": 1}, seed=0)
    assert said == ["  logistic: not converged after 1 iterations; raise max_iter or tol"]
    assert parts.fitting.facts == {"passes": 2, "converged": False}


def test_wrong_parameters_are_said_at_once():
    with pytest.raises(InvalidInput) as refused:
        LogisticTrainer().require_params(
            {"max_itr": 1, "max_iter": 0, "tol": True, "l2": -1, "class_weight": "balance", "l1": "many"}
        )
    message = str(refused.value)
    assert "unknown parameter 'max_itr'. Did you mean 'max_iter'?" in message
    assert "max_iter: expected a whole number from 1" in message
    assert "tol: expected a number above 0 to 1, found True" in message
    assert "l2: expected a number from 0" in message
    assert "l1: expected a number from 0" in message
    assert "class_weight: expected one of balanced, null, found 'balance'" in message


def test_a_worker_killed_during_the_fit_changes_nothing(mortal_cluster, units, place, monkeypatch):
    calls = []

    def kill_at_the_fourth_pass(*given):
        calls.append(given)
        if len(calls) == 4:
            os.kill(next(iter(pids.values())), signal.SIGKILL)
        return map_groups(*given)

    map_groups = linear_passes.map_groups
    undisturbed = fit_logistic(place(mortal_cluster, units, workers=[0, 1, 0, 1, 0, 1]), {}).model
    parts = place(mortal_cluster, units, workers=[0, 1, 0, 1, 0, 1])
    pids = mortal_cluster.run(os.getpid)
    monkeypatch.setattr(linear_passes, "map_groups", kill_at_the_fourth_pass)
    disturbed = fit_logistic(parts, {}).model
    assert mortal_cluster.run(os.getpid) != pids
    assert disturbed.to_bytes() == undisturbed.to_bytes()
