from __future__ import annotations

import os
import pickle
import sys
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.metrics import Task
from dataops.errors import Compute, InvalidInput
from dataops.features.encoder import Encoded
from dataops.training import reading
from dataops.training.parts import (
    EncodedPart,
    PartsOnCluster,
    _by_same_code,
    as_is,
    cut_evenly,
    gather,
    map_parts,
    merge_parts,
    place_units,
    sample_parts,
)
from dataops.training.trainable import part_facts, require_trainable, untrainable
from dataops.training.trainers import load_trainer

row_counts = st.lists(st.integers(0, 1000), max_size=30)


@given(rows=row_counts, n=st.integers(1, 8))
@settings(max_examples=50)
def test_cuts_cover_every_unit_once_in_order(rows, n):
    runs = cut_evenly(rows, n)
    assert [unit for run in runs for unit in run] == list(range(len(rows)))
    assert len(runs) <= n
    assert all(runs)


@given(rows=row_counts, workers=st.lists(st.text(max_size=3), min_size=1, max_size=5, unique=True))
@settings(max_examples=50)
def test_units_with_rows_are_placed_in_runs_of_the_workers_order(rows, workers):
    placed = place_units(rows, workers)
    assert sorted(placed) == [unit for unit, count in enumerate(rows) if count]
    numbers = [workers.index(placed[unit]) for unit in sorted(placed)]
    assert numbers == sorted(numbers)


def test_equal_units_are_shared_equally():
    assert [len(run) for run in cut_evenly([100] * 12, 4)] == [3, 3, 3, 3]


def test_a_part_with_arrays_of_other_lengths_is_refused(make_part):
    part = make_part(0, 10)
    with pytest.raises(InvalidInput, match="'slice third': 10"):
        EncodedPart(encoded=part.encoded, target=part.target[:9], slices=part.slices)


def test_a_part_weighs_what_its_arrays_weigh(make_part):
    part = make_part(0, 1000, weighted=True)
    arrays = (part.encoded.numeric, part.encoded.codes, part.target, part.weight, part.slices["third"])
    assert sys.getsizeof(part) > sum(array.nbytes for array in arrays)


def test_a_part_pickles(make_part):
    part = make_part(0, 10, weighted=True)
    copied = pickle.loads(pickle.dumps(part, protocol=5))
    assert np.array_equal(copied.encoded.numeric, part.encoded.numeric)
    assert np.array_equal(copied.weight, part.weight)


def test_results_come_in_unit_order_wherever_parts_lie(cluster, make_part, place):
    parts = place(cluster, [make_part(i, i + 1) for i in range(7)], workers=[1, 0, 0, 1, 0, 1, 1])
    assert map_parts(parts, lambda part, extra: part.rows + extra, 10) == [11, 12, 13, 14, 15, 16, 17]
    assert merge_parts(parts, lambda part, _: part.rows, sum) == sum(parts.rows) == 28


def test_no_parts_at_all_give_no_results(cluster, encoder):
    nothing = PartsOnCluster(client=cluster, futures=(), rows=(), encoder=encoder)
    assert map_parts(nothing, lambda part, _: part.rows) == []
    with pytest.raises(InvalidInput, match="there are no rows"):
        require_trainable(nothing)


OTHER = {"version": "0.0.1", "digest": "sha256:0"}


def test_a_worker_with_other_code_than_the_runs_takes_no_part(cluster, make_part, place, monkeypatch):
    given = place(cluster, [make_part(0, 5)])
    monkeypatch.setattr("dataops.training.parts.code_identity", lambda: OTHER)
    with pytest.raises(Compute, match=r"runs other code than the run: version .* and not 0\.0\.1"):
        map_parts(given, lambda part, _: part.rows)
    with pytest.raises(Compute, match="runs other code than the run"):
        gather(cluster, sample_parts(given, 2).futures, what="sample")


@pytest.mark.parametrize(
    ("name", "params", "library"),
    [
        ("logistic", {}, "numpy"),
        ("kmeans", {"clusters": 2}, "sklearn"),
        ("xgboost", {"rounds": 2}, "xgboost"),
        ("lightgbm", {"rounds": 2}, "lightgbm"),
        ("incremental", {"estimator": "sgd", "epochs": 1}, "skops.io"),
        ("sklearn", {"estimator": "extra_trees", "n_estimators": 2, "rows": 100}, "skops.io"),
    ],
)
def test_every_task_of_a_fit_that_does_more_than_hand_on_asks_for_the_runs_code(
    cluster, make_part, place, monkeypatch, name, params, library
):
    pytest.importorskip(library, reason=f"{library} isn't installed")
    task = Task.CLUSTERS if name == "kmeans" else Task.BINARY
    given = replace(place(cluster, [make_part(0, 200), make_part(1, 200)]), task=task)
    submit, submitted = Client.submit, set()

    def note(client, function, *arguments, **where):
        submitted.add(function)
        return submit(client, function, *arguments, **where)

    monkeypatch.setattr(Client, "submit", note)
    load_trainer(name, task).fit(given, params, 1)
    assert submitted - {as_is} == {_by_same_code}


def test_a_failing_task_is_reported_without_what_it_says(cluster, make_part, place):
    def leak(part, _):
        raise RuntimeError(f"the row held secret-{part.rows}")

    with pytest.raises(Compute, match="leak failed on the cluster with RuntimeError") as refused:
        map_parts(place(cluster, [make_part(0, 5)]), leak)
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__


def _die(*_given):
    os._exit(9)  # as the kernel does where memory is short


def test_a_worker_that_dies_of_rows_is_told_as_something_to_try_again(impatient_cluster, make_part, place, monkeypatch):
    monkeypatch.setattr(reading, "encode_or_raise", _die)
    work = SimpleNamespace(client=impatient_cluster, run="run-1", phase=lambda *_, **__: nullcontext(SimpleNamespace()))
    with pytest.raises(Compute, match="encode failed on the cluster with KilledWorker") as lost:
        reading.load_parts(work, "encode", SimpleNamespace(), [SimpleNamespace(id="u000000", rows=5, size_bytes=40)])
    assert lost.value.may_pass
    impatient_cluster.wait_for_workers(2, timeout=120)


def test_rows_that_are_gone_are_told_as_something_to_try_again(cluster, make_part, place):
    parts = place(cluster, [make_part(0, 5)])
    cluster.cancel(list(parts.futures), force=True)
    with pytest.raises(Compute, match="on the cluster with") as gone:
        map_parts(parts, lambda part, _: part.rows)
    assert gone.value.may_pass


def test_what_a_task_raises_by_itself_comes_again(cluster, make_part, place):
    with pytest.raises(Compute, match="with ZeroDivisionError") as failed:
        map_parts(place(cluster, [make_part(0, 5)]), lambda part, _: 1 / (part.rows - 5))
    assert not failed.value.may_pass


def test_our_own_errors_cross_the_cluster_as_they_are(cluster, make_part, place):
    def refuse(part, _):
        raise InvalidInput("3 rows are wrong")

    with pytest.raises(InvalidInput, match="3 rows are wrong"):
        map_parts(place(cluster, [make_part(0, 5)]), refuse)


def part_of(numeric, target, weight=None) -> EncodedPart:
    rows = len(target)
    encoded = Encoded.of(numeric=np.array(numeric, np.float32).reshape(rows, 3), codes=np.zeros((rows, 2), np.int32))
    weights = None if weight is None else np.array(weight, np.float32)
    return EncodedPart(encoded=encoded, target=np.array(target, np.float32), weight=weights)


def test_all_that_makes_rows_untrainable_is_said_at_once(encoder):
    part = part_of([[1, np.inf, 0], [np.nan, -np.inf, 0], [0, 0, 0]], [0, 2, np.nan], weight=[1, -1, np.inf])
    findings = untrainable(part_facts(part), encoder)
    assert findings == [
        "the target is neither 0 nor 1 in 2 of 3 rows",
        "the weight is negative, infinite or missing in 2 of 3 rows",
        "feature 'age' is infinite or not a number in 1 of 3 rows",
        "feature 'wage' is infinite or not a number in 2 of 3 rows",
    ]


def test_a_class_whose_rows_weigh_nothing_is_absent(encoder):
    part = part_of(np.zeros((3, 3)), [0, 0, 1], weight=[1, 1, 0])
    (finding,) = untrainable(part_facts(part), encoder)
    assert "one class only (0 positive and 2 negative" in finding


def test_two_classes_are_trainable(encoder):
    assert untrainable(part_facts(part_of(np.zeros((2, 3)), [0, 1])), encoder) == []
