"""Estimators that are fitted on a sample of the rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("skops.io", reason="the extra skops isn't installed")

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from dataops.errors import Compute, InvalidInput
from dataops.features.encoder import Encoded
from dataops.models.predictor import SKLEARN, load_predictor
from dataops.training import sampled
from dataops.training.groups import row_groups, row_ranks
from dataops.training.parts import EncodedPart
from dataops.training.sampled import SampleFit, SampleTrainer, fit_rows, limit_of
from dataops.training.sampled_room import Place, need_of_sample, require_sample_fits, roomiest
from dataops.training.sklearn_estimators import ON_A_SAMPLE, parse_estimator

FEW = {"random_forest": {"n_estimators": 4}, "extra_trees": {"n_estimators": 4}, "mlp": {"max_iter": 4}}
FEW |= {"hist_gradient_boosting": {"max_iter": 5}}
ROOMY = Place(worker="w", limit=4 * 10**9, used=0, threads=2)


@pytest.fixture(scope="module")
def whole(make_part) -> EncodedPart:
    part = make_part(1, 4000, weighted=True)
    return replace(part, ranks=row_ranks("a file", np.arange(4000)), slices={})


def cut(whole: EncodedPart, *places: int) -> list[EncodedPart]:
    return [
        EncodedPart(
            encoded=whole.encoded.of_rows(np.arange(start, stop)),
            target=whole.target[start:stop],
            weight=whole.weight[start:stop],
            ranks=whole.ranks[start:stop],
        )
        for start, stop in zip((0, *places), (*places, whole.rows), strict=True)
    ]


def need(params: dict, *, rows: int = 100_000, columns: int = 10, place: Place = ROOMY):
    return need_of_sample(*parse_estimator("sklearn", params, ON_A_SAMPLE, {}), rows=rows, columns=columns, place=place)


@pytest.mark.parametrize("rows", [1, 7, 500, 3999, 4000, 9000])
def test_the_sample_is_of_the_rows_of_least_rank_however_they_are_cut(cluster, whole, place, rows):
    expected = np.sort(whole.ranks)[: min(rows, 4000)]
    for places in ((), (0, 100, 100, 3500)):
        units = cut(whole, *places)
        limit = limit_of(place(cluster, units), rows)
        chosen = np.concatenate([part.ranks[part.ranks < limit] for part in units])
        assert sorted(chosen) == expected.tolist()


def test_a_rank_says_nothing_of_the_group():
    places = np.arange(200_000)
    groups, ranks = row_groups("f", places), row_ranks("f", places)
    least = ranks < 2**28
    assert least.sum() == pytest.approx(200_000 / 16, rel=0.05)
    shares = np.bincount(groups[least], minlength=32) / np.bincount(groups, minlength=32)
    assert shares == pytest.approx(np.full(32, 1 / 16), rel=0.25)
    assert len(np.unique(ranks)) > 199_900


@pytest.mark.parametrize("name", sorted(ON_A_SAMPLE))
def test_each_estimator_gives_the_same_bytes_for_any_placement_and_cut(mortal_cluster, whole, place, name):
    params = {"estimator": name, "rows": 800, **FEW.get(name, {})}
    one = SampleTrainer().fit(place(mortal_cluster, cut(whole, 2000), workers=[0, 1]), params, 5)
    other = SampleTrainer().fit(place(mortal_cluster, cut(whole, 0, 50, 3000), workers=[1, 1, 0, 0]), params, 5)
    assert one == other
    assert one[0] == SKLEARN
    assert roc_auc_score(whole.target, load_predictor(*one).predict(whole.encoded)) > 0.6


@pytest.mark.parametrize("name", ["hist_gradient_boosting", "random_forest", "extra_trees"])
def test_threads_change_nothing(whole, encoder, name):
    params = {"estimator": name, **FEW[name]}
    fits = [fit_rows([whole], SampleFit(params=params, seed=1, encoder=encoder, threads=n)) for n in (1, 2)]
    assert fits[0] == fits[1]


def test_it_is_scikit_learns_own_fit(cluster, whole, place):
    parts = place(cluster, cut(whole, 1500))
    params = {"estimator": "hist_gradient_boosting", "rows": 5000, "max_iter": 10, "max_leaf_nodes": 8}
    fitted = load_predictor(*SampleTrainer().fit(parts, params, 2))
    kept = whole.weight > 0
    expected = HistGradientBoostingClassifier(max_iter=10, max_leaf_nodes=8, early_stopping=False, random_state=2)
    expected.fit(whole.encoded.values[kept], whole.target[kept], sample_weight=whole.weight[kept])
    assert fitted.predict(whole.encoded) == pytest.approx(expected.predict_proba(whole.encoded.values)[:, 1], abs=1e-6)
    assert parts.fitting.facts == {
        "estimator": "hist_gradient_boosting",
        "rows": int(kept.sum()),
        "of": 4000,
        "converged": True,
    }


def test_classes_are_balanced_on_the_sample(whole, encoder):
    rare = np.flatnonzero(whole.target == 1)[:60]
    common = np.flatnonzero(whole.target == 0)[:1000]
    rows = np.sort(np.concatenate([rare, common]))
    few = EncodedPart(encoded=whole.encoded.of_rows(rows), target=whole.target[rows])
    means = {}
    for weight in (None, "balanced"):
        params = {"estimator": "logistic_regression", "class_weight": weight}
        data, facts = fit_rows([few], SampleFit(params=params, seed=0, encoder=encoder, threads=1))
        assert facts["converged"]
        means[weight] = load_predictor(SKLEARN, data).predict(few.encoded).mean()
    assert means[None] == pytest.approx(60 / 1060, abs=0.01)
    assert means["balanced"] > 0.2


def test_monotone_constraints_are_kept(whole, encoder):
    params = {"estimator": "hist_gradient_boosting", "max_iter": 20, "monotone_constraints": {"age": -1}}
    data, _ = fit_rows([whole], SampleFit(params=params, seed=0, encoder=encoder, threads=1))
    rows = np.repeat(whole.encoded.values[:1], 50, axis=0)
    rows[:, 0] = np.linspace(0, 90, 50)
    scores = load_predictor(SKLEARN, data).predict(Encoded(values=rows, n_numeric=3, unknown={}))
    assert (np.diff(scores) <= 0).all()


def test_a_sample_of_one_class_is_refused(cluster, whole, place):
    with pytest.raises(InvalidInput, match=r"the sample of . rows has one class only; raise `rows`"):
        SampleTrainer().fit(place(cluster, [whole]), {"estimator": "decision_tree", "rows": 1}, 0)


def test_empty_units_and_few_rows_are_fitted_on(cluster, whole, place):
    first, second = (np.flatnonzero((whole.target == target) & (whole.weight > 0))[:1] for target in (0, 1))
    empty = cut(whole, 0)[0]
    assert empty.rows == 0
    pair = [
        EncodedPart(encoded=whole.encoded.of_rows(row), target=whole.target[row], weight=whole.weight[row])
        for row in (first, second)
    ]
    for name in ("hist_gradient_boosting", "decision_tree", "logistic_regression", "mlp"):
        data = SampleTrainer().fit(place(cluster, [empty, *pair]), {"estimator": name, **FEW.get(name, {})}, 0)
        assert load_predictor(*data).predict(whole.encoded).shape == (4000,)
    with pytest.raises(InvalidInput, match="there are no rows"):
        SampleTrainer().fit(place(cluster, [empty]), {"estimator": "decision_tree"}, 0)
    with pytest.raises(InvalidInput, match="one class only"):
        SampleTrainer().fit(place(cluster, pair[:1]), {"estimator": "decision_tree"}, 0)


def test_a_thousand_columns_one_of_them_constant(encoder):
    random = np.random.default_rng(0)
    values = random.standard_normal((300, 1000)).astype(np.float32)
    values[:, 3] = 2.5
    part = EncodedPart(
        encoded=Encoded(values=values, n_numeric=1000, unknown={}), target=(values[:, 0] > 0).astype(np.float32)
    )
    for name in ("logistic_regression", "random_forest"):
        params = {"estimator": name, **FEW.get(name, {})}
        data, _ = fit_rows([part], SampleFit(params=params, seed=0, encoder=encoder, threads=1))
        assert roc_auc_score(part.target, load_predictor(SKLEARN, data).predict(part.encoded)) > 0.9


def test_what_does_not_fit_is_refused_with_what_would_help():
    small = replace(ROOMY, limit=10**9)
    wide = need({"estimator": "logistic_regression"}, columns=1000, place=small)
    assert wide.row_bytes > 12_000
    with pytest.raises(
        Compute, match=r"The worker with most room has 1,000 MB.*nothing was started. Take fewer `rows`"
    ):
        require_sample_fits(wide, small, 0.8)
    require_sample_fits(need({"estimator": "logistic_regression"}, place=small), small, 0.8)
    require_sample_fits(wide, replace(small, limit=0), 0.8)


def test_a_fit_asks_for_room_itself(cluster, whole, place, monkeypatch):
    """A trial of a search has other parameters than those that were looked at before it."""
    small = replace(roomiest(cluster), limit=10**6)
    monkeypatch.setattr(sampled, "roomiest", lambda _: small)
    with pytest.raises(Compute, match="so it doesn't fit, and nothing was started") as refused:
        sampled.fit_sample(place(cluster, [whole]), {"estimator": "logistic_regression"}, 0)
    assert not refused.value.may_pass  # a trial that fails, and no end of the run


def test_trees_that_could_outgrow_a_file_are_refused():
    deep = {"estimator": "random_forest", "n_estimators": 500, "min_samples_leaf": 1}
    with pytest.raises(Compute, match=r"a file of one may take 1,074 MB.*Set `max_leaf_nodes`"):
        require_sample_fits(need(deep), ROOMY, 0.8)
    require_sample_fits(need(deep | {"max_depth": 8}), ROOMY, 0.8)
    require_sample_fits(need(deep | {"max_leaf_nodes": 200}), ROOMY, 0.8)


def test_what_it_needs_is_told_before_it_starts(cluster, encoder):
    told = SampleTrainer().require_room(
        cluster, (5000, 0, 20_000), encoder, {"estimator": "random_forest", "rows": 9000}, weighted=False, shared=True
    )
    assert told.startswith("sklearn takes a sample of 9,000 rows to one worker, ")
    assert "for 5 columns" in told


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"estimator": "svc"}, "there is no estimator 'svc'"),
        ({"estimator": "mlp", "rows": 0}, "rows: expected a whole number from 1"),
        ({"estimator": "random_forest", "n_jobs": 4}, "unknown parameter 'n_jobs'"),
        ({"estimator": "random_forest", "max_features": 2.0}, "max_features: expected"),
        ({"estimator": "decision_tree", "max_depth": "deep"}, "max_depth: expected a whole number.*or null"),
        ({"estimator": "logistic_regression", "l1_ratio": 0.5}, "these parameters don't go together: Solver lbfgs"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_read(params, words):
    with pytest.raises(InvalidInput, match=words):
        SampleTrainer().require_params(params)


def test_every_estimator_can_be_written_with_its_defaults():
    for name in ON_A_SAMPLE:
        SampleTrainer().require_params({"estimator": name})
    assert sampled.PARAMETERS["rows"].default == 100_000
