"""The join of scores with outcomes, over arrays."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.declarations.metrics import Points, Task
from dataops.errors import ContractViolation
from dataops.training.evaluate import evaluate_scores, report
from dataops.training.outcome_join import Joined, Keyed, Measured, join
from dataops.training.realised_figures import Scorer, version_figures
from dataops.training.tasks import judge_of

METRICS = ("accuracy", "brier")


def _keyed(keys: list[int], values: list[float], slices: list[str] | None = None) -> Keyed:
    numbers = np.array(keys, np.uint64)
    return Keyed(
        keys=np.array([numbers // np.uint64(3), numbers]),  # three keys share a first hash
        values=np.array([values], np.float32),
        slices={} if slices is None else {"town": pa.array(slices, pa.string())},
        receipts=(),
    )


def _cut(rows: Keyed, edges: list[int]) -> list[Keyed]:
    parts = zip(
        np.split(rows.keys, edges, axis=1),
        np.split(rows.values, edges, axis=1),
        np.split(np.array(rows.slices["town"].to_pylist()), edges) if rows.slices else [None] * (len(edges) + 1),
        strict=True,
    )
    return [
        Keyed(keys=k, values=v, slices={} if s is None else {"town": pa.array(s.tolist(), pa.string())}, receipts=())
        for k, v, s in parts
    ]


@given(
    st.dictionaries(st.integers(0, 40), st.sampled_from([0.0, 1.0]), min_size=1),
    st.lists(st.integers(0, 50), max_size=40),
    st.lists(st.integers(0, 40), max_size=3).map(sorted),
)
def test_judges_the_rows_that_have_an_outcome(known: dict[int, float], wanted: list[int], edges: list[int]) -> None:
    outcomes = _keyed(list(known), list(known.values()), [f"t{key % 3}" for key in known])
    scored = _keyed(wanted, [0.25] * len(wanted))
    inside = [key for key in wanted if key in known]
    found = join(
        _cut(outcomes, [edge for edge in edges if edge <= len(known)]),
        _cut(scored, edges),
        models=[[""]] * (len(edges) + 1),
    )
    assert (found.scored, found.outcomes, found.judged) == (len(wanted), len(known), len(inside))
    if inside:
        figures = report(found.models[""].evaluation, METRICS)
        assert figures["rows"] == len(inside)
        right = sum(known[key] == 0 for key in inside) / len(inside)
        assert figures["overall"]["accuracy"] == pytest.approx(right)
        sizes = {value: one["rows"] for value, one in figures["slices"]["town"].items()}
        assert sizes == {town: n for town in ("t0", "t1", "t2") if (n := sum(f"t{key % 3}" == town for key in inside))}


def test_shares_add_up() -> None:
    one = join([_keyed([0, 4], [0, 1])], [_keyed([0], [0.1])], models=[[""]])
    other = join([_keyed([8], [1])], [_keyed([8, 9], [0.1, 0.2])], models=[[""]])
    both = Joined().with_share(one).with_share(other)
    assert (both.scored, both.outcomes, both.judged) == (3, 3, 2)
    assert both.models[""].judged == 2


def test_a_key_that_stands_twice_is_refused_by_its_count() -> None:
    with pytest.raises(ContractViolation, match="1 outcomes have a key that another one has too"):
        join([_keyed([4], [0]), _keyed([4], [1])], [], models=[])


def test_keys_of_one_first_hash_are_told_apart() -> None:
    found = join([_keyed([3], [1])], [_keyed([4, 5, 3], [0.1, 0.1, 0.9])], models=[[""]])
    assert found.judged == 1


def test_no_row_is_lost_where_outcomes_share_a_first_hash() -> None:
    found = join([_keyed([3, 4, 5], [1, 0, 1])], [_keyed([5, 4, 3, 6], [0.9, 0.1, 0.9, 0.1])], models=[[""]])
    assert found.judged == 3
    assert report(found.models[""].evaluation, METRICS)["overall"]["accuracy"] == 1


def test_rows_judge_what_made_their_scores() -> None:
    outcomes = [_keyed([0, 4, 8], [0, 1, 1])]
    parts = [_keyed([0, 4], [0.1, 0.9]), _keyed([8, 12], [0.1, 0.1]), _keyed([4], [0.9])]
    found = join(outcomes, parts, models=[["first"], ["second"], [None]])
    assert {name: (one.scored, one.judged) for name, one in found.models.items()} == {"first": (2, 2), "second": (2, 1)}
    right = {name: report(one.evaluation, METRICS)["overall"]["accuracy"] for name, one in found.models.items()}
    assert right == {"first": 1, "second": 0}


def test_what_is_kept_does_not_grow_with_parts_and_shares() -> None:
    outcomes, part = [_keyed([0, 4], [0, 1])], _keyed([0, 4], [0.1, 0.9])
    one = join(outcomes, [part], models=[[""]])
    many = join(outcomes, [part] * 50, models=[[""]] * 50).with_share(join(outcomes, [part] * 50, models=[[""]] * 50))
    assert many.judged == many.models[""].judged == 200
    assert len(pickle.dumps(many)) <= len(pickle.dumps(one)) + 100


def test_rows_without_a_key_are_counted_and_judge_nothing() -> None:
    outcomes, scored = (replace(_keyed([4], [1.0]), keyless=keyless) for keyless in (2, 3))
    found = join([outcomes], [scored], models=[[""]])
    assert (found.scored, found.outcomes, found.judged) == (4, 3, 1)
    assert (found.scored_keyless, found.outcomes_keyless) == (3, 2)
    assert (found.models[""].scored, found.models[""].judged) == (4, 1)


def test_an_empty_side_judges_nothing() -> None:
    nothing: npt.NDArray[np.float32] = np.empty((1, 0), np.float32)
    empty = Keyed(keys=np.empty((2, 0), np.uint64), values=nothing, slices={}, receipts=())
    assert join([empty], [_keyed([1], [0.5])], models=[[""]]).judged == 0
    assert join([_keyed([1], [1])], [empty], models=[[""]]).judged == 0
    assert join([], [], models=[]) == Joined()


def test_decisions_on_outcomes_are_judged_at_the_threshold_of_the_job() -> None:
    outcomes, scored = _keyed([0, 1, 2, 3], [1, 1, 0, 0]), _keyed([0, 1, 2, 3], [0.2, 0.4, 0.3, 0.1])
    for threshold, f1 in ((0.5, 0.0), (0.3, 0.5), (0.15, 0.8)):
        points = Points(threshold=threshold, top_share=0.5)
        parts = [_cut(scored, [2]), [[""]] * 2]
        found = join([outcomes], parts[0], models=parts[1], points=points)
        figures = report(found.models[""].evaluation, ("f1", "lift"), points=points)
        assert figures["overall"]["f1"] == pytest.approx(f1)
        assert (figures["overall"]["lift"], figures["threshold"]) == (pytest.approx(1.0), threshold)


def test_a_figure_that_would_tell_of_few_rows_of_one_company_is_not_compared() -> None:
    """Of both companies together it tells of enough; that of the one could be had by difference from the other's."""

    def judged(seed: int, reaching: int) -> Measured:
        random = np.random.default_rng(seed)
        scores = np.r_[np.full(reaching, 0.9), random.uniform(0, 0.4, 400 - reaching)].astype(np.float32)
        evaluation = evaluate_scores(scores, (random.random(400) < 0.4).astype(np.float32))
        return Measured(scored=400, evaluation=evaluation)

    one, other, third = (Scorer(name=name, model="m", version=at, digest=name) for at, name in enumerate("abc"))
    measures = judge_of(Task.BINARY).measures(["roc_auc", "precision"])
    for reaching, shown in (
        (60, {"roc_auc", "roc_auc_error_bound", "precision"}),
        (3, {"roc_auc", "roc_auc_error_bound"}),
    ):
        together = {
            frozenset({one, other}): {one: judged(1, 200), other: judged(2, 200)},
            frozenset({one, other, third}): {one: judged(3, reaching), other: judged(4, 200), third: judged(5, 200)},
        }
        found = version_figures(Joined(together=together), [{"a": one, "b": other, "c": third}], measures, 50)
        assert [set(each["overall"]) for pair in found["compared"] for each in pair["versions"]] == [shown] * 6
