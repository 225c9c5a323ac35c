"""Means of the target: exact for any split, smoothed as said, and without a word of a row's own target in training."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.features import CategoricalFeatures, FeatureSpec
from dataops.errors import InvalidInput
from dataops.features.encoder import Encoded, OutOfFold, encode
from dataops.features.fitting import Fitted, asked_of, fit_features
from dataops.features.summary import Summary, merge, summarise
from dataops.features.target import FOLDS, Outcomes, TargetMeans, target_means
from dataops.records import canonical_bytes

ROW = st.tuples(st.none() | st.sampled_from(["a", "b", "c", ""]), st.integers(0, 1), st.integers(0, FOLDS - 1))
ROWS = st.lists(ROW, max_size=60)


def summary_of(rows: Any) -> Summary:
    texts, targets, folds = zip(*rows, strict=True) if rows else ((), (), ())
    outcomes = Outcomes(target=np.array(targets, np.float32), folds=np.array(folds, np.uint8))
    return summarise(pa.table({"c": pa.array(texts, pa.string())}), (), (), ("c",), outcomes)


def means_of(rows: Any, **how: Any) -> TargetMeans:
    return target_means(summary_of(rows).target_column("c"), **{"min_count": 1, "smoothing": 0.0, **how})


def by_hand(rows: Any, category: str | None, known: set[str], smoothing: float) -> float:
    prior = sum(row[1] for row in rows) / len(rows) if rows else 0.0
    own = [row[1] for row in rows if (row[0] if row[0] in known else None) == category]
    return (sum(own) + smoothing * prior) / (len(own) + smoothing) if len(own) + smoothing else prior


@settings(max_examples=80)
@given(ROWS, st.sampled_from([0.0, 2.0, 10.0]), st.integers(1, 3))
def test_means_are_smoothed_and_out_of_fold_is_without_the_fold(rows: Any, smoothing: float, min_count: int) -> None:
    means = means_of(rows, smoothing=smoothing, min_count=min_count)
    texts = [row[0] for row in rows if row[0] is not None]
    known = {text for text in texts if texts.count(text) >= min_count}
    assert means.categories == tuple(sorted(known))
    for place, category in enumerate([*sorted(known), None]):
        assert means.means[place] == pytest.approx(by_hand(rows, category, known, smoothing))
        for fold in range(FOLDS):
            others = [row for row in rows if row[2] != fold]
            assert means.by_fold[fold, place] == pytest.approx(by_hand(others, category, known, smoothing))


@settings(max_examples=40)
@given(ROWS, st.lists(st.integers(0, 60), max_size=4))
def test_any_split_of_the_rows_gives_the_same_sums(rows: Any, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [summary_of(rows[start:stop]) for start, stop in itertools.pairwise(bounds)]
    whole = canonical_bytes(summary_of(rows).record())
    assert canonical_bytes(merge(parts).record()) == whole
    assert canonical_bytes(merge(parts[::-1]).record()) == whole
    assert canonical_bytes(Summary.from_record(json.loads(whole)).record()) == whole


def test_others_of_too_few_rows_count_nowhere() -> None:
    rows = [("a", place % 2, place % FOLDS) for place in range(40)] + [("rare", 1, 0), (None, 1, 1)]
    assert means_of(rows, least=5).means.tolist() == means_of(rows[:40], least=5).means.tolist()
    assert means_of(rows, least=1, min_count=5).means[-1] == 1.0


def test_a_target_of_whole_numbers_has_means_too() -> None:
    outcomes = Outcomes(target=np.array([-30, 90, 5], np.float32), folds=np.array([0, 1, 2]))
    summary = summarise(pa.table({"c": ["a", "a", "b"]}), (), (), ("c",), outcomes)
    means = target_means(summary.target_column("c"), min_count=1, smoothing=0.0)
    assert means.means.tolist() == [30, 5, pytest.approx(65 / 3)]
    assert means.by_fold[0].tolist() == [90, 5, 47.5]


def test_a_target_that_is_no_whole_number_is_refused() -> None:
    outcomes = Outcomes(target=np.array([0.5], np.float32), folds=np.zeros(1, np.uint8))
    with pytest.raises(InvalidInput, match="takes a target of true/false or of whole numbers"):
        summarise(pa.table({"c": ["a"]}), (), (), ("c",), outcomes)


def fit_noise(rows: int, distinct: int, smoothing: float) -> tuple[Fitted, pa.Table, Any, Any]:
    random = np.random.default_rng(11)
    table = pa.table({"c": pa.array([f"v{code}" for code in random.integers(0, distinct, rows)])})
    target = (random.random(rows) < 0.4).astype(np.float32)  # says nothing of the category
    folds = random.integers(0, FOLDS, rows).astype(np.uint8)
    spec = FeatureSpec(categorical=CategoricalFeatures(columns=("c",), encode="target", smoothing=smoothing))
    asked = asked_of(spec)
    summary = summarise(table, asked.numeric, asked.categorical, asked.targets, Outcomes(target=target, folds=folds))
    return fit_features(summary, spec), table, target, folds


def learn(encoded: Encoded, target: Any) -> Any:
    import xgboost

    params = {"objective": "binary:logistic", "max_depth": 4, "learning_rate": 0.3, "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(encoded.values, target), 30)
    return lambda one: booster.predict(xgboost.DMatrix(one.values))


def auc(target: Any, scores: Any) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(target, scores))


@pytest.mark.parametrize("distinct", [20, 2000])
@pytest.mark.parametrize("smoothing", [0.0, 10.0])
def test_categories_of_pure_noise_do_not_leak_the_target(distinct: int, smoothing: float) -> None:
    rows = 12_000
    fitted, table, target, folds = fit_noise(rows, distinct, smoothing)
    train, fresh = slice(0, rows // 2), slice(rows // 2, rows)
    # fitted on one half alone
    spec = FeatureSpec(categorical=CategoricalFeatures(columns=("c",), encode="target", smoothing=smoothing))
    summary = summarise(
        table[train.start : train.stop], (), (), ("c",), Outcomes(target=target[train], folds=folds[train])
    )
    fitted = fit_features(summary, spec)
    learning = table[train.start : train.stop]
    out_of_fold = encode(fitted.encoder, learning, OutOfFold(folds=folds[train], values=fitted.by_fold))
    own = encode(fitted.encoder, learning)
    other = encode(fitted.encoder, table[fresh.start : fresh.stop])
    if distinct == 2000:  # three rows a category: a row's own target shows, where it is let in
        assert auc(target[train], own.numeric[:, 0]) > 0.7
    assert abs(auc(target[train], out_of_fold.numeric[:, 0]) - 0.5) < 0.03
    assert abs(auc(target[fresh], learn(out_of_fold, target[train])(other)) - 0.5) < 0.03
