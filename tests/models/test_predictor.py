import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import Format, Integrity, InvalidInput
from dataops.features.encoder import Encoded
from dataops.models.boosted import BoostedModel
from dataops.models.linear import LinearModel
from dataops.models.predictor import load_predictor
from dataops.records import canonical_bytes

WEIGHTS = st.floats(-5, 5)


def encoded_of(rows: int, *, numeric: int = 3, sizes: tuple[int, ...] = (4, 2), seed: int = 0) -> Encoded:
    random = np.random.default_rng(seed)
    codes = np.column_stack([random.integers(0, size, rows) for size in sizes]) if sizes else np.empty((rows, 0))
    return Encoded.of(numeric=random.normal(size=(rows, numeric)).astype(np.float32), codes=codes.astype(np.int32))


def booster_of(encoded: Encoded, **params: Any) -> Any:
    import xgboost

    target = (encoded.numeric[:, 0] + encoded.codes[:, 0] > 1).astype(np.float32)
    data = xgboost.DMatrix(encoded.values, label=target)
    return xgboost.train({"objective": "binary:logistic", "nthread": 1, "max_depth": 3, **params}, data, 8)


@pytest.fixture(scope="module")
def ubj() -> bytes:
    return bytes(booster_of(encoded_of(500)).save_raw("ubj"))


MODEL = LinearModel(intercept=-0.3, numeric=(1.5, -2.0, 0.1), categorical=((0.0, 1.0, -1.0, 3.0), (0.5, -0.5)))


@settings(max_examples=40)
@given(st.lists(WEIGHTS, min_size=9, max_size=9), WEIGHTS, st.integers(0, 99))
def test_a_linear_model_is_a_dot_product_with_one_hot_columns(
    weights: list[float], intercept: float, seed: int
) -> None:
    encoded = encoded_of(50, seed=seed)
    model = LinearModel(
        intercept=intercept, numeric=tuple(weights[:3]), categorical=(tuple(weights[3:7]), tuple(weights[7:]))
    )
    one_hot = [np.eye(size)[encoded.codes[:, place]] for place, size in enumerate((4, 2))]
    margins = np.column_stack([encoded.numeric, *one_hot]) @ np.array(weights) + intercept
    np.testing.assert_allclose(model.predict(encoded), 1 / (1 + np.exp(-margins)), rtol=1e-6)


def test_a_row_scores_the_same_to_the_bit_in_any_batch() -> None:
    encoded = encoded_of(40_000)  # more than two blocks
    whole = MODEL.predict(encoded)
    for rows in (slice(0, 1), slice(16_383, 16_386), slice(39_999, 40_000), slice(7, 12_345)):
        part = Encoded.of(numeric=encoded.numeric[rows], codes=encoded.codes[rows])
        assert MODEL.predict(part).tobytes() == whole[rows].tobytes()


def test_far_margins_give_zero_and_one_without_a_warning() -> None:
    encoded = Encoded.of(numeric=np.array([[1e30], [-1e30]], np.float32), codes=np.empty((2, 0), np.int32))
    assert LinearModel(intercept=0.0, numeric=(1e9,), categorical=()).predict(encoded).tolist() == [1.0, 0.0]


def test_no_row_gives_no_score(ubj: bytes) -> None:
    for model in (MODEL, load_predictor("xgboost-ubj/1", ubj)):
        found = model.predict(encoded_of(0))
        assert (found.shape, found.dtype) == ((0,), np.float32)


@settings(max_examples=40)
@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5),
)
def test_a_linear_model_survives_its_bytes(intercept: float, weights: list[float]) -> None:
    model = LinearModel(intercept=intercept, numeric=tuple(weights), categorical=((), tuple(weights)))
    again = load_predictor("linear-json/1", model.to_bytes())
    assert again == model
    assert again.format == "linear-json/1"
    assert again.to_bytes() == model.to_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"intercept": None},
        {"intercept": "0"},
        {"intercept": True},
        {"numeric": [1.0, None]},
        {"categorical": [1.0]},
        {"categorical": None},
        {"format": "dataops/linear-model/2"},
        {"numeric": [10**400]},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_changed_linear_model_is_a_format_error(change: dict[str, Any]) -> None:
    with pytest.raises(Format):
        LinearModel.from_bytes(canonical_bytes({**json.loads(MODEL.to_bytes()), **change}))


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\x00", b'{"intercept": NaN, "format": "dataops/linear-model/1"}'])
def test_bytes_that_are_no_linear_model_are_a_format_error(data: bytes) -> None:
    with pytest.raises(Format):
        LinearModel.from_bytes(data)


def test_a_model_of_another_encoder_is_refused(ubj: bytes) -> None:
    for model in (MODEL, load_predictor("xgboost-ubj/1", ubj)):
        with pytest.raises(InvalidInput, match="don't belong together"):
            model.predict(encoded_of(5, numeric=4))
    beyond = Encoded.of(numeric=np.zeros((1, 3), np.float32), codes=np.array([[4, 0]], np.int32))
    with pytest.raises(Integrity, match="don't belong together"):  # of the model: no row is set aside for it
        MODEL.predict(beyond)


def test_a_boosted_model_predicts_as_xgboost_does(ubj: bytes) -> None:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(ubj))
    encoded = encoded_of(1000, seed=9)
    expected = booster.predict(xgboost.DMatrix(encoded.values))
    model = load_predictor("xgboost-ubj/1", ubj)
    found = model.predict(encoded)
    assert (found.dtype, model.format) == (np.float32, "xgboost-ubj/1")
    np.testing.assert_array_equal(found, expected)


def test_threads_and_pickling_change_no_bit(ubj: bytes) -> None:
    encoded = encoded_of(3000, seed=2)
    one, two = (load_predictor("xgboost-ubj/1", ubj, threads=threads) for threads in (1, 2))
    again = pickle.loads(pickle.dumps(one))
    assert one.predict(encoded).tobytes() == two.predict(encoded).tobytes() == again.predict(encoded).tobytes()


@pytest.mark.parametrize("data", [b"", b"not a model", b"{}", b'{"learner": {}}', b"{L"])
def test_bytes_that_xgboost_cannot_load_are_a_format_error(data: bytes) -> None:
    with pytest.raises(Format, match=f"{len(data)} bytes"):
        BoostedModel.from_bytes(data)


def test_a_truncated_boosted_model_is_a_format_error(ubj: bytes) -> None:
    with pytest.raises(Format):
        BoostedModel.from_bytes(ubj[: len(ubj) // 2])


@pytest.mark.parametrize("params", [{"objective": "binary:hinge"}, {"objective": "multi:softprob", "num_class": 2}])
def test_a_booster_of_another_objective_is_refused(params: dict[str, Any]) -> None:
    data = bytes(booster_of(encoded_of(100), **params).save_raw("ubj"))
    with pytest.raises(Format, match="expected one of binary:logistic"):
        BoostedModel.from_bytes(data)


def test_an_unknown_format_is_refused_with_its_near_match() -> None:
    with pytest.raises(Format, match=r"'linear-json/3'.*Did you mean 'linear-json/[12]'"):
        load_predictor("linear-json/3", b"")
