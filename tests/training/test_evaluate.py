from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import AccessDenied, InvalidInput
from dataops.models.predictor import load_predictor
from dataops.training.evaluate import OTHERS, evaluate_on_cluster, evaluate_scores, merge_evaluations, report
from dataops.training.logistic import LogisticTrainer
from dataops.training.scores import METRICS, compute_metrics, count_scores

EVERY = list(METRICS)

sliced_rows = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.booleans(), st.sampled_from(["a", "b", None])), min_size=1, max_size=80
)


def evaluate_rows(rows):
    scores, labels, values = zip(*rows, strict=True)
    slices = {"sex": pa.array(values, pa.string())}
    return evaluate_scores(np.array(scores, np.float32), np.array(labels, np.float32), slices)


@given(rows=sliced_rows, cut=st.integers(1, 79))
@settings(max_examples=50)
def test_any_split_gives_the_same_report(rows, cut):
    pieces = [evaluate_rows(piece) for piece in (rows[cut:], rows[:cut]) if piece]
    assert report(merge_evaluations(pieces), EVERY) == report(evaluate_rows(rows), EVERY)


@given(rows=sliced_rows)
@settings(max_examples=50)
def test_the_slices_of_a_column_hold_each_row_once(rows):
    found = report(evaluate_rows(rows), EVERY)
    assert sum(figures["rows"] for figures in found["slices"]["sex"].values()) == found["rows"] == len(rows)


def test_small_and_one_sided_slices_are_named_without_metrics():
    values = ["small"] * 19 + ["one_class"] * 20 + ["good"] * 20
    target = np.array([i % 2 for i in range(19)] + [1] * 20 + [i % 2 for i in range(20)], np.float32)
    scores = np.linspace(0.1, 0.9, len(values)).astype(np.float32)
    by_value = report(evaluate_scores(scores, target, {"kind": np.array(values)}), ["roc_auc"])["slices"]["kind"]
    assert by_value["small"] == {"rows": 19, "too_small": "fewer than 20 rows"}
    assert by_value["one_class"] == {"rows": 20, "too_small": "one class only"}
    assert set(by_value["good"]) == {"rows", "roc_auc", "roc_auc_error_bound"}


@given(
    rows=st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans(), st.sampled_from(["a", "b", "c", OTHERS]))),
    size=st.integers(2, 30),
)
@settings(max_examples=50)
def test_no_figure_is_about_fewer_rows_than_the_policies_ask_nor_can_be_had_by_difference(rows, size):
    if len(rows) < size:
        with pytest.raises(AccessDenied, match=f"fewer than {size}"):
            report(evaluate_rows(rows or [(0.5, True, "a")]), EVERY, min_group_size=max(size, 2))
        return
    found = report(evaluate_rows(rows), EVERY, min_group_size=size)["slices"]["sex"]
    assert all(figures["rows"] >= size for figures in found.values())
    assert sum(figures["rows"] for figures in found.values()) == len(rows)
    values = [value for _, _, value in rows]
    assert all(found[value]["rows"] == values.count(value) for value in found if value != OTHERS)


def test_one_small_slice_takes_the_next_larger_one_with_it_and_is_not_named():
    values = ["rare"] * 3 + ["middle"] * 30 + ["most"] * 40
    target = np.array([i % 2 for i in range(73)], np.float32)
    evaluation = evaluate_scores(np.linspace(0.1, 0.9, 73).astype(np.float32), target, {"kind": np.array(values)})
    by_value = report(evaluation, ["roc_auc"], min_group_size=25)["slices"]["kind"]
    assert {value: figures["rows"] for value, figures in by_value.items()} == {OTHERS: 33, "most": 40}


@pytest.mark.parametrize(
    "values",
    [
        np.array(["x", "y"] * 20),
        pa.array(["x", "y"] * 20, pa.large_string()),
        pa.array(["x", "y"] * 20).dictionary_encode(),
        pa.array([None, "y"] * 20),
        pa.array([True, False] * 20),
    ],
    ids=["numpy", "large", "dictionary", "null", "boolean"],
)
def test_slice_values_come_in_any_arrow_or_numpy_form(values):
    scores, target = np.linspace(0, 1, 40).astype(np.float32), np.array([1, 1, 0, 0] * 10, np.float32)
    by_value = report(evaluate_scores(scores, target, {"kind": values}), ["roc_auc"])["slices"]["kind"]
    odd = compute_metrics(count_scores(scores[1::2], target[1::2]), ["roc_auc"])
    assert {"rows": 20, **odd} in by_value.values()
    assert len(by_value) == 2


def test_a_slice_column_of_many_values_is_refused_without_naming_one():
    values = np.array([f"person-{i}" for i in range(400)])
    scores, target = np.full(400, 0.5, np.float32), np.zeros(400, np.float32)
    with pytest.raises(InvalidInput, match="slice column 'id' has 400 or more values, at most 200") as refused:
        evaluate_scores(scores, target, {"id": values})
    halves = [
        evaluate_scores(scores[rows], target[rows], {"id": values[rows]}) for rows in (slice(0, 200), slice(200, 400))
    ]
    with pytest.raises(InvalidInput, match="slice column 'id'"):
        merge_evaluations(halves)
    assert "person" not in str(refused.value)


def test_a_model_is_evaluated_where_its_parts_lie(cluster, make_part, place):
    units = [make_part(seed, 300) for seed in range(3)] + [make_part(5, 0)]
    parts = place(cluster, units, workers=[0, 1, 1, 0])
    model_format, model = LogisticTrainer().fit(parts, {}, seed=0)
    found = evaluate_on_cluster(parts, model_format, model, EVERY)

    predictor = load_predictor(model_format, model)
    here = [evaluate_scores(predictor.predict(unit.encoded), unit.target, unit.slices) for unit in units]
    assert found == report(merge_evaluations(here), EVERY)
    assert found["rows"] == 900
    assert found["overall"]["roc_auc"] > 0.7
    assert set(found["slices"]["third"]) == {"low", "middle", "high"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_an_unknown_metric_is_refused_before_anything_is_scored(cluster, make_part, place):
    with pytest.raises(InvalidInput, match="Did you mean 'brier'"):
        evaluate_on_cluster(place(cluster, [make_part(0, 10)]), "no-such-format/1", b"", ["brierr"])
