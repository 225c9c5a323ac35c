"""Most of these need oneDAL (the extra ``onedal``); without it they are passed over, and XGBoost scores."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dataops.errors import Compute
from dataops.features.encoder import Encoded
from dataops.models import onedal
from dataops.models.boosted import BoostedModel
from dataops.models.onedal import (
    TOLERANCE,
    WORTH_SECONDS,
    Choice,
    OneDalModel,
    check_batch,
    choose,
    difference,
    with_kernel,
)

needs_onedal = pytest.mark.skipif(not onedal.is_installed(), reason="oneDAL isn't installed")


@pytest.fixture(scope="module")
def model() -> BoostedModel:
    import xgboost

    random = np.random.default_rng(4)
    matrix = random.normal(size=(4_000, 6)).astype(np.float32)
    target = (matrix[:, 0] + matrix[:, 1] ** 2 > 1).astype(np.float32)
    params = {"objective": "binary:logistic", "nthread": 1, "max_depth": 5}
    return BoostedModel.from_bytes(bytes(xgboost.train(params, xgboost.DMatrix(matrix, label=target), 30).save_raw()))


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onedal, "is_installed", lambda: False)


def rows_of(matrix: np.ndarray) -> Encoded:
    return Encoded.of(matrix, np.empty((len(matrix), 0), np.int32))


def test_the_batch_has_rows_on_every_columns_thresholds_and_beside(model: BoostedModel) -> None:
    batch = check_batch(model)
    assert batch.tobytes() == check_batch(model).tobytes()
    assert np.isfinite(batch).all()
    for place, values in model.thresholds.items():
        found = set(batch[:, place].tolist())
        thresholds = np.array(values, np.float32)
        below = np.nextafter(thresholds, np.float32(-np.inf))
        assert set(thresholds.tolist()) <= found
        assert len(found & set(below.tolist())) > len(set(below.tolist())) / 2


@pytest.mark.usefixtures("absent")
def test_where_it_is_not_installed_xgboost_scores(model: BoostedModel) -> None:
    assert with_kernel(model, "xgboost", 1) is model
    with pytest.raises(Compute, match="isn't installed on this worker"):
        with_kernel(model, "onedal", 1)


def test_for_few_rows_xgboost_scores() -> None:
    choice = Choice(kernel="onedal", reason="faster", row_seconds=1e-6)
    assert choice.for_rows(int(0.9 * WORTH_SECONDS * 1e6)) == "xgboost"
    assert choice.for_rows(int(1.1 * WORTH_SECONDS * 1e6)) == "onedal"
    assert replace(choice, kernel="xgboost").for_rows(10**12) == "xgboost"


def test_what_it_can_not_take_xgboost_scores(model: BoostedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onedal, "_convert", lambda *_: None)
    found = choose(model)
    assert (found.kernel, found.reason) == ("xgboost", "oneDAL can't take the model (AttributeError)")
    assert 0 < found.row_seconds < 1e-3


def test_a_clock_in_coarse_steps_tells_how_long_a_short_step_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = [0]  # milliseconds
    monkeypatch.setattr(onedal, "time", SimpleNamespace(thread_time=lambda: spent[0] // 10 / 100))

    def step() -> None:
        spent[0] += 4

    assert onedal._seconds(step) == pytest.approx(0.004, rel=0.1)


class Slightly:
    """XGBoost, with an error."""

    def __init__(self, model: BoostedModel, error: float, *, in_batches: bool = False) -> None:
        self.model, self.error, self.in_batches = model, error, in_batches

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        found = self.model.of_rows(matrix, "value")
        found[0] += self.error if not self.in_batches else len(matrix) * 5e-11
        return np.column_stack([1 - found, found])


@pytest.mark.parametrize(
    ("error", "in_batches", "message"),
    [
        (10 * TOLERANCE, False, "differ from XGBoost's by 1e-05"),
        (np.nan, False, "differ from XGBoost's by nan"),
        (0.0, True, "depend on the rows beside it"),
    ],
)
def test_scores_that_differ_are_not_taken(
    model: BoostedModel, error: float, in_batches: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onedal, "_convert", lambda *_: Slightly(model, error, in_batches=in_batches))
    found = choose(model)
    assert (found.kernel, message in found.reason) == ("xgboost", True), found


@needs_onedal
def test_its_scores_are_xgboosts_within_the_tolerance_and_alike_in_any_batch(model: BoostedModel) -> None:
    other = OneDalModel(model, 1)
    matrix = np.random.default_rng(5).normal(size=(30_000, 6)).astype(np.float32)
    assert difference(model, other, check_batch(model)) is None
    whole = other.predict(rows_of(matrix))
    np.testing.assert_allclose(whole, model.predict(rows_of(matrix)), atol=TOLERANCE, rtol=0)
    for rows in (slice(0, 1), slice(3, 70), slice(64, 10_064), slice(1, 30_000)):
        assert other.predict(rows_of(matrix[rows])).tobytes() == whole[rows].tobytes()
    assert other.margins(rows_of(matrix)).tobytes() == model.margins(rows_of(matrix)).tobytes()
    assert other.predict(rows_of(matrix[:0])).shape == (0,)
    assert pickle.loads(pickle.dumps(other)).predict(rows_of(matrix)).tobytes() == whole.tobytes()


@needs_onedal
def test_a_choice_says_why(model: BoostedModel) -> None:
    found = choose(model)
    assert (found.kernel == "onedal") == ("gives the same scores" in found.reason)
