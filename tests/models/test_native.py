"""XGBoost's trees without XGBoost's package: the same answers to the bit, from any number of threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dataops.errors import Format, InvalidInput
from dataops.features.encoder import Encoded
from dataops.models import native
from dataops.models.boosted import BoostedModel
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
    package, encoded = BoostedModel.from_bytes(DATA), make_rows(rows)
    assert model.predict(encoded).tobytes() == package.predict(encoded).tobytes()
    assert model.margins(encoded).tobytes() == package.margins(encoded).tobytes()
    assert model.format == package.format


def test_threads_share_a_model(model: native.NativeModel) -> None:
    batches = [make_rows(1 + 37 * seed, seed) for seed in range(40)]
    want = [model.predict(batch).tobytes() for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert [got.tobytes() for got in pool.map(model.predict, batches)] == want


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
        "import sys; from pathlib import Path; from dataops.models.native import load_native; "
        "load_native(Path(sys.argv[1]).read_bytes()); "
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
