from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import AccessDenied
from dataops.features.cells import CategoryCells, Cells, NumberCells
from dataops.features.columns import Ints
from dataops.features.encoder import Encoder
from dataops.features.reference import DECILES
from dataops.features.slices import OTHERS
from dataops.rescoring.outputs import deciles
from dataops.training.evaluate import evaluate_on_cluster, evaluate_scores, rows_by_value
from dataops.training.judging import Judged, judge_on_cluster, merge_judged, reference_of, score_edges
from dataops.training.logistic import LogisticTrainer
from dataops.training.scores import count_scores

CELLS: tuple[Cells, ...] = (
    NumberCells(name="age", edges=np.array([2.0, 4.0], np.float32), fill=0, points=(), coarse=np.arange(4)),
)
ROWS = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.integers(0, 5), st.sampled_from(["north", "south"])),
    min_size=1,
    max_size=90,
)


def judge(rows: list[tuple[float, int, str]]) -> Judged:
    """What is counted of `rows` of a score, a number without gaps and a slice's value, by hand."""
    scores, ages, values = (np.array(column) for column in zip(*rows, strict=True))

    def count(some: Any) -> Ints:
        return np.array([0, (some < 2).sum(), ((some >= 2) & (some < 4)).sum(), (some >= 4).sum()])

    target = (ages % 2).astype(np.float32)
    return Judged(
        evaluation=evaluate_scores(scores.astype(np.float32), target, {"region": values}),
        histogram=np.histogram(scores, 20, (0, 1))[0],
        columns=count(ages),
        slices={"region": {value: count(ages[place]) for value, place in rows_by_value("region", values)}},
    )


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(1, 89), st.integers(1, 6))
def test_any_split_of_the_rows_makes_the_same_reference(rows: Any, cut: int, least: int) -> None:
    parts = [judge(some) for some in (rows[cut:], rows[:cut]) if some]
    found = [reference_of(one, CELLS, dataset="holdout", least=least) for one in (merge_judged(parts), judge(rows))]
    assert found[0].record() == found[1].record()


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=200))
def test_edges_of_deciles_part_the_rows_as_evenly_as_ties_of_a_bucket_allow(scores: list[float]) -> None:
    found = np.array(scores, np.float32)
    counts = count_scores(found, np.zeros(len(found)))
    edges = score_edges(counts, DECILES)
    assert len(edges) == DECILES - 1
    assert list(edges) == sorted(edges)
    largest = int((counts.positives + counts.negatives).max())
    for number, edge in enumerate(edges, start=1):
        below = int((found < np.float32(edge)).sum())
        assert len(found) * number / DECILES <= below <= len(found) * number / DECILES + largest
    assert set(deciles(found, edges).tolist()) <= set(range(1, 11))


def test_no_edges_of_deciles_are_made_of_fewer_rows_than_the_policies_ask_for_in_each() -> None:
    rows = [(number / 40, number % 6, "north") for number in range(40)]
    assert reference_of(judge(rows), CELLS, dataset="holdout", least=4).decile_edges is not None
    assert reference_of(judge(rows), CELLS, dataset="holdout", least=5).decile_edges is None


def test_values_of_few_rows_are_together_as_in_the_metrics() -> None:
    rows = [(0.5, 1, "north")] * 30 + [(0.5, 3, "south")] * 3
    reference = reference_of(judge(rows), CELLS, dataset="holdout", least=5)
    assert reference.spec.slices == (("region", ()),)
    assert reference.slices[0][1].counts.sum(axis=1).tolist() == [33]
    assert OTHERS not in reference.spec.slices[0][1]


def cells_of(encoder: Encoder) -> list[Cells]:
    edges = np.linspace(-5, 1500, 9, dtype=np.float32)
    numbers = [
        NumberCells(name=one.name, edges=edges, fill=0, points=(), coarse=np.arange(11)) for one in encoder.numeric
    ]
    sizes = {one.name: len(one.categories) for one in encoder.categorical}
    return [
        *numbers,
        *(
            CategoryCells(name=name, of_code=2 + np.arange(size), coarse=np.arange(2 + size))
            for name, size in sizes.items()
        ),
    ]


def test_a_model_is_judged_where_its_parts_lie_and_the_metrics_are_those_of_evaluation(
    cluster: Any, make_part: Any, place: Any, encoder: Any
) -> None:
    units = [make_part(seed, rows) for seed, rows in enumerate([400, 0, 300, 500])]
    parts = place(cluster, units, workers=[0, 1, 1, 0])
    model = LogisticTrainer().fit(parts, {}, 0)
    cells = cells_of(encoder)
    report, reference = judge_on_cluster(parts, *model, ["roc_auc"], cells=cells, dataset="holdout")
    assert report == evaluate_on_cluster(parts, *model, ["roc_auc"])
    assert reference.rows == 1200
    assert reference.spec.slices == (("third", ("high", "low", "middle")),)
    ages = np.concatenate([one.encoded.numeric[:, 0] for one in units])
    expected = np.histogram(ages, [-np.inf, *reference.spec.columns[0].edges, np.inf])[0]  # type: ignore[union-attr]
    assert reference.overall[1].counts.tolist() == [0, *expected.tolist()]
    other_way = place(cluster, units[::-1], workers=[1, 0, 1, 0])
    _, again = judge_on_cluster(other_way, *model, ["roc_auc"], cells=cells, dataset="holdout")
    assert again.record() == reference.record()


def test_too_few_rows_to_judge_on_make_no_reference(cluster: Any, make_part: Any, place: Any, encoder: Any) -> None:
    parts = place(cluster, [make_part(0, 10)])
    model = LogisticTrainer().fit(parts, {}, 0)
    with pytest.raises(AccessDenied, match="fewer than 11"):
        judge_on_cluster(parts, *model, ["roc_auc"], cells=cells_of(encoder), dataset="holdout", min_group_size=11)
