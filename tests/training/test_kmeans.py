"""k-means: as good as scikit-learn's and dask-ml's, the same bytes for any workers, order and cut, and hard cases."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from dataops.declarations.metrics import Task
from dataops.errors import Compute, InvalidInput
from dataops.features.encoder import CategoricalColumn, Encoded, Encoder, NumericColumn
from dataops.models.predictor import CENTRES, load_predictor
from dataops.training import kmeans_passes, kmeans_start
from dataops.training.fitting import Fitting
from dataops.training.kmeans import KMeansTrainer, fit_centres
from dataops.training.kmeans_passes import Adding, Centres, Far, Grid, _far_part
from dataops.training.linear_layout import Layout
from dataops.training.parts import EncodedPart, PartsOnCluster
from dataops.training.trainers import load_trainer
from tests.training.test_logistic import one_hot, stack

NUMBERS = Encoder(
    numeric=tuple(NumericColumn(name=name, fill=0.0, mean=0.0, scale=1.0) for name in ("x", "y")), categorical=()
)


def part_of(values, *, codes=None, weight=None) -> EncodedPart:
    values = np.asarray(values, np.float32)
    codes = np.zeros((len(values), 0), np.int32) if codes is None else codes
    return EncodedPart(
        encoded=Encoded.of(numeric=values, codes=codes),
        target=np.zeros(len(values), np.float32),
        weight=None if weight is None else np.asarray(weight, np.float32),
    )


@pytest.fixture
def rows(cluster, place):
    """Parts on a cluster, as the rows of a clustering."""

    def make(parts, client=None, encoder: Encoder = NUMBERS, **fitting) -> PartsOnCluster:
        placed = place(client or cluster, parts)
        return replace(placed, task=Task.CLUSTERS, encoder=encoder, fitting=Fitting(**fitting))

    return make


@pytest.fixture
def mixed(make_part):
    """Parts of numbers about as large as categories, with ranks of their own."""

    def make(seed: int, n_rows: int = 500, *, weighted: bool = False) -> EncodedPart:
        part = make_part(seed, n_rows, weighted=weighted)
        numeric = (part.encoded.numeric - np.float32([40, 900, 0])) / np.float32([10, 300, 1])
        random = np.random.default_rng(seed)
        return replace(
            part,
            encoded=Encoded.of(numeric=numeric, codes=part.encoded.codes),
            target=np.zeros(n_rows, np.float32),
            ranks=random.integers(0, 2**32, n_rows).astype(np.uint32),
        )

    return make


def blobs(seed: int, n_rows: int, centres: int = 6, columns: int = 2) -> np.ndarray:
    random = np.random.default_rng(7)
    middles = random.uniform(-8, 8, (centres, columns))
    random = np.random.default_rng(seed)
    return (middles[random.integers(0, centres, n_rows)] + random.standard_normal((n_rows, columns))).astype(np.float32)


def inertia(dense: np.ndarray, centres: np.ndarray) -> float:
    return float(np.min(((dense[:, None, :] - centres[None]) ** 2).sum(axis=2), axis=1).mean())


def dense_centres(model) -> np.ndarray:
    return np.array(
        [np.concatenate([one, *codes]) for one, codes in zip(model.numeric, model.categorical, strict=True)]
    )


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("clusters", [6, 15])
def test_inertia_is_that_of_scikit_learn_and_dask_ml_or_less(rows, init, clusters):
    from dask_ml.cluster import KMeans as DaskKMeans

    parts = [part_of(blobs(seed, 2000)) for seed in range(3)]
    everything = np.concatenate([part.encoded.values for part in parts]).astype(np.float64)
    given = rows(parts)
    model = fit_centres(given, {"clusters": clusters, "init": init}, seed=0)
    ours = inertia(everything, dense_centres(model))
    with threadpool_limits(limits=1):
        theirs = KMeans(n_clusters=clusters, n_init=10, random_state=0).fit(everything)
        daskml = DaskKMeans(n_clusters=clusters, random_state=0).fit(everything)
    assert ours <= 1.01 * theirs.inertia_ / len(everything)
    assert ours <= 1.01 * inertia(everything, np.asarray(daskml.cluster_centers_))
    assert given.fitting.facts["inertia"] == pytest.approx(ours, rel=1e-9)
    assert given.fitting.facts["converged"]


def test_categories_are_columns_of_zeros_and_ones_as_scikit_learn_has_them(rows, mixed, encoder):
    parts = [mixed(seed) for seed in range(3)]
    dense = one_hot(stack(parts), Layout.of(encoder))
    model = fit_centres(rows(parts, encoder=encoder), {"clusters": 4}, seed=0)
    with threadpool_limits(limits=1):
        theirs = KMeans(n_clusters=4, n_init=10, random_state=0).fit(dense)
    assert inertia(dense, dense_centres(model)) <= 1.01 * theirs.inertia_ / len(dense)
    nearest = load_predictor(CENTRES, model.to_bytes()).nearest(stack(parts).encoded)
    apart = ((dense[:, None, :] - dense_centres(model)[None]) ** 2).sum(axis=2)
    assert (nearest["cluster"] == apart.argmin(axis=1)).all()
    np.testing.assert_allclose(nearest["distance"], np.sqrt(apart.min(axis=1)), rtol=1e-6)
    np.testing.assert_allclose(nearest["next"], np.sqrt(np.sort(apart, axis=1)[:, 1]), rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_other_workers_another_order_and_another_cut_give_the_same_bytes(
    rows, mixed, encoder, second_cluster, weighted
):
    parts = [mixed(seed, weighted=weighted) for seed in range(3)]
    wanted = {"clusters": 5, "starts": 2}
    first = KMeansTrainer().fit(rows(parts, encoder=encoder), wanted, seed=3)
    assert KMeansTrainer().fit(rows(parts[::-1], second_cluster, encoder=encoder), wanted, seed=3) == first
    halves = [half for part in parts for half in (of_rows(part, slice(0, 100)), of_rows(part, slice(100, None)))]
    assert KMeansTrainer().fit(rows(halves, encoder=encoder), wanted, seed=3) == first
    assert KMeansTrainer().fit(rows(parts, encoder=encoder), {**wanted, "seed": 3}, seed=9) == first


def of_rows(part: EncodedPart, chosen: slice) -> EncodedPart:
    taken = {name: getattr(part, name)[chosen] for name in ("target", "ranks")}
    weight = None if part.weight is None else part.weight[chosen]
    return replace(part, encoded=part.encoded.of_rows(chosen), slices={}, weight=weight, **taken)


def test_a_weight_counts_as_so_many_rows(rows):
    values = blobs(0, 600)
    weight = np.random.default_rng(0).integers(0, 4, len(values))
    weighted = fit_centres(rows([part_of(values, weight=weight)]), {"clusters": 6, "tolerance": 0}, seed=0)
    repeated = fit_centres(rows([part_of(np.repeat(values, weight, axis=0))]), {"clusters": 6, "tolerance": 0}, seed=0)
    ours, theirs = (sorted(map(tuple, one.numeric)) for one in (weighted, repeated))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_cluster_without_rows_takes_the_farthest_row(rows, monkeypatch):
    """A start with three equal centres, as a sample gives that has fewer different rows than all rows have."""
    values = np.concatenate([np.zeros((50, 2)), [[4, 0]] * 30, [[0, 4]] * 20, [[9, 9]]])
    given = rows([part_of(values[:60]), part_of(values[60:])])
    found = kmeans_start.find_start

    def all_alike(parts, start):
        return replace(found(parts, start), numeric=np.zeros((2, start.clusters)))

    monkeypatch.setattr("dataops.training.kmeans.find_start", all_alike)
    model = fit_centres(given, {"clusters": 4}, seed=0)
    assert sorted(model.numeric) == [(0, 0), (0, 4), (4, 0), (9, 9)]
    assert sorted(given.fitting.facts["rows"]) == [1, 20, 30, 50]
    assert given.fitting.facts["inertia"] == 0
    farthest = kmeans_passes.farthest
    monkeypatch.setattr("dataops.training.kmeans.farthest", lambda *given: farthest(*given[:3], 1))
    with pytest.raises(Compute, match="after 1 iterations 2 of 4 clusters have no row; raise `max_iterations`"):
        fit_centres(given, {"clusters": 4, "max_iterations": 1}, seed=0)


@pytest.mark.parametrize(
    ("values", "finding"),
    [
        ([[1, 2]], "3 clusters take as many different rows, and there are 1 of weight above 0"),
        ([[0.1, 1e6]] * 40 + [[0.3, 1e6]] * 60, "and as the model takes them there are 2; take fewer `clusters`"),
        (np.zeros((0, 2)), "there are no rows"),
        ([[np.inf, 0], [1, 0], [2, 0]], "feature 'x' is infinite or not a number in 1 of 3 rows"),
    ],
)
def test_fewer_different_rows_than_clusters_are_an_error_that_says_so(rows, values, finding):
    with pytest.raises(InvalidInput, match=finding):
        fit_centres(rows([part_of(values)]), {"clusters": 3}, seed=0)


def test_rows_of_weight_0_teach_nothing(rows):
    values, weight = [[0, 0]] * 5 + [[1, 1]] * 5 + [[50, 50]] * 5, [1] * 10 + [0] * 5
    model = fit_centres(rows([part_of(values, weight=weight)]), {"clusters": 2}, seed=0)
    assert sorted(model.numeric) == [(0, 0), (1, 1)]
    with pytest.raises(InvalidInput, match="the weight is 0 in all 15 rows"):
        fit_centres(rows([part_of(values, weight=np.zeros(15))]), {"clusters": 2}, seed=0)


def test_constant_columns_and_values_of_any_size_are_taken(rows):
    values = np.column_stack([np.full(300, 7.0), np.r_[np.full(150, -1e30), np.full(150, 1e30)]])
    model = fit_centres(rows([part_of(values)]), {"clusters": 2}, seed=0)
    np.testing.assert_allclose(sorted(model.numeric), [(7, np.float32(-1e30)), (7, np.float32(1e30))], rtol=1e-7)


def test_no_centre_is_the_mean_of_fewer_rows_than_policies_show_figures_about(rows):
    values = np.concatenate([blobs(0, 400, centres=1), [[90, 90]] * 3])
    with pytest.raises(InvalidInput, match="of 2 clusters 1 would be the mean of fewer than 5 rows"):
        fit_centres(rows([part_of(values)], least=5), {"clusters": 2}, seed=0)
    assert fit_centres(rows([part_of(values)], least=3), {"clusters": 2}, seed=0).clusters == 2


@pytest.fixture
def starting_at(monkeypatch):
    """A fit that starts from those places of x, y 0."""

    def start(*places: float) -> None:
        centres = Centres(numeric=np.array([places, [0.0] * len(places)]), shares=np.zeros((0, len(places))))
        monkeypatch.setattr("dataops.training.kmeans.find_start", lambda *_: centres)

    return start


def on_a_line(*places: tuple[int, float]) -> EncodedPart:
    """So many rows at each place of x, y 0."""
    return part_of([[x, 0] for n_rows, x in places for _ in range(n_rows)])


def test_a_row_that_a_centre_was_moved_to_in_the_last_step_is_not_published(rows, starting_at):
    given = rows([on_a_line((50, 0), (50, 10), (5, 6.5), (1, 6.123))], least=5)
    starting_at(0, 10, 100)
    with pytest.raises(
        Compute, match="after 1 iterations 3 of 3 centres aren't the mean of their rows yet; raise `max"
    ):
        fit_centres(given, {"clusters": 3, "max_iterations": 1}, seed=0)
    model = fit_centres(given, {"clusters": 3, "max_iterations": 2}, seed=0)
    assert sorted(x for x, _ in model.numeric) == [0, pytest.approx((5 * 6.5 + 6.123) / 6, rel=1e-6), 10]
    assert sorted(given.fitting.facts["rows"]) == [6, 50, 50]


def test_a_fit_that_ends_early_gives_means_and_not_what_it_started_from(rows, starting_at):
    given = rows([on_a_line((50, 0), (5, 6.5), (1, 6.123))], least=5)
    starting_at(0.05, 6.4)
    model = fit_centres(given, {"clusters": 2, "tolerance": 1}, seed=0)
    assert given.fitting.facts["iterations"] == 1
    assert sorted(x for x, _ in model.numeric) == [0, pytest.approx((5 * 6.5 + 6.123) / 6, rel=1e-6)]


def test_rows_that_come_near_a_centre_later_do_not_make_it_a_mean_of_enough(rows, starting_at):
    """Of three rows' mean eight are nearest, once the other centre has moved away."""
    given = rows([on_a_line((3, 0), (5, 4), (50, 10))], least=5)
    starting_at(-1, 5)
    with pytest.raises(InvalidInput, match="of 2 clusters 1 would be the mean of fewer than 5 rows"):
        fit_centres(given, {"clusters": 2, "max_iterations": 1}, seed=0)
    assert sorted(fit_centres(given, {"clusters": 2}, seed=0).numeric) == [(2.5, 0), (10, 0)]


def test_the_farthest_rows_are_those_of_all_rows_and_few_are_compared(monkeypatch):
    part, layout = part_of(np.repeat(blobs(3, 400), 3, axis=0)), Layout.of(NUMBERS)
    centres = Centres(numeric=np.zeros((2, 1)), shares=np.zeros((0, 1)))
    grid = Grid.of(np.abs(part.encoded.values).max(axis=0).astype(float), float(part.rows))
    compared, most = [], Far.most
    monkeypatch.setattr(Far, "most", lambda far, n_rows: compared.append(len(far.values)) or most(far, n_rows))
    found = _far_part(part, Adding(layout=layout, grid=grid, centres=centres), 5)
    apart = (part.encoded.values.astype(np.float64) ** 2).sum(axis=1)
    assert len(np.unique(found.values, axis=0)) == 5
    np.testing.assert_allclose(found.squared, np.sort(np.unique(apart))[:-6:-1])
    assert compared == [15]
    nothing = _far_part(part_of(np.zeros((4, 2))), Adding(layout=layout, grid=grid, centres=centres), 5)
    assert len(nothing.values) == 0


def test_too_many_coordinates_are_refused_before_anything_runs(rows):
    wide = Encoder(numeric=(), categorical=(CategoricalColumn(name="c", categories=tuple(map(str, range(9000)))),))
    given = rows([part_of(np.zeros((5, 0)), codes=np.zeros((5, 1), np.int32))], encoder=wide)
    with pytest.raises(Compute, match="1000 centres of 9,001 numbers and codes are 9,001,000 coordinates"):
        fit_centres(given, {"clusters": 1000}, seed=0)


def test_parameters_and_tasks_that_dont_fit_are_refused_by_name():
    with pytest.raises(InvalidInput, match=r"unknown parameter 'k'.*clusters: expected a whole number from 2 to 1000"):
        KMeansTrainer().require_params({"k": 3, "clusters": 1})
    with pytest.raises(InvalidInput, match="trainer kmeans makes no models of task binary; incremental, light"):
        load_trainer("kmeans")
    with pytest.raises(InvalidInput, match="trainer logistic makes no models of task clusters; kmeans would"):
        load_trainer("logistic", Task.CLUSTERS)


def test_a_worker_killed_during_the_fit_changes_nothing(mortal_cluster, rows, mixed, encoder, monkeypatch):
    monkeypatch.setattr(kmeans_start, "SAMPLE_ROWS", 100)  # from a poor start there are more steps
    monkeypatch.setattr(kmeans_start, "ROWS_OF_A_CENTRE", 1)
    parts, wanted = [mixed(seed) for seed in range(4)], {"clusters": 5, "starts": 1, "tolerance": 0}
    undisturbed = KMeansTrainer().fit(rows(parts, mortal_cluster, encoder=encoder), wanted, seed=0)
    calls, add_up, pids = [], kmeans_passes.add_up, mortal_cluster.run(os.getpid)

    def kill_at_the_second_pass(*given):
        calls.append(given)
        if len(calls) == 2:
            os.kill(next(iter(pids.values())), signal.SIGKILL)
        return add_up(*given)

    monkeypatch.setattr("dataops.training.kmeans.add_up", kill_at_the_second_pass)
    assert KMeansTrainer().fit(rows(parts, mortal_cluster, encoder=encoder), wanted, seed=0) == undisturbed
    assert len(calls) > 3
    assert mortal_cluster.run(os.getpid) != pids
