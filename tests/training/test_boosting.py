from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from xgboost import Booster, DMatrix, QuantileDMatrix, train

from dataops.errors import Compute, InvalidInput
from dataops.models.predictor import load_predictor
from dataops.training import boosting, boosting_gang, boosting_rounds
from dataops.training.boosting import BoostingTrainer, XgboostRank, fit_xgboost
from dataops.training.boosting_gang import Gang
from dataops.training.fitting import Fitting

FEW = {"rounds": 20, "max_depth": 4}


@pytest.fixture(scope="module")
def units(make_part):
    return [make_part(seed, 600) for seed in range(4)] + [make_part(9, 0), make_part(10, 1)]


@pytest.fixture(scope="module")
def held_out(make_part):
    return make_part(100, 4000)


def ranks_of(monkeypatch, kind) -> None:
    """Fits take ranks of this kind from now on."""
    boost = boosting_rounds.boost
    monkeypatch.setattr(boosting, "boost", lambda library, *given: boost(replace(library, rank=kind), *given))


def auc(model: bytes, part) -> float:
    return roc_auc_score(part.target, load_predictor("xgboost-ubj/1", model).predict(part.encoded))


def test_it_is_as_good_as_xgboost_on_one_machine(cluster, units, place, held_out):
    model_format, model = BoostingTrainer().fit(place(cluster, units), FEW, seed=1)
    matrix = QuantileDMatrix(
        np.concatenate([unit.encoded.values for unit in units]), np.concatenate([unit.target for unit in units])
    )
    params = {"objective": "binary:logistic", "tree_method": "hist", "max_depth": 4, "nthread": 1}
    alone = train(params, matrix, num_boost_round=20)
    expected = roc_auc_score(held_out.target, alone.predict(DMatrix(held_out.encoded.values)))
    assert model_format == "xgboost-ubj/1"
    assert auc(model, held_out) == pytest.approx(expected, abs=0.01)
    assert expected > 0.7


def test_the_same_cluster_gives_the_same_bytes_wherever_parts_lay(cluster, units, place):
    params = {**FEW, "subsample": 0.8, "colsample_bytree": 0.8}
    first = fit_xgboost(place(cluster, units, workers=[0, 1, 0, 1, 0, 1]), params, 3)
    second = fit_xgboost(place(cluster, units, workers=[1, 1, 1, 0, 0, 0]), params, 3)
    other_seed = fit_xgboost(place(cluster, units), params, 4)
    assert first == second != other_seed


def test_all_workers_take_part(cluster, units, place, monkeypatch):
    seen = []

    class Watched(Gang):
        def _start(self):
            seen.append(dict(self.placed))
            super()._start()

    monkeypatch.setattr(boosting_rounds, "Gang", Watched)
    fit_xgboost(place(cluster, units, workers=[0] * 6), FEW, 0)
    [placed] = seen
    workers = sorted(placed.values())
    assert sorted(map(workers.count, set(workers))) == [2, 3]
    assert 4 not in placed  # the unit without rows is nowhere


def test_weights_count(cluster, make_part, place, held_out):
    part = make_part(0, 800, weighted=True)
    part.weight[part.target == 1] = 50
    heavy = load_predictor("xgboost-ubj/1", fit_xgboost(place(cluster, [part]), FEW, 0))
    assert heavy.predict(held_out.encoded).mean() > held_out.target.mean() + 0.2


def test_a_monotone_feature_never_turns(cluster, units, place, held_out):
    params = {**FEW, "monotone_constraints": {"hours": 1}}
    booster = load_predictor("xgboost-ubj/1", fit_xgboost(place(cluster, units), params, 0))
    rows = held_out.encoded
    low = booster.predict(rows)
    rows.numeric[:, 2] += 0.5
    high = booster.predict(rows)
    rows.numeric[:, 2] -= 0.5
    assert (high >= low).all()
    assert (high > low).any()


def test_nothing_is_printed_where_results_go_and_no_ranks_where_progress_goes(cluster, units, place, capfd):
    fit_xgboost(place(cluster, units), FEW, 0)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "got rank" not in printed.err


def test_rounds_are_200_unless_said(cluster, make_part, place):
    model = fit_xgboost(place(cluster, [make_part(0, 50)]), {"max_depth": 1}, 0)
    assert Booster(model_file=bytearray(model)).num_boosted_rounds() == 200


def test_wrong_parameters_are_said_at_once():
    with pytest.raises(InvalidInput) as refused:
        BoostingTrainer().require_params({"maxdepth": 3, "subsample": 0, "objective": "x", "monotone_constraints": [1]})
    message = str(refused.value)
    assert "unknown parameter 'maxdepth'. Did you mean 'max_depth'?" in message
    assert "unknown parameter 'objective'" in message
    assert "subsample: expected a number above 0 to 1, found 0" in message
    assert "monotone_constraints: expected a mapping of numeric features to -1, 0 or 1" in message


def test_a_constraint_on_a_category_or_an_unknown_feature_is_refused(cluster, units, place):
    with pytest.raises(InvalidInput, match=r"'wages' is no numeric feature. Did you mean 'wage'\?"):
        fit_xgboost(place(cluster, units), {"monotone_constraints": {"wages": 1, "c3": 1}}, 0)


def test_one_class_only_is_refused_with_counts(cluster, make_part, place):
    part = make_part(0, 30)
    part.target[:] = 0
    with pytest.raises(InvalidInput, match=r"one class only \(0 positive and 30 negative"):
        fit_xgboost(place(cluster, [part]), FEW, 0)


def test_no_rows_are_refused(cluster, make_part, place):
    with pytest.raises(InvalidInput, match="there are no rows"):
        fit_xgboost(place(cluster, [make_part(0, 0), make_part(0, 0)]), FEW, 0)


def test_a_failure_with_all_workers_alive_is_not_tried_again(cluster, units, place, monkeypatch, tmp_path):
    tried = tmp_path / "tried"

    class Failing(XgboostRank):
        def advance(self, rounds, *, save):
            with tried.open("a") as file:
                file.write("x")
            raise RuntimeError("a value of a row")

    ranks_of(monkeypatch, Failing)
    with pytest.raises(Compute, match="xgboost failed on the cluster with RuntimeError") as refused:
        fit_xgboost(place(cluster, units), FEW, 0)
    assert tried.read_text() == "xx"  # once on each worker
    assert "value of a row" not in str(refused.value)


def killing(mark, *, after):
    """A rank whose worker dies once, when it has trained `after` rounds; how often ranks were made stands beside."""

    class Killing(XgboostRank):
        def __init__(self, seat, order, parts):
            super().__init__(seat, order, parts)
            with mark.with_suffix(".begun").open("a") as file:
                file.write(f"{self._done} ")

        def advance(self, rounds, *, save):
            if self._done == after:
                try:
                    mark.touch(exist_ok=False)
                except FileExistsError:
                    return super().advance(rounds, save=save)
                os.kill(os.getpid(), signal.SIGKILL)
            return super().advance(rounds, save=save)

    return Killing


@pytest.mark.faults
@pytest.mark.parametrize("after", [0, 5])
def test_a_fit_goes_on_from_the_last_round_where_a_worker_is_killed(
    mortal_cluster, units, place, held_out, monkeypatch, tmp_path, caplog, after
):
    undisturbed = fit_xgboost(place(mortal_cluster, units), FEW, 0)
    ranks_of(monkeypatch, killing(tmp_path / "killed", after=after))
    monkeypatch.setattr(boosting_rounds, "CHUNK_SECONDS", 0)  # so that each round is kept
    disturbed = fit_xgboost(place(mortal_cluster, units, workers=[0, 1, 0, 1, 0, 1]), FEW, 0)
    assert (tmp_path / "killed").exists()
    assert f"workers lost in attempt 1 of 3, after round {after}" in caplog.text
    assert set((tmp_path / "killed.begun").read_text().split()) == {"0", str(after)}
    assert Booster(model_file=bytearray(disturbed)).num_boosted_rounds() == 20
    assert auc(disturbed, held_out) == pytest.approx(auc(undisturbed, held_out), abs=0.001)


@pytest.mark.faults
def test_parts_that_were_released_are_made_again_where_a_worker_is_killed(
    mortal_cluster, units, place, held_out, monkeypatch, tmp_path
):
    parts = place(mortal_cluster, units)
    made = []

    def again():
        made.append(place(mortal_cluster, units))
        return made[-1].futures

    ranks_of(monkeypatch, killing(tmp_path / "killed", after=1))
    model = fit_xgboost(replace(parts, fitting=Fitting(last_use=True, again=again)), FEW, 0)
    assert len(made) == 1
    assert all(future.status == "cancelled" for future in (*parts.futures, *made[0].futures))
    assert auc(model, held_out) > 0.7


def test_a_worker_killed_while_ranks_are_made_leaves_no_rank_waiting(
    mortal_cluster, units, place, held_out, monkeypatch, tmp_path
):
    mark = tmp_path / "killed"

    class Killing(XgboostRank):
        def __init__(self, seat, order, parts):
            if seat.rank == 0:
                try:
                    mark.touch(exist_ok=False)
                except FileExistsError:
                    pass
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
            super().__init__(seat, order, parts)

    monkeypatch.setattr(boosting_gang, "GRACE_SECONDS", 3.0)  # less, and a busy scheduler doesn't see it in time
    ranks_of(monkeypatch, Killing)
    model = fit_xgboost(place(mortal_cluster, units), FEW, 0)
    assert mark.exists()
    assert auc(model, held_out) > 0.7


@pytest.mark.parametrize("where", ["made", "asked"])
def test_one_rank_that_fails_leaves_no_other_waiting(mortal_cluster, units, place, held_out, monkeypatch, where):
    class Failing(XgboostRank):
        def __init__(self, seat, order, parts):
            if where == "made" and seat.rank == 1:
                raise MemoryError
            super().__init__(seat, order, parts)

        def advance(self, rounds, *, save):
            if self._rank == 1:
                raise MemoryError
            return super().advance(rounds, save=save)

    monkeypatch.setattr(boosting_gang, "GRACE_SECONDS", 1.0)
    ranks_of(monkeypatch, Failing)
    with pytest.raises(Compute, match="xgboost failed on the cluster with MemoryError"):
        fit_xgboost(place(mortal_cluster, units), FEW, 0)
    ranks_of(monkeypatch, XgboostRank)
    mortal_cluster.wait_for_workers(2, timeout=120)
    assert auc(fit_xgboost(place(mortal_cluster, units), FEW, 0), held_out) > 0.7
