import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

lightgbm = pytest.importorskip("lightgbm", reason="the extra lightgbm isn't installed")

from dataops.errors import Format, InvalidInput  # noqa: E402
from dataops.features.encoder import Encoded  # noqa: E402
from dataops.models.lightgbm import LightGbmModel, first_above, read_text  # noqa: E402
from dataops.models.predictor import LIGHTGBM, load_predictor  # noqa: E402

RANDOM = np.random.default_rng(6)
TRAIN = np.column_stack([RANDOM.normal(size=3_000), RANDOM.integers(0, 24, 3_000), RANDOM.integers(0, 7, 3_000)])
TARGET = (TRAIN[:, 0] + TRAIN[:, 1] % 5 > 2).astype(int)


def booster_of(**params: object) -> "lightgbm.Booster":
    settings = {"objective": "binary", "num_leaves": 15, "verbosity": -1, "num_threads": 1, "deterministic": True}
    return lightgbm.train({**settings, **params}, lightgbm.Dataset(TRAIN, label=TARGET), 25)


BOOSTER = booster_of()
TEXT = BOOSTER.model_to_string()


def rows_of(matrix: np.ndarray) -> Encoded:
    return Encoded.of(matrix.astype(np.float32), np.empty((len(matrix), 0), np.int32))


def load(text: str) -> LightGbmModel:
    model = load_predictor(LIGHTGBM, text.encode())
    assert isinstance(model, LightGbmModel)
    return model


@pytest.mark.parametrize("repeat", [1, 10], ids=["rows as they are", "rows that repeat"])
def test_scores_are_the_librarys_own(repeat: int) -> None:
    matrix = np.repeat(np.column_stack([np.round(TRAIN[:, 0], 1), TRAIN[:, 1:]]), repeat, axis=0).astype(np.float32)
    model = load(TEXT)
    np.testing.assert_allclose(model.predict(rows_of(matrix)), BOOSTER.predict(matrix), atol=1e-6)
    np.testing.assert_allclose(
        model.margins(rows_of(matrix)), BOOSTER.predict(matrix, raw_score=True), atol=1e-6, rtol=1e-6
    )
    whole = model.predict(rows_of(matrix))
    assert model.predict(rows_of(matrix[7:5_007])).tobytes() == whole[7:5_007].tobytes()


def test_zeros_that_count_as_missing_score_as_in_the_library() -> None:
    booster = booster_of(zero_as_missing=True)
    matrix = np.repeat(np.where(TRAIN > 1, TRAIN, 0), 5, axis=0).astype(np.float32)
    found = load(booster.model_to_string()).predict(rows_of(matrix))
    np.testing.assert_allclose(found, booster.predict(matrix), atol=1e-6)


def test_it_travels_and_takes_its_own_columns_only() -> None:
    model = pickle.loads(pickle.dumps(load(TEXT)))
    assert model.format == LIGHTGBM
    assert model.predict(rows_of(TRAIN[:0])).shape == (0,)
    with pytest.raises(InvalidInput, match="the model takes 3 columns, the encoder gives 2"):
        model.predict(rows_of(TRAIN[:, :2]))


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_is_above_a_threshold_if_it_reaches_the_first_above(threshold: float, value: float) -> None:
    (first,) = first_above(np.array([threshold]))
    assert (np.float32(value) >= first) == (float(np.float32(value)) > threshold)


def changed(pattern: str, to: str) -> str:
    text, count = re.subn(pattern, to, TEXT, count=1, flags=re.MULTILINE)
    assert count
    return text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tree\n",
        TEXT[: len(TEXT) // 2],
        TEXT.replace("end of trees", ""),
        changed("^objective=.*", "objective=cross_entropy"),
        changed("^objective=.*", "objective=binary sigmoid:2"),
        changed("^num_class=1", "num_class=3"),
        changed("^max_feature_idx=2", "max_feature_idx=1"),
        changed("^max_feature_idx=2", "max_feature_idx=2000000000"),
        changed("^version=v4", "version=v9"),
        changed("^version=v4", "version=v4\nsecret=CANARY"),
        changed("^tree_sizes=[0-9]+", "tree_sizes=99999999"),
        changed("^tree_sizes=[0-9]+ ", "tree_sizes="),
        changed("^tree_sizes=[0-9]+", "tree_sizes=CANARY"),
        changed("^num_leaves=[0-9]+", "num_leaves=9999"),
        changed("^num_leaves=[0-9]+", "num_leaves=-1"),
        changed("^num_cat=0", "num_cat=5"),
        changed("^split_feature=[0-9]+", "split_feature=77"),
        changed("^split_feature=[0-9]+", "split_feature=-7"),
        changed("^left_child=-?[0-9]+", "left_child=0"),
        changed("^left_child=-?[0-9]+", "left_child=4000"),
        changed("^right_child=-?[0-9]+", "right_child=-4000"),
        changed("^threshold=[^ ]+", "threshold=CANARY"),
        changed("^threshold=[^ ]+", "threshold=nan"),
        changed("^threshold=[^ ]+", "threshold=1_0"),
        changed("^leaf_value=[^ ]+ ", "leaf_value="),
        changed("^decision_type=[0-9]+", "decision_type=3"),
        changed("^is_linear=0", "is_linear=1"),
        changed("^Tree=1$", "Tree=0"),
    ],
)
def test_what_is_no_model_of_two_classes_is_refused_before_the_library_reads_it(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lightgbm, "Booster", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(Format) as refused:
        load(text)
    assert "CANARY" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(Format):
        load_predictor(LIGHTGBM, b"\xff\xfe" + TEXT.encode())


@settings(max_examples=150, deadline=None)
@given(st.integers(0, TEXT.index("end of trees")), st.binary(min_size=1, max_size=3))
def test_changed_bytes_are_refused_or_read_as_a_whole_model(place: int, other: bytes) -> None:
    data = TEXT.encode()
    data = data[:place] + other + data[place + len(other) :]
    try:
        model = load_predictor(LIGHTGBM, data)
    except Format:
        return
    assert np.isfinite(model.margins(rows_of(TRAIN))).all()


def test_what_stands_behind_the_trees_is_not_read() -> None:
    odd = TEXT[: TEXT.index("end of trees")] + "end of trees\n\nparameters:\n[CANARY: \x00]\n"
    assert read_text(odd.encode())[0] == read_text(TEXT.encode())[0]
    assert load(odd).predict(rows_of(TRAIN)).tobytes() == load(TEXT).predict(rows_of(TRAIN)).tobytes()
