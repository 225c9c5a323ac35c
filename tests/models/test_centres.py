"""Centres of a clustering: which is nearest, in any batch, and files that hold no centres."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dataops.errors import Format, Integrity, InvalidInput
from dataops.features.encoder import CategoricalColumn, Encoded, Encoder, NumericColumn
from dataops.features.program import compose_program
from dataops.features.steps import RowSteps
from dataops.models.centres import CentresModel, certain
from dataops.models.golden import Golden, check_golden, make_golden
from dataops.models.pipeline import _MODELS
from dataops.models.predictor import CENTRES, load_predictor

PLAIN = CentresModel(numeric=((0.0, 0.0), (2.0, 0.0), (0.0, 2.0)), categorical=((), (), ()))
MIXED = CentresModel(
    numeric=((0.0,), (3.0,)), categorical=(((0.0, 1.0, 0.0), (0.5, 0.5)), ((0.25, 0.25, 0.5), (1.0, 0.0)))
)


def rows(numeric, codes=None) -> Encoded:
    numeric = np.asarray(numeric, np.float32)
    return Encoded.of(
        numeric=numeric, codes=np.zeros((len(numeric), 0), np.int32) if codes is None else np.array(codes)
    )


def test_the_nearest_centre_is_taken_and_of_equally_near_ones_the_first():
    found = PLAIN.nearest(rows([[0, 0], [1, 0], [1, 1], [5, 0], [0.9, 3]]))
    assert found["cluster"].tolist() == [0, 0, 0, 1, 2]
    np.testing.assert_allclose(found["distance"], [0, 1, np.sqrt(2), 3, np.hypot(0.9, 1)], rtol=1e-6)
    np.testing.assert_allclose(found["next"], [2, 1, np.sqrt(2), 5, np.hypot(0.9, 3)], rtol=1e-6)
    assert PLAIN.predict(rows([[5, 0]])).tolist() == [1.0]
    assert PLAIN.margins(rows([[5, 0]])).tolist() == [3.0]


def test_a_code_counts_as_a_column_of_its_own():
    codes = [[1, 0], [2, 0], [0, 1]]
    dense = np.zeros((3, 6))
    dense[:, 0] = [0, 1, 2]
    for row, (first, second) in enumerate(codes):
        dense[row, 1 + first] = dense[row, 4 + second] = 1
    centres = np.array([[0, 0, 1, 0, 0.5, 0.5], [3, 0.25, 0.25, 0.5, 1, 0]])
    apart = np.sqrt(((dense[:, None] - centres[None]) ** 2).sum(axis=2))
    found = MIXED.nearest(rows(dense[:, :1], codes))
    np.testing.assert_allclose(found["distance"], apart.min(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found["next"], apart.max(axis=1), rtol=1e-6)
    assert found["cluster"].tolist() == apart.argmin(axis=1).tolist()


@given(arrays(np.float32, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(-100, 100, width=32)))
def test_a_row_s_answer_is_the_same_to_the_bit_in_any_batch(values):
    whole = PLAIN.nearest(rows(values))
    one_by_one = np.concatenate([PLAIN.nearest(rows(values[place : place + 1])) for place in range(len(values))])
    assert whole.tobytes() == one_by_one.tobytes()


def test_a_row_beyond_float32_has_no_cluster():
    far = rows([[3.4e38, 3.4e38], [1, 1]])
    assert np.isnan(PLAIN.predict(far)).tolist() == [True, False]
    assert np.isinf(PLAIN.margins(far)).tolist() == [True, False]


def test_the_model_comes_back_from_its_bytes_to_the_bit():
    for model in (PLAIN, MIXED):
        found = load_predictor(CENTRES, model.to_bytes())
        assert found == model
        assert (found.format, found.task) == ("clusters-json/1", "clusters")
        assert found.to_bytes() == model.to_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        {"numeric": [[0.0]]},
        {"numeric": [[0.0, 1.0], [1.0]]},
        {"numeric": [[0.0], ["1"]]},
        {"numeric": [[0.0], [True]]},
        {"numeric": [[0.0], [10**400]]},
        {"numeric": [[], []], "categorical": [[], []]},
        {"categorical": [[], [[0.5, 0.5]]]},
        {"categorical": [[]]},
        {"numeric": [[0.0]] * 1001, "categorical": [[]] * 1001},
        {"numeric": {"0": [1.0]}},
    ],
)
def test_what_isn_t_centres_is_refused(changed):
    record = {"format": "dataops/cluster-centres/1", "numeric": [[0.0], [1.0]], "categorical": [[], []]} | changed
    data = json.dumps(record, separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(Format, match=r"not the centres of a clustering|cluster-centres"):
        CentresModel.from_bytes(data)


def test_rows_of_another_encoder_are_refused():
    with pytest.raises(InvalidInput, match="takes 2 numeric and 0 categorical columns, the encoder gives 1 and 0"):
        PLAIN.nearest(rows([[1]]))
    with pytest.raises(Integrity, match="beyond the shares"):
        MIXED.nearest(rows([[1]], [[3, 0]]))


@pytest.mark.parametrize("model", [PLAIN, MIXED])
def test_scikit_learn_s_kmeans_of_the_centres_finds_the_same_clusters(model):
    random = np.random.default_rng(0)
    sizes = [len(shares) for shares in model.categorical[0]]
    encoder = Encoder(
        numeric=tuple(NumericColumn(name=f"n{i}", fill=0, mean=0, scale=1) for i in range(len(model.numeric[0]))),
        categorical=tuple(
            CategoricalColumn(name=f"c{i}", categories=tuple(map(str, range(size - 1)))) for i, size in enumerate(sizes)
        ),
    )
    some = (
        rows(
            random.normal(1, 2, (500, len(model.numeric[0]))),
            np.stack([random.integers(0, n, 500) for n in sizes], axis=1),
        )
        if sizes
        else rows(random.normal(1, 2, (500, 2)))
    )
    values = some.values
    for _, step in (steps := _MODELS[CENTRES](model.to_bytes(), encoder, model.task, 1))[:-1]:
        values = step.transform(values)
    found, ours = steps[-1][1].predict(values), model.nearest(some)
    assert (found == ours["cluster"])[certain(ours)].all()
    assert certain(ours).mean() > 0.9


def test_golden_rows_hold_clusters_that_no_rounding_decides():
    encoder = Encoder(numeric=(NumericColumn(name="age", fill=40, mean=40, scale=10),), categorical=())
    program = compose_program(pa.schema([("age", pa.int32())]), RowSteps(), encoder)
    model = CentresModel(numeric=((-1.0,), (1.0,)), categorical=((), ()))  # an age of 40 lies between
    golden = make_golden(program, model)
    assert set(golden.predictions) == {0.0, 1.0}
    assert 40 not in {row[0] for row in golden.rows}
    assert Golden.from_record(golden.record()) == golden
    assert "clusters" in golden.record()
    check_golden(golden, program, model)
    with pytest.raises(Integrity, match="answers otherwise"):
        check_golden(golden, program, CentresModel(numeric=((1.0,), (-1.0,)), categorical=((), ())))
    with pytest.raises(Format, match="not golden rows"):
        Golden.from_record({**golden.record(), "clusters": [0.5] * len(golden.rows)})
