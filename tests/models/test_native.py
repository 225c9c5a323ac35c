"""XGBoost's trees without XGBoost's package: the same answers to the bit, from any number of threads."""

from __future__ import annotations

import copy
import ctypes
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import xgboost

from dataops.errors import Compute, Format, InvalidInput
from dataops.features.encoder import Encoded
from dataops.models import native
from dataops.models.boosted import BoostedModel, load_booster
from dataops.models.native import load_native
from tests.compat.writing import HERE

DATA = (HERE / "xgboost-ubj-1.ubj").read_bytes()


def make_rows(rows: int, seed: int = 0) -> Encoded:
    random = np.random.default_rng(seed)
    numeric = random.normal(0, 2, (rows, 2)).astype(np.float32)
    return Encoded.of(numeric=numeric, codes=random.integers(0, 4, (rows, 2)).astype(np.int32))


@pytest.fixture
def model() -> native.NativeModel:
    found = load_native(DATA)
    if found is None:
        pytest.skip("XGBoost's library lies elsewhere here")
    assert isinstance(found, native.NativeModel)
    return found


@pytest.mark.parametrize("rows", [0, 1, 7, 3000])
def test_answers_are_those_of_the_package_to_the_bit(model: native.NativeModel, rows: int) -> None:
    package, encoded = load_booster(DATA, 1), make_rows(rows)
    for kind, ours in (("value", model.predict), ("margin", model.margins)):
        theirs = package.inplace_predict(encoded.values, predict_type=kind) if rows else np.empty(0, np.float32)
        assert ours(encoded).tobytes() == theirs.tobytes()
    assert (model.columns, model.rounds) == (package.num_features(), package.num_boosted_rounds())
    assert json.loads(model.to_json()) == json.loads(bytes(package.save_raw("json")))


@pytest.mark.parametrize("elsewhere", [False, True], ids=["library found", "library elsewhere"])
def test_a_rescore_scores_alike_with_the_package_and_without(
    model: native.NativeModel, monkeypatch: pytest.MonkeyPatch, *, elsewhere: bool
) -> None:
    if elsewhere:
        monkeypatch.setattr("dataops.models.boosted.load_native", lambda *_: None)
    scorer, encoded = BoostedModel.from_bytes(DATA), make_rows(3000)
    assert scorer.predict(encoded).tobytes() == model.predict(encoded).tobytes()
    assert scorer.margins(encoded).tobytes() == model.margins(encoded).tobytes()
    assert (scorer.format, scorer.task, scorer.columns) == (model.format, model.task, model.columns)
    assert scorer.thresholds
    with pytest.raises(Format, match="not an XGBoost model"):
        BoostedModel.from_bytes(b"{Lnothing of the kind")


def test_threads_share_a_model(model: native.NativeModel) -> None:
    batches = [make_rows(1 + 37 * seed, seed) for seed in range(40)]
    want = [model.predict(batch).tobytes() for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert [got.tobytes() for got in pool.map(model.predict, batches)] == want


def test_models_that_follow_one_another_leave_no_memory_in_the_threads_that_scored(
    model: native.NativeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = model._library._functions
    made: list[str] = []

    class Counted:
        def __getattr__(self, name: str) -> Any:
            if name in {"XGBoosterCreate", "XGBoosterFree"}:
                made.append(name)
            return getattr(functions, name)

    library = native._Library(Counted())
    monkeypatch.setattr(native, "_library", lambda: library)
    serving = load_native(DATA)
    for _ in range(20):
        serving = load_native(DATA)
        assert serving is not None
        serving.predict(make_rows(3))
    # each booster has memory in each thread that ever scored with it, until that thread ends
    assert made == ["XGBoosterCreate"] * 2


def test_a_model_that_comes_after_another_answers_as_if_it_were_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = native._library()
    if found is None:
        pytest.skip("XGBoost's library lies elsewhere here")
    library = native._Library(found._functions)
    monkeypatch.setattr(native, "_library", lambda: library)
    random = np.random.default_rng(4)
    kinds: list[dict[str, Any]] = [{}, {"max_depth": 8, "base_score": 0.3}, {"num_parallel_tree": 3}, {"gamma": 1e9}]
    for columns in (5, 2, 7):
        x = random.normal(size=(300, columns))
        for kind in kinds:
            params = {"objective": "binary:logistic", "nthread": 1, **kind}
            data = bytes(xgboost.train(params, xgboost.DMatrix(x, x[:, 0] > x[:, 1]), 4).save_raw("ubj"))
            got = load_native(data)
            assert got is not None
            rows = Encoded.of(x.astype(np.float32), np.empty((len(x), 0), np.int32))
            assert got.predict(rows).tobytes() == BoostedModel.from_bytes(data).predict(rows).tobytes()
            assert got.margins(rows).tobytes() == BoostedModel.from_bytes(data).margins(rows).tobytes()


def test_a_copy_answers_as_its_model_did_after_that_is_gone_and_others_came(
    model: native.NativeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = native._Library(model._library._functions)
    monkeypatch.setattr(native, "_library", lambda: library)
    rows = make_rows(300)
    params = {"objective": "binary:logistic", "nthread": 1}
    data = bytes(xgboost.train(params, xgboost.DMatrix(rows.values, rows.values[:, 0] > 0), 4).save_raw("ubj"))
    original = load_native(DATA)
    assert original is not None
    twin, want = copy.copy(original), original.predict(rows).tobytes()
    del original
    others = [load_native(data) for _ in range(2)]
    assert twin.predict(rows).tobytes() == want
    assert not library._idle
    del twin, others
    assert len({booster.value for booster in library._idle}) == 3  # each once, none lost


@pytest.mark.parametrize("said", [(), (2,), (4,), (2**40,), (3, 1), (3, 2)])
def test_scores_of_another_shape_than_the_rows_are_not_read(model: native.NativeModel, said: tuple[int, ...]) -> None:
    functions = model._library._functions
    shape = (ctypes.c_uint64 * 2)(*said)

    class Misshaping:
        def __getattr__(self, name: str) -> Any:
            return getattr(functions, name)

        def XGBoosterPredictFromDense(self, *arguments: Any) -> int:  # noqa: N802 - the library's name
            code: int = functions.XGBoosterPredictFromDense(*arguments)
            of_shape, of_dimensions = (argument._obj for argument in arguments[-3:-1])
            of_shape.contents, of_dimensions.value = ctypes.c_uint64.from_buffer(shape), len(said)
            return code

    misshaping = native.NativeModel(native._Library(Misshaping()), DATA, 1)
    with pytest.raises(Compute, match="asked for 3 scores, and gave another number"):
        misshaping.predict(make_rows(3))


@pytest.mark.parametrize("elsewhere", [False, True], ids=["library found", "library elsewhere"])
def test_a_model_that_fails_is_to_blame_and_not_its_rows(
    model: native.NativeModel, monkeypatch: pytest.MonkeyPatch, *, elsewhere: bool
) -> None:
    if elsewhere:
        monkeypatch.setattr("dataops.models.boosted.load_native", lambda *_: None)
    scorer = BoostedModel.from_bytes(DATA)
    with pytest.raises(
        Compute, match=r"^XGBoosterPredictFromDense of XGBoost's library failed: n_features_data == n_features_model"
    ):
        scorer.of_rows(np.zeros((2, model.columns - 1), np.float32), "value")


@pytest.mark.parametrize("data", [b"", b"{L", b"{L" + b"x" * 99, DATA[:500], DATA[:-10], b"pickle"])
def test_bytes_that_are_no_model_are_refused_without_quoting_them(model: native.NativeModel, data: bytes) -> None:
    with pytest.raises(Format, match=rf"not an XGBoost model in UBJ that this release reads \({len(data)} bytes\)"):
        load_native(data)


def test_another_number_of_columns_is_refused(model: native.NativeModel) -> None:
    rows = Encoded.of(numeric=np.zeros((2, 3), np.float32), codes=np.zeros((2, 2), np.int32))
    with pytest.raises(InvalidInput, match="takes 4 columns"):
        model.predict(rows)


def test_the_package_is_not_imported() -> None:
    script = (
        "import sys; from pathlib import Path; from dataops.models.predictor import load_predictor; "
        "load_predictor('xgboost-ubj/1', Path(sys.argv[1]).read_bytes()); "
        "print([name for name in ('xgboost', 'sklearn', 'pandas', 'scipy') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, str(HERE / "xgboost-ubj-1.ubj")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"


def test_a_library_that_lies_elsewhere_is_said_by_none(monkeypatch: pytest.MonkeyPatch) -> None:
    native._library.cache_clear()
    monkeypatch.setattr(native, "find_spec", lambda _name: None)
    try:
        assert load_native(DATA) is None
    finally:
        native._library.cache_clear()
